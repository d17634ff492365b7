//! The registry in a kernel's directory.

use crate::error::{Answer, Result};
use crate::system::Folder;
use crate::text::active::{Registry, ACTIVE};

/// Reads it; it is empty where there is none.
///
/// # Errors
/// It cannot be read, or is malformed.
pub fn read(folder: &Folder) -> Result<&'static mut Registry> {
    Registry::parse(folder.text_or_empty(ACTIVE)?, folder.shown(ACTIVE))
}

/// Writes it, if it has changed; whether it has.
///
/// # Errors
/// It cannot be written.
pub fn write(folder: &Folder, registry: &Registry) -> Result<Answer> {
    let new = registry.to_text();
    if new == registry.old {
        return Ok(Answer::No);
    }
    folder.replace(ACTIVE, new)?;
    Ok(Answer::Yes)
}
