//! depmod's binary index (`modules.*.bin`), read in place.
//!
//! All numbers are big-endian u32. Header: magic `B007F457`, version `00020001`, root offset.
//! An offset is flags (prefix, values, children) and a position in the low 28 bits. A node:
//! [prefix bytes, NUL] [u8 first, u8 last, an offset for each label first..=last, 0 = none]
//! [count, then for each value: u32 priority, bytes, NUL]. A child's label is not part of its
//! prefix. (kmod: libkmod/libkmod-index.c, tools/depmod.c)

use crate::error::{Error, Result};
use crate::text::name::{kernel_byte, ModuleName};

/// The header before the root's offset.
pub(crate) const HEADER: [u8; 8] = *b"\xB0\x07\xF4\x57\x00\x02\x00\x01";
pub(crate) const HAS_PREFIX: u32 = 0x8000_0000;
pub(crate) const HAS_VALUES: u32 = 0x4000_0000;
pub(crate) const HAS_CHILDREN: u32 = 0x2000_0000;
pub(crate) const POSITION: u32 = 0x0FFF_FFFF;

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
    bytes: &'t [u8],
    file: Vec<u8>,
    root: u32,
}

/// A node, taken apart.
#[derive(Clone, Copy)]
struct Node<'t> {
    prefix: &'t [u8],
    first: u8,
    /// The offsets of the children, four bytes each.
    children: &'t [u8],
    /// Count and values, or nothing.
    values: &'t [u8],
}

impl<'t> Trie<'t> {
    /// Checks the header; `file` is for messages.
    ///
    /// # Errors
    /// Not an index of this version.
    pub fn new(bytes: &'t [u8], file: &[u8]) -> Result<Self> {
        let mut trie = Trie {
            bytes,
            file: file.to_vec(),
            root: 0,
        };
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

    fn broken(&self) -> Error {
        Error::parse(
            &self.file,
            0,
            &[b"not a valid index of version 2.1; run depmod"],
        )
    }

    /// The value of lowest priority number that a module name has, in either spelling.
    ///
    /// # Errors
    /// The index is damaged on the way.
    pub fn find(&self, key: ModuleName<'_>) -> Result<Option<&'t [u8]>> {
        self.search(key.as_written()).ok_or_else(|| self.broken())
    }

    /// `None` for a damaged index.
    fn search(&self, key: &[u8]) -> Option<Option<&'t [u8]>> {
        let mut key = key.iter().map(|&byte| kernel_byte(byte));
        let mut offset = self.root;
        loop {
            let node = self.node(offset)?;
            if !node.prefix.iter().all(|&byte| key.next() == Some(byte)) {
                return Some(None);
            }
            // Each step eats a byte of the key, so that a loop in the file ends.
            let Some(label) = key.next() else {
                return match number(node.values, 0) {
                    None | Some(0) => Some(None),
                    // Behind the count: the priority, then the value.
                    Some(_) => Some(Some(until_nul(node.values.get(8..)?)?)),
                };
            };
            offset = match label.checked_sub(node.first) {
                Some(child) => number(node.children, usize::from(child) * 4).unwrap_or(0),
                None => 0,
            };
            if offset == 0 {
                return Some(None);
            }
        }
    }

    fn node(&self, offset: u32) -> Option<Node<'t>> {
        let mut node = Node {
            prefix: &[],
            first: 0,
            children: &[],
            values: &[],
        };
        let mut rest = self.bytes.get((offset & POSITION) as usize..)?;
        if offset & HAS_PREFIX != 0 {
            // A few bytes: a loop is cheaper than a search made for long texts.
            let end = rest.iter().position(|&byte| byte == 0)?;
            node.prefix = &rest[..end];
            rest = &rest[node.prefix.len() + 1..];
        }
        if offset & HAS_CHILDREN != 0 {
            let (&first, &last) = (rest.first()?, rest.get(1)?);
            node.first = first;
            let end = 2 + (usize::from(last.checked_sub(first)?) + 1) * 4;
            node.children = rest.get(2..end)?;
            rest = &rest[end..];
        }
        if offset & HAS_VALUES != 0 {
            node.values = rest;
        }
        Some(node)
    }
}

/// The big-endian number at a position, if it lies inside.
fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..)?.get(..4)?;
    Some(u32::from_be_bytes([four[0], four[1], four[2], four[3]]))
}

fn until_nul(bytes: &[u8]) -> Option<&[u8]> {
    memchr::memchr(0, bytes).map(|end| &bytes[..end])
}
