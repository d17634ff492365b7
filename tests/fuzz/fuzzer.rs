//! The fuzzer: libFuzzer with one of the targets, named by the variable `TARGET`.
#![no_main]

mod targets;
#[path = "../cli/trie.rs"]
mod trie;

use std::sync::OnceLock;

fn chosen() -> fn(&[u8]) {
    let wanted = std::env::var("TARGET").unwrap_or_default();
    let found = targets::TARGETS.iter().find(|(name, _)| *name == wanted);
    found.unwrap_or_else(|| panic!("no target {wanted}")).1
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();
    TARGET.get_or_init(chosen)(data);
});
