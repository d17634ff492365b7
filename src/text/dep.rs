//! `modules.dep` (and `modules.builtin`, whose lines are paths alone).
//!
//! A line is `path:` and then ` dependency` for each module that it needs, directly or not,
//! users before their dependencies. There is no header. depmod writes the dependencies
//! transitively; nothing here relies on it. (kmod: tools/depmod.c, `output_deps`)

use crate::error::{Error, Result};
use crate::text::name::{ModuleName, ModulePath};
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

/// modules.dep as text, with a hash table over the names of its lines: the position of each
/// line's `:`, and no look at the rest of a line before it is asked for.
pub struct DepText<'t> {
    text: &'t [u8],
    file: Vec<u8>,
    /// Positions of colons + 1; 0 is free. A power of two, at most half full.
    slots: Vec<u32>,
    /// Whether every line has been seen to be sound.
    is_checked: Cell<bool>,
}

const NO_COLON: &str = "no ':' behind the module's path";

impl<'t> DepText<'t> {
    /// Finds the lines of `text`; `file` is for messages.
    ///
    /// # Errors
    /// No line at all, or a file of 4 GiB.
    pub fn new(text: &'t [u8], file: &[u8]) -> Result<Self> {
        if text.is_empty() {
            return Err(Error::parse(file, 0, "the file is empty; run depmod", &[]));
        }
        if u32::try_from(text.len() + 1).is_err() {
            return Err(Error::parse(file, 0, "the file is too large", &[]));
        }
        let mut index = DepText {
            text,
            file: file.to_vec(),
            slots: Vec::new(),
            is_checked: Cell::new(false),
        };
        // A line of a real tree has 130 bytes; where lines are shorter, start again with more room.
        let mut room = (text.len() / 80).next_power_of_two().max(64);
        while !index.fill(room) {
            room *= 2;
        }
        Ok(index)
    }

    /// The whole text.
    pub fn text(&self) -> &'t [u8] {
        self.text
    }

    /// Notes every line in a table of `room` slots; `false` if they are too many for it.
    fn fill(&mut self, room: usize) -> bool {
        self.slots = vec![0; room];
        let mask = room - 1;
        let mut behind_last = 0;
        for (count, colon) in memchr::memchr_iter(b':', self.text).enumerate() {
            if count * 2 >= room {
                return false;
            }
            let hash = self.hash_before(colon, behind_last);
            behind_last = colon + 1;
            let Some(hash) = hash else {
                continue;
            };
            let mut slot = hash as usize & mask;
            while self.slots[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            self.slots[slot] = colon as u32 + 1;
        }
        true
    }

    /// The hash of the name in the path that ends at `colon`. `None` where a longer look finds
    /// no start of a line behind the last colon: so a line of colons costs no more than others.
    fn hash_before(&self, colon: usize, behind_last: usize) -> Option<u32> {
        let path = &self.text[..colon];
        let hash = path.strip_suffix(b".ko").and_then(ModulePath::hash_of_stem);
        hash.or_else(|| {
            let newline = memchr::memrchr(b'\n', &path[behind_last..]);
            let start = match newline {
                Some(newline) => behind_last + newline + 1,
                None if behind_last == 0 => 0,
                None => return None,
            };
            Some(ModulePath(&path[start..]).name().hash())
        })
    }

    fn path_before(&self, colon: usize) -> ModulePath<'t> {
        let start = memchr::memrchr(b'\n', &self.text[..colon]).map_or(0, |newline| newline + 1);
        ModulePath(&self.text[start..colon])
    }

    /// The line of a module. Of two lines with one name the first counts.
    ///
    /// # Errors
    /// The line is malformed.
    pub fn find(&self, name: ModuleName<'_>) -> Result<Option<DepLine<'t>>> {
        let Some((start, colon)) = self.place(name) else {
            return Ok(None);
        };
        let behind = split_at_byte(&self.text[colon..], b'\n').0;
        let line = &self.text[start..colon + behind.len()];
        self.parse(line).map(Some)
    }

    /// Whether a module has a line, malformed or not.
    pub fn lists(&self, name: ModuleName<'_>) -> bool {
        self.place(name).is_some()
    }

    /// Where the line of a module begins, and its colon.
    fn place(&self, name: ModuleName<'_>) -> Option<(usize, usize)> {
        let mask = self.slots.len() - 1;
        let mut slot = name.hash() as usize & mask;
        while let Some(colon) = self.slots[slot].checked_sub(1) {
            let colon = colon as usize;
            if let Some(start) = self.start(colon, name) {
                return Some((start, colon));
            }
            slot = (slot + 1) & mask;
        }
        None
    }

    /// The start of the line with this colon, if it is that of the module.
    fn start(&self, colon: usize, name: ModuleName<'_>) -> Option<usize> {
        let path = &self.text[..colon];
        let start = match path.strip_suffix(b".ko") {
            Some(stem) => {
                let before = name.before_in(stem)?;
                memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1)
            }
            None => {
                let path = self.path_before(colon);
                (path.name() == name).then(|| colon - path.0.len())?
            }
        };
        // Behind a second colon of one line no path ends.
        let is_path = memchr::memchr(b':', &self.text[start..colon]).is_none();
        is_path.then_some(start)
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

/// Whether modules.builtin lists a module. A scan: it is asked only for names that
/// no module file has.
pub fn is_builtin(builtin: &[u8], name: ModuleName<'_>) -> bool {
    lines(builtin).any(|(_, path)| ModulePath(path).name() == name)
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
        assert!(is_builtin(
            b"kernel/fs/ext-4.ko\nkernel/b.ko\n",
            name("ext_4")
        ));
        assert!(!is_builtin(b"kernel/fs/ext4.ko\n", name("ext")));
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
