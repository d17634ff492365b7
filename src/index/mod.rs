//! depmod's files: reading its binary indexes, and writing all of them anew for fewer modules.

pub mod binary;
pub mod filter;
pub mod patterns;
pub mod trie;
pub mod writer;
