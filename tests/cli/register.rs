//! `--install` and `--remove`: what the registry says afterwards, and to whom it listens.

use crate::machine::{active, on_every_index, ran, Machine, KERNEL};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

#[test]
fn each_install_counts_one_reference_more_and_each_remove_one_less() {
    on_every_index(|machine| {
        let machine = machine.typical_kernel();
        for count in 1..=3 {
            machine.succeeds("--install --use=ext4");
            assert_eq!(machine.active(), format!("ext4:{count}\n"));
        }
        for count in [2, 1] {
            machine.succeeds("--remove --use=ext4");
            assert_eq!(machine.active(), format!("ext4:{count}\n"));
        }
        machine.succeeds("--remove --use=ext4");
        assert_eq!(machine.active(), "");
        assert_eq!(
            machine.refuses("--remove --use=ext4"),
            "ext4 is not registered"
        );
    });
}

#[test]
fn names_are_stored_in_kernel_spelling_and_sorted_without_what_they_need() {
    let machine = Machine::typical();
    machine.succeeds("-i -u snd-hda-intel,rfkill.ko,kernel/fs/ext4/ext4.ko.xz");
    assert_eq!(machine.active(), "ext4:1\nrfkill:1\nsnd_hda_intel:1\n");
    machine.succeeds("-r -u snd_hda-intel.ko.zst -u kernel/fs/ext4/ext4.ko -u rfkill");
    assert_eq!(machine.active(), "");
}

#[test]
fn a_static_entry_stays_whatever_is_removed() {
    let machine = Machine::typical();
    machine.succeeds("--install --static --use=ext4");
    assert_eq!(machine.active(), "ext4:S\n");
    machine.succeeds("-is -u ext4");
    for line in ["-r -u ext4", "-r -u ext4 --owner=p"] {
        let ran = machine.run(line);
        assert_eq!(ran.code, Some(0));
        assert_eq!(
            machine.messages(&ran.err),
            "warning: ext4 is static in kernel 6.1.0 and stays"
        );
    }
    assert_eq!(machine.active(), "ext4:S\n");
}

#[test]
fn every_cluster_of_the_letters_means_the_same() {
    for line in [
        "-isu ext4",
        "-isuext4",
        "-si -u ext4",
        "-s -i -uext4",
        "-qisdu ext4",
        "-siu=ext4",
    ] {
        let machine = Machine::typical();
        assert_eq!(machine.run(line).code, Some(0), "{line}");
        assert_eq!(machine.active(), "ext4:S\n", "{line}");
    }
}

#[test]
fn dynamic_on_static_stays_static_and_is_told() {
    let machine = Machine::typical().registered("ext4:S\n");
    for line in ["-i -u ext4", "-i -u ext4 --owner=p"] {
        let ran = machine.run(line);
        assert_eq!(ran.code, Some(0));
        assert_eq!(
            machine.messages(&ran.err),
            "ext4 is static in kernel 6.1.0 and stays so"
        );
        assert_eq!(machine.active(), "ext4:S\n");
    }
    machine.succeeds("-q -i -u ext4");
}

#[test]
fn static_on_dynamic_becomes_static_and_keeps_the_owners() {
    let machine = Machine::typical().registered("ext4:3\n#@ ext4 a b\n");
    machine.succeeds("-is -u ext4");
    assert_eq!(machine.active(), "ext4:S\n#@ ext4 a b\n");
    let ran = machine.run("-r --owner=a");
    assert_eq!(ran.code, Some(0));
    assert_eq!(machine.active(), "ext4:S\n#@ ext4 b\n");
}

#[test]
fn an_owner_counts_once_however_often_it_installs() {
    let machine = Machine::typical();
    for _ in 0..3 {
        machine.succeeds("-i -u ext4 --owner=app");
        machine.succeeds("-i -u ext4 --owner app");
        assert_eq!(machine.active(), "ext4:1\n#@ ext4 app\n");
    }
    machine.succeeds("-i -u ext4 --owner=tool");
    machine.succeeds("-i -u ext4");
    assert_eq!(machine.active(), "ext4:3\n#@ ext4 app tool\n");
}

