//! `--settle`: brings back what is parked and declared since, does what is queued, follows standing
//! orders, and takes away stand-ins that nothing needs any more. The hooks call it when the package
//! manager has ended.

use crate::actions::apply::{Selection, Task};
use crate::actions::forget::push_going;
use crate::actions::restore::bring_back_all;
use crate::actions::{kernels, Session};
use crate::cli::parse::Mode;
use crate::error::{ErrorKind, Errors, Result};
use crate::format::{new_list, List, Text};
use crate::needs::kernel::directory;
use crate::needs::sources::Machine;
use crate::needs::survey::Sibling;
use crate::package::database::{Caller, Database};
use crate::package::queue::{self, FORGOTTEN, PENDING};
use crate::system::tree::Sizes;
use crate::system::Root;
use crate::text::active::Standing;
use crate::text::sort_once;

/// Brings back what is parked and declared, finishes what is pending, and takes away stand-ins that
/// are no longer needed. Under a hook it
/// never fails: what could not be done stays pending.
///
/// # Errors
/// A held lock, a step that failed; by hand only.
#[inline(never)] // larger in the large frame of its caller
pub fn settle(session: &Session) -> Result<()> {
    let Session {
        request, report, ..
    } = session;
    let caller = Caller::of_environment(request.root.is_some());
    if caller == Caller::DpkgHookUnderApt {
        return Ok(());
    }
    // Whatever holds up the queue, a package that has come needs its modules. Another's file that is
    // malformed fails no script and no hook.
    let mut errors = Errors::default();
    match bring_back_all(session) {
        Err(error) if caller != Caller::Anybody => report.error(&error),
        Err(error) => errors.push(error),
        Ok(()) => {}
    }
    match settle_as(session, caller) {
        Err(error) if caller.is_hook() => {
            report.error(&error);
            if error.kind() == ErrorKind::Busy {
                report.note(msg!("what is queued is still queued; see --settle"), &[]);
            }
        }
        Err(error) if error.kind() == ErrorKind::Busy && caller == Caller::Script => {}
        Err(error) => errors.push(error),
        Ok(()) => {}
    }
    errors.result()
}

/// What every other call does at its end: settles what is pending if the lock is free. That is
/// a service, so its failure is said and no more.
#[inline(never)] // larger in the large frame of its caller
pub fn settle_in_passing(session: &Session) {
    let Session {
        root,
        request,
        report,
    } = session;
    let caller = Caller::of_environment(request.root.is_some());
    if request.mode == Mode::DryRun || caller != Caller::Anybody {
        return;
    }
    match queue::read(root, PENDING) {
        Ok(pending) if pending.all.is_empty() => {}
        Ok(_) => match settle_as(session, caller) {
            Err(error) if error.kind() != ErrorKind::Busy => report.error(&error),
            _ => {}
        },
        Err(error) => report.error(&error),
    }
}

fn settle_as(session: &Session, caller: Caller) -> Result<()> {
    let Session {
        root,
        request,
        report,
    } = session;
    let Some(database) = Database::find(root, request.root.is_some())? else {
        return Ok(());
    };
    let pending = queue::read(root, PENDING)?.all;
    let is_ordered = !standing_orders(root)?.is_empty();
    if pending.is_empty() && !is_ordered && queue::read(root, FORGOTTEN)?.all.is_empty() {
        return Ok(());
    }
    let locks = match request.mode {
        Mode::Execute => Some(database.lock(root, caller)?),
        Mode::DryRun => None,
    };
    database.check_journal(root)?;
    let task = Task::read(session, database)?;
    // Once more: whoever held the lock until now may have queued something.
    let pending = queue::read(root, PENDING)?.all;
    // Others may not have said yet what they need.
    let mut all = task.contents.status.all.iter();
    if let Some(stanza) = all.find(|stanza| !stanza.is_settled()) {
        let parts = [stanza.package, stanza.state()];
        let what = msg!("{} is {}; what is queued waits until all packages are configured");
        match pending.is_empty() {
            true => report.debug(what, &parts),
            false => report.note(what, &parts),
        }
        return Ok(());
    }
    let mut wanted = Selection::new(task);
    if !pending.is_empty() {
        let ties = database.ties(root)?;
        for note in pending {
            wanted.take_pending(task, ties, note)?;
        }
    }
    sort_once(&mut wanted.kernels);
    // One that is refused must not keep the others from what they have to do.
    let mut errors = Errors::default();
    match task.forget(&wanted) {
        Ok(dropped) => task.look_after_purged(dropped, caller)?,
        Err(error) => errors.push(error),
    }
    // Read again: a kernel may have gone with its package.
    let mut ordered = Standing::Nothing;
    for &&Sibling { version, registry } in standing_orders(root)? {
        let standing = registry.standing();
        if registry.orders_firmware() {
            ordered = ordered.max(standing);
        }
        if wanted.kernels.contains(&version) {
            continue;
        }
        if let Err(error) = follow(session, database, version, standing) {
            let what = msg!("kernel {} is left as it is, though it is to be kept pruned:");
            report.warn(what, &[version]);
            errors.push(error);
        }
    }
    if ordered != Standing::Nothing {
        if let Err(error) = follow_firmware(session, database, ordered) {
            errors.push(error);
        }
    }
    drop(locks);
    errors.result()
}

/// Prunes the firmware that packages have brought again, as it is ordered.
fn follow_firmware(
    session: &Session,
    database: &'static Database,
    ordered: Standing,
) -> Result<()> {
    let task = Task::read(session, database)?;
    let mut wanted = Selection::new(task);
    match ordered {
        Standing::Apply => wanted.take_firmware(task)?,
        ordered => wanted.firmware = ordered,
    }
    task.forget(&wanted).map(drop)
}

/// The kernels that are to be kept pruned.
pub(super) fn standing_orders(root: &Root) -> Result<List<&'static Sibling>> {
    let orders = new_list();
    for &version in kernels::with_registry(root)? {
        // Of two names of one directory, packages know the real one.
        if root.link(directory(version)).is_some() {
            continue;
        }
        // One that is malformed is for --check to tell.
        match kernels::sibling(root, version) {
            Ok(kernel) if kernel.registry.standing() != Standing::Nothing => orders.push(kernel),
            _ => {}
        }
    }
    Ok(orders)
}

/// Prunes a kernel whose modules are back, and forgets or trims again who brought them.
#[inline(never)] // larger in the large frame of its caller
fn follow(
    session: &Session,
    database: &'static Database,
    version: Text,
    standing: Standing,
) -> Result<()> {
    let Session { root, report, .. } = session;
    let machine = Machine::look(root)?;
    let (mode, sizes) = (Mode::DryRun, Sizes::Unwanted);
    let survey = kernels::survey(root, machine, &[], version, mode, sizes)?;
    if !survey.removal.has_work() {
        return Ok(());
    }
    report.note(
        msg!("kernel {}: modules are back; it is to be kept pruned"),
        &[version],
    );
    let task = Task::read(session, database)?;
    let mut wanted = Selection::new(task);
    wanted.kernels.push(version);
    if standing == Standing::Apply {
        let going = new_list();
        push_going(going, directory(version), &survey.removal);
        sort_once(going);
        let pending = queue::packages(queue::read(root, PENDING)?.all);
        let ties = database.ties(root)?;
        for note in task.owners_of(version, going)? {
            // One that waits for something is not to be hurried.
            if pending.binary_search(&note.package).is_err() {
                wanted.take_pending(task, ties, note)?;
                wanted.queued.push(note);
            }
        }
    }
    task.forget(&wanted).map(drop)
}
