//! What every action of a call works with.

use crate::system::{Report, Root};

/// The root, and where messages go.
pub struct Session {
    /// Where the machine's files are.
    pub root: Root,
    /// Where messages go.
    pub report: Report,
    /// Whether the user named the root, so that nothing of the environment is about it.
    pub has_named_root: bool,
}
