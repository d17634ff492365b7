//! `--install` and `--remove`: the registries of all kernels of a call, changed together.

use crate::actions::migrate::{migrate, Source};
use crate::actions::restore::{bring_back, bring_firmware_back, parked};
use crate::actions::wanted::{check_found, Wanted};
use crate::actions::{kernels, Session};
use crate::cli::parse::Mode;
use crate::error::{Answer, Error, Errors, Result};
use crate::format::{decimal, join, keep_list, new_list, render, some_of, List, Text};
use crate::needs::kernel::{directory, module_named, Found};
use crate::needs::sources::{self, running};
use crate::needs::{registry, Kernel};
use crate::package::database::{Caller, NOTHING};
use crate::plan::registry::{execute, Change};
use crate::system::report::print;
use crate::system::tree::{walk, Fate, Leaf, Scope, Sizes};
use crate::system::{variable, Folder, Report, Root};
use crate::text::active::{is_owner, Added, Hold, Registry, Removed, ACTIVE};
use crate::text::dep::DepLine;
use crate::text::name::{ModuleName, ModulePath};
use crate::text::names::{Presence, Want};
use crate::text::sort_once;

/// Registers the named modules, or all that are loaded.
///
/// # Errors
/// A name that no kernel has, a malformed registry; nothing is written then.
#[inline(never)] // larger in the large frame of its caller
pub fn install(session: &Session) -> Result<()> {
    let owner = owner(session)?;
    let versions = kernels::to_register(session)?;
    // Locked before anything is looked up: a prune that ends meanwhile may have taken it away.
    let mut changes = open(session, versions)?;
    if changes.is_empty() {
        return Ok(());
    }
    match Wanted::read(session)? {
        Some(wanted) => add_wanted(session, &mut changes, wanted, owner)?,
        None => add_loaded(session, &mut changes)?,
    }
    for change in &changes {
        bring_back(
            session,
            change.version,
            &change.folder,
            change.registry,
            &[],
        )?;
    }
    write(changes, session)?;
    bring_firmware_back(session)
}

/// Registers what a call names. A file, or the machine's census, tells all that it needs.
fn add_wanted(
    session: &Session,
    changes: &mut [Change],
    wanted: &'static Wanted,
    owner: Option<Text>,
) -> Result<()> {
    let Session {
        root,
        request,
        report,
    } = session;
    let versions: Vec<Text> = changes.iter().map(|change| change.version).collect();
    let names = &wanted.names;
    let mut is_found = vec![false; names.len()];
    let places = look_up(root, changes, names, &mut is_found, report)?;
    say_where_it_is_not(&versions, names, places, &is_found, report);
    match check_found(session, names, &is_found, &versions) {
        Err(error) if !request.force => return Err(error),
        _ => {}
    }
    let hold = match request.is_static {
        true => Hold::Static,
        false => Hold::Dynamic(1),
    };
    for (change, places) in changes.iter_mut().zip(places) {
        let modules = new_list();
        for (at, place) in places.iter().enumerate() {
            match place {
                Place::Files(files) => modules.extend_from_slice(files),
                Place::Nowhere if names[at].presence == Presence::Required && !is_found[at] => {
                    modules.push(module_named(names[at].given).to_kernel());
                }
                _ => {}
            }
        }
        add(change, modules, hold, owner, report)?;
        for source in &wanted.sources {
            let kernel = Kernel::open(root, change.version)?;
            migrate(change.registry, &kernel, source, report)?;
        }
        if !request.from.is_empty() || request.detect {
            change.registry.make_base();
        }
    }
    Ok(())
}

