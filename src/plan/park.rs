//! Parked modules and firmware: what a prune moved aside instead of deleting it.
//!
//! `/lib/modules/.parked/VERSION/` holds the modules at their paths, and depmod's texts as they were
//! before the first of them went. The texts in place are always what those say of the modules in
//! place, and what depmod has listed since, so that a restore needs no depmod. A park belongs to one
//! build of a kernel and is never mixed with another build of the same version.
//!
//! `/lib/firmware/.parked/firmware/` holds the firmware, of all kernels.

use crate::error::{Answer, Error, Result};
use crate::format::{render, Text};
use crate::index::filter::{Comments, IndexFormat, Position, FILES};
use crate::needs::kernel::{directory, MODULES};
use crate::needs::{firmware, Kernel};
use crate::plan::indexes::part_of;
use crate::system::folder::on_other_mount;
use crate::system::tree::{walk, Fate, Leaf, Removal, Scope, Sizes};
use crate::system::{Folder, Root};
use crate::text::dep::DepLine;
use crate::text::name::ModuleName;

/// What tells one build of a kernel from another: written when it is built, and by nobody later.
const BUILD: [&[u8]; 2] = [b"modules.builtin", b"modules.builtin.modinfo"];

/// The directory of all parks, beside the kernels or in that of the firmware.
const PARKS: &[u8] = b".parked";

/// The park of the firmware is called like that.
const FIRMWARE: Text = b"firmware";

/// The park of one kernel, or of the firmware.
pub struct Park<'r> {
    /// Where it is.
    pub root: &'r Root,
    /// The kernel's version, or `firmware`.
    pub version: Text,
    /// The directory of the kernels, or of the firmware.
    place: Text,
}

impl<'r> Park<'r> {
    /// That of a kernel, which may have none yet.
    pub fn of(root: &'r Root, version: Text) -> &'r Park<'r> {
        Park::in_place(root, MODULES, version)
    }

    /// That of the firmware.
    pub fn of_firmware(root: &'r Root) -> &'r Park<'r> {
        Park::in_place(root, firmware::PLACE, FIRMWARE)
    }

    fn in_place(root: &'r Root, place: Text, version: Text) -> &'r Park<'r> {
        Box::leak(Box::new(Park {
            root,
            version,
            place,
        }))
    }

    /// Whether it is that of the firmware.
    pub fn is_of_firmware(&self) -> bool {
        self.place == firmware::PLACE
    }

    /// Its path, relative to the root.
    pub fn path(&self) -> Text {
        render(msg!("{}/{}"), &[self.place, self.parked_version()])
    }

    /// The park as [`Kernel`] opens it: it has the files of a kernel.
    fn parked_version(&self) -> Text {
        render(msg!("{}/{}"), &[PARKS, self.version])
    }

