//! The manual pages. limopack(8) is limopack.8.in, filled in from the tables of flags, of hidden
//! needs and of what `--check` finds; limopack-integration(7) is plain text.

use super::texts::TEXTS;
use limopack::actions::check::kinds;
use limopack::cli::flags::{Flag, Meaning, FLAGS};
use limopack::cli::Action;
use limopack::needs::hidden::{FIRMWARE, KNOWN};

/// When the text of the pages last changed.
const DATE: &str = "November 29, 2026";

/// limopack-integration(7), in mdoc(7).
pub fn integration() -> String {
    include_str!("limopack-integration.7.in").replace("@DATE@", DATE)
}

/// limopack(8), in mdoc(7).
pub fn reference() -> String {
    include_str!("limopack.8.in")
        .replace("@DATE@", DATE)
        .replace("@SYNOPSIS@", synopsis().trim_end())
        .replace("@ACTIONS@", items(is_action).trim_end())
        .replace("@OPTIONS@", items(|flag| !is_action(flag)).trim_end())
        .replace("@HIDDEN@", hidden().trim_end())
        .replace("@CHECK@", check().trim_end())
}

/// The kinds of findings of `--check`, each with everything that it covers.
fn check() -> String {
    let mut out = String::new();
    let mut words: Vec<&str> = Vec::new();
    for (word, ..) in kinds() {
        if words.contains(&word) {
            continue;
        }
        words.push(word);
        out += &format!(".It {word}\n");
        for (_, meaning, is_refused) in kinds().into_iter().filter(|kind| kind.0 == word) {
            let star = if is_refused { "" } else { " *" };
            out += &format!("{meaning}{star}\n.br\n");
        }
        out.truncate(out.len() - ".br\n".len());
    }
    out
}

/// The hidden needs and their reasons.
fn hidden() -> String {
    let mut out = String::new();
    let firmware = FIRMWARE.iter().map(|row| (row, "firmware: "));
    for ((modules, targets, reason), head) in KNOWN.iter().map(|row| (row, "")).chain(firmware) {
        out += &format!(".It Li {modules}\n.Li {head}{targets} :");
        let mut left = 0;
        for word in reason.split(' ') {
            let is_full = word.len() >= left;
            out.push(if is_full { '\n' } else { ' ' });
            left = if is_full { 80 } else { left } - word.len() - 1;
            out += word;
        }
        out += ".\n";
    }
    out
}

/// Whether a flag says what to do, as `--help` sorts them.
fn is_action(flag: &Flag) -> bool {
    use Meaning::{Act, Help, Version};
    matches!(flag.meaning, Act(_) | Help | Version)
}

/// One command line for each action, with the options that go with it but not with all.
fn synopsis() -> String {
    let mut out = String::new();
    for flag in FLAGS.iter().filter(|flag| is_action(flag)) {
        out += &format!(".Nm\n.Fl Fl {}\n", flag.strings().long);
        let Meaning::Act(action) = flag.meaning else {
            continue;
        };
        let own = |flag: &&Flag| flag.is_of(action);
        for option in FLAGS.iter().filter(own) {
            // `--apply` is the one action that cannot do without one of its options.
            let is_needed = action == Action::Apply && option.meaning == Meaning::Pkname;
            let macro_name = if is_needed { ".Fl" } else { ".Op Fl" };
            out += &format!(
                "{macro_name} Fl {}{}\n",
                option.strings().long,
                value(option)
            );
        }
        out += ".Op Ar option ...\n";
    }
    out
}

/// An entry for each flag.
fn items(is_meant: impl Fn(&Flag) -> bool) -> String {
    let mut out = String::new();
    for flag in FLAGS.iter().filter(|flag| is_meant(flag)) {
        out += ".It ";
        for letter in flag.strings().letters.chars() {
            out += &format!("Fl {letter} , ");
        }
        out += &format!("Fl Fl {}{}\n", flag.strings().long, value(flag));
        let text = TEXTS.iter().find(|(long, _)| *long == flag.strings().long);
        out += text.map_or("", |(_, text)| text);
        out.push('\n');
    }
    out
}

/// What follows a flag that takes a value: `NAME[,NAME...]` is one argument.
fn value(flag: &Flag) -> String {
    match flag.strings().value {
        "" => String::new(),
        value => format!(" Ns = Ns Ar {value}"),
    }
}
