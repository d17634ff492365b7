//! Completions for bash, zsh and fish: their templates, with what the table of flags says put in.
//! Each offers only the flags that go with the action on the line, and knows modules, kernels
//! and packages of the root on the line.
//!
//! The names come from files that may belong to a stranger's image. So the templates offer only
//! names that mean nothing to a shell.

use limopack::cli::flags::{Flag, FlagNames, Meaning, FLAGS};
use limopack::cli::Action;

/// How a kind of value is completed.
struct Values {
    /// What the table calls it.
    name: &'static str,
    /// Whether a flag that takes it may be given more than once.
    is_repeatable: bool,
    /// The word for `_limopack_value`.
    bash: &'static str,
    /// The end of an `_arguments` specification.
    zsh: &'static str,
    /// The end of a `complete` line.
    fish: &'static str,
}

/// Every kind of value in the table.
const VALUES: &[Values] = &[
    Values {
        name: "NAME[,NAME...]",
        is_repeatable: true,
        bash: "modules",
        zsh: ":module:_sequence _limopack_modules",
        fish: "-x -a '(__fish_complete_list , __limopack_modules)'",
    },
    Values {
        name: "VERSION",
        is_repeatable: true,
        bash: "kernels",
        zsh: ":kernel:_limopack_kernels",
        fish: "-x -a '(__limopack_kernels)'",
    },
    Values {
        name: "PKG[,PKG...]",
        is_repeatable: true,
        bash: "packages",
        zsh: ":package:_sequence _limopack_packages",
        fish: "-x -a '(__fish_complete_list , __limopack_packages)'",
    },
    Values {
        name: "PKG",
        is_repeatable: false,
        bash: "package",
        zsh: ":package:_limopack_packages",
        fish: "-x -a '(__limopack_packages)'",
    },
    Values {
        name: "DIR",
        is_repeatable: false,
        bash: "directory",
        zsh: ":directory:_files -/",
        fish: "-x -a '(__fish_complete_directories)'",
    },
    Values {
        name: "FORMAT",
        is_repeatable: false,
        bash: "format",
        zsh: ":format:(json text)",
        fish: "-x -a 'json text'",
    },
    Values {
        name: "FILE",
        is_repeatable: true,
        bash: "file",
        zsh: ":file:_files",
        fish: "-r -F",
    },
];

/// The completion for bash.
pub fn bash() -> String {
    let action_case = |(_, flag): (Action, &Flag)| {
        let FlagNames { letters, long, .. } = flag.strings();
        let letters = letters.chars().map(|letter| format!("-{letter}* | "));
        let letters: String = letters.collect();
        format!("{letters}--{long}) action={long} ;;")
    };
    let value_case = |flag: &Flag| {
        let kind = values(flag)?.bash;
        let FlagNames { letters, long, .. } = flag.strings();
        // A letter may end a cluster, as in `-isu`.
        let letters = letters.chars();
        let letters = letters.map(|letter| format!("-{letter} | -[!-]*{letter} | "));
        let letters: String = letters.collect();
        Some(format!(
            "{letters}--{long}) _limopack_value {kind}; return ;;"
        ))
    };
    let flags_case = |(action, flag): (Action, &Flag)| {
        let fit = FLAGS.iter().filter(|flag| goes_with(flag, action));
        format!("{}) flags='{}' ;;", flag.strings().long, long_names(fit))
    };
    let all_case = format!("*) flags='{}' ;;", long_names(FLAGS.iter()));
    include_str!("limopack.bash.in")
        .replace("@ACTIONS@", &joined(12, actions().map(action_case)))
        .replace("@VALUES@", &joined(8, FLAGS.iter().filter_map(value_case)))
        .replace(
            "@FLAGS@",
            &joined(8, actions().map(flags_case).chain([all_case])),
        )
}

/// A flag's line for `--help`.
fn help(flag: &Flag) -> String {
    String::from_utf8_lossy(flag.help()).into_owned()
}

