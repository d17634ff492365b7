//! `--prune`: deletes the modules that nothing registered needs, and makes depmod's files tell
//! the truth about what is left.

use crate::actions::kernels;
use crate::cli::parse::Mode;
use crate::cli::Request;
use crate::error::{Error, Result};
use crate::format::{decimal, fill, Text};
use crate::needs::sources::Machine;
use crate::needs::survey::{message, Kind, Survey, Weight, KINDS};
use crate::plan::prune::{Order, Prune};
use crate::system::report::{print, Progress, Volume};
use crate::system::tree::{Removal, Sizes, Tally};
use crate::system::{Report, Root};

/// Prunes the kernels named, or every one that has a registry.
///
/// # Errors
/// Every refusal; nothing is touched then. A step that failed; the same command finishes.
pub fn prune(root: &Root, request: &Request, report: &Report) -> Result<()> {
    let versions = kernels::to_prune(root, request)?;
    let plans = plan(root, &versions, Order::Filter, request, report)?;
    carry_out(plans, request, report)
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
    let sizes = match request.mode == Mode::DryRun || request.volume >= Volume::Normal {
        true => Sizes::Wanted,
        false => Sizes::Unwanted,
    };
    let machine = Machine::look(root)?;
    let siblings = kernels::siblings(root)?;
    let mut plans = Vec::with_capacity(versions.len());
    let mut errors = Vec::new();
    for &version in versions {
        let survey = kernels::open(root, version, request.mode)
            .and_then(|folder| kernels::survey(root, &machine, &siblings, version, folder, sizes))
            .and_then(|survey| accept(survey, request, report));
        match survey.and_then(|survey| Prune::of(survey, order)) {
            Ok(plan) => plans.push(plan),
            Err(error) => errors.push(error),
        }
    }
    Error::unless_empty(errors)?;
    Ok(plans)
}

/// Refuses a kernel for what was found, or warns where that is forced or harmless.
fn accept<'r>(
    survey: Box<Survey<'r>>,
    request: &Request,
    report: &Report,
) -> Result<Box<Survey<'r>>> {
    for path in &survey.mounts {
        report.warn("{} belongs to another mount and is left alone", &[path]);
    }
    let version = survey.kernel.version();
    let has_base = survey.registry.is_base();
    let mut refusals = Vec::new();
    for about in KINDS {
        if survey
            .findings
            .iter()
            .all(|finding| finding.kind != about.kind)
        {
            continue;
        }
        let message = message(version, about.kind, &survey.findings);
        // Without a base, what is loaded is what is known to be needed.
        let is_refused =
            about.weight != Weight::Warning || (about.kind == Kind::Loaded && !has_base);
        match (is_refused, request.force) {
            (true, false) => refusals.push(Error::refused("{}", &[message])),
            (true, true) => report.warn("forced: {}", &[message]),
            (false, _) => report.warn("{}", &[message]),
        }
    }
    if !refusals.is_empty() {
        let what = "nothing was changed; --force overrides this";
        refusals.push(Error::refused(what, &[]));
    }
    Error::unless_empty(refusals)?;
    Ok(survey)
}

/// Prints the plans or carries them out, one kernel after the other.
///
/// # Errors
/// The first step that failed.
pub fn carry_out(plans: Vec<Prune>, request: &Request, report: &Report) -> Result<()> {
    let mut out = Vec::new();
    for plan in plans {
        if request.mode == Mode::DryRun {
            plan.describe(&mut out);
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
