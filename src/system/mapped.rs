//! Text that stays where it is: a mapped file, or bytes that were read.
//!
//! A text stays until the process ends. limopack does one thing and exits, so unmapping would
//! cost a system call for each file and a lifetime in every type, and give nothing back.
//!
//! Every writer of these files (depmod, dpkg, limopack) replaces them by rename, so a mapping
//! keeps the file that was opened. /proc has to be read: mapping it fails, and its size is 0.

use crate::error::{Called, Errno, Error, Result, Verb};
use crate::format::Text;
use crate::system::{io, open_in, retry, stat_in};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{FileType, Mode, OFlags, CWD};
use rustix::mm::{Advice, MapFlags, ProtFlags};

/// The bytes of a file, by reference: one word, which comes back in a register also where an error may
/// come in its place. The bytes themselves, two words, would go over memory.
pub type Content = &'static Text;

fn keep_content(bytes: Text) -> Content {
    Box::leak(Box::new(bytes))
}

/// The content of what is not there.
pub(super) const NO_CONTENT: Content = &(b"" as Text);

/// The bytes behind a descriptor; `path` is for messages.
///
/// # Errors
/// Not a regular file, or it cannot be read.
pub(super) fn text(file: BorrowedFd<'_>, path: &[u8]) -> Result<Content> {
    let stat = io(Verb::Stat, path, stat_in(file, b""))?;
    match stat.kind() {
        FileType::RegularFile => {}
        FileType::Directory => return io(Verb::Read, path, Err(Errno::ISDIR)),
        _ => return Err(Error::refused(msg!("{} is not a regular file"), &[path])),
    }
    let length = io(
        Verb::Map,
        path,
        usize::try_from(stat.stamp.size).map_err(|_| Errno::FBIG),
    )?;
    // Some file systems cannot map; all can read.
    match map(file, length) {
        Some(bytes) => Ok(keep_content(bytes)),
        None => read(file, path),
    }
}

/// The bytes of a file that the user named, as a shell would open it: not below a root, and a
/// pipe is as good as a file. `-` is standard input.
///
/// # Errors
/// It cannot be opened or read.
pub fn argument(path: &[u8]) -> Result<Text> {
    if path == b"-" {
        return read(rustix::stdio::stdin(), path).copied();
    }
    let flags = OFlags::RDONLY | OFlags::NOCTTY;
    let file = io(Verb::Open, path, open_in(CWD, path, flags, Mode::empty()))?;
    let stat = io(Verb::Stat, path, stat_in(file.as_fd(), b""))?;
    match stat.kind() {
        FileType::RegularFile => text(file.as_fd(), path),
        _ => read(file.as_fd(), path),
    }
    .copied()
}

/// Reads to the end, in steps that suit /proc, which gives 4 KiB at most for each call.
fn read(file: BorrowedFd<'_>, path: &[u8]) -> Result<Content> {
    let mut bytes = Vec::new();
    io(Verb::Read, path, read_to_end(file, &mut bytes))?;
    Ok(keep_content(bytes.leak()))
}

/// Reads to the end, after what is in `bytes` already.
pub(super) fn read_to_end(file: BorrowedFd<'_>, bytes: &mut Vec<u8>) -> Called<()> {
    const STEP: usize = 16 * 1024;
    loop {
        bytes.reserve(STEP);
        if retry(|| rustix::io::read(file, rustix::buffer::spare_capacity(bytes)))? == 0 {
            return Ok(());
        }
    }
}

/// Says of a text that it is not read from its start to its end, so that the kernel brings the pages
/// that are looked at and not those after them: from a slow card, half of the time of a listing.
/// Where it is no mapping, or the kernel does not know, nothing changes.
#[allow(unsafe_code)]
pub fn read_here_and_there(text: &'static [u8]) {
    let start = text.as_ptr() as *mut core::ffi::c_void;
    // SAFETY: this changes when pages come, and not what is in them.
    let _ = unsafe { rustix::mm::madvise(start, text.len(), Advice::Random) };
}

/// Maps a whole file; `None` where there is nothing to map, or no way to.
#[allow(unsafe_code)]
fn map(file: BorrowedFd<'_>, length: usize) -> Option<&'static [u8]> {
    if length == 0 || isize::try_from(length).is_err() {
        return None;
    }
    // SAFETY: the kernel chooses the place, so no memory of ours is replaced.
    let start = unsafe {
        rustix::mm::mmap(
            core::ptr::null_mut(),
            length,
            ProtFlags::READ,
            MapFlags::PRIVATE,
            file,
            0,
        )
    };
    // SAFETY: a mapping of this length that nobody ends, read-only, of a file that its writers
    // replace by rename instead of changing it.
    Some(unsafe { core::slice::from_raw_parts(start.ok()?.cast(), length) })
}
