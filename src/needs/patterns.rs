//! Patterns of names, searched for one name after the other.
//!
//! What stands for one name alone is found by that name. The others are compared one by one, until
//! so many names were asked for that an index of them, as depmod would make it, costs less.

use crate::error::Result;
use crate::format::Text;
use crate::index::trie::{Layout, Trie};
use crate::index::writer::Writer;
use crate::text::alias::{alias, has_open_bracket, is_wild, matches, normalise};
use crate::text::name::{bytes_equal, ModuleName};
use crate::text::table::Table;
use crate::text::{eight, shared_length, split_at_byte, split_inline};
use std::cell::{Cell, RefCell};

/// As many searches of a list as are cheaper than an index of it.
const SEARCHES: u32 = 12;

/// Patterns, numbered from 0 in the order in which they come.
#[derive(Default)]
pub struct Patterns {
    patterns: Vec<Pattern>,
    /// The first of those that stand for one name, by that name.
    exact: Table,
    wild: Vec<u32>,
    /// The index of those, once it was made.
    index: Cell<Option<&'static Trie<'static>>>,
    searches: Cell<u32>,
    /// The name that was last asked for, normalised.
    name: RefCell<Vec<u8>>,
    /// Room for the numbers that a search finds.
    found: RefCell<Vec<u32>>,
}

struct Pattern {
    text: Text,
    /// Of those with one name, the next; the first one also knows the last.
    next: Option<u32>,
    last: u32,
}

impl Patterns {
    /// Makes room for so many, before there are any.
    pub fn reserve(&mut self, count: usize) {
        self.patterns.reserve(count);
        self.exact = Table::with_room(count);
    }

    /// Adds a pattern.
    pub fn add(&mut self, text: Text) {
        let number = self.patterns.len() as u32;
        self.patterns.push(Pattern {
            text,
            next: None,
            last: number,
        });
        if text.iter().any(|&byte| is_wild(byte)) {
            self.wild.push(number);
            return;
        }
        let (patterns, name) = (&self.patterns, ModuleName::new(text));
        let is_it = |other| ModuleName::new(patterns[other as usize].text) == name;
        if let Some(first) = self.exact.insert(name.hash(), number, &is_it) {
            let last = self.patterns[first as usize].last;
            self.patterns[last as usize].next = Some(number);
            self.patterns[first as usize].last = number;
        }
    }

    /// Tells the numbers of the patterns that a name matches, ascending. The name itself is asked for
    /// only where something has its hash, or there are wildcards.
    ///
    /// # Errors
    /// None that an input could cause, beside those of `tell`.
    pub fn search<'n>(
        &self,
        hash: u32,
        name: &dyn Fn() -> ModuleName<'n>,
        tell: &mut dyn FnMut(u32) -> Result<()>,
    ) -> Result<()> {
        let found = &mut *self.found.borrow_mut();
        found.clear();
        let is_it = |number| ModuleName::new(self.text(number)) == name();
        let mut next = self.exact.find(hash, &is_it);
        while let Some(number) = next {
            found.push(number);
            next = self.patterns[number as usize].next;
        }
        if !self.wild.is_empty() {
            let normal = &mut *self.name.borrow_mut();
            normal.clear();
            normal.extend_from_slice(name().as_written());
            normalise(normal);
            self.search_wild(normal, found)?;
            found.sort_unstable();
        }
        let mut last = None;
        for &number in &*found {
            // What is found in several ways is told once.
            if last != Some(number) {
                tell(number)?;
            }
            last = Some(number);
        }
        Ok(())
    }

    fn text(&self, number: u32) -> Text {
        self.patterns[number as usize].text
    }

    fn search_wild(&self, name: &[u8], found: &mut Vec<u32>) -> Result<()> {
        self.searches.set(self.searches.get().saturating_add(1));
        if self.searches.get() == SEARCHES {
            self.index.set(self.made_index()?);
        }
        if let Some(index) = self.index.get() {
            return index.search_wild(name, &mut |number, _| found.push(number));
        }
        for &number in &self.wild {
            let pattern = self.text(number);
            // Nearly all end here.
            let differs = pattern.get(shared_length(pattern, name));
            let is_near = differs.map_or(true, |&byte| is_wild(byte) || byte == b'-');
            if is_near && matches(pattern, name) {
                found.push(number);
            }
        }
        Ok(())
    }

    /// An index whose priorities are the numbers; `None` where it would be too large for its format.
    #[inline(never)]
    fn made_index(&self) -> Result<Option<&'static Trie<'static>>> {
        let mut writer = Writer::default();
        for &number in &self.wild {
            normalise(writer.add(self.text(number), b"", number));
        }
        let Some(bytes) = writer.write(Layout::ParentsFirst) else {
            return Ok(None);
        };
        let index = Trie::new(bytes.leak(), b"index in memory")?;
        Ok(Some(Box::leak(index)))
    }
}

