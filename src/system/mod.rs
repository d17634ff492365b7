//! The only part that touches the machine, and the only one with unsafe code.

pub mod folder;
pub mod heap;
pub mod listing;
pub mod lock;
pub mod mapped;
pub mod program;
pub mod report;
pub mod root;
#[cfg(test)]
pub(crate) mod scratch;
pub mod tree;

pub use folder::Folder;
pub use report::Report;
pub use root::Root;

use crate::error::{Called, Errno, Error, Result, Verb};
use crate::format::{keep, push_rendered, Text};
use crate::text::{memchr, rfind};
use core::ffi::{c_char, CStr};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, CWD};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// Adds verb and path to a system call's error; EINTR is the caller's to repeat.
pub(crate) fn io<T>(verb: Verb, path: &[u8], result: Called<T>) -> Result<T> {
    result.map_err(|errno| Error::io(verb, path, errno))
}

/// Repeats a call that a signal interrupted.
pub(crate) fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> Called<T> {
    loop {
        match call().map_err(Errno::from) {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

/// Writes all of it.
pub(crate) fn write_all(file: BorrowedFd<'_>, mut bytes: &[u8]) -> Called<()> {
    while !bytes.is_empty() {
        match retry(|| rustix::io::write(file, bytes))? {
            0 => return Err(Errno::IO),
            written => bytes = &bytes[written..],
        }
    }
    Ok(())
}

/// Opens `name` in a directory, or in the working directory ([`rustix::fs::CWD`]); what is opened
/// is not inherited.
pub(crate) fn open_in(
    directory: BorrowedFd<'_>,
    name: &[u8],
    flags: OFlags,
    mode: Mode,
) -> Called<OwnedFd> {
    let name = c_string(name)?;
    retry(|| rustix::fs::openat(directory, name, flags | OFlags::CLOEXEC, mode))
}

/// What tells a file from every other one, and from itself before a change of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Its file system's number and its own.
    file: (u64, u64),
    /// Its size in bytes.
    size: i64,
    /// Seconds and nanoseconds of its last change.
    changed: (i64, usize),
}

/// What is used of what the kernel tells of a file; zeros for one that is gone.
#[derive(Default)]
pub(crate) struct Stat {
    stamp: Stamp,
    mode: u32,
    owner: (u32, u32),
}

impl Stat {
    /// What kind of file it is.
    fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }

    /// Its size in bytes, as far as a number holds it.
    fn size(&self) -> usize {
        usize::try_from(self.stamp.size).unwrap_or(usize::MAX)
    }
}

/// What `name` in a directory is, a link itself; no name means the directory, or whatever else the
/// descriptor is (Linux 2.6.39, also for `O_PATH`, which fstat takes since 3.6 only).
pub(crate) fn stat_in(directory: BorrowedFd<'_>, name: &[u8]) -> Called<&'static Stat> {
    let stat = Box::leak(Box::<Stat>::default());
    stat_at(directory, c_string(name)?, stat)?;
    Ok(stat)
}

/// The same for a name that is ready for the kernel: thousands are asked, so `found` is the caller's.
pub(crate) fn stat_at(directory: BorrowedFd<'_>, name: &CStr, found: &mut Stat) -> Called<()> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
    let stat = rustix::fs::statat(directory, name, flags)?;
    *found = Stat {
        stamp: Stamp {
            file: (stat.st_dev, stat.st_ino),
            size: stat.st_size,
            changed: (stat.st_ctime, stat.st_ctime_nsec as usize),
        },
        mode: stat.st_mode,
        owner: (stat.st_uid, stat.st_gid),
    };
    Ok(())
}

/// The directory of a path, `.` where it names none, and the name in it.
pub(crate) fn split_last(path: &[u8]) -> (&[u8], &[u8]) {
    match rfind(path, b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b".", path),
    }
}

/// Where a link in a directory leads, both relative to the root, by its words alone: `..` is what the
/// path before it says.
pub fn resolved(directory: &[u8], target: &[u8]) -> Text {
    let mut path = match target.starts_with(b"/") {
        true => Vec::new(),
        false => directory.to_vec(),
    };
    for part in target.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => path.truncate(rfind(&path, b'/').unwrap_or(0)),
            _ => push_rendered(&mut path, b"/{}", &[part]),
        }
    }
    let path = path.leak();
    path.strip_prefix(b"/").unwrap_or(path)
}

