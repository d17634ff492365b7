//! A directory held open: listing it, locking it, replacing files in it so that every reader
//! sees the old file or the new one, before and after a power cut.

use crate::error::{Called, Errno, Error, ErrorKind, Result, Verb};
use crate::format::{keep, keep_list, render, List, Text};
use crate::system::listing::{Listing, Mark};
use crate::system::mapped::{Content, NO_CONTENT};
use crate::system::{
    c_string, heap, io, is_missing, mapped, open_in, retry, split_last, stat_at, stat_in, Root,
    Stat,
};
use core::ffi::CStr;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, ResolveFlags, SeekFrom};
use rustix::thread::Timespec;
use std::cell::Cell;
use std::io::IoSlice;

/// An open directory. Made in a box: its address comes back in a register.
pub struct Folder {
    fd: OwnedFd,
    shown: Text,
    /// Whether it was listed, so that the next listing has to begin at the start again.
    is_listed: Cell<bool>,
}

/// Something in a directory.
pub struct DirectoryEntry {
    /// Its name.
    pub name: Text,
    /// What it is; a symbolic link is itself.
    pub kind: FileType,
}

/// The entries of a directory that is empty or not there.
pub const NO_ENTRIES: List<DirectoryEntry> = &Vec::new();

/// How a file is called until it takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// A hidden file that only limopack knows.
    Hidden,
    /// dpkg's way: `NAME-new`, and the file before it stays as `NAME-old`.
    /// (dpkg: lib/dpkg/atomic-file.c)
    Dpkg,
}

impl Naming {
    fn temporary(self, name: &[u8]) -> Text {
        match self {
            Naming::Hidden => render(msg!(".{}{}"), &[name, TEMPORARY]),
            Naming::Dpkg => render(msg!("{}-new"), &[name]),
        }
    }
}

/// How long a lock is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// As long as it takes.
    Endless,
    /// Some seconds: somebody waits for us who holds what the other may need.
    Short,
}

/// Files that are written and wait for their place; dropped without [`Staged::commit`], they go.
pub struct Staged<'f> {
    folder: &'f Folder,
    naming: Naming,
    /// The names of the files that they replace; from the last to the first once they are renamed.
    waiting: Vec<Text>,
}

impl Staged<'_> {
    /// Renames the files over those that they replace, and makes that durable.
    ///
    /// # Errors
    /// Any step. The files before the failed one are new, it and those after it are old.
    #[allow(clippy::boxed_local)] // as it was made
    pub fn commit(mut self: Box<Self>) -> Result<()> {
        let folder = self.folder;
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.waiting.reverse();
        while let Some(name) = self.waiting.last() {
            if self.naming == Naming::Dpkg {
                let old = render(msg!("{}-old"), &[name]);
                folder.unlink(old)?;
                io(
                    Verb::Keep,
                    folder.shown(old),
                    folder.link(name, folder, old),
                )?;
            }
            let new = self.naming.temporary(name);
            io(Verb::Replace, folder.shown(name), folder.rename(new, name))?;
            self.waiting.pop();
        }
        folder.sync()
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        for name in &self.waiting {
            let new = self.naming.temporary(name);
            let _ = self.folder.unlinkat(new, AtFlags::empty());
        }
    }
}

/// The mode of a file that replaces none: everybody may read what the machine needs.
const NEW_MODE: u32 = 0o644;

const TEMPORARY: &[u8] = b".limopack-new";

/// Whether a file is one that a run was writing when it was killed.
pub fn is_temporary(name: &[u8]) -> bool {
    name.starts_with(b".") && name.ends_with(TEMPORARY)
}

