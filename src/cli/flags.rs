//! The table of flags. Whatever speaks of a flag reads it here.

use crate::cli::Action;
use crate::format::Text;
use crate::template::Template;
use crate::text::{has, split_at_byte, until};

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
    /// `--firmware`
    Firmware,
    /// `--format`
    Format,
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
    /// `--park`
    Park,
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
#[derive(Clone, Copy)]
pub struct Flag {
    /// What it means.
    pub meaning: Meaning,
    /// The actions that it goes with, as bits.
    with: u16,
    /// Where its line of [`NAMES`] begins.
    names: u16,
    /// One line for `--help`; of an action, after a tab, what an example of it goes on with.
    help: Template,
}

/// What a flag is called; what it does not have is empty.
pub struct FlagNames<T> {
    /// Its letters; most flags have one or none.
    pub letters: T,
    /// Its long name without dashes.
    pub long: T,
    /// What its value is called.
    pub value: T,
}

impl Flag {
    /// Its words.
    pub fn words(&self) -> FlagNames<Text> {
        let names = until(&NAMES[usize::from(self.names)..], b'\n');
        let (letters, name) = split_at_byte(names, b' ');
        let (long, value) = split_at_byte(name, b'=');
        FlagNames {
            letters,
            long,
            value,
        }
    }

    /// The same for a manual.
    pub fn strings(&self) -> FlagNames<&'static str> {
        let FlagNames {
            letters,
            long,
            value,
        } = self.words();
        let string = |text| core::str::from_utf8(text).unwrap_or_default();
        FlagNames {
            letters: string(letters),
            long: string(long),
            value: string(value),
        }
    }

    /// Its line for `--help`.
    pub fn help(&self) -> Text {
        split_at_byte(self.help.text(), b'\t').0
    }

    /// What an example of an action goes on with.
    pub fn example(&self) -> Text {
        split_at_byte(self.help.text(), b'\t').1
    }

    /// Whether it goes with this action and not with every one.
    pub fn is_of(&self, action: Action) -> bool {
        self.with != ANY && self.goes_with(action)
    }

    /// Whether it goes with this action.
    pub fn goes_with(&self, action: Action) -> bool {
        self.with & bit(action) != 0
    }
}

const fn bit(action: Action) -> u16 {
    1 << action as u16
}

const fn bits(actions: &[Action]) -> u16 {
    let (mut bits, mut at) = (0, 0);
    while at < actions.len() {
        bits |= bit(actions[at]);
        at += 1;
    }
    bits
}

