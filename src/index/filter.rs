//! depmod's text files without the modules that go.
//!
//! What stays is given back as slices of the old text, neighbours joined, ready for writev.
//! Filtering by a set that is closed under dependencies gives what depmod would write on the
//! pruned tree, header and order included. A line that is not of the file's format stays as it
//! is: it may mean something to somebody.

use crate::text::alias::alias;
use crate::text::name::{ModuleName, ModulePath};
use crate::text::{lines, words};

/// Which word of a line says whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `path: dependencies` and `path` (modules.dep, modules.order)
    Path,
    /// `alias PATTERN MODULE` (modules.alias, modules.symbols)
    LastWord,
    /// `softdep MODULE …` (modules.softdep, modules.weakdep)
    SecondWord,
    /// `MODULE DEVNAME TYPE`; without an entry no header either (modules.devname)
    FirstWord,
    /// A path with aliases, its dependencies if it has any, an empty line (modules.dep.bb)
    Record,
}

/// The files that a prune rewrites, in the order in which it does.
pub const FILES: &[(&[u8], Format)] = &[
    (b"modules.dep", Format::Path),
    (b"modules.alias", Format::LastWord),
    (b"modules.symbols", Format::LastWord),
    (b"modules.softdep", Format::SecondWord),
    (b"modules.weakdep", Format::SecondWord),
    (b"modules.devname", Format::FirstWord),
    (b"modules.order", Format::Path),
    (b"modules.dep.bb", Format::Record),
];

/// Whether a module stays.
pub type Keeps<'k> = &'k dyn Fn(ModuleName<'_>) -> bool;

/// The parts of `text` that stay, in order.
pub fn filter<'t>(format: Format, text: &'t [u8], keeps: Keeps<'_>) -> Vec<&'t [u8]> {
    let mut kept = Kept {
        text,
        parts: Vec::new(),
        end: 0,
    };
    let mut entries = 0;
    // In a record, the lines behind the first go where the first goes.
    let mut stays = true;
    let mut is_first = true;
    for (_, line) in lines(text) {
        if format == Format::Record {
            if is_first {
                let path = words(line).next().unwrap_or(b"");
                stays = path.is_empty() || keeps(ModulePath(path).name());
            }
            is_first = line.is_empty();
        } else {
            stays = owner(format, line).map_or(true, keeps);
            entries += usize::from(stays && !line.starts_with(b"#"));
        }
        if stays {
            kept.push(line);
        }
    }
    if format == Format::FirstWord && entries == 0 {
        return Vec::new();
    }
    kept.parts
}

/// The number of the first line that says what is needed, and not in depmod's way. Passed over,
/// such a file would cost modules that something needs.
pub fn damaged_line(format: Format, text: &[u8]) -> Option<usize> {
    // No index can hold one: it ends a key and a value there.
    let nul = memchr::memchr(0, text).unwrap_or(text.len());
    let is_good = |line: &[u8]| match format {
        _ if line.is_empty() || line.starts_with(b"#") => true,
        Format::LastWord => alias(line).is_some(),
        Format::SecondWord => matches!(words(line).next(), Some(b"softdep" | b"weakdep")),
        // modules.dep has a parser of its own, and the others say nothing about needs.
        Format::Path | Format::FirstWord | Format::Record => true,
    };
    let damaged = lines(&text[..nul]).find(|(_, line)| !is_good(line));
    let first = damaged.map(|(number, _)| number);
    first.or((nul < text.len()).then(|| lines(&text[..=nul]).count()))
}

/// The module that a line belongs to; `None` for comments and what is not of the format.
fn owner(format: Format, line: &[u8]) -> Option<ModuleName<'_>> {
    if line.starts_with(b"#") {
        return None;
    }
    let word = match format {
        Format::Path | Format::Record => {
            let path = memchr::memchr(b':', line).map_or(line, |colon| &line[..colon]);
            return (!path.is_empty()).then(|| ModulePath(path).name());
        }
        Format::FirstWord => words(line).next(),
        Format::SecondWord => words(line).nth(1),
        Format::LastWord => memchr::memrchr(b' ', line).map(|space| &line[space + 1..]),
    };
    word.filter(|word| !word.is_empty()).map(ModuleName::new)
}

