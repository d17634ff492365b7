//! The registries of one call, as they will be.

use crate::error::Result;
use crate::format::{push_filled, Text};
use crate::system::{Folder, Report};
use crate::text::active::{Registry, ACTIVE};
use crate::text::lines;

/// The registry of one kernel; its directory is locked if the change is to be made.
pub struct Change {
    version: Text,
    folder: Folder,
    old: Text,
    new: Vec<u8>,
}

impl Change {
    /// What `registry` changes in the file that it was read from.
    pub fn new(version: Text, folder: Folder, old: Text, registry: &Registry<'_>) -> Change {
        let new = registry.to_text();
        Change {
            version,
            folder,
            old,
            new,
        }
    }

    /// The lines that go and come, as in a diff.
    pub fn describe(&self, out: &mut Vec<u8>) {
        let file = self.folder.shown(ACTIVE);
        for (sign, text, other) in [(b"-", self.old, &self.new[..]), (b"+", &self.new, self.old)] {
            let mut others: Vec<&[u8]> = lines(other).map(|line| line.1).collect();
            others.sort_unstable();
            for (_, line) in lines(text) {
                if others.binary_search(&line).is_err() {
                    push_filled(out, "{}: {}{}\n", &[file, sign, line]);
                }
            }
        }
    }
}

/// Writes the registries that change, one kernel after the other.
///
/// # Errors
/// The first that cannot be written; those before it are, and are named.
pub fn execute(changes: Vec<Change>, report: &Report) -> Result<()> {
    let mut done: Vec<Text> = Vec::new();
    for change in changes {
        if change.new == change.old {
            continue;
        }
        if let Err(error) = change.folder.replace(ACTIVE, &change.new) {
            if !done.is_empty() {
                report.warn("changed before this failed: {}", &[&done.join(&b", "[..])]);
            }
            return Err(error);
        }
        report.debug("wrote {}", &[change.folder.shown(ACTIVE)]);
        done.push(change.version);
    }
    Ok(())
}
