//! The package manager's database on disk: dpkg's with apt's marks, or opkg's.

use crate::error::{Answer, Error, Result};
use crate::format::{new_list, render, List, Text};
use crate::needs::firmware::inside;
use crate::package::forget::{is_of_arch, Edit};
use crate::package::trim::{below_modules, others, trim, InfoFile};
use crate::system::folder::{Naming, Staged};
use crate::system::lock::{is_locked, lock, RecordLock};
use crate::system::mapped::Content;
use crate::system::{variable, Folder, Root, Stamp};
use crate::text::catalog::{Catalog, CatalogEntry};
use crate::text::name::{is_module_file, ModulePath};
use crate::text::stanza::{parse, Stanza, Stanzas};
use crate::text::{bare_lines, is_version, lines, rfind, sort_once, split_at_byte, until, words};

/// Whose database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manager {
    Dpkg,
    Opkg,
}

/// Who called us, as far as the package manager is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Somebody else.
    Anybody,
    /// A maintainer script: the manager runs, and holds its database in memory.
    Script,
    /// dpkg's `post-invoke`, when dpkg is done.
    DpkgHook,
    /// The same between two dpkg calls of one apt run, when nothing may be changed.
    DpkgHookUnderApt,
    /// apt's `DPkg::Post-Invoke`, when apt is done but holds the frontend lock.
    AptHook,
}

/// A database that was found.
pub struct Database {
    manager: Manager,
    /// The directory of `status`, relative to the root.
    directory: Text,
}

/// The locks, in the order in which they were taken; they are given back in the reverse one.
pub struct Locks(Vec<RecordLock>);

impl Drop for Locks {
    fn drop(&mut self) {
        while self.0.pop().is_some() {}
    }
}

/// `status` and apt's marks, read once.
pub struct Contents {
    /// `status`.
    pub status: &'static Stanzas<'static>,
    /// apt's extended_states; empty where there is none.
    pub marks: &'static Stanzas<'static>,
    /// The file that `status` was.
    stamp: &'static Stamp,
}

/// What the administrator decided about packages.
pub struct Ties {
    /// The packages with diversions, sorted.
    diverting: List<Text>,
    /// The files with a changed mode or another place, sorted.
    overridden: List<Text>,
}

const STATUS: &[u8] = b"status";
const STATES: (&[u8], &[u8]) = (b"var/lib/apt", b"extended_states");

impl Caller {
    /// Reads the environment that dpkg and apt give. A root that the user named is none of
    /// theirs. (opkg sets for its scripts `PKG_ROOT`.)
    pub fn of_environment(is_root_named: bool) -> Caller {
        if is_root_named {
            return Caller::Anybody;
        }
        if variable("DPKG_MAINTSCRIPT_PACKAGE").is_some() || variable("PKG_ROOT").is_some() {
            return Caller::Script;
        }
        let is_apt = variable("DPKG_FRONTEND_LOCKED").is_some();
        match (variable("DPKG_HOOK_ACTION").is_some(), is_apt) {
            (true, true) => Caller::DpkgHookUnderApt,
            (true, false) => Caller::DpkgHook,
            (false, true) => Caller::AptHook,
            (false, false) => Caller::Anybody,
        }
    }

    /// Whether a failure of ours would be taken for one of dpkg's or apt's.
    pub fn is_hook(self) -> bool {
        matches!(
            self,
            Caller::DpkgHook | Caller::DpkgHookUnderApt | Caller::AptHook
        )
    }
}

/// dpkg's directory relative to the root. Under `dpkg --root` the variable holds the root, too.
pub fn dpkg_directory(is_root_named: bool) -> &'static [u8] {
    let given = variable("DPKG_ADMINDIR").filter(|_| !is_root_named);
    let Some(given) = given else {
        return b"var/lib/dpkg";
    };
    let root = variable("DPKG_ROOT").unwrap_or_default();
    let below = given.strip_prefix(root).unwrap_or(given);
    let slashes = below.iter().take_while(|&&byte| byte == b'/').count();
    &below[slashes..]
}

