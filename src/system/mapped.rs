//! Text that stays where it is: a mapped file, or bytes that were read.
//!
//! Every writer of these files (depmod, dpkg, limopack) replaces them by rename, so a mapping
//! keeps the file that was opened. /proc has to be read: mapping it fails, and its size is 0.

use crate::error::Result;
use crate::system::io;
use rustix::fd::BorrowedFd;
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

/// The bytes of a file.
pub enum Text {
    /// Mapped, for as long as this lives.
    Mapped(Mapping),
    /// Read.
    Read(Vec<u8>),
}

/// A private, read-only mapping of a whole file.
pub struct Mapping {
    start: *const u8,
    length: usize,
}

impl Text {
    /// The bytes behind a descriptor; `path` is for messages.
    ///
    /// # Errors
    /// Not a regular file, or it cannot be read.
    pub fn of(file: BorrowedFd<'_>, path: &[u8]) -> Result<Text> {
        let stat = io("stat", path, rustix::fs::fstat(file))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory => return io("read", path, Err(Errno::ISDIR)),
            _ => return io("read (not a regular file)", path, Err(Errno::INVAL)),
        }
        let length = io("map", path, usize::try_from(stat.st_size).map_err(|_| Errno::FBIG))?;
        // Some file systems cannot map; all can read.
        match Mapping::of(file, length) {
            Some(mapping) => Ok(Text::Mapped(mapping)),
            None => io("read", path, read_all(file)).map(Text::Read),
        }
    }
}

impl core::ops::Deref for Text {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Text::Mapped(mapping) => mapping.bytes(),
            Text::Read(bytes) => bytes,
        }
    }
}

/// Reads to the end, in steps that suit /proc, which gives 4 KiB at most for each call.
fn read_all(file: BorrowedFd<'_>) -> rustix::io::Result<Vec<u8>> {
    const STEP: usize = 16 * 1024;
    let mut bytes = Vec::new();
    loop {
        bytes.reserve(STEP);
        let spare = rustix::buffer::spare_capacity(&mut bytes);
        match rustix::io::read(file, spare) {
            Ok(0) => return Ok(bytes),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

#[allow(unsafe_code)]
impl Mapping {
    /// `None` where there is nothing to map, or no way to.
    fn of(file: BorrowedFd<'_>, length: usize) -> Option<Mapping> {
        if length == 0 {
            return None;
        }
        // SAFETY: the kernel chooses the place, so no memory of ours is replaced, and the
        // mapping is private and read-only.
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
        let start = start.ok()?.cast();
        Some(Mapping { start, length })
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: `start` and `length` are those of a mapping that `drop` alone ends, and no
        // slice can be larger than what mmap mapped. Writers replace these files by rename.
        unsafe { core::slice::from_raw_parts(self.start, self.length) }
    }
}

#[allow(unsafe_code)]
impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `of` made exactly this mapping, and `bytes` borrows from self, so no slice
        // of it is left. An error could not be mended and leaves the mapping as it is.
        let _ = unsafe { rustix::mm::munmap(self.start.cast_mut().cast(), self.length) };
    }
}
