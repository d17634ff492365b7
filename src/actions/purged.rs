//! What is left of purged and removed kernels whose modules package was forgotten: nobody owns it, and
//! no package manager takes it along.
//!
//! That a kernel's package was purged is recorded by a mark, which the hook for kernels leaves
//! (cross/package/hooks/kernel/postrm.d/limopack): nothing else tells it from a kernel that was never a
//! package, as many boards have one. The modules stay as long as anything speaks for the kernel.

use crate::error::Result;
use crate::format::{new_list, render, List, Text};
use crate::needs::kernel::{directory, file_of, MODULES};
use crate::needs::sources::running;
use crate::needs::survey::UNFINISHED;
use crate::package::database::Database;
use crate::package::queue::Note;
use crate::plan::park::Park;
use crate::system::folder::{is_temporary, Patience};
use crate::system::tree::{walk, Fate, Leaf, Scope, Sizes};
use crate::system::{running_kernel, Folder, Report, Root};
use crate::text::active::ACTIVE;
use crate::text::stanza::Stanzas;
use crate::text::{find, sort_once};
use rustix::fs::FileType;

const MARK: &[u8] = b".limopack-purged";

/// The states of packages of which nothing is left.
const UNKNOWN: &[&[u8]] = &[b"", b"not-installed"];

/// How a kernel's package has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// It was removed, and its modules package would have been. It may come back, and finds what is
    /// registered.
    Removed,
    /// It was purged.
    Purged,
}

impl Gone {
    /// The word for it.
    pub fn word(self) -> Text {
        match self {
            Gone::Removed => b"removed",
            Gone::Purged => b"purged",
        }
    }
}

/// What is asked whether a kernel is still somebody's.
pub struct Purged<'a> {
    /// Where the kernels are.
    pub root: &'a Root,
    /// The lists of packages.
    pub database: &'a Database,
    /// The packages.
    pub status: &'a Stanzas<'static>,
    /// The names of those of them that have just gone, sorted.
    pub dropped: &'a [Text],
    /// Where messages go.
    pub report: &'a Report,
}

