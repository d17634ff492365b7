//! Patterns of names, searched for one name after the other.
//!
//! What stands for one name alone is found by that name. Of the others, a name is compared with those
//! that have eight bytes in common with it: the last ones of a part without wildcards, by which patterns
//! differ most. Where that still is too often, an index of all, as depmod would make it, costs less.

use crate::error::Result;
use crate::format::Text;
use crate::index::trie::{Layout, Trie};
use crate::index::writer::Writer;
use crate::text::alias::{
    alias, before_wildcard, has_open_bracket, long_literal, matches, normalise,
};
use crate::text::name::{bytes_equal, kernel_byte, ModuleName};
use crate::text::table::{finished, mixed, Table};
use crate::text::{eight, memchr, shared_length, split_at_byte, split_inline};
use std::cell::{Cell, RefCell};

/// So many times all patterns can be compared before an index of them is cheaper.
const SEARCHES: usize = 12;

/// As many bytes of a name as lead to a pattern; as many as a `u64` has.
const RUN: usize = 8;

/// Patterns, numbered from 0 in the order in which they come.
#[derive(Default)]
pub struct Patterns {
    patterns: Vec<Pattern>,
    /// The first of those with one key, by its hash.
    by_key: Table,
    /// How many have wildcards, and how often a pattern was compared with a name.
    wildcards: usize,
    compared: Cell<usize>,
    /// The index of all, once it was made.
    index: Cell<Option<&'static Trie<'static>>>,
    room: RefCell<SearchBuffer>,
}

struct Pattern {
    text: Text,
    /// What it stands for; of no use to whoever goes by the numbers.
    module: Text,
    /// Of those with one key, the next; the first one also knows the last.
    next: Option<u32>,
    last: u32,
}

/// What one search after the other uses again.
#[derive(Default)]
struct SearchBuffer {
    /// The name that was last asked for, normalised.
    name: Vec<u8>,
    /// Where its first byte is that would be a wildcard in a pattern.
    plain: usize,
    /// The numbers that a search finds, as wide as others that are sorted.
    found: Vec<u64>,
}

impl Patterns {
    /// Makes room for so many, before there are any.
    pub fn reserve(&mut self, count: usize) {
        self.patterns.reserve(count);
        self.by_key = Table::with_room(count);
    }

    /// Adds a pattern and the module that it stands for.
    pub fn add(&mut self, text: Text, module: Text) {
        let number = self.patterns.len() as u32;
        self.patterns.push(Pattern {
            text,
            module,
            next: None,
            last: number,
        });
        let mut key = long_literal(text);
        if key.len() < text.len() {
            self.wildcards += 1;
            key = match key.len().checked_sub(RUN) {
                Some(start) => &key[start..],
                None => before_wildcard(text),
            };
        }
        let hash = ModuleName::new(key).hash();
        if let Some(first) = self.by_key.insert(hash, number, &|_| true) {
            let last = self.patterns[first as usize].last;
            self.patterns[last as usize].next = Some(number);
            self.patterns[first as usize].last = number;
        }
    }

