//! `--prune`: deletes the modules that nothing registered needs, and makes depmod's files tell
//! the truth about what is left.

use crate::actions::{kernels, Session};
use crate::cli::parse::Mode;
use crate::cli::{Action, Request};
use crate::error::{Error, Errors, Result};
use crate::format::{decimal, push_rendered, render, List, Text};
use crate::needs::registry;
use crate::needs::sources::Machine;
use crate::needs::survey::{message, Kind, Survey, Weight, KINDS};
use crate::package::database::Database;
use crate::plan::indexes::Order;
use crate::plan::modules::{Goal, Plan};
use crate::plan::park::Park;
use crate::plan::{firmware, prune};
use crate::system::report::{print, Progress, Volume};
use crate::system::tree::{Removal, Sizes, Tally};
use crate::system::{Folder, Report, Root};
use crate::text::active::Standing;

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
    let is_firmware = request.is_firmware;
    let plans = plan(root, versions, order, is_firmware, request, &session.report)?;
    execute(plans, request, &session.report)
}

/// Plans and checks every kernel, and the firmware after them if that is asked for. With a plan to
/// carry out, their directories are locked.
///
/// # Errors
/// Every refusal.
pub fn plan<'r>(
    root: &'r Root,
    versions: &[Text],
    order: Order,
    is_firmware: bool,
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
    if is_firmware {
        if let Some(plan) = firmware(root, &plans, goal, false, request, report)? {
            // Alone, it follows an order, and has nothing to say if there is nothing to do.
            if !versions.is_empty() || !plan.is_done() {
                plans.push(plan);
            }
        }
    }
    Ok(plans)
}

/// What becomes of the firmware when the plans for the modules have been carried out. A restore brings
/// what the modules ask for that will be there, or all.
///
/// # Errors
/// It cannot be known.
#[inline(never)] // larger in the large frame of its caller
pub fn firmware<'r>(
    root: &'r Root,
    plans: &[Box<Plan<'_>>],
    goal: Goal,
    is_all: bool,
    request: &Request,
    report: &Report,
) -> Result<Option<Box<Plan<'r>>>> {
    let is_restore = goal == Goal::Restore;
    if is_restore && Park::of_firmware(root).find()?.is_none() {
        return Ok(None);
    }
    let Some(folder) = firmware::open(root)? else {
        return Ok(None);
    };
    kernels::lock(&folder, request.mode)?;
    let is_forced = is_restore || request.force;
    let supply = match is_all {
        true => None,
        false => Some(firmware::supply(root, plans, is_forced, report)?),
    };
    let owned = match is_restore {
        true => None,
        false => owned_firmware(root, request)?,
    };
    firmware::plan(root, folder, goal, supply, owned, report)
}

/// The firmware that packages have, where there are packages.
///
/// # Errors
/// Their lists cannot be read.
pub fn owned_firmware(root: &Root, request: &Request) -> Result<Option<List<Text>>> {
    match Database::find(root, request.root.is_some())? {
        Some(database) => database.firmware(root).map(Some),
        None => Ok(None),
    }
}

/// What becomes of the modules: what the call says; what an earlier call asked for parks them if the
/// machine has a park.
#[inline(never)] // larger in the large frame of its caller
fn goal(root: &Root, request: &Request) -> Result<Goal> {
    let is_parked = match request.action {
        Action::Prune | Action::Apply => request.park,
        _ => Park::is_used(root)?.is_yes(),
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
    survey.removal.warn_of_mounts(report);
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
                push_rendered(&mut out, b"keep-pruned {}\n", &[plan.park.version]);
            }
            continue;
        }
        let Removal { kept, removed, .. } = *plan.removal;
        let [verb, verb_done] = plan.goal.words();
        let (subject, unit) = (plan.subject(), plan.files_word());
        if plan.is_done() {
            plan.remove_leftovers()?;
            let kept = tally_text(kept, unit);
            let what = msg!("{}: nothing to {}, kept {}");
            report.note(what, &[subject, verb, kept]);
            keep_pruned(&plan, request)?;
            continue;
        }
        let mut progress = Progress::new(removed.modules, request.volume);
        let result = plan.execute(&mut || progress.tick());
        let done = progress.end();
        if let Err(error) = result {
            report.warn(
                msg!(
                    "in {}, {} {} of {} {} before this failed; the same command finishes the work"
                ),
                &[
                    subject,
                    verb_done,
                    decimal(done),
                    decimal(removed.modules),
                    unit,
                ],
            );
            return Err(error);
        }
        let (kept, removed) = (tally_text(kept, unit), tally_text(removed, unit));
        let what = msg!("{}: {} {}, kept {}");
        report.note(what, &[subject, verb_done, removed, kept]);
        if plan.goal == Goal::Restore && !plan.rewrites.is_empty() && plan.park.root.is_host() {
            let what = msg!(
                "devices that wait for them: udevadm trigger --action=add; device nodes that load them: \
                 kmod static-nodes --format=tmpfiles | systemd-tmpfiles --boot --create -"
            );
            report.note(what, &[]);
        }
        if let Some(freed) = plan.freed.filter(|freed| freed.modules > 0) {
            let what = msg!("{}: removed {} that were parked");
            report.note(what, &[subject, tally_text(freed, unit)]);
        }
        keep_pruned(&plan, request)?;
    }
    print(&out)
}

fn keep_pruned(plan: &Plan<'_>, request: &Request) -> Result<()> {
    match plan.park.is_of_firmware() {
        true => Ok(()),
        false => order(&plan.folder, request),
    }
}

/// Writes the standing order of `--keep-pruned` into the registry of a kernel, whose directory is
/// locked.
///
/// # Errors
/// The registry is malformed, or cannot be written.
pub fn order(folder: &Folder, request: &Request) -> Result<()> {
    if request.keep_pruned {
        let registry = registry::read(folder)?;
        let standing = match request.action {
            Action::Apply => Standing::Apply,
            _ => Standing::Prune,
        };
        registry.order(standing, request.is_firmware);
        registry::write(folder, registry)?;
    }
    Ok(())
}

/// `12 modules (3.4 MB)`
fn tally_text(tally: Tally, unit: &[u8]) -> Text {
    let tenths = tally.bytes / 100_000;
    let size = render(
        msg!("{}.{} MB"),
        &[decimal(tenths / 10), decimal(tenths % 10)],
    );
    render(msg!("{} {} ({})"), &[decimal(tally.modules), unit, size])
}
