//! What trimming a package changes: one that owns more than modules stays installed, and its list
//! and checksums name what is left of it. So dpkg's -L, -S and -V tell the truth, and an upgrade or
//! a reinstallation brings all back. Pure, but for the question what is on disk.
//!
//! `info/PKG.list` has a path per line, `info/PKG.md5sums` a checksum of 32 digits, two blanks and
//! a path without its first slash. (dpkg: lib/dpkg/db-fsys-files.c, db-fsys-digest.c)

use crate::error::{Answer, Error, Result};
use crate::format::{new_list, List, Text};
use crate::needs::firmware::inside;
use crate::system::Root;
use crate::text::{bare_lines, last_part, lines, sort_once, split_at_byte};

/// Where a checksum's path begins.
const DIGEST: usize = 34;

/// The part of a path after the directory of all kernels: `VERSION/...`.
pub fn below_modules(path: &[u8]) -> Option<&[u8]> {
    below(path.strip_prefix(b"/")?)
}

/// The same of a path without its first slash.
fn below(path: &[u8]) -> Option<&[u8]> {
    let path = path.strip_prefix(b"usr/").unwrap_or(path);
    path.strip_prefix(b"lib/modules/")
}

/// The files of a package that are neither modules nor their indexes nor documentation.
pub fn others(list: Text) -> List<Text> {
    let others = new_list();
    let directories = new_list();
    for path in bare_lines(list) {
        let end = path.len() - last_part(path).len();
        directories.push(&path[..end.saturating_sub(1)]);
        if below_modules(path).is_none() && !path.starts_with(b"/usr/share/") {
            others.push(path);
        }
    }
    sort_once(directories);
    others.retain(|path| *path != b"/." && directories.binary_search(path).is_err());
    others
}

/// A path of a list as a path of the root, whether or not `/usr` is merged.
pub fn place_of(path: &[u8]) -> &[u8] {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    path.strip_prefix(b"usr/").unwrap_or(path)
}

/// Whether a module or directory below a kernel's `kernel/`, or one of firmware, is gone: `going` will
/// be, sorted.
fn is_gone(root: &Root, path: &[u8], going: &[Text]) -> Result<Answer> {
    let path = place_of(path);
    let may_go = match below(path) {
        Some(below) => split_at_byte(below, b'/').1.starts_with(b"kernel/"),
        None => inside(path).is_some(),
    };
    if !may_go {
        return Ok(Answer::No);
    }
    let is_there = root.has(path)?.is_yes() || root.link(path).is_some();
    Ok((!is_there || going.binary_search(&path).is_ok()).into())
}

/// A file of `info/` that names a package's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InfoFile {
    /// `PKG.list`
    List,
    /// `PKG.md5sums`
    Sums,
}

impl InfoFile {
    /// The path that a line names, without its first slash.
    fn path(self, line: Text) -> Option<Text> {
        match self {
            InfoFile::List => line.strip_prefix(b"/"),
            InfoFile::Sums => {
                let path = line.get(DIGEST..).filter(|path| !path.is_empty())?;
                line[..DIGEST].ends_with(b"  ").then_some(path)
            }
        }
    }
}

/// One of these files as it will be. What is gone is among `going`, or not on disk: the checksums do not
/// go by the list, which may have been replaced before a crash. `shown` is the file's name.
///
/// # Errors
/// A line that is none of its lines; what dpkg would not read.
pub fn trim(root: &Root, file: InfoFile, text: Text, shown: Text, going: &[Text]) -> Result<Text> {
    let mut kept = Vec::with_capacity(text.len());
    for (number, line) in lines(text) {
        let Some(path) = file.path(line) else {
            let what = match file {
                InfoFile::List => msg!("not a path"),
                InfoFile::Sums => msg!("not a checksum"),
            };
            return Err(Error::parse(shown, number, what, &[]));
        };
        let is_rewritten = file == InfoFile::Sums && is_index(path);
        if !is_rewritten && !is_gone(root, path, going)?.is_yes() {
            kept.extend_from_slice(line);
            kept.push(b'\n');
        }
    }
    if file == InfoFile::List && !text.ends_with(b"\n") {
        let what = msg!("no newline at its end");
        return Err(Error::parse(shown, 0, what, &[]));
    }
    Ok(kept.leak())
}

