//! Sorting texts that lie in one buffer, by splitting them at the first byte in which they differ.
//!
//! So what many have in common, as the paths of one directory do, is looked at once and not with
//! each comparison. (Rejected: std's sort. Where std is built for size it is a heap sort, which
//! took three of four instructions that it took to write an index.)

use crate::text::{compare, shared_length};
use core::cmp::Ordering;
use core::mem::swap;

/// As few texts as are sorted by comparing them.
const FEW: usize = 8;

/// Sorts the texts that begin at `starts` in `bytes`. Something ends each that is nowhere else
/// in any of them and is lower than all there is, a zero byte as a rule; no two are the same, for
/// they would be compared beyond their ends.
///
/// The time grows with the bytes that are looked at, in whatever order the texts come: a byte has
/// 256 values, so no text is passed more often for one of its bytes.
pub fn sort(bytes: &[u8], starts: &mut [u32]) {
    sort_from(bytes, starts, 0);
}

/// Sorts texts that agree in their first `depth` bytes.
fn sort_from(bytes: &[u8], mut starts: &mut [u32], mut depth: usize) {
    while starts.len() > FEW {
        let first = rest(bytes, starts[0], depth);
        let mut shared = first.len();
        for &other in &starts[1..] {
            shared = shared_length(&first[..shared], rest(bytes, other, depth));
            if shared == 0 {
                break;
            }
        }
        depth += shared;
        // The smaller parts by calls: no more of them in one another than the count has bits.
        let (mut one, mut largest, mut other) = split(bytes, starts, depth);
        if one.len() > largest.len() {
            swap(&mut one, &mut largest);
        }
        if other.len() > largest.len() {
            swap(&mut other, &mut largest);
        }
        sort_from(bytes, one, depth);
        sort_from(bytes, other, depth);
        starts = largest;
    }
    for count in 1..starts.len() {
        let mut at = count;
        while at > 0 {
            let [before, this] = [at - 1, at].map(|at| rest(bytes, starts[at], depth));
            if compare(before, this) != Ordering::Greater {
                break;
            }
            starts.swap(at - 1, at);
            at -= 1;
        }
    }
}

/// A text from its byte at `depth` on, with all that comes after it.
fn rest(bytes: &[u8], start: u32, depth: usize) -> &[u8] {
    bytes.get(start as usize + depth..).unwrap_or(&[])
}

/// Texts with a lower byte at `depth` than the one in the middle, with the same, with a higher.
fn split<'s>(
    bytes: &[u8],
    starts: &'s mut [u32],
    depth: usize,
) -> (&'s mut [u32], &'s mut [u32], &'s mut [u32]) {
    let byte = |start: u32| bytes.get(start as usize + depth).copied();
    let middle = byte(starts[starts.len() / 2]);
    let (mut low, mut at, mut high) = (0, 0, starts.len());
    while at < high {
        match byte(starts[at]).cmp(&middle) {
            Ordering::Less => {
                starts.swap(low, at);
                low += 1;
                at += 1;
            }
            Ordering::Equal => at += 1,
            Ordering::Greater => {
                high -= 1;
                starts.swap(at, high);
            }
        }
    }
    let (lower, others) = starts.split_at_mut(low);
    let (equal, higher) = others.split_at_mut(high - low);
    (lower, equal, higher)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tests::every_text;

    fn assert_sorts(texts: &[Vec<u8>]) {
        let (mut bytes, mut starts) = (Vec::new(), Vec::new());
        for text in texts {
            starts.push(bytes.len() as u32);
            bytes.extend_from_slice(text);
            bytes.push(0);
        }
        sort(&bytes, &mut starts);
        let text = |start: &u32| bytes[*start as usize..].split(|&byte| byte == 0).next();
        let sorted: Vec<&[u8]> = starts.iter().filter_map(text).collect();
        let mut wanted = texts.to_vec();
        wanted.sort();
        assert_eq!(sorted, wanted);
    }

    #[test]
    fn texts_stand_in_the_order_of_their_bytes() {
        every_text(&[b"a", b"aaaaaaaaa", b"\xff", b","], 6, &mut |text| {
            let texts: Vec<Vec<u8>> = text.split(|&b| b == b',').map(|t| t.to_vec()).collect();
            assert_sorts(&texts);
        });
    }

    #[test]
    fn many_texts_are_sorted_as_well_whatever_they_have_in_common() {
        let mut seed = 1_u32;
        let mut number = |below: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) % below
        };
        for count in [2, 8, 9, 10, 100, 3000] {
            for letters in [1, 2, 250] {
                let mut texts = Vec::new();
                for at in 0..count {
                    let length = number(12);
                    let mut text: Vec<u8> =
                        (0..length).map(|_| 1 + number(letters) as u8).collect();
                    // No two are the same.
                    text.extend(format!("{at:b}").bytes());
                    texts.push(text);
                }
                assert_sorts(&texts);
                texts.sort();
                assert_sorts(&texts);
                texts.reverse();
                assert_sorts(&texts);
            }
        }
    }
}
