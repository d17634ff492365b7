//! `modules.dep` (and `modules.builtin`, whose lines are paths alone).
//!
//! A line is `path:` and then ` dependency` for each module that it needs, directly or not,
//! users before their dependencies. There is no header. depmod writes the dependencies
//! transitively; nothing here relies on it. (kmod: tools/depmod.c, `output_deps`)

use crate::error::{Error, Result};
use crate::format::Text;
use crate::template::Template;
use crate::text::name::{ModuleName, ModulePath};
use crate::text::{after_last, bare_lines, rfind, split_inline, until};
use std::cell::Cell;

/// One line of modules.dep.
#[derive(Clone, Copy, Debug)]
pub struct DepLine<'t>(&'t [u8]);

impl<'t> DepLine<'t> {
    /// Reads one line without its newline.
    ///
    /// # Errors
    /// What is wrong with it, for the caller to add file and line.
    pub fn parse(line: &'t [u8]) -> core::result::Result<Self, Template> {
        let path = DepLine(line).path();
        match path.0.len() == line.len() {
            true => Err(msg!("no ':' after the module's path")),
            false => DepLine(line).checked(path),
        }
    }

    fn checked(self, path: ModulePath<'_>) -> core::result::Result<Self, Template> {
        // The dependencies are not checked here: each is looked up and has a line of its own.
        match path.is_sound() {
            true => Ok(self),
            false => Err(msg!("a path with '..', '.', control bytes or no file name")),
        }
    }

    /// The module's file.
    pub fn path(&self) -> ModulePath<'t> {
        ModulePath(until(self.0, b':'))
    }

    /// The files of the modules that this one needs, as far as the line tells.
    pub fn dependencies(&self) -> Dependencies<'t> {
        self.parts().1
    }

    /// Both of these.
    pub fn parts(&self) -> (ModulePath<'t>, Dependencies<'t>) {
        let (path, rest) = split_inline(self.0, b':');
        (ModulePath(path), Dependencies(rest))
    }

    /// The whole line, without its newline.
    pub fn as_written(&self) -> &'t [u8] {
        self.0
    }
}

/// What comes after the path of a line.
#[derive(Clone, Copy)]
pub struct Dependencies<'t>(&'t [u8]);

impl<'t> Iterator for Dependencies<'t> {
    type Item = ModulePath<'t>;

    #[inline(always)] // one loop over thousands
    fn next(&mut self) -> Option<ModulePath<'t>> {
        // By the space alone, which depmod writes, and busybox too.
        loop {
            let (word, after) = split_inline(self.0, b' ');
            self.0 = after;
            match (word.is_empty(), after.is_empty()) {
                (false, _) => return Some(ModulePath(word)),
                (true, true) => return None,
                (true, false) => {}
            }
        }
    }
}

/// The lines of a text that begin with a module's path, by the module's name. Of two lines with one
/// name the first counts.
///
/// Names mostly differ at their ends, so a hash of these finds them, and costs least for the thousands
/// of lines that nobody asks for. Where many names end alike, the whole names are hashed.
pub struct Paths<'t> {
    text: &'t [u8],
    /// What comes after each path.
    end: u8,
    by_tail: Chains,
    /// Where many names end alike.
    by_whole: Cell<Option<&'static Chains>>,
}

/// What ends the path of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// The first `:`; a line without one has no path (modules.dep).
    Colon,
    /// The line's end (modules.builtin).
    Line,
}

/// Lines with one hash, one after the other as they are in the text.
#[derive(Default)]
struct Chains {
    /// Where each begins, in `lines`, + 1; 0 is none. A power of two.
    heads: Vec<u32>,
    lines: Vec<LinePlace>,
    part: Part,
}

struct LinePlace {
    /// Where its path ends.
    end: u32,
    /// The next of its chain, + 1.
    next: u32,
}

/// How much of a name a hash is of.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Part {
    /// All of it.
    #[default]
    Whole,
    /// The last eight bytes.
    Tail,
}

impl Part {
    #[cold]
    fn hash(self, name: ModuleName<'_>) -> u32 {
        match self {
            Part::Whole => name.hash(),
            Part::Tail => name.tail_hash(),
        }
    }
}

/// So many lines are compared for one name before the whole names are hashed.
const LONG: usize = 256;

impl<'t> Paths<'t> {
    /// Finds the lines of a text; `file` is for messages.
    ///
    /// # Errors
    /// A file of 4 GiB.
    pub fn new(text: &'t [u8], ends: Ends, file: &[u8]) -> Result<Box<Self>> {
        if u32::try_from(text.len() + 1).is_err() {
            return Err(Error::parse(file, 0, msg!("the file is too large"), &[]));
        }
        let mut paths = Box::new(Paths {
            text,
            end: match ends {
                Ends::Colon => b':',
                Ends::Line => b'\n',
            },
            by_tail: Chains::default(),
            by_whole: Cell::new(None),
        });
        // A line of a real tree has 130 bytes.
        paths.by_tail = paths.chained(text.len() / 80, Part::Tail);
        Ok(paths)
    }

