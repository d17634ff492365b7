//! `--kernel` and what counts without it.

use crate::machine::{active, on_every_index, Machine};

fn two_kernels(machine: Machine) -> Machine {
    machine
        .kernel("6.1.0", "kernel/a.ko: kernel/b.ko\nkernel/b.ko:\n")
        .kernel("6.12.0", "kernel/new/a.ko:\nkernel/c.ko:\n")
        .builtin("6.12.0", "kernel/b.ko\n")
}

#[test]
fn with_several_kernels_each_path_begins_with_its_version() {
    on_every_index(|machine| {
        let machine = two_kernels(machine);
        let all = "6.1.0/kernel/a.ko\n6.1.0/kernel/b.ko\n6.12.0/kernel/new/a.ko\n";
        for kernels in [
            "-k all",
            "-k 6.12.0 -k 6.1.0",
            "-k all -k 6.1.0",
            "--kernel=all",
        ] {
            assert_eq!(machine.prints(&format!("-l -u a {kernels}")), all);
        }
    });
}

#[test]
fn one_kernel_given_twice_is_one_kernel() {
    let machine = two_kernels(Machine::new());
    let paths = "kernel/a.ko\nkernel/b.ko\n";
    assert_eq!(machine.prints("-l -u a -k 6.1.0 -k 6.1.0"), paths);
}

#[test]
fn all_of_one_kernel_needs_no_prefix() {
    assert_eq!(
        Machine::typical().prints("-l -u rfkill -k all"),
        "kernel/net/rfkill.ko\n"
    );
}

#[test]
fn without_a_kernel_the_only_one_is_shown_and_of_several_none_is_guessed() {
    let machine = Machine::new().kernel("6.1.0", "a.ko:\n");
    assert_eq!(machine.prints("-l -u a"), "a.ko\n");
    let machine = machine.kernel("6.12.0", "a.ko:\n");
    for line in ["-l", "-l -u a", "-e"] {
        assert_eq!(
            machine.refuses(line),
            "several kernels; choose with --kernel: 6.1.0, 6.12.0"
        );
    }
}

#[test]
fn a_directory_without_an_index_is_no_kernel() {
    let machine = Machine::typical()
        .directory("lib/modules/6.2.0-removed")
        .file("lib/modules/notes.txt", "not a directory");
    assert_eq!(machine.prints("-l -u rfkill"), "kernel/net/rfkill.ko\n");
    machine.succeeds("-i -u rfkill");
    assert!(!machine.path(&active("6.2.0-removed")).exists());
    for line in ["-l", "-i -u rfkill"] {
        assert_eq!(
            machine.refuses(&format!("{line} -k 6.2.0-removed")),
            "no kernel 6.2.0-removed: no modules.dep in ROOT/lib/modules/6.2.0-removed"
        );
    }
}

#[test]
fn a_kernel_that_is_not_installed_is_an_error() {
    let machine = Machine::typical();
    for line in ["-l", "-e", "-l -u rfkill"] {
        assert_eq!(
            machine.refuses(&format!("{line} -k 9.9")),
            "no kernel 9.9: no modules.dep in ROOT/lib/modules/9.9"
        );
    }
    for line in ["-i -u rfkill", "-r -u rfkill"] {
        assert_eq!(
            machine.refuses(&format!("{line} -k 9.9")),
            "no kernel 9.9: no ROOT/lib/modules/9.9"
        );
    }
}

#[test]
fn a_version_cannot_lead_out_of_lib_modules() {
    let machine = Machine::typical();
    for version in ["..", ".", "6.1.0/kernel", "../modules/6.1.0", "/"] {
        for line in ["-l", "-i -u rfkill", "-r -u rfkill"] {
            let error = machine.usage_error(&format!("{line} -k {version}"));
            assert_eq!(
                error,
                format!("not a kernel version: {version} (see limopack --help)")
            );
        }
    }
}