impl Folder {
    /// Opens a directory; `None` if there is none.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(root: &Root, path: &[u8]) -> Result<Option<Box<Folder>>> {
        match root.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY) {
            Err(errno) if is_missing(errno) => Ok(None),
            opened => {
                let shown = root.shown(path);
                let fd = io(Verb::Open, shown, opened)?;
                Ok(Some(Folder::of(fd, shown)))
            }
        }
    }

    fn of(fd: OwnedFd, shown: Text) -> Box<Folder> {
        let is_listed = Cell::new(false);
        Box::new(Folder {
            fd,
            shown,
            is_listed,
        })
    }

    /// Opens a directory and makes it, and those above it, where there is none.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(root: &Root, path: &[u8]) -> Result<Box<Folder>> {
        if let Some(folder) = Folder::open(root, path)? {
            return Ok(folder);
        }
        let (above, name) = split_last(path);
        let above = Folder::create(root, above)?;
        match above.mkdir(name) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return io(Verb::Create, root.shown(path), Err(errno)),
        }
        let made = Folder::open(root, path)?;
        made.ok_or_else(|| Error::refused(msg!("{} is gone again"), &[root.shown(path)]))
    }

    /// A file in the directory as the user would write it.
    #[inline(never)] // larger at every call
    pub fn shown(&self, name: &[u8]) -> Text {
        render(msg!("{}/{}"), &[self.shown, name])
    }

    /// Waits for the lock that every writer of this directory takes.
    /// It is held until this value is dropped.
    ///
    /// # Errors
    /// The file system has no locks; [`ErrorKind::Busy`] where patience has ended.
    pub fn lock(&self, patience: Patience) -> Result<()> {
        let lock = |how| retry(|| rustix::fs::flock(&self.fd, how));
        if patience == Patience::Endless {
            return io(Verb::Lock, self.shown, lock(FlockOperation::LockExclusive));
        }
        // Tenths of a second. (Rejected: an alarm, which needs a signal's handler.)
        for _ in 0..100 {
            match lock(FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::AGAIN) => {}
                locked => return io(Verb::Lock, self.shown, locked),
            }
            let _ = rustix::thread::nanosleep(&Timespec {
                tv_sec: 0,
                tv_nsec: 100_000_000,
            });
        }
        let what = msg!("{} is locked by another limopack");
        Err(Error::new(ErrorKind::Busy, what, &[self.shown]))
    }

    /// The bytes of a regular file in the directory; a symbolic link is an error here,
    /// because replacing it would not change what it leads to. `None` if it is missing.
    ///
    /// # Errors
    /// It cannot be opened or read, or is no regular file.
    #[inline(always)]
    pub fn text(&self, name: &[u8]) -> Result<Option<Text>> {
        self.content(name).map(|text| text.copied())
    }

    fn content(&self, name: &[u8]) -> Result<Option<Content>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        match open_in(self.fd.as_fd(), name, flags, Mode::empty()) {
            Err(errno) if is_missing(errno) => Ok(None),
            Err(Errno::LOOP) => Err(Error::refused(
                msg!("{} is a symbolic link; replacing it would not change the file that it leads to"),
                &[self.shown(name)],
            )),
            opened => {
                let shown = self.shown(name);
                mapped::text(io(Verb::Open, shown, opened)?.as_fd(), shown).map(Some)
            }
        }
    }

    /// The descriptor.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// As [`Folder::text`]; none where the file is missing.
    ///
    /// # Errors
    /// As there.
    #[inline(always)]
    pub fn text_or_empty(&self, name: &[u8]) -> Result<Text> {
        self.content_or_empty(name).copied()
    }

    fn content_or_empty(&self, name: &[u8]) -> Result<Content> {
        Ok(self.content(name)?.unwrap_or(NO_CONTENT))
    }

    /// Reads a small file in the directory into `bytes`, in place of what was in there: one buffer
    /// does for the many files below /sys.
    ///
    /// # Errors
    /// It cannot be opened or read.
    pub fn read(&self, name: &[u8], bytes: &mut Vec<u8>) -> Called<()> {
        bytes.clear();
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = open_in(self.fd.as_fd(), name, flags, Mode::empty())?;
        mapped::read_to_end(file.as_fd(), bytes)
    }

    /// Replaces a file as a whole; see [`Folder::replace_all`].
    ///
    /// # Errors
    /// As there.
    pub fn replace(&self, name: &[u8], content: &[u8]) -> Result<()> {
        self.replace_all(&[(name, &[content])])
    }

    /// Replaces files as wholes; see [`Folder::stage`] and [`Staged::commit`].
    ///
    /// # Errors
    /// As there.
    pub fn replace_all(&self, files: &[(&[u8], &[&[u8]])]) -> Result<()> {
        self.stage(Naming::Hidden, files)?.commit()
    }

    /// Writes files beside those that they are to replace, and makes them durable. A file gets
    /// the mode and owner of the one that it replaces.
    ///
    /// # Errors
    /// Any step; nothing is left behind then.
    pub fn stage(&self, naming: Naming, files: &[(&[u8], &[&[u8]])]) -> Result<Box<Staged<'_>>> {
        // Without memory the process ends at once, and what it has staged would stay.
        io(Verb::WriteIn, self.shown, heap::reserve())?;
        let mut staged = Box::new(Staged {
            folder: self,
            naming,
            waiting: Vec::with_capacity(files.len()),
        });
        for (name, parts) in files {
            let temporary = naming.temporary(name);
            staged.waiting.push(keep(name));
            self.write_new(name, temporary, parts)?;
        }
        Ok(staged)
    }

    /// Writes what is to replace `name` as `temporary`.
    fn write_new(&self, name: &[u8], temporary: &[u8], parts: &[&[u8]]) -> Result<()> {
        let shown = self.shown(temporary);
        let old = stat_in(self.fd.as_fd(), name).ok();
        // Left behind by a run that was killed.
        self.unlink(temporary)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mode = Mode::from_raw_mode(NEW_MODE);
        let created = open_in(self.fd.as_fd(), temporary, flags, mode);
        let file = io(Verb::Create, shown, created)?;
        io(Verb::Write, shown, write_parts(&file, parts))?;
        io(Verb::SetMode, shown, keep_mode(&file, old))?;
        io(Verb::Sync, shown, retry(|| rustix::fs::fsync(&file)))
    }

    /// Removes a file, or a symbolic link itself. One that is gone already is fine.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn unlink(&self, name: &[u8]) -> Result<()> {
        let removed = c_string(name).and_then(|name| remove_file_in(self.fd.as_fd(), name));
        removed.or_else(|errno| io(Verb::Remove, self.shown(name), Err(errno)))
    }

    /// Removes a directory if it is empty. One that is gone, or that somebody has filled, is fine.
    ///
    /// # Errors
    /// It cannot be removed for another reason.
    pub fn remove_empty(&self, name: &[u8]) -> Result<()> {
        let removed = c_string(name).and_then(|name| remove_empty_in(self.fd.as_fd(), name));
        removed.or_else(|errno| io(Verb::Remove, self.shown(name), Err(errno)))
    }

    /// Keeps what the file `name` of a directory is now, too, as `second` in this one; it is missing
    /// here where it is missing there. It costs no space where the file system has hard links.
    ///
    /// # Errors
    /// The directories are on different mounts; neither a link nor a copy can be made.
    pub fn keep_from(&self, from: &Folder, name: &[u8], second: &[u8]) -> Result<()> {
        self.unlink(second)?;
        match from.link(name, self, second) {
            Err(Errno::XDEV) => Err(on_other_mount(from, self)),
            Err(_) => match from.text(name)? {
                Some(text) => self.replace(second, text),
                None => Ok(()),
            },
            Ok(()) => Ok(()),
        }
    }

    /// What is in the directory, sorted by name, without `.` and `..`.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn entries(&self) -> Result<List<DirectoryEntry>> {
        let listing = Box::leak(Box::<Listing>::default());
        self.list(listing)?;
        let listing = &*listing;
        let mut entries = Vec::with_capacity(listing.count());
        for at in 0..listing.count() {
            let name = listing.name(at);
            let kind = match listing.kind(at) {
                // Some file systems do not tell.
                FileType::Unknown => self.stat(name)?.kind(),
                kind => kind,
            };
            entries.push(DirectoryEntry { name, kind });
        }
        Ok(keep_list(entries))
    }

    /// What is in the directory at `path`, in the same way; nothing, if there is none.
    ///
    /// # Errors
    /// It cannot be opened or read.
    pub fn entries_at(root: &Root, path: &[u8]) -> Result<List<DirectoryEntry>> {
        match Folder::open(root, path)? {
            Some(folder) => folder.entries(),
            None => Ok(NO_ENTRIES),
        }
    }

    /// As [`Folder::entries`], in a buffer that is used again, after what is in it; what the file
    /// system does not tell is unknown.
    ///
    /// # Errors
    /// As there.
    pub fn list(&self, listing: &mut Listing) -> Result<Mark> {
        self.rewind()?;
        io(Verb::Read, self.shown, listing.add(self.fd.as_fd()))
    }

    /// Lets the next listing begin at the start.
    pub(super) fn rewind(&self) -> Result<()> {
        match self.is_listed.replace(true) {
            true => {
                let start = rustix::fs::seek(&self.fd, SeekFrom::Start(0));
                io(Verb::Read, self.shown, start.map(drop).map_err(Errno::from))
            }
            false => Ok(()),
        }
    }

    fn stat(&self, name: &[u8]) -> Result<&'static Stat> {
        let stat = Box::leak(Box::<Stat>::default());
        let done = c_string(name).and_then(|name| stat_if_there(self.fd.as_fd(), name, stat));
        done.map_err(|errno| Error::io(Verb::Stat, self.shown(name), errno))?;
        Ok(stat)
    }

    /// The size of an entry in bytes; 0 for one that is gone.
    ///
    /// # Errors
    /// It cannot be found out.
    pub fn size(&self, name: &[u8]) -> Result<usize> {
        Ok(self.stat(name)?.size())
    }

    /// Opens a directory in this one; `None` if it is gone, a symbolic link, or another file
    /// system mounted here, none of which are ours to look into.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn enter(&self, name: &[u8]) -> Result<Option<Box<Folder>>> {
        let shown = self.shown(name);
        let opened = c_string(name).and_then(|name| enter_in(self.fd.as_fd(), name));
        let opened = io(Verb::Open, shown, opened)?;
        Ok(opened.map(|fd| Folder::of(fd, shown)))
    }

    fn unlinkat(&self, name: &[u8], flags: AtFlags) -> Called<()> {
        unlink_in(self.fd.as_fd(), c_string(name)?, flags)
    }

    fn link(&self, old: &[u8], to: &Folder, new: &[u8]) -> Called<()> {
        let (old, new) = (c_string(old)?, c_string(new)?);
        retry(|| rustix::fs::linkat(&self.fd, old, &to.fd, new, AtFlags::empty()))
    }

    fn rename(&self, old: &[u8], new: &[u8]) -> Called<()> {
        let (old, new) = (c_string(old)?, c_string(new)?);
        retry(|| rustix::fs::renameat(&self.fd, old, &self.fd, new))
    }

    fn mkdir(&self, name: &[u8]) -> Called<()> {
        let name = c_string(name)?;
        retry(|| rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(0o755)))
    }

    /// The number of the directory's file system.
    ///
    /// # Errors
    /// It cannot be found out.
    pub fn device(&self) -> Result<&'static u64> {
        let stat = io(Verb::Stat, self.shown, stat_in(self.fd.as_fd(), b""));
        stat.map(|stat| &stat.stamp.file.0)
    }

    /// Makes everything durable that was done in the directory's file system, in whatever directory.
    /// A deletion may come back after a power cut although one that came later, elsewhere, was synced
    /// by itself: btrfs keeps no such order.
    ///
    /// # Errors
    /// The disk; Linux tells it since 5.8.
    pub fn sync_file_system(&self) -> Result<()> {
        let synced = retry(|| rustix::fs::syncfs(&self.fd));
        io(Verb::SyncFileSystem, self.shown, synced)
    }

    /// Makes renames and unlinks in the directory durable.
    ///
    /// # Errors
    /// The disk.
    pub fn sync(&self) -> Result<()> {
        let synced = retry(|| rustix::fs::fsync(&self.fd));
        // Some file systems have no directory to sync (EINVAL); nothing is lost by that.
        match synced {
            Err(Errno::INVAL) => Ok(()),
            synced => io(Verb::Sync, self.shown, synced),
        }
    }
}

