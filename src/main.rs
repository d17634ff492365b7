//! limopack: argv in, exit code out. The only place that exits.
//!
//! The C library calls `main` directly. Rust's own start would look at three descriptors, read
//! /proc/self/maps, install a stack for a signal handler and ignore SIGPIPE: twenty system calls,
//! and a closed pipe would no longer end us quietly, as it ends every other tool.
#![cfg_attr(not(test), no_main)]

#[cfg(not(test))]
use core::ffi::{c_char, c_int};

/// One thread and one job: see the module.
#[cfg(not(test))]
#[global_allocator]
static HEAP: &limopack::system::heap::Heap = &limopack::system::heap::HEAP;

/// Where the C library starts the program.
#[cfg(not(test))]
#[allow(unsafe_code)] // for no_mangle
#[no_mangle]
extern "C" fn main(_: c_int, argv: *const *const c_char) -> c_int {
    // SAFETY: the C library calls this once, with its own argv.
    let words = unsafe { limopack::system::arguments(argv) };
    limopack::actions::run(words).into()
}
