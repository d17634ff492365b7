//! Dependency fields: `a | b (>= 1:2.0-1), c:any`. Understood well enough to say whether somebody
//! else satisfies them; where there is doubt, nobody does, and a stand-in is made.
//! (Debian Policy 7.1; dpkg: lib/dpkg/version.c)

use crate::text::stanza::{name_in, position, trim};
use crate::text::{find_first, has, memchr, rfind, split_at_byte, words};
use core::cmp::Ordering;

/// One alternative of a dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relation<'t> {
    /// The package's name without a qualifier.
    pub name: &'t [u8],
    /// The qualifier after `:`, or nothing.
    pub qualifier: &'t [u8],
    /// `=`, `>=`, `>>`, `<=`, `<<`, or nothing.
    pub operator: &'t [u8],
    /// The version after the operator.
    pub version: &'t [u8],
}

/// Parts of a field, trimmed, without empty ones.
#[derive(Clone)]
pub struct Parts<'t> {
    rest: &'t [u8],
    separator: u8,
}

impl<'t> Iterator for Parts<'t> {
    type Item = &'t [u8];

    fn next(&mut self) -> Option<&'t [u8]> {
        while !self.rest.is_empty() {
            let (part, rest) = split_at_byte(self.rest, self.separator);
            self.rest = rest;
            let part = trim(part);
            if !part.is_empty() {
                return Some(part);
            }
        }
        None
    }
}

/// The groups of a field that must all be satisfied.
pub fn groups(field: &[u8]) -> Parts<'_> {
    let separator = b',';
    Parts {
        rest: field,
        separator,
    }
}

/// The alternatives of a group, any of which satisfies it.
pub fn alternatives(group: &[u8]) -> Parts<'_> {
    let separator = b'|';
    Parts {
        rest: group,
        separator,
    }
}

/// Calls `see` with the name of every relation of a field, whichever group it is in.
pub fn each_name<'t>(field: &'t [u8], see: &mut dyn FnMut(&'t [u8])) {
    let mut rest = field;
    while !rest.is_empty() {
        while let [b' ' | b'\t' | b'\n', after @ ..] = rest {
            rest = after;
        }
        see(name_in(rest));
        let end = find_first(rest, b',', b'|').map_or(rest.len(), |at| at + 1);
        rest = &rest[end..];
    }
}

/// The group of a field that has a name.
pub fn group_of<'t>(field: &'t [u8], name: &[u8]) -> &'t [u8] {
    let at = position(field, name);
    let start = rfind(&field[..at], b',').map_or(0, |comma| comma + 1);
    split_at_byte(&field[start..], b',').0
}

/// Takes a trimmed alternative apart.
pub fn relation(text: &[u8]) -> Relation<'_> {
    let name = name_in(text);
    let mut rest = &text[name.len()..];
    let mut qualifier: &[u8] = b"";
    if let [b':', after @ ..] = rest {
        qualifier = name_in(after);
        rest = &after[qualifier.len()..];
    }
    let inside = trim(split_at_byte(rest, b'(').1);
    let inside = inside.strip_suffix(b")").unwrap_or(inside);
    let is_operator = |byte: &u8| has(b"<>=", *byte);
    let end = inside.iter().position(|byte| !is_operator(byte));
    let (operator, version) = inside.split_at(end.unwrap_or(inside.len()));
    Relation {
        name,
        qualifier,
        operator,
        version: trim(version),
    }
}

impl Relation<'_> {
    /// Whether a version is one that the relation asks for.
    pub fn accepts(&self, version: &[u8]) -> bool {
        // The operators that are content with that order.
        let content: &[u8] = match compare(version, self.version) {
            Ordering::Less => b"<= < <<",
            Ordering::Equal => b"= >= > <= <",
            Ordering::Greater => b">= > >>",
        };
        self.operator.is_empty() || words(content).any(|operator| operator == self.operator)
    }
}