    /// Calls back with the numbers of the patterns that a name matches, ascending. The name itself is asked for
    /// only where something has its hash, or there are wildcards.
    ///
    /// # Errors
    /// None that an input could cause, beside those of `visit`.
    pub fn search<'n>(
        &self,
        hash: u32,
        name: &dyn Fn() -> ModuleName<'n>,
        visit: &mut dyn FnMut(u32) -> Result<()>,
    ) -> Result<()> {
        let first = self.by_key.find(hash, &|_| true);
        if first.is_none() && self.wildcards == 0 {
            return Ok(());
        }
        let room = &mut *self.room.borrow_mut();
        room.name.clear();
        room.name.extend_from_slice(name().as_written());
        normalise(&mut room.name);
        room.plain = before_wildcard(&room.name).len();
        room.found.clear();
        self.compare(first, room);
        if self.wildcards > 0 {
            self.search_patterns(room)?;
            room.found.sort_unstable();
        }
        let mut last = None;
        for &number in &room.found {
            // What is found in several ways is passed on once.
            if last != Some(number) {
                visit(number as u32)?;
            }
            last = Some(number);
        }
        Ok(())
    }

    /// Calls back with the modules of every pattern that a normalised name matches, in the order in which
    /// they came. As for depmod and modprobe, a bracket without a partner spoils a pattern.
    ///
    /// # Errors
    /// None that an input could cause.
    pub fn modules_of(&self, name: &[u8], visit: &mut dyn FnMut(Text)) -> Result<()> {
        let name = ModuleName::new(name);
        self.search(name.hash(), &|| name, &mut |number| {
            let Pattern { text, module, .. } = self.patterns[number as usize];
            if !has_open_bracket(text) {
                visit(module);
            }
            Ok(())
        })
    }

    /// Compares the name with the patterns of one key.
    fn compare(&self, mut next: Option<u32>, room: &mut SearchBuffer) {
        while let Some(number) = next {
            let pattern = &self.patterns[number as usize];
            // What they have in common has no wildcards, and most differ after it.
            let shared = shared_length(pattern.text, &room.name[..room.plain]);
            if matches(&pattern.text[shared..], &room.name[shared..]) {
                room.found.push(number.into());
            }
            self.compared.set(self.compared.get() + 1);
            next = pattern.next;
        }
    }

    fn search_patterns(&self, room: &mut SearchBuffer) -> Result<()> {
        if self.compared.get() >= self.patterns.len() * SEARCHES {
            self.index.set(self.made_index()?);
            self.compared.set(0);
        }
        let SearchBuffer { name, found, .. } = room;
        if let Some(index) = self.index.get() {
            return index.search_patterns(name, &mut |number, _| found.push(number.into()));
        }
        // The last bytes up to each, as a hash takes them.
        let (mut run, mut at) = (0, 0);
        loop {
            let first = self.by_key.find(finished(mixed(0, run)), &|_| true);
            if first.is_some() {
                self.compare(first, room);
            }
            let Some(&byte) = room.name.get(at) else {
                return Ok(());
            };
            run = run >> 8 | u64::from(kernel_byte(byte)) << 56;
            at += 1;
        }
    }

    /// An index whose priorities are the numbers; `None` where it would be too large for its format.
    #[inline(never)]
    fn made_index(&self) -> Result<Option<&'static Trie<'static>>> {
        let mut writer = Writer::default();
        for (number, pattern) in (0..).zip(&self.patterns) {
            normalise(writer.add(pattern.text, b"", number));
        }
        let Some(bytes) = writer.write(Layout::ParentsFirst) else {
            return Ok(None);
        };
        let index = Trie::new(bytes, b"index in memory")?;
        Ok(Some(Box::leak(index)))
    }
}

/// How patterns are read from a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AliasFormat {
    /// `alias PATTERN MODULE`, one per line (modules.alias, modules.symbols)
    Lines,
    /// `MODULE.alias=PATTERN` among other `MODULE.KEY=VALUE`, each with a NUL after it
    /// (modules.builtin.modinfo)
    Records,
}

/// A file of aliases, by index where there is one, else by text.
///
/// A device's alias has its bus before a `:`, and so have nine of ten patterns in the text. A name
/// without one can match none of those, nor a device's alias a pattern that stands for another name:
/// the text is read for the one kind of names and for the other when the first of them comes.
pub enum AliasFile {
    /// depmod's index.
    Index(Box<Trie<'static>>),
    /// The text that it is made from.
    Text(AliasText),
}

/// Aliases of a text.
pub struct AliasText {
    text: Text,
    format: AliasFormat,
    plain: Cell<Option<&'static Patterns>>,
    devices: Cell<Option<&'static Patterns>>,
}

impl AliasFile {
    /// Aliases of a text, which is read as it is asked for.
    pub fn of_text(text: Text, format: AliasFormat) -> Self {
        AliasFile::Text(AliasText {
            text,
            format,
            plain: Cell::new(None),
            devices: Cell::new(None),
        })
    }