impl Database {
    /// Finds the database: dpkg's, else opkg's where OpenWrt and Yocto have it.
    ///
    /// # Errors
    /// It cannot be looked for.
    pub fn find(root: &Root, is_root_named: bool) -> Result<Option<&'static Database>> {
        let dpkg = dpkg_directory(is_root_named);
        let places: [(Manager, &[u8]); 3] = [
            (Manager::Dpkg, dpkg),
            (Manager::Opkg, b"usr/lib/opkg"),
            (Manager::Opkg, b"var/lib/opkg"),
        ];
        for &(manager, directory) in &places {
            if root.has(render(msg!("{}/status"), &[directory]))?.is_yes() {
                let database = Box::new(Database { manager, directory });
                return Ok(Some(Box::leak(database)));
            }
        }
        Ok(None)
    }

    /// As [`Database::find`], where there must be one.
    ///
    /// # Errors
    /// There is none.
    pub fn needed(root: &Root, is_root_named: bool) -> Result<&'static Database> {
        Database::find(root, is_root_named)?.ok_or_else(|| {
            let place = root.shown(dpkg_directory(is_root_named));
            Error::refused(
                msg!("no package database: neither {}/status nor opkg's"),
                &[place],
            )
        })
    }

    #[inline(never)] // larger at every call
    fn path(&self, name: &[u8]) -> Text {
        render(msg!("{}/{}"), &[self.directory, name])
    }

    /// Takes the locks that the manager takes, never waiting.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Busy`] where somebody has them.
    pub fn lock(&self, root: &Root, caller: Caller) -> Result<Locks> {
        let mut locks = Locks(Vec::new());
        if self.manager == Manager::Opkg {
            lock_opkg(root, &mut locks.0)?;
            return Ok(locks);
        }
        // apt keeps the frontend's lock for its hook and releases the other.
        if caller != Caller::AptHook {
            locks.0.push(lock(root, self.path(b"lock-frontend"))?);
        }
        locks.0.push(lock(root, self.path(b"lock"))?);
        Ok(locks)
    }

    /// Whether the manager runs.
    ///
    /// # Errors
    /// It cannot be known.
    pub fn is_locked(&self, root: &Root) -> Result<Answer> {
        match self.manager {
            Manager::Dpkg => is_locked(root, self.path(b"lock")),
            Manager::Opkg => Ok(Answer::No),
        }
    }

    /// Refuses a database in whose journal something is left: replaying it would undo our edit.
    ///
    /// # Errors
    /// dpkg was interrupted.
    pub fn check_journal(&self, root: &Root) -> Result<()> {
        let updates = self.path(b"updates");
        for entry in Folder::entries_at(root, updates)? {
            if entry.name.iter().all(u8::is_ascii_digit) {
                return Err(Error::refused(
                    msg!("{}/{} is left; dpkg was interrupted, run dpkg --configure -a"),
                    &[root.shown(updates), entry.name],
                ));
            }
        }
        Ok(())
    }

    /// Reads `status` and apt's marks.
    ///
    /// # Errors
    /// Anything that dpkg would not read, or a file without a package.
    pub fn read(&self, root: &Root) -> Result<&'static Contents> {
        let path = self.path(STATUS);
        let shown = root.shown(path);
        // Taken first, so that a file that is replaced meanwhile differs from it.
        let stamp = root.stamp(path)?;
        let status = parse(root.needed_text(path)?, shown)?;
        if status.all.is_empty() {
            let what = msg!("no package in it; is the file damaged?");
            return Err(Error::parse(shown, 0, what, &[]));
        }
        let path = render(msg!("{}/{}"), &[STATES.0, STATES.1]);
        let marks = match self.manager {
            Manager::Dpkg => root.text_or_empty(path)?,
            Manager::Opkg => b"",
        };
        let marks = parse(marks, root.shown(path))?;
        Ok(Box::leak(Box::new(Contents {
            status,
            marks,
            stamp,
        })))
    }

    /// Reads what the administrator decided about packages.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn ties(&self, root: &Root) -> Result<&'static Ties> {
        let (diverting, overridden) = (new_list(), new_list());
        for (number, line) in lines(root.text_or_empty(self.path(b"diversions"))?) {
            // Three lines each: the file, where it went, whose diversion it is.
            match number % 3 {
                0 => diverting.push(line),
                1 => overridden.push(line),
                _ => {}
            }
        }
        for (_, line) in lines(root.text_or_empty(self.path(b"statoverride"))?) {
            if let Some(file) = words(line).nth(3) {
                overridden.push(file);
            }
        }
        sort_once(diverting);
        sort_once(overridden);
        Ok(Box::leak(Box::new(Ties {
            diverting,
            overridden,
        })))
    }

    /// The files of a package, one per line, if it has any; `info_name` is its name in `info/`.
    ///
    /// # Errors
    /// The list cannot be read.
    #[inline(always)]
    pub fn files(&self, root: &Root, info_name: &[u8]) -> Result<Text> {
        self.list(root, info_name).copied()
    }

    fn list(&self, root: &Root, info_name: &[u8]) -> Result<Content> {
        root.content_or_empty(self.path(render(msg!("info/{}.list"), &[info_name])))
    }

    /// What a package owns beyond modules: if anything, it is trimmed and not forgotten. `files` is
    /// its list. (opkg's modules bring configuration, and their packages can be made anew.)
    pub fn others(&self, files: Text) -> List<Text> {
        match self.manager {
            Manager::Dpkg => others(files),
            Manager::Opkg => NOTHING,
        }
    }

    /// Adds to `trimmed` the list and the checksums of a package, as they will be without what goes:
    /// `going`, sorted as paths below the root, and what is on disk no more. Whether they change.
    /// (opkg's lists are left alone.)
    ///
    /// # Errors
    /// They cannot be read, or are malformed.
    pub fn trim(
        &self,
        root: &Root,
        info_name: &[u8],
        going: &[Text],
        trimmed: &mut Vec<(Text, [Text; 1])>,
    ) -> Result<Answer> {
        if self.manager == Manager::Opkg {
            return Ok(Answer::No);
        }
        let before = trimmed.len();
        for (file, what) in [
            (InfoFile::List, msg!("{}.list")),
            (InfoFile::Sums, msg!("{}.md5sums")),
        ] {
            let name = render(what, &[info_name]);
            let path = self.path(render(msg!("info/{}"), &[name]));
            let old = root.text_or_empty(path)?;
            let new = trim(root, file, old, root.shown(path), going)?;
            if new != old {
                trimmed.push((name, [new]));
            }
        }
        Ok((trimmed.len() > before).into())
    }

    /// What packages have of the firmware, relative to its directory, sorted.
    ///
    /// # Errors
    /// The lists cannot be read.
    pub fn firmware(&self, root: &Root) -> Result<List<Text>> {
        let owned = new_list();
        for entry in self.listed(root)?.entries() {
            for path in bare_lines(self.files(root, info_name_of(entry))?) {
                // opkg may add the mode.
                owned.extend(until(path, b'\t').strip_prefix(b"/").and_then(inside));
            }
        }
        sort_once(owned);
        Ok(owned)
    }

    /// The names of every package with a list, with the architecture where it is part of that name.
    ///
    /// # Errors
    /// `info/` cannot be read.
    pub fn listed(&self, root: &Root) -> Result<Catalog<'static>> {
        let entries = new_list();
        for entry in Folder::entries_at(root, self.path(b"info"))? {
            if let Some(info_name) = entry.name.strip_suffix(b".list") {
                let (name, arch) = split_at_byte(info_name, b':');
                entries.push(CatalogEntry { name, arch, at: 0 });
            }
        }
        Ok(Catalog::new(entries))
    }

    /// A package that owns a file of a kernel, by its name in `info/`; empty if there is none. `below`
    /// is what the path of the file begins with: `VERSION/` and perhaps more.
    ///
    /// # Errors
    /// The lists cannot be read.
    pub fn owner(&self, root: &Root, below: &[u8]) -> Result<Text> {
        self.owner_of(root, &|path| {
            below_modules(path).map_or(false, |path| path.starts_with(below))
        })
    }

    /// A package that owns a file: `is_it` sees the path of each file in the packages' lists.
    ///
    /// # Errors
    /// The lists cannot be read.
    pub fn owner_of(&self, root: &Root, is_it: &dyn Fn(&[u8]) -> bool) -> Result<Text> {
        for entry in self.listed(root)?.entries() {
            let info_name = info_name_of(entry);
            if bare_lines(self.files(root, info_name)?).any(is_it) {
                return Ok(info_name);
            }
        }
        Ok(b"")
    }

    /// Makes an edit around the work that comes before it: everything is written and durable
    /// beside the old files first, then `work` is done, then `status` is replaced, the commit
    /// point. So a disk that is full or not to be written to is seen before anything is changed.
    ///
    /// # Errors
    /// Any step, and those of `work`; `status` is the old or the new file as a whole.
    #[inline(never)] // larger in the large frame of its caller
    pub fn edit(
        &self,
        root: &Root,
        contents: &Contents,
        edit: &Edit<'_>,
        gone: &[Text],
        work: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        let is_same = edit.is_empty(contents.status.text);
        if is_same && edit.trimmed.is_empty() {
            work()?;
            return self.clean(root, contents, gone);
        }
        let info: &mut Vec<(&[u8], &[&[u8]])> = new_list();
        for new in &edit.stand_ins {
            info.push((render(msg!("{}.list"), &[new.info_name]), &[]));
            info.push((render(msg!("{}.md5sums"), &[new.info_name]), &[]));
        }
        for (name, text) in &edit.trimmed {
            info.push((name, text));
        }
        let mut parts = edit.parts.to_vec();
        // A file whose last stanza has no empty line after it needs one before a new stanza.
        if !edit.stand_ins.is_empty() && !parts.last().map_or(true, |last| last.ends_with(b"\n\n"))
        {
            parts.push(b"\n");
        }
        for new in &edit.stand_ins {
            parts.push(new.text);
        }
        // In the order in which they take their places.
        let mut staged = Vec::new();
        staged.push(stage(root, self.path(b"info"), Naming::Hidden, info)?);
        if !is_same {
            let status: [(&[u8], &[&[u8]]); 1] = [(STATUS, &parts)];
            staged.push(stage(root, self.directory, Naming::Dpkg, &status)?);
        }
        if let Some(parts) = marks_without(contents, gone) {
            staged.push(stage_marks(root, parts)?);
        }

        work()?;
        if root.stamp(self.path(STATUS))? != contents.stamp {
            return Err(Error::refused(
                msg!("{} was changed by somebody who does not take its lock"),
                &[root.shown(self.path(STATUS))],
            ));
        }
        for files in staged {
            files.commit()?;
        }
        self.clean_info(root, gone)
    }

    /// Removes what an interrupted edit left of packages that are in `status` no more.
    fn clean(&self, root: &Root, contents: &Contents, gone: &[Text]) -> Result<()> {
        if gone.is_empty() {
            return Ok(());
        }
        if let Some(parts) = marks_without(contents, gone) {
            stage_marks(root, parts)?.commit()?;
        }
        self.clean_info(root, gone)
    }

    fn clean_info(&self, root: &Root, gone: &[Text]) -> Result<()> {
        let Some(info) = Folder::open(root, self.path(b"info"))? else {
            return Ok(());
        };
        for entry in info.entries()? {
            // `K.list`, never `K.1.list` of a package `K.1`: no suffix of dpkg's has a dot.
            let dot = rfind(entry.name, b'.').unwrap_or(0);
            if gone.binary_search(&&entry.name[..dot]).is_ok() {
                info.unlink(entry.name)?;
            }
        }
        // Not made durable: what a power cut brings back here, dpkg ignores.
        Ok(())
    }
}