#[test]
fn an_owner_takes_back_its_own_reference_alone() {
    let machine = Machine::typical().registered("ext4:3\n#@ ext4 app tool\n");
    machine.succeeds("-r -u ext4 --owner=app");
    assert_eq!(machine.active(), "ext4:2\n#@ ext4 tool\n");
    // Twice is not once more: a package that is removed and then purged asks twice.
    let ran = machine.run("-r -u ext4 --owner=app");
    assert_eq!(ran.code, Some(0));
    assert_eq!(machine.messages(&ran.err), "ext4 is not registered by app");
    assert_eq!(machine.active(), "ext4:2\n#@ ext4 tool\n");
    machine.succeeds("-r -u ext4");
    assert_eq!(machine.active(), "ext4:1\n#@ ext4 tool\n");
}

#[test]
fn an_anonymous_caller_cannot_take_the_reference_of_an_owner() {
    let machine = Machine::typical().registered("ext4:2\n#@ ext4 app tool\n");
    assert_eq!(
        machine.refuses("-r -u ext4"),
        "ext4 is held in kernel 6.1.0 by its owners alone; name one with --owner: app, tool"
    );
}

#[test]
fn an_owner_without_names_takes_back_all_that_it_has() {
    let machine = Machine::typical().registered(
        "crc16:2\n#@ crc16 app tool\next4:1\n#@ ext4 app\njbd2:1\nsnd:1\n#@ snd tool\n",
    );
    machine.succeeds("--remove --owner=app");
    assert_eq!(
        machine.active(),
        "crc16:1\n#@ crc16 tool\njbd2:1\nsnd:1\n#@ snd tool\n"
    );
    machine.succeeds("--remove --owner=app");
    machine.succeeds("--remove --owner=nobody-knows");
}

#[test]
fn removing_nothing_of_nobody_is_a_usage_error() {
    let machine = Machine::typical().registered("ext4:1\n");
    assert_eq!(
        machine.usage_error("--remove"),
        "--remove needs --use or --owner (see limopack --help)"
    );
}

/// A call from a maintainer script of `app`, which is of architecture armhf.
fn from_script(machine: &Machine, line: &str) -> (Option<i32>, String) {
    let mut command = machine.command(line);
    command.env("DPKG_MAINTSCRIPT_PACKAGE", "app");
    command.env("DPKG_MAINTSCRIPT_ARCH", "armhf");
    let ran = ran(&mut command);
    (ran.code, machine.messages(&ran.err))
}

#[test]
fn a_maintainer_script_registers_for_its_package() {
    let machine = Machine::typical();
    let done = (Some(0), String::new());
    assert_eq!(from_script(&machine, "-i -u ext4"), done);
    assert_eq!(from_script(&machine, "-i -u ext4,snd"), done);
    assert_eq!(machine.active(), "ext4:1\n#@ ext4 app\nsnd:1\n#@ snd app\n");
    assert_eq!(from_script(&machine, "-r"), done);
    assert_eq!(machine.active(), "");
}

#[test]
fn a_multi_arch_package_is_an_owner_for_each_architecture() {
    let machine = Machine::typical();
    machine.write("var/lib/dpkg/info/app:armhf.list", "/.\n");
    assert_eq!(from_script(&machine, "-i -u ext4").0, Some(0));
    machine.succeeds("-i -u ext4 --owner=app:amd64");
    assert_eq!(machine.active(), "ext4:2\n#@ ext4 app:amd64 app:armhf\n");
    assert_eq!(from_script(&machine, "-r").0, Some(0));
    assert_eq!(machine.active(), "ext4:1\n#@ ext4 app:amd64\n");
}

#[test]
fn a_package_with_one_architecture_has_none_in_its_owner_name() {
    let machine = Machine::typical().file("var/lib/dpkg/info/app.list", "/.\n");
    assert_eq!(from_script(&machine, "-i -u ext4").0, Some(0));
    assert_eq!(machine.active(), "ext4:1\n#@ ext4 app\n");
}

#[test]
fn an_owner_on_the_command_line_wins_over_the_environment() {
    let machine = Machine::typical();
    assert_eq!(from_script(&machine, "-i -u ext4 --owner=tool").0, Some(0));
    assert_eq!(machine.active(), "ext4:1\n#@ ext4 tool\n");
}

#[test]
fn an_empty_environment_variable_is_no_owner() {
    let machine = Machine::typical();
    let mut command = machine.command("-i -u ext4");
    command
        .env("DPKG_MAINTSCRIPT_PACKAGE", "")
        .env("DPKG_MAINTSCRIPT_ARCH", "");
    assert_eq!(ran(&mut command).code, Some(0));
    assert_eq!(machine.active(), "ext4:1\n");
}

