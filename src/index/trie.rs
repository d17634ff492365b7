//! depmod's binary index (`modules.*.bin`), read in place.
//!
//! All numbers are big-endian u32. Header: magic `B007F457`, version `00020001`, root offset.
//! An offset is flags (prefix, values, children) and a position in the low 28 bits. A node:
//! [prefix bytes, NUL] [u8 first, u8 last, an offset for each label first..=last, 0 = none]
//! [count, then for each value: u32 priority, bytes, NUL]. A child's label is not part of its
//! prefix. (kmod: libkmod/libkmod-index.c, tools/depmod.c)

use crate::error::{Error, Result};
use crate::index::patterns::MatchBuffer;
use crate::text::alias::checksum;
use crate::text::memchr;
use crate::text::name::{kernel_byte, ModuleName};
use std::cell::RefCell;

#[cfg(test)]
#[path = "../../tests/cli/trie.rs"]
mod second_opinion;

/// The header before the root's offset.
pub(crate) const HEADER: [u8; 8] = *b"\xB0\x07\xF4\x57\x00\x02\x00\x01";
pub(crate) const HAS_PREFIX: u32 = 0x8000_0000;
pub(crate) const HAS_VALUES: u32 = 0x4000_0000;
pub(crate) const HAS_CHILDREN: u32 = 0x2000_0000;
pub(crate) const POSITION: u32 = 0x0FFF_FFFF;

/// A longer key is a loop in a damaged file.
const LONGEST: usize = 1600;

/// In which order the nodes stand in the file. Readers do not care; we write what the machine's
/// own depmod would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// kmod 34 and newer.
    ParentsFirst,
    /// kmod 33 and older.
    ChildrenFirst,
}

/// A binary index over borrowed bytes.
pub struct Trie<'t> {
    pub(super) bytes: &'t [u8],
    file: &'t [u8],
    pub(super) root: u32,
    pub(super) room: RefCell<MatchBuffer>,
}

/// What comes after a node's prefix.
#[derive(Clone, Copy)]
pub(super) struct Node<'t> {
    first: u8,
    /// The offsets of the children, four bytes each.
    children: &'t [u8],
    /// Count and values, or nothing.
    pub(super) values: &'t [u8],
}

