//! `--check`: an audit. One problem a line on stdout, `KIND<TAB>KERNEL<TAB>NAME<TAB>text`, and
//! exit 1 if there is any; [`KINDS`] says what the kinds mean. Nothing is changed, and nothing is
//! locked. Without `--kernel` every kernel that has a registry is looked at.

use crate::actions::kernels;
use crate::actions::list::{kept, loaded_text, registry};
use crate::cli::Request;
use crate::error::{Error, Result};
use crate::format::{decimal, fill, push_escaped, Text};
use crate::index::trie::Trie;
use crate::needs::census::{self, root_file_system, Census};
use crate::needs::kernel::{directory, Found};
use crate::needs::{Closure, Kernel, Why};
use crate::package::database::Database;
use crate::package::queue::{self, PENDING};
use crate::system::report::print;
use crate::system::tree::{walk, Fate, Leaf, Sizes};
use crate::system::{running_kernel, Folder, Report, Root};
use crate::text::active::Registry;
use crate::text::alias::alias;
use crate::text::dep::DepText;
use crate::text::name::{ModuleName, ModulePath};
use crate::text::{lines, proc_modules};

/// The kinds of problems, and what each means.
pub const KINDS: &[(&str, &str)] = &[
    ("missing", "registered, but neither on disk nor built in"),
    (
        "dependency",
        "a module that a registered one needs is not on disk",
    ),
    ("index", "depmod's files and the directory differ"),
    ("loaded", "loaded, but nothing registered keeps it"),
    ("owner", "a package has a reference, but is not installed"),
    ("root", "nothing keeps the module of the root file system"),
    (
        "unpruned",
        "modules are on disk that nothing registered needs",
    ),
    (
        "alias",
        "hardware asks for a module that only another kernel has",
    ),
    ("pending", "a package waits to be forgotten"),
];

/// Prints what is wrong.
///
/// # Errors
/// Something is, or it cannot be told.
pub fn check(root: &Root, request: &Request, report: &Report) -> Result<()> {
    let versions = match request.kernels.is_empty() {
        false => kernels::to_show(root, request)?,
        true => kernels::registered(root)?,
    };
    let census = census::take(root)?;
    let loaded = loaded_text(root, report)?.unwrap_or(b"");
    let mut problems = Problems::default();
    for version in &versions {
        let audit = Audit::new(root, version)?;
        audit.registry(&mut problems)?;
        audit.files(&mut problems)?;
        audit.indexes(&mut problems)?;
        audit.loaded(loaded, &mut problems)?;
        audit.root_fs(&mut problems)?;
        audit.hardware(&census, &mut problems)?;
    }
    pending(root, &mut problems)?;
    owners(root, request, &versions, &mut problems)?;
    print(&problems.out)?;
    match problems.count {
        0 => Ok(()),
        1 => Err(Error::refused("1 problem", &[])),
        count => Err(Error::refused("{} problems", &[decimal(count)])),
    }
}

/// The lines to print.
#[derive(Default)]
struct Problems {
    out: Vec<u8>,
    count: usize,
}

impl Problems {
    fn add(&mut self, kind: &str, version: &[u8], name: &[u8], what: &str, parts: &[&[u8]]) {
        debug_assert!(KINDS.iter().any(|known| known.0 == kind));
        for field in [kind.as_bytes(), version, name] {
            push_escaped(&mut self.out, field);
            self.out.push(b'\t');
        }
        push_escaped(&mut self.out, fill(what, parts));
        self.out.push(b'\n');
        self.count += 1;
    }
}

/// One kernel.
struct Audit<'r> {
    root: &'r Root,
    kernel: Kernel<'r>,
    registry: Registry<'static>,
    /// What the registered modules need, as far as it can be told.
    keep: Closure,
    /// Why it cannot, if it cannot.
    broken: Option<Error>,
    /// The paths of the module files on disk, sorted.
    disk: Vec<Text>,
    /// How many of them nothing needs, and their bytes.
    needless: (usize, usize),
}

