//! Which modules are needed, and why.

pub mod closure;
pub mod kernel;
pub mod tree;

pub use closure::{Closure, Why};
pub use kernel::Kernel;
