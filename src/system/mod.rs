//! The only part that touches the machine, and the only one with unsafe code.

pub mod folder;
pub mod heap;
pub mod lock;
pub mod mapped;
pub mod report;
pub mod root;
#[cfg(test)]
pub(crate) mod scratch;
pub mod tree;

pub use folder::Folder;
pub use report::Report;
pub use root::Root;

use crate::error::{Error, Result};
use rustix::io::Errno;

/// Adds verb and path to a system call's error; EINTR is the caller's to repeat.
pub(crate) fn io<T>(verb: &'static str, path: &[u8], result: rustix::io::Result<T>) -> Result<T> {
    result.map_err(|errno| Error::io(verb, path, errno))
}

/// Repeats a call that a signal interrupted.
pub(crate) fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

/// Whether a call failed because there is nothing of that name.
pub(crate) fn is_missing(errno: Errno) -> bool {
    errno == Errno::NOENT || errno == Errno::NOTDIR
}

/// The words behind the program's name, as the C library hands them to `main`.
///
/// # Safety
/// `argv` holds `argc` pointers to strings that live as long as the process.
#[allow(unsafe_code)]
pub unsafe fn arguments(
    argc: core::ffi::c_int,
    argv: *const *const core::ffi::c_char,
) -> Vec<std::ffi::OsString> {
    use std::os::unix::ffi::OsStringExt;
    let words = 1..usize::try_from(argc).unwrap_or(0);
    let word = |at| {
        // SAFETY: `at` is below argc, and the caller vouches for the rest.
        let word = unsafe { core::ffi::CStr::from_ptr(*argv.add(at)) };
        std::ffi::OsString::from_vec(word.to_bytes().to_vec())
    };
    words.map(word).collect()
}

/// Opens /dev/null for each of the three standard descriptors that our caller closed. Without
/// that a file that we write could get their number, and a message would end up in it.
///
/// # Errors
/// One is closed and there is no /dev/null.
pub fn fill_standard_descriptors() -> Result<()> {
    use rustix::fd::{AsRawFd, IntoRawFd};
    use rustix::fs::{Mode, OFlags};
    loop {
        let null = retry(|| rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()));
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
                false => io("open", b"/dev/null", null.map(drop)),
            };
        };
        if null.as_raw_fd() > 2 {
            return Ok(());
        }
        let _ = null.into_raw_fd();
    }
}

/// The release of the running kernel (`uname -r`).
pub fn running_kernel() -> Vec<u8> {
    rustix::system::uname().release().to_bytes().to_vec()
}

/// A variable of the environment; an empty one counts as unset.
pub fn variable(name: &str) -> Option<Vec<u8>> {
    use std::os::unix::ffi::OsStringExt;
    std::env::var_os(name)
        .map(OsStringExt::into_vec)
        .filter(|value| !value.is_empty())
}
