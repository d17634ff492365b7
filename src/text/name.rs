//! Module names and module paths, kept apart as types: mixing them deletes the wrong file.
//!
//! A module's name is the base name of its file up to the first `.`, and the kernel writes it
//! with `_` where the file may have `-` (kmod: libkmod/libkmod-util.c, `path_to_modname`).
//! Both spellings name one module, so comparing and hashing treat them alike and nothing is
//! rewritten before it is stored.

use crate::format::Text;
use crate::text::table::{finished, mixed};
use crate::text::{after_last, eight, has, is_same, last_part};
use core::cmp::Ordering;

/// A module's name in either spelling; `snd-hda-intel` equals `snd_hda_intel`.
#[derive(Clone, Copy, Debug)]
pub struct ModuleName<'t>(&'t [u8]);

/// A module file below `/lib/modules/<version>/`, as modules.dep writes it.
/// With depmod's `external` directive it may be absolute.
#[derive(Clone, Copy, Debug, PartialOrd, Eq, Ord)]
pub struct ModulePath<'t>(pub &'t [u8]);

/// The kernel's spelling of one byte of a name.
pub fn kernel_byte(byte: u8) -> u8 {
    if byte == b'-' {
        b'_'
    } else {
        byte
    }
}

impl<'t> ModuleName<'t> {
    /// Takes a name as it stands. Whether a module has it is for the index to say.
    pub fn new(name: &'t [u8]) -> Self {
        ModuleName(name)
    }

    /// The bytes in the spelling in which they came.
    pub fn as_written(self) -> &'t [u8] {
        self.0
    }

    /// The bytes in kernel spelling.
    pub fn kernel_bytes(self) -> impl Iterator<Item = u8> + 't {
        self.0.iter().map(|&byte| kernel_byte(byte))
    }

    /// The name in kernel spelling, copied.
    pub fn to_kernel(self) -> Text {
        let bytes: Vec<u8> = self.kernel_bytes().collect();
        bytes.leak()
    }

    /// A hash in which both spellings agree: of eight bytes after the other, from the end on.
    pub fn hash(self) -> u32 {
        let (mut hash, mut chunks) = (0, self.0.rchunks_exact(8));
        for chunk in &mut chunks {
            hash = mixed(hash, with_kernel_bytes(eight(chunk)));
        }
        if !chunks.remainder().is_empty() {
            hash = mixed(hash, with_kernel_bytes(last(chunks.remainder())));
        }
        finished(hash)
    }

    /// Such a hash of the last eight bytes.
    pub fn tail_hash(self) -> u32 {
        let tail = self.0.rchunks(8).next().map_or(0, last);
        hash_of_tail(with_kernel_bytes(tail))
    }

    /// Whether a path at the end of a text is that of a module of this name, one without a dot.
    /// Lines before the path may stand before it.
    pub fn is_before(self, text: &[u8]) -> bool {
        if let [stem @ .., b'.', b'k', b'o'] = text {
            if let Some(before) = stem.len().checked_sub(self.0.len()) {
                let is_whole = before == 0 || matches!(stem[before - 1], b'/' | b'\n');
                if is_whole && ModuleName(&stem[before..]) == self {
                    return true;
                }
            }
            // Nearly all others end here: their names have no dot, or none that a hash has seen.
            let tail = stem.len().checked_sub(8).map(|start| eight(&stem[start..]));
            if tail.map_or(false, |tail| bytes_equal(tail, b'.') == 0) {
                return false;
            }
        }
        ModulePath(after_last(last_part(text), b'\n')).name() == self
    }

    /// Whether a registry can hold the name: not empty, and none of the bytes that
    /// separate things in it.
    pub fn is_storable(self) -> bool {
        !self.0.is_empty()
            && !self.0.starts_with(b"#")
            && (self.0.iter()).all(|&b| b > b' ' && b != 0x7f && !has(b":/,", b))
    }
}