/// No files.
pub const NOTHING: List<Text> = &Vec::new();

impl Ties {
    /// Refuses a package that has given the administrator a say: its diversions, overrides and, if
    /// it does not stay, configuration files would be left without an owner. `files` is its list.
    ///
    /// # Errors
    /// It has any.
    pub fn check(&self, stanza: &Stanza<'_>, files: &[u8], is_to_stay: bool) -> Result<()> {
        let refuse = |what| Err(Error::refused(what, &[stanza.package]));
        if !is_to_stay && !stanza.field(b"Conffiles").is_empty() {
            let what = msg!("{} has configuration files; purge it with the package manager");
            return refuse(what);
        }
        if !is_to_stay && self.diverting.binary_search(&stanza.package).is_ok() {
            return refuse(msg!("{} has diversions (dpkg-divert --list)"));
        }
        for (_, file) in lines(files).filter(|_| !self.overridden.is_empty()) {
            let may_go = !is_to_stay || below_modules(file).is_some();
            if may_go && self.overridden.binary_search(&file).is_ok() {
                return refuse(msg!(
                    "{} has files with a changed mode or place (dpkg-statoverride --list, \
                     dpkg-divert --list)"
                ));
            }
        }
        Ok(())
    }
}

/// Stages files in a folder, which stays open.
fn stage(
    root: &Root,
    path: &[u8],
    naming: Naming,
    files: &[(&[u8], &[&[u8]])],
) -> Result<Box<Staged<'static>>> {
    let folder: &'static Folder = Box::leak(Box::new(Folder::create(root, path)?));
    folder.stage(naming, files)
}

