//! Stanzas as dpkg's and opkg's `status` and apt's `extended_states` have them.
//!
//! Stanzas are separated by empty lines, field names ignore case, and a line that begins with a
//! space or a tab continues the one before. Nothing is rewritten: what stays of a file stays
//! as the slices that it was. (dpkg: lib/dpkg/parse.c)

use crate::error::{Error, Result};
use crate::format::new_list;
use crate::text::catalog::{bit, Catalog, CatalogEntry};
use crate::text::{is_same, is_same_word, lines, memchr, split_at_byte, split_inline};
use memchr::arch::all::is_equal;

/// One stanza, with the empty lines after it. The fields that nearly every question is about
/// are found while it is parsed; each is empty where the stanza has none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stanza<'t> {
    /// Its bytes in the file.
    pub text: &'t [u8],
    /// The `Package` field; never empty.
    pub package: &'t [u8],
    /// The `Architecture` field.
    pub arch: &'t [u8],
    /// The `Status` field: want, flag and state.
    pub status: &'t [u8],
    /// The `Pre-Depends` field.
    pub pre_depends: &'t [u8],
    /// The `Depends` field.
    pub depends: &'t [u8],
    /// The `Provides` field.
    pub provides: &'t [u8],
}

/// The stanzas of a file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stanzas<'t> {
    /// The file.
    pub text: &'t [u8],
    /// Its stanzas, in its order.
    pub all: &'t [Stanza<'t>],
    /// Their positions by package and architecture.
    pub names: Catalog<'t>,
}

impl<'t> Stanzas<'t> {
    /// The stanzas of a package, of every architecture, with their positions.
    pub fn named<'s>(
        &'s self,
        package: &[u8],
    ) -> impl Iterator<Item = (usize, &'t Stanza<'t>)> + 's {
        let found = self.names.find(package).iter();
        found.map(|entry| (entry.at, &self.all[entry.at]))
    }

    /// The file without the stanzas for whose positions `goes` is true, in pieces of it. What is
    /// before the first stanza stays, too.
    pub fn without(&self, goes: &[bool]) -> &'t Vec<&'t [u8]> {
        let parts = new_list();
        let mut start = 0;
        for (at, stanza) in self.all.iter().enumerate() {
            if goes[at] {
                let end = position(self.text, stanza.text);
                if start < end {
                    parts.push(&self.text[start..end]);
                }
                start = end + stanza.text.len();
            }
        }
        if start < self.text.len() {
            parts.push(&self.text[start..]);
        }
        parts
    }
}

/// Reads every stanza of a file and checks what dpkg checks; `file` is for messages.
///
/// # Errors
/// What dpkg would not read, either, or would read as less than it is: a NUL, a carriage return
/// at the end of a line, a comment, a line that is no field, a missing final newline, a stanza
/// without a package or with a name that no package can have, two of one package and architecture.
pub fn parse<'t>(text: &'t [u8], file: &[u8]) -> Result<&'t Stanzas<'t>> {
    let all: &mut Vec<Stanza<'t>> = new_list();
    // Whether the last one is open, on which line it began, and which known field came last.
    let (mut is_open, mut first_number, mut known) = (false, 0, None);
    let mut bits = 0;
    let (mut rest, mut number) = (text, 0);
    // What is wrong with the line.
    let mut what = loop {
        let start = text.len() - rest.len();
        let (line, after) = split_inline(rest, b'\n');
        number += 1;
        if line.is_empty() {
            if let Some(stanza) = all.last().filter(|_| is_open) {
                check(stanza, file, first_number)?;
            }
            is_open = false;
            if rest.is_empty() {
                break None;
            }
            rest = after;
            continue;
        }
        rest = after;
        if line[line.len() - 1] == b'\r' {
            break Some(msg!("a carriage return at the end of the line"));
        }
        if matches!(line[0], b' ' | b'\t') {
            if !is_open {
                break Some(msg!("a stanza begins with a space"));
            }
            if let (Some(field), Some(stanza)) = (known, all.last_mut()) {
                let value = stanza.known(field);
                let begin = position(text, value);
                *value = trim(&text[begin..start + line.len()]);
            }
            continue;
        }
        if line[0] == b'#' {
            break Some(msg!("a comment, which dpkg does not read"));
        }
        let (name, value) = split_inline(line, b':');
        if name.len() == line.len() || name.is_empty() {
            break Some(msg!("a line without a field name"));
        }
        if !is_open {
            // Each stanza reaches to the next, so that what is left of the file is what was there.
            if let Some(before) = all.last_mut() {
                let begin = position(text, before.text);
                before.text = &text[begin..start];
            }
            all.push(Stanza {
                text: &text[start..],
                ..Stanza::default()
            });
            (is_open, first_number, bits) = (true, number, 0);
        }
        let Some(stanza) = all.last_mut() else {
            break None;
        };
        let bit = bit(name);
        // Rarely, and then mostly for another name of the same bit.
        if bits & bit != 0 && has_field(&text[position(text, stanza.text)..start], name) {
            break Some(msg!("a field that the stanza has already"));
        }
        bits |= bit;
        known = known_field(name);
        if let Some(field) = known {
            *stanza.known(field) = trim(value);
        }
    };
    if what.is_none() {
        number = 0;
        if !text.is_empty() && !text.ends_with(b"\n") {
            what = Some(msg!("the last line has no newline; is the file cut off?"));
        } else if memchr(0, text).is_some() {
            what = Some(msg!("NUL bytes in a text file"));
        }
    }
    if let Some(what) = what {
        return Err(Error::parse(file, number, what, &[]));
    }
    let names = by_name(all, file)?;
    let all = &*all;
    Ok(Box::leak(Box::new(Stanzas { text, all, names })))
}

