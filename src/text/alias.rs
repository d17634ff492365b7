//! Aliases: patterns of names, and the lines of modules.alias and modules.symbols that give each
//! of them a module.
//!
//! A pattern is read as fnmatch(3) does without flags: `*`, `?`, `[...]` with ranges and `!` or
//! `^`, and `\` before a byte that stands for itself. Outside brackets `-` is `_`, in patterns
//! and names alike. Character classes (`[:alpha:]`) are not known; no kernel writes them.
//! (kmod: shared/util.c, `alias_normalize`; libkmod/libkmod-module.c)

use crate::text::name::{kernel_byte, ModuleName};
use crate::text::table::mixed;
use crate::text::{has, memchr, rfind};

/// Pattern and module of an `alias PATTERN MODULE` line.
pub fn alias(line: &[u8]) -> Option<(&[u8], &[u8])> {
    // No call to compare six bytes: kernels have tens of thousands of lines.
    let [b'a', b'l', b'i', b'a', b's', b' ', rest @ ..] = line else {
        return None;
    };
    let space = rfind(rest, b' ')?;
    let (pattern, module) = (&rest[..space], &rest[space + 1..]);
    (!pattern.is_empty() && !module.is_empty()).then_some((pattern, module))
}

/// A pattern with `-` as `_` outside brackets, by its definition: what tests compare [`normalise`] with.
pub fn normalised(pattern: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let mut is_inside = false;
    pattern.iter().map(move |&byte| {
        match byte {
            b'[' => is_inside = true,
            b']' => is_inside = false,
            _ => {}
        }
        if is_inside {
            byte
        } else {
            kernel_byte(byte)
        }
    })
}

/// Writes `_` for each `-` of a pattern outside brackets.
pub fn normalise(pattern: &mut [u8]) {
    // Few patterns have one.
    if memchr(b'-', pattern).is_none() {
        return;
    }
    let mut is_inside = false;
    for byte in pattern {
        match byte {
            b'[' => is_inside = true,
            b']' => is_inside = false,
            b'-' if !is_inside => *byte = b'_',
            _ => {}
        }
    }
}

/// Whether a bracket has no partner; depmod and modprobe leave such a pattern out.
pub fn has_open_bracket(pattern: &[u8]) -> bool {
    if memchr(b'[', pattern).is_none() && memchr(b']', pattern).is_none() {
        return false;
    }
    let mut is_inside = false;
    for &byte in pattern {
        match byte {
            b']' if !is_inside => return true,
            b'[' => is_inside = true,
            b']' => is_inside = false,
            _ => {}
        }
    }
    is_inside
}

/// A number for a pattern and its module, whose hash this is. The sum of these, over all lines of a text, is
/// that of the index which depmod makes from it.
pub fn checksum(pattern: &[u8], module: u32) -> u64 {
    mixed(ModuleName::new(pattern).hash().into(), module.into())
}

/// Whether a byte has a meaning of its own in a pattern.
pub fn is_special(byte: u8) -> bool {
    matches!(byte, b'*' | b'?' | b'[' | b'\\')
}

/// The longest part of a pattern that every name has in it which the pattern matches, or one that is
/// long enough; all of a pattern that stands for one name. Nothing after a bracket is looked at.
pub fn long_literal(pattern: &[u8]) -> &[u8] {
    const ENOUGH: usize = 12;
    let (mut longest, mut rest) = (&b""[..], pattern);
    while longest.len() < ENOUGH && longest.len() < rest.len() {
        let literal = before_wildcard(rest);
        if literal.len() > longest.len() {
            longest = literal;
        }
        rest = match rest.get(literal.len()) {
            None | Some(b'[') => b"",
            Some(_) => &rest[literal.len() + 1..],
        };
    }
    longest
}

/// What comes before the first byte of a pattern that has a meaning of its own.
pub fn before_wildcard(pattern: &[u8]) -> &[u8] {
    let end = pattern.iter().position(|&byte| is_special(byte));
    &pattern[..end.unwrap_or(pattern.len())]
}

/// Whether a name is an alias by its looks, which no module can have for a name: with a bus
/// before a `:`, or with a head that the kernel writes when it asks for a module.
/// (linux: MODULE_ALIAS_FS, MODULE_ALIAS_CRYPTO, MODULE_ALIAS_NETPROTO, MODULE_ALIAS_CHARDEV, …)
pub fn is_alias(name: &[u8]) -> bool {
    const HEADS: [&[u8]; 5] = [
        b"fs-",
        b"crypto-",
        b"net-pf-",
        b"char-major-",
        b"block-major-",
    ];
    has(name, b':') || HEADS.iter().any(|head| name.starts_with(head))
}

/// Whether a pattern, normalised or not, matches a normalised name.
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut eaten) = (0, 0);
    // After the last star: the pattern from there, and how far the name was when it began.
    let mut star = None;
    loop {
        let step = match pattern.get(at) {
            None if eaten == name.len() => return true,
            None => None,
            Some(b'*') => {
                at += 1;
                star = Some((at, eaten));
                continue;
            }
            Some(_) => (name.get(eaten)).and_then(|&byte| one(&pattern[at..], byte)),
        };
        match (step, star) {
            (Some(length), _) => {
                at += length;
                eaten += 1;
            }
            // Only the last star has to give: what an earlier one eats the last can eat, too.
            (None, Some((after, from))) if from < name.len() => {
                star = Some((after, from + 1));
                at = after;
                eaten = from + 1;
            }
            _ => return false,
        }
    }
}