/// Registers what is loaded for good: by its name in the kernel that runs, whatever modprobe.d calls
/// it, and in the others as that kernel's registry would be carried over to them.
fn add_loaded(session: &Session, changes: &mut [Change]) -> Result<()> {
    let Session { root, report, .. } = session;
    let loaded = loaded(root)?;
    let running = running(root)?;
    let source = match running {
        Some(running) => Some(Source::of_loaded(root, running, loaded)?),
        None => None,
    };
    for change in changes {
        let kernel = Kernel::open(root, change.version)?;
        match source {
            Some(source) if running != Some(change.version) => {
                migrate(change.registry, &kernel, source, report)?;
            }
            _ => add_by_name(root, change, &kernel, loaded, report)?,
        }
        change.registry.make_base();
        let count = decimal(change.registry.count());
        report.note(
            msg!("kernel {}: registered {} modules"),
            &[change.version, count],
        );
    }
    Ok(())
}

fn add_by_name(
    root: &Root,
    change: &mut Change,
    kernel: &Kernel<'_>,
    loaded: &[ModuleName<'static>],
    report: &Report,
) -> Result<()> {
    let (modules, absent) = (new_list(), new_list());
    let parked = parked(root, change.version, &change.folder)?;
    for &name in loaded {
        let line = match (kernel.line(name)?, &parked) {
            (None, Some(parked)) => parked.line(name)?,
            (line, _) => line,
        };
        match line {
            Some(line) => modules.push(line.path().name().to_kernel()),
            // What was loaded from elsewhere is on no disk that a prune could clear.
            None if kernel.is_builtin(name)?.is_yes() => {}
            None => absent.push(name.to_kernel()),
        }
    }
    if !absent.is_empty() {
        let what = msg!("loaded, but not in kernel {}: {}");
        report.warn(what, &[change.version, some_of(absent)]);
    }
    add(change, modules, Hold::Static, None, report)
}

/// Takes a reference of the named modules away, or every reference of an owner.
///
/// # Errors
/// A module that is not registered, for an anonymous caller; nothing is written then.
#[inline(never)] // larger in the large frame of its caller
pub fn remove(session: &Session) -> Result<()> {
    let Session { root, report, .. } = session;
    let owner = owner(session)?;
    let wanted = Wanted::read(session)?;
    if wanted.is_none() && owner.is_none() {
        return Err(Error::usage(msg!("--remove needs --use or --owner"), &[]));
    }
    let versions = match owner {
        Some(_) => kernels::to_release(session)?,
        None => kernels::to_register(session)?,
    };
    let mut changes = open(session, versions)?;
    let names = wanted.map_or(&[][..], |wanted| &wanted.names);
    let mut is_registered = vec![false; names.len()];
    for change in &mut changes {
        let kernel = Kernel::open(root, change.version);
        let (modules, meant) = (new_list(), new_list());
        for want in names {
            let registered = registered_as(change.registry, &kernel, want.given)?;
            modules.extend_from_slice(registered);
            meant.push(registered);
        }
        if let (true, Some(owner)) = (names.is_empty(), owner) {
            for entry in change.registry.entries() {
                if entry.owners.contains(&owner) {
                    modules.push(entry.name.to_kernel());
                }
            }
        }
        // Named twice, a module loses one reference.
        sort_once(modules);
        let gone = new_list();
        for &mut name in modules {
            if take(change, name, owner, report)?.is_yes() {
                gone.push(name);
            }
        }
        for (is_registered, meant) in is_registered.iter_mut().zip(meant) {
            // Sorted, as they were taken in the order of their names.
            *is_registered |= meant.iter().any(|name| gone.binary_search(name).is_ok());
        }
    }
    let mut errors = Errors::default();
    for (
        Want {
            given, presence, ..
        },
        is_registered,
    ) in names.iter().zip(is_registered)
    {
        match (is_registered, owner) {
            (true, _) => {}
            (false, _) if *presence == Presence::Optional => {
                report.debug(msg!("{} is not registered"), &[given]);
            }
            (false, Some(owner)) => {
                report.note(msg!("{} is not registered by {}"), &[given, owner])
            }
            (false, None) => errors.push(Error::refused(msg!("{} is not registered"), &[given])),
        }
    }
    errors.result()?;
    write(changes, session)
}

/// The modules that a name stands for in a registry: itself, or what the kernel has for it.
fn registered_as(
    registry: &Registry,
    kernel: &Result<Box<Kernel<'_>>>,
    given: Text,
) -> Result<List<Text>> {
    let name = module_named(given);
    if registry.find(name).is_some() {
        return Ok(keep_list(vec![name.to_kernel()]));
    }
    match kernel {
        Ok(kernel) => match kernel.look_up(given)? {
            Found::Modules(lines) => Ok(names_of(lines)),
            _ => Ok(NOTHING),
        },
        Err(_) => Ok(NOTHING),
    }
}

fn names_of(lines: &[DepLine<'static>]) -> List<Text> {
    let names = new_list();
    for line in lines {
        names.push(line.path().name().to_kernel());
    }
    names
}

/// Where a kernel has a module.
enum Place {
    /// In files, parked or not, which are worth a registration; an alias may stand for several
    /// modules.
    Files(List<Text>),
    /// In the kernel itself.
    Builtin,
    /// Nowhere.
    Nowhere,
}

/// For each kernel, where it has each of the names; `found` says which of them any kernel has.
fn look_up(
    root: &Root,
    changes: &[Change],
    names: &[Want],
    found: &mut [bool],
    report: &Report,
) -> Result<List<List<Place>>> {
    let all = new_list();
    for change in changes {
        let version = change.version;
        let kernel = Kernel::open(root, version)?;
        let parked = parked(root, version, &change.folder)?;
        let places = new_list();
        for (want, is_found) in names.iter().zip(&mut *found) {
            let (given, name) = (want.given, module_named(want.given));
            let found = match (kernel.find(given)?, &parked) {
                (Found::Nothing, Some(parked)) => parked.find(given)?,
                (found, _) => found,
            };
            let place = match found {
                Found::Modules(lines) => Place::Files(names_of(lines)),
                Found::Builtin => Place::Builtin,
                Found::Nothing
                    if want.presence == Presence::Required
                        && is_unpacked(root, version, name)?.is_yes() =>
                {
                    report.note(msg!("{} is on disk, but not in modules.dep yet"), &[given]);
                    Place::Files(keep_list(vec![name.to_kernel()]))
                }
                Found::Nothing => Place::Nowhere,
            };
            *is_found |= !matches!(place, Place::Nowhere);
            places.push(place);
        }
        all.push(&*places);
    }
    Ok(all)
}

/// Says for each name that must be there what kernels have it built in, and which lack it that
/// others have.
fn say_where_it_is_not(
    versions: &[Text],
    names: &[Want],
    places: &[List<Place>],
    is_found: &[bool],
    report: &Report,
) {
    for (at, want) in names.iter().enumerate() {
        if want.presence == Presence::Optional {
            continue;
        }
        for (version, places) in versions.iter().zip(places) {
            let parts = [want.given, version];
            match places[at] {
                Place::Builtin => {
                    report.note(msg!("{} is built into kernel {}; not registered"), &parts);
                }
                Place::Nowhere if is_found[at] => {
                    report.warn(msg!("no module {} in kernel {}"), &parts);
                }
                _ => {}
            }
        }
    }
}

/// Whether a file of a module is there although the index does not know it. Between the
/// unpacking of a package and its configuration, that is a maintainer script's business: the
/// package's own script will run depmod.
fn is_unpacked(root: &Root, version: &[u8], name: ModuleName<'_>) -> Result<Answer> {
    let folder = Folder::open(root, directory(version))?;
    let (Some(folder), Some(_)) = (folder, variable("DPKG_MAINTSCRIPT_PACKAGE")) else {
        return Ok(Answer::No);
    };
    let mut is_there = false;
    let mut look = |leaf: &Leaf<'_>| {
        is_there |= ModulePath(leaf.name).name() == name;
        Ok(Fate::Stays)
    };
    walk(&folder, Scope::All, Sizes::Unwanted, &mut look)?;
    Ok(is_there.into())
}

/// The loaded modules; there must be some.
fn loaded(root: &Root) -> Result<List<ModuleName<'static>>> {
    let path = b"proc/modules";
    root.needed_text(path)?;
    let loaded = sources::loaded(root)?;
    match loaded.is_empty() {
        true => Err(Error::refused(
            msg!("{}: no module is loaded; nothing to register"),
            &[root.shown(path)],
        )),
        false => Ok(loaded),
    }
}

