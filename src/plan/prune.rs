//! What a prune will change, as data: made and checked for all kernels before the first is
//! touched, printed by `--dry-run`, consumed by the execution.

use crate::error::Result;
use crate::format::{decimal, fill, Text};
use crate::system::folder::Naming;
use crate::system::tree::{Branch, Leaf, Verdict};
use crate::system::Folder;

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
    /// All of its module files, with the verdict on each.
    pub tree: Branch,
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
    pub name: &'static [u8],
    /// How many bytes it has now.
    pub old_size: usize,
    /// What it will hold.
    pub content: Content,
}

/// The content of a new file.
pub enum Content {
    /// Slices of the old file.
    Parts(Vec<&'static [u8]>),
    /// Made anew.
    Bytes(Vec<u8>),
}

/// Modules and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many module files.
    pub modules: usize,
    /// Their bytes.
    pub bytes: usize,
}

impl Content {
    /// The bytes, in pieces.
    pub fn parts(&self) -> Vec<&[u8]> {
        match self {
            Content::Parts(parts) => parts.clone(),
            Content::Bytes(bytes) => vec![bytes],
        }
    }

    /// How many bytes.
    pub fn size(&self) -> usize {
        self.parts().iter().map(|part| part.len()).sum()
    }
}

impl Tally {
    fn add(&mut self, leaf: &Leaf) {
        self.modules += 1;
        self.bytes = self.bytes.saturating_add(leaf.size);
    }
}

impl Prune {
    /// What stays and what goes.
    pub fn tallies(&mut self) -> (Tally, Tally) {
        let (mut kept, mut removed) = (Tally::default(), Tally::default());
        self.tree.each_leaf(&mut |_, leaf| match leaf.verdict {
            Verdict::Keep => kept.add(leaf),
            Verdict::Delete => removed.add(leaf),
        });
        (kept, removed)
    }

    /// The directory that is pruned; what lies beside it is left alone.
    pub fn kernel_branch(&self) -> Option<&Branch> {
        self.tree
            .branches
            .iter()
            .find(|branch| branch.path == b"kernel")
    }

    /// Whether everything is done already.
    pub fn is_done(&self) -> bool {
        let has_work = self.kernel_branch().map_or(false, Branch::has_work);
        self.rewrites.is_empty() && !has_work && self.left == Left::Nothing
    }

    /// One step a line, sorted, then the totals.
    pub fn print(&mut self, out: &mut Vec<u8>) {
        let mut steps = Vec::new();
        if let Some(branch) = self.kernel_branch() {
            list_steps(&self.folder, branch, &mut steps);
        }
        for rewrite in &self.rewrites {
            let sizes = [rewrite.old_size, rewrite.content.size()];
            let sizes = sizes.map(decimal);
            let path = self.folder.shown(rewrite.name);
            steps.push(fill("write {} {} -> {}\n", &[&path, &sizes[0], &sizes[1]]));
        }
        steps.sort_unstable();
        out.extend(steps.concat());
        let (kept, removed) = self.tallies();
        let (mut before, mut after) = (0, 0);
        for rewrite in &self.rewrites {
            before += rewrite.old_size;
            after += rewrite.content.size();
        }
        for (what, modules, bytes) in [
            (&b"kept"[..], Some(kept.modules), kept.bytes),
            (b"removed", Some(removed.modules), removed.bytes),
            (b"indexes before", None, before),
            (b"indexes after", None, after),
        ] {
            out.extend_from_slice(&fill("total {} {}: ", &[&self.version, what]));
            if let Some(modules) = modules {
                out.extend_from_slice(&fill("{} modules, ", &[&decimal(modules)]));
            }
            out.extend_from_slice(&fill("{} bytes\n", &[&decimal(bytes)]));
        }
    }

    /// Carries the plan out: the new indexes first, durable before the first file goes, so that
    /// every index lists only what is there. Calls `tick` after each file.
    ///
    /// # Errors
    /// The first step that fails. The system works as it is then, and the same command finishes.
    pub fn execute(&self, tick: &mut dyn FnMut()) -> Result<()> {
        let Some(branch) = self.kernel_branch().filter(|_| !self.is_done()) else {
            return Ok(());
        };
        self.remove_leftovers()?;
        let parts: Vec<_> = self
            .rewrites
            .iter()
            .map(|rewrite| rewrite.content.parts())
            .collect();
        let names = self.rewrites.iter().map(|rewrite| rewrite.name);
        let files: Vec<_> = names.zip(parts.iter().map(|parts| &parts[..])).collect();
        let staged = self.folder.stage(Naming::Hidden, &files)?;
        if self.left != Left::Modules && branch.has_work() {
            if let Err(error) = self.folder.keep_as(b"modules.dep", UNFINISHED) {
                self.unmark_if_untouched();
                return Err(error);
            }
        }
        if let Err(error) = staged.commit() {
            self.unmark_if_untouched();
            return Err(error);
        }
        if let Some(inner) = self.folder.enter(b"kernel")? {
            branch.prune(&inner, tick)?;
        }
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
            if crate::system::folder::is_temporary(&entry.name) {
                self.folder.unlink(&entry.name)?;
            }
        }
        Ok(())
    }
}

fn list_steps(folder: &Folder, branch: &Branch, steps: &mut Vec<Text>) {
    for leaf in branch
        .leaves
        .iter()
        .filter(|leaf| leaf.verdict == Verdict::Delete)
    {
        let path = folder.shown(&branch.path_of(&leaf.name));
        steps.push(fill("delete {} {}\n", &[&path, &decimal(leaf.size)]));
    }
    for inner in &branch.branches {
        list_steps(folder, inner, steps);
        if inner.will_be_empty() {
            steps.push(fill("rmdir {}\n", &[&folder.shown(&inner.path)]));
        }
    }
}