/// A flag without its names, and these: its letters, its long name, with `=` what its value is called.
type Row = (Flag, &'static str);

const fn flag(meaning: Meaning, with: u16, names: &'static str, help: Template) -> Row {
    let flag = Flag {
        meaning,
        with,
        names: 0,
        help,
    };
    (flag, names)
}

const fn act(action: Action, names: &'static str, help: Template) -> Row {
    flag(Meaning::Act(action), ANY, names, help)
}

/// Every action.
const ANY: u16 = u16::MAX;
/// The actions that a selector of modules goes with.
const SELECTED: u16 = bits(&[
    Action::List,
    Action::Tree,
    Action::Install,
    Action::Remove,
    Action::Restore,
    Action::Why,
]);
/// The actions that work on kernels.
const KERNELS: u16 = bits(&[
    Action::List,
    Action::Tree,
    Action::Install,
    Action::Remove,
    Action::Apply,
    Action::Prune,
    Action::Restore,
    Action::Check,
    Action::Why,
]);
/// The actions that change something.
const WRITING: u16 = bits(&[
    Action::Install,
    Action::Remove,
    Action::Apply,
    Action::Prune,
    Action::Restore,
    Action::Settle,
]);
/// The actions that change a registry.
const REGISTERING: u16 = bits(&[Action::Install, Action::Remove]);

/// Every flag, in the order of the help.
pub const FLAGS: &[Flag] = &TABLES.0;

/// The names of all flags, a line for each: a pointer to every text would be as large as the texts.
static NAMES: &[u8] = &TABLES.1;

const TABLES: ([Flag; ROWS.len()], [u8; LENGTH]) = {
    let mut flags = [ROWS[0].0; ROWS.len()];
    let mut names = [b'\n'; LENGTH];
    let (mut row, mut start) = (0, 0);
    while row < ROWS.len() {
        let (flag, text) = (ROWS[row].0, ROWS[row].1.as_bytes());
        flags[row] = Flag {
            names: start as u16,
            ..flag
        };
        let mut at = 0;
        while at < text.len() {
            names[start + at] = text[at];
            at += 1;
        }
        start += at + 1;
        row += 1;
    }
    (flags, names)
};

const LENGTH: usize = {
    let (mut length, mut row) = (0, 0);
    while row < ROWS.len() {
        length += ROWS[row].1.len() + 1;
        row += 1;
    }
    length
};

#[rustfmt::skip]
const ROWS: &[Row] = &[
    act(Action::List, "l list", msg!("print the modules needed: loaded, registered, or named\t --use=btrfs")),
    act(Action::Tree, "e tree", msg!("the same as a dependency tree\t --use=btrfs")),
    act(Action::Install, "i install", msg!("register the named modules, or all that are loaded\t --use=btrfs --owner=myapp")),
    act(Action::Remove, "r remove", msg!("drop one reference to the named modules\t --use=btrfs --owner=myapp")),
    act(Action::Apply, "a apply", msg!("prune, and make the packages look never installed\t --pkname='linux-image-*'")),
    act(Action::Settle, " settle", msg!("finish what was queued while dpkg or apt ran")),
    act(Action::Prune, " prune", msg!("delete the modules that are not needed\t --dry-run")),
    act(Action::Restore, " restore", msg!("bring parked modules back: the named ones, or all\t --use=btrfs")),
    act(Action::Check, " check", msg!("look for problems; exit 1 if there are any")),
    act(Action::Why, " why", msg!("print why each named module is kept\t --use=btrfs")),
    act(Action::Census, " census", msg!("print what this machine's hardware asks for\t > board.conf")),
    flag(Meaning::Use, SELECTED, "u use=NAME[,NAME...]", msg!("name modules: name, file, path, alias or @GROUP")),
    flag(Meaning::From, SELECTED, " from=FILE", msg!("names from a census, registry or list; - for stdin")),
    flag(Meaning::Detect, SELECTED, " detect", msg!("names from this machine's census")),
    flag(Meaning::Boot, bits(&[Action::List]), " boot", msg!("only what mounts the file systems of the boot")),
    flag(Meaning::Firmware, bits(&[Action::List, Action::Prune, Action::Apply, Action::Check, Action::Why]), " firmware", msg!("the firmware that modules may ask for")),
    flag(Meaning::Format, bits(&[Action::List, Action::Why, Action::Check]), " format=FORMAT", msg!("json: an object per line")),
    flag(Meaning::Static, bits(&[Action::Install]), "s static", msg!("register permanently instead of counting")),
    flag(Meaning::Owner, REGISTERING, " owner=PKG", msg!("whose reference it is [$DPKG_MAINTSCRIPT_PACKAGE]")),
    flag(Meaning::Pkname, bits(&[Action::Apply]), "p pkname=PKG[,PKG...]", msg!("packages to forget: PKG, PKG:arch or a pattern")),
    flag(Meaning::NoStandIn, bits(&[Action::Apply]), " no-stand-in", msg!("forget even what others depend on")),
    flag(Meaning::Park, bits(&[Action::Prune, Action::Apply]), " park", msg!("move modules aside; --restore undoes it")),
    flag(Meaning::KeepPruned, bits(&[Action::Prune, Action::Apply]), " keep-pruned", msg!("prune again when packages bring modules back")),
    flag(Meaning::Kernel, KERNELS, "k kernel=VERSION", msg!("work on this kernel, or on 'all'; repeatable")),
    flag(Meaning::Root, ANY, " root=DIR", msg!("work on another root, never outside it")),
    flag(Meaning::Force, bits(&[Action::Install, Action::Prune, Action::Apply, Action::Settle]), " force", msg!("override refusals that allow it")),
    flag(Meaning::DryRun, WRITING, "n dry-run", msg!("print what would be done, change nothing")),
    flag(Meaning::Quiet, ANY, "q quiet", msg!("print only warnings and errors")),
    flag(Meaning::Debug, ANY, "d debug", msg!("print more details")),
    flag(Meaning::Help, ANY, "h help", msg!("print this help")),
    flag(Meaning::Version, ANY, "vV version", msg!("print the version")),
];

/// The flag of a letter.
pub fn by_letter(letter: u8) -> Option<&'static Flag> {
    let is_it = |flag: &&Flag| has(flag.words().letters, letter);
    FLAGS.iter().find(is_it)
}

/// The flag of a long name, given whole.
pub fn by_long(name: &[u8]) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.words().long == name)
}

/// An action's flag.
pub fn of_action(action: Action) -> &'static Flag {
    let is_it = |flag: &&Flag| flag.meaning == Meaning::Act(action);
    FLAGS.iter().find(is_it).unwrap_or(&FLAGS[0])
}

/// The long name of an action's flag.
pub fn action_name(action: Action) -> Text {
    of_action(action).words().long
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_flags_share_a_name() {
        for (at, flag) in FLAGS.iter().enumerate() {
            let words = flag.strings();
            for other in &FLAGS[at + 1..] {
                let others = other.strings();
                assert_ne!(words.long, others.long);
                let is_shared = |letter| others.letters.contains(letter);
                assert!(!words.letters.chars().any(is_shared), "{}", words.long);
                assert_ne!(flag.meaning, other.meaning);
            }
        }
    }

    #[test]
    fn names_and_help_fit_the_field() {
        for flag in FLAGS {
            let (FlagNames { long, .. }, help) = (flag.strings(), flag.help());
            let is_of_name = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
            assert!(!long.is_empty() && long.bytes().all(is_of_name), "{long}");
            assert!(!help.is_empty() && help.len() <= 56, "{long}");
            assert!(!help.ends_with(b"."), "{long}");
        }
    }
}
