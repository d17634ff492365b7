//! `--help` and `--version`, from the table of flags.

use crate::cli::flags::{Flag, Meaning, FLAGS};

/// What `--version` prints.
pub const VERSION: &[u8] = concat!("limopack ", env!("CARGO_PKG_VERSION"), "\n").as_bytes();

/// The column in which descriptions begin.
const COLUMN: usize = 24;

/// What `--help` prints.
pub fn text() -> Vec<u8> {
    let mut out = Vec::with_capacity(4096);
    let beginning = msg!(
        "Keep only the kernel modules that this machine needs.\n\n\
        Usage: limopack ACTION [OPTION...]\n\nActions (one for each call):\n"
    );
    out.extend_from_slice(beginning.text());
    let is_action = |flag: &&Flag| {
        matches!(
            flag.meaning,
            Meaning::Act(_) | Meaning::Help | Meaning::Version
        )
    };
    FLAGS
        .iter()
        .filter(is_action)
        .for_each(|flag| line(&mut out, flag));
    out.extend_from_slice(b"\nOptions:\n");
    FLAGS
        .iter()
        .filter(|flag| !is_action(flag))
        .for_each(|flag| line(&mut out, flag));
    let end = msg!(
        "\nGroups: ls /usr/lib/limopack/groups.d /etc/limopack/groups.d\n\
        Exit: 0 done; 1 failed or refused; 2 usage; 75 the package database is locked.\n"
    );
    out.extend_from_slice(end.text());
    out
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

    #[test]
    fn help_names_every_flag_within_eighty_columns() {
        let help = String::from_utf8(text()).unwrap();
        for flag in FLAGS {
            assert!(help.contains(&format!("--{}", flag.strings().long)));
        }
        assert!(help.lines().all(|line| line.len() <= 80));
    }
}
