//! modprobe.d's lines, which are those of modules.softdep and modules.weakdep, too.
//!
//! ```text
//! alias PATTERN MODULE
//! softdep MODULE pre: TARGET... post: TARGET...
//! weakdep MODULE TARGET...
//! install MODULE COMMAND
//! blacklist MODULE
//! ```
//!
//! `#` in the first column begins a comment, a `\` at the end of a line joins the next one.
//! Other commands say nothing about who needs whom, and malformed lines are passed over, both
//! as modprobe does it. (kmod: libkmod/libkmod-config.c, `kmod_config_parse`)

use crate::format::Text;
use crate::text::alias::has_open_bracket;
use crate::text::{bare_lines, has, last_part, memchr, words};

/// A line that says which modules belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command<'t> {
    /// What the line says.
    pub kind: CommandKind,
    /// The module; a pattern may stand for several. Of an alias, the pattern.
    pub name: &'t [u8],
    /// The words after it; see [`targets`].
    pub targets: &'t [u8],
}

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandKind {
    /// The target is what the name stands for.
    Alias,
    /// The module wants the targets loaded with it.
    Softdep,
    /// The module may ask for the targets later.
    Weakdep,
    /// modprobe runs a shell's command, the targets, in place of loading the module.
    Install,
    /// Aliases of devices do not load the module; there are no targets.
    Blacklist,
}

/// The first word of a line, and what the line says.
const KINDS: &[(&[u8], CommandKind)] = &[
    (b"alias", CommandKind::Alias),
    (b"softdep", CommandKind::Softdep),
    (b"weakdep", CommandKind::Weakdep),
    (b"install", CommandKind::Install),
    (b"blacklist", CommandKind::Blacklist),
];

/// The commands of a text whose lines are joined already.
pub fn commands(text: &[u8]) -> impl Iterator<Item = Command<'_>> {
    bare_lines(text).filter_map(command)
}

fn command(line: &[u8]) -> Option<Command<'_>> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut words = words(line);
    let word = words.next()?;
    let &(_, kind) = KINDS.iter().find(|(known, _)| *known == word)?;
    let name = words.next()?;
    let targets = words.rest();
    let is_whole = kind == CommandKind::Blacklist || words.next().is_some();
    let is_good = !has_open_bracket(name) && is_whole;
    is_good.then_some(Command {
        kind,
        name,
        targets,
    })
}

/// The targets of a command, without the words that say in which order they load.
pub fn targets(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let modules = words(text).take_while(|word| *word != FIRMWARE);
    modules.filter(|word| *word != b"pre:" && *word != b"post:")
}

/// The names of firmware among them, which only the table of hidden needs has.
pub fn firmware(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    words(text).skip_while(|word| *word != FIRMWARE).skip(1)
}

/// What comes after it is no module.
const FIRMWARE: &[u8] = b"firmware:";

/// The words of a command that an `install` line runs, without what a shell takes apart by; `None`
/// if it does not call modprobe. The modules that it loads are among them.
pub fn loading(command: &[u8]) -> Option<Text> {
    let mut plain = command.to_vec();
    for byte in &mut plain {
        if has(b";&|()\"'", *byte) {
            *byte = b' ';
        }
    }
    let plain: Text = plain.leak();
    let is_call = |word| last_part(word) == b"modprobe";
    words(plain).any(is_call).then_some(plain)
}

/// The text with its continued lines joined.
pub fn joined(text: &[u8]) -> &[u8] {
    if memchr(b'\\', text).is_none() {
        return text;
    }
    let mut joined = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        let kept = match byte {
            b'\\' => bytes.next().filter(|&&next| next != b'\n'),
            _ => Some(byte),
        };
        if let Some(&byte) = kept {
            joined.push(byte);
        }
    }
    joined.leak()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_have_a_name_and_targets() {
        let text = b"# softdep no pre: no\nsoftdep a-b pre: c post:  d\toptions x y=1\r\n\
            alias fs-* b\nweakdep\ta b\nsoftdep x\nsoftdep x[ pre: y\nblacklist z\ninstall y\n\
            install x /bin/true\nblacklist\nremove x y";
        let all: Vec<_> = commands(text).map(|c| (c.kind, c.name)).collect();
        let wanted: [(CommandKind, &[u8]); 5] = [
            (CommandKind::Softdep, b"a-b"),
            (CommandKind::Alias, b"fs-*"),
            (CommandKind::Weakdep, b"a"),
            (CommandKind::Blacklist, b"z"),
            (CommandKind::Install, b"x"),
        ];
        assert_eq!(all, wanted);
        let first = commands(text).next().unwrap();
        let wanted: [&[u8]; 5] = [b"c", b"d", b"options", b"x", b"y=1"];
        assert_eq!(targets(first.targets).collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn a_command_that_calls_modprobe_has_modules_among_its_words() {
        let command = b"/sbin/modprobe -i a && { modprobe 'b'; (modprobe c) }";
        let loading = loading(command).unwrap();
        let modules: Vec<&[u8]> = words(loading).filter(|word| word.len() == 1).collect();
        assert_eq!(modules, [&b"a"[..], b"{", b"b", b"c", b"}"]);
        for other in [&b"/bin/false"[..], b"echo modprobe.d", b"insmod x"] {
            assert!(super::loading(other).is_none());
        }
    }

    #[test]
    fn continued_lines_are_joined() {
        assert_eq!(joined(b"a \\\nb\\c\n\\"), b"a bc\n");
        assert_eq!(joined(b"a\nb"), b"a\nb");
    }

    #[test]
    fn no_text_panics() {
        let vocabulary: [&[u8]; 7] = [b"install", b"softdep", b" ", b"a", b"\n", b"\\", b"pre:"];
        crate::text::tests::every_text(&vocabulary, 6, &mut |text| {
            for command in commands(text) {
                assert!(!command.name.is_empty());
                let _ = targets(command.targets).count();
                let _ = loading(command.targets);
            }
            let _ = joined(text);
        });
    }
}
