//! What limopack itself remembers of packages, in `/var/lib/limopack/`.
//!
//! `pending`: what was asked for while the package manager ran, one package a line:
//! `PKG[:arch] stand-in|plain|firmware|plain-firmware KERNEL…`. `forgotten`: what was done, so that a
//! maintainer script that asks again is right and knows the kernels:
//! `PKG[:arch] auto|manual|removed KERNEL…`.

use crate::error::{Error, Result};
use crate::format::{join, new_list, render, List, Text};
use crate::system::folder::Patience;
use crate::system::{Folder, Root};
use crate::text::catalog::{Catalog, CatalogEntry};
use crate::text::{lines, rfind, sort_once, split_at_byte, words};

const DIRECTORY: &[u8] = b"var/lib/limopack";
/// What is to be done.
pub const PENDING: &[u8] = b"pending";
/// What was done.
pub const FORGOTTEN: &[u8] = b"forgotten";

/// The mark of a package that would have been removed by now, with the last one that needed it.
pub const REMOVED: &[u8] = b"removed";

/// The marks of what was done.
const MARKS: &[&[u8]] = &[b"auto", b"manual", REMOVED];

/// A line of either file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note<'t> {
    /// The package, with `:arch` where it needs one.
    pub package: &'t [u8],
    /// `stand-in` or `plain`, or `firmware` or `plain-firmware` where firmware goes as well; `auto`,
    /// `manual` or `removed`.
    pub mark: &'t [u8],
    /// The kernels whose modules it brought.
    pub kernels: &'t Vec<&'t [u8]>,
}

/// The notes of a file.
pub struct Notes {
    /// All of them.
    pub all: List<&'static Note<'static>>,
    /// Where the file is that has lost notes; `None` where it is whole, or there is none.
    pub damaged: Option<Text>,
}

/// The notes of a file that is not there.
static NOTHING: Notes = Notes {
    all: &Vec::new(),
    damaged: None,
};

fn keep_notes(all: List<&'static Note<'static>>, damaged: Option<Text>) -> &'static Notes {
    Box::leak(Box::new(Notes { all, damaged }))
}

/// The notes of a file, which may be missing. Of what was done, damaged lines are left out: a power
/// cut may have emptied the file, and what was done can be done again. What is to be done must be
/// readable as a whole.
///
/// # Errors
/// It cannot be read, or has a line that is no note.
pub fn read(root: &Root, name: &[u8]) -> Result<&'static Notes> {
    let path = render(msg!("{}/{}"), &[DIRECTORY, name]);
    let Some(text) = root.text(path)? else {
        return Ok(&NOTHING);
    };
    let shown = root.shown(path);
    if name == PENDING {
        return Ok(keep_notes(notes(text, shown)?, None));
    }
    // The last line may be half of one.
    let whole = rfind(text, b'\n').map_or(0, |newline| newline + 1);
    let mut is_damaged = text.is_empty() || whole < text.len();
    let all: &mut Vec<&Note<'_>> = new_list();
    for (_, line) in lines(&text[..whole]) {
        let note = parse(line);
        match MARKS.contains(&note.mark) {
            true => all.push(note),
            false => is_damaged = true,
        }
    }
    Ok(keep_notes(all, is_damaged.then_some(shown)))
}

/// The notes of a text; `file` is for messages.
///
/// # Errors
/// A line that is no note.
pub fn notes<'t>(text: &'t [u8], file: &[u8]) -> Result<&'t Vec<&'t Note<'t>>> {
    let notes = new_list();
    for (number, line) in lines(text) {
        let note = parse(line);
        if note.package.is_empty() {
            let what = msg!("not PACKAGE MARK KERNEL...");
            return Err(Error::parse(file, number, what, &[]));
        }
        notes.push(note);
    }
    Ok(notes)
}

/// A line's note; one without a package is none.
fn parse(line: &[u8]) -> &Note<'_> {
    let mut words = words(line);
    let package = words.next().unwrap_or_default();
    // A line written by hand may be the package alone.
    let mark = words.next().unwrap_or_default();
    let kernels = new_list();
    for kernel in words {
        kernels.push(kernel);
    }
    Note::new(package, mark, kernels)
}

impl<'t> Note<'t> {
    /// A note.
    pub fn new(package: &'t [u8], mark: &'t [u8], kernels: &'t Vec<&'t [u8]>) -> &'t Note<'t> {
        Box::leak(Box::new(Note {
            package,
            mark,
            kernels,
        }))
    }
}

