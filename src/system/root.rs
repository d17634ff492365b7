//! The root below which everything lies: `/`, or an image's directory that is never left.
//!
//! In an image, symbolic links are resolved as they would be after a chroot: `openat2` with
//! `RESOLVE_IN_ROOT` does it in the kernel; before Linux 5.6, and where a sandbox forbids the
//! call, each component is opened by hand.

use crate::error::{Answer, Called, Errno, Error, Result, Verb};
use crate::format::{decimal, keep, render, Text};
use crate::system::mapped::{Content, NO_CONTENT};
use crate::system::{
    c_string, io, is_missing, mapped, open_in, retry, split_last, stat_in, Stamp, Stat,
};
use core::mem::MaybeUninit;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags, CWD};
use std::cell::Cell;

/// As many links as the kernel follows in one path (linux: include/linux/namei.h, MAXSYMLINKS).
pub const MOST_LINKS: usize = 40;

/// Longer than any link (linux: include/uapi/linux/limits.h, PATH_MAX).
const LONGEST_LINK: usize = 4096;

/// Where the machine's files are.
pub struct Root {
    /// The image's directory; none for `/`, where plain absolute paths do.
    dir: Option<OwnedFd>,
    /// What the user called it, without a slash at the end; empty for `/`.
    shown: Text,
    openat2_is_missing: Cell<bool>,
}

/// A path below the root, taken apart from its end.
type Pending = Vec<Text>;

impl Root {
    /// Opens the root that the user named.
    ///
    /// # Errors
    /// No such directory.
    pub fn open(path: &[u8]) -> Result<Root> {
        let slashes = path.iter().rev().take_while(|&&b| b == b'/').count();
        let shown = keep(&path[..path.len() - slashes]);
        let dir = if path.iter().all(|&byte| byte == b'/') {
            None
        } else {
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            Some(io(
                Verb::Open,
                path,
                open_in(CWD, path, flags, Mode::empty()),
            )?)
        };
        Ok(Root {
            shown: if dir.is_none() { b"" } else { shown },
            dir,
            openat2_is_missing: Cell::new(false),
        })
    }

    /// Whether this is the running system's own root.
    pub fn is_host(&self) -> bool {
        self.dir.is_none()
    }

    /// A path below the root as the user would write it; `path` has no slash at its start.
    #[inline(never)] // larger at every call
    pub fn shown(&self, path: &[u8]) -> Text {
        render(msg!("{}/{}"), &[self.shown, path])
    }

