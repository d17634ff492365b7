//! Names and where they occur: a sorted list, in which look-ups bisect, so that no path compares
//! all with all.

use crate::text::compare;
use core::cmp::Ordering;

/// A name, and a position of the caller's that it stands for.
#[derive(Clone, Copy, Debug)]
pub struct CatalogEntry<'t> {
    /// The name that is looked up.
    pub name: &'t [u8],
    /// What tells entries of one name apart; may be nothing.
    pub arch: &'t [u8],
    /// The position.
    pub at: usize,
}

/// Entries, sorted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Catalog<'t> {
    entries: &'t [CatalogEntry<'t>],
    /// The bits of all names.
    bits: u64,
}

/// One bit for a name. Names of different bits are different, whatever their case; the factors
/// give every usual field of a stanza a bit of its own.
pub fn bit(name: &[u8]) -> u64 {
    if name.is_empty() {
        return 1;
    }
    let (first, last) = (name[0] | 0x20, name[name.len() - 1] | 0x20);
    1 << ((usize::from(first) * 3 + usize::from(last) * 5 + name.len()) % 64)
}

fn order(a: &CatalogEntry<'_>, b: &CatalogEntry<'_>) -> Ordering {
    compare(a.name, b.name)
        .then_with(|| compare(a.arch, b.arch))
        .then(a.at.cmp(&b.at))
}

impl<'t> Catalog<'t> {
    /// Sorts entries, if they are not sorted already: package managers write their files so.
    pub fn new(entries: &'t mut Vec<CatalogEntry<'t>>) -> Catalog<'t> {
        let mut pairs = entries.windows(2);
        if pairs.any(|pair| order(&pair[0], &pair[1]) == Ordering::Greater) {
            entries.sort_unstable_by(order);
        }
        let mut bits = 0;
        for entry in entries.iter() {
            bits |= bit(entry.name);
        }
        Catalog { entries, bits }
    }

    /// All entries, sorted by name, then by what tells them apart.
    pub fn entries(&self) -> &'t [CatalogEntry<'t>] {
        self.entries
    }

    /// Where the entries of a name begin in [`Catalog::entries`].
    pub fn first(&self, name: &[u8]) -> Option<usize> {
        if self.bits & bit(name) == 0 {
            return None;
        }
        let is_before = |entry: &CatalogEntry<'_>| compare(entry.name, name) == Ordering::Less;
        let first = self.entries.partition_point(is_before);
        let entry = self.entries.get(first)?;
        (entry.name == name).then_some(first)
    }

    /// The entries of a name.
    pub fn find(&self, name: &[u8]) -> &'t [CatalogEntry<'t>] {
        let Some(first) = self.first(name) else {
            return &[];
        };
        let found = &self.entries[first..];
        let count = found.iter().take_while(|entry| entry.name == name).count();
        &found[..count]
    }

    /// Whether the name has an entry.
    pub fn has(&self, name: &[u8]) -> bool {
        self.first(name).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_with_all_its_positions_and_no_other() {
        let names = ["b", "a", "", "b", "abcdefgh", "abcdefgi", "B"];
        let entries = names.iter().enumerate().map(|(at, name)| CatalogEntry {
            name: name.as_bytes(),
            arch: b"",
            at,
        });
        let mut entries = entries.collect();
        let table = Catalog::new(&mut entries);
        for name in names.iter().chain(&["c", "abcdefg", "A"]) {
            let found = table.find(name.as_bytes()).iter().map(|entry| entry.at);
            let wanted = (0..names.len()).filter(|&at| names[at] == *name);
            assert!(found.eq(wanted), "{name}");
            assert_eq!(table.has(name.as_bytes()), names.contains(name));
        }
    }

    #[test]
    fn names_of_one_spelling_have_one_bit() {
        assert_eq!(bit(b"Package"), bit(b"pACKAGE"));
        assert_eq!(bit(b"").count_ones(), 1);
    }
}