    /// Makes the directory of all parks: what is queued will be parked then.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn announce(root: &Root) -> Result<()> {
        Folder::create(root, directory(PARKS)).map(drop)
    }

    /// Whether the machine parks: whatever is carried out later, for what an earlier call asked, is
    /// parked then, too.
    ///
    /// # Errors
    /// It cannot be found out.
    pub fn is_used(root: &Root) -> Result<Answer> {
        let is_used = parks(root, MODULES)?.is_some() || parks(root, firmware::PLACE)?.is_some();
        Ok(is_used.into())
    }

    /// Opens it; `None` if there is none. A link or another mount is none.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn find(&self) -> Result<Option<Box<Folder>>> {
        match parks(self.root, self.place)? {
            Some(parks) => parks.enter(self.version),
            None => Ok(None),
        }
    }

    /// Opens it if modules can come back from it to the kernel, whose directory is `own`.
    ///
    /// # Errors
    /// It cannot be opened; a file without which nothing can be said of it is missing.
    pub fn usable(&self, own: &Folder) -> Result<Option<Box<Folder>>> {
        let Some(park) = self.find()? else {
            return Ok(None);
        };
        if self.is_of_firmware() {
            return Ok(Some(park));
        }
        // It is the first file that goes and the last one that comes; no module is there without it.
        if park.text(b"modules.dep")?.is_none() {
            let left = self.modules(&park, Sizes::Unwanted)?;
            return match left.has_work() {
                true => Err(missing(&park, b"modules.dep")),
                false => Ok(None),
            };
        }
        for name in BUILD {
            match (park.text(name)?, own.text(name)?) {
                (parked, own) if parked == own => {}
                (None, _) => return Err(missing(&park, name)),
                _ => return Ok(None),
            }
        }
        Ok(Some(park))
    }

    /// Whether what is in it goes before a kernel's modules are parked, as it belongs to another
    /// build. `own` is the kernel's directory.
    ///
    /// # Errors
    /// What keeps the modules from being parked: another mount; an earlier prune that has not
    /// finished deleting.
    pub fn is_to_go(&self, own: &Folder, is_unfinished: bool) -> Result<Answer> {
        if let Some(modules) = Folder::open(self.root, MODULES)? {
            if modules.device()? != own.device()? {
                return Err(on_other_mount(own, &modules));
            }
        }
        let is_usable = self.usable(own)?.is_some();
        if is_unfinished && !is_usable {
            let what = msg!("kernel {}: first finish the prune that deletes, without --park");
            return Err(Error::refused(what, &[self.version]));
        }
        Ok((!is_usable).into())
    }

    /// Its index, of all modules that the kernel had when it was made.
    ///
    /// # Errors
    /// It is missing, or malformed.
    pub fn kernel(&self) -> Result<Box<Kernel<'r>>> {
        let kernel = Kernel::open_text(self.root, self.parked_version())?;
        kernel.check()?;
        Ok(kernel)
    }

    /// Opens it for more modules. A new one gets depmod's texts as they are now, one that is there
    /// what has been listed since; one of another build goes. All of that is durable then.
    ///
    /// # Errors
    /// It cannot be made; it would be on another mount than the kernel.
    pub fn prepare(&self, own: &Folder) -> Result<Box<Folder>> {
        if let Some(park) = self.usable(own)? {
            if !self.is_of_firmware() {
                self.update(&park, own)?;
            }
            return Ok(park);
        }
        self.discard()?;
        let path = self.path();
        Folder::create(self.root, path)?.sync()?;
        // Nothing is followed out of it: what was made by way of a link is none.
        let Some(park) = self.find()? else {
            let what = msg!("{} is a link or another mount");
            return Err(Error::refused(what, &[self.root.shown(path)]));
        };
        for name in texts().rev() {
            park.keep_from(own, name, name)?;
        }
        park.sync_file_system()?;
        Ok(park)
    }

    /// Adds the lines of the modules that have been listed since it was made.
    fn update(&self, park: &Folder, own: &Folder) -> Result<()> {
        let whole = Whole::read(self, park, own)?;
        for &(name, format) in FILES {
            let text = whole.text(name, format)?;
            if text != park.text_or_empty(name)? {
                park.replace(name, text)?;
            }
        }
        Ok(())
    }

    /// The modules in it, or the firmware, as what would go if all of that did.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn modules(&self, park: &Folder, sizes: Sizes) -> Result<Box<Removal>> {
        let mut all = |_: &Leaf<'_>| Ok(Fate::Goes);
        let scope = match self.is_of_firmware() {
            true => Scope::AnyFile,
            false => Scope::All,
        };
        walk(park, scope, sizes, &mut all)
    }

    /// Removes what is left of one from which the last module has come.
    ///
    /// # Errors
    /// As [`Park::discard`].
    pub fn clear(&self) -> Result<()> {
        match self.find()? {
            // It is the first file that goes.
            Some(park) if park.text(b"modules.dep")?.is_none() => self.discard(),
            _ => Ok(()),
        }
    }

    /// Removes it with all modules that are in it. Other files stay, and their directories.
    ///
    /// # Errors
    /// The first step that fails; the same call finishes.
    pub fn discard(&self) -> Result<()> {
        let Some(parks) = parks(self.root, self.place)? else {
            return Ok(());
        };
        let Some(park) = parks.enter(self.version)? else {
            return Ok(());
        };
        let modules = self.modules(&park, Sizes::Unwanted)?;
        modules.execute(&park, None, &mut || {})?;
        park.remove_empty(b"kernel")?;
        for name in texts() {
            park.unlink(name)?;
        }
        parks.remove_empty(self.version)?;
        parks.sync()?;
        match Folder::open(self.root, self.place)? {
            Some(folder) => folder.remove_empty(PARKS),
            None => Ok(()),
        }
    }
}