    /// Chains of the lines by a hash of this part of their names.
    fn chained(&self, room: usize, part: Part) -> Chains {
        let text = self.text;
        let room = room.next_power_of_two().max(64);
        let mut heads = vec![0; room];
        let mut lines = Vec::with_capacity(room / 2);
        // The last line may have no newline.
        let is_open = self.end == b'\n' && !matches!(text.last(), None | Some(b'\n'));
        let mut before = match is_open {
            true => Some(text.len()),
            false => rfind(text, self.end),
        };
        // From the last to the first, which so comes to the head of its chain.
        while let Some(end) = before {
            before = rfind(&text[..end], self.end);
            let path = ModulePath(&text[..end]);
            let quick = match part {
                Part::Tail => path.quick_tail_hash(),
                Part::Whole => None,
            };
            let Some(hash) = quick.or_else(|| Some(part.hash(self.before(end)?.name()))) else {
                continue;
            };
            let head = &mut heads[hash as usize & (room - 1)];
            let end = end as u32;
            lines.push(LinePlace { end, next: *head });
            *head = lines.len() as u32;
        }
        Chains { heads, lines, part }
    }

    /// The whole text.
    pub fn text(&self) -> &'t [u8] {
        self.text
    }

    /// The path and the line of a module.
    pub fn find(&self, name: ModuleName<'_>) -> Option<(ModulePath<'t>, &'t [u8])> {
        let chains = self.by_whole.get().unwrap_or(&self.by_tail);
        let path = match self.find_in(chains, name) {
            Ok(found) => found?,
            Err(()) => {
                let whole = self.chained(chains.lines.len() * 2, Part::Whole);
                self.by_whole.set(Some(Box::leak(Box::new(whole))));
                return self.find(name);
            }
        };
        let start = path.0.as_ptr() as usize - self.text.as_ptr() as usize;
        let end = start + path.0.len();
        let after = until(&self.text[end..], b'\n');
        Some((path, &self.text[start..end + after.len()]))
    }

    /// An error where the chain is too long, and others would be shorter.
    fn find_in(&self, chains: &Chains, name: ModuleName<'_>) -> Looked<'t> {
        let mask = chains.heads.len() - 1;
        let mut next = chains.heads[chains.part.hash(name) as usize & mask];
        let mut compared = 0;
        while let Some(line) = chains.lines.get((next as usize).wrapping_sub(1)) {
            let end = line.end as usize;
            if name.is_before(&self.text[..end]) {
                if let Some(path) = self.before(end) {
                    return Ok(Some(path));
                }
            }
            compared += 1;
            if compared == LONG && chains.part == Part::Tail {
                return Err(());
            }
            next = line.next;
        }
        Ok(None)
    }

    /// The path that ends here; `None` after a second `:` of one line.
    fn before(&self, end: usize) -> Option<ModulePath<'t>> {
        // Never beyond the `:` before: many of them in one line would cost their square.
        let text = &self.text[..end];
        let rest = after_last(text, self.end);
        let path = after_last(rest, b'\n');
        let is_second = rest.len() < text.len() && path.len() == rest.len();
        match is_second && self.end == b':' {
            true => None,
            false => Some(ModulePath(path)),
        }
    }
}

type Looked<'t> = core::result::Result<Option<ModulePath<'t>>, ()>;

/// modules.dep as text: no look at the rest of a line before it is asked for.
pub struct DepText<'t> {
    file: Text,
    paths: Box<Paths<'t>>,
    /// Whether every line has been seen to be sound.
    is_checked: Cell<bool>,
}

impl<'t> DepText<'t> {
    /// Finds the lines of `text`; `file` is for messages.
    ///
    /// # Errors
    /// No line at all, or a file of 4 GiB.
    pub fn new(text: &'t [u8], file: Text) -> Result<Box<Self>> {
        if text.is_empty() {
            return Err(Error::parse(
                file,
                0,
                msg!("the file is empty; run depmod"),
                &[],
            ));
        }
        Ok(Box::new(DepText {
            file,
            paths: Paths::new(text, Ends::Colon, file)?,
            is_checked: Cell::new(false),
        }))
    }

    /// The whole text.
    pub fn text(&self) -> &'t [u8] {
        self.paths.text
    }

    /// The line of a module. Of two lines with one name the first counts.
    ///
    /// # Errors
    /// The line is malformed.
    pub fn find(&self, name: ModuleName<'_>) -> Result<Option<DepLine<'t>>> {
        let Some((path, line)) = self.paths.find(name) else {
            return Ok(None);
        };
        let checked = DepLine(line).checked(path);
        checked.map(Some).map_err(|what| self.broken(line, what))
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
            false => {
                for line in self.all() {
                    line?;
                }
                Ok(())
            }
        }
    }

    /// Every line, in the file's order.
    ///
    /// # Errors
    /// A malformed line.
    pub fn all(&self) -> impl Iterator<Item = Result<DepLine<'t>>> + '_ {
        bare_lines(self.paths.text).map(|line| self.parse(line))
    }

    fn parse(&self, line: &'t [u8]) -> Result<DepLine<'t>> {
        DepLine::parse(line).map_err(|what| self.broken(line, what))
    }

    fn broken(&self, line: &[u8], what: Template) -> Error {
        let start = line.as_ptr() as usize - self.paths.text.as_ptr() as usize;
        let before = bare_lines(&self.paths.text[..start]).count();
        Error::parse(self.file, before + 1, what, &[])
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
        assert_eq!(line.path(), ModulePath(b"updates/a-b.ko.xz"));
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
        assert_eq!(line.path().directory(), b"updates/");
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
                assert!(
                    line.path().0.as_ptr() >= range.start && line.path().0.as_ptr() < range.end
                );
                assert!(index.find(line.path().name()).is_err() || line.dependencies().count() < 7);
            }
        });
    }
}
