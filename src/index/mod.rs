//! depmod's binary files: reading and writing them.

pub mod trie;