/// The refusal to move something from one directory to another one.
pub fn on_other_mount(from: &Folder, to: &Folder) -> Error {
    let what = msg!("cannot move from {} to {}: different mounts");
    Error::refused(what, &[from.shown, to.shown])
}

/// Opens a directory in another one; `None` where [`Folder::enter`] returns `None`.
pub(super) fn enter_in(directory: BorrowedFd<'_>, name: &CStr) -> Called<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    let open = || rustix::fs::openat2(directory, name, flags, Mode::empty(), resolve);
    let opened = match retry(open) {
        Err(Errno::NOSYS | Errno::PERM) => enter_by_hand(directory, name, flags),
        opened => opened,
    };
    match opened {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => Ok(None),
        opened => opened.map(Some),
    }
}

/// As the kernel does it since Linux 5.6. No device number tells a directory that is bound
/// there from the same file system, and a btrfs subvolume, which is no mount, has its own.
/// But a rename looks at the mounts first of all (EXDEV) and then refuses `.` (EBUSY), so
/// that this one never renames anything. (linux: fs/namei.c, `do_renameat2`)
fn enter_by_hand(directory: BorrowedFd<'_>, name: &CStr, flags: OFlags) -> Called<OwnedFd> {
    let fd = retry(|| rustix::fs::openat(directory, name, flags, Mode::empty()))?;
    let here = c_string(b".")?;
    match retry(|| rustix::fs::renameat(directory, here, &fd, here)) {
        Err(Errno::BUSY) => Ok(fd),
        Err(errno) => Err(errno),
        Ok(()) => Err(Errno::XDEV),
    }
}

