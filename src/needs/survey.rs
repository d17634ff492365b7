//! The facts of one kernel, found once: what is registered, what stays, what is on disk, and what is
//! wrong. `--check` prints what is wrong and a prune refuses because of it, so both read it here.

use crate::error::{Error, Result};
use crate::format::{new_list, render, some_of, Text};
use crate::needs::sources::{keep_all, Machine};
use crate::needs::{registry, Closure, Kernel};
use crate::system::tree::{walk, Fate, Leaf, LeafKind, Removal, Scope, Sizes};
use crate::system::{Folder, Root};
use crate::template::Template;
use crate::text::active::{Hold, Registry, ACTIVE};
use crate::text::alias::{alias, checksum, has_open_bracket};
use crate::text::dep::{DepLine, DepText};
use crate::text::name::{ModuleName, ModulePath};
use crate::text::{bare_lines, is_same, split_at_byte, until};

/// Beside a modules.dep that lists only what stays, the one that listed what is still being
/// deleted. It is there while a prune is unfinished, and tells its leftovers from modules that
/// no depmod has seen yet.
pub const UNFINISHED: &[u8] = b".modules.dep.limopack-old";

/// What can be wrong with a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file cannot be read or makes no sense.
    Damaged,
    /// Nothing says that the registry is complete.
    Base,
    /// A registered module that the kernel does not have.
    Missing,
    /// A module that stays is not on disk.
    Gone,
    /// A module that stays is a symbolic link.
    Link,
    /// modules.dep lists a file that is not on disk.
    Stale,
    /// modules.dep.bin says something else than modules.dep.
    Differs,
    /// A module on disk is not in modules.dep.
    Unlisted,
    /// modules.alias names a module that modules.dep does not list.
    Stray,
    /// modules.alias.bin lists other aliases than modules.alias.
    Aliases,
    /// The kernel does not know the root file system.
    Root,
    /// It does not know another one.
    FileSystem,
    /// Another kernel's static entry would go.
    Sibling,
    /// A loaded module would go.
    Loaded,
    /// Hardware asks for a module that would go.
    Hardware,
    /// Hardware asks for a module that only another kernel has.
    Alias,
    /// Modules are on disk that nothing needs.
    Unpruned,
}

/// What a finding means to a prune.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// It refuses, whatever is forced.
    Final,
    /// It refuses unless it is forced.
    Refusal,
    /// It goes on; a person should know.
    Warning,
}

/// What is known of a kind.
pub struct About {
    /// The kind.
    pub kind: Kind,
    /// What it means to a prune.
    pub weight: Weight,
    /// `WORD: what it is`, or `WORD FILE: what it is`.
    text: Template,
}

impl About {
    /// Its word in `--check`, and the file under whose name all findings are one line; empty where
    /// each has a line of its own.
    pub fn word_and_file(&self) -> (Text, Text) {
        split_at_byte(until(self.text.text(), b':'), b' ')
    }

    /// What it is, before the names.
    pub fn what(&self) -> Text {
        &split_at_byte(self.text.text(), b':').1[1..]
    }
}

const fn about(kind: Kind, weight: Weight, text: Template) -> About {
    About { kind, weight, text }
}