impl<'t> Node<'t> {
    /// Takes apart what is at `rest`; the flags are those of the node's offset. `None` where
    /// the file ends before.
    pub(super) fn parse(flags: u32, mut rest: &'t [u8]) -> Option<Node<'t>> {
        let mut node = Node {
            first: 0,
            children: &[],
            values: &[],
        };
        if flags & HAS_CHILDREN != 0 {
            let (&first, &last) = (rest.first()?, rest.get(1)?);
            node.first = first;
            let end = 2 + (usize::from(last.checked_sub(first)?) + 1) * 4;
            node.children = rest.get(2..end)?;
            rest = &rest[end..];
        }
        if flags & HAS_VALUES != 0 {
            node.values = rest;
        }
        Some(node)
    }

    /// Whether no key goes on after this node.
    pub(super) fn is_last(&self) -> bool {
        self.children.is_empty()
    }

    /// Calls back with the priority and the text of each value.
    pub(super) fn each_value(&self, visit: &mut dyn FnMut(u32, &'t [u8])) -> Option<()> {
        let Some(mut rest) = self.values.get(4..) else {
            return Some(());
        };
        for _ in 0..number(self.values, 0)? {
            let value = until_nul(rest.get(4..)?)?;
            visit(number(rest, 0)?, value);
            rest = &rest[4 + value.len() + 1..];
        }
        Some(())
    }

    /// The offset of the child with a label.
    pub(super) fn child(&self, label: u8) -> Option<u32> {
        let child = label.checked_sub(self.first)?;
        number(self.children, usize::from(child) * 4).filter(|&offset| offset != 0)
    }
}

impl<'t> Trie<'t> {
    /// Checks the header; `file` is for messages.
    ///
    /// # Errors
    /// Not an index of this version.
    pub fn new(bytes: &'t [u8], file: &'t [u8]) -> Result<Box<Self>> {
        let mut trie = Box::new(Trie {
            bytes,
            file,
            root: 0,
            room: RefCell::default(),
        });
        if !bytes.starts_with(&HEADER) {
            return Err(trie.broken());
        }
        trie.root = number(bytes, 8).ok_or_else(|| trie.broken())?;
        Ok(trie)
    }

    /// The order of the nodes; `None` where an empty index does not show it.
    pub fn layout(&self) -> Option<Layout> {
        let is_root_first = (self.root & POSITION) as usize == HEADER.len() + 4;
        match (is_root_first, self.bytes.len() > HEADER.len() + 4) {
            (_, false) => None,
            (true, true) => Some(Layout::ParentsFirst),
            (false, true) => Some(Layout::ChildrenFirst),
        }
    }

    pub(super) fn broken(&self) -> Error {
        Error::parse(
            self.file,
            0,
            msg!("not a valid index of version 2.1; run depmod"),
            &[],
        )
    }

    /// The value of lowest priority number that a module name has, in either spelling.
    ///
    /// # Errors
    /// The index is damaged on the way.
    pub fn find(&self, key: ModuleName<'_>) -> Result<Option<&'t [u8]>> {
        self.search(key.as_written()).ok_or_else(|| self.broken())
    }

    /// `None` for a damaged index. Prefixes are compared as they are read, for these are the
    /// searches that a listing consists of.
    fn search(&self, key: &[u8]) -> Option<Option<&'t [u8]>> {
        let mut key = key.iter().map(|&byte| kernel_byte(byte));
        let mut offset = self.root;
        loop {
            let mut rest = self.at(offset)?;
            if offset & HAS_PREFIX != 0 {
                loop {
                    let (&byte, after) = rest.split_first()?;
                    rest = after;
                    if byte == 0 {
                        break;
                    }
                    if key.next() != Some(byte) {
                        return Some(None);
                    }
                }
            }
            // Each step eats a byte of the key, so that a loop in the file ends.
            let Some(label) = key.next() else {
                let node = Node::parse(offset, rest)?;
                return match number(node.values, 0) {
                    None | Some(0) => Some(None),
                    // After the count: the priority, then the value.
                    Some(_) => Some(Some(until_nul(node.values.get(8..)?)?)),
                };
            };
            if offset & HAS_CHILDREN == 0 {
                return Some(None);
            }
            let [first, last, table @ ..] = rest else {
                return None;
            };
            if label < *first || label > *last {
                return Some(None);
            }
            offset = number(table, usize::from(label - *first) * 4)?;
            if offset == 0 {
                return Some(None);
            }
        }
    }

    /// The sum of the [checksums](checksum) of all entries, whatever the order of their nodes.
    ///
    /// # Errors
    /// The index is damaged.
    pub fn checksum(&self) -> Result<u64> {
        let mut sum = 0_u64;
        let mut below = Below {
            trie: self,
            key: &mut Vec::new(),
            left: self.bytes.len(),
            visit: &mut |key, node| {
                node.each_value(&mut |_, value| {
                    sum = sum.wrapping_add(checksum(key, ModuleName::new(value).hash()))
                })
            },
        };
        below.add(self.root).ok_or_else(|| self.broken())?;
        Ok(sum)
    }

    /// What is in the file where an offset points to.
    pub(super) fn at(&self, offset: u32) -> Option<&'t [u8]> {
        self.bytes.get((offset & POSITION) as usize..)
    }
}

/// A walk over a node and all below it.
pub(super) struct Below<'b, 't> {
    pub(super) trie: &'b Trie<'t>,
    /// What leads to the node that the walk is at.
    pub(super) key: &'b mut Vec<u8>,
    /// How many nodes may still come: no sound file has more of them than bytes.
    pub(super) left: usize,
    /// Called with each node that has values, and what leads there.
    pub(super) visit: &'b mut dyn FnMut(&[u8], Node<'t>) -> Option<()>,
}

impl Below<'_, '_> {
    /// Walks; `None` where the index is damaged.
    pub(super) fn add(&mut self, mut offset: u32) -> Option<()> {
        let before = self.key.len();
        let mut rest = self.trie.at(offset)?;
        if offset & HAS_PREFIX != 0 {
            let prefix = until_nul(rest)?;
            self.key.extend_from_slice(prefix);
            rest = &rest[prefix.len() + 1..];
            offset &= !HAS_PREFIX;
        }
        self.left = self.left.checked_sub(1)?;
        if self.key.len() > LONGEST {
            return None;
        }
        let node = Node::parse(offset, rest)?;
        if !node.values.is_empty() {
            (self.visit)(self.key, node)?;
        }
        for (label, child) in (node.first..=u8::MAX).zip(node.children.chunks_exact(4)) {
            let child = number(child, 0)?;
            if child != 0 {
                self.key.push(label);
                self.add(child)?;
                self.key.pop();
            }
        }
        self.key.truncate(before);
        Some(())
    }
}

/// The big-endian number at a position, if it lies inside.
pub(super) fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..)?.get(..4)?;
    Some(u32::from_be_bytes([four[0], four[1], four[2], four[3]]))
}

pub(super) fn until_nul(bytes: &[u8]) -> Option<&[u8]> {
    memchr(0, bytes).map(|end| &bytes[..end])
}

#[cfg(test)]
mod tests {
    use super::second_opinion::{index, Entry, Order};
    use super::*;
    use crate::index::writer::Writer;
    use crate::text::tests::every_text;
    use std::collections::BTreeMap;

    const ORDERS: [(Order, Layout); 2] = [
        (Order::Post, Layout::ChildrenFirst),
        (Order::Pre, Layout::ParentsFirst),
    ];

    type Map<'k> = BTreeMap<&'k [u8], Vec<u8>>;

