//! What a prune or a restore will change, as data: made and checked for all kernels before the first
//! is touched, printed by `--dry-run`, consumed by the execution.

use crate::error::Result;
use crate::format::{decimal, join, new_list, push_rendered, render, List, Text};
use crate::needs::firmware;
use crate::needs::kernel::directory;
use crate::needs::survey::{Leftover, UNFINISHED};
use crate::plan::indexes::Rewrite;
use crate::plan::park::Park;
use crate::system::folder::Naming;
use crate::system::tree::{Removal, Step, Tally};
use crate::system::Folder;

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

/// What becomes of one kernel's modules, or of the firmware.
pub struct Plan<'r> {
    /// What becomes of the modules.
    pub goal: Goal,
    /// The park of the kernel, or of the firmware.
    pub park: &'r Park<'r>,
    /// Its directory, for a restore.
    pub from: Option<Box<Folder>>,
    /// What was parked before and is deleted.
    pub freed: Option<Tally>,
    /// Its directory, locked if the plan is to be carried out.
    pub folder: Box<Folder>,
    /// The files that go.
    pub removal: Box<Removal>,
    /// The index files that change.
    pub rewrites: List<Rewrite>,
    /// What an earlier prune did not finish.
    pub left: Leftover,
}

impl Plan<'_> {
    /// What it is about, for messages.
    pub fn subject(&self) -> Text {
        match self.park.is_of_firmware() {
            true => self.park.version,
            false => render(msg!("kernel {}"), &[self.park.version]),
        }
    }

    /// Its directory, relative to the root.
    pub fn place(&self) -> Text {
        match self.park.is_of_firmware() {
            true => firmware::PLACE,
            false => directory(self.park.version),
        }
    }

    /// What goes and stays.
    pub fn files_word(&self) -> &'static [u8] {
        match self.park.is_of_firmware() {
            true => b"files",
            false => b"modules",
        }
    }

    /// Whether everything is done already.
    pub fn is_done(&self) -> bool {
        let is_pruned = self.rewrites.is_empty() && !self.removal.has_work();
        is_pruned && self.left == Leftover::Nothing && self.freed.is_none()
    }

    /// One step per line, sorted, then the totals.
    pub fn describe(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(join(self.steps(), ""));
        let [_, done] = self.goal.words();
        self.print_total(out, b"kept", &self.removal.kept);
        self.print_total(out, done, &self.removal.removed);
        if let Some(freed) = &self.freed {
            self.print_total(out, b"removed from the park", freed);
        }
        if self.park.is_of_firmware() {
            return;
        }
        let (mut before, mut after) = (0, 0);
        for rewrite in self.rewrites {
            before += rewrite.old_size;
            after += rewrite.size();
        }
        let version = self.park.version;
        let what = msg!("total {} indexes before: {} bytes\ntotal {} indexes after: {} bytes\n");
        let parts = [version, decimal(before), version, decimal(after)];
        out.extend_from_slice(render(what, &parts));
    }

    fn print_total(&self, out: &mut Vec<u8>, what: &[u8], tally: &Tally) {
        let tally = tally.to_text(self.files_word());
        push_rendered(out, b"total {} {}: {}\n", &[self.park.version, what, tally]);
    }

    /// A line for each step, sorted.
    fn steps(&self) -> List<Text> {
        let lines: &mut Vec<Text> = new_list();
        let shown = self.folder.shown(b"");
        let [verb, _] = self.goal.words();
        self.removal.each_step(&mut |step| match step {
            Step::Delete(path, size) => {
                let parts = [verb, shown, path, decimal(size)];
                lines.push(render(msg!("{} {}{} {}\n"), &parts));
            }
            // Those of the park go with it.
            Step::RemoveDirectory(_) if self.goal == Goal::Restore => {}
            Step::RemoveDirectory(path) => {
                lines.push(render(msg!("rmdir {}{}\n"), &[shown, path]));
            }
        });
        for rewrite in self.rewrites {
            lines.push(rewrite.describe(shown));
        }
        lines.sort_unstable();
        lines
    }

    /// Carries the plan out. Modules go after the new indexes are durable, and come before they are, so
    /// that every index lists only what is there. Calls `tick` after each file.
    ///
    /// # Errors
    /// The first step that fails. The system works as it is then, and the same command finishes.
    pub fn execute(&self, tick: &mut dyn FnMut()) -> Result<()> {
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
