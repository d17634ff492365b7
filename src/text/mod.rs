//! Views over borrowed bytes: every text format that limopack reads, each in a file of its own.
//! Nothing here does I/O, allocates per line, or looks at lines that nobody asked for.

pub mod active;
pub mod alias;
pub mod catalog;
pub mod dep;
pub mod modinfo;
pub mod modprobe;
pub mod name;
pub mod names;
pub mod nearest;
pub mod proc_modules;
pub mod sort;
pub mod stanza;
pub mod table;

use core::cmp::Ordering;

/// The lines of a text with their numbers from 1, without their newlines.
/// A missing final newline makes no difference; an empty text has no lines.
#[derive(Clone)]
pub struct Lines<'t> {
    rest: BareLines<'t>,
    number: usize,
}

/// Iterates over the lines of `text`.
pub fn lines(text: &[u8]) -> Lines<'_> {
    Lines {
        rest: bare_lines(text),
        number: 0,
    }
}

impl<'t> Iterator for Lines<'t> {
    type Item = (usize, &'t [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.rest.next()?;
        self.number += 1;
        Some((self.number, line))
    }
}

/// The lines of a text, without their numbers.
#[derive(Clone)]
pub struct BareLines<'t>(&'t [u8]);

/// As [`lines`], where nobody asks for the numbers.
pub fn bare_lines(text: &[u8]) -> BareLines<'_> {
    BareLines(text)
}

impl<'t> Iterator for BareLines<'t> {
    type Item = &'t [u8];

    fn next(&mut self) -> Option<&'t [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let (line, rest) = split_inline(self.0, b'\n');
        self.0 = rest;
        Some(line)
    }
}

/// What comes before the first `byte`, and what comes after it (empty where there is none).
#[inline(never)]
pub fn split_at_byte(text: &[u8], byte: u8) -> (&[u8], &[u8]) {
    split_inline(text, byte)
}

/// What comes before the first `byte`; all, where there is none.
#[inline(never)]
pub fn until(text: &[u8], byte: u8) -> &[u8] {
    split_inline(text, byte).0
}

/// [`split_at_byte`] for a loop over thousands, without a call.
#[inline(always)]
pub fn split_inline(text: &[u8], byte: u8) -> (&[u8], &[u8]) {
    match memchr(byte, text) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &[]),
    }
}

/// Where the first such byte is. (On x86-64 memchr's own function goes through a pointer, to code
/// that is chosen at the first call although only one is there to choose, and twice in the program.)
#[inline(never)]
pub fn memchr(byte: u8, text: &[u8]) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    return memchr::arch::x86_64::sse2::memchr::One::new(byte)?.find(text);
    #[cfg(not(target_arch = "x86_64"))]
    return memchr::memchr(byte, text);
}

/// Whether there is such a byte. (What slices have for it brings a search of its own.)
pub fn has(text: &[u8], byte: u8) -> bool {
    memchr(byte, text).is_some()
}

/// Where the last such byte is.
#[inline(never)]
pub fn rfind(text: &[u8], byte: u8) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    return memchr::arch::x86_64::sse2::memchr::One::new(byte)?.rfind(text);
    #[cfg(not(target_arch = "x86_64"))]
    return memchr::memrchr(byte, text);
}

/// Where all such bytes stand, from the first to the last.
pub fn positions(text: &[u8], byte: u8) -> impl Iterator<Item = usize> + '_ {
    let mut start = 0;
    core::iter::from_fn(move || {
        let at = start + memchr(byte, text.get(start..)?)?;
        start = at + 1;
        Some(at)
    })
}

/// Where the first of two bytes is. For words, which are short, byte by byte.
#[inline(never)]
pub fn find_first(text: &[u8], one: u8, other: u8) -> Option<usize> {
    text.iter().position(|&byte| byte == one || byte == other)
}

/// What comes after the last such byte; all, where there is none.
#[inline(never)]
pub fn after_last(text: &[u8], byte: u8) -> &[u8] {
    match rfind(text, byte) {
        Some(at) => &text[at + 1..],
        None => text,
    }
}

/// The last part of a path.
pub fn last_part(path: &[u8]) -> &[u8] {
    after_last(path, b'/')
}

/// Whether this can be a kernel's version: a directory's name, and one word of our own lists.
pub fn is_version(name: &[u8]) -> bool {
    let is_bad = |&byte: &u8| byte == b'/' || byte == b' ' || is_control(byte);
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(is_bad)
}

/// Sorts a list of texts; of the same, one stays.
pub fn sort_once(list: &mut Vec<&[u8]>) {
    if list.windows(2).any(|pair| pair[0] >= pair[1]) {
        list.sort_unstable();
        list.dedup();
    }
}

/// Where `wanted` first is in a text. For short words in texts of a few MB, a search for
/// the first byte does; memchr's own search for words would cost 8 KiB of program.
pub fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    let (&first, _) = wanted.split_first()?;
    let mut start = 0;
    while let Some(at) = memchr(first, text.get(start..)?) {
        if text[start + at..].starts_with(wanted) {
            return Some(start + at);
        }
        start += at + 1;
    }
    None
}

