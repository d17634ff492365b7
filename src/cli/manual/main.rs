//! Writes the manual pages and the completions, from the program's own table of flags:
//! `cargo run --example manual -- limopack.8`, to standard output.
//!
//! It is no part of the program, and `make` builds it for `make manual` alone.

pub mod completions;
pub mod page;
pub mod texts;

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let text = match wanted.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["limopack.8"] => page::reference(),
        ["limopack-integration.7"] => page::integration(),
        ["limopack.bash"] => completions::bash(),
        ["limopack.zsh"] => completions::zsh(),
        ["limopack.fish"] => completions::fish(),
        _ => {
            eprintln!("usage: manual limopack.8|limopack-integration.7|limopack.bash|.zsh|.fish");
            return ExitCode::from(2);
        }
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("manual: cannot write: {error}");
            ExitCode::FAILURE
        }
    }
}
