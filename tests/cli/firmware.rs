//! `--firmware`: which files below lib/firmware the modules may ask for, and the prune of the others.
//! `modinfo` is a script here; `tests/system` has the real ones.

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
fn firmware_does_not_go_with_a_tree() {
    let error = Machine::typical().usage_error("-e -u ext4 --firmware");
    assert!(error.starts_with("--firmware does nothing with --tree"));
}

/// A kernel that keeps rfkill, with firmware for it and for nothing.
fn to_prune() -> Machine {
    let machine = with_program(
        "for file; do echo \"filename: $file\"; case $file in *rfkill*) echo 'firmware: b/*.bin';; esac; echo vermagic: 1; done\n",
    );
    machine
        .file(&format!("lib/modules/{KERNEL}/modules.builtin.modinfo"), "")
        .file("lib/firmware/x/y/z.bin", "12345")
        .link("lib/firmware/l", "x/y")
        .registered("#! base\nrfkill:S\n")
}

const LEFT: [&str; 3] = ["b/c.bin.xz", "b/d.bin", "regulatory.db"];
const GONE: [&str; 3] = ["a.bin", "l", "x/y/z.bin"];

/// What is below a directory.
fn files(machine: &Machine, directory: &str) -> Vec<String> {
    let place = machine.path(directory);
    let mut command = Command::new("find");
    command
        .arg(&place)
        .args(["!", "-type", "d", "-printf", "%P\\n"]);
    let ran = ran(&mut command);
    let mut files: Vec<String> = ran.out.lines().map(str::to_string).collect();
    files.sort();
    files
}

#[test]
fn a_prune_with_firmware_deletes_what_nothing_asks_for() {
    let machine = to_prune();
    let plan = "delete ROOT/lib/firmware/a.bin 0\n";
    let out = prints(&machine, "--prune --firmware -nq")
        .replace(machine.path("").to_str().unwrap(), "ROOT/");
    assert!(out.contains(plan), "{out}");
    assert!(out.contains("rmdir ROOT/lib/firmware/x/y\n"), "{out}");
    assert!(
        out.contains("total firmware kept: 3 files, 0 bytes\ntotal firmware removed: 3 files, "),
        "{out}"
    );
    assert_eq!(files(&machine, "lib/firmware").len(), 6);
    prints(&machine, "--prune --firmware -q");
    assert_eq!(files(&machine, "lib/firmware"), LEFT);
    assert!(!machine.path("lib/firmware/x").exists());
    let done = ran(&mut command(&machine, "--prune --firmware"));
    assert!(
        done.err
            .contains("limopack: firmware: nothing to delete, kept 3 files (0.0 MB)\n"),
        "{}",
        done.err
    );
}

#[test]
fn parked_firmware_comes_back() {
    let machine = to_prune();
    prints(&machine, "--prune --firmware --park -q");
    let parked = "lib/firmware/.parked/firmware";
    assert_eq!(files(&machine, parked), GONE);
    prints(&machine, "--prune --firmware --park -q");
    assert_eq!(files(&machine, parked), GONE);
    prints(&machine, "--restore -q");
    let mut all = [LEFT, GONE].concat();
    all.sort();
    assert_eq!(files(&machine, "lib/firmware"), all);
    assert!(!machine.path("lib/firmware/.parked").exists());
    // A module that comes back alone in its directory, with what it asks for.
    prints(&machine, "--prune --firmware --park -q");
    machine.write(
        "etc/limopack/hidden.d/x.conf",
        "hci_uart firmware: x/*/z.bin\n",
    );
    prints(&machine, "--restore --use=hci_uart -q");
    assert_eq!(files(&machine, parked), GONE[..2]);
    assert!(machine.path("lib/firmware/x/y/z.bin").exists());
    std::fs::remove_file(machine.path("etc/limopack/hidden.d/x.conf")).unwrap();
    // Deleted after all.
    prints(&machine, "--prune --firmware --park -q");
    prints(&machine, "--prune --firmware -q");
    assert_eq!(files(&machine, "lib/firmware"), LEFT);
}

#[test]
fn who_asks_is_said() {
    let machine = to_prune();
    let line = "--why --firmware --use=b/d.bin,x/y/*.bin,regulatory.db,none,a";
    let wanted = "b/d.bin: rfkill.ko asks for it\nx/y/z.bin: nothing asks for it\n\
        regulatory.db: the kernel asks for it\nnone: not on disk\na: not on disk\n";
    assert_eq!(prints(&machine, line), wanted);
    let line = "--why --firmware --use=a.bin --format=json";
    let wanted = "{\"path\":\"a.bin\",\"text\":\"nothing asks for it\"}\n";
    assert_eq!(prints(&machine, line), wanted);
    let error = machine.usage_error("--why --firmware");
    assert!(error.starts_with("--why needs --use"), "{error}");
}

#[test]
fn a_check_counts_what_a_prune_would_delete() {
    let machine = to_prune();
    let check = |line| ran(&mut command(&machine, line)).out;
    let unpruned = "unpruned\t\tfirmware\t3 files, 8 bytes\n";
    assert!(check("--check --firmware").contains(unpruned));
    assert!(!check("--check").contains("firmware"));
    prints(&machine, "--prune --firmware --park -q");
    let out = check("--check --firmware");
    assert!(!out.contains("unpruned"), "{out}");
    assert!(
        out.contains("parked\t\tfirmware\t3 files, 8 bytes; see --restore\n"),
        "{out}"
    );
}

#[test]
fn a_kernel_of_which_is_not_known_what_is_built_in_refuses() {
    let machine = to_prune();
    let records = machine.path(&format!("lib/modules/{KERNEL}/modules.builtin.modinfo"));
    std::fs::remove_file(records).unwrap();
    let message = format!(
        "kernel {KERNEL}: no modules.builtin.modinfo says what it asks for; --force overrides this"
    );
    assert_eq!(refuses(&machine, "--prune --firmware"), message);
    prints(&machine, "--prune --firmware -q --force");
    assert_eq!(files(&machine, "lib/firmware"), LEFT);
}

#[test]
fn what_others_look_for_there_stays() {
    let machine = to_prune()
        .file(
            "sys/module/firmware_class/parameters/path",
            "/usr/lib/firmware/x\n",
        )
        .file("lib/firmware/cape.dtbo", "")
        .file("lib/firmware/x/cape.dtbo", "")
        .file("lib/firmware/updates/a.bin", "")
        .file("lib/firmware/intel-ucode/06-3a-09", "");
    prints(&machine, "--prune --firmware -q");
    let wanted = [
        "b/c.bin.xz",
        "b/d.bin",
        "cape.dtbo",
        "intel-ucode/06-3a-09",
        "regulatory.db",
        "updates/a.bin",
        "x/cape.dtbo",
        "x/y/z.bin",
    ];
    assert_eq!(files(&machine, "lib/firmware"), wanted);
}
