//! `--install` and `--remove`: the registries of all kernels of a call, changed together.

use crate::actions::carry::{carry, Source};
use crate::actions::kernels;
use crate::actions::wanted::{judge, Want, Wanted};
use crate::cli::parse::Mode;
use crate::cli::Request;
use crate::error::{Error, Result};
use crate::format::{decimal, fill, some_of, Text};
use crate::needs::kernel::{directory, module_named, Found};
use crate::needs::sources::{self, running};
use crate::needs::Kernel;
use crate::package::database::Caller;
use crate::package::queue::{self, FORGOTTEN};
use crate::plan::registry::{execute, Change};
use crate::system::report::print;
use crate::system::tree::{walk, Fate, Leaf, Scope, Sizes};
use crate::system::{variable, Folder, Report, Root};
use crate::text::active::{is_owner, Added, Hold, Registry, Removed, ACTIVE};
use crate::text::name::{ModuleName, ModulePath};
use crate::text::names::Insist;

/// The registry of one kernel during a call; locked unless nothing will be written.
struct Turn {
    version: Text,
    folder: Folder,
    old: Text,
    registry: Registry<'static>,
}

/// Registers the named modules, or all that are loaded.
///
/// # Errors
/// A name that no kernel has, a malformed registry; nothing is written then.
pub fn install(root: &Root, request: &Request, report: &Report) -> Result<()> {
    let owner = owner(root, request)?;
    let versions = kernels::to_register(root, request)?;
    // Locked before anything is looked up: a prune that ends meanwhile may have taken it away.
    let mut turns = open_turns(root, &versions, request, report)?;
    if turns.is_empty() {
        return Ok(());
    }
    match Wanted::read(root, request, report)? {
        Some(wanted) => {
            let hold = match request.is_static {
                true => Hold::Static,
                false => Hold::Dynamic(1),
            };
            let wanted = Box::leak(Box::new(wanted));
            add_wanted(root, &mut turns, wanted, hold, owner, request, report)?;
        }
        None => add_loaded(root, &mut turns, report)?,
    }
    write(turns, request.mode, report)
}

/// Registers what a call names. A file, or the machine's census, tells all that it needs.
fn add_wanted(
    root: &Root,
    turns: &mut [Turn],
    wanted: &'static Wanted,
    hold: Hold,
    owner: Option<Text>,
    request: &Request,
    report: &Report,
) -> Result<()> {
    let versions: Vec<Text> = turns.iter().map(|turn| turn.version).collect();
    let found = look_up(root, &versions, &wanted.names, report)?;
    let is_nowhere = |places: &[Place]| places.iter().all(|place| *place == Place::Nowhere);
    let named = wanted.names.iter().zip(&found);
    let missing: Vec<&Want> = named
        .filter(|(_, places)| is_nowhere(places))
        .map(|(want, _)| want)
        .collect();
    match judge(&missing, &versions, report) {
        Err(error) if !request.force => {
            say_what_was_forgotten(root, &versions, report);
            return Err(error);
        }
        _ => {}
    }
    let is_base = !request.from.is_empty() || request.detect;
    for (at, turn) in turns.iter_mut().enumerate() {
        let mut modules = Vec::new();
        for (want, places) in wanted.names.iter().zip(&found) {
            match &places[at] {
                Place::Files(files) => modules.extend_from_slice(files),
                Place::Nowhere if want.insist == Insist::Must && is_nowhere(places) => {
                    modules.push(module_named(want.given));
                }
                _ => {}
            }
        }
        add(turn, modules, hold, owner, report)?;
        for source in &wanted.sources {
            let kernel = Kernel::open(root, turn.version)?;
            carry(&mut turn.registry, &kernel, source, report)?;
        }
        if is_base {
            turn.registry.make_base();
        }
    }
    Ok(())
}

