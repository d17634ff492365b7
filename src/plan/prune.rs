//! From what is known of a kernel to the plan that prunes it.

use crate::error::Result;
use crate::needs::survey::{Leftover, Survey};
use crate::plan::indexes::{rewrites, Order};
use crate::plan::modules::{Goal, Plan};
use crate::plan::park::Park;
use crate::system::tree::Sizes;
use crate::system::Root;
use crate::text::name::ModuleName;

/// What a survey of a kernel of `root` leads to.
///
/// # Errors
/// An index that cannot be written anew; what keeps the modules from being parked.
#[allow(clippy::boxed_local)] // as it was made
pub fn plan<'r>(
    root: &'r Root,
    survey: Box<Survey<'_>>,
    order: Order,
    goal: Goal,
) -> Result<Box<Plan<'r>>> {
    let survey = *survey;
    let position = |name: ModuleName<'_>| survey.keep.position(name);
    let count = survey.keep.modules().len();
    let whole = |name, _| survey.folder.text_or_empty(name);
    let rewrites = rewrites(&survey.folder, &whole, order, &position, count)?;
    let version = survey.kernel.version();
    let park = Park::of(root, version);
    let is_freed = match goal {
        Goal::Park => park
            .is_to_go(&survey.folder, survey.left == Leftover::Modules)?
            .is_yes(),
        _ => true,
    };
    let mut freed = None;
    if let Some(folder) = park.find()?.filter(|_| is_freed) {
        let parked = park.modules(&folder, Sizes::Wanted)?.removed;
        if parked.modules > 0 || goal == Goal::Delete {
            freed = Some(parked);
        }
    }
    Ok(Box::new(Plan {
        goal,
        park,
        from: None,
        freed,
        rewrites,
        folder: survey.folder,
        removal: survey.removal,
        left: survey.left,
    }))
}
