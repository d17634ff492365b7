//! Searching an index whose keys are patterns: modules.alias.bin and its like.
//!
//! The tree of patterns is walked once for a name, so that thousands of patterns with a common
//! start cost what one costs. kmod takes every pattern below the first wildcard apart instead,
//! which for `of:N*T*C...` is all of them. (kmod: libkmod/libkmod-index.c, `index_searchwild`)

use crate::error::Result;
use crate::index::trie::{until_nul, Node, Trie, POSITION};
use crate::text::alias::{is_wild, matches};

/// A path with more wildcards, or a pattern with more bytes behind a bracket, is a loop in a
/// damaged file.
const DEEPEST: usize = 200;

impl<'t> Trie<'t> {
    /// The values of every pattern that a normalised name matches, each once.
    ///
    /// # Errors
    /// The index is damaged on the way.
    pub fn search_wild(&self, name: &[u8]) -> Result<Vec<&'t [u8]>> {
        let mut search = Search {
            trie: self,
            name,
            stars: Vec::new(),
            found: Vec::new(),
        };
        match search.node(self.root, 0, 0) {
            Some(()) => Ok(search.found),
            None => Err(self.broken()),
        }
    }
}

/// One search. Its steps give `None` where the index is damaged.
struct Search<'s, 't> {
    trie: &'s Trie<'t>,
    name: &'s [u8],
    /// The places in the file behind each star that was reached. The first way to it leaves the
    /// most of the name, and what follows the star is found from there, so no other is tried.
    stars: Vec<usize>,
    found: Vec<&'t [u8]>,
}

impl<'t> Search<'_, 't> {
    /// Matches what is left of the name behind `eaten` bytes with a node and all below it.
    fn node(&mut self, offset: u32, eaten: usize, depth: usize) -> Option<()> {
        let node = self.trie.node(offset)?;
        self.prefix(offset, node, 0, eaten, depth)
    }

    /// The same from a place in the node's prefix on.
    fn prefix(
        &mut self,
        mut offset: u32,
        mut node: Node<'t>,
        mut at: usize,
        mut eaten: usize,
        depth: usize,
    ) -> Option<()> {
        loop {
            while let Some(&byte) = node.prefix.get(at) {
                match byte {
                    b'*' => return self.star(offset, node, at + 1, eaten, depth),
                    b'[' | b'\\' => return self.each(node, at, &mut Vec::new(), eaten),
                    _ if eaten == self.name.len() => return Some(()),
                    b'?' => {}
                    _ if byte != self.name[eaten] => return Some(()),
                    _ => {}
                }
                at += 1;
                eaten += 1;
            }
            if let Some(child) = node.child(b'*') {
                let inner = self.trie.node(child)?;
                self.star(child, inner, 0, eaten, depth)?;
            }
            for label in [b'[', b'\\'] {
                if let Some(child) = node.child(label) {
                    self.each(self.trie.node(child)?, 0, &mut vec![label], eaten)?;
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
                self.node(child, eaten, depth + 1)?;
            }
            offset = match node.child(byte) {
                Some(child) if !is_wild(byte) => child,
                _ => return Some(()),
            };
            node = self.trie.node(offset)?;
            at = 0;
        }
    }

    /// Lets a star eat nothing, one byte, two bytes, and so on.
    fn star(
        &mut self,
        offset: u32,
        node: Node<'t>,
        at: usize,
        eaten: usize,
        depth: usize,
    ) -> Option<()> {
        let place = (offset & POSITION) as usize + at;
        if self.stars.contains(&place) {
            return Some(());
        }
        if depth == DEEPEST {
            return None;
        }
        self.stars.push(place);
        let next = node.prefix.get(at).filter(|&&byte| !is_wild(byte));
        for eaten in eaten..=self.name.len() {
            if next.map_or(true, |next| self.name.get(eaten) == Some(next)) {
                self.prefix(offset, node, at, eaten, depth + 1)?;
            }
        }
        Some(())
    }

    /// Compares each pattern below a node: brackets may stretch over several nodes.
    /// `pattern` begins where the name is not eaten yet.
    fn each(
        &mut self,
        node: Node<'t>,
        at: usize,
        pattern: &mut Vec<u8>,
        eaten: usize,
    ) -> Option<()> {
        let before = pattern.len();
        pattern.extend_from_slice(node.prefix.get(at..)?);
        if pattern.len() > DEEPEST * 8 {
            return None;
        }
        if !node.values.is_empty() && matches(pattern, &self.name[eaten..]) {
            self.values(node)?;
        }
        for label in 0..=u8::MAX {
            if let Some(child) = node.child(label) {
                pattern.push(label);
                self.each(self.trie.node(child)?, 0, pattern, eaten)?;
                pattern.pop();
            }
        }
        pattern.truncate(before);
        Some(())
    }

    fn values(&mut self, node: Node<'t>) -> Option<()> {
        let Some(mut rest) = node.values.get(4..) else {
            return Some(());
        };
        for _ in 0..super::trie::number(node.values, 0)? {
            let value = until_nul(rest.get(4..)?)?;
            rest = &rest[4 + value.len() + 1..];
            // A module may have several patterns that match, and a bracket behind a star several
            // ways to match.
            if !self.found.contains(&value) {
                self.found.push(value);
            }
        }
        Some(())
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
        writer.write(Layout::ParentsFirst).unwrap()
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
        let found = |name: &[u8]| trie.search_wild(name).unwrap().len();
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
                let mut found = trie.search_wild(name).unwrap();
                found.sort_unstable();
                let wanted = patterns.iter().filter(|pattern| matches(pattern, name));
                assert_eq!(
                    found,
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
                let _ = trie.search_wild(b"aabxbcx");
            }
        }
    }
}