/// Slices of a text, growing at the end.
struct Kept<'t> {
    text: &'t [u8],
    parts: Vec<&'t [u8]>,
    /// Where the last part ends in the text.
    end: usize,
}

impl<'t> Kept<'t> {
    /// Adds a line of the text with its newline, which only the last line may lack.
    fn push(&mut self, line: &'t [u8]) {
        let start = line.as_ptr() as usize - self.text.as_ptr() as usize;
        let end = (start + line.len() + 1).min(self.text.len());
        match self.parts.last_mut() {
            Some(part) if self.end == start => {
                *part = &self.text[start - part.len()..end];
            }
            _ => self.parts.push(&self.text[start..end]),
        }
        self.end = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(format: Format, text: &str) -> String {
        let keeps = |name: ModuleName<'_>| name.to_kernel().starts_with(b"k");
        let parts = filter(format, text.as_bytes(), &keeps);
        String::from_utf8(parts.concat()).unwrap()
    }

    #[test]
    fn the_first_line_that_is_damaged_is_named() {
        for (format, text, wanted) in [
            (Format::LastWord, "# x\nalias a b\n\nalias c d\n", None),
            (Format::LastWord, "alias a b\nalias c\n", Some(2)),
            (Format::LastWord, "\0\0\0\0", Some(1)),
            (Format::LastWord, "alias a\0b c\n", Some(1)),
            (
                Format::SecondWord,
                "# x\nsoftdep a pre: b\nweakdep a b\n",
                None,
            ),
            (
                Format::SecondWord,
                "softdep a pre: b\nftdep a post: c\n",
                Some(2),
            ),
        ] {
            assert_eq!(damaged_line(format, text.as_bytes()), wanted, "{text}");
        }
    }

    #[test]
    fn each_format_finds_the_owner_of_a_line() {
        let path = "kernel/k-1.ko: kernel/x.ko\nkernel/x.ko:\nextra/k.ko.xz:\n";
        assert_eq!(
            kept(Format::Path, path),
            "kernel/k-1.ko: kernel/x.ko\nextra/k.ko.xz:\n"
        );
        assert_eq!(
            kept(Format::Path, "kernel/x.ko\nkernel/k.ko\n"),
            "kernel/k.ko\n"
        );
        let alias = "# header\nalias a b*c k\nalias k x\nalias char-* k_2\n";
        assert_eq!(
            kept(Format::LastWord, alias),
            "# header\nalias a b*c k\nalias char-* k_2\n"
        );
        let softdep = "# header\nsoftdep x pre: k\nsoftdep k pre: x\n";
        assert_eq!(
            kept(Format::SecondWord, softdep),
            "# header\nsoftdep k pre: x\n"
        );
        let devname = "# header\nx x c1:1\n";
        assert_eq!(kept(Format::FirstWord, devname), "");
        assert_eq!(
            kept(Format::FirstWord, &format!("{devname}k k c1:2\n")),
            "# header\nk k c1:2\n"
        );
        let record = "kernel/x.ko a\nk\n\nkernel/k.ko b c\nx\n\nkernel/k2.ko\n\nx2.ko\n\n";
        assert_eq!(
            kept(Format::Record, record),
            "kernel/k.ko b c\nx\n\nkernel/k2.ko\n\n"
        );
    }

    #[test]
    fn neighbours_become_one_part_and_odd_lines_stay() {
        let keeps = |name: ModuleName<'_>| name == ModuleName::new(b"k");
        let parts = filter(
            Format::LastWord,
            b"alias 1 k\n\nalias 2 k\nalias 3 x\nalias 4 k",
            &keeps,
        );
        assert_eq!(parts, [&b"alias 1 k\n\nalias 2 k\n"[..], b"alias 4 k"]);
    }

    #[test]
    fn keeping_all_gives_the_text_and_keeping_none_no_entry() {
        let vocabulary: [&[u8]; 6] = [b"alias", b" ", b"k", b"\n", b"#", b":"];
        crate::text::tests::every_text(&vocabulary, 6, &mut |text| {
            for &(_, format) in FILES {
                let all = filter(format, text, &|_| true);
                if format != Format::FirstWord || !all.is_empty() {
                    assert_eq!(all.concat(), text);
                    assert!(all.len() <= 1);
                }
                let _ = filter(format, text, &|_| false);
            }
        });
    }
}
