//! Placeholder until the branch is in.
use crate::error::Result;
use crate::system::Root;
/// x
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// x
    Refuse,
    /// x
    Warn,
    /// x
    Ignore,
}
/// x
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// x
    pub names: &'static [u8],
    /// x
    pub from: &'static [u8],
    /// x
    pub missing: Missing,
}
/// x
pub fn asks(_: &Root) -> Result<Vec<Ask>> {
    Ok(Vec::new())
}