#[inline(always)]
fn hash_of_tail(kernel: u64) -> u32 {
    finished(kernel.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Whether eight bytes are all of a name up to there.
enum Rest {
    Whole,
    Longer,
}

/// What of eight bytes of a path is part of the name that goes on after them, in kernel spelling,
/// the others 0. `None` where a longer look has to tell.
#[inline(always)]
fn part_of_name(eight: u64) -> Option<(u64, Rest)> {
    // What is below `0` and no `-` is no part of a name.
    let mut low = bytes_below_zero(eight);
    if low == 0 {
        return Some((eight, Rest::Longer));
    }
    let dashes = bytes_equal(eight, b'-');
    let kernel = without_dashes(eight, dashes);
    low ^= dashes;
    if low == 0 {
        return Some((kernel, Rest::Longer));
    }
    // The last byte is the highest: clear the last separator and all below it.
    let below = 64 - low.leading_zeros();
    if (kernel >> (below - 8)) as u8 != b'/' {
        return None;
    }
    let part = match below {
        64 => 0,
        _ => kernel >> below << below,
    };
    Some((part, Rest::Whole))
}

/// Up to eight bytes as a number, the last highest.
#[inline(always)]
fn last(bytes: &[u8]) -> u64 {
    match bytes.len() {
        8 => eight(bytes),
        _ => (bytes.iter()).fold(0, |number, &byte| number >> 8 | u64::from(byte) << 56),
    }
}

/// `0x80` in each byte of `eight` that equals `byte`, 0 in the others (the exact form of
/// Hacker's Delight 6-1).
#[inline(always)]
pub(crate) fn bytes_equal(eight: u64, byte: u8) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let differ = eight ^ (0x0101_0101_0101_0101 * u64::from(byte));
    !(((differ & LOW) + LOW) | differ | LOW)
}

/// Whether a byte of `eight` is below `limit`, which is 0x80 at most. (A borrow can spoil only
/// bytes above one that is below already.)
fn has_below(eight: u64, limit: u8) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    eight.wrapping_sub(ONES * u64::from(limit)) & !eight & (ONES * 0x80) != 0
}

/// Whether a dot or a byte below a space is among these: eight at a time, since every path is
/// asked.
fn has_control_or_dot(bytes: &[u8]) -> bool {
    let is_bad = |eight| has_below(eight, b' ') | has_below(eight ^ DOTS, 1);
    const DOTS: u64 = 0x0101_0101_0101_0101 * b'.' as u64;
    match bytes.len().checked_sub(8) {
        // What is left of the last eight was looked at, too.
        Some(last) => bytes.chunks_exact(8).map(eight).any(is_bad) || is_bad(eight(&bytes[last..])),
        None => bytes.iter().any(|&byte| byte < b' ' || byte == b'.'),
    }
}

/// Eight bytes with `-` as `_`.
#[inline(always)]
fn with_kernel_bytes(eight: u64) -> u64 {
    without_dashes(eight, bytes_equal(eight, b'-'))
}

/// The same, where it is known which bytes are a `-`.
#[inline(always)]
fn without_dashes(eight: u64, dashes: u64) -> u64 {
    eight ^ ((dashes >> 7) * u64::from(b'-' ^ b'_'))
}

/// `0x80` in each byte of `eight` that is below `0`, 0 in the others.
#[inline(always)]
fn bytes_below_zero(eight: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let at_least = (eight & (ONES * 0x7f)) + ONES * u64::from(0x80 - b'0');
    !(at_least | eight) & (ONES * 0x80)
}

impl PartialEq for ModuleName<'_> {
    fn eq(&self, other: &Self) -> bool {
        // Nearly always the spellings agree.
        let pairs = || self.kernel_bytes().zip(other.kernel_bytes());
        is_same(self.0, other.0) || (self.0.len() == other.0.len() && pairs().all(|(a, b)| a == b))
    }
}

impl Eq for ModuleName<'_> {}

impl PartialOrd for ModuleName<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The order of the kernel spelling, in which registries are sorted.
impl Ord for ModuleName<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.kernel_bytes().cmp(other.kernel_bytes())
    }
}

impl PartialEq for ModulePath<'_> {
    fn eq(&self, other: &Self) -> bool {
        is_same(self.0, other.0)
    }
}

