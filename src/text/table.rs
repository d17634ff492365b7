//! A hash table of numbers. What a number stands for lies with the caller, who compares it, too: so
//! one table serves lines of a text, modules, rules and places in a file.
//!
//! Nothing is taken out again but all at once. (std's HashMap would be 10 KiB of program and ask the
//! kernel for random bytes.)

/// Numbers by hash: the upper half of a slot is the hash, the lower half the number + 1, and a slot
/// of 0 is free. Their count is a power of two, at most half of them are taken, and what finds its
/// slot taken goes to the next one.
#[derive(Default)]
pub struct Table {
    slots: Vec<u64>,
    count: usize,
}

/// Whether a number is the one that is looked for. Asked of those alone that have its hash.
pub type IsIt<'f> = &'f dyn Fn(u32) -> bool;

/// As few slots as a table has.
const FEWEST: usize = 64;

impl Table {
    /// A table with room for so many numbers; it grows where they are more.
    pub fn with_room(count: usize) -> Table {
        Table {
            slots: vec![0; (count * 2).next_power_of_two().max(FEWEST)],
            count: 0,
        }
    }

    /// The number that was put in first with this hash and that `is_it` knows.
    pub fn find(&self, hash: u32, is_it: IsIt<'_>) -> Option<u32> {
        self.probe(hash, is_it).ok()
    }

    /// The same, or else `number`, which then is in the table. It is below `u32::MAX`.
    pub fn find_or_insert(&mut self, hash: u32, number: u32, is_it: IsIt<'_>) -> u32 {
        if self.count * 2 >= self.slots.len() {
            self.grow();
        }
        self.probe(hash, is_it).unwrap_or_else(|slot| {
            self.slots[slot] = u64::from(hash) << 32 | u64::from(number + 1);
            self.count += 1;
            number
        })
    }

    /// Takes all out.
    pub fn clear(&mut self) {
        // Emptying a table that was large once must not cost each of the small ones after it.
        self.slots.truncate(FEWEST);
        self.slots.fill(0);
        self.count = 0;
    }

    /// The number, or else the free slot where it belongs.
    fn probe(&self, hash: u32, is_it: IsIt<'_>) -> Result<u32, usize> {
        let mask = self.slots.len().wrapping_sub(1);
        let mut slot = hash as usize & mask;
        while let Some(&taken) = self.slots.get(slot).filter(|&&taken| taken != 0) {
            let number = taken as u32 - 1;
            if (taken >> 32) as u32 == hash && is_it(number) {
                return Ok(number);
            }
            slot = (slot + 1) & mask;
        }
        Err(slot)
    }

    fn grow(&mut self) {
        let more = Table::with_room(self.slots.len());
        for taken in core::mem::replace(&mut self.slots, more.slots) {
            if taken != 0 {
                if let Err(slot) = self.probe((taken >> 32) as u32, &|_| false) {
                    self.slots[slot] = taken;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_found_and_nothing_else() {
        // Hashes that all begin in one slot, that are all the same, and that are all different.
        for hash in [|key: u32| key << 16, |_| 7, |key| key] {
            let mut table = Table::default();
            assert_eq!(table.find(hash(0), &|_| true), None);
            let keys: Vec<u32> = (0..1000).map(|number| number * 3).collect();
            for (number, &key) in keys.iter().enumerate() {
                let is_it = |other: u32| keys[other as usize] == key;
                assert_eq!(table.find(hash(key), &is_it), None);
                for _ in 0..2 {
                    let found = table.find_or_insert(hash(key), number as u32, &is_it);
                    assert_eq!(found, number as u32);
                }
            }
            for key in 0..3000 {
                let found = table.find(hash(key), &|other| keys[other as usize] == key);
                assert_eq!(found, (key % 3 == 0).then_some(key / 3));
            }
            table.clear();
            assert_eq!(table.find(hash(0), &|_| true), None);
            assert_eq!(table.find_or_insert(hash(0), 5, &|_| true), 5);
        }
    }

    #[test]
    fn of_two_that_are_one_the_first_stays() {
        let mut table = Table::with_room(1);
        assert_eq!(table.find_or_insert(1, 10, &|_| true), 10);
        assert_eq!(table.find_or_insert(1, 11, &|_| true), 10);
        assert_eq!(table.find_or_insert(2, 11, &|_| true), 11);
    }
}
