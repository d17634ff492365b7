//! Templates of messages, and tables of text, in little more than half of their bytes.
//!
//! What limopack says was a tenth of the program. The words and ends of words that many messages
//! have are stored once, in `FRAGMENTS`; in a stored template a byte from 0x80 on stands for one of
//! them. The compiler packs ([`msg!`](crate::msg)), and a message is unpacked when it is said.

use crate::format::Text;
use crate::text::bare_lines;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A stored template, as [`msg!`](crate::msg) makes it: the first of its bytes, of which the last is
/// 0. One word wide, because every message passes one on.
#[derive(Clone, Copy)]
pub struct Template(NonNull<u8>);

/// A text with `{}` for each of its parts, packed when limopack is compiled.
#[macro_export]
macro_rules! msg {
    ($text:expr) => {
        $crate::packed!($text.as_bytes())
    };
}

/// A table of text, packed in the same way.
#[macro_export]
macro_rules! packed {
    ($text:expr) => {{
        const TEXT: &[u8] = $text;
        const COSTS: [usize; TEXT.len() + 1] = $crate::template::costs(TEXT);
        const PACKED: &[u8; COSTS[0]] = &$crate::template::pack(TEXT, &COSTS);
        $crate::template::Template::new(PACKED)
    }};
}

impl Template {
    /// The template of bytes that [`pack`] made.
    #[allow(unsafe_code)]
    pub const fn new<const N: usize>(packed: &'static [u8; N]) -> Template {
        assert!(packed[N - 1] == 0);
        // SAFETY: the address of an array is not null.
        Template(unsafe { NonNull::new_unchecked(packed.as_ptr().cast_mut()) })
    }

    /// The text that was packed, for one that has no parts.
    pub fn text(self) -> Text {
        self.unpack().leak()
    }

    /// The text that was packed.
    #[allow(unsafe_code)]
    pub fn unpack(self) -> Vec<u8> {
        let mut text = Vec::new();
        let mut at = self.0.as_ptr();
        loop {
            // SAFETY: `new` took bytes that end with 0, and they stay for ever; nothing after the 0
            // is looked at.
            let byte = unsafe { *at };
            match byte.checked_sub(CODES) {
                _ if byte == 0 => return text,
                None => text.push(byte),
                Some(code) => {
                    text.extend_from_slice(fragment(usize::from(code)));
                }
            }
            // SAFETY: as above.
            at = unsafe { at.add(1) };
        }
    }
}

/// A fragment, by its number.
fn fragment(number: usize) -> Text {
    let place = || PLACES[number].load(Relaxed) as usize;
    if place() == 0 {
        let mut start = 0;
        for (text, place) in bare_lines(FRAGMENTS).zip(&PLACES) {
            place.store(start << 8 | text.len() as u32, Relaxed);
            start += text.len() as u32 + 1;
        }
    }
    &FRAGMENTS[place() >> 8..][..place() & 0xff]
}

/// Where each fragment begins, and its length in the lowest byte; from the first look at one on. Tables
/// are unpacked with every listing: to look for the lines each time would be a third of a small one.
static PLACES: [AtomicU32; 128] = {
    #[allow(clippy::declare_interior_mutable_const)] // which is what a new place is
    const PLACE: AtomicU32 = AtomicU32::new(0);
    [PLACE; 128]
};

/// The first byte that stands for a fragment: texts are of ASCII.
const CODES: u8 = 0x80;

/// How many bytes are stored of a text from each of its places on, with the 0 at the end.
pub const fn costs<const N: usize>(text: &[u8]) -> [usize; N] {
    let mut costs = [1; N];
    let mut at = text.len();
    while at > 0 {
        at -= 1;
        costs[at] = 1 + costs[at + code_at(text, at, &costs).1];
    }
    costs
}

/// The bytes to store of a text: as few as the fragments allow.
pub const fn pack<const N: usize>(text: &[u8], costs: &[usize]) -> [u8; N] {
    let mut packed = [0; N];
    let (mut at, mut to) = (0, 0);
    while at < text.len() {
        let (code, length) = code_at(text, at, costs);
        packed[to] = code;
        at += length;
        to += 1;
    }
    packed
}

