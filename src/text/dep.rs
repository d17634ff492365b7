//! `modules.dep` (and `modules.builtin`, whose lines are paths alone).
//!
//! A line is `path:` and then ` dependency` for each module that it needs, directly or not,
//! users before their dependencies. There is no header. depmod writes the dependencies
//! transitively; nothing here relies on it. (kmod: tools/depmod.c, `output_deps`)

use crate::error::{Error, Result};
use crate::format::Text;
use crate::text::name::{ModuleName, ModulePath, Part};
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
///
/// Names mostly differ at their ends, so a hash of these finds them, and costs least for the thousands
/// of lines that nobody asks for. Where many names end alike, the whole names are hashed.
pub struct Paths<'t> {
    text: &'t [u8],
    /// What stands behind each path.
    end: u8,
    chains: Cell<Chains>,
}

/// What ends the path of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// The first `:`; a line without one has no path (modules.dep).
    Colon,
    /// The line's end (modules.builtin).
    Line,
}

/// Lines with one hash, one behind the other as they are in the text.
#[derive(Default)]
struct Chains {
    /// Where each begins, in `lines`, + 1; 0 is none. A power of two.
    heads: Vec<u32>,
    lines: Vec<Line>,
    part: Part,
}

struct Line {
    /// Where its path ends.
    end: u32,
    /// The next of its chain, + 1.
    next: u32,
}

/// So many lines are compared for one name before the whole names are hashed.
const LONG: usize = 256;

impl<'t> Paths<'t> {
    /// Finds the lines of a text; `file` is for messages.
    ///
    /// # Errors
    /// A file of 4 GiB.
    pub fn new(text: &'t [u8], ends: Ends, file: &[u8]) -> Result<Self> {
        if u32::try_from(text.len() + 1).is_err() {
            return Err(Error::parse(file, 0, "the file is too large", &[]));
        }
        let paths = Paths {
            text,
            end: match ends {
                Ends::Colon => b':',
                Ends::Line => b'\n',
            },
            chains: Cell::default(),
        };
        // A line of a real tree has 130 bytes.
        paths.chains.set(paths.chained(text.len() / 80, Part::Tail));
        Ok(paths)
    }

    /// Chains of the lines by a hash of this part of their names.
    fn chained(&self, room: usize, part: Part) -> Chains {
        let room = room.next_power_of_two().max(64);
        let mut chains = Chains {
            heads: vec![0; room],
            lines: Vec::with_capacity(room / 2),
            part,
        };
        // The last line may have no newline.
        let is_open = self.end == b'\n' && !matches!(self.text.last(), None | Some(b'\n'));
        let open = is_open.then_some(self.text.len());
        // From the last to the first, which so comes to the head of its chain.
        let ends = memchr::memchr_iter(self.end, self.text).rev();
        for end in open.into_iter().chain(ends) {
            let hash = match ModulePath(&self.text[..end]).quick_hash(part) {
                Some(hash) => hash,
                None => match self.before(end) {
                    Some(path) => path.slow_hash(part),
                    None => continue,
                },
            };
            let head = &mut chains.heads[hash as usize & (room - 1)];
            let next = core::mem::replace(head, chains.lines.len() as u32 + 1);
            let end = end as u32;
            chains.lines.push(Line { end, next });
        }
        chains
    }

    /// The line of a module.
    pub fn find(&self, name: ModuleName<'_>) -> Option<&'t [u8]> {
        let mut chains = self.chains.take();
        let mut found = self.find_in(&chains, name);
        if found.is_err() {
            chains = self.chained(chains.lines.len() * 2, Part::Whole);
            found = self.find_in(&chains, name);
        }
        self.chains.set(chains);
        found.ok().flatten()
    }

    /// An error where the chain is too long, and others would be shorter.
    fn find_in(&self, chains: &Chains, name: ModuleName<'_>) -> Looked<'t> {
        let mask = chains.heads.len() - 1;
        let mut next = chains.heads[name.hash(chains.part) as usize & mask];
        let mut compared = 0;
        while let Some(line) = chains.lines.get((next as usize).wrapping_sub(1)) {
            if let Some(line) = self.line_at(line.end as usize, name) {
                return Ok(Some(line));
            }
            compared += 1;
            if compared == LONG && chains.part == Part::Tail {
                return Err(());
            }
            next = line.next;
        }
        Ok(None)
    }

    /// The line whose path ends here, if it is that of the module.
    fn line_at(&self, end: usize, name: ModuleName<'_>) -> Option<&'t [u8]> {
        let path = &self.text[..end];
        if let [stem @ .., b'.', b'k', b'o'] = path {
            // Nearly all that are not it end here.
            let has_dot = || memchr::memrchr2(b'.', b'/', stem).map(|at| stem[at]) == Some(b'.');
            if !name.ends(stem) && !has_dot() {
                return None;
            }
        }
        let path = self.before(end).filter(|path| path.is_of(name))?;
        let behind = split_at_byte(&self.text[end..], b'\n').0;
        Some(&self.text[end - path.0.len()..end + behind.len()])
    }

    /// The path that ends here; `None` behind a second `:` of one line.
    fn before(&self, end: usize) -> Option<ModulePath<'t>> {
        let text = &self.text[..end];
        let start = match memchr::memrchr2(self.end, b'\n', text) {
            Some(at) if text[at] != b'\n' => return None,
            at => at.map_or(0, |newline| newline + 1),
        };
        Some(ModulePath(&text[start..]))
    }
}

type Looked<'t> = core::result::Result<Option<&'t [u8]>, ()>;

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