/// Opens the registries, locked in the order of their versions so that two calls cannot
/// wait for each other.
fn open(session: &Session, versions: &[Text]) -> Result<Vec<Change>> {
    let Session {
        root,
        request,
        report,
    } = session;
    let is_script = Caller::of_environment(request.root.is_some()) == Caller::Script;
    let mut changes = Vec::new();
    for &version in versions {
        let folder = kernels::open(root, version, request.mode)?;
        match registry::read(&folder) {
            Ok(registry) => changes.push(Change {
                version,
                folder,
                registry,
            }),
            // One bad line must not keep every package from being installed or removed. That kernel
            // is not pruned before somebody has seen to it.
            Err(error) if is_script => {
                for message in error.messages() {
                    report.warn(msg!("{}; kernel {} is left as it is"), &[message, version]);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(changes)
}

/// Adds a reference to each of these modules; several names may stand for one, and a call adds one.
fn add(
    change: &mut Change,
    modules: &mut Vec<Text>,
    hold: Hold,
    owner: Option<Text>,
    report: &Report,
) -> Result<()> {
    sort_once(modules);
    for &mut given in modules {
        let name = ModuleName::new(given);
        if !name.is_storable() {
            return Err(Error::usage(msg!("not a module name: {}"), &[given]));
        }
        match change.registry.add(name, hold, owner) {
            Added::Changed | Added::Same => {}
            Added::StaysStatic => report.note(
                msg!("{} is static in kernel {} and stays so"),
                &[given, change.version],
            ),
            Added::Overflow => {
                let file = change.folder.shown(ACTIVE);
                let what = msg!("{}: too many references to {}");
                return Err(Error::refused(what, &[file, given]));
            }
        }
    }
    Ok(())
}

/// Takes one reference away; whether there was one to take.
fn take(change: &mut Change, given: Text, owner: Option<&[u8]>, report: &Report) -> Result<Answer> {
    let name = ModuleName::new(given);
    match change.registry.remove(name, owner) {
        Removed::Changed => Ok(Answer::Yes),
        Removed::NotRegistered => Ok(Answer::No),
        Removed::StaysStatic => {
            let what = msg!("{} is static in kernel {} and stays");
            report.warn(what, &[given, change.version]);
            Ok(Answer::Yes)
        }
        Removed::OwnedByOthers => {
            let found = change.registry.find(name);
            let owners = found.map_or(&[][..], |entry| &entry.owners);
            let parts = [given, change.version, join(owners, ", ")];
            Err(Error::refused(
                msg!("{} is held in kernel {} by its owners alone; name one with --owner: {}"),
                &parts,
            ))
        }
    }
}

/// Writes the registries that changed, or prints how they would.
fn write(changes: Vec<Change>, session: &Session) -> Result<()> {
    match session.request.mode {
        Mode::Execute => execute(changes, &session.report),
        Mode::DryRun => {
            let out = new_list();
            for change in &changes {
                change.describe(out);
            }
            print(out)
        }
    }
}

/// Whose reference it is: `--owner`, or the package whose maintainer script calls us.
fn owner(session: &Session) -> Result<Option<Text>> {
    let owner = match session.request.owner {
        Some(owner) => Some(owner),
        None => calling_package(&session.root)?,
    };
    match owner {
        Some(owner) if !is_owner(owner) => {
            Err(Error::usage(msg!("not a package name: {}"), &[owner]))
        }
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
    let qualified = render(msg!("{}:{}"), &[package, arch]);
    let list = render(msg!("var/lib/dpkg/info/{}.list"), &[qualified]);
    Ok(Some(match root.has(list)?.is_yes() {
        true => qualified,
        false => package,
    }))
}