/// A package's prerm must not fail because its kernel went before it.
#[test]
fn an_owner_is_released_where_no_kernel_is_left() {
    let ran = Machine::new().run("-r -u a --owner=p");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let ran = Machine::new().run("-r --owner=p");
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[test]
fn without_any_kernel_every_action_says_so() {
    let empty = Machine::new();
    let without_modules = Machine::new().directory("lib/modules");
    for machine in [empty, without_modules] {
        for line in ["-l", "-e", "-l -u a", "-l -k all", "-i -u a", "-r -u a"] {
            assert_eq!(
                machine.refuses(line),
                "no kernel with a modules.dep in ROOT/lib/modules"
            );
        }
    }
}

#[test]
fn a_name_that_only_some_kernels_have_is_listed_for_those() {
    on_every_index(|machine| {
        let machine = two_kernels(machine);
        assert_eq!(machine.prints("-l -u c -k all"), "6.12.0/kernel/c.ko\n");
        let ran = machine.run("-l -u b -k all");
        assert_eq!((ran.code, &*ran.out), (Some(0), "6.1.0/kernel/b.ko\n"));
        assert_eq!(machine.messages(&ran.err), "b is built into kernel 6.12.0");
        assert_eq!(
            machine.refuses("-l -u d -k all"),
            "no module d in kernel 6.1.0, 6.12.0"
        );
    });
}

#[test]
fn registering_goes_to_every_kernel_that_has_the_module() {
    on_every_index(|machine| {
        let machine = two_kernels(machine);
        machine.succeeds("-i -u a");
        assert_eq!(machine.read(&active("6.1.0")), "a:1\n");
        assert_eq!(machine.read(&active("6.12.0")), "a:1\n");
        let ran = machine.run("-i -u c");
        assert_eq!(ran.code, Some(0));
        assert_eq!(
            machine.messages(&ran.err),
            "warning: no module c in kernel 6.1.0"
        );
        let ran = machine.run("-i -u b");
        assert_eq!(ran.code, Some(0));
        assert_eq!(
            machine.messages(&ran.err),
            "b is built into kernel 6.12.0; not registered"
        );
        assert_eq!(machine.read(&active("6.1.0")), "a:1\nb:1\n");
        assert_eq!(machine.read(&active("6.12.0")), "a:1\nc:1\n");
        machine.succeeds("-r -u a,b,c");
        assert_eq!(machine.read(&active("6.1.0")), "");
        assert_eq!(machine.read(&active("6.12.0")), "");
    });
}

#[test]
fn registering_in_a_named_kernel_leaves_the_others_alone() {
    let machine = two_kernels(Machine::new());
    machine.succeeds("-i -u a -k 6.12.0");
    assert!(!machine.path(&active("6.1.0")).exists());
    assert_eq!(machine.read(&active("6.12.0")), "a:1\n");
    assert_eq!(machine.refuses("-r -u a -k 6.1.0"), "a is not registered");
    machine.succeeds("-r -u a");
    assert_eq!(machine.read(&active("6.12.0")), "");
}

#[test]
fn one_malformed_registry_stops_the_change_of_all() {
    let machine = two_kernels(Machine::new()).file(&active("6.12.0"), "a:1\nb\n");
    for line in [
        "-i -u a",
        "-i -s -u a",
        "-r -u a",
        "-r --owner=p",
        "-i -n -u a",
    ] {
        assert_eq!(
            machine.refuses(line),
            "ROOT/lib/modules/6.12.0/modules.active:2: neither NAME:S nor NAME:NUMBER"
        );
    }
}

#[test]
fn one_damaged_index_stops_the_change_of_all() {
    let machine = two_kernels(Machine::new()).file("lib/modules/6.12.0/modules.dep", "");
    assert_eq!(
        machine.refuses("-i -u a"),
        "ROOT/lib/modules/6.12.0/modules.dep: the file is empty; run depmod"
    );
}

#[test]
fn one_reference_too_many_stops_the_change_of_all() {
    let machine = two_kernels(Machine::new()).file(&active("6.12.0"), "a:4294967295\n");
    assert_eq!(
        machine.refuses("-i -u a"),
        "ROOT/lib/modules/6.12.0/modules.active: too many references to a"
    );
}

#[test]
fn a_kernel_under_a_second_name_is_one_kernel() {
    // Both names led to one directory, and the second lock waited for the first for ever.
    let machine = Machine::typical().link("lib/modules/6", "6.1.0");
    for line in [
        "-i -u rfkill",
        "-i -u rfkill -k all",
        "-i -u rfkill -k 6 -k 6.1.0",
    ] {
        machine.succeeds(line);
    }
    assert_eq!(machine.active(), "rfkill:3\n");
    assert_eq!(machine.prints("-l -u rfkill"), "kernel/net/rfkill.ko\n");
    machine.succeeds("-r -u rfkill -k 6");
    assert_eq!(machine.active(), "rfkill:2\n");
}
