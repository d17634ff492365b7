//! Searching an index whose keys are patterns: modules.alias.bin and its like.
//!
//! The tree of patterns is walked once for a name, so that thousands of patterns with a common
//! start cost what one costs. kmod takes every pattern below the first wildcard apart instead,
//! which for `of:N*T*C...` is all of them. (kmod: libkmod/libkmod-index.c, `index_searchwild`)

use crate::error::Result;
use crate::index::trie::{Below, Node, Trie, HAS_PREFIX, POSITION};
use crate::text::alias::{is_special, matches};
use crate::text::memchr;
use crate::text::table::{finished, mixed, Table};

/// A path with more wildcards is a loop in a damaged file.
const DEEPEST: usize = 200;

/// Called with the priority and the value of each entry that is found.
pub type Visit<'f, 't> = &'f mut dyn FnMut(u32, &'t [u8]);

/// What one search after the other uses again.
#[derive(Default)]
pub(super) struct MatchBuffer {
    /// The places in the file after each star that was reached. The first way to it leaves the
    /// most of the name, and what follows the star is found from there, so no other is tried.
    stars: Table,
    pattern: Vec<u8>,
}

impl<'t> Trie<'t> {
    /// Calls back with the entries of every pattern that a normalised name matches: an entry more than once
    /// where a bracket after a star has several ways to match.
    ///
    /// # Errors
    /// The index is damaged on the way.
    pub fn search_patterns(&self, name: &[u8], visit: Visit<'_, 't>) -> Result<()> {
        let mut search = AliasSearch {
            trie: self,
            name,
            visit,
            room: &mut self.room.borrow_mut(),
        };
        search.room.stars.clear();
        search.walk(self.root, 0, 0).ok_or_else(|| self.broken())
    }
}

/// One search. Its steps give `None` where the index is damaged.
///
/// An offset is one of the file: that of a node, or of a byte in its prefix, with the node's flags;
/// without [`HAS_PREFIX`], of what comes after the prefix.
struct AliasSearch<'s, 't> {
    trie: &'s Trie<'t>,
    name: &'s [u8],
    visit: Visit<'s, 't>,
    room: &'s mut MatchBuffer,
}