/// Every kind.
#[rustfmt::skip]
pub const KINDS: &[About] = &[
    about(Kind::Damaged, Weight::Final, msg!("damaged: cannot be read")),
    about(Kind::Base, Weight::Refusal, msg!("base: nothing says what this kernel has to keep; see --install")),
    about(Kind::Missing, Weight::Refusal, msg!("missing: registered or declared, but neither in modules.dep nor built in")),
    about(Kind::Gone, Weight::Refusal, msg!("dependency: needed, but not on disk")),
    about(Kind::Link, Weight::Refusal, msg!("dependency: needed, but symbolic links whose targets may go")),
    about(Kind::Stale, Weight::Refusal, msg!("index modules.dep: in modules.dep, but not on disk; run depmod")),
    about(Kind::Differs, Weight::Refusal, msg!("index modules.dep.bin: modules.dep and modules.dep.bin differ; run depmod")),
    about(Kind::Unlisted, Weight::Refusal, msg!("index modules.dep: on disk, but not in modules.dep; run depmod")),
    about(Kind::Stray, Weight::Refusal, msg!("index modules.alias: in modules.alias, but not in modules.dep; run depmod")),
    about(Kind::Aliases, Weight::Refusal, msg!("index: an index and its text differ; run depmod")),
    about(Kind::Root, Weight::Refusal, msg!("root: the root file system is unknown to this kernel")),
    about(Kind::FileSystem, Weight::Warning, msg!("boot: file systems of the boot that this kernel does not know")),
    about(Kind::Sibling, Weight::Refusal, msg!("sibling: static in another kernel's registry, and nothing keeps them here")),
    about(Kind::Loaded, Weight::Warning, msg!("loaded: loaded now, gone at the next boot")),
    about(Kind::Hardware, Weight::Warning, msg!("hardware: hardware asks for modules that nothing keeps")),
    about(Kind::Alias, Weight::Warning, msg!("alias: hardware asks for modules that only another kernel has")),
    about(Kind::Unpruned, Weight::Warning, msg!("unpruned: modules that nothing needs")),
];

impl Kind {
    /// What is known of it.
    pub fn about(self) -> &'static About {
        // The table is in the order of the kinds, which a test sees to.
        &KINDS[self as usize]
    }
}

/// Something that is wrong.
#[derive(Clone, Copy, Debug)]
pub struct Finding {
    /// What it is.
    pub kind: Kind,
    /// With what: a module, a path, a file system.
    pub name: Text,
    /// More about it, for `--check`.
    pub text: Text,
}

impl Finding {
    /// A finding.
    pub fn new(kind: Kind, name: Text, text: Text) -> Finding {
        Finding { kind, name, text }
    }
}

/// What an earlier prune did not finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftover {
    /// Nothing: there was none, or it finished.
    Nothing,
    /// Its mark alone.
    Mark,
    /// Modules that it was about to delete, which only the mark tells from new ones.
    Modules,
}

/// A kernel and what is registered in it; its static entries are compared with another.
pub struct Sibling {
    /// The kernel.
    pub version: Text,
    /// Its registry.
    pub registry: &'static Registry,
}

/// One kernel.
pub struct Survey<'r> {
    /// Its index.
    pub kernel: Box<Kernel<'r>>,
    /// Its directory, locked if something will be written.
    pub folder: Box<Folder>,
    /// What is registered.
    pub registry: &'static Registry,
    /// Whether that tells all that the machine needs, or a file does.
    pub has_base: bool,
    /// What stays.
    pub keep: &'static mut Closure,
    /// What goes.
    pub removal: Box<Removal>,
    /// What modules.dep listed before a prune that is unfinished.
    unfinished: Option<Box<DepText<'static>>>,
    /// What an earlier prune left.
    pub left: Leftover,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

