//! `--help` and `--version`, from the table of flags.

use crate::cli::flags::{of_action, Flag, Meaning, FLAGS};
use crate::cli::Action;
use crate::format::join;

/// What `--version` prints.
pub const VERSION: &[u8] = concat!("limopack ", env!("CARGO_PKG_VERSION"), "\n").as_bytes();

/// The column in which descriptions begin.
const COLUMN: usize = 24;

/// What `--help` prints: all of it, or what there is about one action.
pub fn text(action: Option<Action>) -> Vec<u8> {
    let (actions, options, end) = match action {
        None => (
            msg!(
                "Keep only the kernel modules that this machine needs.\n\n\
                Usage: limopack ACTION [OPTION...]\n\nActions (one for each call):\n"
            ),
            msg!("\nOptions:\n"),
            msg!(
                "\nGroups: ls /usr/lib/limopack/groups.d /etc/limopack/groups.d\n\
                Exit: 0 done; 1 failed or refused; 2 usage; 75 the package database is locked.\n\
                More: limopack --help ACTION; man limopack.\n"
            ),
        ),
        Some(_) => (
            msg!("Action:\n"),
            msg!("\nIts options:\n"),
            msg!("\nExample:\n  limopack --"),
        ),
    };
    let mut out = Vec::with_capacity(4096);
    out.extend_from_slice(actions.text());
    lines(&mut out, action, true);
    out.extend_from_slice(options.text());
    lines(&mut out, action, false);
    out.extend_from_slice(end.text());
    if let Some(action) = action {
        let flag = of_action(action);
        out.extend_from_slice(join(&[flag.words().long, flag.example(), b"\n"], ""));
    }
    out
}

/// The flags that say what to do, or the others; of one action, or all.
fn lines(out: &mut Vec<u8>, action: Option<Action>, are_actions: bool) {
    for flag in FLAGS {
        let (is_action, is_asked) = match flag.meaning {
            Meaning::Act(own) => (true, action.map_or(true, |action| action == own)),
            Meaning::Help | Meaning::Version => (true, action.is_none()),
            _ => (false, action.map_or(true, |action| flag.goes_with(action))),
        };
        if is_action == are_actions && is_asked {
            line(out, flag);
        }
    }
}

fn line(out: &mut Vec<u8>, flag: &Flag) {
    let start = out.len();
    let words = flag.words();
    out.extend_from_slice(b"  ");
    for &letter in words.letters {
        out.extend_from_slice(&[b'-', letter, b',', b' ']);
    }
    if words.letters.is_empty() {
        out.extend_from_slice(b"    ");
    }
    out.extend_from_slice(b"--");
    out.extend_from_slice(words.long);
    if !words.value.is_empty() {
        out.push(b'=');
        out.extend_from_slice(words.value);
    }
    if out.len() - start >= COLUMN {
        out.push(b'\n');
        out.resize(out.len() + COLUMN, b' ');
    } else {
        out.resize(start + COLUMN, b' ');
    }
    out.extend_from_slice(flag.help());
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{parse, Parsed};
    use std::ffi::OsString;

    #[test]
    fn help_names_every_flag_within_eighty_columns() {
        let help = String::from_utf8(text(None)).unwrap();
        for flag in FLAGS {
            assert!(help.contains(&format!("--{}", flag.strings().long)));
        }
        assert!(help.lines().all(|line| line.len() <= 80));
    }

    #[test]
    fn the_help_of_an_action_has_its_options_and_an_example_that_parses() {
        for flag in FLAGS {
            let Meaning::Act(action) = flag.meaning else {
                continue;
            };
            let help = String::from_utf8(text(Some(action))).unwrap();
            for other in FLAGS {
                let is_there = help.contains(&format!("--{} ", other.strings().long))
                    || help.contains(&format!("--{}=", other.strings().long));
                assert!(is_there || !other.is_of(action), "{help}");
            }
            let example = help.trim_end().rsplit('\n').next().unwrap();
            let words = example.split_whitespace().skip(1);
            let words = words
                .take_while(|word| *word != ">")
                .map(|word| OsString::from(word.replace('\'', "")));
            assert!(matches!(parse(words), Ok(Parsed::Request(_))), "{example}");
        }
    }
}