/// The packages of notes, sorted.
pub fn packages<'t>(notes: &[&Note<'t>]) -> &'t mut Vec<&'t [u8]> {
    let packages = new_list();
    for note in notes {
        packages.push(note.package);
    }
    sort_once(packages);
    packages
}

/// Positions of notes by the names of their packages, without and with the architecture.
pub fn by_package<'t>(notes: &[&Note<'t>]) -> Catalog<'t> {
    let entries = new_list();
    for (at, note) in notes.iter().enumerate() {
        let (name, arch) = split_at_byte(note.package, b':');
        entries.push(CatalogEntry { name, arch, at });
    }
    Catalog::new(entries)
}

/// A note's line.
pub fn line(note: &Note<'_>) -> Text {
    let mut words = vec![note.package, note.mark];
    words.extend_from_slice(note.kernels);
    render(msg!("{}\n"), &[join(&words, " ")])
}

/// Changes a file under a lock: the notes of the packages of `done` go, and each of `new` comes, in
/// place of the one of its package; what is pending is pending for the kernels of both. Nothing is
/// written if nothing changes.
///
/// # Errors
/// It cannot be read or written; it is as it was then.
pub fn change(root: &Root, name: &[u8], new: &[&Note<'_>], done: &[&[u8]]) -> Result<()> {
    let folder = Folder::create(root, DIRECTORY)?;
    folder.lock(Patience::Endless)?;
    let leaving = packages(new);
    leaving.extend_from_slice(done);
    sort_once(leaving);
    let notes = read(root, name)?.all;
    let lines = new_list();
    for note in notes {
        if leaving.binary_search(&note.package).is_err() {
            lines.push(line(note));
        }
    }
    if lines.len() == notes.len() && new.is_empty() {
        return Ok(());
    }
    for note in new {
        let kernels = &mut note.kernels.to_vec();
        for old in notes {
            if name == PENDING && old.package == note.package {
                kernels.extend_from_slice(old.kernels);
            }
        }
        sort_once(kernels);
        lines.push(line(&Note { kernels, ..**note }));
    }
    sort_once(lines);
    let text = join(lines, "");
    if text == folder.text_or_empty(name)? {
        return Ok(());
    }
    if text.is_empty() {
        // So that an empty file is always one that lost what was in it.
        folder.unlink(name)?;
        return folder.sync();
    }
    folder.replace(name, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::scratch::Scratch;

    #[test]
    fn a_line_is_package_mark_and_kernels() {
        let note = parse(b"k:armhf plain 6.1 6.2");
        assert_eq!(*note.kernels, [b"6.1", b"6.2"]);
        assert_eq!(parse(b"k").package, b"k");
        assert!(notes(b"k\n", b"f").is_ok() && notes(b"\n", b"f").is_err());
    }

    #[test]
    fn what_is_left_of_damaged_notes_of_what_was_done_is_used() {
        let scratch = Scratch::new("damaged");
        let cases: [(&[u8], usize, bool); 6] = [
            (b"", 0, true),
            (b"a manual 1\nb auto 2\n", 2, false),
            (b"a manual 1\nb auto 2", 1, true),
            (b"a manual 1\n\0\0\0\0\n", 1, true),
            (b"\na manual 1\n", 1, true),
            (b"a\n", 0, true),
        ];
        for (text, count, is_damaged) in cases {
            scratch.write("var/lib/limopack/forgotten", text);
            let notes = read(&scratch.root(), FORGOTTEN).unwrap();
            assert_eq!(
                (notes.all.len(), notes.damaged.is_some()),
                (count, is_damaged)
            );
            scratch.write("var/lib/limopack/pending", text);
            assert_eq!(
                read(&scratch.root(), PENDING).is_err(),
                text.starts_with(b"\n")
            );
        }
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
        let note = |line: &'static str| parse(line.as_bytes());
        let new = [note("k:b plain 1"), note("k:a plain 1"), note("a plain 2")];
        change(&root, PENDING, &new, &[]).unwrap();
        assert_eq!(read().unwrap(), "a plain 2\nk:a plain 1\nk:b plain 1\n");
        change(&root, PENDING, &[note("k:b stand-in 2")], &[]).unwrap();
        assert_eq!(
            read().unwrap(),
            "a plain 2\nk:a plain 1\nk:b stand-in 1 2\n"
        );
        change(&root, PENDING, &[], &[b"k:a"]).unwrap();
        assert_eq!(read().unwrap(), "a plain 2\nk:b stand-in 1 2\n");
        change(&root, PENDING, &[], &[b"a", b"k:b"]).unwrap();
        assert!(scratch.names("var/lib/limopack").is_empty());
    }
}
