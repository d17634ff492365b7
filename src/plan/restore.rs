//! From a kernel and its park to the plan that restores modules.

use crate::error::Result;
use crate::format::{some_of, Text};
use crate::needs::kernel::file_of;
use crate::needs::survey::Leftover;
use crate::needs::{Closure, Why};
use crate::plan::indexes::{rewrites, Order, ORDER};
use crate::plan::modules::{Goal, Plan};
use crate::plan::park::{Park, Whole};
use crate::system::tree::{walk, Fate, Leaf, Scope, Sizes};
use crate::system::{Folder, Report};
use crate::text::dep::DepLine;
use crate::text::name::{ModuleName, ModulePath};
use crate::text::sort_once;

/// What brings back the modules of `wanted`, which is closed, or all. `folder` is the kernel's
/// directory, `from` that of its usable park.
///
/// # Errors
/// A file that cannot be read or is malformed.
pub fn plan<'r>(
    park: &'r Park<'r>,
    folder: Box<Folder>,
    from: Box<Folder>,
    wanted: Option<&Closure>,
    report: &Report,
) -> Result<Box<Plan<'r>>> {
    let whole = Whole::read(park, &from, &folder)?;
    // What will be in place: what is there now, whatever the index says, and what comes.
    let placed = Closure::empty();
    // What no line lists as it is.
    let mut strange: Vec<Text> = Vec::new();
    let mut is_present = Vec::new();
    let mut place = |line: Option<DepLine<'static>>, leaf: &Leaf<'_>| {
        let Some(line) = line else {
            strange.push(leaf.path());
            return;
        };
        let at = placed.add(line, Why::Named);
        if at == is_present.len() {
            is_present.push(false);
        }
        is_present[at] |= leaf.is_at(line.path().0);
    };
    let sizes = Sizes::Wanted;
    let mut stays = |leaf: &Leaf<'_>| {
        place(whole.line(ModulePath(leaf.name).name()), leaf);
        Ok(Fate::Stays)
    };
    let kept = walk(&folder, Scope::All, sizes, &mut stays)?.kept;
    let mut comes = |leaf: &Leaf<'_>| {
        let name = ModulePath(leaf.name).name();
        let line = whole.line(name);
        let is_wanted = wanted.map_or(true, |wanted| wanted.position(name).is_some());
        // Of what has been installed since, the newer one stays.
        if (!is_wanted && line.is_some())
            || park.root.has(file_of(park.version, leaf.path()))?.is_yes()
        {
            return Ok(Fate::Stays);
        }
        place(line, leaf);
        Ok(Fate::Goes)
    };
    let mut removal = walk(&from, Scope::All, sizes, &mut comes)?;
    placed.missing(&mut strange);
    for (module, is_present) in placed.modules().iter().zip(is_present) {
        if !is_present {
            strange.push(module.path.0);
        }
    }
    if !strange.is_empty() {
        sort_once(&mut strange);
        let what = msg!("kernel {}: modules.dep and the files differ; run depmod: {}");
        report.warn(what, &[park.version, some_of(&strange)]);
    }
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
