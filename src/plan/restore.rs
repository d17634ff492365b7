//! From a kernel and its park to the plan that restores modules.

use crate::error::Result;
use crate::needs::kernel::file_of;
use crate::needs::survey::Leftover;
use crate::needs::{Closure, Why};
use crate::plan::indexes::{rewrites, Order, ORDER};
use crate::plan::modules::{Goal, Plan};
use crate::plan::park::{Park, Whole};
use crate::system::tree::{walk, Fate, Leaf, Scope, Sizes};
use crate::system::Folder;
use crate::text::name::{ModuleName, ModulePath};

/// What brings back the modules of `wanted`, which is closed, or all. `folder` is the kernel's
/// directory, `from` that of its usable park.
///
/// # Errors
/// A file that cannot be read or is malformed.
pub fn plan<'r>(
    park: Park<'r>,
    folder: Box<Folder>,
    from: Box<Folder>,
    wanted: Option<&Closure>,
) -> Result<Box<Plan<'r>>> {
    let whole = Whole::read(&park, &from, &folder)?;
    // What will be in place: what is there now, whatever the index says, and what comes.
    let mut placed = Closure::default();
    let mut place = |name: ModuleName<'_>| {
        let line = match whole.own.line(name)? {
            None => whole.full.line(name)?,
            line => line,
        };
        if let Some(line) = line {
            placed.add(line, Why::Named);
        }
        Ok(())
    };
    let sizes = Sizes::Wanted;
    let mut stays = |leaf: &Leaf<'_>| {
        place(ModulePath(leaf.name).name())?;
        Ok(Fate::Stays)
    };
    let kept = walk(&folder, Scope::All, sizes, &mut stays, &mut |_| {})?.kept;
    let mut comes = |leaf: &Leaf<'_>| {
        let name = ModulePath(leaf.name).name();
        let is_wanted = wanted.map_or(true, |wanted| wanted.position(name).is_some());
        // Of what has been installed since, the newer one stays.
        if !is_wanted || park.root.has(file_of(park.version, leaf.path()))? {
            return Ok(Fate::Stays);
        }
        place(name)?;
        Ok(Fate::Goes)
    };
    let mut removal = walk(&from, Scope::All, sizes, &mut comes, &mut |_| {})?;
    // What belongs to a package that stays was never filtered.
    let order = match folder.text(ORDER)? == from.text(ORDER)? {
        true => Order::Leave,
        false => Order::Filter,
    };
    let position = |name: ModuleName<'_>| placed.position(name);
    let count = placed.modules().len();
    let text = |name, format| whole.text(name, format);
    let rewrites = rewrites(&folder, &text, order, &position, count)?;
    // With the last module the park goes.
    let is_last = wanted.is_none() || removal.kept.modules == 0;
    let freed = is_last.then_some(removal.kept);
    removal.kept = kept;
    Ok(Box::new(Plan {
        version: park.version,
        goal: Goal::Restore,
        park,
        from: Some(from),
        freed,
        folder,
        removal,
        rewrites,
        left: Leftover::Nothing,
    }))
}
