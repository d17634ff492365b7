//! The README's examples are what really happens: each is run, in its order, on a sample root.

use crate::machine::Machine;
use std::os::unix::fs::symlink;
use std::process::Command;

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// Runs a command line as somebody would type it below the machine's directory; what a terminal
/// would show.
///
/// `make sample` makes the sample as the Makefile does, whose directory this is not.
fn typed(machine: &Machine, line: &str) -> String {
    let line = match line {
        "make sample" => format!("sh '{HERE}/tests/sample.sh' target/sample"),
        line => line.to_string(),
    };
    let bin = machine.path("bin").display().to_string();
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", &format!("exec 2>&1\n{line}")])
        .current_dir(machine.path(""));
    shell
        .env_clear()
        .env("LC_ALL", "C")
        .env("PATH", bin + ":/usr/bin:/bin");
    String::from_utf8(shell.output().unwrap().stdout).unwrap()
}

#[test]
fn every_example_of_the_readme_prints_what_the_readme_says() {
    let machine = Machine::new().directory("bin");
    symlink(env!("CARGO_BIN_EXE_limopack"), machine.path("bin/limopack")).unwrap();

    let readme = std::fs::read_to_string(format!("{HERE}/README.md")).unwrap();
    let blocks = readme.split("```console\n").skip(1);
    let mut examples = 0;
    for block in blocks.map(|rest| rest.split("```").next().unwrap()) {
        let mut shown = String::new();
        // A variable lasts to the end of its block.
        let mut exports = String::new();
        for line in block.lines().filter_map(|line| line.strip_prefix("$ ")) {
            if line.starts_with("export ") {
                exports += &format!("{line}\n");
            }
            shown += &format!("$ {line}\n{}", typed(&machine, &format!("{exports}{line}")));
            examples += 1;
        }
        assert_eq!(shown, block);
    }
    assert!(examples > 10);
}
