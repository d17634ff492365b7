//! `modules.dep` (and `modules.builtin`, whose lines are paths alone).
//!
//! A line is `path:` and then ` dependency` for each module that it needs, directly or not,
//! users before their dependencies. There is no header. depmod writes the dependencies
//! transitively; nothing here relies on it. (kmod: tools/depmod.c, `output_deps`)

use crate::error::{Error, Result};
use crate::format::Text;
use crate::text::name::{ModuleName, ModulePath};
use crate::text::table::Table;
use crate::text::{lines, split_at_byte};
use std::cell::Cell;

/// One line of modules.dep.
#[derive(Clone, Copy, Debug)]
pub struct DepLine<'t> {
    /// The module's file.
    pub path: ModulePath<'t>,
    line: &'t [u8],
}

impl<'t> DepLine<'t> {
    /// Reads one line without its newline.
    ///
    /// # Errors
    /// What is wrong with it, for the caller to add file and line.
    pub fn parse(line: &'t [u8]) -> core::result::Result<Self, &'static str> {
        let Some(colon) = memchr::memchr(b':', line) else {
            return Err(NO_COLON);
        };
        let parsed = DepLine {
            path: ModulePath(&line[..colon]),
            line,
        };
        // The dependencies are not judged here: each is looked up and has a line of its own.
        if !parsed.path.is_sound() {
            return Err("a path with '..', '.', control bytes or no file name");
        }
        Ok(parsed)
    }

    /// The files of the modules that this one needs, as far as the line tells.
    pub fn dependencies(&self) -> impl Iterator<Item = ModulePath<'t>> {
        // By the space alone, which depmod writes, and busybox too.
        let mut rest = &self.line[self.path.0.len() + 1..];
        core::iter::from_fn(move || loop {
            let (word, behind) = split_at_byte(rest, b' ');
            rest = behind;
            match (word.is_empty(), behind.is_empty()) {
                (false, _) => return Some(ModulePath(word)),
                (true, true) => return None,
                (true, false) => {}
            }
        })
    }

    /// The whole line, without its newline.
    pub fn as_written(&self) -> &'t [u8] {
        self.line
    }
}

/// The lines of a text that begin with a module's path, by the module's name. Of two lines with one
/// name the first counts.
pub struct Paths<'t> {
    text: PathText<'t>,
    /// Where paths end.
    table: Table,
}

/// What ends the path of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// The first `:`; a line without one has no path (modules.dep).
    Colon,
    /// The line's end (modules.builtin).
    Line,
}

impl<'t> Paths<'t> {
    /// Finds the lines of a text; `file` is for messages.
    ///
    /// # Errors
    /// A file of 4 GiB.
    pub fn new(text: &'t [u8], ends: Ends, file: &[u8]) -> Result<Self> {
        if u32::try_from(text.len() + 1).is_err() {
            return Err(Error::parse(file, 0, "the file is too large", &[]));
        }
        let end = match ends {
            Ends::Colon => b':',
            Ends::Line => b'\n',
        };
        let mut paths = Paths {
            text: PathText { text, end },
            // A line of a real tree has 130 bytes; where lines are shorter, the table grows.
            table: Table::with_room(text.len() / 160),
        };
        let ends = memchr::memchr_iter(end, text);
        // The last line may have no newline.
        let is_open = end == b'\n' && !matches!(text.last(), None | Some(b'\n'));
        for end in ends.chain(is_open.then_some(text.len())) {
            paths.note(end);
        }
        Ok(paths)
    }

    /// Notes a path by its end. Whether a `:` is the first of its line is not looked at before
    /// another one has the same hash: in real files it is.
    #[inline(always)] // the loop keeps the hash's constants
    fn note(&mut self, end: usize) {
        let text = self.text;
        let hash = match ModulePath(&text.text[..end]).quick_hash() {
            Some(hash) => hash,
            None => match text.before(end) {
                Some(path) => path.name().hash(),
                None => return,
            },
        };
        let is_it = |other| text.are_same(other as usize, end);
        if let Some(other) = self.table.insert_inline(hash, end as u32, &is_it) {
            if text.before(other as usize).is_none() {
                self.table.replace(hash, other, end as u32);
            }
        }
    }

    /// The line of a module.
    pub fn find(&self, name: ModuleName<'_>) -> Option<&'t [u8]> {
        let is_it = |end| self.text.before(end as usize).map(ModulePath::name) == Some(name);
        let end = self.table.find(name.hash(), &is_it)? as usize;
        let text = self.text.text;
        let behind = split_at_byte(&text[end..], b'\n').0;
        let start = end - self.text.before(end)?.0.len();
        Some(&text[start..end + behind.len()])
    }
}

/// A text of paths, and the byte behind each.
#[derive(Clone, Copy)]
struct PathText<'t> {
    text: &'t [u8],
    end: u8,
}

impl<'t> PathText<'t> {
    /// The path that ends here; `None` behind a second `:` of one line.
    fn before(self, end: usize) -> Option<ModulePath<'t>> {
        let text = &self.text[..end];
        let start = match memchr::memrchr2(self.end, b'\n', text) {
            Some(at) if text[at] != b'\n' => return None,
            at => at.map_or(0, |newline| newline + 1),
        };
        Some(ModulePath(&text[start..]))
    }

    /// Whether one place in a table is enough for the paths that end here and there.
    fn are_same(self, end: usize, other: usize) -> bool {
        match (self.before(end), self.before(other)) {
            (Some(path), Some(other)) => path.name() == other.name(),
            // One of them is no path, and the other needs its place.
            _ => true,
        }
    }
}

/// modules.dep as text: no look at the rest of a line before it is asked for.
pub struct DepText<'t> {
    text: &'t [u8],
    file: Text,
    paths: Paths<'t>,
    /// Whether every line has been seen to be sound.
    is_checked: Cell<bool>,
}

