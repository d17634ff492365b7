//! Writes depmod's binary index, byte for byte as depmod would, from key and value pairs.
//!
//! The keys are sorted once and the Patricia trie is written straight from that: each node is a
//! range of them. (Rejected: a tree of nodes in memory, as depmod has it; it costs an allocation
//! for each node and is walked once.) The format is described in [`crate::index::trie`].

use crate::index::trie::{Layout, HAS_CHILDREN, HAS_PREFIX, HAS_VALUES, HEADER, POSITION};
use crate::text::compare;

/// Gathers entries, then writes the index.
#[derive(Default)]
pub struct Writer<'t> {
    /// The keys one behind the other; most are spelled differently in the text.
    keys: Vec<u8>,
    entries: Vec<Entry<'t>>,
}

struct Entry<'t> {
    start: usize,
    length: usize,
    value: &'t [u8],
    priority: u32,
    /// How many entries came before: of equal priorities the newest is first.
    age: usize,
}

impl<'t> Writer<'t> {
    /// Adds an entry; lower priority numbers come first among the values of one key.
    pub fn add(&mut self, key: impl Iterator<Item = u8>, value: &'t [u8], priority: u32) {
        let start = self.keys.len();
        self.keys.extend(key);
        self.entries.push(Entry {
            start,
            length: self.keys.len() - start,
            value,
            priority,
            age: self.entries.len(),
        });
    }

    /// The index file; `None` where it would be larger than its offsets can tell (256 MiB).
    pub fn write(mut self, layout: Layout) -> Option<Vec<u8>> {
        let keys = &self.keys;
        let key = |entry: &Entry<'_>| &keys[entry.start..entry.start + entry.length];
        self.entries.sort_unstable_by(|a, b| {
            let order = compare(key(a), key(b));
            order
                .then(a.priority.cmp(&b.priority))
                .then(b.age.cmp(&a.age))
        });
        let mut output = Output {
            keys,
            layout,
            bytes: HEADER.to_vec(),
        };
        output.bytes.extend_from_slice(&[0; 4]);
        let root = match self.entries.is_empty() {
            true => output.bytes.len() as u32,
            false => output.node(&self.entries, 0),
        };
        output.patch(HEADER.len(), root);
        (output.bytes.len() <= POSITION as usize).then_some(output.bytes)
    }
}

struct Output<'k> {
    keys: &'k [u8],
    layout: Layout,
    bytes: Vec<u8>,
}