    /// Calls back with the modules of every pattern that a normalised name matches; one more than once where
    /// several of its patterns do.
    ///
    /// # Errors
    /// The index is damaged.
    pub fn search(&self, name: &[u8], visit: &mut dyn FnMut(Text)) -> Result<()> {
        match self {
            AliasFile::Index(index) => index.search_patterns(name, &mut |_, module| visit(module)),
            AliasFile::Text(text) => text.aliases_for(name).modules_of(name, visit),
        }
    }
}

impl AliasText {
    /// The aliases that a name can match, as far as its `:` tells.
    fn aliases_for(&self, name: &[u8]) -> &'static Patterns {
        let is_device = memchr(b':', name).is_some();
        let cell = match is_device {
            true => &self.devices,
            false => &self.plain,
        };
        if let Some(aliases) = cell.get() {
            return aliases;
        }
        let aliases = Box::leak(Box::<Patterns>::default());
        let add = &mut |pattern: Text, module, needs_colon: bool| {
            let is_meant = match needs_colon {
                true => is_device,
                false => !is_device || before_wildcard(pattern).len() < pattern.len(),
            };
            if is_meant {
                aliases.add(pattern, module);
            }
        };
        match self.format {
            AliasFormat::Lines => {
                let mut rest = self.text;
                while !rest.is_empty() {
                    let (line, after) = split_inline(rest, b'\n');
                    rest = after;
                    // A module's name has no colon.
                    let needs_colon = has_early_colon(line) || needs_colon(line);
                    if needs_colon && !is_device {
                        continue; // as most lines
                    }
                    if let Some((pattern, module)) = alias(line) {
                        add(pattern, module, needs_colon);
                    }
                }
            }
            AliasFormat::Records => {
                let mut rest = self.text;
                while !rest.is_empty() {
                    let (first, after) = split_at_byte(rest, 0);
                    rest = after;
                    if let Some((pattern, module)) = record(first) {
                        add(pattern, module, needs_colon(pattern));
                    }
                }
            }
        }
        cell.set(Some(aliases));
        aliases
    }
}

/// Whether all that a pattern matches has a `:`, as far as a short look tells.
fn needs_colon(pattern: &[u8]) -> bool {
    memchr(b':', pattern).map_or(false, |colon| memchr(b'[', &pattern[..colon]).is_none())
}

/// Whether the first bytes of a line's pattern tell that already: buses have short names.
#[inline(always)] // in a loop over thousands
fn has_early_colon(line: &[u8]) -> bool {
    let start = b"alias ".len();
    line.len() >= start + 8 && {
        let first = eight(&line[start..]);
        bytes_equal(first, b':') != 0 && bytes_equal(first, b'[') == 0
    }
}

