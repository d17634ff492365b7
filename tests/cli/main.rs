//! The built binary on miniature roots: what a user, a script or a package sees of it.
//!
//! Nothing here needs root, the network or another tool of the trade, and nothing outside a
//! temporary directory is written. Each file owns one part of the behaviour.

mod command;
mod declared;
mod firmware;
mod fuzz;
mod groups;
mod image;
mod input;
mod json;
mod kernels;
mod list;
mod machine;
mod manual;
mod names;
mod needs;
mod parallel;
mod pipes;
mod readme;
mod register;
mod stories;
mod tree;
mod trie;
