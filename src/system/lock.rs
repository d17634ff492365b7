//! Record locks as dpkg, apt and opkg take them: `fcntl(F_SETLK)` over a whole file, never
//! waiting. Each lock file is opened once, because closing any descriptor of it drops the lock.

use crate::error::{Answer, Errno, Error, ErrorKind, Result, Verb};
use crate::format::{decimal, render, Text};
use crate::system::{io, is_missing, open_in, retry, stat_in, Root};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FlockOperation, Mode, OFlags, CWD};
use rustix::process::{fcntl_getlk, Flock, FlockType};

/// A lock that is held until this value is dropped.
pub struct RecordLock {
    file: OwnedFd,
}

impl RecordLock {
    /// Whether the locked file is the one at `path` still.
    pub fn is_at(&self, root: &Root, path: &[u8]) -> bool {
        // Closing a descriptor of any other kind would drop the lock.
        let there = root.open_at(path, OFlags::PATH);
        let stat = |file: OwnedFd| stat_in(file.as_fd(), b"");
        match (stat_in(self.file.as_fd(), b""), there.and_then(stat)) {
            (Ok(a), Ok(b)) => a.stamp.file == b.stamp.file,
            _ => false,
        }
    }
}

/// Takes the lock on a file of the root, or tells who has it.
///
/// # Errors
/// [`ErrorKind::Busy`] where another process holds it; whatever else keeps us from it.
pub fn lock(root: &Root, path: &[u8]) -> Result<RecordLock> {
    let shown = root.shown(path);
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NOCTTY;
    let opened = root.create_at(path, flags, Mode::from_raw_mode(0o640));
    let file = io(Verb::Open, shown, opened)?;
    match retry(|| rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive)) {
        Ok(()) => Ok(RecordLock { file }),
        Err(Errno::AGAIN | Errno::ACCESS) => Err(Error::new(
            ErrorKind::Busy,
            msg!("{}"),
            &[holder(&file, shown)],
        )),
        Err(errno) => io(Verb::Lock, shown, Err(errno)),
    }
}

/// Whether somebody holds the lock on a file of the root, as far as it can be seen.
///
/// # Errors
/// It cannot be looked at, for another reason than a missing right.
pub fn is_locked(root: &Root, path: &[u8]) -> Result<Answer> {
    let file = match root.open_at(path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NOCTTY) {
        Err(errno) if is_missing(errno) || errno == Errno::ACCESS => return Ok(Answer::No),
        file => io(Verb::Open, root.shown(path), file)?,
    };
    let held = fcntl_getlk(&file, &Flock::from(FlockType::WriteLock));
    Ok(held.map_or(false, |held| held.is_some()).into())
}

/// Says who holds a lock.
fn holder(file: &OwnedFd, shown: &[u8]) -> Text {
    let wanted = Flock::from(FlockType::WriteLock);
    let pid = fcntl_getlk(file, &wanted)
        .ok()
        .flatten()
        .and_then(|held| held.pid);
    let Some(pid) = pid else {
        return render(msg!("{} is locked by another process"), &[shown]);
    };
    let pid = decimal(pid.as_raw_nonzero().get().unsigned_abs() as usize);
    // The process is one of this machine's, wherever the root is.
    let name = render(msg!("/proc/{}/comm"), &[pid]);
    let name = match open_in(CWD, name, OFlags::RDONLY, Mode::empty()) {
        Ok(file) => {
            let mut buffer = [0; 64];
            let count = rustix::io::read(file, &mut buffer).unwrap_or(0);
            render(
                msg!(" ({})"),
                &[buffer[..count]
                    .strip_suffix(b"\n")
                    .unwrap_or(&buffer[..count])],
            )
        }
        Err(_) => b"",
    };
    render(msg!("{} is locked by process {}{}"), &[shown, pid, name])
}