/// The order of two versions: epoch, upstream version, revision.
pub fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let (a, b) = (parts(a), parts(b));
    for (at, part) in a.iter().enumerate() {
        let order = compare_part(part, b[at]);
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

/// A version's epoch, upstream version and revision.
fn parts(version: &[u8]) -> [&[u8]; 3] {
    let (epoch, version) = match memchr(b':', version) {
        Some(colon) => (&version[..colon], &version[colon + 1..]),
        None => (&b"0"[..], version),
    };
    match rfind(version, b'-') {
        Some(dash) => [epoch, &version[..dash], &version[dash + 1..]],
        None => [epoch, version, b""],
    }
}

/// Runs of other bytes and of digits in turn; `~` sorts before the end, letters before the rest.
fn compare_part(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        loop {
            let (x, y) = (first_rank(a), first_rank(b));
            if x == 0 && y == 0 {
                break;
            }
            if x != y {
                return x.cmp(&y);
            }
            a = a.get(1..).unwrap_or(b"");
            b = b.get(1..).unwrap_or(b"");
        }
        let (x, y) = (take_digits(&mut a), take_digits(&mut b));
        // Without leading zeros the longer number is the larger.
        let order = x.len().cmp(&y.len()).then_with(|| x.cmp(y));
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

/// Where the first byte sorts; 0 for the end and for digits.
fn first_rank(text: &[u8]) -> i32 {
    match text.first() {
        None => 0,
        Some(byte) if byte.is_ascii_digit() => 0,
        Some(b'~') => -1,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(*byte),
        Some(byte) => i32::from(*byte) + 256,
    }
}

fn take_digits<'t>(text: &mut &'t [u8]) -> &'t [u8] {
    let end = text
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(text.len());
    let (mut digits, rest) = text.split_at(end);
    *text = rest;
    while let [b'0', after @ ..] = digits {
        digits = after;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_taken_apart() {
        let all: Vec<Vec<Relation>> = groups(b"a | b:any (>= 1:2.0-1),\n c(=3), ")
            .map(|group| alternatives(group).map(relation).collect())
            .collect();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0][0].name, b"a");
        let b = all[0][1];
        assert_eq!(
            (b.name, b.qualifier, b.operator, b.version),
            (&b"b"[..], &b"any"[..], &b">="[..], &b"1:2.0-1"[..])
        );
        assert_eq!(
            (all[1][0].name, all[1][0].operator, all[1][0].version),
            (&b"c"[..], &b"="[..], &b"3"[..])
        );
    }

    #[test]
    fn versions_sort_as_dpkg_sorts_them() {
        let sorted = [
            "1.0~rc1",
            "1.0~rc1-1",
            "1.0",
            "1.0-1",
            "1.0-1+b1",
            "1.0a",
            "1.0+x",
            "1.0.1",
            "1.2",
            "1.10",
            "1:0.1",
            "2:0",
        ];
        for (at, a) in sorted.iter().enumerate() {
            for (other, b) in sorted.iter().enumerate() {
                assert_eq!(
                    compare(a.as_bytes(), b.as_bytes()),
                    at.cmp(&other),
                    "{a} {b}"
                );
            }
        }
        assert_eq!(compare(b"1.00", b"1.0"), Ordering::Equal);
        assert_eq!(compare(b"0:1", b"1"), Ordering::Equal);
    }

    #[test]
    fn each_operator_accepts_what_it_says() {
        let accepts = |relation: &str, version: &str| {
            self::relation(relation.as_bytes()).accepts(version.as_bytes())
        };
        assert!(accepts("k", "1") && accepts("k (= 1)", "1") && accepts("k (>= 1)", "2"));
        assert!(accepts("k (<< 1)", "1~") && !accepts("k (>> 1)", "1") && !accepts("k (= 1)", "2"));
        assert!(!accepts("k (<> 1)", "1"));
    }

    #[test]
    fn no_field_panics() {
        let vocabulary: [&[u8]; 8] = [b"a", b":", b"(", b")", b">=", b"1-", b"|", b","];
        crate::text::tests::every_text(&vocabulary, 5, &mut |text| {
            for group in groups(text) {
                alternatives(group).for_each(|alternative| {
                    relation(alternative).accepts(text);
                });
            }
        });
    }
}