/// Whether a path of the checksums is one of the files that a prune and depmod write anew.
fn is_index(path: &[u8]) -> bool {
    let Some(below) = below(path) else {
        return false;
    };
    let name = split_at_byte(below, b'/').1;
    name.starts_with(b"modules.") && !name.starts_with(b"modules.builtin")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::scratch::Scratch;

    #[test]
    fn what_a_package_owns_beyond_modules_are_files() {
        let modules = b"/.\n/lib\n/lib/modules\n/lib/modules/1\n/lib/modules/1/kernel\n\
            /lib/modules/1/kernel/a.ko\n/usr\n/usr/share\n/usr/share/doc\n/usr/share/doc/k\n/usr/lib\n\
            /usr/lib/modules\n/usr/lib/modules/1\n/usr/lib/modules/1/modules.order\n";
        assert!(others(modules).is_empty());
        let more = b"/boot\n/boot/vmlinuz-1\n/lib/modules/1/kernel/a.ko\n/lib/modules-load.d\n";
        let wanted: [&[u8]; 2] = [b"/boot/vmlinuz-1", b"/lib/modules-load.d"];
        assert_eq!(*others(more), wanted);
        assert!(others(b"").is_empty());
    }

    fn trimmed(list: &'static str, sums: &'static str) -> Result<[String; 2]> {
        let scratch = Scratch::new("trim");
        scratch.write("lib/modules/1/kernel/x/stays.ko", "");
        scratch.write("lib/modules/1/kernel/x/goes.ko", "");
        let going: [Text; 2] = [b"lib/modules/1/kernel/x/goes.ko", b"lib/modules/1/kernel/y"];
        let root = scratch.root();
        let new = [
            trim(&root, InfoFile::List, list.as_bytes(), b"L", &going)?,
            trim(&root, InfoFile::Sums, sums.as_bytes(), b"S", &going)?,
        ];
        Ok(new.map(|text| String::from_utf8(text.to_vec()).unwrap()))
    }

    #[test]
    fn what_goes_or_is_gone_leaves_the_list_and_the_checksums() {
        let list =
            "/.\n/boot/vmlinuz\n/lib/modules/1\n/lib/modules/1/kernel\n/lib/modules/1/kernel/x\n\
            /lib/modules/1/kernel/x/gone.ko\n/lib/modules/1/kernel/x/goes.ko\n\
            /usr/lib/modules/1/kernel/y\n/lib/modules/1/kernel/x/stays.ko\n\
            /lib/modules/1/extra/gone.ko\n/lib/modules/1/modules.dep\n";
        let sums = "0123456789abcdef0123456789abcdef  boot/vmlinuz\n\
            0123456789abcdef0123456789abcdef  lib/modules/1/kernel/x/goes.ko\n\
            0123456789abcdef0123456789abcdef  lib/modules/1/kernel/x/stays.ko\n\
            0123456789abcdef0123456789abcdef  lib/modules/1/modules.dep\n\
            0123456789abcdef0123456789abcdef  lib/modules/1/modules.builtin\n";
        let [list, sums] = trimmed(list, sums).unwrap();
        assert_eq!(
            list,
            "/.\n/boot/vmlinuz\n/lib/modules/1\n/lib/modules/1/kernel\n/lib/modules/1/kernel/x\n\
             /lib/modules/1/kernel/x/stays.ko\n/lib/modules/1/extra/gone.ko\n/lib/modules/1/modules.dep\n"
        );
        let names: Vec<&str> = sums.lines().map(|line| &line[DIGEST..]).collect();
        let wanted = [
            "boot/vmlinuz",
            "lib/modules/1/kernel/x/stays.ko",
            "lib/modules/1/modules.builtin",
        ];
        assert_eq!(names, wanted);
    }

    #[test]
    fn what_dpkg_would_not_read_is_refused_with_file_and_line() {
        let sum = "0123456789abcdef0123456789abcdef  a";
        for (list, sums, message) in [
            ("/a\nb\n", "", "L:2: not a path"),
            ("/a", "", "L: no newline at its end"),
            ("", "", "L: no newline at its end"),
            ("/a\n", "\n", "S:1: not a checksum"),
            ("/a\n", "0123  a\n", "S:1: not a checksum"),
        ] {
            let error = trimmed(list, sums).unwrap_err();
            assert_eq!(error.messages()[0], message.as_bytes());
        }
        let [_, sums] = trimmed("/a\n", sum).unwrap();
        assert_eq!(sums, format!("{sum}\n"));
    }

    #[test]
    fn no_text_panics() {
        let vocabulary: [&[u8]; 5] = [b"/", b"lib/modules/", b"\n", b"kernel/", b"  "];
        crate::text::tests::every_text(&vocabulary, 5, &mut |text| {
            let text: Text = text.to_vec().leak();
            others(text);
            let _ = below_modules(text);
            let _ = is_index(text);
        });
    }
}
