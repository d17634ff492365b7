//! The registries of one call, as they will be.

use crate::error::Result;
use crate::format::{join, push_rendered, Text};
use crate::system::{Folder, Report};
use crate::text::active::{Registry, ACTIVE};
use crate::text::{lines, sort_once};

/// The registry of one kernel; its directory is locked if the change is to be made.
pub struct Change {
    /// The kernel's version.
    pub version: Text,
    /// Its directory.
    pub folder: Box<Folder>,
    /// The file as it is.
    pub old: Text,
    /// The registry as it will be.
    pub registry: &'static mut Registry,
}

impl Change {
    /// The lines that go and come, as in a diff.
    pub fn describe(&self, out: &mut Vec<u8>) {
        let (file, new) = (self.folder.shown(ACTIVE), self.registry.to_text());
        for (sign, text, other) in [(b"-", self.old, new), (b"+", new, self.old)] {
            let mut others = Vec::new();
            for (_, line) in lines(other) {
                others.push(line);
            }
            sort_once(&mut others);
            for (_, line) in lines(text) {
                if others.binary_search(&line).is_err() {
                    push_rendered(out, b"{}: {}{}\n", &[file, sign, line]);
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
        let new = change.registry.to_text();
        if new == change.old {
            continue;
        }
        if let Err(error) = change.folder.replace(ACTIVE, new) {
            if !done.is_empty() {
                report.warn(msg!("changed before this failed: {}"), &[join(&done, ", ")]);
            }
            return Err(error);
        }
        report.debug(msg!("wrote {}"), &[change.folder.shown(ACTIVE)]);
        done.push(change.version);
    }
    Ok(())
}
