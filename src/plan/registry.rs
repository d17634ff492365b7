//! The registries of one call, as they will be.

use crate::error::{Answer, Result};
use crate::format::{join, new_list, push_rendered, Text};
use crate::needs::registry;
use crate::system::{Folder, Report};
use crate::text::active::{Registry, ACTIVE};
use crate::text::{bare_lines, sort_once};

/// The registry of one kernel; its directory is locked if the change is to be made.
pub struct Change {
    /// The kernel's version.
    pub version: Text,
    /// Its directory.
    pub folder: Box<Folder>,
    /// The registry as it will be.
    pub registry: &'static mut Registry,
}

impl Change {
    /// The lines that go and come, as in a diff.
    pub fn describe(&self, out: &mut Vec<u8>) {
        let (file, new) = (self.folder.shown(ACTIVE), self.registry.to_text());
        let mut describe = |sign, text, other| {
            let others = new_list();
            for line in bare_lines(other) {
                others.push(line);
            }
            sort_once(others);
            for line in bare_lines(text) {
                if others.binary_search(&line).is_err() {
                    push_rendered(out, b"{}: {}{}\n", &[file, sign, line]);
                }
            }
        };
        describe(b"-", self.registry.old, new);
        describe(b"+", new, self.registry.old);
    }
}

/// Writes the registries that change, one kernel after the other.
///
/// # Errors
/// The first that cannot be written; those before it are, and are named.
pub fn execute(changes: Vec<Change>, report: &Report) -> Result<()> {
    let mut done: Vec<Text> = Vec::new();
    for change in changes {
        match registry::write(&change.folder, change.registry) {
            Ok(Answer::No) => {}
            Ok(Answer::Yes) => {
                report.debug(msg!("wrote {}"), &[change.folder.shown(ACTIVE)]);
                done.push(change.version);
            }
            Err(error) => {
                if !done.is_empty() {
                    report.warn(msg!("changed before this failed: {}"), &[join(&done, ", ")]);
                }
                return Err(error);
            }
        }
    }
    Ok(())
}
