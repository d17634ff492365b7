//! needs.d: files that declare what packages and machines need.

use crate::machine::{Machine, KERNEL};

const APP: &str = "usr/lib/limopack/needs.d/app.conf";
const OWN: &str = "etc/limopack/needs.d/app.conf";
const BOARD: &str = "etc/limopack/needs.d/board.conf";

fn machine() -> Machine {
    Machine::new()
        .kernel(
            KERNEL,
            "kernel/a.ko: kernel/b.ko\nkernel/b.ko:\nkernel/c.ko:\nkernel/d-1.ko:\n",
        )
        .builtin(KERNEL, "kernel/built-in.ko\n")
        .file(
            &format!("lib/modules/{KERNEL}/modules.alias"),
            "alias pci:v1d* c\n",
        )
}

fn listed(machine: &Machine) -> String {
    machine
        .prints("-l")
        .replace("kernel/", "")
        .replace(".ko\n", " ")
}

#[test]
fn what_a_file_declares_is_needed_as_long_as_the_file_is_there() {
    let machine = machine().file(APP, "# an application's\n\na\nd_1 and a remark\nbuilt-in\n");
    assert_eq!(listed(&machine), "a b d-1 ");
    let why = machine.prints("--why -u a,b,d-1");
    assert!(why.contains(&format!("{APP}:3")), "{why}");
    assert!(why.contains(&format!("{APP}:4")), "{why}");
    std::fs::remove_file(machine.path(APP)).unwrap();
    assert_eq!(listed(&machine), "");
}

#[test]
fn names_are_those_of_a_census() {
    let machine = machine().file(BOARD, "# limopack census\npci:v1d2\npci:v9d9\nno_such ?\n");
    assert_eq!(listed(&machine), "c ");
    assert!(!machine.run("--check").out.contains("missing"));
}

#[test]
fn the_administrator_s_file_hides_the_package_s() {
    let machine = machine().file(APP, "a\n").file(OWN, "c\n");
    assert_eq!(listed(&machine), "c ");
    machine.write(OWN, "");
    assert_eq!(listed(&machine), "");
    std::fs::remove_file(machine.path(OWN)).unwrap();
    assert_eq!(listed(&machine), "a b ");
    assert_eq!(listed(&machine.link(OWN, "/dev/null")), "");
}

#[test]
fn a_name_that_the_kernel_does_not_have_is_a_line_of_check_and_a_refusal() {
    let machine = machine().file(APP, "a\nno_such\n").file(BOARD, "#! base\n");
    let line = format!("missing\t{KERNEL}\tno_such\t{APP}:2 asks for it");
    assert!(machine.run("--check").out.contains(&line));
    let message = machine.refuses("--prune");
    assert!(message.contains("no_such"), "{message}");
    assert!(machine
        .path(&format!("lib/modules/{KERNEL}/kernel/c.ko"))
        .exists());
}

#[test]
fn a_base_needs_no_registry() {
    for base in ["#! base\na\n", "# limopack census\na ?\n"] {
        let machine = machine().file(BOARD, base);
        let ran = machine.run("--prune");
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(listed(&machine), "a b ");
        assert!(!machine
            .path(&format!("lib/modules/{KERNEL}/kernel/c.ko"))
            .exists());
    }
    let machine = machine().file(APP, "a\n");
    assert!(machine
        .refuses("--prune")
        .contains("no kernel has a registry"));
    let message = machine.refuses(&format!("--prune -k {KERNEL}"));
    assert!(
        message.contains("nothing says what this kernel has to keep"),
        "{message}"
    );
}

#[test]
fn what_is_no_list_deletes_nothing() {
    let machine = machine().file(BOARD, "#! base\na\n");
    for (text, what) in [
        (&b"a\0b\n"[..], ""),
        (b"\x7fELF\x02\x01\n", "control bytes"),
        (b"a\x1b[2J\n", "control bytes"),
        (b"a/../../b\n", "no_such"),
    ] {
        machine.write(APP, text);
        let ran = machine.run("--prune");
        assert_eq!(ran.code, Some(1), "{text:?}: {ran:?}");
        assert!(
            ran.err.contains(APP) || what == "no_such",
            "{text:?}: {ran:?}"
        );
        assert!(machine
            .path(&format!("lib/modules/{KERNEL}/kernel/c.ko"))
            .exists());
    }
    // What is no regular file is none of ours, and what hides the file of a package.
    std::fs::remove_file(machine.path(APP)).unwrap();
    for text in ["c\r\n", "c"] {
        machine.write(APP, text);
        assert_eq!(listed(&machine), "a b c ");
    }
    let machine = machine.directory("usr/lib/limopack/needs.d/folder.conf");
    assert_eq!(listed(&machine), "a b c ");
    assert_eq!(
        listed(&machine.file("usr/lib/limopack/needs.d/app.conf~", "d-1\n")),
        "a b c "
    );
}

/// It was a base without a need: its lines are no names, and a prune deleted what they name.
#[test]
fn a_copy_of_a_registry_needs_what_the_registry_has() {
    let machine = machine().file(BOARD, "#! base\na:S\nc:2\n#@ c app\n#! keep-pruned\n");
    assert_eq!(listed(&machine), "a b c ");
    assert!(machine.prints("--why -u a").contains(BOARD));
    assert_eq!(machine.run("--prune").code, Some(0));
    assert_eq!(listed(&machine), "a b c ");
    machine.write(BOARD, "#! base\na:S\nno_such:1\n");
    let message = machine.refuses("--prune");
    assert!(message.contains("no_such"), "{message}");
    machine.write(BOARD, "#! base\na:S\n#@ a b/c\n");
    let message = machine.refuses("--prune");
    assert!(message.contains("board.conf:3"), "{message}");
}
