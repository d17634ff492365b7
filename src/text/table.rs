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

/// A hash with eight more bytes in it. A product's bits know only the bits below them, so the upper
/// half is folded into the lower one before.
pub fn mixed(hash: u64, more: u64) -> u64 {
    let both = hash ^ more;
    (both ^ (both >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The bits that know all that is in a hash, the best mixed ones in the lowest, too.
pub fn finished(hash: u64) -> u32 {
    ((hash >> 32) ^ (hash >> 48)) as u32
}

fn slot_of(hash: u32, number: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(number + 1)
}

fn number_in(slot: u64) -> u32 {
    slot as u32 - 1
}

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
        let slot = self.probe(hash, &is_it).ok()?;
        Some(number_in(self.slots[slot]))
    }

    /// The same; or nothing, and `number` is in the table from now on. It is below `u32::MAX`.
    pub fn insert(&mut self, hash: u32, number: u32, is_it: IsIt<'_>) -> Option<u32> {
        self.insert_inline(hash, number, &is_it)
    }

    /// [`Table::insert`] for a loop over thousands, without a call.
    #[inline(always)]
    pub fn insert_inline(
        &mut self,
        hash: u32,
        number: u32,
        is_it: &impl Fn(u32) -> bool,
    ) -> Option<u32> {
        if self.count * 2 >= self.slots.len() {
            self.grow();
        }
        match self.probe(hash, is_it) {
            Ok(slot) => Some(number_in(self.slots[slot])),
            Err(slot) => {
                self.slots[slot] = slot_of(hash, number);
                self.count += 1;
                None
            }
        }
    }

    /// Puts another number in the place of one with this hash that is there.
    pub fn replace(&mut self, hash: u32, old: u32, new: u32) {
        if let Ok(slot) = self.probe(hash, &|number| number == old) {
            self.slots[slot] = slot_of(hash, new);
        }
    }

    /// Takes all out.
    pub fn clear(&mut self) {
        // Emptying a table that was large once must not cost each of the small ones after it.
        self.slots.truncate(FEWEST);
        self.slots.fill(0);
        self.count = 0;
    }

    /// The slot of the number, or else the free slot where it belongs.
    #[inline(always)]
    fn probe(&self, hash: u32, is_it: &impl Fn(u32) -> bool) -> Result<usize, usize> {
        let mask = self.slots.len().wrapping_sub(1);
        let mut slot = hash as usize & mask;
        loop {
            match self.slots.get(slot) {
                None | Some(0) => return Err(slot),
                Some(&taken) if (taken >> 32) as u32 == hash && is_it(number_in(taken)) => {
                    return Ok(slot)
                }
                Some(_) => slot = (slot + 1) & mask,
            }
        }
    }

    fn grow(&mut self) {
        let more = Table::with_room(self.slots.len() * 2);
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
                let number = number as u32;
                assert_eq!(table.insert(hash(key), number, &is_it), None);
                assert_eq!(table.insert(hash(key), 7000, &is_it), Some(number));
            }
            for key in 0..3000 {
                let found = table.find(hash(key), &|other| keys[other as usize] == key);
                assert_eq!(found, (key % 3 == 0).then_some(key / 3));
            }
            table.clear();
            assert_eq!(table.find(hash(0), &|_| true), None);
            assert_eq!(table.insert(hash(0), 5, &|_| true), None);
            assert_eq!(table.find(hash(0), &|_| true), Some(5));
        }
    }

    #[test]
    fn of_two_that_are_one_the_first_stays() {
        let mut table = Table::with_room(1);
        assert_eq!(table.insert(1, 10, &|_| true), None);
        assert_eq!(table.insert(1, 11, &|_| true), Some(10));
        assert_eq!(table.insert(2, 11, &|_| true), None);
        table.replace(1, 10, 12);
        table.replace(1, 10, 13);
        assert_eq!(table.find(1, &|_| true), Some(12));
        assert_eq!(table.find(2, &|_| true), Some(11));
    }
}
