//! Names from files and from the machine: `--from`, `--census`, `--detect`, and a registry carried
//! over to another kernel, by hand and by the kernel's hook.

use crate::machine::{active, ran, Machine, KERNEL};
use std::io::Write;
use std::process::{Command, Stdio};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// Another kernel on the same machine.
const NEXT: &str = "6.2.0";

fn aliases(version: &str) -> String {
    format!("lib/modules/{version}/modules.alias")
}

#[test]
fn every_kind_of_list_names_modules() {
    let machine = Machine::typical().file(&aliases(KERNEL), "alias pci:v1* ext4\n");
    let list =
        "# c\nModule Size Used by\njbd2 16384 1 ext4\nsnd-hda-intel\nnope ?\npci:v9\npci:v1\n";
    machine.write("list", list);
    let from = format!("--from={}", machine.path("list").display());
    machine.succeeds(&format!("-i {from}"));
    assert_eq!(
        machine.active(),
        "#! base\next4:1\njbd2:1\nsnd_hda_intel:1\n"
    );
    assert_eq!(machine.prints(&format!("-l {from}")).lines().count(), 5);
    machine.write("list", "jbd2\nnope\npci:v9\n");
    assert_eq!(
        machine.refuses(&format!("-i {from}")),
        "no module nope in kernel 6.1.0"
    );
    machine.write("list", "# nothing\n");
    assert!(machine
        .refuses(&format!("-i {from}"))
        .ends_with("/list names no module"));
    assert!(machine
        .refuses("-l --from=/nonexistent")
        .contains("cannot open /nonexistent"));
}

#[test]
fn names_come_from_standard_input_too() {
    let machine = Machine::typical();
    let mut command = machine.command("-l --from=-");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"rfkill\n").unwrap();
    let out = child.wait_with_output().unwrap().stdout;
    assert_eq!(out, b"kernel/net/rfkill.ko\n");
}

#[test]
fn a_census_of_one_machine_registers_the_modules_of_another_kernel() {
    let board = Machine::new()
        .file(
            "sys/devices/x/uevent",
            "DRIVER=old_name\nMODALIAS=pci:v1d2\n",
        )
        .file(
            "proc/mounts",
            "/dev/x / ext4 rw 0 0\nproc /proc proc rw 0 0\n",
        )
        .link("sys/class/block/x", "../../devices/x")
        .loaded(&["old_name", "rfkill"]);
    let census = board.prints("--census");
    let lines: Vec<&str> = census.lines().skip(2).collect();
    assert_eq!(
        lines,
        ["fs-ext4", "fs-proc", "old_name ?", "pci:v1d2", "rfkill ?"]
    );

    let image = Machine::typical().file(
        &aliases(KERNEL),
        "alias fs-ext4 ext4\nalias pci:v1d* hci_uart\n",
    );
    image.write("census", &census);
    let from = format!("--from={}", image.path("census").display());
    for _ in 0..2 {
        let again = image.run(&format!("-is {from}"));
        assert_eq!((again.code, again.out), (Some(0), String::new()));
        assert_eq!(image.active(), "#! base\next4:S\nhci_uart:S\nrfkill:S\n");
    }
    let said = image.run(&format!("-d -l {from}")).err;
    assert_eq!(said.matches("debug: no module ").count(), 2, "{said}");
}

#[test]
fn detect_is_the_census_of_this_very_root() {
    let machine = Machine::typical();
    assert_eq!(
        machine.refuses("-is --detect"),
        "ROOT/sys/devices: no hardware found there"
    );
    let machine = machine.file("sys/devices/x/uevent", "DRIVER=ext4\n");
    machine.succeeds("-is --detect");
    assert_eq!(machine.active(), "#! base\next4:S\n");
}

/// A machine whose next kernel calls, has and builds in other modules.
fn upgraded() -> Machine {
    Machine::typical()
        .file(
            &aliases(KERNEL),
            "alias pci:v1* hci_uart\nalias pci:v2* rfkill\n",
        )
        .kernel(
            NEXT,
            "kernel/ext4.ko:\nkernel/hci_new.ko:\nkernel/net_fs.ko:\nkernel/rfkill.ko:\n",
        )
        .builtin(NEXT, "kernel/jbd2.ko\n")
        .file(
            &aliases(NEXT),
            "alias pci:v1* hci_new\nalias pci:v2* rfkill\n",
        )
        .registered("ext4:S\nhci_uart:2\n#@ hci_uart p\njbd2:1\nrfkill:1\nsnd:S\n")
}

const MIGRATED: &str = "#! base\next4:S\nhci_new:2\n#@ hci_new p\nnet_fs:S\nrfkill:1\n";

#[test]
fn a_registry_is_carried_over_by_name_and_by_alias() {
    let machine = upgraded();
    machine.write(&active(NEXT), "ext4:1\n");
    let from = machine.path(&active(KERNEL)).display().to_string();
    for times in 0..2 {
        let ran = machine.run(&format!("-i -k {NEXT} --from={from}"));
        assert_eq!(ran.code, Some(0));
        if times == 0 {
            assert_eq!(
                machine.messages(&ran.err),
                "hci_new has aliases of hci_uart in kernel 6.2.0\n\
                 built into kernel 6.2.0, not registered: jbd2\n\
                 no longer built in with kernel 6.2.0: net_fs\n\
                 warning: not in kernel 6.2.0, not registered: snd"
            );
        }
        assert_eq!(machine.read(&active(NEXT)), MIGRATED);
    }
}

#[test]
fn the_kernels_hook_carries_over_and_deletes_nothing() {
    let machine = upgraded().directory("bin");
    let hook = format!("{HERE}/cross/package/hooks/kernel/postinst.d/aa-limopack");
    let limopack = env!("CARGO_BIN_EXE_limopack");
    let run = |version: &str, has_binary: bool| {
        let mut command = Command::new("/bin/sh");
        command
            .args([&hook, version])
            .env_clear()
            .env("DPKG_ROOT", machine.path(""));
        let bin = machine.path("bin").display().to_string();
        command.env("PATH", format!("{bin}:/usr/bin:/bin"));
        if has_binary {
            let _ = std::os::unix::fs::symlink(limopack, machine.path("bin/limopack"));
        }
        ran(&mut command)
    };
    let before = machine.snapshot();
    assert_eq!(run(NEXT, false).code, Some(0));
    assert_eq!(machine.snapshot(), before);
    assert_eq!(run(NEXT, true).code, Some(0));
    assert_eq!(machine.read(&active(NEXT)), MIGRATED);
    assert_eq!(run("", true).code, Some(0));
    assert_eq!(run("6.9-none", true).code, Some(0));
    let after = machine.snapshot();
    assert!(before.keys().all(|path| after.contains_key(path)));
}
