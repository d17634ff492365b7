//! `--list --firmware`: which files below lib/firmware the modules may ask for. `modinfo` is a script
//! here; `tests/system` has the real ones.

use crate::machine::{ran, Machine, KERNEL};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// A machine whose hci_uart asks for what `records` are, in the lines of `modinfo`.
fn machine(records: &str) -> Machine {
    with_program(&format!(
        "for file; do printf 'filename:       %s\\n' \"$PWD/$file\"; done\n\
         cat <<'END'\n{records}END\n\
         for file; do echo 'vermagic:       6.1'; done\n"
    ))
}

fn with_program(script: &str) -> Machine {
    let machine = Machine::typical()
        .file("bin/modinfo", format!("#!/bin/sh\n{script}"))
        .file("lib/firmware/a.bin", "")
        .file("lib/firmware/b/c.bin.xz", "")
        .file("lib/firmware/b/d.bin", "")
        .file("lib/firmware/regulatory.db", "");
    let mode = PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(machine.path("bin/modinfo"), mode).unwrap();
    machine
}

fn command(machine: &Machine, line: &str) -> Command {
    let mut command = machine.command(line);
    let path = format!("{}:/usr/bin:/bin", machine.path("bin").display());
    command.env("PATH", path);
    command
}

fn prints(machine: &Machine, line: &str) -> String {
    let ran = ran(&mut command(machine, line));
    assert_eq!((ran.code, &*ran.err), (Some(0), ""), "{line}");
    ran.out
}

fn refuses(machine: &Machine, line: &str) -> String {
    machine.fails(&mut command(machine, line), 1)
}

#[test]
fn what_the_modules_ask_for_is_listed_sorted_and_once() {
    let machine = machine(
        "firmware:       b/*.bin\nfirmware:       a.bin\nfirmware:       a.bin\n\
         firmware:       gone.bin\n",
    );
    let wanted = "a.bin\nb/c.bin.xz\nb/d.bin\n";
    assert_eq!(prints(&machine, "-l -u hci_uart --firmware"), wanted);
    assert_eq!(prints(&machine, "-l -u ext4 --firmware -k all"), wanted);
    let json = "{\"path\":\"a.bin\"}\n{\"path\":\"b/c.bin.xz\"}\n{\"path\":\"b/d.bin\"}\n";
    let line = "-l -u hci_uart --firmware --format=json";
    assert_eq!(prints(&machine, line), json);
    let debug = ran(&mut command(&machine, "-l -u hci_uart --firmware -d"));
    let gone = "limopack: debug: no firmware gone.bin for rfkill.ko\n";
    assert!(debug.err.contains(gone), "{}", debug.err);
}

#[test]
fn what_nobody_names_is_listed_for_the_machine() {
    let machine = machine("")
        .file(
            &format!("lib/modules/{KERNEL}/modules.builtin.modinfo"),
            "x.license=GPL\0x.firmware=b/d.bin\0",
        )
        .file(
            "etc/limopack/hidden.d/a.conf",
            "rfkill firmware: b/c.* # x\n",
        );
    let machine = machine.registered("hci_uart:S\n");
    let wanted = "b/c.bin.xz\nb/d.bin\nregulatory.db\n";
    assert_eq!(prints(&machine, "-l --firmware"), wanted);
    assert_eq!(prints(&machine, "-l -u rfkill --firmware"), "b/c.bin.xz\n");
    // The row names no module.
    assert_eq!(prints(&machine, "-l -u rfkill"), "kernel/net/rfkill.ko\n");
    machine.write(
        "sys/firmware/devicetree/base/soc/rproc@1/firmware-name",
        "a.bin\0other.bin\0",
    );
    let wanted = format!("a.bin\n{wanted}");
    assert_eq!(prints(&machine, "-l --firmware"), wanted);
}

#[test]
fn a_directory_of_the_kernels_version_is_for_it_alone() {
    let machine = machine("firmware:       a.bin\n")
        .file(&format!("lib/firmware/{KERNEL}/e.bin"), "")
        .file("lib/firmware/5.0/a.bin", "");
    let wanted = format!("{KERNEL}/e.bin\na.bin\n");
    assert_eq!(prints(&machine, "-l -u ext4 --firmware"), wanted);
}

#[test]
fn nothing_is_listed_where_modules_could_not_be_read() {
    let message = format!("kernel {KERNEL}: modinfo could not read every module");
    for script in [
        "echo 'filename:       x'\n",
        "for file; do echo vermagic: 1; done; exit 1\n",
        "kill -9 $$\n",
        "",
    ] {
        let machine = with_program(script);
        assert_eq!(refuses(&machine, "-l -u ext4 --firmware"), message);
    }
    let machine = Machine::typical();
    let mut without = machine.command("-l -u ext4 --firmware");
    without.env("PATH", machine.path("bin"));
    let message = "cannot run modinfo: No such file or directory";
    assert_eq!(machine.fails(&mut without, 1), message);
}

#[test]
fn modules_are_read_below_the_root_wherever_they_are() {
    let machine = with_program(
        "for file; do [ -f \"$file\" ] || exit 1; echo 'firmware: a.bin'; echo vermagic:; done\n",
    );
    let machine = machine
        .dep(KERNEL, "kernel/-x.ko: /opt/y.ko\n/opt/y.ko:\n")
        .file("opt/y.ko", "");
    assert!(refuses(&machine, "-l --use=_x --firmware").contains("modinfo could not read"));
    let machine = machine.file(&format!("lib/modules/{KERNEL}/kernel/-x.ko"), "");
    assert_eq!(prints(&machine, "-l -u y --firmware"), "a.bin\n");
    assert_eq!(prints(&machine, "-l --use=_x --firmware"), "a.bin\n");
}

#[test]
fn modinfo_is_not_asked_about_nothing() {
    let machine = with_program("exit 1\n");
    assert_eq!(prints(&machine, "-l --firmware"), "regulatory.db\n");
}

#[test]
fn firmware_goes_with_a_listing_alone() {
    let error = Machine::typical().usage_error("-e -u ext4 --firmware");
    assert!(error.starts_with("--firmware does nothing with --tree"));
}
