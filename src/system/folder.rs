//! A directory held open: listing it, locking it, replacing files in it so that every reader
//! sees the old file or the new one, before and after a power cut.

use crate::error::{Error, Result};
use crate::system::{io, is_missing, mapped, retry, Root};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::io::IoSlice;

/// An open directory.
pub struct Folder {
    fd: OwnedFd,
    shown: Vec<u8>,
}

/// Something in a directory.
pub struct Entry {
    /// Its name.
    pub name: Vec<u8>,
    /// What it is; a symbolic link is itself.
    pub kind: FileType,
}

/// The mode of a file that replaces none: everybody may read what the machine needs.
const NEW_MODE: u32 = 0o644;

const TEMPORARY: &[u8] = b".limopack-new";

/// The name of the file that is being written. A killed run may leave one behind,
/// and the next run under the same lock replaces it.
fn temporary_name(name: &[u8]) -> Vec<u8> {
    [b".", name, TEMPORARY].concat()
}

/// Whether a file is one that a run was writing when it was killed.
pub fn is_temporary(name: &[u8]) -> bool {
    name.starts_with(b".") && name.ends_with(TEMPORARY)
}

impl Folder {
    /// Opens a directory; `None` if there is none.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(root: &Root, path: &[u8]) -> Result<Option<Folder>> {
        match root.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY) {
            Err(errno) if is_missing(errno) => Ok(None),
            opened => {
                let shown = root.shown(path);
                let fd = io("open", &shown, opened)?;
                Ok(Some(Folder { fd, shown }))
            }
        }
    }

    /// Opens a directory and makes it, and those above it, where there is none.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(root: &Root, path: &[u8]) -> Result<Folder> {
        if let Some(folder) = Folder::open(root, path)? {
            return Ok(folder);
        }
        let (above, name) = match memchr::memrchr(b'/', path) {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&b"."[..], path),
        };
        let above = Folder::create(root, above)?;
        match retry(|| rustix::fs::mkdirat(&above.fd, name, Mode::from_raw_mode(0o755))) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return io("create", &root.shown(path), Err(errno)),
        }
        let made = Folder::open(root, path)?;
        made.ok_or_else(|| Error::refused(&[&root.shown(path), b" is gone again"]))
    }

    /// A file in the directory as the user would write it.
    pub fn shown(&self, name: &[u8]) -> Vec<u8> {
        [&self.shown, &b"/"[..], name].concat()
    }

    /// Waits for the lock that every writer of this directory takes.
    /// It is held until this value is dropped.
    ///
    /// # Errors
    /// The file system has no locks.
    pub fn lock(&self) -> Result<()> {
        let locked = retry(|| rustix::fs::flock(&self.fd, FlockOperation::LockExclusive));
        io("lock", &self.shown, locked)
    }

    /// The bytes of a regular file in the directory; a symbolic link is an error here,
    /// because replacing it would not change what it leads to. `None` if it is missing.
    ///
    /// # Errors
    /// It cannot be opened or read, or is no regular file.
    pub fn text(&self, name: &[u8]) -> Result<Option<&'static [u8]>> {
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = retry(|| rustix::fs::openat(&self.fd, name, flags, Mode::empty()));
        match opened {
            Err(errno) if is_missing(errno) => Ok(None),
            Err(Errno::LOOP) => Err(Error::refused(&[
                &self.shown(name),
                b" is a symbolic link; replacing it would not change the file that it leads to",
            ])),
            opened => {
                let shown = self.shown(name);
                mapped::text(io("open", &shown, opened)?.as_fd(), &shown).map(Some)
            }
        }
    }

    /// Replaces a file as a whole; see [`Folder::replace_all`].
    ///
    /// # Errors
    /// As there.
    pub fn replace(&self, name: &[u8], content: &[u8]) -> Result<()> {
        self.replace_all(&[(name, &[content])])
    }

    /// Replaces files as wholes: all written beside the old ones and made durable, then all
    /// renamed over them, then the renames made durable. A file keeps the mode and owner of the
    /// one that it replaces.
    ///
    /// # Errors
    /// Any step. Where writing failed, the old files are untouched; where a rename failed,
    /// those before it are new. Each file is the old or the new one as a whole.
    pub fn replace_all(&self, files: &[(&[u8], &[&[u8]])]) -> Result<()> {
        let mut result = Ok(());
        for (name, parts) in files {
            result = result.and_then(|()| self.write_temporary(name, parts));
        }
        for (name, _) in files {
            let temporary = temporary_name(name);
            result = result.and_then(|()| {
                let renamed =
                    retry(|| rustix::fs::renameat(&self.fd, &temporary[..], &self.fd, *name));
                io("replace", &self.shown(name), renamed)
            });
        }
        if result.is_err() {
            for (name, _) in files {
                let temporary = temporary_name(name);
                let _ = rustix::fs::unlinkat(&self.fd, &temporary[..], AtFlags::empty());
            }
            return result;
        }
        self.sync()
    }

    /// Replaces a file in the way and with the names of dpkg: `NAME-new` written and made
    /// durable, the old file kept as `NAME-old`, the new one renamed over it.
    /// (dpkg: lib/dpkg/atomic-file.c)
    ///
    /// # Errors
    /// Any step; the old file is untouched unless the rename was done.
    pub fn replace_as_dpkg(&self, name: &[u8], parts: &[&[u8]]) -> Result<()> {
        let (new, old) = ([name, b"-new"].concat(), [name, b"-old"].concat());
        let steps = || {
            self.write_new(name, &new, parts)?;
            self.unlink(&old)?;
            let link = || rustix::fs::linkat(&self.fd, name, &self.fd, &old[..], AtFlags::empty());
            io("keep", &self.shown(&old), retry(link))?;
            let rename = || rustix::fs::renameat(&self.fd, &new[..], &self.fd, name);
            io("replace", &self.shown(name), retry(rename))
        };
        if let Err(error) = steps() {
            let _ = rustix::fs::unlinkat(&self.fd, &new[..], AtFlags::empty());
            return Err(error);
        }
        self.sync()
    }

    fn write_temporary(&self, name: &[u8], parts: &[&[u8]]) -> Result<()> {
        self.write_new(name, &temporary_name(name), parts)
    }

    /// Writes what is to replace `name` as `temporary`.
    fn write_new(&self, name: &[u8], temporary: &[u8], parts: &[&[u8]]) -> Result<()> {
        let shown = self.shown(temporary);
        let old = rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).ok();
        // Left behind by a run that was killed.
        self.unlink(temporary)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(NEW_MODE);
        let create = || rustix::fs::openat(&self.fd, temporary, flags, mode);
        let file = io("create", &shown, retry(create))?;
        io("write", &shown, write_parts(&file, parts))?;
        io("set the mode of", &shown, keep_mode(&file, old.as_ref()))?;
        io("sync", &shown, retry(|| rustix::fs::fsync(&file)))
    }

    /// Removes a file, or a symbolic link itself. One that is gone already is fine.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn unlink(&self, name: &[u8]) -> Result<()> {
        match retry(|| rustix::fs::unlinkat(&self.fd, name, AtFlags::empty())) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => io("remove", &self.shown(name), Err(errno)),
        }
    }

    /// Removes a directory if it is empty. One that somebody has filled since stays.
    ///
    /// # Errors
    /// It cannot be removed for another reason.
    pub fn remove_empty(&self, name: &[u8]) -> Result<()> {
        match retry(|| rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR)) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
            Err(errno) => io("remove", &self.shown(name), Err(errno)),
        }
    }

    /// Keeps the file that `name` is now under a second name, too. It costs no space where the
    /// file system has hard links.
    ///
    /// # Errors
    /// Neither a link nor a copy can be made.
    pub fn keep_as(&self, name: &[u8], second: &[u8]) -> Result<()> {
        self.unlink(second)?;
        let link = || rustix::fs::linkat(&self.fd, name, &self.fd, second, AtFlags::empty());
        if retry(link).is_err() {
            return self.replace(second, self.text(name)?.unwrap_or(b""));
        }
        self.sync()
    }

    /// What is in the directory, sorted by name, without `.` and `..`.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        let mut buffer = Vec::with_capacity(32 * 1024);
        let mut found = rustix::fs::RawDir::new(&self.fd, buffer.spare_capacity_mut());
        let mut entries = Vec::new();
        while let Some(entry) = found.next() {
            let entry = io("read", &self.shown, entry)?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let kind = match entry.file_type() {
                // Some file systems do not tell.
                FileType::Unknown => self.stat(name)?.map_or(FileType::Unknown, |stat| {
                    FileType::from_raw_mode(stat.st_mode)
                }),
                kind => kind,
            };
            let name = name.to_vec();
            entries.push(Entry { name, kind });
        }
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn stat(&self, name: &[u8]) -> Result<Option<rustix::fs::Stat>> {
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => io("stat", &self.shown(name), Err(errno)),
        }
    }

    /// The size of an entry in bytes; 0 for one that is gone.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn size(&self, name: &[u8]) -> Result<u64> {
        let stat = self.stat(name)?;
        Ok(stat.map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or(0)))
    }

    /// Opens a directory in this one; `None` if it is gone, a symbolic link, or another file
    /// system mounted here, none of which are ours to look into.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn enter(&self, name: &[u8]) -> Result<Option<Folder>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
        let opened = retry(|| rustix::fs::openat2(&self.fd, name, flags, Mode::empty(), resolve));
        let opened = match opened {
            Err(Errno::NOSYS | Errno::PERM) => self.enter_by_device(name, flags),
            opened => opened,
        };
        let shown = self.shown(name);
        match opened {
            Ok(fd) => Ok(Some(Folder { fd, shown })),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => Ok(None),
            Err(errno) => io("open", &shown, Err(errno)),
        }
    }

    /// As the kernel does it since Linux 5.6, as far as it can be seen from outside.
    fn enter_by_device(&self, name: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let fd = retry(|| rustix::fs::openat(&self.fd, name, flags, Mode::empty()))?;
        match rustix::fs::fstat(&fd)?.st_dev == rustix::fs::fstat(&self.fd)?.st_dev {
            true => Ok(fd),
            false => Err(Errno::XDEV),
        }
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
            synced => io("sync", &self.shown, synced),
        }
    }
}

/// Writes parts one behind the other, many with each call.
fn write_parts(file: &OwnedFd, parts: &[&[u8]]) -> rustix::io::Result<()> {
    // Far below the kernel's limit of 1024 (linux: include/uapi/linux/uio.h, UIO_MAXIOV).
    const MOST: usize = 256;
    for some in parts.chunks(MOST) {
        let mut slices: Vec<IoSlice<'_>> = some.iter().map(|part| IoSlice::new(part)).collect();
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
fn keep_mode(file: &OwnedFd, old: Option<&rustix::fs::Stat>) -> rustix::io::Result<()> {
    let new = rustix::fs::fstat(file)?;
    let mut mode = NEW_MODE;
    if let Some(old) = old {
        mode = old.st_mode & 0o7777;
        if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid) {
            let owner = Some(rustix::fs::Uid::from_raw(old.st_uid));
            let group = Some(rustix::fs::Gid::from_raw(old.st_gid));
            match rustix::fs::fchown(file, owner, group) {
                Ok(()) | Err(Errno::PERM) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
    if new.st_mode & 0o7777 != mode {
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?;
    }
    Ok(())
}