/// A name as the kernel takes it. rustix makes its own from anything, once more for each call.
#[inline(always)]
pub(crate) fn c_string(name: &[u8]) -> Called<&'static CStr> {
    without_zero(name).ok_or(Errno::INVAL)
}

/// Such a name; `None` where a zero byte is in it. An option comes back in registers, as it would
/// not with an error number.
fn without_zero(name: &[u8]) -> Option<&'static CStr> {
    let mut bytes = Vec::with_capacity(name.len() + 1);
    bytes.extend_from_slice(name);
    bytes.push(0);
    let text = c_text(bytes.leak());
    (text.to_bytes().len() == name.len()).then_some(text)
}

/// The text at the start that ends with a zero byte; an empty one where there is none. std's way
/// brings a search of its own.
#[allow(unsafe_code)]
pub(crate) fn c_text(bytes: &[u8]) -> &CStr {
    match memchr(0, bytes) {
        // SAFETY: the zero byte is the last one, and the first.
        Some(zero) => unsafe { CStr::from_bytes_with_nul_unchecked(&bytes[..=zero]) },
        None => Default::default(),
    }
}

/// Whether a call failed because there is nothing of that name.
pub(crate) fn is_missing(errno: Errno) -> bool {
    errno == Errno::NOENT || errno == Errno::NOTDIR
}

/// The words after the program's name, as the C library hands them to `main`.
///
/// # Safety
/// As for `strings`.
#[allow(unsafe_code)]
pub unsafe fn arguments(argv: *const *const c_char) -> Vec<OsString> {
    // SAFETY: the caller vouches for it.
    let words = unsafe { strings(argv) };
    let mut all = Vec::new();
    for word in words.skip(1) {
        all.push(OsString::from_vec(word.to_vec()));
    }
    all
}

/// A variable of the environment; an empty one counts as unset. Read where the C library keeps
/// it: std's way locks and copies, for programs that have threads and change it.
#[allow(unsafe_code)]
pub fn variable(name: &str) -> Option<&'static [u8]> {
    extern "C" {
        static environ: *const *const c_char;
    }
    // SAFETY: POSIX has `environ` be such a list, and we never change it.
    let mut variables = unsafe { strings(environ) };
    let value = |text: &'static [u8]| text.strip_prefix(name.as_bytes())?.strip_prefix(b"=");
    variables.find_map(value).filter(|value| !value.is_empty())
}

/// The strings of a list as C makes them: a null pointer ends it, and null itself is an empty one.
///
/// # Safety
/// The list and its strings live, unchanged, as long as the process.
#[allow(unsafe_code)]
unsafe fn strings(mut list: *const *const c_char) -> impl Iterator<Item = &'static [u8]> {
    core::iter::from_fn(move || {
        // SAFETY: `list` never moves after the null pointer at its end, and the caller vouches
        // for the rest.
        unsafe {
            if list.is_null() || (*list).is_null() {
                return None;
            }
            let string = CStr::from_ptr(*list);
            list = list.add(1);
            Some(string.to_bytes())
        }
    })
}

/// Opens /dev/null for each of the three standard descriptors that our caller closed. Without
/// that a file that we write could get their number, and a message would end up in it.
///
/// # Errors
/// One is closed and there is no /dev/null.
pub fn fill_standard_descriptors() -> Result<()> {
    use rustix::fd::{AsRawFd, IntoRawFd};
    loop {
        let null = open_in(CWD, b"/dev/null", OFlags::RDWR, Mode::empty());
        let Ok(null) = null else {
            // A chroot may have no /dev; then what matters is whether one is closed at all.
            let standard = [
                rustix::stdio::stdin(),
                rustix::stdio::stdout(),
                rustix::stdio::stderr(),
            ];
            let is_open = standard
                .iter()
                .all(|fd| rustix::io::fcntl_getfd(fd).is_ok());
            return match is_open {
                true => Ok(()),
                false => io(Verb::Open, b"/dev/null", null.map(drop)),
            };
        };
        if null.as_raw_fd() > 2 {
            return Ok(());
        }
        let _ = null.into_raw_fd();
    }
}

/// The release of the running kernel (`uname -r`).
pub fn running_kernel() -> Text {
    keep(rustix::system::uname().release().to_bytes())
}
