//! `--prune`: deletes the modules that nothing registered needs, and makes depmod's files tell
//! the truth about what is left.

use crate::actions::kernels;
use crate::cli::parse::Mode;
use crate::cli::Request;
use crate::error::{Error, Result};
use crate::format::{decimal, fill, some_of, Text};
use crate::index::binary::{Binary, BINARIES};
use crate::index::filter::{filter, Format, FILES};
use crate::index::trie::{Layout, Trie};
use crate::index::writer::Writer;
use crate::needs::census::root_file_system;
use crate::needs::{Closure, Kernel, Why};
use crate::plan::prune::{Left, Prune, Rewrite, UNFINISHED};
use crate::system::report::{print, Progress, Volume};
use crate::system::tree::{walk, Fate, Leaf, LeafKind, Removal, Sizes, Tally};
use crate::system::{running_kernel, Folder, Report, Root};
use crate::text::active::{Registry, ACTIVE};
use crate::text::dep::DepText;
use crate::text::name::{ModuleName, ModulePath};
use crate::text::proc_modules;

/// Prunes the kernels named, or every one that has a registry.
///
/// # Errors
/// Every refusal; nothing is touched then. A step that failed; the same command finishes.
pub fn prune(root: &Root, request: &Request, report: &Report) -> Result<()> {
    let versions = kernels::to_prune(root, request)?;
    let plans = plan(root, &versions, Order::Filter, request, report)?;
    carry_out(plans, request, report)
}

/// What becomes of modules.order, the one list that depmod reads and never writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// It is filtered as the others are.
    Filter,
    /// It stays, since it belongs to a package that stays: nobody would bring it back.
    Leave,
}

/// Plans and checks every kernel. With a plan to carry out, their directories are locked.
///
/// # Errors
/// Every refusal.
pub fn plan(
    root: &Root,
    versions: &[Text],
    order: Order,
    request: &Request,
    report: &Report,
) -> Result<Vec<Prune>> {
    let mut plans = Vec::with_capacity(versions.len());
    let mut errors = Vec::new();
    for version in versions {
        match plan_kernel(root, version, order, request, report) {
            Ok(plan) => plans.push(plan),
            Err(error) => errors.push(error),
        }
    }
    Error::unless_empty(errors)?;
    Ok(plans)
}

/// Prints the plans or carries them out, one kernel after the other.
///
/// # Errors
/// The first step that failed.
pub fn carry_out(plans: Vec<Prune>, request: &Request, report: &Report) -> Result<()> {
    let mut out = Vec::new();
    for plan in plans {
        if request.mode == Mode::DryRun {
            plan.print(&mut out);
            continue;
        }
        let Removal { kept, removed, .. } = plan.removal;
        if plan.is_done() {
            plan.remove_leftovers()?;
            let kept = tally_text(kept);
            report.note(
                "kernel {}: nothing to remove, kept {}",
                &[plan.version, kept],
            );
            continue;
        }
        let mut progress = Progress::new(removed.modules, request.volume);
        let result = plan.execute(&mut || progress.tick());
        let done = progress.end();
        if let Err(error) = result {
            report.warn(
                "in kernel {}, removed {} of {} modules before this failed; the same command \
                 finishes the work",
                &[plan.version, decimal(done), decimal(removed.modules)],
            );
            return Err(error);
        }
        let (kept, removed) = (tally_text(kept), tally_text(removed));
        report.note(
            "kernel {}: removed {}, kept {}",
            &[plan.version, removed, kept],
        );
    }
    print(&out)
}

/// `12 modules (3.4 MB)`
fn tally_text(tally: Tally) -> Text {
    let tenths = tally.bytes / 100_000;
    let size = fill("{}.{} MB", &[decimal(tenths / 10), decimal(tenths % 10)]);
    fill("{} modules ({})", &[decimal(tally.modules), size])
}

/// One kernel's turn.
struct Turn<'r> {
    root: &'r Root,
    kernel: Kernel<'r>,
    keep: Closure,
    /// What goes wrong without --force.
    refusals: Vec<Error>,
}

fn plan_kernel(
    root: &Root,
    version: Text,
    order: Order,
    request: &Request,
    report: &Report,
) -> Result<Prune> {
    let folder = kernels::open(root, version, request.mode)?;
    let mut turn = Turn {
        root,
        kernel: Kernel::open_text(root, version)?,
        keep: Closure::default(),
        refusals: Vec::new(),
    };
    turn.gather(&folder)?;
    turn.compare_index()?;
    turn.look_at_root_fs()?;
    let sizes = match request.mode == Mode::DryRun || request.volume >= Volume::Normal {
        true => Sizes::Wanted,
        false => Sizes::Unwanted,
    };
    let (removal, left) = turn.decide(&folder, sizes, report)?;
    if !removal.has_place() && folder.size(b"kernel")? > 0 {
        return Err(Error::refused(
            "{} is a link or another mount, which is not pruned",
            &[folder.shown(b"kernel")],
        ));
    }
    if request.force {
        for refusal in &turn.refusals {
            for message in refusal.messages() {
                report.warn("forced: {}", &[message]);
            }
        }
    } else if !turn.refusals.is_empty() {
        turn.refusals.push(Error::refused(
            "nothing was changed; --force overrides this",
            &[],
        ));
        Error::unless_empty(std::mem::take(&mut turn.refusals))?;
    }
    turn.warn_of_loaded(report)?;
    Ok(Prune {
        version,
        rewrites: turn.rewrites(&folder, order)?,
        folder,
        removal,
        left,
    })
}