/// Pattern and module of a record.
pub fn record(record: &[u8]) -> Option<(&[u8], &[u8])> {
    let dot = memchr(b'.', record)?;
    let pattern = record[dot..].strip_prefix(b".alias=")?;
    Some((pattern, &record[..dot]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tests::every_text;

    const TEXT: &[u8] = b"# header\nalias fs-ext4 ext4\nalias crypto-crc32c crc32c_generic\n\
        alias crypto-crc32c crc32c-intel\nalias pci:v*d*sv* ahci\nalias a[b bad\n\
        alias i2c:x one\nalias *c:x two\n";

    fn found(aliases: &AliasFile, name: &[u8]) -> Vec<Text> {
        let mut found = Vec::new();
        let visit = &mut |module| found.push(module);
        aliases.search(name, visit).unwrap();
        found
    }

    #[test]
    fn searching_a_text_again_and_again_gives_the_same() {
        let text = AliasFile::of_text(TEXT, AliasFormat::Lines);
        for _ in 0..=SEARCHES {
            assert_eq!(found(&text, b"fs_ext4"), [b"ext4"]);
            let both: [Text; 2] = [b"crc32c_generic", b"crc32c-intel"];
            assert_eq!(found(&text, b"crypto_crc32c"), both);
            assert_eq!(found(&text, b"pci:v1d2sv3"), [b"ahci"]);
            assert_eq!(found(&text, b"i2c:x"), [b"one", b"two"]);
            assert!(found(&text, b"a[b").is_empty());
            assert!(found(&text, b"").is_empty());
        }
        let AliasFile::Text(text) = text else {
            panic!("a text");
        };
        let devices = text.devices.get().unwrap();
        assert!(devices.index.get().is_some());
    }

    #[test]
    fn eight_bytes_lead_to_every_pattern_that_a_name_matches() {
        let pieces: [&[u8]; 8] = [b"abcdefgh", b"i", b"-", b"*", b"?", b"[i-]", b"\\", b","];
        let names: [&[u8]; 9] = [
            b"",
            b"i",
            b"_",
            b"abcdefgh",
            b"iabcdefgh_",
            b"abcdefghabcdefghi",
            b"abcdefgh*i",
            b"i[i-]",
            b"abcdefgh\\?",
        ];
        every_text(&pieces, 5, &mut |text| {
            let mut patterns = Patterns::default();
            for pattern in text.split(|&byte| byte == b',') {
                patterns.add(pattern.to_vec().leak(), b"");
            }
            for name in names.map(ModuleName::new) {
                let mut found = Vec::new();
                let visit = &mut |number| {
                    found.push(number);
                    Ok(())
                };
                patterns.search(name.hash(), &|| name, visit).unwrap();
                let matching = (0..).zip(&patterns.patterns);
                let matching = matching.filter(|(_, p)| matches(p.text, name.as_written()));
                let wanted: Vec<u32> = matching.map(|(number, _)| number).collect();
                assert_eq!(found, wanted, "{text:?} {name:?}");
            }
        });
    }

    #[test]
    fn records_of_built_in_modules_are_read() {
        let text = b"8250.license=GPL\0unix.alias=net-pf-1\0a.parm=x:y\0tail.alias=t*";
        let records = AliasFile::of_text(text, AliasFormat::Records);
        assert_eq!(found(&records, b"net_pf_1"), [b"unix"]);
        assert_eq!(found(&records, b"tx"), [b"tail"]);
    }

    #[test]
    fn names_and_devices_match_what_comparing_each_pattern_finds() {
        let pieces: [&[u8]; 7] = [b"a", b":", b"*", b"?", b"[:a]", b"-", b","];
        let names: [&[u8]; 9] = [b"", b"a", b":", b"a:", b":a", b"_", b"a:a", b"a_", b"aa"];
        every_text(&pieces, 4, &mut |text| {
            let patterns: Vec<&[u8]> = text.split(|&byte| byte == b',').collect();
            let mut lines = Vec::new();
            for (number, pattern) in patterns.iter().enumerate() {
                let number = number.to_string();
                lines.extend([b"alias ", *pattern, b" ", number.as_bytes(), b"\n"].concat());
            }
            let aliases = AliasFile::of_text(lines.leak(), AliasFormat::Lines);
            // Before and after the index is made.
            for _ in 0..SEARCHES {
                for name in names {
                    let listed = found(&aliases, name).into_iter();
                    let listed: Vec<String> = listed
                        .map(|module| String::from_utf8_lossy(module).into())
                        .collect();
                    let matching = patterns
                        .iter()
                        .enumerate()
                        .filter(|(_, pattern)| !pattern.is_empty() && matches(pattern, name));
                    let wanted: Vec<String> =
                        matching.map(|(number, _)| number.to_string()).collect();
                    assert_eq!(listed, wanted, "{patterns:?} {name:?}");
                }
            }
        });
    }
}
