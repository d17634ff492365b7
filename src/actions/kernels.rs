//! Which kernels an action works on.

use crate::actions::Session;
use crate::cli::parse::Mode;
use crate::error::{Answer, Error, Errors, Result};
use crate::format::{join, keep_list, new_list, List, Text};
use crate::needs::kernel::{directory, file_of, MODULES};
use crate::needs::sources::{declared, running, Machine};
use crate::needs::survey::{Sibling, Survey};
use crate::package::database::Caller;
use crate::plan::park::Park;
use crate::system::folder::Patience;
use crate::system::tree::Sizes;
use crate::system::{Folder, Root};
use crate::text::active::{Registry, ACTIVE};
use crate::text::{is_version, sort_once};

/// The kernels to show something of: those named, else the running one, else the only one.
///
/// # Errors
/// None, or several to choose from.
pub fn to_show(session: &Session) -> Result<List<Text>> {
    let Session { root, request, .. } = session;
    if !request.kernels.is_empty() {
        return named(root, &request.kernels);
    }
    if let Some(running) = running(root)?.filter(|_| root.is_host()) {
        if is_installed(root, running)?.is_yes() {
            return Ok(keep_list(vec![running]));
        }
    }
    let all = installed(root)?;
    if all.len() > 1 {
        return Err(Error::refused(
            msg!("several kernels; choose with --kernel: {}"),
            &[join(all, ", ")],
        ));
    }
    Ok(all)
}

/// The kernels of a call: those named, else `others`.
///
/// # Errors
/// They cannot be looked for.
pub fn named_or(session: &Session, others: fn(&Root) -> Result<List<Text>>) -> Result<List<Text>> {
    let Session { root, request, .. } = session;
    match request.kernels.is_empty() {
        true => others(root),
        false => named(root, &request.kernels),
    }
}

/// The kernels to register in: those named, else every one.
///
/// # Errors
/// None is installed, or not the one named.
pub fn to_register(session: &Session) -> Result<List<Text>> {
    named_or(session, installed)
}

/// The kernels to release modules in. When a package goes after its kernel, there is none, and
/// its `prerm` must not fail for that.
///
/// # Errors
/// A directory that cannot be read; not the kernel that was named.
pub fn to_release(session: &Session) -> Result<List<Text>> {
    named_or(session, all_installed)
}

/// Opens a kernel's directory, and locks it for a plan that will be carried out.
///
/// # Errors
/// There is none; [`crate::error::ErrorKind::Busy`] where another limopack works on it.
pub fn open(root: &Root, version: &[u8], mode: Mode) -> Result<Box<Folder>> {
    let path = directory(version);
    let Some(folder) = Folder::open(root, path)? else {
        let place = root.shown(path);
        return Err(Error::refused(
            msg!("no kernel {}: no {}"),
            &[version, place],
        ));
    };
    lock(&folder, mode)?;
    Ok(folder)
}

/// Locks a directory for a plan that will be carried out.
///
/// # Errors
/// [`crate::error::ErrorKind::Busy`] where another limopack works in it.
pub fn lock(folder: &Folder, mode: Mode) -> Result<()> {
    let patience = match (mode, Caller::of_environment(false)) {
        (Mode::DryRun, _) => return Ok(()),
        (Mode::Execute, Caller::Anybody) => Patience::Endless,
        (Mode::Execute, _) => Patience::Short,
    };
    folder.lock(patience)
}

/// The kernels to prune: those named, else every one that has a registry.
///
/// # Errors
/// There is none.
pub fn to_prune(session: &Session) -> Result<List<Text>> {
    let kernels = named_or(session, registered)?;
    match kernels.is_empty() {
        true => Err(Error::refused(
            msg!("no kernel has a registry; see --install"),
            &[],
        )),
        false => Ok(kernels),
    }
}

/// The installed kernels of which something is parked.
///
/// # Errors
/// They cannot be looked for.
pub fn parked(root: &Root) -> Result<List<Text>> {
    let kernels = new_list();
    for &version in all_installed(root)? {
        if Park::of(root, version).find()?.is_some() {
            kernels.push(version);
        }
    }
    Ok(kernels)
}

/// The installed kernels of which is known what they need: they have a registry, or a file tells it for
/// all.
///
/// # Errors
/// They cannot be looked for.
pub fn registered(root: &Root) -> Result<List<Text>> {
    let kernels = new_list();
    let is_base = declared(root)?.is_base;
    for version in installed(root)? {
        if is_base || root.has(file_of(version, ACTIVE))?.is_yes() {
            kernels.push(*version);
        }
    }
    Ok(kernels)
}