impl<'t> AliasSearch<'_, 't> {
    /// Matches what is left of the name after `eaten` bytes with a node and all below it.
    fn walk(&mut self, mut offset: u32, mut eaten: usize, depth: usize) -> Option<()> {
        loop {
            let mut rest = self.trie.at(offset)?;
            while offset & HAS_PREFIX != 0 {
                let (&byte, after) = rest.split_first()?;
                let name = self.name.get(eaten);
                match byte {
                    b'[' | b'\\' => return self.each(offset, eaten),
                    b'*' => return self.star(offset + 1, eaten, depth),
                    0 => offset &= !HAS_PREFIX,
                    _ if name == Some(&byte) || (byte == b'?' && name.is_some()) => eaten += 1,
                    _ => return Some(()),
                }
                rest = after;
                offset += 1;
            }
            let node = Node::parse(offset, rest)?;
            if let Some(child) = node.child(b'*') {
                self.star(child, eaten, depth)?;
            }
            for label in [b'[', b'\\'] {
                if let Some(child) = node.child(label) {
                    self.room.pattern.push(label);
                    self.each(child, eaten)?;
                    self.room.pattern.pop();
                }
            }
            let Some(&byte) = self.name.get(eaten) else {
                return self.values(node);
            };
            eaten += 1;
            if let Some(child) = node.child(b'?') {
                if depth == DEEPEST {
                    return None;
                }
                self.walk(child, eaten, depth + 1)?;
            }
            offset = match node.child(byte) {
                Some(child) if !is_special(byte) => child,
                _ => return Some(()),
            };
        }
    }

    /// Lets a star before `offset` eat nothing, one byte, two bytes, and so on.
    fn star(&mut self, mut offset: u32, mut eaten: usize, depth: usize) -> Option<()> {
        let place = offset & POSITION;
        let hash = finished(mixed(0, place.into()));
        let known = self.room.stars.insert(hash, place, &|other| other == place);
        if known.is_some() {
            return Some(());
        }
        if depth == DEEPEST {
            return None;
        }
        let mut rest = self.trie.at(offset)?;
        if offset & HAS_PREFIX != 0 {
            let (&next, after) = rest.split_first()?;
            if next != 0 && !is_special(next) {
                while let Some(at) = memchr(next, &self.name[eaten..]) {
                    self.walk(offset, eaten + at, depth + 1)?;
                    eaten += at + 1;
                }
                return Some(());
            }
            if next == 0 {
                rest = after;
                offset = (offset & !HAS_PREFIX) + 1;
            }
        }
        // Nearly every pattern ends in a star.
        if offset & HAS_PREFIX == 0 {
            let node = Node::parse(offset, rest)?;
            if node.is_last() {
                return self.values(node);
            }
        }
        for eaten in eaten..=self.name.len() {
            self.walk(offset, eaten, depth + 1)?;
        }
        Some(())
    }

    /// Compares each pattern from `offset` on: brackets may stretch over several nodes. The
    /// pattern in `room` begins where the name is not eaten yet.
    fn each(&mut self, offset: u32, eaten: usize) -> Option<()> {
        let AliasSearch {
            trie,
            name,
            visit,
            room,
        } = self;
        let mut below = Below {
            trie,
            key: &mut room.pattern,
            left: trie.bytes.len(),
            visit: &mut |pattern, node| match matches(pattern, &name[eaten..]) {
                true => node.each_value(visit),
                false => Some(()),
            },
        };
        below.add(offset)
    }

    fn values(&mut self, node: Node<'t>) -> Option<()> {
        node.each_value(self.visit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::trie::Layout;
    use crate::index::writer::Writer;

    fn index(patterns: &[&[u8]]) -> Vec<u8> {
        let mut writer = Writer::default();
        for pattern in patterns {
            writer.add(pattern, pattern, 0);
        }
        writer.write(Layout::ParentsFirst).unwrap().to_vec()
    }

    /// The values, sorted, each once.
    fn found<'t>(trie: &Trie<'t>, name: &[u8]) -> Vec<&'t [u8]> {
        let mut found = Vec::new();
        let visit = &mut |_, value| found.push(value);
        trie.search_patterns(name, visit).unwrap();
        crate::text::sort_once(&mut found);
        found
    }

    #[test]
    fn every_match_is_found() {
        let bytes = index(&[
            b"pci:v8086d10D3sv*sd*",
            b"pci:v8086d*sv*sd*",
            b"pci:v*d*sv*sd*",
            b"pci:v8086d10D4sv*sd*",
            b"usb:d[0-9]x*",
            b"usb:d[0-4]x",
        ]);
        let trie = Trie::new(&bytes, b"f").unwrap();
        let found = |name: &[u8]| found(&trie, name).len();
        assert_eq!(found(b"pci:v8086d10D3sv1sd2"), 3);
        assert_eq!(found(b"pci:v8086d10D3sv1"), 0);
        assert_eq!(found(b"usb:d3x"), 2);
        assert_eq!(found(b"usb:d7x"), 1);
    }

    #[test]
    fn the_tree_finds_what_comparing_each_pattern_finds() {
        let pieces: [&[u8]; 6] = [b"a", b"b", b"*", b"?", b"[a]", b","];
        let names: [&[u8]; 9] = [
            b"", b"a", b"b", b"ab", b"ba", b"aba", b"abab", b"*", b"aaaa",
        ];
        crate::text::tests::every_text(&pieces, 5, &mut |text| {
            let mut patterns: Vec<&[u8]> = text.split(|&byte| byte == b',').collect();
            patterns.sort_unstable();
            patterns.dedup();
            let bytes = index(&patterns);
            let trie = Trie::new(&bytes, b"f").unwrap();
            for name in names {
                let wanted = patterns.iter().filter(|pattern| matches(pattern, name));
                assert_eq!(
                    found(&trie, name),
                    wanted.copied().collect::<Vec<_>>(),
                    "{patterns:?} {name:?}"
                );
            }
        });
    }

    #[test]
    fn a_damaged_index_is_an_error_or_finds_less() {
        let good = index(&[b"a*b*c", b"a?[x]", b"*", b"a*b?d"]);
        for at in 12..good.len() {
            for byte in [0, 1, b'*', b'?', b'[', 0x20, 0xe0, 0xff] {
                let mut bytes = good.clone();
                bytes[at] = byte;
                let trie = Trie::new(&bytes, b"f").unwrap();
                let _ = trie.search_patterns(b"aabxbcx", &mut |_, _| {});
            }
        }
    }
}