impl<'r> Audit<'r> {
    fn new(root: &'r Root, version: Text) -> Result<Self> {
        let kernel = Kernel::open(root, version)?;
        let registry = registry(root, &kernel)?;
        let mut keep = kept(&kernel, &registry)?;
        let broken = keep.complete(&kernel).err();
        let (mut disk, mut needless) = (Vec::new(), (0, 0_usize));
        if let Some(folder) = Folder::open(root, directory(version))? {
            let mut look = |leaf: &Leaf<'_>| {
                let path = leaf.path();
                let is_kept = keep.position(ModulePath(path).name()).is_some();
                if path.starts_with(b"kernel/") && !is_kept {
                    needless = (needless.0 + 1, needless.1.saturating_add(leaf.size));
                }
                disk.push(path);
                Ok(Fate::Stays)
            };
            walk(&folder, Sizes::Wanted, &mut look, &mut |_| {})?;
        }
        disk.sort_unstable();
        Ok(Audit {
            root,
            kernel,
            registry,
            keep,
            broken,
            disk,
            needless,
        })
    }

    fn add(&self, to: &mut Problems, kind: &str, name: &[u8], what: &str, parts: &[&[u8]]) {
        to.add(kind, self.kernel.version(), name, what, parts);
    }

    fn is_on_disk(&self, path: ModulePath<'_>) -> bool {
        let found = self.disk.binary_search_by(|other| other[..].cmp(path.0));
        path.is_absolute() || found.is_ok()
    }

    fn keeps(&self, name: ModuleName<'_>) -> bool {
        self.keep.position(name).is_some()
    }

    /// What is registered and not there.
    fn registry(&self, problems: &mut Problems) -> Result<()> {
        for entry in self.registry.entries() {
            if self.kernel.line(entry.name)?.is_none() && !self.kernel.is_builtin(entry.name)? {
                let name = entry.name.to_kernel();
                let what = "neither listed nor built in";
                self.add(problems, "missing", name, what, &[]);
            }
        }
        Ok(())
    }

    /// What is needed and not there, and what is there and not needed.
    fn files(&self, problems: &mut Problems) -> Result<()> {
        if let Some(error) = &self.broken {
            for message in error.messages() {
                self.add(problems, "dependency", b"modules.dep", "{}", &[message]);
            }
        }
        for (position, module) in self.keep.modules().iter().enumerate() {
            if self.is_on_disk(module.line.path) {
                continue;
            }
            let (name, path) = (module.name().to_kernel(), module.line.path.0);
            match self.keep.first_user(position) {
                Some((user, _)) if module.why == Why::Needed => {
                    let user = self.keep.modules()[user].name().to_kernel();
                    let what = "{} is gone, which {} needs";
                    self.add(problems, "dependency", name, what, &[path, user]);
                }
                _ => self.add(problems, "missing", name, "{} is gone", &[path]),
            }
        }
        let (count, bytes) = self.needless;
        if count > 0 && self.broken.is_none() {
            let parts: [&[u8]; 2] = [decimal(count), decimal(bytes)];
            self.add(
                problems,
                "unpruned",
                b"kernel",
                "{} modules, {} bytes",
                &parts,
            );
        }
        Ok(())
    }

    /// What depmod's files say of each other and of the directory.
    fn indexes(&self, problems: &mut Problems) -> Result<()> {
        let text = self.kernel.file_or_empty(b"modules.dep")?;
        let shown = self.kernel.shown(b"modules.dep.bin");
        let bytes = self.kernel.file(b"modules.dep.bin")?;
        let index = bytes.map(|bytes| Trie::new(bytes, shown)).transpose()?;
        let dep = DepText::new(text, self.kernel.shown(b"modules.dep"))?;
        let (mut gone, mut differ) = (Few::default(), Few::default());
        for line in dep.all() {
            let line = line?;
            if !self.is_on_disk(line.path) {
                gone.add(line.path.0);
            }
            if let Some(index) = &index {
                if index.find(line.path.name())? != Some(line.as_written()) {
                    differ.add(line.path.0);
                }
            }
        }
        let mut unlisted = Few::default();
        for path in &self.disk {
            if dep.find(ModulePath(path).name())?.is_none() {
                unlisted.add(path);
            }
        }
        let mut strange = Few::default();
        let aliases = self.kernel.file_or_empty(b"modules.alias")?;
        for (_, module) in lines(aliases).filter_map(|(_, line)| alias(line)) {
            if dep.find(ModuleName::new(module))?.is_none() {
                strange.add(module);
            }
        }
        let mut add = |file: &[u8], what, few: &Few<'_>| {
            if few.count > 0 {
                let parts = [decimal(few.count), few.last];
                self.add(problems, "index", file, what, &parts);
            }
        };
        add(b"modules.dep", "files that are gone: {}, such as {}", &gone);
        let what = "lines that differ from modules.dep: {}, such as {}";
        add(b"modules.dep.bin", what, &differ);
        let what = "files that it does not list: {}, such as {}";
        add(b"modules.dep", what, &unlisted);
        let what = "aliases of modules that are not listed: {}, such as {}";
        add(b"modules.alias", what, &strange);
        Ok(())
    }

    /// What runs now and will not after the next boot.
    fn loaded(&self, loaded: &[u8], problems: &mut Problems) -> Result<()> {
        if self.root.is_host() && running_kernel() != self.kernel.version() {
            return Ok(());
        }
        for name in proc_modules::names(loaded, b"proc/modules") {
            let name = name?;
            if self.kernel.line(name)?.is_some() && !self.keeps(name) {
                let what = "loaded, but nothing registered keeps it";
                self.add(problems, "loaded", name.to_kernel(), what, &[]);
            }
        }
        Ok(())
    }

    /// The module of the root file system, as it is mounted or will be.
    fn root_fs(&self, problems: &mut Problems) -> Result<()> {
        let (kind, modules) = root_file_system(self.root, &self.kernel)?;
        for line in modules {
            let name = line.path.name();
            if !self.keeps(name) {
                let what = "the root file system is {}";
                self.add(problems, "root", name.to_kernel(), what, &[kind]);
            }
        }
        Ok(())
    }

    /// Hardware that this kernel has nothing for, and another installed one has.
    fn hardware(&self, census: &Census, problems: &mut Problems) -> Result<()> {
        let mut orphans: Vec<&[u8]> = Vec::new();
        for alias in census.aliases() {
            if matches!(self.kernel.look_up(alias)?, Found::Nothing) {
                orphans.push(alias);
            }
        }
        for version in kernels::installed(self.root)? {
            if version == self.kernel.version() || orphans.is_empty() {
                continue;
            }
            let sibling = Kernel::open(self.root, version)?;
            let mut left = Vec::new();
            for alias in orphans {
                match sibling.look_up(alias)? {
                    Found::Modules(modules) => {
                        let names = modules.iter().map(|module| module.path.name().to_kernel());
                        let names: Vec<Text> = names.collect();
                        let parts = [version, &names.join(&b", "[..])];
                        self.add(problems, "alias", alias, "kernel {} has {}", &parts);
                    }
                    _ => left.push(alias),
                }
            }
            orphans = left;
        }
        Ok(())
    }
}

