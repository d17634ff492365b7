//! `--prune`: deletes the modules that nothing registered needs, and makes depmod's files tell
//! the truth about what is left.

use crate::actions::{kernels, Session};
use crate::cli::parse::Mode;
use crate::cli::{Action, Request};
use crate::error::{Error, Errors, Result};
use crate::format::{decimal, push_rendered, render, Text};
use crate::needs::sources::Machine;
use crate::needs::survey::{message, Kind, Survey, Weight, KINDS};
use crate::package::database::Database;
use crate::plan::indexes::Order;
use crate::plan::modules::{Goal, Plan};
use crate::plan::park::Park;
use crate::plan::prune;
use crate::system::report::{print, Progress, Volume};
use crate::system::tree::{Removal, Sizes, Tally};
use crate::system::{Folder, Report, Root};
use crate::text::active::{Registry, Standing, ACTIVE};

/// Prunes the kernels named, or every one that has a registry.
///
/// # Errors
/// Every refusal; nothing is touched then. A step that failed; the same command finishes.
#[inline(never)] // larger in the large frame of its caller
pub fn prune(session: &Session) -> Result<()> {
    let Session { root, request, .. } = session;
    let versions = kernels::to_prune(session)?;
    // Of an installed system a package owns the list, and takes it along (see [`crate::actions::apply`]).
    let order = match Database::find(root, request.root.is_some())? {
        Some(_) => Order::Leave,
        None => Order::Filter,
    };
    let plans = plan(root, versions, order, request, &session.report)?;
    execute(plans, request, &session.report)
}

/// Plans and checks every kernel. With a plan to carry out, their directories are locked.
///
/// # Errors
/// Every refusal.
pub fn plan<'r>(
    root: &'r Root,
    versions: &[Text],
    order: Order,
    request: &Request,
    report: &Report,
) -> Result<Vec<Box<Plan<'r>>>> {
    let sizes = match request.mode == Mode::DryRun || request.volume >= Volume::Normal {
        true => Sizes::Wanted,
        false => Sizes::Unwanted,
    };
    let goal = goal(root, request)?;
    let machine = Machine::look(root)?;
    let siblings = kernels::siblings(root)?;
    let (mut plans, mut errors) = (Vec::new(), Errors::default());
    for version in versions {
        let plan = kernels::survey(root, machine, siblings, version, request.mode, sizes)
            .and_then(|survey| accept(survey, request, report))
            .and_then(|survey| prune::plan(root, survey, order, goal));
        match plan {
            Ok(plan) => plans.push(plan),
            Err(error) => errors.push(error),
        }
    }
    errors.result()?;
    Ok(plans)
}

/// What becomes of the modules: what the call says; what an earlier call asked for parks them if the
/// machine has a park.
#[inline(never)] // larger in the large frame of its caller
fn goal(root: &Root, request: &Request) -> Result<Goal> {
    let is_parked = match request.action {
        Action::Prune | Action::Apply => request.park,
        _ => Park::is_used(root)?,
    };
    Ok(match is_parked {
        true => Goal::Park,
        false => Goal::Delete,
    })
}

/// Refuses a kernel for what was found, or warns where that is forced or harmless.
fn accept<'r>(
    survey: Box<Survey<'r>>,
    request: &Request,
    report: &Report,
) -> Result<Box<Survey<'r>>> {
    for path in &survey.mounts {
        report.warn(
            msg!("{} belongs to another mount and is left alone"),
            &[path],
        );
    }
    let version = survey.kernel.version();
    let mut refusals = Errors::default();
    for about in KINDS {
        let mut kinds = survey.findings.iter().map(|finding| finding.kind);
        if !kinds.any(|kind| kind == about.kind) {
            continue;
        }
        let message = message(version, about.kind, &survey.findings);
        // Without a base, what is loaded is what is known to be needed.
        let is_refused =
            about.weight != Weight::Warning || (about.kind == Kind::Loaded && !survey.has_base);
        match (is_refused, request.force) {
            (true, false) => refusals.push(Error::refused(msg!("{}"), &[message])),
            (true, true) => report.warn(msg!("forced: {}"), &[message]),
            (false, _) => report.warn(msg!("{}"), &[message]),
        }
    }
    if !refusals.is_empty() {
        let what = msg!("nothing was changed; --force overrides this");
        refusals.push(Error::refused(what, &[]));
    }
    refusals.result()?;
    Ok(survey)
}

/// Prints the plans or carries them out, one kernel after the other.
///
/// # Errors
/// The first step that failed.
pub fn execute(plans: Vec<Box<Plan<'_>>>, request: &Request, report: &Report) -> Result<()> {
    let mut out = Vec::new();
    for plan in plans {
        if request.mode == Mode::DryRun {
            plan.describe(&mut out);
            if request.keep_pruned {
                push_rendered(&mut out, b"keep-pruned {}\n", &[plan.version]);
            }
            continue;
        }
        let Removal { kept, removed, .. } = *plan.removal;
        let [verb, verb_done] = plan.goal.words();
        if plan.is_done() {
            plan.remove_leftovers()?;
            let kept = tally_text(kept);
            report.note(
                msg!("kernel {}: nothing to {}, kept {}"),
                &[plan.version, verb, kept],
            );
            keep_pruned(&plan.folder, request)?;
            continue;
        }
        let mut progress = Progress::new(removed.modules, request.volume);
        let result = plan.execute(&mut || progress.tick());
        let done = progress.end();
        if let Err(error) = result {
            report.warn(
                msg!(
                    "in kernel {}, {} {} of {} modules before this failed; the same command \
                 finishes the work"
                ),
                &[
                    plan.version,
                    verb_done,
                    decimal(done),
                    decimal(removed.modules),
                ],
            );
            return Err(error);
        }
        let (kept, removed) = (tally_text(kept), tally_text(removed));
        report.note(
            msg!("kernel {}: {} {}, kept {}"),
            &[plan.version, verb_done, removed, kept],
        );
        if plan.goal == Goal::Restore && plan.park.root.is_host() {
            let what = msg!(
                "devices that wait for them: udevadm trigger --action=add; device nodes that load them: \
                 kmod static-nodes --format=tmpfiles | systemd-tmpfiles --boot --create -"
            );
            report.note(what, &[]);
        }
        if let Some(freed) = plan.freed.filter(|freed| freed.modules > 0) {
            let what = msg!("kernel {}: removed {} that were parked");
            report.note(what, &[plan.version, tally_text(freed)]);
        }
        keep_pruned(&plan.folder, request)?;
    }
    print(&out)
}

/// Writes the standing order of `--keep-pruned` into the registry of a kernel, whose directory is
/// locked.
///
/// # Errors
/// The registry is malformed, or cannot be written.
pub fn keep_pruned(folder: &Folder, request: &Request) -> Result<()> {
    if request.keep_pruned {
        let old = folder.text_or_empty(ACTIVE)?;
        let registry = Registry::parse(old, folder.shown(ACTIVE))?;
        registry.order(match request.action {
            Action::Apply => Standing::Apply,
            _ => Standing::Prune,
        });
        let new = registry.to_text();
        if new != old {
            folder.replace(ACTIVE, new)?;
        }
    }
    Ok(())
}

/// `12 modules (3.4 MB)`
fn tally_text(tally: Tally) -> Text {
    let tenths = tally.bytes / 100_000;
    let size = render(
        msg!("{}.{} MB"),
        &[decimal(tenths / 10), decimal(tenths % 10)],
    );
    render(msg!("{} modules ({})"), &[decimal(tally.modules), size])
}
