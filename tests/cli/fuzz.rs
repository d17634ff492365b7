//! What the fuzzer calls, without the fuzzer: on its seeds, on what once broke a parser, and on
//! neighbours of both.

#[path = "../fuzz/targets.rs"]
mod targets;

use std::path::Path;
use targets::TARGETS;

/// The seeds of a target, by path.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds");
    let entries = std::fs::read_dir(directory.join(target)).expect(target);
    let paths = entries.map(|entry| entry.expect(target).path());
    let mut seeds: Vec<_> = paths
        .map(|path| {
            (
                path.display().to_string(),
                std::fs::read(&path).expect("readable"),
            )
        })
        .collect();
    seeds.sort();
    seeds
}

#[test]
fn every_target_stands_its_seeds_and_every_cut_and_change_of_a_byte() {
    for (name, target) in TARGETS {
        for (path, seed) in seeds(name) {
            eprintln!("{path}");
            target(&seed);
            for at in 0..seed.len() {
                target(&seed[..at]);
                target(&seed[at..]);
                for byte in *b"\0\n :-_.*/[a\xff" {
                    let mut changed = seed.clone();
                    changed[at] = byte;
                    target(&changed);
                }
            }
        }
    }
}

#[test]
fn every_directory_of_seeds_has_a_target() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds");
    for entry in std::fs::read_dir(directory).expect("seeds") {
        let name = entry.expect("seeds").file_name();
        assert!(TARGETS.iter().any(|(known, _)| *known == name), "{name:?}");
    }
}
