//! The word that somebody may have meant.

use crate::format::Text;

/// Longer words are not compared.
const LONGEST: usize = 63;

/// A search for the word nearest to another.
pub struct Nearest<'w> {
    word: &'w [u8],
    /// The nearest so far; empty while none is near.
    pub found: Text,
    /// How many letters it may differ by, to be nearer than that.
    limit: usize,
}

impl<'w> Nearest<'w> {
    /// The search for a word near to this: one letter of three may differ, two of five, as they do
    /// where two change places.
    pub fn to(word: &'w [u8]) -> Nearest<'w> {
        let (found, limit) = (&b""[..], (word.len() + 1) / 3 + 1);
        Nearest { word, found, limit }
    }

    /// Offers a word.
    pub fn offer(&mut self, candidate: Text) {
        if candidate.len() <= LONGEST && candidate.len().abs_diff(self.word.len()) < self.limit {
            let distance = distance(self.word, candidate);
            if distance < self.limit {
                self.limit = distance;
                self.found = candidate;
            }
        }
    }
}

/// How many letters have to be added, dropped or replaced (Levenshtein).
fn distance(word: &[u8], other: &[u8]) -> usize {
    let mut row = [0; LONGEST + 1];
    for (at, cell) in row.iter_mut().enumerate() {
        *cell = at;
    }
    for (number, &byte) in word.iter().enumerate() {
        let mut diagonal = number;
        row[0] = number + 1;
        for (at, &own) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(byte != own);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nearest(word: &[u8], among: &[Text]) -> Text {
        let mut nearest = Nearest::to(word);
        for candidate in among {
            nearest.offer(candidate);
        }
        nearest.found
    }

    #[test]
    fn a_distance_is_a_number_of_letters() {
        for (word, other, wanted) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("extt4", "ext4", 1),
            ("kitten", "sitting", 3),
            ("list", "lsit", 2),
        ] {
            assert_eq!(distance(word.as_bytes(), other.as_bytes()), wanted);
            assert_eq!(distance(other.as_bytes(), word.as_bytes()), wanted);
        }
    }

    #[test]
    fn what_is_too_far_is_not_found() {
        let among: &[Text] = &[b"ext4", b"exfat", b"btrfs"];
        assert_eq!(nearest(b"extt4", among), b"ext4");
        assert_eq!(nearest(b"btfrs", among), b"btrfs");
        assert_eq!(nearest(b"bfs", among), b"");
        assert_eq!(nearest(b"ext4", &[b"ext3", b"ext4", b"ext2"]), b"ext4");
        assert_eq!(nearest(b"", among), b"");
        assert_eq!(nearest(b"nothing", among), b"");
    }
}