/// The kernels of `--kernel`, sorted and each once. That they are installed is seen when they
/// are opened.
pub fn named(root: &Root, names: &[Text]) -> Result<List<Text>> {
    if names.iter().any(|name| *name == b"all") {
        return installed(root);
    }
    let mut errors = Errors::default();
    for name in names {
        if !is_version(name) {
            errors.push(Error::usage(msg!("not a kernel version: {}"), &[name]));
        }
    }
    errors.result()?;
    let mut kernels = names.to_vec();
    sort_once(&mut kernels);
    without_second_names(root, &kernels)
}

/// Drops the names that lead to the directory of a name before them: one directory is one
/// kernel, and whoever waits for its lock twice waits for ever.
fn without_second_names(root: &Root, versions: &[Text]) -> Result<List<Text>> {
    let kept: &mut Vec<Text> = new_list();
    for &version in versions {
        let path = directory(version);
        let mut is_second = false;
        for other in kept.iter() {
            is_second |= root.is_same_directory(directory(other), path)?.is_yes();
        }
        if !is_second {
            kept.push(version);
        }
    }
    Ok(kept)
}

/// Every version directory with an index, sorted; never empty.
///
/// # Errors
/// There is none.
pub fn installed(root: &Root) -> Result<List<Text>> {
    let versions = all_installed(root)?;
    if versions.is_empty() {
        let place = root.shown(MODULES);
        return Err(Error::refused(
            msg!("no kernel with a modules.dep in {}"),
            &[place],
        ));
    }
    Ok(versions)
}

/// Every version directory with an index, sorted; perhaps none.
fn all_installed(root: &Root) -> Result<List<Text>> {
    let (mut versions, others) = (new_list(), new_list());
    for entry in Folder::entries_at(root, MODULES)? {
        if has_index(root, entry.name)?.is_yes() {
            match has_modules(root, entry.name)?.is_yes() {
                true => versions.push(entry.name),
                false => others.push(entry.name),
            }
        }
    }
    // Where no kernel has modules of its own, those from outside are all that there is.
    if versions.is_empty() {
        versions = others;
    }
    without_second_names(root, versions)
}

/// What `apt remove` leaves of a kernel is its index, and `apt purge` its registry.
fn is_installed(root: &Root, version: &[u8]) -> Result<Answer> {
    match has_modules(root, version)? {
        Answer::Yes => has_index(root, version),
        Answer::No => Ok(Answer::No),
    }
}

fn has_modules(root: &Root, version: &[u8]) -> Result<Answer> {
    root.has(file_of(version, b"kernel"))
}

fn has_index(root: &Root, version: &[u8]) -> Result<Answer> {
    let has = |name: &[u8]| root.has(file_of(version, name));
    match has(b"modules.dep")? {
        Answer::Yes => Ok(Answer::Yes),
        Answer::No => has(b"modules.dep.bin"),
    }
}

/// The kernels that have modules and a registry, those without an index as well: what they have to
/// keep is what the machine needs.
///
/// # Errors
/// They cannot be looked for.
pub fn with_registry(root: &Root) -> Result<List<Text>> {
    let versions = new_list();
    for entry in Folder::entries_at(root, MODULES)? {
        if root.has(file_of(entry.name, ACTIVE))?.is_yes()
            && has_modules(root, entry.name)?.is_yes()
        {
            versions.push(entry.name);
        }
    }
    Ok(versions)
}

/// Their registries.
///
/// # Errors
/// One cannot be read, or is malformed: what it has to keep is unknown then.
pub fn siblings(root: &Root) -> Result<List<&'static Sibling>> {
    let siblings = new_list();
    for &version in with_registry(root)? {
        siblings.push(sibling(root, version)?);
    }
    Ok(siblings)
}

/// A kernel's registry, as one that others are compared with.
///
/// # Errors
/// As [`registry`].
pub fn sibling(root: &Root, version: Text) -> Result<&'static Sibling> {
    let registry = registry(root, version)?;
    Ok(Box::leak(Box::new(Sibling { version, registry })))
}

/// The registry of a kernel, to be read only; an empty one where it has none.
///
/// # Errors
/// It cannot be read, or is malformed.
pub fn registry(root: &Root, version: &[u8]) -> Result<&'static Registry> {
    let path = file_of(version, ACTIVE);
    Ok(Registry::parse(
        root.text_or_empty(path)?,
        root.shown(path),
    )?)
}

/// Opens one kernel and looks at it, and at what the others have to keep.
///
/// # Errors
/// As [`open`]; what makes it unknowable.
pub fn survey<'r>(
    root: &'r Root,
    machine: &Machine,
    siblings: &[&Sibling],
    version: Text,
    mode: Mode,
    sizes: Sizes,
) -> Result<Box<Survey<'r>>> {
    let folder = open(root, version, mode)?;
    let mut survey = Survey::take(root, machine, version, folder, sizes)?;
    for sibling in siblings {
        if sibling.version != version {
            survey.compare(sibling)?;
        }
    }
    Ok(survey)
}