    /// Opens what is at `path`, resolved inside the root.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn open_at(&self, path: &[u8], flags: OFlags) -> Called<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        let Some(dir) = &self.dir else {
            return open_in(CWD, render(msg!("/{}"), &[path]), flags, Mode::empty());
        };
        if !self.openat2_is_missing.get() {
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            let name = c_string(path)?;
            // EAGAIN: something was renamed meanwhile and the kernel is not sure.
            for _ in 0..3 {
                match retry(|| rustix::fs::openat2(dir, name, flags, Mode::empty(), resolve)) {
                    Err(Errno::AGAIN) => {}
                    Err(Errno::NOSYS | Errno::PERM) => {
                        self.openat2_is_missing.set(true);
                        break;
                    }
                    result => return result,
                }
            }
        }
        walk(dir.as_fd(), path, flags)
    }

    /// Opens or creates a file in a directory that is there; the file is no link.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn create_at(&self, path: &[u8], flags: OFlags, mode: Mode) -> Called<OwnedFd> {
        let (directory, name) = split_last(path);
        let directory = self.open_at(directory, OFlags::PATH | OFlags::DIRECTORY)?;
        let flags = flags | OFlags::CREATE | OFlags::NOFOLLOW;
        open_in(directory.as_fd(), name, flags, mode)
    }

    /// The bytes of a file: mapped, or read where it cannot be mapped. `None` if it is missing.
    ///
    /// # Errors
    /// It cannot be opened or read, or is no regular file.
    #[inline(always)]
    pub fn text(&self, path: &[u8]) -> Result<Option<Text>> {
        self.content(path).map(|text| text.copied())
    }

    fn content(&self, path: &[u8]) -> Result<Option<Content>> {
        // O_NONBLOCK: a FIFO of that name must not hold us up.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        match self.open_at(path, flags) {
            Err(errno) if is_missing(errno) => Ok(None),
            opened => {
                let shown = self.shown(path);
                mapped::text(io(Verb::Open, shown, opened)?.as_fd(), shown).map(Some)
            }
        }
    }

    /// As [`Root::text`]; none where the file is missing.
    ///
    /// # Errors
    /// As there.
    #[inline(always)]
    pub fn text_or_empty(&self, path: &[u8]) -> Result<Text> {
        self.content_or_empty(path).copied()
    }

    /// The same by reference, for whoever passes it on.
    ///
    /// # Errors
    /// As [`Root::text`].
    pub fn content_or_empty(&self, path: &[u8]) -> Result<Content> {
        Ok(self.content(path)?.unwrap_or(NO_CONTENT))
    }

    /// The bytes of a file that must be there.
    ///
    /// # Errors
    /// As [`Root::text`], and where the file is missing.
    pub fn needed_text(&self, path: &[u8]) -> Result<&'static [u8]> {
        self.text(path)?
            .ok_or_else(|| Error::io(Verb::Open, self.shown(path), Errno::NOENT))
    }

    /// Whether there is anything at `path`.
    ///
    /// # Errors
    /// It cannot be found out.
    pub fn has(&self, path: &[u8]) -> Result<Answer> {
        match self.open_at(path, OFlags::PATH) {
            Ok(_) => Ok(Answer::Yes),
            Err(errno) if is_missing(errno) => Ok(Answer::No),
            Err(errno) => io(Verb::Open, self.shown(path), Err(errno)),
        }
    }

    fn stat(&self, path: &[u8]) -> Called<&'static Stat> {
        stat_in(self.open_at(path, OFlags::PATH)?.as_fd(), b"")
    }

    /// The stamp of the file at `path`.
    ///
    /// # Errors
    /// There is none, or it cannot be found out.
    pub fn stamp(&self, path: &[u8]) -> Result<&'static Stamp> {
        let stat = io(Verb::Open, self.shown(path), self.stat(path));
        stat.map(|stat| &stat.stamp)
    }

    /// Whether the one file was changed after the other.
    ///
    /// # Errors
    /// One is missing, or it cannot be found out.
    pub fn is_newer(&self, one: &[u8], other: &[u8]) -> Result<Answer> {
        Ok((self.stamp(one)?.changed > self.stamp(other)?.changed).into())
    }

    /// Where the symbolic link at `path` leads, as it is written; `None` for everything else.
    pub fn link(&self, path: &[u8]) -> Option<Text> {
        let link = self.open_at(path, OFlags::PATH | OFlags::NOFOLLOW).ok()?;
        link_target(&link).ok()?
    }

    /// Where this root is among the mount points that its own /proc lists. Nothing for `/`, and
    /// for an image with a copy of a machine's /proc; but if the running kernel's is mounted in
    /// it, its mount points are those of our process, which sees the root as a directory.
    pub fn mounted_at(&self) -> Text {
        let Some(dir) = &self.dir else {
            return b"";
        };
        let number = decimal(dir.as_raw_fd() as usize);
        let link = self.link(render(msg!("proc/self/fd/{}"), &[number]));
        link.unwrap_or(b"")
    }

    /// Whether both paths lead to one directory; no where either leads to none.
    ///
    /// # Errors
    /// It cannot be found out.
    pub fn is_same_directory(&self, first: &[u8], second: &[u8]) -> Result<Answer> {
        let mut before = None;
        for path in [first, second] {
            let stat = match self.stat(path) {
                Err(errno) if is_missing(errno) => return Ok(Answer::No),
                stat => io(Verb::Open, self.shown(path), stat)?,
            };
            let file = Some(stat.stamp.file);
            if before == file {
                return Ok(Answer::Yes);
            }
            before = file;
        }
        Ok(Answer::No)
    }
}