#[test]
fn dpkg_says_in_its_environment_which_root_is_meant() {
    let machine = Machine::typical();
    let mut command = machine.anywhere();
    command
        .args(["-i", "-u", "ext4"])
        .env("DPKG_ROOT", machine.path(""));
    assert_eq!(ran(&mut command).code, Some(0));
    assert_eq!(machine.active(), "ext4:1\n");
}

#[test]
fn without_names_all_loaded_modules_become_static() {
    let machine = Machine::typical()
        .loaded(&["ext4", "jbd2", "crc16", "snd_hda_intel"])
        .registered("jbd2:4\n#@ jbd2 app\nrfkill:1\n");
    let said = machine.run("--install").err;
    assert_eq!(said, "limopack: kernel 6.1.0: registered 5 modules\n");
    assert_eq!(
        machine.active(),
        "#! base\ncrc16:S\next4:S\njbd2:S\n#@ jbd2 app\nrfkill:1\nsnd_hda_intel:S\n"
    );
    machine.succeeds("--install --static --quiet");
}

#[test]
fn what_is_loaded_from_elsewhere_is_warned_of_and_the_rest_registered() {
    let machine = Machine::typical().loaded(&["nvidia", "ext4"]);
    let ran = machine.run("--install");
    assert_eq!(ran.code, Some(0));
    assert_eq!(
        machine.messages(&ran.err),
        "warning: loaded, but not in kernel 6.1.0: nvidia\nkernel 6.1.0: registered 1 modules"
    );
    assert_eq!(machine.active(), "#! base\next4:S\n");
}

#[test]
fn without_proc_modules_or_with_nothing_loaded_nothing_is_registered() {
    let machine = Machine::typical();
    for line in ["--install", "--install --force", "-is"] {
        assert_eq!(
            machine.refuses(line),
            "cannot open ROOT/proc/modules: No such file or directory"
        );
    }
    let machine = machine.loaded(&[]);
    assert_eq!(
        machine.refuses("--install"),
        "ROOT/proc/modules: no module is loaded; nothing to register"
    );
}

#[test]
fn a_name_that_no_kernel_has_stops_the_whole_call_unless_forced() {
    on_every_index(|machine| {
        let machine = machine.typical_kernel();
        assert_eq!(
            machine.refuses("-i -u ext4,nope,no-pe"),
            "no module nope in kernel 6.1.0\nno module no-pe in kernel 6.1.0"
        );
        machine.succeeds("-i -u ext4,no-pe --force");
        assert_eq!(machine.active(), "ext4:1\nno_pe:1\n");
    });
}

#[test]
fn a_builtin_is_accepted_with_a_note_and_not_stored() {
    on_every_index(|machine| {
        let machine = machine.typical_kernel();
        let ran = machine.run("-i -u net-fs,ext4");
        assert_eq!(ran.code, Some(0));
        assert_eq!(
            machine.messages(&ran.err),
            "net-fs is built into kernel 6.1.0; not registered"
        );
        assert_eq!(machine.active(), "ext4:1\n");
        machine.succeeds("-q -i -u net_fs --force");
        assert_eq!(machine.active(), "ext4:1\n");
    });
}

#[test]
fn one_name_that_cannot_be_removed_stops_the_whole_call() {
    let machine = Machine::typical().registered("ext4:1\nsnd:2\n");
    assert_eq!(
        machine.refuses("-r -u ext4,nope,crc16"),
        "nope is not registered\ncrc16 is not registered"
    );
}

#[test]
fn what_is_registered_can_be_removed_though_the_kernel_has_it_no_more() {
    let machine = Machine::typical().registered("gone:1\n");
    machine.succeeds("-r -u gone");
    assert_eq!(machine.active(), "");
}

#[test]
fn comments_stay_at_the_top_and_old_spellings_are_joined() {
    let machine = Machine::typical()
        .registered("snd-hda-intel:1\n# ours\next4:2\n\n#second\nsnd_hda_intel:1\n#@ gone app");
    machine.succeeds("-i -u snd");
    assert_eq!(
        machine.active(),
        "# ours\n#second\next4:2\nsnd:1\nsnd_hda_intel:2\n"
    );
}

#[test]
fn a_comment_that_only_looks_like_owners_stays() {
    let machine = Machine::typical().registered("#@home we call it\next4:1\n");
    machine.succeeds("-i -u ext4");
    assert_eq!(machine.active(), "#@home we call it\next4:2\n");
}

