//! `--install` and `--remove`: the registries of all kernels of a call, changed together.

use crate::actions::carry::carry;
use crate::actions::kernels;
use crate::actions::wanted::{judge, Want, Wanted};
use crate::cli::parse::Mode;
use crate::cli::Request;
use crate::error::{Error, Result};
use crate::format::{fill, Text};
use crate::needs::kernel::{directory, module_named, Found};
use crate::needs::Kernel;
use crate::package::queue::{self, FORGOTTEN};
use crate::system::report::print;
use crate::system::tree::{walk, Fate, Leaf, Sizes};
use crate::system::{variable, Folder, Report, Root};
use crate::text::active::{is_owner, Added, Hold, Registry, Removed};
use crate::text::name::{ModuleName, ModulePath};
use crate::text::names::Insist;
use crate::text::{lines, proc_modules};

/// The registry's file name.
pub const ACTIVE: &[u8] = b"modules.active";

/// The registry of one kernel during a call; locked unless nothing will be written.
struct Turn<'s> {
    version: Text,
    folder: Folder,
    old: &'static [u8],
    registry: Registry<'s>,
    /// The modules that this call has had its say on: named twice, they count once.
    counted: Vec<ModuleName<'s>>,
}

/// Registers the named modules, or all that are loaded.
///
/// # Errors
/// A name that no kernel has, a malformed registry; nothing is written then.
pub fn install(root: &Root, request: &Request, report: &Report) -> Result<()> {
    let owner = owner(root, request)?;
    let wanted = Wanted::read(root, request, report)?;
    let is_loaded = wanted.is_none();
    let wanted = match wanted {
        Some(wanted) => wanted,
        None => loaded(root)?,
    };
    let hold = match is_loaded || request.is_static {
        true => Hold::Static,
        false => Hold::Dynamic(1),
    };
    let versions = kernels::to_register(root, request)?;
    // Locked before anything is looked up: a prune that ends meanwhile may have taken it away.
    let mut turns = open_turns(root, versions.clone(), request.mode)?;
    let found = look_up(root, &versions, &wanted.names, report)?;
    let is_nowhere = |places: &[Place]| places.iter().all(|place| *place == Place::Nowhere);
    let missing: Vec<&Want> = (wanted.names.iter().zip(&found))
        .filter(|(_, places)| is_nowhere(places))
        .map(|(want, _)| want)
        .collect();
    let is_any_found = missing.len() < wanted.names.len();
    match judge(&missing, &versions, report) {
        Ok(()) => {}
        // What was loaded from elsewhere is on no disk that a prune could clear.
        Err(error) if is_loaded && is_any_found => {
            for message in error.messages() {
                report.warn("{}", &[message]);
            }
        }
        Err(_) if request.force => {}
        Err(error) => {
            say_what_was_forgotten(root, &versions, report);
            return Err(error);
        }
    }
    let is_forced = request.force && !is_loaded;
    for (at, turn) in turns.iter_mut().enumerate() {
        let mut modules = Vec::new();
        for (want, places) in wanted.names.iter().zip(&found) {
            match &places[at] {
                Place::Files(files) => modules.extend_from_slice(files),
                Place::Nowhere
                    if is_forced && want.insist == Insist::Must && is_nowhere(places) =>
                {
                    modules.push(module_named(&want.given));
                }
                _ => {}
            }
        }
        for (at, name) in modules.iter().enumerate() {
            // Several names may stand for one module, and a call adds one reference.
            if !modules[..at].contains(name) {
                add(turn, *name, hold, owner, report)?;
            }
        }
        for source in &wanted.sources {
            let kernel = Kernel::open(root, &turn.version)?;
            carry(&mut turn.registry, &kernel, source, report)?;
        }
    }
    write(&turns, request.mode, report)
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
    let mut turns = open_turns(root, versions, request.mode)?;
    if let (None, Some(owner)) = (&wanted, &owner) {
        for turn in &mut turns {
            for name in turn.registry.owned_by(owner) {
                take(turn, name, Some(owner), report)?;
            }
        }
    }
    let mut errors = Vec::new();
    for Want { given, insist } in wanted.iter().flatten() {
        let mut was_registered = false;
        for turn in &mut turns {
            for name in registered_as(root, turn, given)? {
                was_registered |= take(turn, name, owner, report)?;
            }
        }
        match (was_registered, &owner) {
            (true, _) => {}
            (false, _) if *insist == Insist::May => {
                report.debug("{} is not registered", &[given]);
            }
            (false, Some(owner)) => report.note("{} is not registered by {}", &[given, owner]),
            (false, None) => errors.push(Error::refused("{} is not registered", &[given])),
        }
    }
    Error::unless_empty(errors)?;
    write(&turns, request.mode, report)
}