/// The byte to store at a place of a text, and how much of the text it is.
const fn code_at(text: &[u8], at: usize, costs: &[usize]) -> (u8, usize) {
    let byte = text[at];
    assert!(byte != 0 && byte < CODES, "messages are of ASCII");
    let mut best = (byte, 1);
    let mut start = FIRST[byte as usize];
    while start < FRAGMENTS.len() && FRAGMENTS[start] == byte {
        let mut length = 0;
        let mut is_there = true;
        while FRAGMENTS[start + length] != b'\n' {
            is_there &= at + length < text.len() && FRAGMENTS[start + length] == text[at + length];
            length += 1;
        }
        if is_there && costs[at + length] < costs[at + best.1] {
            best = (NUMBERS[start], length);
        }
        start += length + 1;
    }
    best
}

/// Where the first of the fragments begins that begin with a byte, as they are sorted; and the byte
/// that stands for each fragment, where it begins. For the compiler alone, which looks at each
/// place of each message.
const INDEX: ([usize; 128], [u8; FRAGMENTS.len()]) = {
    let (mut first, mut numbers) = ([FRAGMENTS.len(); 128], [0; FRAGMENTS.len()]);
    let (mut at, mut number, mut last) = (0, CODES, b'\n');
    while at < FRAGMENTS.len() {
        let byte = FRAGMENTS[at];
        if last == b'\n' {
            if first[byte as usize] == FRAGMENTS.len() {
                first[byte as usize] = at;
            }
            numbers[at] = number;
            number = number.wrapping_add(1);
        }
        last = byte;
        at += 1;
    }
    (first, numbers)
};
const FIRST: [usize; 128] = INDEX.0;
const NUMBERS: [u8; FRAGMENTS.len()] = INDEX.1;

/// What a byte from 0x80 on stands for, one per line; cross/build/fragments.py chooses them.
#[rustfmt::skip]
const FRAGMENTS: &[u8] = concat!(
    " *\n --\n a\n again\n asks for\n b\n c\n crypto-\n d\n dm_\n file\n forgotte\n ha\n i\n",
    " is \n it\n ke\n li\n m\n modules\n modules.dep\n n\n name\n needs\n not \n of\n p\n",
    " package\n r\n registered\n s\n sta\n sys:class/\n th\n the\n to\n w\n what\n with\n {}\n",
    ", \n, bu\n/modprobe.d\n: \n: {}\n; \n; run depmod\n\t --use=btrfs\nad\nage\naid\nal\nan\n",
    "ar\nas\nat\nbuilt into \nch\nck\ncm\nco\ncry\nd \nde\ne \ned\nel\nen\nep\ner\nes\net\nfi\n",
    "for\nfs\nhi\nin\ninstall\nis\nkernel\nkernel {}\nle\nli\nlo\nmac\nme\nmod\nmodule\n",
    "mopack\nn \nnd\nne\nnft_\nno\nno \nnot\nnothing\nnt\non\nor\nore\not\nou\nown\npkg\n",
    "prune\npto-aes\nre\nri\nro\ns \nse\nsha256\nst\nsys\nt \nte\nther \nti\ntr\nules-load.d\n",
    "us\nver\nware\n{}\n{} is\n{}/{}\n|crypto-\n",
)
.as_bytes();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out_again() {
        assert_eq!(msg!("").text(), b"");
        assert_eq!(msg!("\n{}~").text(), b"\n{}~");
        let text = "kernel {}: its modules stay; no package brings them any more";
        let packed = msg!("kernel {}: its modules stay; no package brings them any more");
        assert_eq!(packed.text(), text.as_bytes());
    }

    #[test]
    fn every_fragment_is_a_byte() {
        for (number, text) in bare_lines(FRAGMENTS).enumerate() {
            let code = CODES + number as u8;
            assert_eq!(code_at(text, 0, &costs::<64>(text)), (code, text.len()));
            assert_eq!(fragment(number), text);
        }
    }
}
