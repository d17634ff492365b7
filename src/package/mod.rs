//! Making a package look never installed, so that dpkg, apt and opkg stay sound and can bring
//! it again at any time.

pub mod database;
pub mod forget;
pub mod queue;
pub mod relation;
pub mod select;
pub mod trim;
