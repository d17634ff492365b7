//! What an action will change, as data: made and checked for all kernels before the first is
//! touched. Each plan says what it would do (`describe`, for `--dry-run`) and does it (`execute`).

pub mod firmware;
pub mod indexes;
pub mod modules;
pub mod park;
pub mod prune;
pub mod registry;
pub mod restore;
