//! `--restore`: brings parked modules back, the named ones with all that they need, or all.

use crate::actions::list::named;
use crate::actions::prune::{execute, firmware};
use crate::actions::wanted::{check_found, Wanted};
use crate::actions::{kernels, Session};
use crate::cli::parse::Mode;
use crate::error::{Errors, Result};
use crate::format::Text;
use crate::needs::sources::{add, declared};
use crate::needs::{registry, Closure, Kernel, Why};
use crate::plan::modules::{Goal, Plan};
use crate::plan::park::Park;
use crate::plan::restore;
use crate::system::{Folder, Root};
use crate::text::active::{Registry, Standing};
use crate::text::names::Want;

/// Restores in the kernels named, or in every one that has something parked.
///
/// # Errors
/// A name that is nowhere; nothing is changed then. A park that nothing can come back from. A step
/// that failed; the same command finishes.
#[inline(never)] // larger in the large frame of its caller
pub fn restore(session: &Session) -> Result<()> {
    let Session {
        root,
        request,
        report,
    } = session;
    let wanted = Wanted::read(session)?;
    let names = wanted.map_or(&[][..], |wanted| &wanted.names);
    let mut is_found = vec![false; names.len()];
    let versions = kernels::named_or(session, kernels::parked)?;
    let mut plans = Vec::new();
    for &version in versions {
        let folder = kernels::open(root, version, request.mode)?;
        let park = Park::of(root, version);
        let from = park.usable(&folder)?;
        let kernel = match from {
            Some(_) => park.kernel()?,
            None => Kernel::open(root, version)?,
        };
        let closure = Closure::empty();
        named(closure, &kernel, names, &mut is_found, report)?;
        match from {
            None => {
                report.note(msg!("kernel {}: nothing is parked"), &[version]);
                if request.mode == Mode::Execute {
                    park.clear()?;
                }
            }
            Some(from) => {
                let closure = wanted.map(|_| &*closure);
                plans.push(restore::plan(park, folder, from, closure, report)?);
            }
        }
    }
    check_found(session, names, &is_found, versions)?;
    for plan in &plans {
        let registry = registry::read(&plan.folder)?;
        if registry.standing() == Standing::Nothing {
            continue;
        }
        if wanted.is_some() {
            let what =
                msg!("kernel {} is kept pruned: what is not registered goes again; see --install");
            report.warn(what, &[plan.park.version]);
            continue;
        }
        report.note(
            msg!("kernel {} is no longer kept pruned"),
            &[plan.park.version],
        );
        if request.mode == Mode::Execute {
            registry.end_order();
            registry::write(&plan.folder, registry)?;
        }
    }
    if let Some(plan) = firmware_back(session, &plans, wanted.is_none())? {
        plans.push(plan);
    }
    execute(plans, request, report)
}

/// What brings parked firmware back, if there is any to come: all, or what the modules ask for that will
/// be there by `plans`.
fn firmware_back<'r>(
    session: &'r Session,
    plans: &[Box<Plan<'_>>],
    is_all: bool,
) -> Result<Option<Box<Plan<'r>>>> {
    let Session {
        root,
        request,
        report,
    } = session;
    let plan = firmware(root, plans, Goal::Restore, is_all, request, report)?;
    Ok(plan.filter(|plan| !plan.is_done()))
}

/// Brings back the parked firmware that modules ask for which are in place.
///
/// # Errors
/// A step that failed; the same command finishes.
pub fn bring_firmware_back(session: &Session) -> Result<()> {
    match firmware_back(session, &[], false)? {
        Some(plan) => execute(vec![plan], session.request, &session.report),
        None => Ok(()),
    }
}

/// Brings back what is parked of what registries and files declare, in one kernel after the other:
/// one that fails keeps nothing from the next.
///
/// # Errors
/// A file that is malformed; steps that failed. The same call finishes.
pub fn bring_back_all(session: &Session) -> Result<()> {
    let mut errors = Errors::default();
    for version in kernels::parked(&session.root)? {
        if let Err(error) = bring_back_declared(session, version) {
            errors.push(error);
        }
    }
    if let Err(error) = bring_firmware_back(session) {
        errors.push(error);
    }
    errors.result()
}

fn bring_back_declared(session: &Session, version: Text) -> Result<()> {
    let Session { root, request, .. } = session;
    let own = kernels::open(root, version, request.mode)?;
    let registry = kernels::registry(root, version)?;
    bring_back(session, version, &own, registry, &declared(root)?.names)
}

/// Brings back what is parked in a kernel, whose directory is `own` and locked, of what is registered
/// and declared, with all that it needs.
///
/// # Errors
/// A step that failed; the same command finishes.
pub fn bring_back(
    session: &Session,
    version: Text,
    own: &Folder,
    registry: &Registry,
    declared: &[(Want, Text)],
) -> Result<()> {
    let Session {
        root,
        request,
        report,
    } = session;
    let park = Park::of(root, version);
    let Some(from) = park.usable(own)? else {
        return Ok(());
    };
    let full = park.kernel()?;
    let wanted = Closure::empty();
    for entry in registry.all() {
        if let Some(line) = full.line(entry.name)? {
            wanted.add(line, Why::Named);
        }
    }
    for (want, _) in declared {
        add(wanted, &full, want.given, Why::Named)?;
    }
    wanted.complete(&full)?;
    // The lock is that of the caller.
    let folder = kernels::open(root, version, Mode::DryRun)?;
    let plan = restore::plan(park, folder, from, Some(wanted), report)?;
    // Files may be there already that no index lists.
    if !plan.is_done() {
        execute(vec![plan], request, report)?;
    }
    Ok(())
}

/// The index of the park that modules of a kernel can come back from; `folder` is the kernel's
/// directory.
///
/// # Errors
/// It is damaged.
pub fn parked<'r>(
    root: &'r Root,
    version: Text,
    folder: &Folder,
) -> Result<Option<Box<Kernel<'r>>>> {
    let park = Park::of(root, version);
    match park.usable(folder)? {
        Some(_) => Ok(Some(park.kernel()?)),
        None => Ok(None),
    }
}
