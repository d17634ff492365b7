//! From the modules that stay, of all kernels, to the plans for firmware: what nothing asks for goes,
//! what something asks for comes back.
//!
//! What cannot be known, stays: nothing goes while a kernel's modules cannot be read, and nothing that
//! no package could bring again, where there are packages.

use crate::error::{Error, Result};
use crate::format::{decimal, new_list, List, Text};
use crate::needs::firmware::{firmware_file, Demand, Supply, PLACE};
use crate::needs::kernel::{directory, file_of, MODULES};
use crate::needs::survey::Leftover;
use crate::needs::Kernel;
use crate::plan::modules::{Goal, Plan};
use crate::plan::park::Park;
use crate::system::tree::{walk, Fate, Leaf, Scope, Sizes};
use crate::system::{split_last, Folder, Report, Root};
use crate::text::{bare_lines, until};

/// Opens the directory of the firmware; `None` if there is none.
///
/// # Errors
/// It is not ours to delete from.
pub fn open(root: &Root) -> Result<Option<Box<Folder>>> {
    let (above, name) = split_last(PLACE);
    let Some(above) = Folder::open(root, above)? else {
        return Ok(None);
    };
    let folder = above.enter(name)?;
    if folder.is_none() && above.size(name)? > 0 {
        let what = msg!("{} is a link or another mount, which is not pruned");
        return Err(Error::refused(what, &[above.shown(name)]));
    }
    Ok(folder)
}

/// What all kernels ask for, with the modules that they will have by `plans`. What is listed counts: a
/// prune refuses a kernel that has other modules.
///
/// # Errors
/// A kernel or the firmware cannot be read; nothing says what is built into a kernel, and that is not
/// forced.
pub fn supply<'r>(
    root: &'r Root,
    plans: &[Box<Plan<'_>>],
    is_forced: bool,
    report: &Report,
) -> Result<&'r Supply<'r>> {
    let demand = Demand::new(root);
    for entry in Folder::entries_at(root, MODULES)? {
        let version = entry.name;
        let has = |name: &[u8]| root.has(file_of(version, name));
        let has_builtin = has(b"modules.builtin")?.is_yes();
        if version.starts_with(b".") || !(has_builtin || has(b"kernel")?.is_yes()) {
            // No kernel, or what is left of one.
            continue;
        }
        let kernel = Kernel::open_text(root, version)?;
        let Some(folder) = kernel.folder()? else {
            continue;
        };
        if has_builtin && !has(b"modules.builtin.modinfo")?.is_yes() && !is_forced {
            let what = msg!(
                "kernel {}: no modules.builtin.modinfo says what it asks for; --force overrides this"
            );
            return Err(Error::refused(what, &[version]));
        }
        let mut going = new_list();
        for plan in plans {
            // By one of its names.
            if root
                .is_same_directory(plan.place(), directory(version))?
                .is_yes()
            {
                going = plan.removal.paths(false);
                if let Some(from) = &plan.from {
                    demand.add_modules(&kernel, from, going)?;
                    going = new_list();
                }
            }
        }
        let paths = new_list();
        for line in bare_lines(kernel.file_or_empty(b"modules.dep")?) {
            let path = until(line, b':');
            if going.binary_search(&path).is_err() {
                paths.push(path);
            }
        }
        demand.add_modules(&kernel, &folder, paths)?;
        demand.add_builtin(&kernel)?;
    }
    demand.supply(report, Park::of_firmware(root).path())
}

/// What deletes firmware in `folder`, parks it or brings it back. What `supply` needs stays, or comes: all
/// of it, if that is not said. `owned` is what packages have, where there are packages. `None` if nothing is
/// parked that could come.
///
/// # Errors
/// It cannot be read.
pub fn plan<'r>(
    root: &'r Root,
    folder: Box<Folder>,
    goal: Goal,
    supply: Option<&Supply<'_>>,
    owned: Option<List<Text>>,
    report: &Report,
) -> Result<Option<Box<Plan<'r>>>> {
    let park = Park::of_firmware(root);
    let parked = park.find()?;
    let source = match (goal, &parked) {
        (Goal::Restore, None) => return Ok(None),
        (Goal::Restore, Some(parked)) => parked,
        _ => &folder,
    };
    let needed = supply.map(|supply| supply.needed(goal == Goal::Restore));
    let sizes = Sizes::Wanted;
    let mut others = 0;
    let mut decide = |leaf: &Leaf<'_>| {
        let path = leaf.path();
        let is_needed = needed.map_or(true, |needed| needed.binary_search(&path).is_ok());
        let goes = match (goal, owned) {
            // Of what has been installed since, the newer one stays.
            (Goal::Restore, _) => is_needed && !root.has(firmware_file(path))?.is_yes(),
            (_, Some(owned)) if !is_needed && owned.binary_search(&path).is_err() => {
                others += 1;
                false
            }
            _ => !is_needed,
        };
        Ok(match goes {
            true => Fate::Goes,
            false => Fate::Stays,
        })
    };
    let mut removal = walk(source, Scope::AnyFile, sizes, &mut decide)?;
    let (mut from, mut freed) = (None, None);
    match (goal, parked) {
        (Goal::Restore, parked) => {
            if needed.is_none() || removal.kept.modules == 0 {
                freed = Some(removal.kept);
            }
            removal.kept = park.modules(&folder, sizes)?.removed;
            from = parked;
        }
        (Goal::Delete, Some(parked)) => freed = Some(park.modules(&parked, sizes)?.removed),
        _ => {}
    }
    if others > 0 && removal.has_work() {
        let what = msg!("firmware: {} files stay that no package has");
        report.note(what, &[decimal(others)]);
    }
    Ok(Some(Box::new(Plan {
        goal,
        park,
        from,
        freed,
        folder,
        removal,
        rewrites: new_list(),
        left: Leftover::Nothing,
    })))
}