fn stage_marks(root: &Root, parts: &[Text]) -> Result<Box<Staged<'static>>> {
    stage(root, STATES.0, Naming::Hidden, &[(STATES.1, parts)])
}

/// apt's marks without those of packages that go; `None` if there are none to go.
fn marks_without(contents: &Contents, gone: &[Text]) -> Option<List<Text>> {
    let marks = contents.marks;
    let mut goes = vec![false; marks.all.len()];
    for info_name in gone {
        let (package, arch) = split_at_byte(info_name, b':');
        for (at, mark) in marks.named(package) {
            goes[at] |= is_of_arch(mark, arch);
        }
    }
    goes.contains(&true).then(|| marks.without(&goes))
}

/// opkg's lock file is removed by its holder, so that we may lock one that is gone.
#[inline(never)] // larger in the large frame of its caller
fn lock_opkg(root: &Root, locks: &mut Vec<RecordLock>) -> Result<()> {
    for &directory in &[&b"var/lock"[..], b"run"] {
        if root.has(directory)?.is_yes() {
            let path = render(msg!("{}/opkg.lock"), &[directory]);
            let mut taken = lock(root, path)?;
            for _ in 0..3 {
                if taken.is_at(root, path) {
                    break;
                }
                taken = lock(root, path)?;
            }
            locks.push(taken);
        }
    }
    if locks.is_empty() {
        let what = msg!("no place for opkg's lock: neither {} nor /run");
        return Err(Error::refused(what, &[root.shown(b"var/lock")]));
    }
    Ok(())
}

