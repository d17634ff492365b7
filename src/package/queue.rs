//! What limopack itself remembers of packages, in `/var/lib/limopack/`.
//!
//! `pending`: what was asked for while the package manager ran, one package a line:
//! `PKG[:arch] stand-in|plain KERNEL…`. `forgotten`: what was done, so that a maintainer script
//! that asks again is right and knows the kernels: `PKG[:arch] auto|manual KERNEL…`.

use crate::error::{Error, Result};
use crate::format::{fill, keep, Text};
use crate::system::folder::{Durability, Naming};
use crate::system::{Folder, Root};
use crate::text::{lines, words};

const DIRECTORY: &[u8] = b"var/lib/limopack";
/// What is to be done.
pub const PENDING: &[u8] = b"pending";
/// What was done.
pub const FORGOTTEN: &[u8] = b"forgotten";

/// A line of either file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The package, with `:arch` where it needs one.
    pub package: Text,
    /// `stand-in` or `plain`; `auto` or `manual`.
    pub mark: Text,
    /// The kernels whose modules it brought.
    pub kernels: Vec<Text>,
}

/// The notes of a file, which may be missing.
///
/// # Errors
/// It cannot be read, or has a line that is no note.
pub fn read(root: &Root, name: &[u8]) -> Result<Vec<Note>> {
    let path = fill("{}/{}", &[DIRECTORY, name]);
    let shown = root.shown(path);
    notes(root.text_or_empty(path)?, shown)
}

/// The notes of a text; `file` is for messages.
///
/// # Errors
/// A line that is no note.
pub fn notes(text: &[u8], file: &[u8]) -> Result<Vec<Note>> {
    let mut notes = Vec::new();
    for (number, line) in lines(text) {
        let note = parse(line);
        let what = "not PACKAGE MARK KERNEL...";
        notes.push(note.ok_or_else(|| Error::parse(file, number, what, &[]))?);
    }
    Ok(notes)
}

fn parse(line: &[u8]) -> Option<Note> {
    let mut words = words(line).map(keep);
    Some(Note {
        package: words.next()?,
        // A line written by hand may be the package alone.
        mark: words.next().unwrap_or_default(),
        kernels: words.collect(),
    })
}

/// Changes the notes of a file under a lock; nothing is written if nothing changes.
///
/// # Errors
/// It cannot be read or written; it is as it was then.
pub fn change(root: &Root, name: &[u8], edit: &dyn Fn(&mut Vec<Note>)) -> Result<()> {
    let folder = Folder::create(root, DIRECTORY)?;
    folder.lock()?;
    let old = read(root, name)?;
    let mut new = old.clone();
    edit(&mut new);
    if new == old {
        return Ok(());
    }
    let mut text = Vec::new();
    for note in &new {
        text.extend_from_slice(fill("{} {}", &[note.package, note.mark]));
        for kernel in &note.kernels {
            text.push(b' ');
            text.extend_from_slice(kernel);
        }
        text.push(b'\n');
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

/// Drops the notes of which `is_one` is true.
pub fn drop_those(notes: &mut Vec<Note>, is_one: &dyn Fn(&Note) -> bool) {
    notes.retain(|note| !is_one(note));
}

/// Adds a note, or replaces the one of the same package.
pub fn put(notes: &mut Vec<Note>, note: Note) {
    drop_those(notes, &|old| old.package == note.package);
    let at = notes.partition_point(|old| old.package < note.package);
    notes.insert(at, note);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_package_mark_and_kernels() {
        let note = parse(b"k:armhf plain 6.1 6.2").unwrap();
        assert_eq!(note.kernels, [b"6.1", b"6.2"]);
        assert!(parse(b"k").is_some() && parse(b"").is_none());
        let mut notes = vec![note.clone()];
        put(&mut notes, note);
        assert_eq!(notes.len(), 1);
    }
}
