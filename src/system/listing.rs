//! What is in a directory, sorted, in buffers that are used again: a kernel has thousands of
//! modules.

use crate::error::Called;
use crate::text::sort::sort;
use crate::text::split_inline;
use core::ffi::CStr;
use core::mem::MaybeUninit;
use rustix::fd::BorrowedFd;
use rustix::fs::{FileType, RawDir};

/// The entries of directories, those of one after those of another.
#[derive(Default)]
pub struct Listing {
    /// For each entry a byte for its kind, its name, and a zero byte.
    bytes: Vec<u8>,
    /// Where the names begin.
    starts: Vec<u32>,
}

/// Where the kind is in what the kernel calls a mode (linux: include/uapi/linux/stat.h, S_IFMT).
const KIND: u32 = 12;

/// How long a listing was.
#[derive(Clone, Copy)]
pub struct Mark {
    bytes: usize,
    /// How many entries.
    pub count: usize,
}

impl Listing {
    /// Adds what is in a directory, sorted by name, without `.` and `..`. What was added before is
    /// after the mark that comes back.
    pub fn add(&mut self, directory: BorrowedFd<'_>) -> Called<Mark> {
        let mark = Mark {
            bytes: self.bytes.len(),
            count: self.starts.len(),
        };
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut found = RawDir::new(directory, &mut buffer);
        while let Some(entry) = found.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes_with_nul();
            if name == b".\0" || name == b"..\0" {
                continue;
            }
            self.bytes
                .push((entry.file_type().as_raw_mode() >> KIND) as u8);
            // There is no machine with 4 GiB of names in one path of directories.
            self.starts.push(self.bytes.len() as u32);
            self.bytes.extend_from_slice(name);
        }
        sort(&self.bytes, &mut self.starts[mark.count..]);
        Ok(mark)
    }

    /// Takes away what was added since.
    pub fn truncate(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        self.starts.truncate(mark.count);
    }

    /// How many entries there are.
    pub fn count(&self) -> usize {
        self.starts.len()
    }

    /// The name of an entry.
    pub fn name(&self, at: usize) -> &[u8] {
        split_inline(&self.bytes[self.starts[at] as usize..], 0).0
    }

    /// The same as the kernel takes it.
    pub fn c_name(&self, at: usize) -> &CStr {
        c_text(&self.bytes, self.starts[at] as usize)
    }

    /// What it is, a symbolic link itself; unknown where the file system does not tell.
    pub fn kind(&self, at: usize) -> FileType {
        let kind = self.bytes[self.starts[at] as usize - 1];
        FileType::from_raw_mode(u32::from(kind) << KIND)
    }
}

/// The text that begins at a place and ends with a zero byte, as the kernel takes it.
pub fn c_text(bytes: &[u8], start: usize) -> &CStr {
    super::c_text(bytes.get(start..).unwrap_or(b""))
}