const NO_COLON: &str = "no ':' behind the module's path";

impl<'t> DepText<'t> {
    /// Finds the lines of `text`; `file` is for messages.
    ///
    /// # Errors
    /// No line at all, or a file of 4 GiB.
    pub fn new(text: &'t [u8], file: Text) -> Result<Self> {
        if text.is_empty() {
            return Err(Error::parse(file, 0, "the file is empty; run depmod", &[]));
        }
        Ok(DepText {
            text,
            file,
            paths: Paths::new(text, Ends::Colon, file)?,
            is_checked: Cell::new(false),
        })
    }

    /// The line of a module. Of two lines with one name the first counts.
    ///
    /// # Errors
    /// The line is malformed.
    pub fn find(&self, name: ModuleName<'_>) -> Result<Option<DepLine<'t>>> {
        let line = self.paths.find(name);
        line.map(|line| self.parse(line)).transpose()
    }

    /// Whether a module has a line, malformed or not.
    pub fn lists(&self, name: ModuleName<'_>) -> bool {
        self.paths.find(name).is_some()
    }

    /// Looks at every line, once: a name that is missing may have a line that is malformed.
    ///
    /// # Errors
    /// A malformed line.
    pub fn check(&self) -> Result<()> {
        match self.is_checked.replace(true) {
            true => Ok(()),
            false => self.all().try_for_each(|line| line.map(drop)),
        }
    }

    /// Every line, in the file's order.
    ///
    /// # Errors
    /// A malformed line.
    pub fn all(&self) -> impl Iterator<Item = Result<DepLine<'t>>> + '_ {
        lines(self.text).map(|(_, line)| self.parse(line))
    }

    fn parse(&self, line: &'t [u8]) -> Result<DepLine<'t>> {
        DepLine::parse(line).map_err(|what| {
            let start = line.as_ptr() as usize - self.text.as_ptr() as usize;
            let before = memchr::memchr_iter(b'\n', &self.text[..start]).count();
            Error::parse(&self.file, before + 1, "{}", &[what.as_bytes()])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{kind_of, ErrorKind};

    const TEXT: &[u8] = b"kernel/fs/ext4.ko: kernel/lib/crc16.ko kernel/fs/jbd2.ko\n\
        kernel/lib/crc16.ko:\n\
        kernel/fs/jbd2.ko:\n\
        updates/a-b.ko.xz: kernel/lib/crc16.ko";

    fn name(text: &str) -> ModuleName<'_> {
        ModuleName::new(text.as_bytes())
    }

    #[test]
    fn a_name_is_found_in_either_spelling() {
        let index = DepText::new(TEXT, b"f").unwrap();
        let line = index.find(name("a_b")).unwrap().unwrap();
        assert_eq!(line.path, ModulePath(b"updates/a-b.ko.xz"));
        assert_eq!(line.dependencies().count(), 1);
        assert!(index.find(name("ext")).unwrap().is_none());
        assert_eq!(index.all().count(), 4);
    }

    #[test]
    fn errors_name_the_line() {
        let index = DepText::new(b"a.ko:\nb.ko\n", b"f").unwrap();
        assert!(index.find(name("a")).unwrap().is_some());
        assert!(index.find(name("b")).unwrap().is_none());
        assert_eq!(kind_of(index.check()), Some(ErrorKind::Parse { line: 2 }));
        let index = DepText::new(b"a.ko:\n../b.ko:\nd\r.ko:\n", b"f").unwrap();
        assert!(index.find(name("a")).unwrap().is_some());
        let bad = index.find(name("b"));
        assert_eq!(kind_of(bad), Some(ErrorKind::Parse { line: 2 }));
        let bad = index.find(name("d\r"));
        assert_eq!(kind_of(bad), Some(ErrorKind::Parse { line: 3 }));
        assert!(DepText::new(b"", b"f").is_err());
    }

    #[test]
    fn short_lines_only_need_more_room() {
        let text: String = (0..500).map(|n| format!("{n}.ko:\n")).collect();
        let index = DepText::new(text.as_bytes(), b"f").unwrap();
        assert!((0..500).all(|n| index.find(name(&n.to_string())).unwrap().is_some()));
    }

    #[test]
    fn the_first_of_two_lines_wins() {
        let index = DepText::new(b"updates/a.ko:\nkernel/a.ko:\n", b"f").unwrap();
        let line = index.find(name("a")).unwrap().unwrap();
        assert_eq!(line.path.directory(), b"updates/");
    }

    #[test]
    fn builtin_modules_are_found_by_name() {
        let text = b"kernel/fs/ext-4.ko\nkernel/b.ko:c\nlast.ko";
        let paths = Paths::new(text, Ends::Line, b"f").unwrap();
        for found in ["ext_4", "b", "last"] {
            assert!(paths.find(name(found)).is_some(), "{found}");
        }
        for missing in ["ext", "", "c"] {
            assert!(paths.find(name(missing)).is_none(), "{missing}");
        }
    }

    #[test]
    fn no_text_panics_and_every_slice_lies_inside() {
        let vocabulary: [&[u8]; 7] = [b"a", b".ko", b":", b" ", b"/", b"\n", b".."];
        crate::text::tests::every_text(&vocabulary, 6, &mut |text| {
            let Ok(index) = DepText::new(text, b"f") else {
                return;
            };
            let range = text.as_ptr_range();
            for line in index.all().flatten() {
                assert!(line.path.0.as_ptr() >= range.start && line.path.0.as_ptr() < range.end);
                assert!(index.find(line.path.name()).is_err() || line.dependencies().count() < 7);
            }
        });
    }
}
