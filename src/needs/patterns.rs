//! Files of aliases, by index where there is one, else by text.
//!
//! The text is taken apart once, and the list of its patterns searched for each name. Where many
//! names are asked for, an index of it is made in memory, as depmod would.

use crate::error::Result;
use crate::index::trie::{Layout, Trie};
use crate::index::writer::Writer;
use crate::text::alias::{alias, has_open_bracket, is_wild, matches, normalise};
use crate::text::lines;
use crate::text::name::kernel_byte;
use std::cell::Cell;

/// As many searches of a list as are cheaper than an index of it.
const SEARCHES: u32 = 128;

/// How a text gives patterns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `alias PATTERN MODULE`, one a line (modules.alias, modules.symbols)
    Lines,
    /// `MODULE.alias=PATTERN` among other `MODULE.KEY=VALUE`, each with a NUL behind it
    /// (modules.builtin.modinfo)
    Records,
}

/// A pattern and the module that it stands for.
type Pair = (&'static [u8], &'static [u8]);

/// Patterns with a module each.
pub struct Patterns {
    index: Cell<Option<&'static Trie<'static>>>,
    /// The patterns of the text, once they were asked for.
    list: Cell<Option<&'static [Pair]>>,
    text: &'static [u8],
    format: Format,
    searches: Cell<u32>,
}

impl Patterns {
    /// Patterns of an index.
    pub fn of_index(index: Trie<'static>) -> Self {
        Patterns {
            index: Cell::new(Some(Box::leak(Box::new(index)))),
            ..Patterns::of_text(b"", Format::Lines)
        }
    }

    /// Patterns of a text.
    pub fn of_text(text: &'static [u8], format: Format) -> Self {
        Patterns {
            index: Cell::new(None),
            list: Cell::new(None),
            text,
            format,
            searches: Cell::new(0),
        }
    }

    /// The modules of every pattern that a normalised name matches.
    ///
    /// # Errors
    /// The index is damaged.
    pub fn search(&self, name: &[u8]) -> Result<Vec<&'static [u8]>> {
        if let Some(index) = self.index.get() {
            return index.search_wild(name);
        }
        self.searches.set(self.searches.get() + 1);
        if self.searches.get() > SEARCHES {
            if let Some(index) = self.made_index()? {
                self.index.set(Some(index));
                return index.search_wild(name);
            }
        }
        let mut found = Vec::new();
        for (pattern, module) in self.list() {
            // Nearly all end here.
            let is_near = match pattern.first() {
                Some(&first) => is_wild(first) || name.first() == Some(&kernel_byte(first)),
                None => false,
            };
            if is_near && !has_open_bracket(pattern) && matches(pattern, name) {
                found.push(*module);
            }
        }
        Ok(found)
    }

    fn made_index(&self) -> Result<Option<&'static Trie<'static>>> {
        let mut writer = Writer::default();
        for (pattern, module) in self.list() {
            if !has_open_bracket(pattern) {
                normalise(writer.add(pattern, module, 0));
            }
        }
        // Too large for the format: then each search has to do without.
        let Some(bytes) = writer.write(Layout::ParentsFirst) else {
            return Ok(None);
        };
        let index = Trie::new(bytes.leak(), b"index in memory")?;
        Ok(Some(Box::leak(Box::new(index))))
    }

    /// Every pattern of the text with its module.
    fn list(&self) -> &'static [Pair] {
        if let Some(list) = self.list.get() {
            return list;
        }
        let mut pairs: Vec<Pair> = Vec::new();
        match self.format {
            Format::Lines => pairs.extend(lines(self.text).filter_map(|(_, line)| alias(line))),
            Format::Records => {
                let records = self.text.split(|&byte| byte == 0);
                pairs.extend(records.filter_map(record));
            }
        }
        let list = pairs.leak();
        self.list.set(Some(list));
        list
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

    const TEXT: &[u8] = b"# header\nalias fs-ext4 ext4\nalias crypto-crc32c crc32c_generic\n\
        alias crypto-crc32c crc32c-intel\nalias pci:v*d*sv* ahci\nalias a[b bad\n";

    #[test]
    fn searching_text_and_its_index_gives_the_same() {
        let patterns = Patterns::of_text(TEXT, Format::Lines);
        for _ in 0..=SEARCHES {
            assert_eq!(patterns.search(b"fs_ext4").unwrap(), [b"ext4"]);
            assert_eq!(patterns.search(b"crypto_crc32c").unwrap().len(), 2);
            assert_eq!(patterns.search(b"pci:v1d2sv3").unwrap(), [b"ahci"]);
            assert!(patterns.search(b"a[b").unwrap().is_empty());
            assert!(patterns.search(b"").unwrap().is_empty());
        }
        assert!(patterns.index.get().is_some());
    }

    #[test]
    fn records_of_built_in_modules_are_read() {
        let text = b"8250.license=GPL\0unix.alias=net-pf-1\0a.parm=x:y\0tail.alias=t*";
        let patterns = Patterns::of_text(text, Format::Records);
        assert_eq!(patterns.search(b"net_pf_1").unwrap(), [b"unix"]);
        assert_eq!(patterns.search(b"tx").unwrap(), [b"tail"]);
    }
}
