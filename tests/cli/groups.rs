//! Groups: names of files of names.

use crate::machine::{Machine, KERNEL};
use std::collections::HashSet;
use std::fs;

const STICK: &str = "usr/lib/limopack/groups.d/stick.conf";
const OWN: &str = "etc/limopack/groups.d/stick.conf";
const ALL: &str = "usr/lib/limopack/groups.d/all.conf";
const APP: &str = "usr/lib/limopack/needs.d/app.conf";

fn machine() -> Machine {
    Machine::new()
        .kernel(
            KERNEL,
            "kernel/a.ko: kernel/b.ko\nkernel/b.ko:\nkernel/c.ko:\nkernel/d.ko:\n",
        )
        .file(STICK, "# a stick\na\nno_such\nfs-nothing\n")
        .file(ALL, "@stick\n@all\n@none_such\nd\n")
}

fn listed(machine: &Machine, line: &str) -> String {
    machine
        .prints(line)
        .replace("kernel/", "")
        .replace(".ko\n", " ")
}

#[test]
fn a_group_is_the_names_in_its_file_and_in_those_of_its_groups() {
    let machine = machine();
    assert_eq!(listed(&machine, "-l -u @stick"), "a b ");
    assert_eq!(listed(&machine, "-l -u c,@all,@stick"), "a b c d ");
    machine.write("names", "@stick\nc\n");
    let file = machine.path("names").display().to_string();
    assert_eq!(listed(&machine, &format!("-l --from={file}")), "a b c ");
}

#[test]
fn what_is_registered_is_what_the_group_has_now() {
    let machine = machine();
    machine.succeeds("-i -u @all --owner=app");
    assert_eq!(machine.active(), "a:1\n#@ a app\nd:1\n#@ d app\n");
    machine.succeeds("-r -u @stick --owner=app");
    assert_eq!(machine.active(), "d:1\n#@ d app\n");
}

#[test]
fn a_file_of_needs_d_may_name_groups_and_is_what_why_names() {
    let machine = machine().file(APP, "c\n@stick\n@none_such ?\n");
    assert_eq!(listed(&machine, "-l"), "a b c ");
    let why = machine.prints("--why -u a");
    assert!(why.contains(&format!("{APP}:2")), "{why}");
    assert!(!machine.run("--check").out.contains("missing"));
}

#[test]
fn the_administrator_s_group_hides_the_other() {
    let machine = machine().file(OWN, "c\n");
    assert_eq!(listed(&machine, "-l -u @stick"), "c ");
    machine.write(OWN, "");
    assert_eq!(machine.prints("-l -u @stick"), "");
}

#[test]
fn a_group_that_is_not_there_is_an_error() {
    let machine = machine().registered("#! base\n");
    for name in ["@stik", "@", "@/stick", "@../groups.d/stick", "@stick.conf"] {
        for action in ["-l", "-i", "-r", "--why"] {
            let message = machine.refuses(&format!("{action} -u {name}"));
            let wanted = format!("no group {name}; see limopack --help");
            assert!(message.contains(&wanted), "{message}");
        }
    }
    machine.write(APP, "c\n@stik\n");
    let message = machine.refuses("--prune");
    assert!(
        message.contains(&format!("{APP}:2: no group @stik")),
        "{message}"
    );
    assert!(machine
        .path(&format!("lib/modules/{KERNEL}/kernel/d.ko"))
        .exists());
}

#[test]
fn the_lines_of_a_registry_are_names_in_a_group_as_well() {
    let machine = machine().file(STICK, "a:S\nno_such:2\n");
    assert_eq!(listed(&machine, "-l -u @stick"), "a b ");
}

#[test]
fn a_link_to_dev_null_hides_a_group() {
    let machine = machine().link(OWN, "/dev/null").file(APP, "@stick\n");
    assert_eq!(machine.prints("-l"), "");
}

#[test]
fn a_group_that_must_be_there_is_missed_though_it_may_be_missing_elsewhere() {
    let machine = machine().file(APP, "@none_such ?\n@none_such\n");
    assert!(machine
        .refuses("-l")
        .contains(&format!("{APP}:2: no group")));
}

#[test]
fn a_group_s_file_that_is_no_list_is_an_error_with_its_line() {
    let machine = machine().file(STICK, "a\na\x1b[2J\n");
    let message = machine.refuses("-l -u @all");
    assert!(message.contains("stick.conf:2: control bytes"), "{message}");
}

#[test]
fn the_groups_that_come_with_limopack_are_lists_of_names() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/cross/package/groups.d");
    let mut files = HashSet::new();
    let mut named = HashSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# ") && text.ends_with('\n'), "{path:?}");
        let mut seen = HashSet::new();
        for line in text.lines().skip(1) {
            assert!(!line.contains(' ') && seen.insert(line), "{path:?}: {line}");
            named.extend(line.strip_prefix('@').map(String::from));
        }
        files.insert(path.file_stem().unwrap().to_str().unwrap().to_string());
    }
    assert!(files.len() == 18 && named.is_subset(&files), "{named:?}");
}
