//! Writes depmod's binary index, byte for byte as depmod would, from key and value pairs.
//!
//! The keys are sorted once and the Patricia trie is written straight from that: each node is a
//! range of them. (Rejected: a tree of nodes in memory, as depmod has it; it costs an allocation
//! for each node and is walked once.) The format is described in [`crate::index::trie`].

use crate::format::Text;
use crate::index::trie::{Layout, HAS_CHILDREN, HAS_PREFIX, HAS_VALUES, HEADER, POSITION};
use crate::text::sort::sort;
use crate::text::split_inline;

/// Takes entries, then writes the index.
#[derive(Default)]
pub struct Writer {
    /// The entries one after the other. Each is its key with a zero byte, the numbers that order
    /// the values of a key, and what a node holds of a single value: the count, the priority, and
    /// the value with a zero byte.
    entries: Vec<u8>,
    starts: Vec<u32>,
}

/// Where the count begins after a key's zero byte, after the priority and a number that is the
/// lower the later the entry came.
const COUNT: usize = 8;
/// Where the priority begins.
const PRIORITY: usize = COUNT + 4;

impl Writer {
    /// Adds an entry; lower priority numbers come first among the values of one key, and of equal
    /// ones the newest. Neither text may hold a zero byte. The key comes back, for what has to be
    /// spelled differently in it.
    pub fn add(&mut self, key: &[u8], value: &[u8], priority: u32) -> &mut [u8] {
        let start = self.entries.len() as u32;
        self.starts.push(start);
        self.entries.extend_from_slice(key);
        self.entries.push(0);
        let numbers = [priority, !start, 1, priority];
        let numbers = numbers
            .iter()
            .fold(0, |all, &number| all << 32 | u128::from(number));
        self.entries.extend_from_slice(&numbers.to_be_bytes());
        self.entries.extend_from_slice(value);
        self.entries.push(0);
        &mut self.entries[start as usize..][..key.len()]
    }

    /// The index file, after which there are no entries any more; `None` where it would be larger
    /// than its offsets can tell (256 MiB).
    pub fn write(&mut self, layout: Layout) -> Option<Text> {
        u32::try_from(self.entries.len()).ok()?;
        sort(&self.entries, &mut self.starts);
        let mut output = Output {
            entries: &self.entries,
            layout,
            bytes: HEADER.to_vec(),
            offsets: Vec::new(),
        };
        output.bytes.extend_from_slice(&[0; 4]);
        let root = match self.starts.is_empty() {
            true => output.bytes.len() as u32,
            false => output.node(&self.starts, 0),
        };
        output.patch(HEADER.len(), root);
        let bytes = output.bytes.leak();
        self.entries.clear();
        self.starts.clear();
        (bytes.len() <= POSITION as usize).then_some(bytes)
    }
}

struct Output<'e> {
    entries: &'e [u8],
    layout: Layout,
    bytes: Vec<u8>,
    /// Of each node above the one that is written, the children that are: their places in its
    /// table, and their offsets.
    offsets: Vec<(usize, u32)>,
}

