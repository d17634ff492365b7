//! Stanzas as dpkg's and opkg's `status` and apt's `extended_states` have them.
//!
//! Stanzas are separated by empty lines, field names ignore case, and a line that begins with a
//! space or a tab continues the one before. Nothing is rewritten: what stays of a file stays
//! as the slices that it was. (dpkg: lib/dpkg/parse.c)

use crate::error::{Error, Result};
use crate::text::{lines, split_at_byte};

/// One stanza, with the empty lines behind it.
#[derive(Clone, Copy, Debug)]
pub struct Stanza<'t> {
    /// Its bytes in the file.
    pub text: &'t [u8],
    /// The `Package` field; never empty.
    pub package: &'t [u8],
    /// The `Architecture` field, or nothing.
    pub arch: &'t [u8],
    /// The `Status` field: want, flag and state; or nothing.
    pub status: &'t [u8],
}

/// Reads every stanza of a file and checks what dpkg checks; `file` is for messages.
///
/// # Errors
/// What dpkg would not read, either, or would read as less than it is: a NUL, a carriage return
/// at the end of a line, a comment, a line that is no field, a missing final newline, a stanza
/// without a package or with a name that no package can have, two of one package and architecture.
pub fn parse<'t>(text: &'t [u8], file: &[u8]) -> Result<Vec<Stanza<'t>>> {
    let mut stanzas = Vec::new();
    let mut open: Option<Open<'t>> = None;
    // The fields of the stanza so far.
    let mut fields: Vec<&[u8]> = Vec::new();
    for (number, line) in lines(text) {
        let fail = |what: &[u8]| Err(Error::parse(file, number, "{}", &[what]));
        if line.is_empty() {
            if let Some(done) = open.take() {
                stanzas.push(done.close(text, file)?);
                fields.clear();
            }
            continue;
        }
        if line.ends_with(b"\r") {
            return fail(b"a carriage return at the end of the line");
        }
        let start = line.as_ptr() as usize - text.as_ptr() as usize;
        let stanza = open.get_or_insert(Open {
            start,
            number,
            end: 0,
            package: b"",
            arch: b"",
            status: b"",
        });
        stanza.end = start + line.len();
        match line[0] {
            b' ' | b'\t' if stanza.start == start => return fail(b"a stanza begins with a space"),
            b' ' | b'\t' => continue,
            b'#' => return fail(b"a comment, which dpkg does not read"),
            _ => {}
        }
        let (name, value) = split_at_byte(line, b':');
        if name.len() == line.len() || name.is_empty() {
            return fail(b"a line without a field name");
        }
        if fields.iter().any(|field| field.eq_ignore_ascii_case(name)) {
            return fail(b"a field that the stanza has already");
        }
        fields.push(name);
        let place = match name.len() {
            7 if name.eq_ignore_ascii_case(b"package") => &mut stanza.package,
            12 if name.eq_ignore_ascii_case(b"architecture") => &mut stanza.arch,
            6 if name.eq_ignore_ascii_case(b"status") => &mut stanza.status,
            _ => continue,
        };
        *place = trim(value);
    }
    if let Some(done) = open {
        stanzas.push(done.close(text, file)?);
    }
    if !text.is_empty() && !text.ends_with(b"\n") {
        return Err(Error::parse(
            file,
            0,
            "the last line has no newline; is the file cut off?",
            &[],
        ));
    }
    if memchr::memchr(0, text).is_some() {
        return Err(Error::parse(file, 0, "NUL bytes in a text file", &[]));
    }
    refuse_doubles(&stanzas, file)?;
    // Each stanza reaches to the next, so that what is left of the file is what was there.
    let starts: Vec<usize> = stanzas
        .iter()
        .skip(1)
        .map(|next| position(text, next.text))
        .collect();
    for (at, stanza) in stanzas.iter_mut().enumerate() {
        let end = starts.get(at).copied().unwrap_or(text.len());
        stanza.text = &text[position(text, stanza.text)..end];
    }
    Ok(stanzas)
}

/// Where a slice of a text begins in it.
pub fn position(text: &[u8], slice: &[u8]) -> usize {
    slice.as_ptr() as usize - text.as_ptr() as usize
}

/// A stanza whose end has not been seen.
struct Open<'t> {
    start: usize,
    number: usize,
    end: usize,
    package: &'t [u8],
    arch: &'t [u8],
    status: &'t [u8],
}

impl<'t> Open<'t> {
    fn close(self, text: &'t [u8], file: &[u8]) -> Result<Stanza<'t>> {
        if self.package.is_empty() {
            return Err(Error::parse(
                file,
                self.number,
                "a stanza without a Package field",
                &[],
            ));
        }
        // They are parts of file names and words of our own lists.
        for name in [self.package, self.arch] {
            let is_good = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-._".contains(byte);
            if !name.iter().all(is_good) || name.starts_with(b".") {
                let what = "a stanza of no package: {}";
                return Err(Error::parse(file, self.number, what, &[name]));
            }
        }
        Ok(Stanza {
            text: &text[self.start..self.end],
            package: self.package,
            arch: self.arch,
            status: self.status,
        })
    }
}

fn refuse_doubles(stanzas: &[Stanza<'_>], file: &[u8]) -> Result<()> {
    let mut names: Vec<(&[u8], &[u8])> = stanzas.iter().map(|s| (s.package, s.arch)).collect();
    // As dpkg writes them, they are sorted.
    if !names.windows(2).all(|pair| pair[0] < pair[1]) {
        names.sort_unstable();
    }
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err(Error::parse(
            file,
            0,
            "two stanzas of package {}",
            &[pair[0].0],
        )),
    }
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
            if field.eq_ignore_ascii_case(name) && field.len() < line.len() {
                is_inside = true;
                value = rest;
            }
        }
        trim(value)
    }

    /// The third word of `Status`.
    pub fn state(&self) -> &'t [u8] {
        crate::text::words(self.status).nth(2).unwrap_or(b"")
    }

    /// Whether the package's files are there, in whatever state of configuration: then its
    /// dependencies count.
    pub fn is_there(&self) -> bool {
        !matches!(self.state(), b"" | b"not-installed" | b"config-files")
    }

    /// Whether several architectures of the package can be there together.
    pub fn is_multi_arch_same(&self) -> bool {
        self.field(b"Multi-Arch").eq_ignore_ascii_case(b"same")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    const TEXT: &[u8] = b"Package: a\nStatus: install ok installed\nArchitecture: armhf\n\
        Depends: b,\n c (>= 1)\nVersion: 1\n\n\nstatus: hold ok half-configured\npackage:b\n\n";

    #[test]
    fn stanzas_rejoined_equal_the_file() {
        let all = parse(TEXT, b"f").unwrap();
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
            if let Ok(all) = parse(text, b"f") {
                let joined: Vec<&[u8]> = all.iter().map(|stanza| stanza.text).collect();
                assert!(text.ends_with(&joined.concat()));
                all.iter()
                    .for_each(|stanza| assert!(stanza.field(b"Package") == stanza.package));
            }
        });
    }
}
