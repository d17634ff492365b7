//! The command line: one table of flags, from which parsing, help, man page and completions come.

pub mod arguments;
pub mod flags;
pub mod help;
pub mod parse;

pub use parse::{parse, Action, Parsed, Request};