/// Registers what is loaded for good: by its name in the kernel that runs, whatever modprobe.d calls
/// it, and in the others as that kernel's registry would be carried over to them.
fn add_loaded(root: &Root, turns: &mut [Turn], report: &Report) -> Result<()> {
    let loaded = loaded(root)?;
    let running = running(root)?;
    let source = match running {
        Some(running) => Some(&*Box::leak(Box::new(Source::of_loaded(
            root, running, &loaded,
        )?))),
        None => None,
    };
    for turn in turns {
        let kernel = Kernel::open(root, turn.version)?;
        match source.filter(|_| running != Some(turn.version)) {
            Some(source) => carry(&mut turn.registry, &kernel, source, report)?,
            None => add_by_name(turn, &kernel, &loaded, report)?,
        }
        turn.registry.make_base();
        let count = decimal(turn.registry.count());
        report.note("kernel {}: registered {} modules", &[turn.version, count]);
    }
    Ok(())
}

fn add_by_name(
    turn: &mut Turn,
    kernel: &Kernel<'_>,
    loaded: &[ModuleName<'static>],
    report: &Report,
) -> Result<()> {
    let (mut modules, mut absent) = (Vec::new(), Vec::new());
    for &name in loaded {
        match kernel.line(name)? {
            Some(line) => modules.push(line.path().name()),
            // What was loaded from elsewhere is on no disk that a prune could clear.
            None if kernel.is_builtin(name)? => {}
            None => absent.push(name.to_kernel()),
        }
    }
    if !absent.is_empty() {
        let what = "loaded, but not in kernel {}: {}";
        report.warn(what, &[turn.version, some_of(&absent)]);
    }
    add(turn, modules, Hold::Static, None, report)
}

/// Takes a reference of the named modules away, or every reference of an owner.
///
/// # Errors
/// A module that is not registered, for an anonymous caller; nothing is written then.
pub fn remove(root: &Root, request: &Request, report: &Report) -> Result<()> {
    let owner = owner(root, request)?;
    let wanted = Wanted::read(root, request, report)?.map(Wanted::into_names);
    if wanted.is_none() && owner.is_none() {
        return Err(Error::usage("--remove needs --use or --owner", &[]));
    }
    let versions = match &owner {
        Some(_) => kernels::to_release(root, request)?,
        None => kernels::to_register(root, request)?,
    };
    let mut turns = open_turns(root, &versions, request, report)?;
    let wanted = wanted.unwrap_or_default();
    let mut is_registered = vec![false; wanted.len()];
    for turn in &mut turns {
        let kernel = Kernel::open(root, turn.version);
        let kernel = kernel.as_deref();
        let mut modules: Vec<(ModuleName<'_>, usize)> = Vec::new();
        for (at, want) in wanted.iter().enumerate() {
            let named = registered_as(&turn.registry, kernel, want.given)?;
            modules.extend(named.into_iter().map(|name| (name, at)));
        }
        if let (true, Some(owner)) = (wanted.is_empty(), owner) {
            let owned = turn.registry.owned_by(owner);
            modules.extend(owned.into_iter().map(|name| (name, usize::MAX)));
        }
        // Named twice, a module loses one reference.
        modules.sort_by_key(|(name, _)| *name);
        let mut last = None;
        for (name, at) in modules {
            let has_gone = last == Some(name) || take(turn, name, owner, report)?;
            last = Some(name);
            if let Some(is_registered) = is_registered.get_mut(at) {
                *is_registered |= has_gone;
            }
        }
    }
    let mut errors = Vec::new();
    for (Want { given, insist }, is_registered) in wanted.iter().zip(is_registered) {
        match (is_registered, owner) {
            (true, _) => {}
            (false, _) if *insist == Insist::May => {
                report.debug("{} is not registered", &[given]);
            }
            (false, Some(owner)) => report.note("{} is not registered by {}", &[given, owner]),
            (false, None) => errors.push(Error::refused("{} is not registered", &[given])),
        }
    }
    Error::unless_empty(errors)?;
    write(turns, request.mode, report)
}

/// The modules that a name stands for in a registry: itself, or what the kernel has for it.
fn registered_as<'n>(
    registry: &Registry<'_>,
    kernel: core::result::Result<&Kernel<'_>, &Error>,
    given: &'n [u8],
) -> Result<Vec<ModuleName<'n>>> {
    let name = module_named(given);
    if registry.find(name).is_some() {
        return Ok(vec![name]);
    }
    let Ok(kernel) = kernel else {
        return Ok(Vec::new());
    };
    Ok(match kernel.look_up(given)? {
        Found::Modules(lines) => lines.iter().map(|line| line.path().name()).collect(),
        _ => Vec::new(),
    })
}