/// The modules that a name stands for in a registry: itself, or what the kernel has for it.
fn registered_as<'n>(root: &Root, turn: &Turn<'_>, given: &'n [u8]) -> Result<Vec<ModuleName<'n>>> {
    let name = module_named(given);
    if turn.registry.find(name).is_some() {
        return Ok(vec![name]);
    }
    Ok(match Kernel::open(root, &turn.version)?.look_up(given)? {
        Found::Modules(lines) => lines.iter().map(|line| line.path.name()).collect(),
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
            let (given, name) = (&want.given, module_named(&want.given));
            places.push(match kernel.find(given)? {
                Found::Modules(lines) => {
                    Place::Files(lines.iter().map(|line| line.path.name()).collect())
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
    let folder = Folder::open(root, &directory(version))?;
    let (Some(folder), Some(_)) = (folder, variable("DPKG_MAINTSCRIPT_PACKAGE")) else {
        return Ok(false);
    };
    let mut is_there = false;
    let mut look = |leaf: &Leaf<'_>| {
        is_there |= ModulePath(leaf.name).name() == name;
        Ok(Fate::Stays)
    };
    walk(&folder, Sizes::Unwanted, &mut look, &mut |_| {})?;
    Ok(is_there)
}

/// A module that is missing may be one that a prune took, and its package can bring it again.
fn say_what_was_forgotten(root: &Root, versions: &[Text], report: &Report) {
    for note in queue::read(root, FORGOTTEN).unwrap_or_default() {
        let mut kernels = note
            .kernels
            .iter()
            .filter(|kernel| versions.contains(kernel));
        if let Some(kernel) = kernels.next() {
            report.warn(
                "kernel {} was pruned; for more of its modules, install again: {}",
                &[kernel, &note.package],
            );
        }
    }
}

/// The loaded modules, as if they had been named.
fn loaded(root: &Root) -> Result<Wanted> {
    let path = b"proc/modules";
    let text = root.needed_text(path)?;
    let shown = root.shown(path);
    let mut wanted = Wanted::default();
    for name in proc_modules::names(text, &shown) {
        let (given, insist) = (name?.to_kernel(), Insist::Must);
        wanted.names.push(Want { given, insist });
    }
    match wanted.names.is_empty() {
        true => Err(Error::refused(
            "{}: no module is loaded; nothing to register",
            &[&shown],
        )),
        false => Ok(wanted),
    }
}

/// Opens the registries, locked in the order of their versions so that two calls cannot
/// wait for each other.
fn open_turns<'s>(root: &Root, versions: Vec<Text>, mode: Mode) -> Result<Vec<Turn<'s>>> {
    let mut turns = Vec::with_capacity(versions.len());
    for version in versions {
        let folder = kernels::open(root, &version, mode)?;
        let old = folder.text_or_empty(ACTIVE)?;
        let registry = Registry::parse(old, &folder.shown(ACTIVE))?;
        turns.push(Turn {
            version,
            folder,
            old,
            registry,
            counted: Vec::new(),
        });
    }
    Ok(turns)
}

fn add<'s>(
    turn: &mut Turn<'s>,
    name: ModuleName<'s>,
    hold: Hold,
    owner: Option<&'s [u8]>,
    report: &Report,
) -> Result<()> {
    let given = name.as_written();
    if !name.is_storable() {
        return Err(Error::usage("not a module name: {}", &[given]));
    }
    if turn.counted.contains(&name) {
        return Ok(());
    }
    turn.counted.push(name);
    match turn.registry.add(name, hold, owner) {
        Added::Changed | Added::Same => {}
        Added::StaysStatic => report.note(
            "{} is static in kernel {} and stays so",
            &[given, &turn.version],
        ),
        Added::Overflow => {
            let file = turn.folder.shown(ACTIVE);
            return Err(Error::refused(
                "{}: too many references to {}",
                &[&file, given],
            ));
        }
    }
    Ok(())
}

/// Takes one reference away; whether there was one to take.
fn take<'s>(
    turn: &mut Turn<'s>,
    name: ModuleName<'s>,
    owner: Option<&[u8]>,
    report: &Report,
) -> Result<bool> {
    if turn.counted.contains(&name) {
        return Ok(true);
    }
    turn.counted.push(name);
    match turn.registry.remove(name, owner) {
        Removed::Changed => Ok(true),
        Removed::NotRegistered => Ok(false),
        Removed::StaysStatic => {
            let name = name.to_kernel();
            report.warn(
                "{} is static in kernel {} and stays",
                &[&name, &turn.version],
            );
            Ok(true)
        }
        Removed::OwnedByOthers => {
            let owners = turn
                .registry
                .find(name)
                .map_or(&[][..], |entry| &entry.owners);
            Err(Error::refused(
                "{} is held in kernel {} by its owners alone; name one with --owner: {}",
                &[&name.to_kernel(), &turn.version, &owners.join(&b", "[..])],
            ))
        }
    }
}

/// Writes the registries that changed, or prints how they would.
fn write(turns: &[Turn<'_>], mode: Mode, report: &Report) -> Result<()> {
    let mut plan = Vec::new();
    let mut done: Vec<&[u8]> = Vec::new();
    for turn in turns {
        let new = turn.registry.to_text();
        if new == turn.old {
            continue;
        }
        if mode == Mode::DryRun {
            plan_lines(&mut plan, &turn.folder.shown(ACTIVE), turn.old, &new);
            continue;
        }
        if let Err(error) = turn.folder.replace(ACTIVE, &new) {
            if !done.is_empty() {
                report.warn("changed before this failed: {}", &[&done.join(&b", "[..])]);
            }
            return Err(error);
        }
        report.debug("wrote {}", &[&turn.folder.shown(ACTIVE)]);
        done.push(&turn.version);
    }
    print(&plan)
}

/// The lines that go and come, as in a diff.
fn plan_lines(plan: &mut Vec<u8>, file: &[u8], old: &[u8], new: &[u8]) {
    for (sign, text, other) in [(b"-", old, new), (b"+", new, old)] {
        for (_, line) in lines(text) {
            if !lines(other).any(|(_, kept)| kept == line) {
                plan.extend_from_slice(&fill("{}: {}{}\n", &[file, sign, line]));
            }
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
    let list = fill("var/lib/dpkg/info/{}.list", &[&qualified]);
    Ok(Some(match root.has(&list)? {
        true => qualified,
        false => package,
    }))
}
