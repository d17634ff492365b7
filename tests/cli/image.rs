//! `--root`: an image is worked on from inside, and never left.

use crate::machine::{active, ran, Machine, KERNEL};

#[test]
fn an_image_with_a_merged_usr_by_absolute_links_is_one_like_any_other() {
    let machine = Machine::new()
        .link("lib", "/usr/lib")
        .directory("usr/lib/modules/6.1.0/kernel")
        .file("usr/lib/modules/6.1.0/modules.dep", "kernel/a.ko:\n")
        .file("proc/modules", "a 1 0 - Live 0x0\n");
    assert_eq!(machine.prints("--list"), "kernel/a.ko\n");
    machine.succeeds("--install --use=a");
    assert_eq!(
        machine.read("usr/lib/modules/6.1.0/modules.active"),
        "a:1\n"
    );
    machine.succeeds("--remove --use=a");
    assert_eq!(machine.read("usr/lib/modules/6.1.0/modules.active"), "");
}

#[test]
fn an_absolute_link_leads_to_the_place_in_the_image_and_not_outside() {
    let outside = Machine::new().kernel(KERNEL, "kernel/secret.ko:\n");
    let machine = Machine::new().link("lib", outside.path("lib"));
    let before = outside.snapshot();
    for line in [
        "-l",
        "-l -k 6.1.0",
        "-i -u secret",
        "-i -u secret -k 6.1.0",
        "-r -u secret -k 6.1.0",
    ] {
        let error = machine.refuses(line);
        assert!(error.starts_with("no kernel "), "{error}");
    }
    // The same path inside the image exists: that is the one.
    let inside = outside.path("lib/modules/6.1.0/modules.dep");
    let inside = inside.strip_prefix("/").unwrap().to_str().unwrap();
    machine.write(inside, "kernel/own.ko:\n");
    machine.write(&inside.replace("modules.dep", "kernel/own.ko"), "module");
    assert_eq!(machine.prints("-l -u own"), "kernel/own.ko\n");
    machine.succeeds("-i -u own");
    assert!(outside.snapshot() == before);
}

#[test]
fn dots_do_not_lead_above_the_image() {
    let machine = Machine::new()
        .link(
            "lib/modules",
            "../../../../../../../../../../../deep/modules",
        )
        .directory("deep/modules/6.1.0/kernel")
        .file("deep/modules/6.1.0/modules.dep", "kernel/a.ko:\n");
    assert_eq!(machine.prints("-l -u a"), "kernel/a.ko\n");
    machine.succeeds("-i -u a");
    assert_eq!(machine.read("deep/modules/6.1.0/modules.active"), "a:1\n");
}

#[test]
fn a_version_directory_may_be_a_link() {
    let machine = Machine::new()
        .directory("data/6.1/kernel")
        .file("data/6.1/modules.dep", "kernel/a.ko:\n")
        .link("lib/modules/6.1.0", "/data/6.1");
    assert_eq!(machine.prints("-l -u a"), "kernel/a.ko\n");
    machine.succeeds("-i -u a");
    assert_eq!(machine.read("data/6.1/modules.active"), "a:1\n");
}

#[test]
fn looping_links_are_an_error() {
    let machine = Machine::new().link("lib", "lib");
    for line in ["-l", "-i -u a", "-r -u a"] {
        assert_eq!(
            machine.refuses(line),
            "cannot open ROOT/lib/modules: Too many levels of symbolic links"
        );
    }
    let machine = Machine::new()
        .directory("lib/modules/6.1.0")
        .link(&(active(KERNEL) + ".x"), "x");
    let machine = machine.link("lib/modules/6.1.0/modules.dep", "modules.dep");
    assert_eq!(
        machine.refuses("-l -k 6.1.0"),
        "cannot open ROOT/lib/modules/6.1.0/modules.dep: Too many levels of symbolic links"
    );
}

#[test]
fn a_link_that_leads_nowhere_is_a_missing_file() {
    let machine = Machine::typical().link("lib/modules/6.1.0/modules.dep.bin", "/nowhere");
    assert_eq!(machine.prints("-l -u rfkill"), "kernel/net/rfkill.ko\n");
}

#[test]
fn a_registry_that_is_a_link_is_read_and_never_replaced() {
    let machine = Machine::typical()
        .file("etc/modules.active", "rfkill:1\n")
        .link(&active(KERNEL), "/etc/modules.active");
    assert_eq!(machine.prints("-l"), "kernel/net/rfkill.ko\n");
    for line in ["-i -u ext4", "-r -u rfkill", "-n -i -u ext4"] {
        assert_eq!(
            machine.refuses(line),
            "ROOT/lib/modules/6.1.0/modules.active is a symbolic link; \
             replacing it would not change the file that it leads to"
        );
    }
}

#[test]
fn a_root_that_is_missing_or_no_directory_is_an_error() {
    let machine = Machine::typical();
    let fails = |root: &str| {
        let mut command = machine.anywhere();
        machine.fails(command.args(["--list", "--root", root]), 1)
    };
    assert_eq!(
        fails("missing"),
        "cannot open missing: No such file or directory"
    );
    let file = "lib/modules/6.1.0/modules.dep";
    assert_eq!(fails(file), format!("cannot open {file}: Not a directory"));
}

#[test]
fn a_root_may_be_relative_and_end_in_slashes() {
    let machine = Machine::typical();
    let outer = Machine::new().link("image", machine.path(""));
    for root in ["image", "image/", "./image//", "image/lib/.."] {
        let mut command = outer.anywhere();
        let ran = ran(command.args(["--list", "--use=rfkill", "--root", root]));
        assert_eq!(
            (ran.code, &*ran.out),
            (Some(0), "kernel/net/rfkill.ko\n"),
            "{root}"
        );
    }
}

#[test]
fn what_the_host_has_loaded_does_not_count_in_an_image() {
    Machine::typical().succeeds("--list");
    let machine = Machine::typical().loaded(&["rfkill"]);
    assert_eq!(machine.prints("--list"), "kernel/net/rfkill.ko\n");
}

#[test]
fn messages_name_files_as_the_user_would() {
    let machine = Machine::typical().registered("bad\n");
    let outer = Machine::new().link("image", machine.path(""));
    let mut command = outer.anywhere();
    let ran = ran(command.args(["--list", "--root=image/"]));
    assert_eq!(
        ran.err,
        "limopack: image/lib/modules/6.1.0/modules.active:1: neither NAME:S nor NAME:NUMBER\n"
    );
}