/// Where a kernel has a module.
#[derive(Clone, PartialEq, Eq)]
enum Place {
    /// In files, which are worth a registration; an alias may stand for several modules.
    Files(Vec<ModuleName<'static>>),
    /// In the kernel itself.
    Builtin,
    /// Nowhere.
    Nowhere,
}

/// For each name, where each kernel has it; says what is built in or missing in some.
fn look_up(
    root: &Root,
    versions: &[Text],
    names: &[Want],
    report: &Report,
) -> Result<Vec<Vec<Place>>> {
    let mut found: Vec<Vec<Place>> = names.iter().map(|_| Vec::new()).collect();
    for version in versions {
        let kernel = Kernel::open(root, version)?;
        for (want, places) in names.iter().zip(&mut found) {
            let (given, name) = (&want.given, module_named(want.given));
            places.push(match kernel.find(given)? {
                Found::Modules(lines) => {
                    Place::Files(lines.iter().map(|line| line.path().name()).collect())
                }
                Found::Builtin => Place::Builtin,
                Found::Nothing
                    if want.insist == Insist::Must && is_unpacked(root, version, name)? =>
                {
                    report.note("{} is on disk, but not in modules.dep yet", &[given]);
                    Place::Files(vec![ModuleName::new(name.to_kernel())])
                }
                Found::Nothing => Place::Nowhere,
            });
        }
    }
    let insisted = names.iter().zip(&found);
    for (want, places) in insisted.filter(|(want, _)| want.insist == Insist::Must) {
        let name = &want.given;
        for (version, place) in versions.iter().zip(places) {
            match place {
                Place::Builtin => report.note(
                    "{} is built into kernel {}; not registered",
                    &[name, version],
                ),
                Place::Nowhere if places.iter().any(|place| *place != Place::Nowhere) => {
                    report.warn("no module {} in kernel {}", &[name, version])
                }
                _ => {}
            }
        }
    }
    Ok(found)
}

/// Whether a file of a module is there although the index does not know it. Between the
/// unpacking of a package and its configuration, that is a maintainer script's business: the
/// package's own script will run depmod.
fn is_unpacked(root: &Root, version: &[u8], name: ModuleName<'_>) -> Result<bool> {
    let folder = Folder::open(root, directory(version))?;
    let (Some(folder), Some(_)) = (folder, variable("DPKG_MAINTSCRIPT_PACKAGE")) else {
        return Ok(false);
    };
    let mut is_there = false;
    let mut look = |leaf: &Leaf<'_>| {
        is_there |= ModulePath(leaf.name).name() == name;
        Ok(Fate::Stays)
    };
    walk(&folder, Scope::All, Sizes::Unwanted, &mut look, &mut |_| {})?;
    Ok(is_there)
}

/// A module that is missing may be one that a prune took, and its package can bring it again.
fn say_what_was_forgotten(root: &Root, versions: &[Text], report: &Report) {
    for note in queue::read(root, FORGOTTEN).unwrap_or_default().all {
        let mut kernels = note
            .kernels
            .iter()
            .filter(|kernel| versions.contains(kernel));
        if let Some(kernel) = kernels.next() {
            report.warn(
                "kernel {} was pruned; for more of its modules, install again: {}",
                &[kernel, note.package],
            );
        }
    }
}

/// The loaded modules; there must be some.
fn loaded(root: &Root) -> Result<Vec<ModuleName<'static>>> {
    let path = b"proc/modules";
    root.needed_text(path)?;
    let loaded = sources::loaded(root)?;
    match loaded.is_empty() {
        true => Err(Error::refused(
            "{}: no module is loaded; nothing to register",
            &[root.shown(path)],
        )),
        false => Ok(loaded),
    }
}

