//! The module files below a version directory: found without following a link or leaving the
//! file system, and deleted, or moved into another tree, by the descriptors of the directories that
//! they are in.
//!
//! What is to go is data, made for all of a kernel before the first file goes. Each directory is
//! opened anew for it: what was moved or covered meanwhile is not ours any more. (Rejected: to keep
//! the descriptors of the first look; it saves one of eighty milliseconds.)

use crate::error::{Errno, Error, Result, Verb};
use crate::format::{decimal, keep, new_list, render, Text};
use crate::system::folder::{
    enter_in, make_in, move_file_in, remove_empty_in, remove_file_in, stat_if_there,
};
use crate::system::listing::{c_text, Listing};
use crate::system::{Folder, Report, Stat};
use crate::text::name::is_module_file;
use crate::text::{rfind, sort_once};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::FileType;

/// As deep as we go; Linux's own tree has eight levels.
const DEEPEST: usize = 48;

/// The one directory from which anything is deleted; what lies beside it is left alone.
const PRUNED: &[u8] = b"kernel";

/// What lies there is no module of the kernel: its headers, or links to them. depmod skips both.
/// (kmod: tools/depmod.c, `depmod_modules_search_dir`)
const HEADERS: [&[u8]; 2] = [b"build", b"source"];

/// Where a walk looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everywhere.
    All,
    /// Everywhere but below `kernel`.
    Outside,
    /// Everywhere, and every file: no directory of a kernel, but one of firmware or of a board's tree.
    AnyFile,
}

/// What is to become of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays.
    Stays,
    /// It goes, if it lies below `kernel`.
    Goes,
}

/// Whether the sizes of files are wanted: each costs a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// They are.
    Wanted,
    /// They are not, and all are 0.
    Unwanted,
}

/// A module file.
pub struct Leaf<'w> {
    /// The directory, relative to the version directory; empty for that itself.
    pub directory: &'w [u8],
    /// Its name there.
    pub name: &'w [u8],
    /// Its size in bytes.
    pub size: usize,
    /// A file, or a symbolic link.
    pub kind: LeafKind,
}

/// What a module's name in a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeafKind {
    /// The file.
    File,
    /// A symbolic link to it, perhaps.
    Link,
}

/// Modules and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many module files.
    pub modules: usize,
    /// Their bytes.
    pub bytes: usize,
}

/// What is to go below `kernel`, and how much stays.
#[derive(Default)]
pub struct Removal {
    /// The module files that stay, wherever they are.
    pub kept: Tally,
    /// Those that go.
    pub removed: Tally,
    /// Directories that belong to another mount and are left alone; outside of `kernel/` links as well, as
    /// they may lead to directories.
    pub mounts: Vec<Text>,
    /// The paths of directories and the names of files, each with a zero byte.
    names: Vec<u8>,
    /// `kernel` if there is such a directory, and those below it where anything goes, each before
    /// those in it.
    directories: Vec<Directory>,
    /// The files that go, of one directory after those of the one before, sorted.
    files: Vec<File>,
}

/// A directory in which something goes.
struct Directory {
    /// Where in the names its path begins, and the last component of that.
    path: usize,
    name: usize,
    /// The end of its part of the files, which begins where that of the directory before ends.
    files_end: usize,
    /// The end of the directories below it, which begin after it.
    end: usize,
    /// Whether it goes itself, as it will be empty.
    fate: Fate,
}

struct File {
    /// Where in the names its name is.
    name: usize,
    size: usize,
}

/// One thing that goes.
pub enum Step<'p> {
    /// A file: its path and size.
    Delete(&'p [u8], usize),
    /// A directory that is empty by then.
    RemoveDirectory(&'p [u8]),
}

impl Leaf<'_> {
    /// Its path relative to the version directory.
    pub fn path(&self) -> Text {
        path_of(self.directory, self.name)
    }

    /// Whether this is its path, without making one: thousands are asked.
    pub fn is_at(&self, path: &[u8]) -> bool {
        match path.strip_suffix(self.name) {
            Some(before) if self.directory.is_empty() => before.is_empty(),
            Some(before) => before.strip_suffix(b"/") == Some(self.directory),
            None => false,
        }
    }
}

/// The path of something in a directory, both relative to the version directory.
fn path_of(directory: &[u8], name: &[u8]) -> Text {
    let path = render(msg!("{}/{}"), &[directory, name]);
    path.strip_prefix(b"/").unwrap_or(path)
}