/// Opens `path` below `root` component by component, following links inside it.
/// A link that somebody swaps in meanwhile is not followed by the kernel, only by us.
fn walk(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Called<OwnedFd> {
    let step = OFlags::PATH | OFlags::NOFOLLOW;
    let mut pending = Pending::new();
    push_components(&mut pending, path);
    // The directories that we are in; `..` goes back, and never above the root.
    let mut entered: Vec<OwnedFd> = Vec::new();
    let mut links = 0;
    while let Some(component) = pending.pop() {
        let here = entered.last().map_or(root, |dir| dir.as_fd());
        if component == b".." {
            entered.pop();
            continue;
        }
        let is_last = pending.is_empty();
        let found = open_in(here, component, step, Mode::empty())?;
        if let Some(target) = link_target(&found)? {
            if is_last && flags.contains(OFlags::NOFOLLOW) {
                // What is opened to be looked at may be a link itself.
                return match flags.contains(OFlags::PATH) {
                    true => Ok(found),
                    false => Err(Errno::LOOP),
                };
            }
            links += 1;
            if links > MOST_LINKS {
                return Err(Errno::LOOP);
            }
            if target.starts_with(b"/") {
                entered.clear();
            }
            push_components(&mut pending, target);
            continue;
        }
        if is_last {
            // Opened by name once more, since O_PATH gives no right to read; still no link is followed.
            let flags = flags | OFlags::NOFOLLOW;
            return open_in(here, component, flags, Mode::empty());
        }
        entered.push(found);
    }
    // The path ended in the root or in `..`.
    let here = entered.last().map_or(root, |dir| dir.as_fd());
    open_in(here, b".", flags, Mode::empty())
}

/// Where a descriptor leads that is a symbolic link itself; `None` for everything else.
/// An empty path means the descriptor (Linux 2.6.39), and ENOENT that it is no link
/// (linux: fs/stat.c, `do_readlinkat`). fstat would do only since Linux 3.6.
fn link_target(found: &OwnedFd) -> Called<Option<Text>> {
    let mut buffer = [MaybeUninit::uninit(); LONGEST_LINK];
    let found = rustix::fs::readlinkat_raw(found, c_string(b"")?, &mut buffer);
    match found.map_err(Errno::from) {
        Ok((target, _)) => Ok(Some(keep(target))),
        Err(Errno::NOENT | Errno::INVAL) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn push_components(pending: &mut Pending, path: &[u8]) {
    let components = path.split(|&byte| byte == b'/').rev();
    let real = components.filter(|part| !part.is_empty() && *part != b".");
    pending.extend(real.map(keep));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A scratch directory that goes with the test.
    fn scratch(name: &str) -> std::path::PathBuf {
        let dir = std::env::temp_dir().join(format!("limopack-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(dir.join("image/usr/lib")).unwrap();
        std::fs::write(dir.join("secret"), "outside").unwrap();
        std::fs::write(dir.join("image/usr/lib/file"), "inside").unwrap();
        dir
    }

    fn read_both_ways(image: &std::path::Path, path: &str) -> [Option<Vec<u8>>; 2] {
        let image = image.to_str().unwrap().as_bytes();
        [false, true].map(|by_hand| {
            let root = Root::open(image).unwrap();
            root.openat2_is_missing.set(by_hand);
            root.text(path.as_bytes())
                .ok()
                .flatten()
                .map(|text| text.to_vec())
        })
    }

    #[test]
    fn links_are_resolved_inside_the_image_by_kernel_and_by_hand_alike() {
        let dir = scratch("links");
        let image = dir.join("image");
        symlink("/usr/lib", image.join("lib")).unwrap();
        symlink("../../../../secret", image.join("up")).unwrap();
        symlink(dir.join("secret"), image.join("out")).unwrap();
        symlink("loop", image.join("loop")).unwrap();
        symlink("../lib/file", image.join("usr/rel")).unwrap();
        std::fs::write(image.join("secret"), "image's own").unwrap();
        let cases: [(&str, Option<&str>); 9] = [
            ("lib/file", Some("inside")),
            ("usr/lib/file", Some("inside")),
            ("usr/./lib//file", Some("inside")),
            ("usr/rel", Some("inside")),
            ("up", Some("image's own")),
            ("../../secret", Some("image's own")),
            ("out", None),
            ("loop", None),
            ("usr/lib/file/x", None),
        ];
        for (path, wanted) in cases {
            let wanted = wanted.map(|text| text.as_bytes().to_vec());
            assert_eq!(
                read_both_ways(&image, path),
                [wanted.clone(), wanted],
                "{path}"
            );
        }
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_link_itself_is_read_below_other_links_by_kernel_and_by_hand_alike() {
        let dir = scratch("link");
        let image = dir.join("image");
        symlink("/usr/lib", image.join("lib")).unwrap();
        symlink("../nowhere", image.join("usr/lib/link")).unwrap();
        for by_hand in [false, true] {
            let root = Root::open(image.to_str().unwrap().as_bytes()).unwrap();
            root.openat2_is_missing.set(by_hand);
            assert_eq!(root.link(b"lib/link"), Some(&b"../nowhere"[..]));
            assert_eq!(root.link(b"lib"), Some(&b"/usr/lib"[..]));
            for none in [&b"lib/file"[..], b"usr", b"lib/none", b"../secret"] {
                assert_eq!(root.link(none), None);
            }
            assert_eq!(root.mounted_at(), b"");
        }
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_fifo_or_directory_is_an_error_and_holds_nobody_up() {
        let dir = scratch("fifo");
        let image = dir.join("image");
        let fifo = image.join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status();
        let root = Root::open(image.to_str().unwrap().as_bytes()).unwrap();
        if made.map_or(false, |status| status.success()) {
            assert!(root.text(b"fifo").is_err());
        }
        assert!(root.text(b"usr").is_err());
        assert!(root.text(b"missing").unwrap().is_none());
        assert!(root.needed_text(b"missing").is_err());
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn any_name_of_the_root_is_the_host() {
        assert!(Root::open(b"/").unwrap().is_host());
        assert!(Root::open(b"//").unwrap().is_host());
        assert_eq!(Root::open(b"/").unwrap().shown(b"lib"), b"/lib");
    }
}