/// Patterns that stand for a module each.
#[derive(Default)]
pub struct Aliases {
    patterns: Patterns,
    modules: Vec<Text>,
}

impl Aliases {
    /// Adds a pattern and its module.
    pub fn add(&mut self, pattern: Text, module: Text) {
        self.patterns.add(pattern);
        self.modules.push(module);
    }

    /// Tells the modules of every pattern that a normalised name matches, in the order in which
    /// they came.
    ///
    /// # Errors
    /// None that an input could cause.
    pub fn search(&self, name: &[u8], tell: &mut dyn FnMut(Text)) -> Result<()> {
        let name = ModuleName::new(name);
        self.patterns.search(name.hash(), &|| name, &mut |number| {
            tell(self.modules[number as usize]);
            Ok(())
        })
    }
}

/// How a text gives patterns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `alias PATTERN MODULE`, one per line (modules.alias, modules.symbols)
    Lines,
    /// `MODULE.alias=PATTERN` among other `MODULE.KEY=VALUE`, each with a NUL behind it
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
    format: Format,
    plain: Cell<Option<&'static Aliases>>,
    devices: Cell<Option<&'static Aliases>>,
}

impl AliasFile {
    /// Aliases of a text, which is read as it is asked for.
    pub fn of_text(text: Text, format: Format) -> Self {
        AliasFile::Text(AliasText {
            text,
            format,
            plain: Cell::new(None),
            devices: Cell::new(None),
        })
    }

    /// Tells the modules of every pattern that a normalised name matches; one more than once where
    /// several of its patterns do.
    ///
    /// # Errors
    /// The index is damaged.
    pub fn search(&self, name: &[u8], tell: &mut dyn FnMut(Text)) -> Result<()> {
        match self {
            AliasFile::Index(index) => index.search_wild(name, &mut |_, module| tell(module)),
            AliasFile::Text(text) => text.aliases_for(name).search(name, tell),
        }
    }
}

impl AliasText {
    /// The aliases that a name can match, as far as its `:` tells.
    fn aliases_for(&self, name: &[u8]) -> &'static Aliases {
        let is_device = memchr::memchr(b':', name).is_some();
        let cell = match is_device {
            true => &self.devices,
            false => &self.plain,
        };
        if let Some(aliases) = cell.get() {
            return aliases;
        }
        let aliases = Box::leak(Box::<Aliases>::default());
        let add = &mut |pattern: Text, module| {
            let is_meant = match needs_colon(pattern) {
                true => is_device,
                false => !is_device || pattern.iter().any(|&byte| is_wild(byte)),
            };
            if is_meant && !has_open_bracket(pattern) {
                aliases.add(pattern, module);
            }
        };
        match self.format {
            Format::Lines => {
                let mut rest = self.text;
                while !rest.is_empty() {
                    let (line, behind) = split_inline(rest, b'\n');
                    rest = behind;
                    // Most lines end here: a module's name has no colon.
                    if !is_device && (has_early_colon(line) || needs_colon(line)) {
                        continue;
                    }
                    if let Some((pattern, module)) = alias(line) {
                        add(pattern, module);
                    }
                }
            }
            Format::Records => {
                let mut rest = self.text;
                while !rest.is_empty() {
                    let (first, behind) = split_at_byte(rest, 0);
                    rest = behind;
                    if let Some((pattern, module)) = record(first) {
                        add(pattern, module);
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
    memchr::memchr2(b':', b'[', pattern).map_or(false, |at| pattern[at] == b':')
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
    let dot = memchr::memchr(b'.', record)?;
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
        let tell = &mut |module| found.push(module);
        aliases.search(name, tell).unwrap();
        found
    }

    #[test]
    fn searching_a_text_again_and_again_gives_the_same() {
        let text = AliasFile::of_text(TEXT, Format::Lines);
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
        assert!(devices.patterns.index.get().is_some());
    }

    #[test]
    fn records_of_built_in_modules_are_read() {
        let text = b"8250.license=GPL\0unix.alias=net-pf-1\0a.parm=x:y\0tail.alias=t*";
        let records = AliasFile::of_text(text, Format::Records);
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
            let aliases = AliasFile::of_text(lines.leak(), Format::Lines);
            // Before and after the index is made.
            for _ in 0..SEARCHES {
                for name in names {
                    let told = found(&aliases, name).into_iter();
                    let told: Vec<String> = told
                        .map(|module| String::from_utf8_lossy(module).into())
                        .collect();
                    let matching = patterns
                        .iter()
                        .enumerate()
                        .filter(|(_, pattern)| !pattern.is_empty() && matches(pattern, name));
                    let wanted: Vec<String> =
                        matching.map(|(number, _)| number.to_string()).collect();
                    assert_eq!(told, wanted, "{patterns:?} {name:?}");
                }
            }
        });
    }
}