/// As [`stat_at`]; an entry that is gone leaves `found` as it was.
pub(super) fn stat_if_there(
    directory: BorrowedFd<'_>,
    name: &CStr,
    found: &mut Stat,
) -> Called<()> {
    unless_gone(stat_at(directory, name, found))
}

/// Removes a file, or a symbolic link itself. One that is gone already is fine.
pub(super) fn remove_file_in(directory: BorrowedFd<'_>, name: &CStr) -> Called<()> {
    unless_gone(unlink_in(directory, name, AtFlags::empty()))
}

/// Moves a file, or a symbolic link itself, to the same name in another directory, in place of one
/// that is there. One that is gone already is fine.
pub(super) fn move_file_in(
    directory: BorrowedFd<'_>,
    name: &CStr,
    target: BorrowedFd<'_>,
) -> Called<()> {
    unless_gone(retry(|| {
        rustix::fs::renameat(directory, name, target, name)
    }))
}

fn unless_gone(done: Called<()>) -> Called<()> {
    match done {
        Err(Errno::NOENT) => Ok(()),
        done => done,
    }
}

/// Opens a directory, which is made with mode and owner of `like` where there is none. What is
/// there and no directory of this file system is an error (ENOTDIR).
pub(super) fn make_in(
    directory: BorrowedFd<'_>,
    name: &CStr,
    like: BorrowedFd<'_>,
) -> Called<OwnedFd> {
    let mode = Mode::from_raw_mode(0o755);
    let made = retry(|| rustix::fs::mkdirat(directory, name, mode));
    if !matches!(made, Err(Errno::EXIST)) {
        made?;
    }
    let opened = enter_in(directory, name)?.ok_or(Errno::NOTDIR)?;
    if made.is_ok() {
        keep_mode(&opened, Some(stat_in(like, b"")?))?;
    }
    Ok(opened)
}