impl<'k> Output<'k> {
    fn key(&self, entry: &Entry<'_>) -> &'k [u8] {
        &self.keys[entry.start..entry.start + entry.length]
    }

    fn patch(&mut self, at: usize, number: u32) {
        self.bytes[at..at + 4].copy_from_slice(&number.to_be_bytes());
    }

    /// Writes the node for sorted entries whose keys agree up to `depth`, and all below it;
    /// gives its offset with flags.
    fn node(&mut self, entries: &[Entry<'_>], depth: usize) -> u32 {
        // No other node stands at the start of its keys.
        let is_root = depth == 0;
        let (first, last) = match entries {
            [first, .., last] => (self.key(first), self.key(last)),
            [only] => (self.key(only), self.key(only)),
            [] => return 0,
        };
        // Sorted, so what the first and the last key share, all share. The root alone never has
        // a prefix: depmod makes it empty and splits only below (tools/depmod.c, `index_create`).
        let rest = first[depth..].iter().zip(&last[depth..]);
        let prefix_end = match is_root {
            true => 0,
            false => depth + rest.take_while(|(a, b)| a == b).count(),
        };
        let prefix = &first[depth..prefix_end];
        let ends_here = |entry: &&Entry<'_>| entry.length == prefix_end;
        let (values, longer) = entries.split_at(entries.iter().take_while(ends_here).count());

        match self.layout {
            Layout::ParentsFirst => {
                let (offset, table) = self.own(prefix, values, longer, prefix_end);
                self.children(longer, prefix_end, &mut |output, child, offset| {
                    output.patch(table + child * 4, offset);
                });
                offset
            }
            Layout::ChildrenFirst => {
                let mut offsets = Vec::new();
                self.children(longer, prefix_end, &mut |_, child, offset| {
                    offsets.push((child, offset));
                });
                let (offset, table) = self.own(prefix, values, longer, prefix_end);
                for (child, offset) in offsets {
                    self.patch(table + child * 4, offset);
                }
                offset
            }
        }
    }

    /// Writes the subtrees of `longer` keys, by their label behind `depth`, and tells each
    /// one's place in the table and offset.
    fn children(
        &mut self,
        mut longer: &[Entry<'_>],
        depth: usize,
        tell: &mut dyn FnMut(&mut Self, usize, u32),
    ) {
        let Some(first) = longer.first().map(|entry| self.key(entry)[depth]) else {
            return;
        };
        while let Some(label) = longer.first().map(|entry| self.key(entry)[depth]) {
            let same = |entry: &&Entry<'_>| self.key(entry)[depth] == label;
            let (child, others) = longer.split_at(longer.iter().take_while(same).count());
            let offset = self.node(child, depth + 1);
            tell(self, usize::from(label - first), offset);
            longer = others;
        }
    }

    /// Writes the node's own bytes with an empty table; gives its offset and the table's place.
    fn own(
        &mut self,
        prefix: &[u8],
        values: &[Entry<'_>],
        longer: &[Entry<'_>],
        depth: usize,
    ) -> (u32, usize) {
        let mut offset = self.bytes.len() as u32;
        if !prefix.is_empty() {
            offset |= HAS_PREFIX;
            self.bytes.extend_from_slice(prefix);
            self.bytes.push(0);
        }
        let mut table = 0;
        if let (Some(first), Some(last)) = (longer.first(), longer.last()) {
            offset |= HAS_CHILDREN;
            let (first, last) = (self.key(first)[depth], self.key(last)[depth]);
            self.bytes.extend_from_slice(&[first, last]);
            table = self.bytes.len();
            self.bytes
                .resize(table + (usize::from(last - first) + 1) * 4, 0);
        }
        if !values.is_empty() {
            offset |= HAS_VALUES;
            self.bytes
                .extend_from_slice(&(values.len() as u32).to_be_bytes());
            for entry in values {
                self.bytes.extend_from_slice(&entry.priority.to_be_bytes());
                self.bytes.extend_from_slice(entry.value);
                self.bytes.push(0);
            }
        }
        (offset, table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::trie::Trie;
    use crate::text::name::ModuleName;

    fn written(entries: &[(&str, &str, u32)], layout: Layout) -> Vec<u8> {
        let mut writer = Writer::default();
        for (key, value, priority) in entries {
            writer.add(key.bytes(), value.as_bytes(), *priority);
        }
        writer.write(layout).unwrap()
    }

    #[test]
    fn an_empty_index_is_a_header() {
        for layout in [Layout::ParentsFirst, Layout::ChildrenFirst] {
            let empty = written(&[], layout);
            assert_eq!(empty, b"\xB0\x07\xF4\x57\x00\x02\x00\x01\x00\x00\x00\x0C");
            let trie = Trie::new(&empty, b"f").unwrap();
            assert!(trie.find(ModuleName::new(b"a")).unwrap().is_none());
        }
    }

    #[test]
    fn a_small_index_has_the_bytes_that_the_format_says() {
        let entries = [("abc", "y", 1), ("ab", "x", 0)];
        let mut expected = HEADER.to_vec();
        expected.extend(b"\x20\x00\x00\x28"); // the root comes last
        expected.extend(b"\x00\x00\x00\x01\x00\x00\x00\x01y\0"); // "c": a value, no prefix
        expected.extend(b"b\0cc\x40\x00\x00\x0C\x00\x00\x00\x01\x00\x00\x00\x00x\0");
        expected.extend(b"aa\xE0\x00\x00\x16");
        assert_eq!(written(&entries, Layout::ChildrenFirst), expected);
        let mut expected = HEADER.to_vec();
        expected.extend(b"\x20\x00\x00\x0C");
        expected.extend(b"aa\xE0\x00\x00\x12");
        expected.extend(b"b\0cc\x40\x00\x00\x24\x00\x00\x00\x01\x00\x00\x00\x00x\0");
        expected.extend(b"\x00\x00\x00\x01\x00\x00\x00\x01y\0");
        assert_eq!(written(&entries, Layout::ParentsFirst), expected);
    }

    #[test]
    fn values_stand_by_priority_then_newest_first() {
        let bytes = written(
            &[("k", "a", 2), ("k", "b", 1), ("k", "c", 1)],
            Layout::ParentsFirst,
        );
        let text = String::from_utf8_lossy(&bytes);
        let at = |value: char| text.find(value).unwrap();
        assert!(at('c') < at('b') && at('b') < at('a'));
    }

    #[test]
    fn whatever_is_written_is_found_again() {
        let vocabulary: [&[u8]; 4] = [b"a", b"b", b"ab", b","];
        crate::text::tests::every_text(&vocabulary, 6, &mut |text| {
            let keys: Vec<&[u8]> = text.split(|&b| b == b',').collect();
            for layout in [Layout::ParentsFirst, Layout::ChildrenFirst] {
                let mut writer = Writer::default();
                for key in &keys {
                    writer.add(key.iter().copied(), key, 0);
                }
                let bytes = writer.write(layout).unwrap();
                let trie = Trie::new(&bytes, b"f").unwrap();
                for key in &keys {
                    assert_eq!(trie.find(ModuleName::new(key)).unwrap(), Some(*key));
                }
                assert_eq!(trie.find(ModuleName::new(b"abc")).unwrap(), None);
            }
        });
    }
}