/// The completion for zsh.
pub fn zsh() -> String {
    let specification = |flag: &Flag| {
        let values = values(flag);
        let (short_end, long_end) = match values {
            None => ("", ""),
            Some(_) => ("+", "="),
        };
        let FlagNames { letters, long, .. } = flag.strings();
        let mut words: Vec<String> = letters
            .chars()
            .map(|letter| format!("-{letter}{short_end}"))
            .collect();
        words.push(format!("--{long}{long_end}"));
        let words = match words.len() {
            1 => words.concat(),
            _ => format!("{{{}}}", words.join(",")),
        };
        let help = help(flag).replace('\'', "'\\''");
        let help = help.replace('[', "\\[").replace(']', "\\]");
        let star = match values.map_or(false, |values| values.is_repeatable) {
            true => "*",
            false => "",
        };
        let end = values.map_or("", |values| values.zsh);
        format!("'({}){star}'{words}'[{help}]{end}'", excluded(flag))
    };
    let lines: Vec<String> = FLAGS.iter().map(specification).collect();
    include_str!("limopack.zsh.in").replace("@FLAGS@", &lines.join(" \\\n    "))
}

/// The completion for fish.
pub fn fish() -> String {
    let action_line = |(_, flag): (Action, &Flag)| {
        let FlagNames { letters, long, .. } = flag.strings();
        let letters = letters.chars().map(|letter| format!("-s {letter} "));
        let letters: String = letters.collect();
        format!("__fish_contains_opt {letters}{long}; and set found {long}")
    };
    let flag_line = |flag: &Flag| {
        let with = actions().filter(|(action, _)| goes_with(flag, *action));
        let with: String = with
            .map(|(_, flag)| format!(" {}", flag.strings().long))
            .collect();
        let FlagNames { letters, long, .. } = flag.strings();
        let letters = letters.chars().map(|letter| format!("-s {letter} "));
        let letters: String = letters.collect();
        let help = help(flag).replace('\'', "\\'");
        let end = values(flag).map_or(String::new(), |values| format!(" {}", values.fish));
        format!("complete -c limopack -n '__limopack_action none{with}' {letters}-l {long} -d '{help}'{end}")
    };
    include_str!("limopack.fish.in")
        .replace("@ACTIONS@", &joined(4, actions().map(action_line)))
        .replace("@FLAGS@", &joined(0, FLAGS.iter().map(flag_line)))
}

/// Lines with this indentation but before the first, which the template indents.
fn joined(indentation: usize, lines: impl Iterator<Item = String>) -> String {
    let lines: Vec<String> = lines.collect();
    lines.join(&format!("\n{}", " ".repeat(indentation)))
}

/// What completes a flag's value; `None` for a flag without one.
fn values(flag: &Flag) -> Option<&'static Values> {
    VALUES
        .iter()
        .find(|values| values.name == flag.strings().value)
}

/// Every action and its flag.
fn actions() -> impl Iterator<Item = (Action, &'static Flag)> {
    FLAGS.iter().filter_map(|flag| match flag.meaning {
        Meaning::Act(action) => Some((action, flag)),
        _ => None,
    })
}

/// Whether a flag is an option that makes sense beside an action.
fn goes_with(flag: &Flag, action: Action) -> bool {
    match flag.meaning {
        Meaning::Act(_) | Meaning::Help | Meaning::Version => false,
        _ => flag.goes_with(action),
    }
}

/// The long names of flags, each with `=` if it takes a value.
fn long_names<'f>(flags: impl Iterator<Item = &'f Flag>) -> String {
    let name = |flag: &Flag| match flag.strings() {
        FlagNames {
            long, value: "", ..
        } => format!("--{long}"),
        FlagNames { long, .. } => format!("--{long}="),
    };
    flags.map(name).collect::<Vec<_>>().join(" ")
}

/// zsh's list of the names that cannot stand beside a flag.
fn excluded(flag: &Flag) -> String {
    let is_alone = |flag: &Flag| matches!(flag.meaning, Meaning::Help | Meaning::Version);
    if is_alone(flag) {
        return String::from("- *");
    }
    let collides = |other: &&Flag| {
        is_alone(other)
            || match (flag.meaning, other.meaning) {
                (Meaning::Act(_), Meaning::Act(_)) => true,
                (Meaning::Act(action), _) => !goes_with(other, action),
                (_, Meaning::Act(action)) => !goes_with(flag, action),
                (one, another) => {
                    one == another && !values(flag).map_or(false, |values| values.is_repeatable)
                }
            }
    };
    let mut names = Vec::new();
    for other in FLAGS.iter().filter(collides) {
        let FlagNames { letters, long, .. } = other.strings();
        names.extend(letters.chars().map(|letter| format!("-{letter}")));
        names.push(format!("--{long}"));
    }
    names.join(" ")
}