    /// Every set of some keys that share beginnings, each with its own value.
    fn every_set(try_one: &mut dyn FnMut(&Map<'_>)) {
        let keys: [&[u8]; 8] = [b"a", b"ab", b"a_b", b"a_b_", b"abb", b"b", b"baa", b"bab"];
        for set in 0..1 << keys.len() {
            let chosen = (0..keys.len()).filter(|key| set & (1 << key) != 0);
            let value = |key: &[u8]| [key, b".ko:"].concat();
            try_one(&chosen.map(|key| (keys[key], value(keys[key]))).collect());
        }
    }

    fn entries<'e>(map: &'e Map<'_>) -> Vec<Entry<'e>> {
        let numbered = (0..).zip(map);
        numbered
            .map(|(at, (key, value))| (*key, at, &value[..]))
            .collect()
    }

    #[test]
    fn every_name_is_found_that_a_map_finds_and_no_other() {
        every_set(&mut |map| {
            for (order, _) in ORDERS {
                let bytes = index(&entries(map), order);
                let trie = Trie::new(&bytes, b"f").unwrap();
                every_text(&[b"a", b"b", b"-", b"_"], 4, &mut |name| {
                    let name = ModuleName::new(name);
                    let wanted = map.get(name.to_kernel());
                    assert_eq!(trie.find(name).unwrap(), wanted.map(|value| &value[..]));
                });
            }
        });
    }

    #[test]
    fn what_we_write_is_byte_for_byte_what_another_writer_makes_of_it() {
        every_set(&mut |map| {
            for (order, layout) in ORDERS {
                let mut writer = Writer::default();
                for (key, priority, value) in entries(map) {
                    writer.add(key, value, priority);
                }
                let bytes = index(&entries(map), order);
                let shown = Trie::new(&bytes, b"f").unwrap().layout();
                assert_eq!(shown, (!map.is_empty()).then_some(layout));
                assert_eq!(writer.write(layout).unwrap(), bytes);
            }
        });
    }

    #[test]
    fn the_sum_is_that_of_the_entries_and_of_no_other_ones() {
        let mut seen = BTreeMap::new();
        every_set(&mut |map| {
            let hash = |value: &[u8]| ModuleName::new(value).hash();
            let entry = |(key, value): (&&[u8], &Vec<u8>)| checksum(key, hash(value));
            let wanted = map.iter().map(entry).fold(0, u64::wrapping_add);
            for (order, _) in ORDERS {
                let bytes = index(&entries(map), order);
                assert_eq!(Trie::new(&bytes, b"f").unwrap().checksum().unwrap(), wanted);
            }
            assert_eq!(seen.insert(wanted, map.len()), None);
        });
        let twice: [Entry<'_>; 3] = [(b"a", 1, b"one"), (b"a", 1, b"one"), (b"a", 3, b"two")];
        let bytes = index(&twice, Order::Pre);
        let [one, two] = [b"one", b"two"].map(|v| checksum(b"a", ModuleName::new(v).hash()));
        let sum = Trie::new(&bytes, b"f").unwrap().checksum().unwrap();
        assert_eq!(sum, one.wrapping_add(one).wrapping_add(two));
    }

    #[test]
    fn of_several_values_the_one_with_the_lowest_priority_number_is_found() {
        let values: [Entry<'_>; 3] = [(b"a", 2, b"two"), (b"a", 1, b"one"), (b"a", 3, b"three")];
        for (order, _) in ORDERS {
            let bytes = index(&values, order);
            let trie = Trie::new(&bytes, b"f").unwrap();
            assert_eq!(trie.find(ModuleName::new(b"a")).unwrap(), Some(&b"one"[..]));
        }
    }

    #[test]
    fn a_prefix_at_the_root_is_read_though_depmod_writes_none() {
        let bytes = [
            &HEADER[..],
            &[0xC0, 0, 0, 12],
            b"ab\0",
            &[0, 0, 0, 1, 0, 0, 0, 0],
            b"v\0",
        ]
        .concat();
        let trie = Trie::new(&bytes, b"f").unwrap();
        assert_eq!(trie.find(ModuleName::new(b"ab")).unwrap(), Some(&b"v"[..]));
        for other in [&b""[..], b"a", b"abc", b"b"] {
            assert!(trie.find(ModuleName::new(other)).unwrap().is_none());
        }
    }

    #[test]
    fn no_damage_panics_or_loops_and_every_answer_lies_inside() {
        let keys: [Entry<'_>; 4] = [
            (b"ab", 0, b"x:"),
            (b"a_b", 1, b"y:"),
            (b"b", 2, b""),
            (b"bab", 3, b"z"),
        ];
        for (order, _) in ORDERS {
            let good = index(&keys, order);
            let try_one = |bytes: &[u8]| {
                let Ok(trie) = Trie::new(bytes, b"f") else {
                    return;
                };
                let _ = trie.checksum();
                let range = bytes.as_ptr_range();
                every_text(&[b"a", b"b", b"_", b"\0"], 3, &mut |name| {
                    if let Ok(Some(value)) = trie.find(ModuleName::new(name)) {
                        let found = value.as_ptr_range();
                        assert!(found.start >= range.start && found.end <= range.end);
                    }
                });
            };
            for at in 0..good.len() {
                try_one(&good[..at]);
                for byte in 0..=u8::MAX {
                    let mut bad = good.clone();
                    bad[at] = byte;
                    try_one(&bad);
                }
            }
        }
    }
}
