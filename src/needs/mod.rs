//! Which modules are needed, and why.

pub mod boot;
pub mod census;
pub mod closure;
pub mod facts;
pub mod firmware;
pub mod groups;
pub mod hidden;
pub mod kernel;
pub mod patterns;
pub mod registry;
pub mod rules;
pub mod sources;
pub mod survey;
pub mod tree;

pub use closure::{Closure, Why};
pub use kernel::Kernel;
pub use rules::Need;