/// The name in `info/` of an entry of [`Database::listed`].
pub fn info_name_of(entry: &CatalogEntry<'static>) -> Text {
    match entry.arch.is_empty() {
        true => entry.name,
        false => render(msg!("{}:{}"), &[entry.name, entry.arch]),
    }
}

/// The kernels below which a package has files, from its list.
pub fn kernels_of(files: &[u8]) -> &Vec<&[u8]> {
    let kernels: &mut Vec<&[u8]> = new_list();
    for (_, file) in lines(files) {
        let Some(below) = below_modules(file) else {
            continue;
        };
        let (version, rest) = split_at_byte(below, b'/');
        // No kernel is called all, and `--kernel=all` means every one.
        if version == b"all" || !is_version(version) {
            continue;
        }
        // Directories that others keep stay in the list of a package that was removed.
        let is_module =
            rest.starts_with(b"kernel/") && is_module_file(ModulePath(rest).file_name());
        if is_module && kernels.last().map_or(true, |last| *last != version) {
            kernels.push(version);
        }
    }
    sort_once(kernels);
    kernels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_those_of_module_files() {
        let files =
            b"/.\n/lib\n/lib/modules/6.1/kernel/fs/a.ko\n/usr/lib/modules/7.2/kernel/b.ko\n\
            /lib/modules/5.0/modules.order\n/usr/share/doc/lib/modules/4/kernel/x\n\
            /lib/modules/all/kernel/c.ko\n/lib/modules/8 all/kernel/d.ko\n\
            /lib/modules/9/kernel\n/lib/modules/9/kernel/e\n/lib/modules/9/extra/f.ko\n";
        assert_eq!(*kernels_of(files), [b"6.1", b"7.2"]);
    }
}
