//! The examples of README and of the manual pages are what really happens: each is run, in its
//! order, on a sample root. What README says of costs is what the benchmarks printed.

use crate::machine::Machine;
use crate::manual::generator::page;
use std::os::unix::fs::symlink;
use std::process::Command;

const HERE: &str = env!("CARGO_MANIFEST_DIR");
/// Where the manual pages have the image that README calls [`SAMPLE`].
const IMAGE: &str = "/mnt/image";
const SAMPLE: &str = "target/sample";

fn machine() -> Machine {
    let machine = Machine::new().directory("bin");
    symlink(env!("CARGO_BIN_EXE_limopack"), machine.path("bin/limopack")).unwrap();
    machine
}

fn read(file: &str) -> String {
    std::fs::read_to_string(format!("{HERE}/{file}")).unwrap()
}

/// Runs a command line as somebody would type it below the machine's directory; what a terminal
/// would show.
///
/// `make sample` makes the sample as the Makefile does, whose directory this is not.
fn typed(machine: &Machine, line: &str) -> String {
    let line = match line {
        "make sample" => format!("sh '{HERE}/tests/sample.sh' {SAMPLE}"),
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

/// Runs the lines of a block that begin with a prompt; the block as it should be, and how many
/// lines that are.
fn run(machine: &Machine, block: &str) -> (String, usize) {
    let mut shown = String::new();
    // A variable lasts to the end of its block.
    let mut exports = String::new();
    let mut examples = 0;
    for line in block.lines().filter_map(|line| line.strip_prefix("$ ")) {
        if line.starts_with("export ") {
            exports += &format!("{line}\n");
        }
        shown += &format!("$ {line}\n{}", typed(machine, &format!("{exports}{line}")));
        examples += 1;
    }
    (shown, examples)
}

#[test]
fn every_example_of_the_readme_prints_what_the_readme_says() {
    let (machine, readme) = (machine(), read("README.md"));
    let blocks = readme.split("```console\n").skip(1);
    let mut count = 0;
    for block in blocks.map(|rest| rest.split("```").next().unwrap()) {
        let (shown, examples) = run(&machine, block);
        assert_eq!(shown, block);
        count += examples;
    }
    assert!(count > 15, "{count}");
}

/// Each example of a page stands for itself, so that it begins with the sample as it is made.
#[test]
fn every_example_of_the_manual_prints_what_the_manual_says() {
    let machine = machine();
    let mut count = 0;
    for page in [page::reference(), page::integration()] {
        let blocks = page.split("\n.Bd -literal -offset indent\n").skip(1);
        let blocks = blocks.map(|rest| rest.split(".Ed\n").next().unwrap());
        for block in blocks.filter(|block| block.starts_with("$ ")) {
            typed(&machine, "make sample");
            let (shown, examples) = run(&machine, &block.replace(IMAGE, SAMPLE));
            assert_eq!(shown.replace(SAMPLE, IMAGE), block);
            count += examples;
        }
    }
    assert!(count > 15, "{count}");
}

#[test]
fn the_readme_s_costs_are_those_that_were_measured() {
    let (readme, table) = (read("README.md"), read("tests/system/README.md"));
    let costs = readme.split("\n## What it costs\n").nth(1).unwrap();
    let costs = costs.split("\n## ").next().unwrap();
    let figures: Vec<&str> = costs.split("**").skip(1).step_by(2).collect();
    assert!(figures.len() >= 4, "{figures:?}");
    for figure in figures {
        assert!(table.contains(&format!("| {figure} |")), "{figure}");
    }
}