/// Removes a directory if it is empty. One that somebody has filled since stays.
pub(super) fn remove_empty_in(directory: BorrowedFd<'_>, name: &CStr) -> Called<()> {
    match unlink_in(directory, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
        removed => removed,
    }
}

fn unlink_in(directory: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> Called<()> {
    retry(|| rustix::fs::unlinkat(directory, name, flags))
}

/// Writes parts one after the other, many with each call.
fn write_parts(file: &OwnedFd, parts: &[&[u8]]) -> Called<()> {
    // Far below the kernel's limit of 1024 (linux: include/uapi/linux/uio.h, UIO_MAXIOV).
    const MOST: usize = 256;
    // No list: it would take memory, and there may be none.
    let mut room = [IoSlice::new(&[]); MOST];
    for some in parts.chunks(MOST) {
        let slices = &mut room[..some.len()];
        for (slice, part) in slices.iter_mut().zip(some) {
            *slice = IoSlice::new(part);
        }
        let mut left: usize = some.iter().map(|part| part.len()).sum();
        let mut first = 0;
        while left > 0 {
            let written = retry(|| rustix::io::writev(file, &slices[first..]))?;
            if written == 0 {
                return Err(Errno::IO);
            }
            left -= written;
            // A short write may end inside a part.
            let mut skip = written;
            while first < some.len() && skip >= slices[first].len() {
                skip -= slices[first].len();
                first += 1;
            }
            if let (true, Some(slice)) = (skip > 0, slices.get_mut(first)) {
                let part = some[first];
                let begin = part.len() - slice.len() + skip;
                *slice = IoSlice::new(&part[begin..]);
            }
        }
    }
    Ok(())
}

/// Gives a new file the mode and owner of the one that it replaces, or [`NEW_MODE`] whatever
/// the umask. Only root can give a file away; for everybody else the file is theirs already.
fn keep_mode(file: &OwnedFd, old: Option<&Stat>) -> Called<()> {
    let new = stat_in(file.as_fd(), b"")?;
    let mut mode = NEW_MODE;
    if let Some(old) = old {
        mode = old.mode & 0o7777;
        if new.owner != old.owner {
            let owner = Some(rustix::fs::Uid::from_raw(old.owner.0));
            let group = Some(rustix::fs::Gid::from_raw(old.owner.1));
            match rustix::fs::fchown(file, owner, group).map_err(Errno::from) {
                Ok(()) | Err(Errno::PERM) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
    if new.mode & 0o7777 != mode {
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{kind_of, ErrorKind};
    use crate::system::scratch::Scratch;
    use std::fs::{metadata, read, set_permissions, Permissions};
    use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};

    /// A scratch directory with a folder `d` in it.
    fn scratch(test: &str) -> (Scratch, Box<Folder>) {
        let scratch = Scratch::new(test);
        std::fs::create_dir(scratch.path().join("d")).unwrap();
        let folder = Folder::open(&scratch.root(), b"d").unwrap().unwrap();
        (scratch, folder)
    }

    #[test]
    fn a_replaced_file_is_a_new_one_with_the_old_mode() {
        let (scratch, folder) = scratch("mode");
        let file = scratch.path().join("d/f");
        folder.replace(b"f", b"one").unwrap();
        assert_eq!(metadata(&file).unwrap().mode() & 0o7777, NEW_MODE);
        for mode in [0o600, 0o664, 0o400] {
            set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            let before = metadata(&file).unwrap().ino();
            let content = mode.to_string();
            folder.replace(b"f", content.as_bytes()).unwrap();
            assert_eq!(read(&file).unwrap(), content.as_bytes());
            let after = metadata(&file).unwrap();
            assert_eq!(after.mode() & 0o7777, mode);
            assert_ne!(after.ino(), before);
        }
        assert_eq!(scratch.names("d"), ["f"]);
    }

    #[test]
    fn a_mapped_text_stays_what_it_was_when_its_file_is_replaced() {
        let (_scratch, folder) = scratch("mapped");
        folder.replace(b"f", b"old").unwrap();
        let old = folder.text(b"f").unwrap().unwrap();
        folder.replace(b"f", b"").unwrap();
        assert_eq!(old, b"old");
        assert_eq!(folder.text(b"f").unwrap().unwrap(), b"");
    }

    #[test]
    fn what_a_killed_run_left_behind_is_replaced_even_if_it_is_a_link() {
        let (scratch, folder) = scratch("left");
        let left = String::from_utf8(Naming::Hidden.temporary(b"f").to_vec()).unwrap();
        assert!(is_temporary(left.as_bytes()));
        scratch.write(&format!("d/{left}"), "half of a file that is longer");
        folder.replace(b"f", b"whole").unwrap();
        scratch.write("outside", "untouched");
        symlink("../outside", scratch.path().join("d").join(&left)).unwrap();
        folder.replace(b"f", b"again").unwrap();
        assert_eq!(read(scratch.path().join("d/f")).unwrap(), b"again");
        assert_eq!(read(scratch.path().join("outside")).unwrap(), b"untouched");
        assert_eq!(scratch.names("d"), ["f"]);
    }

    #[test]
    fn a_replacement_that_fails_leaves_nothing_behind() {
        let (scratch, folder) = scratch("fails");
        scratch.write("d/f/full", "a directory cannot be replaced by a file");
        let error = folder.replace(b"f", b"new").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.messages()[0].starts_with(b"cannot replace "));
        assert_eq!(scratch.names("d"), ["f"]);
    }

    #[test]
    fn of_several_files_none_is_replaced_if_one_cannot_be_written() {
        let (scratch, folder) = scratch("several");
        let in_the_way = String::from_utf8(Naming::Hidden.temporary(b"b").to_vec()).unwrap();
        scratch.write(&format!("d/{in_the_way}/x"), "");
        scratch.write("d/a", "old a");
        let files: [(&[u8], &[&[u8]]); 3] = [(b"a", &[b"new"]), (b"b", &[b"new"]), (b"c", &[])];
        assert!(folder.replace_all(&files).is_err());
        assert_eq!(read(scratch.path().join("d/a")).unwrap(), b"old a");
        assert_eq!(scratch.names("d"), [&in_the_way, "a"]);
    }

    #[test]
    fn any_number_of_parts_is_written_in_their_order() {
        let (scratch, folder) = scratch("parts");
        for count in [0, 1, 255, 256, 257, 1500] {
            let parts: Vec<Vec<u8>> = (0..count).map(|at| vec![at as u8; at % 7]).collect();
            let slices: Vec<&[u8]> = parts.iter().map(|part| &part[..]).collect();
            folder.replace_all(&[(b"f", &slices)]).unwrap();
            assert_eq!(read(scratch.path().join("d/f")).unwrap(), parts.concat());
        }
    }

    #[test]
    fn a_symbolic_link_is_no_text_of_the_folder() {
        let (scratch, folder) = scratch("link");
        scratch.write("d/real", "text");
        symlink("real", scratch.path().join("d/link")).unwrap();
        symlink("nowhere", scratch.path().join("d/broken")).unwrap();
        assert_eq!(folder.text(b"real").unwrap().unwrap(), b"text");
        assert_eq!(kind_of(folder.text(b"link")), Some(ErrorKind::Refused));
        assert_eq!(kind_of(folder.text(b"broken")), Some(ErrorKind::Refused));
        assert!(folder.text(b"missing").unwrap().is_none());
    }

    #[test]
    fn a_lock_is_held_until_the_folder_is_dropped() {
        let (scratch, folder) = scratch("lock");
        folder.lock(Patience::Endless).unwrap();
        let other = Folder::open(&scratch.root(), b"d").unwrap().unwrap();
        let try_lock = || rustix::fs::flock(&other.fd, FlockOperation::NonBlockingLockExclusive);
        assert_eq!(try_lock(), Err(rustix::io::Errno::WOULDBLOCK));
        drop(folder);
        assert_eq!(try_lock(), Ok(()));
    }

    #[test]
    fn entries_are_sorted_more_than_one_read_gives_and_the_same_each_time() {
        let (scratch, folder) = scratch("entries");
        let name = |number| format!("{number:04}-{}", "x".repeat(100));
        for number in (0..600).rev() {
            scratch.write(&format!("d/{}", name(number)), "");
        }
        // The second listing was empty once, and so a prune never saw what a killed one had left.
        for _ in 0..2 {
            let entries = folder.entries().unwrap().iter();
            let wanted = (0..600).map(|number| name(number).into_bytes());
            assert!(entries.map(|entry| entry.name).eq(wanted));
        }
    }
}