impl<'e> Output<'e> {
    /// A key from its byte at `depth` on, with all that comes after it.
    fn rest(&self, start: u32, depth: usize) -> &'e [u8] {
        &self.entries[start as usize + depth..]
    }

    fn byte(&self, start: u32, depth: usize) -> u8 {
        self.entries[start as usize + depth]
    }

    fn patch(&mut self, at: usize, number: u32) {
        self.bytes[at..at + 4].copy_from_slice(&number.to_be_bytes());
    }

    /// Writes the node for sorted entries, one at least, whose keys agree up to `depth`, and all
    /// below it; returns its offset with flags.
    fn node(&mut self, entries: &[u32], depth: usize) -> u32 {
        let (first, last) = (entries[0], entries[entries.len() - 1]);
        let (rest, other) = (self.rest(first, depth), self.rest(last, depth));
        let (mut prefix, mut depth) = (&b""[..], depth);
        // The root alone never has a prefix: depmod makes it empty and splits only below
        // (tools/depmod.c, `index_create`). No other node is at the start of its keys.
        if depth > 0 {
            if entries.len() == 1 {
                return self.leaf(rest);
            }
            // Sorted, so what the first and the last key share, all share.
            let shared = rest.iter().zip(other);
            prefix = &rest[..shared.take_while(|(a, b)| a == b && **a != 0).count()];
            depth += prefix.len();
        }
        let ends_here = |&&entry: &&u32| self.byte(entry, depth) == 0;
        let (values, longer) = entries.split_at(entries.iter().take_while(ends_here).count());

        let mark = self.offsets.len();
        let mut written = None;
        if self.layout == Layout::ParentsFirst {
            written = Some(self.own(prefix, values, longer, depth));
        }
        self.children(longer, depth);
        let (offset, table) = written.unwrap_or_else(|| self.own(prefix, values, longer, depth));
        while self.offsets.len() > mark {
            if let Some((child, offset)) = self.offsets.pop() {
                self.patch(table + child * 4, offset);
            }
        }
        offset
    }

    /// Writes the subtrees of `longer` keys, by their label at `depth`, and notes each one's place
    /// in the table and its offset.
    fn children(&mut self, mut longer: &[u32], depth: usize) {
        let first = longer.first().map_or(0, |&entry| self.byte(entry, depth));
        while let Some(&next) = longer.first() {
            let label = self.byte(next, depth);
            let same = |&&entry: &&u32| self.byte(entry, depth) == label;
            let (child, others) = longer.split_at(longer.iter().take_while(same).count());
            let offset = self.node(child, depth + 1);
            self.offsets.push((usize::from(label - first), offset));
            longer = others;
        }
    }

    /// Writes the node of a single entry, which most are; `rest` is what is left of its key, and
    /// all after it.
    fn leaf(&mut self, rest: &[u8]) -> u32 {
        let offset = self.bytes.len() as u32 | HAS_VALUES;
        let (key, numbers) = split_inline(rest, 0);
        let flag = match key.is_empty() {
            true => 0,
            false => {
                self.bytes.extend_from_slice(&rest[..key.len() + 1]);
                HAS_PREFIX
            }
        };
        self.push_value(&numbers[COUNT..], PRIORITY - COUNT + 4);
        offset | flag
    }

    /// Writes what a text begins with: `length` bytes, and then all up to a zero byte.
    fn push_value(&mut self, text: &[u8], length: usize) {
        let value = split_inline(&text[length..], 0).0;
        self.bytes
            .extend_from_slice(&text[..length + value.len() + 1]);
    }

    /// Writes the node's own bytes with an empty table; returns its offset and the table's place.
    fn own(&mut self, prefix: &[u8], values: &[u32], longer: &[u32], depth: usize) -> (u32, usize) {
        let mut offset = self.bytes.len() as u32;
        if !prefix.is_empty() {
            offset |= HAS_PREFIX;
            self.bytes.extend_from_slice(prefix);
            self.bytes.push(0);
        }
        let mut table = 0;
        if let (Some(&first), Some(&last)) = (longer.first(), longer.last()) {
            offset |= HAS_CHILDREN;
            let (first, last) = (self.byte(first, depth), self.byte(last, depth));
            self.bytes.extend_from_slice(&[first, last]);
            table = self.bytes.len();
            self.bytes
                .resize(table + (usize::from(last - first) + 1) * 4, 0);
        }
        if !values.is_empty() {
            offset |= HAS_VALUES;
            self.bytes
                .extend_from_slice(&(values.len() as u32).to_be_bytes());
            for &entry in values {
                self.push_value(self.rest(entry, depth + 1 + PRIORITY), 4);
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

    fn written(entries: &[(&str, &str, u32)], layout: Layout) -> Text {
        let mut writer = Writer::default();
        for (key, value, priority) in entries {
            writer.add(key.as_bytes(), value.as_bytes(), *priority);
        }
        writer.write(layout).unwrap()
    }

    #[test]
    fn an_empty_index_is_a_header() {
        for layout in [Layout::ParentsFirst, Layout::ChildrenFirst] {
            let empty = written(&[], layout);
            assert_eq!(empty, b"\xB0\x07\xF4\x57\x00\x02\x00\x01\x00\x00\x00\x0C");
            let trie = Trie::new(empty, b"f").unwrap();
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
        let text = String::from_utf8_lossy(bytes);
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
                    writer.add(key, key, 0);
                }
                let bytes = writer.write(layout).unwrap();
                let trie = Trie::new(bytes, b"f").unwrap();
                for key in &keys {
                    assert_eq!(trie.find(ModuleName::new(key)).unwrap(), Some(*key));
                }
                assert_eq!(trie.find(ModuleName::new(b"abc")).unwrap(), None);
            }
        });
    }
}
