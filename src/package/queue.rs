//! What limopack itself remembers of packages, in `/var/lib/limopack/`.
//!
//! `pending`: what was asked for while the package manager ran, one package a line:
//! `PKG[:arch] stand-in|plain KERNEL…`. `forgotten`: what was done, so that a maintainer script
//! that asks again is right and knows the kernels: `PKG[:arch] auto|manual KERNEL…`.

use crate::error::{Error, Result};
use crate::format::{fill, push_filled};
use crate::system::folder::{Durability, Naming};
use crate::system::{Folder, Root};
use crate::text::catalog::{Catalog, Entry};
use crate::text::{lines, sort_once, split_at_byte, words};

const DIRECTORY: &[u8] = b"var/lib/limopack";
/// What is to be done.
pub const PENDING: &[u8] = b"pending";
/// What was done.
pub const FORGOTTEN: &[u8] = b"forgotten";

/// A line of either file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note<'t> {
    /// The package, with `:arch` where it needs one.
    pub package: &'t [u8],
    /// `stand-in` or `plain`; `auto` or `manual`.
    pub mark: &'t [u8],
    /// The kernels whose modules it brought.
    pub kernels: Vec<&'t [u8]>,
}

/// The notes of a file, which may be missing.
///
/// # Errors
/// It cannot be read, or has a line that is no note.
pub fn read(root: &Root, name: &[u8]) -> Result<Vec<Note<'static>>> {
    let path = fill("{}/{}", &[DIRECTORY, name]);
    notes(root.text_or_empty(path)?, root.shown(path))
}

/// The notes of a text; `file` is for messages.
///
/// # Errors
/// A line that is no note.
pub fn notes<'t>(text: &'t [u8], file: &[u8]) -> Result<Vec<Note<'t>>> {
    let mut notes = Vec::new();
    for (number, line) in lines(text) {
        let note = parse(line);
        let what = "not PACKAGE MARK KERNEL...";
        notes.push(note.ok_or_else(|| Error::parse(file, number, what, &[]))?);
    }
    Ok(notes)
}

fn parse(line: &[u8]) -> Option<Note<'_>> {
    let mut words = words(line);
    Some(Note {
        package: words.next()?,
        // A line written by hand may be the package alone.
        mark: words.next().unwrap_or_default(),
        kernels: words.collect(),
    })
}

/// Positions of notes by the names of their packages, without and with the architecture.
pub fn by_package<'t>(notes: &[Note<'t>]) -> Catalog<'t> {
    let mut entries = Vec::with_capacity(notes.len());
    for (at, note) in notes.iter().enumerate() {
        let (name, arch) = split_at_byte(note.package, b':');
        entries.push(Entry { name, arch, at });
    }
    Catalog::new(entries)
}

/// Changes a file under a lock: the notes of packages for which `is_done` is true go, and each of
/// `new` comes, in place of the one of its package. Nothing is written if nothing changes.
///
/// # Errors
/// It cannot be read or written; it is as it was then.
pub fn change(
    root: &Root,
    name: &[u8],
    new: &[Note<'_>],
    is_done: &dyn Fn(&Note<'_>) -> bool,
) -> Result<()> {
    let folder = Folder::create(root, DIRECTORY)?;
    folder.lock()?;
    let coming = by_package(new);
    let is_coming = |note: &Note<'_>| {
        let (name, arch) = split_at_byte(note.package, b':');
        coming.find(name).iter().any(|entry| entry.arch == arch)
    };
    let mut notes = read(root, name)?;
    let before = notes.len();
    notes.retain(|note| !is_done(note) && !is_coming(note));
    if notes.len() == before && new.is_empty() {
        return Ok(());
    }
    let mut lines: Vec<&[u8]> = Vec::with_capacity(notes.len() + new.len());
    for note in notes.iter().chain(new) {
        let mut line = Vec::new();
        push_filled(&mut line, "{} {}", &[note.package, note.mark]);
        for kernel in &note.kernels {
            line.push(b' ');
            line.extend_from_slice(kernel);
        }
        line.push(b'\n');
        lines.push(line.leak());
    }
    sort_once(&mut lines);
    let text = lines.concat();
    if text == folder.text_or_empty(name)? {
        return Ok(());
    }
    // What is asked for must not be lost. What was done can be told anew.
    let durability = match name == PENDING {
        true => Durability::Now,
        false => Durability::Later,
    };
    let files: &[(&[u8], &[&[u8]])] = &[(name, &[&text])];
    let staged = folder.stage_for(Naming::Hidden, durability, files)?;
    staged.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::scratch::Scratch;

    #[test]
    fn a_line_is_package_mark_and_kernels() {
        let note = parse(b"k:armhf plain 6.1 6.2").unwrap();
        assert_eq!(note.kernels, [b"6.1", b"6.2"]);
        assert!(parse(b"k").is_some() && parse(b"").is_none());
    }

    #[test]
    fn a_package_has_one_note_and_the_file_is_sorted() {
        let scratch = Scratch::new("queue");
        let root = scratch.root();
        let read = || {
            String::from_utf8(
                root.text_or_empty(b"var/lib/limopack/pending")
                    .unwrap()
                    .to_vec(),
            )
        };
        let note = |line: &'static str| parse(line.as_bytes()).unwrap();
        let none = |_: &Note<'_>| false;
        let new = [note("k:b plain 1"), note("k:a plain 1"), note("a plain 2")];
        change(&root, PENDING, &new, &none).unwrap();
        assert_eq!(read().unwrap(), "a plain 2\nk:a plain 1\nk:b plain 1\n");
        change(&root, PENDING, &[note("k:b stand-in 2")], &none).unwrap();
        assert_eq!(read().unwrap(), "a plain 2\nk:a plain 1\nk:b stand-in 2\n");
        change(&root, PENDING, &[], &|note| note.package == b"k:a").unwrap();
        assert_eq!(read().unwrap(), "a plain 2\nk:b stand-in 2\n");
    }
}
