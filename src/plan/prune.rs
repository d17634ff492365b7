//! What a prune will change, as data: made and checked for all kernels before the first is
//! touched, printed by `--dry-run`, consumed by the execution.

use crate::error::Result;
use crate::format::{push_decimal, push_filled, Text};
use crate::system::folder::Naming;
use crate::system::tree::{Removal, Step, Tally};
use crate::system::Folder;
use crate::text::sort::sort;
use crate::text::split_at_byte;

/// Beside a modules.dep that lists only what stays, the one that listed what is still being
/// deleted. It is there while a prune is unfinished, and tells its leftovers from modules that
/// no depmod has seen yet.
pub const UNFINISHED: &[u8] = b".modules.dep.limopack-old";

/// The prune of one kernel.
pub struct Prune {
    /// The kernel's version.
    pub version: Text,
    /// Its directory, locked if the plan is to be carried out.
    pub folder: Folder,
    /// The module files that go.
    pub removal: Removal,
    /// The index files that change.
    pub rewrites: Vec<Rewrite>,
    /// What an earlier prune left behind.
    pub left: Left,
}

/// What an earlier prune left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing: there was none, or it finished.
    Nothing,
    /// Its mark alone.
    Mark,
    /// Modules that it was about to delete, which only the mark tells from new ones.
    Modules,
}

/// An index file that changes.
pub struct Rewrite {
    /// Its name.
    pub name: Text,
    /// How many bytes it has now.
    pub old_size: usize,
    /// What it will hold: slices of the old file, or all of it made anew.
    pub parts: Vec<Text>,
}

impl Rewrite {
    /// How many bytes it will have.
    pub fn size(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }
}

impl Prune {
    /// Whether everything is done already.
    pub fn is_done(&self) -> bool {
        self.rewrites.is_empty() && !self.removal.has_work() && self.left == Left::Nothing
    }

    /// One step a line, sorted, then the totals.
    pub fn print(&self, out: &mut Vec<u8>) {
        self.print_steps(out);
        let Tally { modules, bytes } = self.removal.kept;
        self.print_total(out, b"kept", Some(modules), bytes);
        let Tally { modules, bytes } = self.removal.removed;
        self.print_total(out, b"removed", Some(modules), bytes);
        let before = self.rewrites.iter().map(|rewrite| rewrite.old_size).sum();
        self.print_total(out, b"indexes before", None, before);
        let after = self.rewrites.iter().map(Rewrite::size).sum();
        self.print_total(out, b"indexes after", None, after);
    }

    fn print_total(&self, out: &mut Vec<u8>, what: &[u8], modules: Option<usize>, bytes: usize) {
        push_filled(out, "total {} {}: ", &[self.version, what]);
        if let Some(modules) = modules {
            push_decimal(out, modules);
            out.extend_from_slice(b" modules, ");
        }
        push_decimal(out, bytes);
        out.extend_from_slice(b" bytes\n");
    }

    fn print_steps(&self, out: &mut Vec<u8>) {
        // Each with a newline, and a zero byte to be sorted by, which no path can hold.
        let (mut lines, mut starts) = (Vec::new(), Vec::new());
        let shown = self.folder.shown(b"");
        self.removal.each_step(&mut |step| {
            starts.push(lines.len() as u32);
            match step {
                Step::Delete(directory, name, size) => {
                    push_filled(&mut lines, "delete {}{}/{} ", &[shown, directory, name]);
                    push_decimal(&mut lines, size);
                }
                Step::RemoveDirectory(path) => {
                    push_filled(&mut lines, "rmdir {}{}", &[shown, path]);
                }
            }
            lines.extend_from_slice(b"\n\0");
        });
        for rewrite in &self.rewrites {
            starts.push(lines.len() as u32);
            push_filled(&mut lines, "write {}{} ", &[shown, rewrite.name]);
            push_decimal(&mut lines, rewrite.old_size);
            lines.extend_from_slice(b" -> ");
            push_decimal(&mut lines, rewrite.size());
            lines.extend_from_slice(b"\n\0");
        }
        sort(&lines, &mut starts);
        out.reserve(lines.len());
        for start in starts {
            out.extend_from_slice(split_at_byte(&lines[start as usize..], 0).0);
        }
    }

    /// Carries the plan out: the new indexes first, durable before the first file goes, so that
    /// every index lists only what is there. Calls `tick` after each file.
    ///
    /// # Errors
    /// The first step that fails. The system works as it is then, and the same command finishes.
    pub fn execute(&self, tick: &mut dyn FnMut()) -> Result<()> {
        if !self.removal.has_place() || self.is_done() {
            return Ok(());
        }
        self.remove_leftovers()?;
        let files = self.rewrites.iter();
        let files: Vec<_> = files.map(|file| (file.name, &file.parts[..])).collect();
        let staged = self.folder.stage(Naming::Hidden, &files)?;
        if self.left != Left::Modules && self.removal.has_work() {
            if let Err(error) = self.folder.keep_as(b"modules.dep", UNFINISHED) {
                self.unmark_if_untouched();
                return Err(error);
            }
        }
        if let Err(error) = staged.commit() {
            self.unmark_if_untouched();
            return Err(error);
        }
        self.removal.carry_out(&self.folder, tick)?;
        self.folder.unlink(UNFINISHED)?;
        self.folder.sync()
    }

    /// Takes the mark back if modules.dep is what it was.
    fn unmark_if_untouched(&self) {
        let text = |name: &[u8]| self.folder.text(name).ok().flatten();
        if text(b"modules.dep") == text(UNFINISHED) {
            let _ = self.folder.unlink(UNFINISHED);
        }
    }

    /// Removes what a killed run was writing; our lock says that nobody writes now.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove_leftovers(&self) -> Result<()> {
        for entry in self.folder.entries()? {
            if crate::system::folder::is_temporary(entry.name) {
                self.folder.unlink(entry.name)?;
            }
        }
        Ok(())
    }
}
