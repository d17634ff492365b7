//! `--restore`: brings parked modules back, the named ones with all that they need, or all.

use crate::actions::list::named;
use crate::actions::prune::execute;
use crate::actions::wanted::{check_found, Wanted};
use crate::actions::{kernels, Session};
use crate::cli::parse::Mode;
use crate::error::{Errors, Result};
use crate::format::Text;
use crate::needs::kernel::Found;
use crate::needs::sources::declared;
use crate::needs::{Closure, Kernel, Why};
use crate::plan::park::Park;
use crate::plan::restore;
use crate::system::{Folder, Root};
use crate::text::active::{Registry, Standing, ACTIVE};
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
    let versions = match request.kernels.is_empty() {
        false => kernels::named(root, &request.kernels)?,
        true => kernels::parked(root)?,
    };
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
        let old = plan.folder.text_or_empty(ACTIVE)?;
        let registry = Registry::parse(old, plan.folder.shown(ACTIVE))?;
        if registry.standing() == Standing::Nothing {
            continue;
        }
        if wanted.is_some() {
            let what =
                msg!("kernel {} is kept pruned: what is not registered goes again; see --install");
            report.warn(what, &[plan.version]);
            continue;
        }
        report.note(msg!("kernel {} is no longer kept pruned"), &[plan.version]);
        if request.mode == Mode::Execute {
            registry.end_order();
            plan.folder.replace(ACTIVE, registry.to_text())?;
        }
    }
    execute(plans, request, report)
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
        if let Found::Modules(lines) = full.look_up(want.given)? {
            for &line in lines {
                wanted.add(line, Why::Named);
            }
        }
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