/// Whether two texts are the same but for case. (std's own compares sixteen bytes at a time on x86-64.)
pub fn is_same_word(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.eq_ignore_ascii_case(b))
}

/// The order of two texts.
pub fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let shared = shared_length(a, b);
    a.get(shared).cmp(&b.get(shared))
}

/// How many bytes two texts have in common at their start, eight at a time: paths begin alike, and
/// musl compares them byte by byte.
pub fn shared_length(a: &[u8], b: &[u8]) -> usize {
    let length = a.len().min(b.len());
    let mut at = 0;
    while at + 8 <= length {
        let differ = eight(&a[at..at + 8]) ^ eight(&b[at..at + 8]);
        if differ != 0 {
            return at + differ.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while at < length && a[at] == b[at] {
        at += 1;
    }
    at
}

/// Whether two texts are the same, eight bytes at a time.
pub fn is_same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let Some(last) = a.len().checked_sub(8) else {
        return a.iter().zip(b).all(|(a, b)| a == b);
    };
    // What is left of eights is among the last ones, by which most differ.
    let mut at = last;
    loop {
        if eight(&a[at..at + 8]) != eight(&b[at..at + 8]) {
            return false;
        }
        if at == 0 {
            return true;
        }
        at = at.saturating_sub(8);
    }
}

/// The first eight bytes as a number, the first lowest.
#[inline(always)]
pub(crate) fn eight(bytes: &[u8]) -> u64 {
    let mut array = [0; 8];
    array.copy_from_slice(&bytes[..8]);
    u64::from_le_bytes(array)
}

/// The words of a line, separated by spaces or tabs.
#[derive(Clone)]
pub struct Words<'t>(&'t [u8]);

/// Iterates over the words of `line`.
pub fn words(line: &[u8]) -> Words<'_> {
    Words(line)
}

/// The first word of a line; empty where there is none.
#[inline(never)]
pub fn first_word(line: &[u8]) -> &[u8] {
    words(line).next().unwrap_or(b"")
}

/// Which of the words of a line a word is, from 0.
pub fn find_word(line: &[u8], word: &[u8]) -> Option<usize> {
    words(line).position(|one| one == word)
}

impl<'t> Words<'t> {
    /// What is left of the line.
    pub fn rest(&self) -> &'t [u8] {
        self.0
    }
}

impl<'t> Iterator for Words<'t> {
    type Item = &'t [u8];

    fn next(&mut self) -> Option<&'t [u8]> {
        let mut rest = self.0;
        while let [b' ' | b'\t', after @ ..] = rest {
            rest = after;
        }
        let end = find_first(rest, b' ', b'\t').unwrap_or(rest.len());
        let (word, rest) = rest.split_at(end);
        self.0 = rest;
        (!word.is_empty()).then_some(word)
    }
}

/// Whether a byte is a control byte, which no name or path of ours may hold.
pub fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Calls `try_one` with every text of up to `length` pieces of `vocabulary`:
    /// fuzzing as a unit test, small enough to be exhaustive.
    pub(crate) fn every_text(vocabulary: &[&[u8]], length: usize, try_one: &mut dyn FnMut(&[u8])) {
        fn extend(
            text: &mut Vec<u8>,
            vocabulary: &[&[u8]],
            left: usize,
            try_one: &mut dyn FnMut(&[u8]),
        ) {
            try_one(text);
            if left == 0 {
                return;
            }
            for piece in vocabulary {
                let before = text.len();
                text.extend_from_slice(piece);
                extend(text, vocabulary, left - 1, try_one);
                text.truncate(before);
            }
        }
        extend(&mut Vec::new(), vocabulary, length, try_one);
    }

    #[test]
    fn lines_rejoined_equal_the_text() {
        every_text(&[b"a", b"\n", b"\r", b"\0"], 6, &mut |text| {
            let all: Vec<&[u8]> = lines(text).map(|(_, line)| line).collect();
            let mut joined = all.join(&b'\n');
            if text.ends_with(b"\n") {
                joined.push(b'\n');
            }
            assert_eq!(joined, text);
        });
    }

    #[test]
    fn lines_are_numbered_from_one() {
        assert_eq!(lines(b"a\n\nb").map(|l| l.0).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn a_word_is_found_where_it_first_stands() {
        assert_eq!(find(b"aab aac", b"aac"), Some(4));
        assert_eq!(find(b"aab", b"ac"), None);
        assert_eq!(find(b"a", b""), None);
        assert_eq!(find(b"", b"a"), None);
    }

    #[test]
    fn texts_sort_as_their_bytes() {
        every_text(&[b"a", b"\xff", b"aaaaaaaa", b"/"], 4, &mut |a| {
            every_text(&[b"a", b"\xff", b"aaaaaaaa", b"/"], 3, &mut |b| {
                assert_eq!(compare(a, b), a.cmp(b));
                assert_eq!(is_same(a, b), a == b);
            });
        });
    }

    #[test]
    fn words_skip_every_run_of_blanks() {
        let all: Vec<&[u8]> = words(b"  a \t b").collect();
        assert_eq!(all, [b"a", b"b"]);
    }
}
