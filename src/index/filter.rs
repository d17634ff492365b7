//! depmod's text files without the modules that go.
//!
//! What stays is given back as slices of the old text, neighbours joined, ready for writev.
//! Filtering by a set that is closed under dependencies produces what depmod would write on the
//! pruned tree, header and order included. A line that is not of the file's format stays as it
//! is: it may mean something to somebody.

use crate::format::new_list;
use crate::text::alias::alias;
use crate::text::name::{ModuleName, ModulePath};
use crate::text::{find_word, is_same, lines, memchr, split_at_byte, words};

/// Which word of a line says whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexFormat {
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
pub const FILES: &[(&[u8], IndexFormat)] = &[
    (b"modules.dep", IndexFormat::Path),
    (b"modules.alias", IndexFormat::LastWord),
    (b"modules.symbols", IndexFormat::LastWord),
    (b"modules.softdep", IndexFormat::SecondWord),
    (b"modules.weakdep", IndexFormat::SecondWord),
    (b"modules.devname", IndexFormat::FirstWord),
    (b"modules.order", IndexFormat::Path),
    (b"modules.dep.bb", IndexFormat::Record),
];

/// A line of a module.
pub struct Line<'t> {
    /// All of it, without its newline.
    pub whole: &'t [u8],
    /// The pattern, in an alias' line.
    pub pattern: &'t [u8],
    /// The module, as the line spells it.
    pub module: &'t [u8],
}

/// The position of a module among those that stay; `None` if it goes.
pub type Position<'k> = &'k dyn Fn(ModuleName<'_>) -> Option<usize>;

/// Called for each line that stays: with the line and its module's position, or with nothing where
/// it is no module's.
pub type See<'s, 't> = &'s mut dyn FnMut(Option<(&Line<'t>, usize)>);

/// Whether the lines that are no module's stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comments {
    /// They do.
    Stay,
    /// They go: the text is added to another one, which has them.
    Go,
}

/// The parts of `text` that stay, in order.
///
/// # Errors
/// The number of the first line that says what is needed, and not in depmod's way. Passed over,
/// such a file would cost modules that something needs.
pub fn filter<'t>(
    format: IndexFormat,
    text: &'t [u8],
    comments: Comments,
    position: Position<'_>,
    see: See<'_, 't>,
) -> Result<&'t mut Vec<&'t [u8]>, usize> {
    let parts = new_list();
    // The last part, which grows while lines that stay follow one another.
    let mut part = 0..0;
    let mut entries = 0;
    // depmod writes the aliases of a module one after the other, so the last answer is kept.
    let mut last = (&b"\n"[..], None);
    // In a record, the lines after the first go where the first goes.
    let (mut is_first, mut stays) = (true, true);
    // No index can hold a zero byte: it ends a key and a value there.
    let zero = memchr(0, text);
    let checked = &text[..zero.unwrap_or(text.len())];
    let number_at = |place: usize| lines(&text[..=place]).count();
    let mut next = 0;
    while next < checked.len() {
        let start = next;
        let line = split_at_byte(&checked[start..], b'\n').0;
        next = checked.len().min(start + line.len() + 1);
        let mut found = None;
        if is_first || format != IndexFormat::Record {
            found = parse(format, line).ok_or_else(|| number_at(start))?;
            stays = comments == Comments::Stay;
        }
        if let Some(found) = &found {
            if !is_same(found.module, last.0) {
                last = (found.module, position(ModuleName::new(found.module)));
            }
            stays = last.1.is_some();
        }
        is_first = line.is_empty();
        if stays {
            if part.end != start {
                push_part(parts, &text[part]);
                part = start..start;
            }
            part.end = next;
            entries += usize::from(line.first() != Some(&b'#'));
            see(found.as_ref().zip(last.1));
        }
    }
    if let Some(zero) = zero {
        return Err(number_at(zero));
    }
    if format == IndexFormat::FirstWord && entries == 0 {
        return Ok(new_list());
    }
    push_part(parts, &text[part]);
    Ok(parts)
}

fn push_part<'t>(parts: &mut Vec<&'t [u8]>, part: &'t [u8]) {
    if !part.is_empty() {
        parts.push(part);
    }
}