/// Opens the directory of all parks of a place.
fn parks(root: &Root, place: &[u8]) -> Result<Option<Box<Folder>>> {
    match Folder::open(root, place)? {
        Some(folder) => folder.enter(PARKS),
        None => Ok(None),
    }
}

/// The index of all modules that a kernel with a park has: that of the park, and what depmod has
/// listed since.
pub struct Whole<'a> {
    park: &'a Folder,
    folder: &'a Folder,
    /// The park's index.
    pub full: Box<Kernel<'a>>,
    /// That in place.
    pub own: Box<Kernel<'a>>,
}

impl<'a> Whole<'a> {
    /// Reads both; `park` and `folder` are their directories.
    ///
    /// # Errors
    /// One is missing, or malformed.
    pub fn read(all: &Park<'a>, park: &'a Folder, folder: &'a Folder) -> Result<Whole<'a>> {
        let own = Kernel::open_text(all.root, all.version)?;
        own.check()?;
        let full = all.kernel()?;
        Ok(Whole {
            park,
            folder,
            full,
            own,
        })
    }

    /// The line of a module. If it has been installed anew, elsewhere, it is that in place.
    pub fn line(&self, name: ModuleName<'_>) -> Option<DepLine<'static>> {
        self.latest(name).map(|(line, _)| line)
    }

    /// The same, and whether it has been installed anew.
    fn latest(&self, name: ModuleName<'_>) -> Option<(DepLine<'static>, bool)> {
        // Every line has been checked.
        let line = |kernel: &Kernel<'_>| kernel.line(name).ok().flatten();
        match (line(&self.own), line(&self.full)) {
            (Some(own), Some(full)) if own.path() == full.path() => Some((full, false)),
            (Some(own), _) => Some((own, true)),
            (None, full) => full.map(|full| (full, false)),
        }
    }

    /// One of depmod's texts. Of a module that has been installed anew, the new lines count.
    ///
    /// # Errors
    /// It cannot be read, or is malformed.
    pub fn text(&self, name: Text, format: IndexFormat) -> Result<Text> {
        let is_new = |name: ModuleName<'_>| matches!(self.latest(name), Some((_, true)));
        let old = |name: ModuleName<'_>| (!is_new(name)).then_some(0);
        let new = |name: ModuleName<'_>| is_new(name).then_some(0);
        let read = |folder: &Folder, comments, position: Position<'_>| {
            let text = folder.text_or_empty(name)?;
            part_of(folder, name, format, text, comments, position, &mut |_| {})
        };
        let parts = read(self.park, Comments::Stay, &old)?;
        parts.append(read(self.folder, Comments::Go, &new)?);
        Ok(match parts[..] {
            [one] => one,
            _ => parts.concat().leak(),
        })
    }
}

fn missing(park: &Folder, name: &[u8]) -> Error {
    let what = msg!("{} is missing; --prune deletes what is parked there");
    Error::refused(what, &[park.shown(name)])
}

/// The files of a park beside the modules.
fn texts() -> impl DoubleEndedIterator<Item = Text> {
    FILES.iter().map(|(name, _)| *name).chain(BUILD)
}