/// Where a slice of a text begins in it.
pub fn position(text: &[u8], slice: &[u8]) -> usize {
    slice.as_ptr() as usize - text.as_ptr() as usize
}

/// A field that is kept apart.
#[derive(Clone, Copy)]
enum Field {
    Package,
    Architecture,
    Status,
    PreDepends,
    Depends,
    Provides,
}

/// Which known field a name is of. Length and first letter tell most others, which every line of a
/// large file has to be asked for.
fn known_field(name: &[u8]) -> Option<Field> {
    let (known, field): (&[u8], Field) = match (name.len(), name[0] | 0x20) {
        (7, b'p') => (b"Package", Field::Package),
        (12, b'a') => (b"Architecture", Field::Architecture),
        (6, b's') => (b"Status", Field::Status),
        (11, b'p') => (b"Pre-Depends", Field::PreDepends),
        (7, b'd') => (b"Depends", Field::Depends),
        (8, b'p') => (b"Provides", Field::Provides),
        _ => return None,
    };
    // Written as everybody writes it, as a rule.
    (is_same(name, known) || is_same_word(name, known)).then_some(field)
}

/// Whether a stanza's text has a field of this name.
fn has_field(text: &[u8], name: &[u8]) -> bool {
    lines(text).any(|(_, line)| is_same_word(split_at_byte(line, b':').0, name))
}

/// Refuses a stanza whose names are not good.
fn check(stanza: &Stanza<'_>, file: &[u8], number: usize) -> Result<()> {
    if stanza.package.is_empty() {
        let what = msg!("a stanza without a Package field");
        return Err(Error::parse(file, number, what, &[]));
    }
    // They are parts of file names and words of our own lists.
    for &text in &[stanza.package, stanza.arch] {
        if name_in(text).len() != text.len() || text.starts_with(b".") {
            let what = msg!("a stanza of no package: {}");
            return Err(Error::parse(file, number, what, &[text]));
        }
    }
    Ok(())
}

/// The package's name, or architecture or version, that a text begins with.
pub fn name_in(text: &[u8]) -> &[u8] {
    let is_name_byte = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'+' | b'A'..=b'Z' | b'_');
    let end = text.iter().position(|byte| !is_name_byte(byte));
    &text[..end.unwrap_or(text.len())]
}

fn by_name<'t>(stanzas: &[Stanza<'t>], file: &[u8]) -> Result<Catalog<'t>> {
    let entries = new_list();
    entries.reserve(stanzas.len());
    for (at, stanza) in stanzas.iter().enumerate() {
        let (name, arch) = (stanza.package, stanza.arch);
        entries.push(CatalogEntry { name, arch, at });
    }
    let names = Catalog::new(entries);
    for pair in names.entries().windows(2) {
        if pair[0].name == pair[1].name && pair[0].arch == pair[1].arch {
            let what = msg!("two stanzas of package {}");
            return Err(Error::parse(file, 0, what, &[pair[0].name]));
        }
    }
    Ok(names)
}

/// Without spaces and tabs at both ends.
pub fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\n', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t' | b'\n'] = text {
        text = rest;
    }
    text
}

