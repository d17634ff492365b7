//! The module files below a version directory: found without following a link or leaving the
//! file system, and deleted by the descriptors of the directories that they are in.

use crate::error::{Error, Result};
use crate::format::{fill, Text};
use crate::system::Folder;
use crate::text::name::is_module_file;
use rustix::fs::FileType;

/// As deep as we go; Linux's own tree has eight levels.
const DEEPEST: usize = 48;

/// What is to become of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stays.
    Keep,
    /// It goes.
    Delete,
}

/// A module file.
pub struct Leaf {
    /// Its name in its directory.
    pub name: Text,
    /// Its size in bytes.
    pub size: usize,
    /// A file, or a symbolic link.
    pub kind: LeafKind,
    /// What is to become of it.
    pub verdict: Verdict,
}

/// What a module's name in a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeafKind {
    /// The file.
    File,
    /// A symbolic link to it, perhaps.
    Link,
}

/// A directory with the module files in it and below.
pub struct Branch {
    /// Its path relative to the version directory; empty for that itself.
    pub path: Text,
    /// The module files in it, sorted.
    pub leaves: Vec<Leaf>,
    /// The directories in it, sorted.
    pub branches: Vec<Branch>,
    /// Whether it holds anything else, which keeps it from being removed.
    has_others: bool,
}

impl Branch {
    /// Finds the module files in a directory and below. Directories that belong to another
    /// mount are left alone and told to `warn`.
    ///
    /// # Errors
    /// A directory that cannot be read, or one of absurd depth.
    pub fn grow(folder: &Folder, path: Text, warn: &mut dyn FnMut(&[u8])) -> Result<Branch> {
        let mut branch = Branch {
            path,
            leaves: Vec::new(),
            branches: Vec::new(),
            has_others: false,
        };
        let depth = branch.path.iter().filter(|&&byte| byte == b'/').count();
        if depth >= DEEPEST {
            return Err(Error::refused(
                "{} is too deep a directory",
                &[&folder.shown(b"")],
            ));
        }
        for entry in folder.entries()? {
            match entry.kind {
                FileType::Directory => {
                    let path = branch.path_of(&entry.name);
                    match folder.enter(&entry.name)? {
                        Some(inner) => branch.branches.push(Branch::grow(&inner, path, warn)?),
                        None => {
                            warn(&folder.shown(&entry.name));
                            branch.has_others = true;
                        }
                    }
                }
                FileType::RegularFile | FileType::Symlink if is_module_file(&entry.name) => {
                    branch.leaves.push(Leaf {
                        size: folder.size(&entry.name)?,
                        name: entry.name,
                        kind: match entry.kind {
                            FileType::Symlink => LeafKind::Link,
                            _ => LeafKind::File,
                        },
                        verdict: Verdict::Keep,
                    });
                }
                _ => branch.has_others = true,
            }
        }
        Ok(branch)
    }

    /// The path of something in this directory, relative to the version directory.
    pub fn path_of(&self, name: Text) -> Text {
        match self.path.is_empty() {
            true => name,
            false => fill("{}/{}", &[&self.path, name]),
        }
    }

    /// The name of the directory itself.
    pub fn name(&self) -> &[u8] {
        let slash = memchr::memrchr(b'/', &self.path).map_or(0, |slash| slash + 1);
        &self.path[slash..]
    }

    /// Calls `see` for every module file, with the directory that it is in.
    ///
    /// # Errors
    /// What `see` gives.
    pub fn each_leaf(&mut self, see: &mut dyn FnMut(&[u8], &mut Leaf)) {
        for leaf in &mut self.leaves {
            see(&self.path, leaf);
        }
        for branch in &mut self.branches {
            branch.each_leaf(see);
        }
    }

    /// Whether nothing is left in the directory when the files have gone that are to go.
    pub fn will_be_empty(&self) -> bool {
        !self.has_others
            && self
                .leaves
                .iter()
                .all(|leaf| leaf.verdict == Verdict::Delete)
            && self.branches.iter().all(Branch::will_be_empty)
    }

    /// Whether there is anything to delete here or below.
    pub fn has_work(&self) -> bool {
        self.leaves
            .iter()
            .any(|leaf| leaf.verdict == Verdict::Delete)
            || self
                .branches
                .iter()
                .any(|branch| branch.will_be_empty() || branch.has_work())
    }

    /// Deletes what is to go in `folder`, which this branch was grown from, and below, and then
    /// the directories that are empty by that; `tick` is called after each file.
    ///
    /// # Errors
    /// The first file or directory that cannot be removed. Everything before it is gone, and
    /// the same call finishes the work.
    pub fn prune(&self, folder: &Folder, tick: &mut dyn FnMut()) -> Result<()> {
        for leaf in self
            .leaves
            .iter()
            .filter(|leaf| leaf.verdict == Verdict::Delete)
        {
            folder.unlink(&leaf.name)?;
            tick();
        }
        for branch in self.branches.iter() {
            if branch.has_work() {
                if let Some(inner) = folder.enter(branch.name())? {
                    branch.prune(&inner, tick)?;
                }
            }
            if branch.will_be_empty() {
                folder.remove_empty(branch.name())?;
            }
        }
        Ok(())
    }
}
