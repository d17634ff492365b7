//! Another program of the system, asked for what limopack does not read itself.

use crate::error::{Called, Errno, Result, Verb};
use crate::format::{render, Text};
use crate::system::{c_string, io, mapped, retry, variable, Folder};
use core::ffi::{c_char, c_int, c_long};
use core::ptr::null;
use rustix::fd::{AsFd, OwnedFd};
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, WaitOptions};

/// Where programs are looked for if `$PATH` does not say it.
const PLACES: &[u8] = b"/usr/sbin:/usr/bin:/sbin:/bin";

/// What a child ends with that could not become the program, as a shell's would.
const NOT_FOUND: c_int = 127;

/// What the parent of a process gets when that ends. (The same on all that we build for.)
const SIGCHLD: c_long = 17;

/// The number of the system call that makes a process. (linux: arch/*/include/uapi/asm/unistd.h)
const CLONE: c_long = match () {
    _ if cfg!(target_arch = "x86_64") => 56,
    _ if cfg!(any(target_arch = "x86", target_arch = "arm")) => 120,
    _ => 220,
};

// (Rejected: std's `Command`, 42 KB of program on x86-64; the C library's fork, which takes every lock
// that a thread could hold, 2 KB on ARMv7.)
extern "C" {
    static environ: *const *const c_char;
    fn __errno_location() -> *const c_int;
    fn syscall(number: c_long, ...) -> c_long;
    fn execve(
        file: *const c_char,
        words: *const *const c_char,
        variables: *const *const c_char,
    ) -> c_int;
    fn _exit(code: c_int) -> !;
}

/// What a program prints that is run in a directory; nothing if it ended with an error, of which it has
/// told on standard error.
///
/// # Errors
/// There is no such program, or it cannot be run.
pub fn output(folder: &Folder, program: Text, arguments: &[Text]) -> Result<Text> {
    io(Verb::Run, program, run(folder, program, arguments))
}

#[allow(unsafe_code)]
fn run(folder: &Folder, program: Text, arguments: &[Text]) -> Called<Text> {
    let mut words = Vec::with_capacity(arguments.len() + 2);
    words.push(c_string(program)?.as_ptr());
    for argument in arguments {
        words.push(c_string(argument)?.as_ptr());
    }
    words.push(null());
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    // SAFETY: as fork does it, with a copy of the memory; there is one thread.
    let child = unsafe { syscall(CLONE, SIGCHLD, 0, 0, 0, 0) };
    if child == 0 {
        let _ = become_program(folder, &writer, program, &words);
        // SAFETY: it ends the child.
        unsafe { _exit(NOT_FOUND) }
    }
    drop(writer);
    let Some(child) = Pid::from_raw(child.max(0) as i32) else {
        // SAFETY: it is the number of the call before.
        return Err(Errno::of(unsafe { *__errno_location() }));
    };
    let mut text = Vec::new();
    mapped::read_to_end(reader.as_fd(), &mut text)?;
    let waited = retry(|| rustix::process::waitpid(Some(child), WaitOptions::empty()))?;
    match waited.map(|(_, status)| status.as_raw()) {
        Some(0) => Ok(text.leak()),
        Some(status) if status == NOT_FOUND << 8 => Err(Errno::NOENT),
        _ => Ok(b""),
    }
}

/// Runs the program in place of this one; returns only if that fails.
#[allow(unsafe_code)]
fn become_program(
    folder: &Folder,
    output: &OwnedFd,
    program: Text,
    words: &[*const c_char],
) -> Called<()> {
    rustix::stdio::dup2_stdout(output)?;
    rustix::process::fchdir(folder.fd())?;
    let places = variable("PATH").unwrap_or(PLACES);
    for place in places.split(|&byte| byte == b':') {
        let file = c_string(render(msg!("{}/{}"), &[place, program]))?;
        // SAFETY: the texts end with a zero byte, and both lists with a null pointer.
        unsafe { execve(file.as_ptr(), words.as_ptr(), environ) };
    }
    Ok(())
}