#[test]
fn the_file_of_the_original_tool_is_read_and_kept() {
    let machine = Machine::typical().registered("ext4:S\nhci_uart:2\n");
    machine.succeeds("-i -u hci-uart --owner=app");
    assert_eq!(machine.active(), "ext4:S\nhci_uart:3\n#@ hci_uart app\n");
}

#[test]
fn owners_never_outnumber_the_references() {
    let machine = Machine::typical().registered("ext4:1\n#@ ext4 a b c\n");
    machine.succeeds("-i -u ext4");
    assert_eq!(machine.active(), "ext4:4\n#@ ext4 a b c\n");
}

#[test]
fn a_dry_run_prints_a_diff_and_changes_nothing() {
    let machine = Machine::typical().registered("# top\ncrc16:1\next4:1\n#@ ext4 a\n");
    let before = machine.snapshot();
    let file = machine.path(&active(KERNEL)).display().to_string();
    for (line, diff) in [
        (
            "-n -i -u ext4 --owner=b",
            "-ext4:1\n-#@ ext4 a\n+ext4:2\n+#@ ext4 a b\n",
        ),
        ("--dry-run -is -u snd", "+snd:S\n"),
        ("-n -r -u crc16", "-crc16:1\n"),
        ("-n -r --owner=a", "-ext4:1\n-#@ ext4 a\n"),
        ("-n -i -u ext4 --owner=a", ""),
    ] {
        let wanted: String = diff
            .lines()
            .map(|line| format!("{file}: {line}\n"))
            .collect();
        assert_eq!(machine.prints(line), wanted, "{line}");
        assert!(machine.snapshot() == before, "{line}");
    }
    assert_eq!(
        machine.refuses("-n -i -u nope"),
        "no module nope in kernel 6.1.0"
    );
}

#[test]
fn a_dry_run_takes_no_lock() {
    let machine = Machine::typical();
    let directory = std::fs::File::open(machine.path("lib/modules/6.1.0")).unwrap();
    rustix::fs::flock(&directory, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert!(machine.prints("-n -i -u ext4").ends_with(": +ext4:1\n"));
}

#[test]
fn what_changes_nothing_does_not_touch_the_file() {
    let machine = Machine::typical().registered("ext4:S\nsnd:1\n#@ snd app\n");
    let inode = || {
        std::fs::metadata(machine.path(&active(KERNEL)))
            .unwrap()
            .ino()
    };
    let before = inode();
    for line in [
        "-is -u ext4",
        "-i -u snd --owner=app",
        "-q -i -u ext4",
        "-q -r -u snd --owner=x",
    ] {
        machine.succeeds(line);
        assert_eq!(inode(), before, "{line}");
    }
    machine.succeeds("-i -u snd");
    assert_ne!(inode(), before);
}

#[test]
fn a_new_registry_is_readable_by_all_and_a_replaced_one_keeps_its_mode() {
    let machine = Machine::typical();
    let file = machine.path(&active(KERNEL));
    let mode = || std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777;
    machine.succeeds("-i -u ext4");
    assert_eq!(mode(), 0o644);
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
    machine.succeeds("-i -u ext4");
    assert_eq!(mode(), 0o640);
}

#[test]
fn the_file_that_a_killed_run_left_behind_is_replaced() {
    let machine = Machine::typical();
    let left = "lib/modules/6.1.0/.modules.active.limopack-new";
    machine.write(left, "half of a regis");
    machine.succeeds("-i -u ext4");
    assert_eq!(machine.active(), "ext4:1\n");
    assert!(!machine.path(left).exists());
}

#[test]
fn a_prune_with_nothing_to_do_removes_what_a_killed_run_left() {
    let machine = Machine::new()
        .kernel("1", "kernel/a.ko:\n")
        .file(&active("1"), "a:S\n");
    let left = "lib/modules/1/.modules.dep.limopack-new";
    machine.write(left, "half of an ind");
    assert!(machine.run("--prune").err.contains("nothing to delete"));
    assert!(!machine.path(left).exists());
}

#[test]
fn debug_says_which_file_was_written() {
    let machine = Machine::typical();
    let ran = machine.run("-d -i -u ext4");
    assert_eq!(
        machine.messages(&ran.err),
        "debug: wrote ROOT/lib/modules/6.1.0/modules.active"
    );
}