impl Tally {
    /// `12 modules, 3400000 bytes`
    pub fn to_text(&self, unit: &[u8]) -> Text {
        let parts = [decimal(self.modules), unit, decimal(self.bytes)];
        render(msg!("{} {}, {} bytes"), &parts)
    }

    fn add(&mut self, size: usize) {
        self.modules += 1;
        self.bytes = self.bytes.saturating_add(size);
    }
}

/// Decides on a module file.
pub type Decide<'d> = &'d mut dyn FnMut(&Leaf<'_>) -> Result<Fate>;

/// Asks `decide` about every module file in a version directory and below, in the order of their
/// names.
///
/// # Errors
/// A directory that cannot be read, or one of absurd depth; what `decide` returns.
pub fn walk(
    folder: &Folder,
    scope: Scope,
    sizes: Sizes,
    decide: Decide<'_>,
) -> Result<Box<Removal>> {
    let mut walk = Walk {
        folder,
        scope,
        sizes,
        decide,
        listing: Listing::default(),
        path: Vec::new(),
        is_pruned: false,
        removal: Box::default(),
    };
    folder.rewind()?;
    walk.directory(folder.fd(), 0)?;
    Ok(walk.removal)
}

/// A walk in progress.
struct Walk<'w> {
    folder: &'w Folder,
    scope: Scope,
    sizes: Sizes,
    decide: Decide<'w>,
    /// What is in the directory that it is in and in those above.
    listing: Listing,
    /// The path of that directory, and whether its files may go.
    path: Vec<u8>,
    is_pruned: bool,
    removal: Box<Removal>,
}

impl Walk<'_> {
    /// Something in the directory, as the user would write it.
    fn shown(&self, name: &[u8]) -> Text {
        self.folder.shown(path_of(&self.path, name))
    }

    /// Looks at the directory at `path`, and below. Gives its fate.
    fn directory(&mut self, fd: BorrowedFd<'_>, depth: usize) -> Result<Fate> {
        let failed = |verb, errno| Error::io(verb, self.folder.shown(&self.path), errno);
        if depth > DEEPEST {
            let shown = self.folder.shown(&self.path);
            return Err(Error::refused(msg!("{} is too deep a directory"), &[shown]));
        }
        let listed = self
            .listing
            .add(fd)
            .map_err(|errno| failed(Verb::Read, errno))?;
        let entries = listed.count..self.listing.count();
        self.is_pruned = self.scope == Scope::AnyFile || is_pruned(&self.path);
        let mut fate = Fate::Goes;
        for at in entries.clone() {
            fate = fate.and(self.file(fd, at)?);
        }
        let own = self.is_pruned.then(|| self.removal.begin(&self.path));
        for at in entries {
            if self.kind(fd, at)? == FileType::Directory {
                fate = fate.and(self.below(fd, at, depth)?);
            }
        }
        if let Some(own) = own {
            self.removal.end(own, fate);
        }
        self.listing.truncate(listed);
        Ok(fate)
    }

    /// Looks at an entry that is no directory.
    fn file(&mut self, fd: BorrowedFd<'_>, at: usize) -> Result<Fate> {
        let kind = match self.kind(fd, at)? {
            FileType::Directory => return Ok(Fate::Goes),
            FileType::RegularFile => LeafKind::File,
            FileType::Symlink => LeafKind::Link,
            _ => return Ok(Fate::Stays),
        };
        let name = self.listing.name(at);
        if self.scope != Scope::AnyFile && !is_module_file(name) {
            let is_of_headers = self.path.is_empty() && HEADERS.contains(&name);
            if self.scope == Scope::Outside && kind == LeafKind::Link && !is_of_headers {
                let shown = self.shown(name);
                self.removal.mounts.push(shown);
            }
            return Ok(Fate::Stays);
        }
        let size = match self.sizes {
            Sizes::Wanted => self.stat(fd, at, &mut Stat::default())?.size(),
            Sizes::Unwanted => 0,
        };
        let leaf = Leaf {
            directory: &self.path,
            name,
            size,
            kind,
        };
        let fate = (self.decide)(&leaf)?;
        if fate == Fate::Goes && self.is_pruned {
            self.removal.add(name, size);
            return Ok(fate);
        }
        self.removal.kept.add(size);
        Ok(Fate::Stays)
    }

    /// Looks at a directory in this one.
    fn below(&mut self, fd: BorrowedFd<'_>, at: usize, depth: usize) -> Result<Fate> {
        let name = self.listing.name(at);
        let is_left_out = match self.scope {
            Scope::All => HEADERS.contains(&name),
            Scope::Outside => name == PRUNED || HEADERS.contains(&name),
            // What was parked, and nothing that a kernel asks for.
            Scope::AnyFile => name.starts_with(b"."),
        };
        if self.path.is_empty() && is_left_out {
            return Ok(Fate::Stays);
        }
        let opened = enter_in(fd, self.listing.c_name(at));
        let opened = opened.map_err(|errno| Error::io(Verb::Open, self.shown(name), errno));
        let Some(inner) = opened? else {
            let shown = self.shown(name);
            self.removal.mounts.push(shown);
            return Ok(Fate::Stays);
        };
        let length = self.path.len();
        if length > 0 {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name);
        let fate = self.directory(inner.as_fd(), depth + 1);
        self.path.truncate(length);
        fate
    }

    fn kind(&self, fd: BorrowedFd<'_>, at: usize) -> Result<FileType> {
        match self.listing.kind(at) {
            // Some file systems do not tell.
            FileType::Unknown => Ok(self.stat(fd, at, &mut Stat::default())?.kind()),
            kind => Ok(kind),
        }
    }

    fn stat<'s>(&self, fd: BorrowedFd<'_>, at: usize, found: &'s mut Stat) -> Result<&'s Stat> {
        let done = stat_if_there(fd, self.listing.c_name(at), found);
        done.map_err(|errno| Error::io(Verb::Stat, self.shown(self.listing.name(at)), errno))?;
        Ok(found)
    }
}