/// Takes a line apart: `None` for a damaged one, and nothing inside for one that is no module's.
fn parse(format: IndexFormat, line: &[u8]) -> Option<Option<Line<'_>>> {
    let mut words = words(line);
    let mut pattern: &[u8] = b"";
    let module = match format {
        IndexFormat::Record => words
            .next()
            .map(|path| ModulePath(path).name().as_written()),
        _ if matches!(line.first(), None | Some(b'#')) => None,
        // modules.dep has a parser of its own, which finds what is damaged.
        IndexFormat::Path => {
            let path = split_at_byte(line, b':').0;
            (!path.is_empty()).then(|| ModulePath(path).name().as_written())
        }
        IndexFormat::LastWord => {
            let (left, module) = alias(line)?;
            pattern = left;
            Some(module)
        }
        IndexFormat::FirstWord => words.next(),
        IndexFormat::SecondWord => {
            find_word(b"softdep weakdep", words.next()?)?;
            words.next()
        }
    };
    Some(module.map(|module| Line {
        whole: line,
        pattern,
        module,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(format: IndexFormat, text: &str) -> String {
        let keeps = |name: ModuleName<'_>| name.to_kernel().starts_with(b"k").then_some(0);
        let parts = filter(format, text.as_bytes(), Comments::Stay, &keeps, &mut |_| {}).unwrap();
        String::from_utf8(parts.concat()).unwrap()
    }

    #[test]
    fn the_first_line_that_is_damaged_is_named() {
        for (format, text, wanted) in [
            (IndexFormat::LastWord, "# x\nalias a b\n\nalias c d\n", None),
            (IndexFormat::LastWord, "alias a b\nalias c\n", Some(2)),
            (IndexFormat::LastWord, "\0\0\0\0", Some(1)),
            (IndexFormat::LastWord, "alias a\0b c\n", Some(1)),
            (
                IndexFormat::SecondWord,
                "# x\nsoftdep a pre: b\nweakdep a b\n",
                None,
            ),
            (
                IndexFormat::SecondWord,
                "softdep a pre: b\nftdep a post: c\n",
                Some(2),
            ),
        ] {
            let filtered = filter(
                format,
                text.as_bytes(),
                Comments::Stay,
                &|_| None,
                &mut |_| {},
            );
            assert_eq!(filtered.err(), wanted, "{text}");
        }
    }

    #[test]
    fn each_format_finds_the_owner_of_a_line() {
        let path = "kernel/k-1.ko: kernel/x.ko\nkernel/x.ko:\nextra/k.ko.xz:\n";
        assert_eq!(
            kept(IndexFormat::Path, path),
            "kernel/k-1.ko: kernel/x.ko\nextra/k.ko.xz:\n"
        );
        assert_eq!(
            kept(IndexFormat::Path, "kernel/x.ko\nkernel/k.ko\n"),
            "kernel/k.ko\n"
        );
        let alias = "# header\nalias a b*c k\nalias k x\nalias char-* k_2\n";
        assert_eq!(
            kept(IndexFormat::LastWord, alias),
            "# header\nalias a b*c k\nalias char-* k_2\n"
        );
        let softdep = "# header\nsoftdep x pre: k\nsoftdep k pre: x\n";
        assert_eq!(
            kept(IndexFormat::SecondWord, softdep),
            "# header\nsoftdep k pre: x\n"
        );
        let devname = "# header\nx x c1:1\n";
        assert_eq!(kept(IndexFormat::FirstWord, devname), "");
        assert_eq!(
            kept(IndexFormat::FirstWord, &format!("{devname}k k c1:2\n")),
            "# header\nk k c1:2\n"
        );
        let record = "kernel/x.ko a\nk\n\nkernel/k.ko b c\nx\n\nkernel/k2.ko\n\nx2.ko\n\n";
        assert_eq!(
            kept(IndexFormat::Record, record),
            "kernel/k.ko b c\nx\n\nkernel/k2.ko\n\n"
        );
    }

    #[test]
    fn neighbours_become_one_part_and_odd_lines_stay() {
        let keeps = |name: ModuleName<'_>| (name == ModuleName::new(b"k")).then_some(7);
        let mut seen = Vec::new();
        let parts = filter(
            IndexFormat::LastWord,
            b"alias 1 k\n\nalias 2 k\nalias 3 x\nalias 4 k",
            Comments::Stay,
            &keeps,
            &mut |found| seen.push(found.map(|(line, position)| (line.pattern, position))),
        );
        let wanted = [&b"alias 1 k\n\nalias 2 k\n"[..], b"alias 4 k"];
        assert_eq!(parts.unwrap()[..], wanted);
        let wanted = [Some((&b"1"[..], 7)), None, Some((b"2", 7)), Some((b"4", 7))];
        assert_eq!(seen, wanted);
    }

    #[test]
    fn keeping_all_gives_the_text_and_keeping_none_no_entry() {
        let vocabulary: [&[u8]; 6] = [b"alias", b" ", b"k", b"\n", b"#", b":"];
        crate::text::tests::every_text(&vocabulary, 6, &mut |text| {
            for &(_, format) in FILES {
                let Ok(all) = filter(format, text, Comments::Stay, &|_| Some(0), &mut |_| {})
                else {
                    continue;
                };
                if format != IndexFormat::FirstWord || !all.is_empty() {
                    assert_eq!(all.concat(), text);
                    assert!(all.len() <= 1);
                }
                let none = filter(format, text, Comments::Stay, &|_| None, &mut |found| {
                    assert!(found.is_none())
                });
                assert!(none.is_ok());
            }
        });
    }
}
