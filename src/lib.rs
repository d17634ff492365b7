//! limopack keeps only the kernel modules that a machine needs.
//!
//! The parts, each importing only those below it:
//!
//! - [`cli`]: one table of flags; the parser, the help and the manual come from it
//! - [`actions`]: what each action does, built from the parts below
//! - [`package`]: forgetting packages, so that dpkg, apt and opkg stay sound
//! - [`plan`]: what a prune will change, as data
//! - [`needs`]: which modules are needed, and why
//! - [`index`]: depmod's binary files
//! - [`text`]: views over borrowed bytes of every text format; no I/O
//! - [`system`]: the only part that touches the machine
//! - [`error`]: what can go wrong, said once
//! - [`mod@format`]: texts made of bytes; [`template`]: how messages are stored
//!
//! Unsafe code is in [`system`], and in [`template`] for one pointer.
#![deny(unsafe_code)]

#[macro_use]
pub mod template;
pub mod actions;
pub mod cli;
pub mod error;
pub mod format;
pub mod index;
pub mod needs;
pub mod package;
pub mod plan;
pub mod system;
pub mod text;