impl Turn<'_> {
    fn refuse(&mut self, template: &str, parts: &[&[u8]]) {
        let what = fill(template, parts);
        self.refusals.push(Error::refused(
            "kernel {}: {}",
            &[self.kernel.version(), what],
        ));
    }

    /// Refuses because of all these; there may be none.
    fn refuse_all(&mut self, template: &str, names: &[Text]) {
        if !names.is_empty() {
            self.refuse(template, &[some_of(names)]);
        }
    }

    /// The modules that stay: the registered ones and those outside `kernel/`, with all that
    /// they need.
    fn gather(&mut self, folder: &Folder) -> Result<()> {
        let shown = folder.shown(ACTIVE);
        let registry = Registry::parse(folder.text_or_empty(ACTIVE)?, shown)?;
        if registry.entries().is_empty() {
            self.refuse(
                "nothing is registered in {}, so everything would go",
                &[shown],
            );
        }
        let mut missing = Vec::new();
        for entry in registry.entries() {
            match self.kernel.line(entry.name)? {
                Some(line) => {
                    self.keep.add(line, Why::Registered);
                }
                None if self.kernel.is_builtin(entry.name)? => {}
                None => missing.push(entry.name.to_kernel()),
            }
        }
        let what = "registered, but neither in modules.dep nor built in: {}";
        self.refuse_all(what, &missing);
        self.kernel.check()?;
        for line in self.kernel.outside()? {
            self.keep.add(line, Why::Outside);
        }
        self.keep.complete(&self.kernel)
    }

    fn keeps(&self, name: ModuleName<'_>) -> bool {
        self.keep.position(name).is_some()
    }

    /// modprobe goes by the binary index, we by the text: for what stays they must agree.
    fn compare_index(&mut self) -> Result<()> {
        let Some(bytes) = self.kernel.file(b"modules.dep.bin")? else {
            return Ok(());
        };
        let index = Trie::new(bytes, self.kernel.shown(b"modules.dep.bin"))?;
        let mut differ = Vec::new();
        for module in self.keep.modules() {
            let line = index.find(module.name())?;
            if line != Some(module.line.as_written()) {
                differ.push(module.name().to_kernel());
            }
        }
        let what = "modules.dep and modules.dep.bin differ; run depmod: {}";
        self.refuse_all(what, &differ);
        Ok(())
    }

    /// A running system whose root file system's module goes does not boot again.
    fn look_at_root_fs(&mut self) -> Result<()> {
        if !self.root.is_host() || running_kernel() != self.kernel.version() {
            return Ok(());
        }
        let (kind, modules) = root_file_system(self.root, &self.kernel)?;
        for line in modules {
            let name = line.path.name();
            if !self.keeps(name) {
                let module = name.to_kernel();
                self.refuse(
                    "the root file system is {}, but nothing keeps {}",
                    &[kind, module],
                );
            }
        }
        Ok(())
    }

    /// Decides on every module file by its name: two files may have one name, and the one in
    /// the index must not lose its place to the other. What an earlier prune left behind.
    fn decide(
        &mut self,
        folder: &Folder,
        sizes: Sizes,
        report: &Report,
    ) -> Result<(Removal, Left)> {
        let old = folder.text(UNFINISHED)?;
        let shown = folder.shown(UNFINISHED);
        let old = old.map(|text| DepText::new(text, shown)).transpose()?;
        let mut is_present = vec![false; self.keep.modules().len()];
        let (mut unseen, mut leftovers, mut links) = (Vec::new(), 0, Vec::new());
        let mut decide = |leaf: &Leaf<'_>| {
            let name = ModulePath(leaf.name).name();
            if !self.kernel.lists(name)? {
                let is_left = match &old {
                    Some(old) => old.find(name)?.is_some(),
                    None => false,
                };
                match is_left {
                    true => leftovers += 1,
                    false => unseen.push(leaf.path()),
                }
            }
            let Some(position) = self.keep.position(name) else {
                return Ok(Fate::Goes);
            };
            is_present[position] |= leaf.is_at(self.keep.modules()[position].line.path.0);
            if leaf.kind == LeafKind::Link {
                links.push(leaf.path());
            }
            Ok(Fate::Stays)
        };
        let removal = walk(folder, sizes, &mut decide, &mut |path| {
            report.warn("{} belongs to another mount and is left alone", &[path]);
        })?;
        let mut gone = Vec::new();
        for (module, is_present) in self.keep.modules().iter().zip(is_present) {
            if !is_present && !module.line.path.is_absolute() {
                gone.push(module.line.path.0);
            }
        }
        self.refuse_all("on disk, but not in modules.dep; run depmod: {}", &unseen);
        let what = "needed, but symbolic links whose targets may go: {}";
        self.refuse_all(what, &links);
        self.refuse_all("needed, but not on disk: {}", &gone);
        let left = match (old.is_some(), leftovers) {
            (false, _) => Left::Nothing,
            (true, 0) => Left::Mark,
            (true, _) => Left::Modules,
        };
        Ok((removal, left))
    }

    /// Loaded now and gone at the next boot: perhaps meant, perhaps forgotten.
    fn warn_of_loaded(&self, report: &Report) -> Result<()> {
        if self.root.is_host() && running_kernel() != self.kernel.version() {
            return Ok(());
        }
        let shown = self.root.shown(b"proc/modules");
        let text = self.root.text_or_empty(b"proc/modules")?;
        let mut lost = Vec::new();
        for name in proc_modules::names(text, shown) {
            let name = name?;
            if self.kernel.line(name)?.is_some() && !self.keeps(name) {
                lost.push(name.to_kernel());
            }
        }
        if !lost.is_empty() {
            lost.sort_unstable();
            let version = self.kernel.version();
            report.warn(
                "kernel {}: loaded now, gone at the next boot: {}",
                &[version, some_of(&lost)],
            );
        }
        Ok(())
    }

    /// The index files that change, for exactly those that exist: the texts, then what is made
    /// from them. Each text is passed over once.
    fn rewrites(&self, folder: &Folder, order: Order) -> Result<Vec<Rewrite>> {
        let layout = layout(folder)?;
        let mut indexing = Indexing {
            keep: &self.keep,
            priorities: vec![0; self.keep.modules().len()],
            writer: Writer::default(),
        };
        let (mut texts, mut indexes) = (Vec::new(), Vec::new());
        for &(name, format) in FILES {
            if name == b"modules.order" && order == Order::Leave {
                continue;
            }
            let index = BINARIES.iter().find(|(_, _, source)| *source == name);
            let index = index.map(|&(binary, index, _)| Ok((binary, index, folder.text(index)?)));
            let index = match index.transpose()? {
                Some((binary, index, Some(old))) => Some((binary, index, old)),
                _ => None,
            };
            let Some(text) = folder.text(name)? else {
                if let Some((_, index, _)) = index {
                    let what = "{} has no text to be made from; run depmod";
                    return Err(Error::refused(what, &[folder.shown(index)]));
                }
                continue;
            };
            let parts = indexing.filter(name, format, text, index.map(|(binary, ..)| binary));
            let parts = parts.map_err(|line| {
                let what = "no line of depmod's; run depmod";
                Error::parse(folder.shown(name), line, what, &[])
            })?;
            push_changed(&mut texts, name, text, parts);
            if let Some((_, index, old)) = index {
                let Some(bytes) = indexing.writer.write(layout) else {
                    let what = "{} would become too large";
                    return Err(Error::refused(what, &[folder.shown(index)]));
                };
                push_changed(&mut indexes, index, old, vec![bytes.leak()]);
            }
        }
        texts.extend(indexes);
        Ok(texts)
    }
}