/// How many there are, and one of them.
#[derive(Default)]
struct Few<'t> {
    count: usize,
    last: &'t [u8],
}

impl<'t> Few<'t> {
    fn add(&mut self, one: &'t [u8]) {
        self.count += 1;
        self.last = one;
    }
}

fn pending(root: &Root, problems: &mut Problems) -> Result<()> {
    for note in queue::read(root, PENDING)? {
        let kernels = note.kernels.join(&b" "[..]);
        problems.add("pending", &kernels, note.package, "see --settle", &[]);
    }
    Ok(())
}

/// Owners that are packages no longer. Where there is no package database, owners are words.
fn owners(
    root: &Root,
    request: &Request,
    versions: &[Text],
    problems: &mut Problems,
) -> Result<()> {
    let Some(database) = Database::find(root, request.root.is_some())? else {
        return Ok(());
    };
    let contents = database.read(root)?;
    let is_installed = |owner: &[u8]| {
        let (package, arch) = crate::text::split_at_byte(owner, b':');
        let mut named = contents.status.named(package);
        named.any(|(_, stanza)| stanza.is_there() && (arch.is_empty() || stanza.arch == arch))
    };
    for version in versions {
        let kernel = Kernel::open(root, version)?;
        for entry in registry(root, &kernel)?.entries() {
            for owner in entry.owners.iter().filter(|owner| !is_installed(owner)) {
                let name = entry.name.to_kernel();
                problems.add("owner", version, name, "{} is not installed", &[owner]);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_short_words_with_a_meaning() {
        for (at, (kind, text)) in KINDS.iter().enumerate() {
            assert!(kind.len() <= 12 && kind.bytes().all(|byte| byte.is_ascii_lowercase()));
            assert!(!text.is_empty() && !text.ends_with('.'));
            assert!(!KINDS[..at].iter().any(|other| other.0 == *kind));
        }
    }
}
