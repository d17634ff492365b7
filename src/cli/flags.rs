//! The table of flags. Whatever speaks of a flag reads it here.

use crate::cli::Action;

/// What a flag means to the parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Says what to do; one of these for each call.
    Act(Action),
    /// `--use`
    Use,
    /// `--from`
    From,
    /// `--detect`
    Detect,
    /// `--boot`
    Boot,
    /// `--static`
    Static,
    /// `--owner`
    Owner,
    /// `--pkname`
    Pkname,
    /// `--no-stand-in`
    NoStandIn,
    /// `--keep-pruned`
    KeepPruned,
    /// `--kernel`
    Kernel,
    /// `--root`
    Root,
    /// `--force`
    Force,
    /// `--dry-run`
    DryRun,
    /// `--quiet`
    Quiet,
    /// `--debug`
    Debug,
    /// `--help`
    Help,
    /// `--version`
    Version,
}

/// One flag.
pub struct Flag {
    /// What it means.
    pub meaning: Meaning,
    /// Its letters; most have one or none.
    pub short: &'static str,
    /// Its long name without dashes.
    pub long: &'static str,
    /// What its value is called, empty where it takes none.
    pub value: &'static str,
    /// The actions that it goes with; empty means all of them.
    pub with: &'static [Action],
    /// One line for `--help`.
    pub help: &'static str,
}

const fn act(action: Action, short: &'static str, long: &'static str, help: &'static str) -> Flag {
    Flag {
        meaning: Meaning::Act(action),
        short,
        long,
        value: "",
        with: &[],
        help,
    }
}

/// The actions that a selector of modules goes with.
const SELECTED: &[Action] = &[
    Action::List,
    Action::Tree,
    Action::Install,
    Action::Remove,
    Action::Why,
];
/// The actions that work on kernels.
const KERNELS: &[Action] = &[
    Action::List,
    Action::Tree,
    Action::Install,
    Action::Remove,
    Action::Apply,
    Action::Prune,
    Action::Check,
    Action::Why,
];
/// The actions that change something.
const WRITING: &[Action] = &[
    Action::Install,
    Action::Remove,
    Action::Apply,
    Action::Prune,
    Action::Settle,
];
/// The actions that change a registry.
const REGISTERING: &[Action] = &[Action::Install, Action::Remove];

