//! A directory held open: listing it, locking it, replacing files in it so that every reader
//! sees the old file or the new one, before and after a power cut.

use crate::error::{Error, Result};
use crate::system::{io, is_missing, mapped, retry, Root};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

/// An open directory.
pub struct Folder {
    fd: OwnedFd,
    shown: Vec<u8>,
}

/// The mode of a file that replaces none: everybody may read what the machine needs.
const NEW_MODE: u32 = 0o644;

/// The name of the file that is being written. A killed run may leave one behind,
/// and the next run under the same lock replaces it.
fn temporary_name(name: &[u8]) -> Vec<u8> {
    [b".", name, b".limopack-new"].concat()
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

    /// A file in the directory as the user would write it.
    pub fn shown(&self, name: &[u8]) -> Vec<u8> {
        [&self.shown, &b"/"[..], name].concat()
    }

    /// The names in the directory, sorted, without `.` and `..`.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn names(&self) -> Result<Vec<Vec<u8>>> {
        let mut buffer = Vec::with_capacity(8192);
        let mut entries = rustix::fs::RawDir::new(&self.fd, buffer.spare_capacity_mut());
        let mut names = Vec::new();
        while let Some(entry) = entries.next() {
            let entry = io("read", &self.shown, entry)?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name.to_vec());
            }
        }
        names.sort_unstable();
        Ok(names)
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

    /// Replaces a file as a whole: written beside it, made durable, renamed over it, and the
    /// rename made durable. It keeps the mode and owner of the file that it replaces.
    ///
    /// # Errors
    /// Any step; the old file is untouched unless the rename was done.
    pub fn replace(&self, name: &[u8], content: &[u8]) -> Result<()> {
        let temporary = temporary_name(name);
        let written = self
            .write_temporary(name, &temporary, content)
            .and_then(|()| {
                let renamed =
                    retry(|| rustix::fs::renameat(&self.fd, &temporary[..], &self.fd, name));
                io("replace", &self.shown(name), renamed)
            });
        if written.is_err() {
            let _ = rustix::fs::unlinkat(&self.fd, &temporary[..], AtFlags::empty());
            return written;
        }
        self.sync()
    }

    fn write_temporary(&self, name: &[u8], temporary: &[u8], content: &[u8]) -> Result<()> {
        let shown = self.shown(temporary);
        let old = rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).ok();
        // Left behind by a run that was killed.
        match rustix::fs::unlinkat(&self.fd, temporary, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return io("remove", &shown, Err(errno)),
        }
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(NEW_MODE);
        let file = io(
            "create",
            &shown,
            retry(|| rustix::fs::openat(&self.fd, temporary, flags, mode)),
        )?;
        let mut rest = content;
        while !rest.is_empty() {
            let count = io("write", &shown, retry(|| rustix::io::write(&file, rest)))?;
            rest = &rest[count..];
        }
        io("set the mode of", &shown, keep_mode(&file, old.as_ref()))?;
        io("sync", &shown, retry(|| rustix::fs::fsync(&file)))
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