/// The kernels of forgotten packages that were purged, sorted.
///
/// # Errors
/// They cannot be looked for.
pub fn marked(root: &Root, forgotten: &[&Note<'static>]) -> Result<List<Text>> {
    let kernels = new_list();
    for note in forgotten {
        for &kernel in note.kernels {
            let (mark, index) = (file_of(kernel, MARK), file_of(kernel, b"modules.dep"));
            // Whoever has installed modules since has run depmod.
            if root.has(mark)?.is_yes()
                && !(root.has(index)?.is_yes() && root.is_newer(index, mark)?.is_yes())
            {
                kernels.push(kernel);
            }
        }
    }
    sort_once(kernels);
    Ok(kernels)
}

impl Purged<'_> {
    /// What speaks for a kernel; nothing, if nothing does.
    ///
    /// # Errors
    /// It cannot be found out.
    #[inline(never)] // larger in the large frame of its caller
    pub fn reason_to_stay(&self, kernel: &[u8], gone: Gone) -> Result<Text> {
        if kernel == running_kernel() || running(self.root)? == Some(kernel) {
            return Ok(b"it runs");
        }
        for stanza in self.status.all {
            let is_known = match gone {
                Gone::Removed => stanza.is_there(),
                Gone::Purged => !UNKNOWN.contains(&stanza.state()),
            };
            if find(stanza.package, kernel).is_some()
                && is_known
                && self.dropped.binary_search(&stanza.package).is_err()
            {
                return Ok(render(msg!("{} is known"), &[stanza.package]));
            }
        }
        let own = directory(kernel);
        for entry in Folder::entries_at(self.root, MODULES)? {
            let path = directory(entry.name);
            if entry.name != kernel && self.root.is_same_directory(path, own)?.is_yes() {
                return Ok(render(msg!("{} leads to it"), &[self.root.shown(path)]));
            }
        }
        for entry in Folder::entries_at(self.root, own)? {
            if entry.name.starts_with(b"vmlinu") {
                let image = self.root.shown(file_of(kernel, entry.name));
                return Ok(render(msg!("{} is there"), &[image]));
            }
        }
        for place in [&b"boot"[..], b"efi"] {
            let image = self.image(place, kernel, 0)?;
            if !image.is_empty() {
                return Ok(render(msg!("{} is there"), &[image]));
            }
        }
        let owner = self
            .database
            .owner(self.root, render(msg!("{}/"), &[kernel]))?;
        Ok(match owner.is_empty() {
            true => b"",
            false => render(msg!("{} owns files of it"), &[owner]),
        })
    }

    /// Something with which the kernel starts, by its name, in a directory or a few levels below:
    /// unified images and boot loaders' entries have directories of their own.
    fn image(&self, place: &[u8], kernel: &[u8], depth: usize) -> Result<Text> {
        const DEEPEST: usize = 3;
        for entry in Folder::entries_at(self.root, place)? {
            let below = render(msg!("{}/{}"), &[place, entry.name]);
            if is_image_of(entry.name, kernel) {
                return Ok(self.root.shown(below));
            }
            if entry.kind == FileType::Directory && depth < DEEPEST {
                let image = self.image(below, kernel, depth + 1)?;
                if !image.is_empty() {
                    return Ok(image);
                }
            }
        }
        Ok(b"")
    }

    /// Removes the modules of a kernel, and then, if nothing but their indexes is left, all of it.
    ///
    /// # Errors
    /// The first step that fails; the mark stays then.
    #[inline(never)] // larger in the large frame of its caller
    pub fn remove(&self, kernel: Text, gone: Gone) -> Result<()> {
        let Some(modules) = Folder::open(self.root, MODULES)? else {
            return Ok(());
        };
        // A link or another mount is not ours to remove.
        let Some(folder) = modules.enter(kernel)? else {
            return Ok(());
        };
        folder.lock(Patience::Short)?;
        let mut goes = |_: &Leaf<'_>| Ok(Fate::Goes);
        let removal = walk(&folder, Scope::All, Sizes::Unwanted, &mut goes)?;
        removal.warn_of_mounts(self.report);
        removal.execute(&folder, None, &mut || {})?;
        Park::of(self.root, kernel).discard()?;
        folder.remove_empty(b"kernel")?;
        let entries = folder.entries()?;
        let is_ours = |name: &[u8]| name.starts_with(b"modules.") || is_temporary(name);
        let is_ours = |name: &[u8]| is_ours(name) || name == UNFINISHED || name == MARK;
        let mut others = entries.iter();
        if others.any(|entry| entry.kind != FileType::RegularFile || !is_ours(entry.name)) {
            // With both, it would count as a kernel, whose modules are missing.
            if entries.iter().any(|entry| entry.name == b"kernel") {
                folder.unlink(ACTIVE)?;
                folder.unlink(b"modules.dep")?;
                folder.unlink(b"modules.dep.bin")?;
            }
            folder.unlink(MARK)?;
            let what =
                msg!("kernel {} was {}: removed its modules; {} stays, others have files in it");
            let parts = [kernel, gone.word(), folder.shown(b"")];
            self.report.note(what, &parts);
            return Ok(());
        }
        for entry in entries.iter().filter(|entry| entry.name != MARK) {
            if gone == Gone::Purged || entry.name != ACTIVE {
                folder.unlink(entry.name)?;
            }
        }
        folder.unlink(MARK)?;
        modules.remove_empty(kernel)?;
        let what = msg!("kernel {} was {}: removed what was left of it");
        self.report.note(what, &[kernel, gone.word()]);
        Ok(())
    }
}

/// Whether a file of /boot, or a directory, by its name, is one with which a kernel starts. Its map and its
/// configuration may have belonged to the package that was forgotten.
fn is_image_of(name: &[u8], kernel: &[u8]) -> bool {
    let is_beside = name.starts_with(b"System.map") || name.starts_with(b"config");
    find(name, kernel).is_some() && !is_beside
}