/// How many bytes at the start of a pattern stand for `byte`; `None` if they do not.
/// Not called with a star.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        // As nearly all are.
        [literal, ..] if !is_special(*literal) => (kernel_byte(*literal) == byte).then_some(1),
        [b'?', ..] => Some(1),
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        [b'[', set @ ..] => match bracket(set, byte) {
            Some((length, is_in)) => is_in.then_some(length + 1),
            None => (byte == b'[').then_some(1),
        },
        // A backslash at the end stands for itself.
        [last, ..] => (*last == byte).then_some(1),
        [] => None,
    }
}

/// The length of a set with its `]`, and whether `byte` is in it; `None` without a `]`.
fn bracket(set: &[u8], byte: u8) -> Option<(usize, bool)> {
    let is_negated = matches!(set.first(), Some(b'!' | b'^'));
    let first = usize::from(is_negated);
    let (mut at, mut is_in) = (first, false);
    loop {
        let low = *set.get(at)?;
        if low == b']' && at > first {
            return Some((at + 1, is_in != is_negated));
        }
        let mut high = low;
        at += 1;
        if let [b'-', end, ..] = set[at..] {
            if end != b']' {
                high = end;
                at += 2;
            }
        }
        is_in |= (low..=high).contains(&byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_normalised_outside_brackets() {
        crate::text::tests::every_text(&[b"-", b"[", b"]", b"a"], 6, &mut |text| {
            let mut in_place = text.to_vec();
            normalise(&mut in_place);
            assert_eq!(normalised(text).collect::<Vec<u8>>(), in_place);
        });
        let normal = |text: &[u8]| normalised(text).collect::<Vec<u8>>();
        assert_eq!(normal(b"a-b[c-d]e-f"), b"a_b[c-d]e_f");
        assert!(has_open_bracket(b"a[b") && has_open_bracket(b"a]b") && !has_open_bracket(b"[b]"));
    }

    #[test]
    fn every_name_has_the_long_literal_of_its_pattern_in_it() {
        for (pattern, wanted) in [
            ("", ""),
            ("fs-ext4", "fs-ext4"),
            ("pci:v*d*sv*sd*bc0Csc03i30*", "bc0Csc03i30"),
            ("usb:v05ACp020Ad*dc*", "usb:v05ACp020Ad"),
            ("hid:b0003g*v0000045Ep0000009D", "v0000045Ep0000009D"),
            ("dmi:*:[bs]vnD[Ee]*", "dmi:"),
            ("[]abc]abc", ""),
            ("a\\*bc?def", "def"),
        ] {
            assert_eq!(long_literal(pattern.as_bytes()), wanted.as_bytes());
        }
    }

    #[test]
    fn an_alias_line_is_pattern_and_module() {
        assert_eq!(alias(b"alias a b c"), Some((&b"a b"[..], &b"c"[..])));
        for bad in [
            &b"alias a"[..],
            b"alias  a",
            b"alias a ",
            b"softdep a b",
            b"",
        ] {
            assert_eq!(alias(bad), None);
        }
    }

    #[test]
    fn names_match_as_fnmatch_has_it() {
        for (pattern, name, wanted) in [
            ("pci:v*d*sv*", "pci:v1d2sv3", true),
            ("pci:v*d*sv*", "pci:v1d2", false),
            ("usb:d[0-9]*", "usb:d7x", true),
            ("usb:d[!0-9]", "usb:d7", false),
            ("usb:d[^0-9]", "usb:dA", true),
            ("a[]x]b", "a]b", true),
            ("a[-x]b", "a-b", true),
            ("a[b", "a[b", true),
            ("a-b", "a_b", true),
            ("*", "", true),
            ("**a*", "ba", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("*a*b*c", "xaybzbzc", true),
            ("*a*b*c", "xaybzbzcd", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), name.as_bytes()),
                wanted,
                "{pattern} {name}"
            );
        }
    }

    /// The definition, without any care for speed.
    fn slow(pattern: &[u8], name: &[u8]) -> bool {
        match pattern {
            [] => name.is_empty(),
            [b'*', rest @ ..] => (0..=name.len()).any(|eaten| slow(rest, &name[eaten..])),
            _ => name.first().map_or(false, |&byte| {
                one(pattern, byte).map_or(false, |length| slow(&pattern[length..], &name[1..]))
            }),
        }
    }

    #[test]
    fn every_short_pattern_matches_what_the_definition_matches() {
        let pieces: [&[u8]; 8] = [b"a", b"b", b"*", b"?", b"[a]", b"[", b"]", b"!"];
        crate::text::tests::every_text(&pieces, 4, &mut |pattern| {
            for name in [&b""[..], b"a", b"ab", b"ba", b"aab", b"abab", b"[a", b"]"] {
                assert_eq!(matches(pattern, name), slow(pattern, name));
            }
        });
    }
}