/// Opens the registries, locked in the order of their versions so that two calls cannot
/// wait for each other.
fn open_turns(
    root: &Root,
    versions: &[Text],
    request: &Request,
    report: &Report,
) -> Result<Vec<Turn>> {
    let is_script = Caller::of_environment(request.root.is_some()) == Caller::Script;
    let mut turns = Vec::with_capacity(versions.len());
    for &version in versions {
        let folder = kernels::open(root, version, request.mode)?;
        let old = folder.text_or_empty(ACTIVE)?;
        let registry = match Registry::parse(old, folder.shown(ACTIVE)) {
            // One bad line must not keep every package from being installed or removed. That kernel
            // is not pruned before somebody has seen to it.
            Err(error) if is_script => {
                for message in error.messages() {
                    report.warn("{}; kernel {} is left as it is", &[message, version]);
                }
                continue;
            }
            registry => registry?,
        };
        turns.push(Turn {
            version,
            folder,
            old,
            registry,
        });
    }
    Ok(turns)
}

/// Adds a reference to each of these modules; several names may stand for one, and a call adds one.
fn add(
    turn: &mut Turn,
    mut modules: Vec<ModuleName<'static>>,
    hold: Hold,
    owner: Option<Text>,
    report: &Report,
) -> Result<()> {
    modules.sort_unstable();
    modules.dedup();
    for name in modules {
        let given = name.as_written();
        if !name.is_storable() {
            return Err(Error::usage("not a module name: {}", &[given]));
        }
        match turn.registry.add(name, hold, owner) {
            Added::Changed | Added::Same => {}
            Added::StaysStatic => report.note(
                "{} is static in kernel {} and stays so",
                &[given, turn.version],
            ),
            Added::Overflow => {
                let file = turn.folder.shown(ACTIVE);
                let what = "{}: too many references to {}";
                return Err(Error::refused(what, &[file, given]));
            }
        }
    }
    Ok(())
}

/// Takes one reference away; whether there was one to take.
fn take(
    turn: &mut Turn,
    name: ModuleName<'_>,
    owner: Option<&[u8]>,
    report: &Report,
) -> Result<bool> {
    match turn.registry.remove(name, owner) {
        Removed::Changed => Ok(true),
        Removed::NotRegistered => Ok(false),
        Removed::StaysStatic => {
            let what = "{} is static in kernel {} and stays";
            report.warn(what, &[name.to_kernel(), turn.version]);
            Ok(true)
        }
        Removed::OwnedByOthers => {
            let found = turn.registry.find(name);
            let owners = found.map_or(&[][..], |entry| &entry.owners);
            let parts = [name.to_kernel(), turn.version, &owners.join(&b", "[..])];
            Err(Error::refused(
                "{} is held in kernel {} by its owners alone; name one with --owner: {}",
                &parts,
            ))
        }
    }
}

/// Writes the registries that changed, or prints how they would.
fn write(turns: Vec<Turn>, mode: Mode, report: &Report) -> Result<()> {
    let changes = turns
        .into_iter()
        .map(|turn| Change::new(turn.version, turn.folder, turn.old, &turn.registry));
    let changes: Vec<Change> = changes.collect();
    match mode {
        Mode::Execute => execute(changes, report),
        Mode::DryRun => {
            let mut out = Vec::new();
            changes.iter().for_each(|change| change.describe(&mut out));
            print(&out)
        }
    }
}

/// Whose reference it is: `--owner`, or the package whose maintainer script calls us.
fn owner(root: &Root, request: &Request) -> Result<Option<Text>> {
    let owner = match request.owner {
        Some(owner) => Some(owner),
        None => calling_package(root)?,
    };
    match owner {
        Some(owner) if !is_owner(owner) => Err(Error::usage("not a package name: {}", &[owner])),
        owner => Ok(owner),
    }
}

/// The package whose maintainer script calls us, with `:arch` where dpkg keeps several
/// architectures of it apart. It does so in the names of its info files alone at that moment:
/// `status` may not have the package yet. (dpkg: lib/dpkg/pkg-format.c, `pkgset_need_arch`)
fn calling_package(root: &Root) -> Result<Option<Text>> {
    let Some(package) = variable("DPKG_MAINTSCRIPT_PACKAGE") else {
        return Ok(None);
    };
    let Some(arch) = variable("DPKG_MAINTSCRIPT_ARCH") else {
        return Ok(Some(package));
    };
    let qualified = fill("{}:{}", &[package, arch]);
    let list = fill("var/lib/dpkg/info/{}.list", &[qualified]);
    Ok(Some(match root.has(list)? {
        true => qualified,
        false => package,
    }))
}