/// Whether files in a directory, relative to the version directory, may go at all.
fn is_pruned(directory: &[u8]) -> bool {
    let below = directory.strip_prefix(PRUNED);
    below.map_or(false, |below| matches!(below.first(), None | Some(b'/')))
}

impl Fate {
    /// A directory goes if all in it does.
    fn and(self, other: Fate) -> Fate {
        match self {
            Fate::Stays => self,
            Fate::Goes => other,
        }
    }
}

impl Removal {
    /// A file goes, in the directory that begins next.
    fn add(&mut self, name: &[u8], size: usize) {
        self.removed.add(size);
        self.files.push(File {
            name: self.names.len(),
            size,
        });
        self.names.extend_from_slice(name);
        self.names.push(0);
    }

    /// A directory begins whose files have been added, before those in it. Gives its place.
    fn begin(&mut self, path: &[u8]) -> usize {
        let name = rfind(path, b'/').map_or(0, |slash| slash + 1);
        self.directories.push(Directory {
            path: self.names.len(),
            name: self.names.len() + name,
            files_end: self.files.len(),
            end: 0,
            fate: Fate::Stays,
        });
        self.names.extend_from_slice(path);
        self.names.push(0);
        self.directories.len() - 1
    }

    /// A directory ends, and those in it have ended; `fate` is its own.
    fn end(&mut self, own: usize, fate: Fate) {
        let end = self.directories.len();
        let directory = &mut self.directories[own];
        directory.end = end;
        // The first is `kernel` itself, or what was walked, which stays.
        if own > 0 {
            directory.fate = fate;
            let path = directory.path;
            if fate == Fate::Stays && !self.has_work_in(own) {
                self.directories.truncate(own);
                self.names.truncate(path);
            }
        }
    }

    /// Says what is left alone.
    pub fn warn_of_mounts(&self, report: &Report) {
        for path in &self.mounts {
            let what = msg!("{} belongs to another mount and is left alone");
            report.warn(what, &[path]);
        }
    }

    /// Whether there is a directory to delete from.
    pub fn has_place(&self) -> bool {
        !self.directories.is_empty()
    }

    /// Whether anything goes.
    pub fn has_work(&self) -> bool {
        self.has_place() && self.has_work_in(0)
    }

    /// Whether anything goes in a directory or below.
    fn has_work_in(&self, own: usize) -> bool {
        !self.files_in(own).is_empty() || self.directories[own].end > own + 1
    }

    /// The files that go in a directory itself.
    fn files_in(&self, own: usize) -> &[File] {
        let start = match own.checked_sub(1) {
            Some(before) => self.directories[before].files_end,
            None => 0,
        };
        &self.files[start..self.directories[own].files_end]
    }

    fn text(&self, start: usize) -> &[u8] {
        c_text(&self.names, start).to_bytes()
    }