impl<'r> Survey<'r> {
    /// Looks at a kernel; `folder` is its directory.
    ///
    /// # Errors
    /// What makes the kernel unknowable: a file that cannot be read or is malformed.
    pub fn take(
        root: &'r Root,
        machine: &Machine,
        version: Text,
        folder: Box<Folder>,
        sizes: Sizes,
    ) -> Result<Box<Survey<'r>>> {
        let kernel = Kernel::open_text(root, version)?;
        kernel.check()?;
        let unfinished = match folder.text(UNFINISHED)? {
            Some(text) => Some(DepText::new(text, folder.shown(UNFINISHED))?),
            None => None,
        };
        let registry = registry::read(&folder)?;
        let mut survey = Box::new(Survey {
            kernel,
            has_base: registry.is_base() || machine.declared.is_base,
            registry,
            folder,
            keep: Closure::empty(),
            removal: Box::default(),
            unfinished,
            left: Leftover::Nothing,
            findings: Vec::new(),
        });
        if !survey.has_base {
            let text = Kind::Base.about().what();
            survey.find(Kind::Base, ACTIVE, text);
        }
        keep_all(
            survey.keep,
            machine,
            &survey.kernel,
            survey.registry,
            &mut survey.findings,
        )?;
        survey.files(sizes)?;
        survey.indexes()?;
        if machine.runs(version) {
            survey.loaded(machine)?;
        }
        Ok(survey)
    }

    /// Whether a module stays.
    pub fn keeps(&self, name: ModuleName<'_>) -> bool {
        self.keep.position(name).is_some()
    }

    fn find(&mut self, kind: Kind, name: Text, text: Text) {
        self.findings.push(Finding { kind, name, text });
    }

    /// Decides on every module file by its name: two files may have one name, and the one in
    /// the index must not lose its place to the other.
    fn files(&mut self, sizes: Sizes) -> Result<()> {
        let mut is_present = vec![false; self.keep.modules().len()];
        let (mut leftovers, mut listed) = (0, 0);
        let mut decide = |leaf: &Leaf<'_>| {
            let name = ModulePath(leaf.name).name();
            match self.kernel.line(name)? {
                Some(line) => listed += usize::from(leaf.is_at(line.path().0)),
                None if is_left(&self.unfinished, name) => leftovers += 1,
                None => {
                    let found = Finding::new(Kind::Unlisted, leaf.path(), b"");
                    self.findings.push(found);
                }
            }
            let Some(position) = self.keep.position(name) else {
                return Ok(Fate::Goes);
            };
            is_present[position] |= leaf.is_at(self.keep.modules()[position].path.0);
            if leaf.kind == LeafKind::Link {
                let text = msg!("a symbolic link whose target may go").text();
                self.findings
                    .push(Finding::new(Kind::Link, leaf.path(), text));
            }
            Ok(Fate::Stays)
        };
        self.removal = walk(&self.folder, Scope::All, sizes, &mut decide)?;
        self.left = match (self.unfinished.is_some(), leftovers) {
            (false, _) => Leftover::Nothing,
            (true, 0) => Leftover::Mark,
            (true, _) => Leftover::Modules,
        };
        if !self.removal.has_place() && self.folder.size(b"kernel")? > 0 {
            return Err(Error::refused(
                msg!("{} is a link or another mount, which is not pruned"),
                &[self.folder.shown(b"kernel")],
            ));
        }
        self.gone(&is_present);
        self.stale(listed)
    }

    /// What is listed and not there, if fewer of the listed files were found than there are lines.
    #[inline(never)] // larger in the large frame of its caller
    fn stale(&mut self, found: usize) -> Result<()> {
        let text = self.kernel.file_or_empty(b"modules.dep")?;
        let paths = || {
            let lines = bare_lines(text).filter_map(|line| DepLine::parse(line).ok());
            let paths = lines.map(|line| line.path());
            paths.filter(|path| !path.is_absolute())
        };
        if found == paths().count() {
            return Ok(());
        }
        let disk: &mut Vec<Text> = new_list();
        let mut note = |leaf: &Leaf<'_>| {
            disk.push(leaf.path());
            Ok(Fate::Stays)
        };
        walk(&self.folder, Scope::All, Sizes::Unwanted, &mut note)?;
        disk.sort_unstable();
        for path in paths() {
            if disk.binary_search(&path.0).is_err() {
                self.find(Kind::Stale, path.0, b"");
            }
        }
        Ok(())
    }

    /// What depmod's files say of each other.
    #[inline(never)] // larger in the large frame of its caller
    fn indexes(&mut self) -> Result<()> {
        if let Some(index) = self.kernel.index()? {
            for line in bare_lines(self.kernel.file_or_empty(b"modules.dep")?) {
                let path = ModulePath(until(line, b':'));
                let found = index.find(path.name())?;
                if !found.map_or(false, |found| is_same(found, line)) {
                    self.find(Kind::Differs, path.0, b"");
                }
            }
        }
        // The aliases of a module are one after the other.
        let (mut last, mut hash, mut sum): (Text, u32, u64) = (b"", 0, 0);
        for line in bare_lines(self.kernel.file_or_empty(b"modules.alias")?) {
            if let Some((pattern, module)) = alias(line) {
                if !is_same(module, last) {
                    last = module;
                    let name = ModuleName::new(module);
                    hash = name.hash();
                    // A prune writes modules.dep anew first of all.
                    if !self.kernel.lists(name)?.is_yes() && !is_left(&self.unfinished, name) {
                        self.find(Kind::Stray, module, b"");
                    }
                }
                // depmod leaves such a pattern out of the index.
                if !has_open_bracket(pattern) {
                    sum = sum.wrapping_add(checksum(pattern, hash));
                }
            }
        }
        // While a prune is unfinished, the text may be the new one and the index the old.
        if self.unfinished.is_none() {
            if let Some(index) = self.kernel.alias_index()? {
                if index.checksum()? != sum {
                    let text = Kind::Aliases.about().what();
                    self.find(Kind::Aliases, b"modules.alias.bin", text);
                }
            }
        }
        Ok(())
    }

    /// What runs now and will not after the next boot.
    fn loaded(&mut self, machine: &Machine) -> Result<()> {
        for &name in machine.loaded {
            if !self.keeps(name) && self.kernel.line(name)?.is_some() {
                let text = msg!("loaded, but nothing registered keeps it").text();
                self.find(Kind::Loaded, name.to_kernel(), text);
            }
        }
        Ok(())
    }

    /// What another kernel of this root has to keep, and this one has and would lose: then nobody
    /// has listed in this kernel what the machine needs.
    ///
    /// # Errors
    /// A damaged index.
    pub fn compare(&mut self, sibling: &Sibling) -> Result<()> {
        for entry in sibling.registry.entries() {
            let is_lost = entry.hold == Hold::Static && !self.keeps(entry.name);
            if is_lost && self.kernel.line(entry.name)?.is_some() {
                let text = render(
                    msg!("static in kernel {}, and nothing keeps it here"),
                    &[sibling.version],
                );
                self.find(Kind::Sibling, entry.name.to_kernel(), text);
            }
        }
        Ok(())
    }

    /// The worst of the findings.
    pub fn has(&self, weight: Weight) -> bool {
        self.findings
            .iter()
            .any(|finding| finding.kind.about().weight == weight)
    }

    /// What stays and is not there.
    #[inline(never)] // larger in the large frame of its caller
    fn gone(&mut self, is_present: &[bool]) {
        for (position, is_present) in is_present.iter().enumerate() {
            let path = self.keep.modules()[position].path;
            if *is_present || path.is_absolute() {
                continue;
            }
            let text = match self.keep.first_user(position) {
                Some((user, _)) => {
                    let user = self.keep.modules()[user].name().to_kernel();
                    render(msg!("{} is gone, which {} needs"), &[path.0, user])
                }
                None => render(msg!("{} is gone"), &[path.0]),
            };
            self.find(Kind::Gone, path.0, text);
        }
    }
}

/// Whether an unfinished prune was about to delete a module.
fn is_left(unfinished: &Option<Box<DepText<'_>>>, name: ModuleName<'_>) -> bool {
    unfinished.as_ref().map_or(false, |old| old.lists(name))
}

/// One message for all findings of a kind, as a prune prints it: what it is, and some of the names.
pub fn message(version: Text, kind: Kind, findings: &[Finding]) -> Text {
    let names = new_list();
    for finding in findings {
        if finding.kind == kind {
            names.push(finding.name);
        }
    }
    let what = kind.about().what();
    match kind {
        Kind::Base | Kind::Damaged => render(msg!("kernel {}: {}"), &[version, what]),
        _ => render(msg!("kernel {}: {}: {}"), &[version, what, some_of(names)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_kinds() {
        for (at, about) in KINDS.iter().enumerate() {
            assert_eq!(about.kind as usize, at);
        }
    }
}