/// What the texts are filtered by and the binary indexes are made with.
struct Indexing<'k> {
    keep: &'k Closure,
    /// For each module that stays, the number of its line in the new modules.dep, which is the
    /// first text.
    priorities: Vec<u32>,
    writer: Writer,
}

impl Indexing<'_> {
    /// The parts of a text that stay, or the number of a damaged line; what stays becomes the
    /// entries of its index, if it has one.
    fn filter(
        &mut self,
        name: &[u8],
        format: Format,
        text: Text,
        index: Option<Binary>,
    ) -> core::result::Result<Vec<Text>, usize> {
        let mut number = 0;
        let position = |name: ModuleName<'_>| self.keep.position(name);
        filter(format, text, &position, &mut |found| {
            if let Some((line, position)) = found {
                if name == b"modules.dep" {
                    self.priorities[position] = number;
                }
                if let Some(index) = index {
                    index.add(&mut self.writer, line, self.priorities[position]);
                }
            }
            number += 1;
        })
    }
}

fn push_changed(rewrites: &mut Vec<Rewrite>, name: Text, old: Text, parts: Vec<Text>) {
    let mut rest = old;
    let is_same = parts.iter().all(|part| match rest.strip_prefix(*part) {
        Some(behind) => {
            rest = behind;
            true
        }
        None => false,
    });
    if !is_same || !rest.is_empty() {
        rewrites.push(Rewrite {
            name,
            old_size: old.len(),
            parts,
        });
    }
}

/// The order in which this machine's depmod writes nodes, as its indexes show. Where all are
/// empty any order is right, and the newer one is what the machine will have sooner or later.
fn layout(folder: &Folder) -> Result<Layout> {
    for &(_, name, _) in BINARIES {
        if let Some(bytes) = folder.text(name)? {
            if let Some(layout) = Trie::new(bytes, folder.shown(name))?.layout() {
                return Ok(layout);
            }
        }
    }
    Ok(Layout::ParentsFirst)
}