impl<'t> Stanza<'t> {
    fn known(&mut self, field: Field) -> &mut &'t [u8] {
        match field {
            Field::Package => &mut self.package,
            Field::Architecture => &mut self.arch,
            Field::Status => &mut self.status,
            Field::PreDepends => &mut self.pre_depends,
            Field::Depends => &mut self.depends,
            Field::Provides => &mut self.provides,
        }
    }

    /// The value of a field with its continuation lines, trimmed; nothing where it is missing.
    pub fn field(&self, name: &[u8]) -> &'t [u8] {
        let mut value: &'t [u8] = b"";
        let mut is_inside = false;
        for (_, line) in lines(self.text) {
            if is_inside && matches!(line, [b' ' | b'\t', ..]) {
                let start = position(self.text, value);
                value = &self.text[start..position(self.text, line) + line.len()];
                continue;
            }
            if is_inside {
                break;
            }
            let (field, rest) = split_at_byte(line, b':');
            if is_same_word(field, name) && field.len() < line.len() {
                is_inside = true;
                value = rest;
            }
        }
        trim(value)
    }

    /// The third word of `Status`; all of one that has fewer.
    pub fn state(&self) -> &'t [u8] {
        const USUAL: &[u8] = b"install ok installed";
        if is_equal(self.status, USUAL) {
            return &self.status[b"install ok ".len()..];
        }
        crate::text::words(self.status)
            .nth(2)
            .unwrap_or(self.status)
    }

    /// Whether the package's files are there, in whatever state of configuration: then its
    /// dependencies count.
    pub fn is_there(&self) -> bool {
        const ABSENT: &[&[u8]] = &[b"", b"not-installed", b"config-files"];
        !ABSENT.contains(&self.state())
    }

    /// Whether nothing is left to be done about the package: it is configured, or not there.
    pub fn is_settled(&self) -> bool {
        self.state() == b"installed" || !self.is_there()
    }

    /// Whether several architectures of the package can be there together.
    pub fn is_multi_arch_same(&self) -> bool {
        is_same_word(self.field(b"Multi-Arch"), b"same")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    /// Story: a byte of status changed, so that `install ok` of the kernel's package was one word. Without
    /// a third one the package counted as absent, and `--settle` deleted all modules of its kernel.
    #[test]
    fn a_status_of_two_words_is_not_that_of_an_absent_package() {
        let text = b"Package: k\nStatus: installpok installed\n";
        let stanza = parse(text, b"f").unwrap().all[0];
        assert!(stanza.is_there() && !stanza.is_settled());
        assert!(!parse(b"Package: k\n", b"f").unwrap().all[0].is_there());
    }

    const TEXT: &[u8] = b"Package: a\nStatus: install ok installed\nArchitecture: armhf\n\
        Depends: b,\n c (>= 1)\nVersion: 1\n\n\nstatus: hold ok half-configured\npackage:b\n\n";

    #[test]
    fn stanzas_rejoined_equal_the_file() {
        let all = parse(TEXT, b"f").unwrap().all;
        assert_eq!(
            all.iter().map(|s| s.text).collect::<Vec<_>>().concat(),
            TEXT
        );
        assert_eq!(all[0].field(b"depends"), b"b,\n c (>= 1)");
        assert_eq!(all[0].field(b"nothing"), b"");
        assert_eq!(
            (all[1].package, all[1].state()),
            (&b"b"[..], &b"half-configured"[..])
        );
    }

    #[test]
    fn what_dpkg_does_not_read_is_refused() {
        let cases: [(&[u8], usize); 12] = [
            (b"Package: ../a\n\n", 1),
            (b"Package: a b\n\n", 1),
            (b"Package: .\n\n", 1),
            (b"Package: a\nArchitecture: x/..\n\n", 1),
            (b"Package: a\r\n\n", 1),
            (b"Package: a\nDescription: x\0\n", 0),
            (b"Package: a\n\nVersion: 1\n", 3),
            (b"Package: a\n# x\n", 2),
            (b"Package: a\nnonsense\n", 2),
            (b"Package: a\nVersion: 1", 0),
            (b"Package: a\n\nPackage: a\n", 0),
            (b"Package: a\nX: 1\nx: 2\n", 3),
        ];
        for (text, at) in cases {
            let error = parse(text, b"f").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Parse { line: at }, "{error:?}");
        }
    }

    #[test]
    fn no_text_panics() {
        let vocabulary: [&[u8]; 7] = [b"Package", b":", b" ", b"a", b"\n", b"\n\n", b"\t"];
        crate::text::tests::every_text(&vocabulary, 6, &mut |text| {
            if let Ok(Stanzas { all, .. }) = parse(text, b"f") {
                let joined: Vec<&[u8]> = all.iter().map(|stanza| stanza.text).collect();
                assert!(text.ends_with(&joined.concat()));
                all.iter()
                    .for_each(|stanza| assert!(stanza.field(b"Package") == stanza.package));
            }
        });
    }
}