impl<'t> ModulePath<'t> {
    /// The last component.
    pub fn file_name(self) -> &'t [u8] {
        last_part(self.0)
    }

    /// The directory part with its slash, or nothing.
    pub fn directory(self) -> &'t [u8] {
        &self.0[..self.0.len() - self.file_name().len()]
    }

    /// The name of the module in this file.
    pub fn name(self) -> ModuleName<'t> {
        let file = self.file_name();
        // A loop, because the dot is near and a search made for long texts is not cheaper.
        let end = file.iter().position(|&byte| byte == b'.');
        ModuleName(&file[..end.unwrap_or(file.len())])
    }

    /// The hash of the module's name.
    pub fn hash(self) -> u32 {
        match self.quick_hash() {
            Some(hash) => hash,
            None => self.name().hash(),
        }
    }

    /// The same for a path that ends in `.ko`: eight bytes at a time, without a look for where the
    /// name begins. Lines before the path may stand before it. `None` where that takes a longer look.
    pub fn quick_hash(self) -> Option<u32> {
        let [stem @ .., b'.', b'k', b'o'] = self.0 else {
            return None;
        };
        let mut hash = 0;
        for (count, chunk) in stem.rchunks_exact(8).enumerate() {
            match part_of_name(eight(chunk))? {
                (kernel, Rest::Longer) => hash = mixed(hash, kernel),
                (0, Rest::Whole) if count == 0 => return None,
                (0, Rest::Whole) => return Some(finished(hash)),
                (kernel, Rest::Whole) => return Some(finished(mixed(hash, kernel))),
            }
        }
        None
    }

    /// [`ModuleName::tail_hash`] of the name in such a path.
    #[inline(always)] // the constants are half of it, and the loop over modules.dep keeps them
    pub fn quick_tail_hash(self) -> Option<u32> {
        let start = self.0.len().checked_sub(8 + b".ko".len())?;
        let [tail @ .., b'.', b'k', b'o'] = &self.0[start..] else {
            return None;
        };
        match part_of_name(eight(tail))? {
            (0, _) => None,
            (kernel, _) => Some(hash_of_tail(kernel)),
        }
    }

    /// Whether the path names a file below the directory it starts from, without hidden
    /// components and control bytes.
    /// Absolute paths are depmod's `external` modules and no concern of ours, but sound.
    pub fn is_sound(self) -> bool {
        let path = self.0.strip_suffix(b".ko").unwrap_or(self.0);
        // Nearly every path ends here.
        if !has_control_or_dot(path) && path.last().map_or(false, |&byte| byte != b'/') {
            return true;
        }
        let mut before = b'/';
        for &byte in self.0 {
            // A dot at the start of a component is `.`, `..` or a hidden file: never a module.
            if byte < b' ' || (byte == b'.' && before == b'/') {
                return false;
            }
            before = byte;
        }
        before != b'/'
    }

    /// Whether this is one of depmod's `external` modules.
    pub fn is_absolute(self) -> bool {
        self.0.starts_with(b"/")
    }
}