/// Every flag, in the order of the help.
pub const FLAGS: &[Flag] = &[
    act(
        Action::List,
        "l",
        "list",
        "print the modules needed: loaded, registered, or named",
    ),
    act(Action::Tree, "e", "tree", "the same as a dependency tree"),
    act(
        Action::Install,
        "i",
        "install",
        "register the named modules, or all that are loaded",
    ),
    act(
        Action::Remove,
        "r",
        "remove",
        "drop one reference to the named modules",
    ),
    act(
        Action::Apply,
        "a",
        "apply",
        "prune, and make the packages look never installed",
    ),
    act(
        Action::Settle,
        "",
        "settle",
        "finish what was queued while dpkg or apt ran",
    ),
    act(
        Action::Prune,
        "",
        "prune",
        "delete the modules that are not needed",
    ),
    act(
        Action::Check,
        "",
        "check",
        "look for problems; exit 1 if there are any",
    ),
    act(
        Action::Why,
        "",
        "why",
        "print why each named module is kept",
    ),
    act(
        Action::Census,
        "",
        "census",
        "print what this machine's hardware asks for",
    ),
    Flag {
        meaning: Meaning::Use,
        short: "u",
        long: "use",
        value: "NAME[,NAME...]",
        with: SELECTED,
        help: "name modules: name, file name, path or alias",
    },
    Flag {
        meaning: Meaning::From,
        short: "",
        long: "from",
        value: "FILE",
        with: SELECTED,
        help: "names from a census, registry or list; - for stdin",
    },
    Flag {
        meaning: Meaning::Detect,
        short: "",
        long: "detect",
        value: "",
        with: SELECTED,
        help: "names from this machine's census",
    },
    Flag {
        meaning: Meaning::Boot,
        short: "",
        long: "boot",
        value: "",
        with: &[Action::List],
        help: "only what mounts the file systems of the boot",
    },
    Flag {
        meaning: Meaning::Static,
        short: "s",
        long: "static",
        value: "",
        with: &[Action::Install],
        help: "register permanently instead of counting",
    },
    Flag {
        meaning: Meaning::Owner,
        short: "",
        long: "owner",
        value: "PKG",
        with: REGISTERING,
        help: "whose reference it is [$DPKG_MAINTSCRIPT_PACKAGE]",
    },
    Flag {
        meaning: Meaning::Pkname,
        short: "p",
        long: "pkname",
        value: "PKG[,PKG...]",
        with: &[Action::Apply],
        help: "packages to forget: PKG, PKG:arch or a pattern",
    },
    Flag {
        meaning: Meaning::NoStandIn,
        short: "",
        long: "no-stand-in",
        value: "",
        with: &[Action::Apply],
        help: "forget even what others depend on",
    },
    Flag {
        meaning: Meaning::KeepPruned,
        short: "",
        long: "keep-pruned",
        value: "",
        with: &[Action::Prune, Action::Apply],
        help: "prune again when packages bring modules back",
    },
    Flag {
        meaning: Meaning::Kernel,
        short: "k",
        long: "kernel",
        value: "VERSION",
        with: KERNELS,
        help: "work on this kernel, or on 'all'; repeatable",
    },
    Flag {
        meaning: Meaning::Root,
        short: "",
        long: "root",
        value: "DIR",
        with: &[],
        help: "work on another root, never outside it",
    },
    Flag {
        meaning: Meaning::Force,
        short: "",
        long: "force",
        value: "",
        with: &[
            Action::Install,
            Action::Prune,
            Action::Apply,
            Action::Settle,
        ],
        help: "override refusals that allow it",
    },
    Flag {
        meaning: Meaning::DryRun,
        short: "n",
        long: "dry-run",
        value: "",
        with: WRITING,
        help: "print what would be done, change nothing",
    },
    Flag {
        meaning: Meaning::Quiet,
        short: "q",
        long: "quiet",
        value: "",
        with: &[],
        help: "print only warnings and errors",
    },
    Flag {
        meaning: Meaning::Debug,
        short: "d",
        long: "debug",
        value: "",
        with: &[],
        help: "print more details",
    },
    Flag {
        meaning: Meaning::Help,
        short: "h",
        long: "help",
        value: "",
        with: &[],
        help: "print this help",
    },
    Flag {
        meaning: Meaning::Version,
        short: "vV",
        long: "version",
        value: "",
        with: &[],
        help: "print the version",
    },
];

/// The flag of a letter.
pub fn by_short(letter: char) -> Option<&'static Flag> {
    let letter = u8::try_from(letter).ok()?;
    let is_it = |flag: &&Flag| flag.short.as_bytes().contains(&letter);
    FLAGS.iter().find(is_it)
}

/// The flag of a long name, given whole.
pub fn by_long(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.long == name)
}

/// The long name of an action's flag.
pub fn action_name(action: Action) -> &'static str {
    let is_it = |flag: &&Flag| flag.meaning == Meaning::Act(action);
    FLAGS.iter().find(is_it).map_or("", |flag| flag.long)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_flags_share_a_name() {
        for (at, flag) in FLAGS.iter().enumerate() {
            for other in &FLAGS[at + 1..] {
                assert_ne!(flag.long, other.long);
                assert!(
                    !flag.short.chars().any(|c| other.short.contains(c)),
                    "{}",
                    flag.long
                );
                assert_ne!(flag.meaning, other.meaning);
            }
        }
    }

    #[test]
    fn names_and_help_fit_the_field() {
        for flag in FLAGS {
            assert!(flag
                .long
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b == b'-'));
            assert!(
                !flag.help.is_empty() && flag.help.len() <= 56,
                "{}",
                flag.long
            );
            assert!(!flag.help.ends_with('.'));
        }
    }
}