    /// Calls `see` for everything that goes.
    pub fn each_step(&self, see: &mut dyn FnMut(Step<'_>)) {
        // Thousands of paths in one buffer.
        let mut buffer = Vec::new();
        for (own, directory) in self.directories.iter().enumerate() {
            let path = self.text(directory.path);
            for file in self.files_in(own) {
                buffer.clear();
                buffer.extend_from_slice(path);
                if !path.is_empty() {
                    buffer.push(b'/');
                }
                buffer.extend_from_slice(self.text(file.name));
                see(Step::Delete(&buffer, file.size));
            }
            if directory.fate == Fate::Goes {
                see(Step::RemoveDirectory(path));
            }
        }
    }

    /// The paths of the files that go, and of the directories if they are wanted, sorted.
    pub fn paths(&self, with_directories: bool) -> &'static mut Vec<Text> {
        let paths = new_list();
        self.each_step(&mut |step| match step {
            Step::RemoveDirectory(_) if !with_directories => {}
            Step::Delete(path, _) | Step::RemoveDirectory(path) => paths.push(keep(path)),
        });
        sort_once(paths);
        paths
    }

    /// Deletes it from the version directory that it was found in, or moves it to the same paths below
    /// another one: the files of each directory, what is below it, and then the directory itself if
    /// it is empty by that. Calls `tick` after each file.
    ///
    /// # Errors
    /// The first file or directory that cannot be removed or moved. Everything before it is gone, and
    /// the same call finishes the work.
    pub fn execute(
        &self,
        folder: &Folder,
        target: Option<&Folder>,
        tick: &mut dyn FnMut(),
    ) -> Result<()> {
        let mut clearing = Clearing {
            removal: self,
            folder,
            tick,
        };
        let (fd, target) = (folder.fd(), target.map(Folder::fd));
        match self.directories.first() {
            // Of what was walked itself.
            Some(first) if self.text(first.path).is_empty() => clearing.inside(0, fd, target),
            Some(_) => clearing.directory(0, fd, target),
            None => Ok(()),
        }
    }
}

/// A removal that is carried out.
struct Clearing<'c> {
    removal: &'c Removal,
    folder: &'c Folder,
    tick: &'c mut dyn FnMut(),
}

impl Clearing<'_> {
    /// Clears one of the directories; the open ones are those above it and above its target.
    fn directory(
        &mut self,
        own: usize,
        above: BorrowedFd<'_>,
        target: Option<BorrowedFd<'_>>,
    ) -> Result<()> {
        let removal = self.removal;
        let directory = &removal.directories[own];
        let path = removal.text(directory.path);
        let name = c_text(&removal.names, directory.name);
        if removal.has_work_in(own) {
            let opened = enter_in(above, name);
            let opened = opened.map_err(|errno| self.failed(Verb::Open, path, errno))?;
            if let Some(fd) = opened {
                let target = match target {
                    Some(target) => {
                        let made = make_in(target, name, fd.as_fd());
                        Some(made.map_err(|errno| self.failed(Verb::MakePlace, path, errno))?)
                    }
                    None => None,
                };
                self.inside(own, fd.as_fd(), target.as_ref().map(AsFd::as_fd))?;
            }
        }
        match directory.fate {
            Fate::Goes => {
                remove_empty_in(above, name).map_err(|errno| self.failed(Verb::Remove, path, errno))
            }
            Fate::Stays => Ok(()),
        }
    }

    fn inside(
        &mut self,
        own: usize,
        fd: BorrowedFd<'_>,
        target: Option<BorrowedFd<'_>>,
    ) -> Result<()> {
        let removal = self.removal;
        for file in removal.files_in(own) {
            let name = c_text(&removal.names, file.name);
            let done = match target {
                Some(target) => move_file_in(fd, name, target),
                None => remove_file_in(fd, name),
            };
            if let Err(errno) = done {
                let path = path_of(removal.text(removal.directories[own].path), name.to_bytes());
                let verb = target.map_or(Verb::Remove, |_| Verb::Move);
                return Err(self.failed(verb, path, errno));
            }
            (self.tick)();
        }
        let mut next = own + 1;
        while next < removal.directories[own].end {
            self.directory(next, fd, target)?;
            next = removal.directories[next].end;
        }
        Ok(())
    }

    fn failed(&self, verb: Verb, path: &[u8], errno: Errno) -> Error {
        Error::io(verb, self.folder.shown(path), errno)
    }
}