/// Whether a file name is one that depmod takes for a module
/// (kmod: shared/elf and tools/depmod.c, `.ko` and its compressed forms).
pub fn is_module_file(file_name: &[u8]) -> bool {
    const SUFFIXES: [&[u8]; 4] = [b".ko", b".ko.gz", b".ko.xz", b".ko.zst"];
    SUFFIXES
        .iter()
        .any(|suffix| file_name.len() > suffix.len() && file_name.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_one_name() {
        let (dash, line) = (ModuleName::new(b"snd-hda_x"), ModuleName::new(b"snd_hda-x"));
        assert_eq!(dash, line);
        assert_eq!(dash.hash(), line.hash());
        assert_eq!(dash.to_kernel(), b"snd_hda_x");
        assert_ne!(dash, ModuleName::new(b"snd-hda_X"));
        assert!(ModuleName::new(b"a-b") > ModuleName::new(b"a.b"));
    }

    #[test]
    fn a_path_gives_directory_file_and_name() {
        let path = ModulePath(b"kernel/sound/snd-soc-sof_sdw.ko.xz");
        assert_eq!(path.directory(), b"kernel/sound/");
        assert_eq!(path.file_name(), b"snd-soc-sof_sdw.ko.xz");
        assert_eq!(path.name(), ModuleName::new(b"snd_soc_sof_sdw"));
    }

    #[test]
    fn paths_that_leave_their_directory_are_unsound() {
        let sound: [&[u8]; 3] = [b"a.ko", b"kernel/a..b.ko", b"/opt/x.ko"];
        assert!(sound.iter().all(|path| ModulePath(path).is_sound()));
        let unsound: [&[u8]; 8] = [
            b"",
            b"../a.ko",
            b"a/../b.ko",
            b"./a.ko",
            b"a\n.ko",
            b"a/",
            b"a/.ko",
            b"a/.b.ko",
        ];
        assert!(!unsound.iter().any(|path| ModulePath(path).is_sound()));
    }

    #[test]
    fn the_hash_of_a_path_is_that_of_its_name() {
        let vocabulary: [&[u8]; 8] = [b"/", b"-", b"ab", b"xyzw", b".", b".ko", b"+", b"\n"];
        let mut quick = 0;
        crate::text::tests::every_text(&vocabulary, 6, &mut |text| {
            let line = text.rsplit(|&byte| byte == b'\n').next().unwrap();
            let path = ModulePath(line);
            assert_eq!(path.hash(), path.name().hash());
            if let Some(hash) = ModulePath(text).quick_hash() {
                assert_eq!(hash, path.name().hash());
                quick += 1;
            }
            // A dot before the last eight bytes is not seen there.
            let stem = path.file_name().strip_suffix(b".ko").unwrap_or(b".");
            let hash = ModulePath(text).quick_tail_hash();
            if let (Some(hash), false) = (hash, stem.contains(&b'.')) {
                assert_eq!(hash, path.name().tail_hash());
            }
        });
        assert!(quick > 1000);
    }

    #[test]
    fn equal_names_hash_alike_and_others_do_not() {
        let mut names = Vec::new();
        crate::text::tests::every_text(&[b"-", b"_", b"a", b"bcdefgh"], 5, &mut |text| {
            names.push(text.to_vec());
        });
        for a in &names {
            for b in &names {
                let is_one = a.len() == b.len()
                    && (a.iter().zip(b)).all(|(&a, &b)| kernel_byte(a) == kernel_byte(b));
                let (a, b) = (ModuleName::new(a), ModuleName::new(b));
                assert_eq!(a == b, is_one, "{a:?} {b:?}");
                assert_eq!(a.hash() == b.hash(), is_one, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn names_that_differ_anywhere_fill_a_table_evenly() {
        // A name of each family for each number: where they differ is all that is different.
        let families: [fn(u32) -> String; 4] = [
            |number| format!("{number}"),
            |number| format!("snd_soc_{number}"),
            |number| format!("m{number}_generic_and_more"),
            |number| format!("{}{}", char::from(b'a' + number as u8 % 26), number / 26),
        ];
        for family in families {
            let mut hit = vec![false; 8192];
            for number in 0..4096 {
                let name = family(number);
                hit[ModuleName::new(name.as_bytes()).hash() as usize % 8192] = true;
            }
            // Of random numbers 3224 would be different.
            let count = hit.iter().filter(|&&hit| hit).count();
            assert!(count > 3000, "{} and its like: {count}", family(0));
        }
    }

    #[test]
    fn a_control_byte_is_seen_wherever_it_stands() {
        for at in 0..20 {
            let mut path = [b'a'; 20];
            assert!(!has_control_or_dot(&path));
            for byte in [0x1f, b'.'] {
                path[at] = byte;
                assert!(has_control_or_dot(&path));
            }
            path[at] = 0xff;
            assert!(!has_control_or_dot(&path));
        }
    }

    #[test]
    fn module_files_are_known_by_their_suffix() {
        let yes: [&[u8]; 4] = [b"a.ko", b"a.ko.gz", b"a.ko.xz", b"a.ko.zst"];
        assert!(yes.iter().all(|name| is_module_file(name)));
        let no: [&[u8]; 5] = [b".ko", b"a.ko.bz2", b"a.kobold", b"ako", b"a.ko.xz.orig"];
        assert!(!no.iter().any(|name| is_module_file(name)));
    }

    #[test]
    fn no_path_panics() {
        crate::text::tests::every_text(&[b"/", b".", b"a", b"-", b"\n"], 6, &mut |text| {
            let path = ModulePath(text);
            assert_eq!([path.directory(), path.file_name()].concat(), text);
            let _ = (
                path.is_sound(),
                path.name().is_storable(),
                path.name().hash(),
            );
        });
    }
}
