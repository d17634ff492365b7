//! What a prune or a restore will change, as data: made and checked for all kernels before the first
//! is touched, printed by `--dry-run`, consumed by the execution.

use crate::error::Result;
use crate::format::{push_decimal, push_rendered, List, Text};
use crate::needs::survey::{Leftover, UNFINISHED};
use crate::plan::indexes::Rewrite;
use crate::plan::park::Park;
use crate::system::folder::Naming;
use crate::system::tree::{Removal, Step, Tally};
use crate::system::Folder;
use crate::text::sort::sort;
use crate::text::split_at_byte;

/// What becomes of the modules that go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// They are deleted, and so are those that were parked before.
    Delete,
    /// They are parked.
    Park,
    /// They are parked, and come back.
    Restore,
}

impl Goal {
    /// The words for what is done with a module, and for what was done.
    pub fn words(self) -> [&'static [u8]; 2] {
        match self {
            Goal::Delete => [b"delete", b"removed"],
            Goal::Park => [b"park", b"parked"],
            Goal::Restore => [b"restore", b"restored"],
        }
    }
}

/// What becomes of one kernel's modules.
pub struct Plan<'r> {
    /// The kernel's version.
    pub version: Text,
    /// What becomes of the modules.
    pub goal: Goal,
    /// The kernel's park.
    pub park: Park<'r>,
    /// Its directory, for a restore.
    pub from: Option<Box<Folder>>,
    /// What was parked before and is deleted.
    pub freed: Option<Tally>,
    /// Its directory, locked if the plan is to be carried out.
    pub folder: Box<Folder>,
    /// The module files that go.
    pub removal: Box<Removal>,
    /// The index files that change.
    pub rewrites: List<Rewrite>,
    /// What an earlier prune did not finish.
    pub left: Leftover,
}

impl Plan<'_> {
    /// Whether everything is done already.
    pub fn is_done(&self) -> bool {
        let is_pruned = self.rewrites.is_empty() && !self.removal.has_work();
        is_pruned && self.left == Leftover::Nothing && self.freed.is_none()
    }

    /// One step per line, sorted, then the totals.
    pub fn describe(&self, out: &mut Vec<u8>) {
        self.print_steps(out);
        let Tally { modules, bytes } = self.removal.kept;
        self.print_total(out, b"kept", Some(modules), bytes);
        let Tally { modules, bytes } = self.removal.removed;
        let [_, done] = self.goal.words();
        self.print_total(out, done, Some(modules), bytes);
        if let Some(Tally { modules, bytes }) = self.freed {
            self.print_total(out, b"removed from the park", Some(modules), bytes);
        }
        let before = self.rewrites.iter().map(|rewrite| rewrite.old_size).sum();
        self.print_total(out, b"indexes before", None, before);
        let after = self.rewrites.iter().map(Rewrite::size).sum();
        self.print_total(out, b"indexes after", None, after);
    }

    fn print_total(&self, out: &mut Vec<u8>, what: &[u8], modules: Option<usize>, bytes: usize) {
        push_rendered(out, b"total {} {}: ", &[self.version, what]);
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
        let [verb, _] = self.goal.words();
        self.removal.each_step(&mut |step| {
            let start = lines.len() as u32;
            match step {
                Step::Delete(directory, name, size) => {
                    push_rendered(&mut lines, b"{} {}{}/{} ", &[verb, shown, directory, name]);
                    push_decimal(&mut lines, size);
                }
                // Those of the park go with it.
                Step::RemoveDirectory(_) if self.goal == Goal::Restore => return,
                Step::RemoveDirectory(path) => {
                    push_rendered(&mut lines, b"rmdir {}{}", &[shown, path]);
                }
            }
            starts.push(start);
            lines.extend_from_slice(b"\n\0");
        });
        for rewrite in self.rewrites {
            starts.push(lines.len() as u32);
            rewrite.describe(shown, &mut lines);
            lines.extend_from_slice(b"\n\0");
        }
        sort(&lines, &mut starts);
        out.reserve(lines.len());
        for start in starts {
            out.extend_from_slice(split_at_byte(&lines[start as usize..], 0).0);
        }
    }

    /// Carries the plan out. Modules go after the new indexes are durable, and come before they are, so
    /// that every index lists only what is there. Calls `tick` after each file.
    ///
    /// # Errors
    /// The first step that fails. The system works as it is then, and the same command finishes.
    pub fn execute(&self, tick: &mut dyn FnMut()) -> Result<()> {
        if self.is_done() {
            return Ok(());
        }
        self.remove_leftovers()?;
        if let Some(from) = &self.from {
            self.removal.execute(from, Some(&self.folder), tick)?;
            self.folder.sync_file_system()?;
            let files = self.files();
            self.folder.replace_all(&files)?;
        } else if self.removal.has_place() {
            self.take_away(tick)?;
        }
        if self.freed.is_some() && self.goal != Goal::Park {
            self.park.discard()?;
        }
        // What is recorded as gone has to be gone after a power cut, too.
        self.folder.sync_file_system()?;
        self.folder.unlink(UNFINISHED)?;
        self.folder.sync()
    }

    fn files(&self) -> Vec<(Text, &[Text])> {
        let files = self.rewrites.iter();
        files.map(|file| (file.name, file.parts)).collect()
    }

    fn take_away(&self, tick: &mut dyn FnMut()) -> Result<()> {
        let park = match self.goal {
            Goal::Park if self.removal.has_work() => Some(self.park.prepare(&self.folder)?),
            _ => None,
        };
        let staged = self.folder.stage(Naming::Hidden, &self.files())?;
        if self.left != Leftover::Modules && self.removal.has_work() {
            let kept = self
                .folder
                .keep_from(&self.folder, b"modules.dep", UNFINISHED);
            if let Err(error) = kept.and_then(|()| self.folder.sync()) {
                self.unmark_if_untouched();
                return Err(error);
            }
        }
        if let Err(error) = staged.commit() {
            self.unmark_if_untouched();
            return Err(error);
        }
        self.removal.execute(&self.folder, park.as_deref(), tick)
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
