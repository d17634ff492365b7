//! Stories in which a prune cost a boot, or a package could not be installed, each as it happened.

use crate::machine::{active, ran, Machine, KERNEL};

/// A second kernel beside [`KERNEL`].
const OTHER: &str = "6.1.0-other";

fn file(version: &str, name: &str) -> String {
    format!("lib/modules/{version}/{name}")
}

/// A small kernel with a disk, a file system, a network card and a sound card as modules.
const MODULES: &str =
    "kernel/ext4.ko:\nkernel/nvme.ko: kernel/nvme-core.ko\nkernel/nvme-core.ko:\n\
    kernel/e1000e.ko:\nkernel/snd.ko:\nkernel/nouveau.ko:\n";

/// The running kernel has the disk and the file system built in, the other one as modules.
fn two_kernels() -> Machine {
    Machine::new()
        .kernel(KERNEL, "kernel/e1000e.ko:\nkernel/snd.ko:\n")
        .builtin(
            KERNEL,
            "kernel/fs/ext4.ko\nkernel/nvme.ko\nkernel/nvme-core.ko\n",
        )
        .kernel(OTHER, MODULES)
        .file("proc/sys/kernel/osrelease", format!("{KERNEL}\n"))
        .loaded(&["e1000e"])
}

#[test]
fn another_kernel_keeps_what_this_one_has_built_in() {
    let machine = two_kernels();
    machine.run("-i");
    assert_eq!(machine.active(), "#! base\ne1000e:S\n");
    assert_eq!(
        machine.read(&active(OTHER)),
        "#! base\ne1000e:S\next4:S\nnvme:S\nnvme_core:S\n"
    );
    let ran = machine.run("--prune");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(machine.path(&file(OTHER, "kernel/nvme.ko")).exists());
    assert!(machine.path(&file(OTHER, "kernel/ext4.ko")).exists());
    assert!(!machine.path(&file(OTHER, "kernel/snd.ko")).exists());
}

#[test]
fn a_registry_of_one_application_is_no_base() {
    let machine = Machine::new().kernel(KERNEL, MODULES);
    machine.succeeds("-i -u e1000e --owner=app");
    let before = machine.snapshot();
    for line in ["--prune", "--prune --dry-run"] {
        assert_eq!(
            machine.refuses(line),
            "kernel 6.1.0: nothing says what this kernel has to keep; see --install\n\
             nothing was changed; --force overrides this"
        );
    }
    assert!(machine.run("--check -q").out.starts_with("base\t6.1.0\t"));
    assert_eq!(machine.snapshot(), before);
    // The same for a new kernel beside an old one that has a base.
    let machine = two_kernels();
    machine.run(&format!("-i -k {KERNEL}"));
    machine.succeeds(&format!("-i -u snd -k {OTHER}"));
    let ran = machine.run(&format!("--prune -k {OTHER}"));
    assert_eq!(ran.code, Some(1));
    assert!(machine
        .messages(&ran.err)
        .contains("static in another kernel's registry"));
    assert!(machine.path(&file(OTHER, "kernel/nvme.ko")).exists());
}

#[test]
fn what_is_loaded_is_named_where_there_is_no_base() {
    let machine = Machine::new().kernel(KERNEL, MODULES).loaded(&["nvme"]);
    machine.succeeds("-i -u e1000e");
    let refusal = machine.refuses("--prune");
    assert!(
        refusal.contains("loaded now, gone at the next boot: nvme"),
        "{refusal}"
    );
}

#[test]
fn what_is_left_of_a_removed_kernel_is_no_kernel() {
    let machine = Machine::new()
        .kernel(KERNEL, MODULES)
        .file(&active("6.0-purged"), "snd:S\n")
        .file(&file("6.0-removed", "modules.dep"), "kernel/ext4.ko:\n")
        .file(&active("6.0-removed"), "ext4:S\n");
    machine.succeeds("-is -u e1000e");
    assert_eq!(machine.read(&active("6.0-purged")), "snd:S\n");
    assert_eq!(machine.read(&active("6.0-removed")), "ext4:S\n");
    assert_eq!(machine.run("--prune").code, Some(0));
    assert_eq!(machine.prints("--list"), "kernel/e1000e.ko\n");
}

#[test]
fn a_malformed_registry_keeps_no_package_from_being_installed_or_removed() {
    let machine = two_kernels();
    machine.write(&active(OTHER), "ext4\n");
    let script = |line: &str| {
        let mut command = machine.anywhere();
        command
            .args(line.split_whitespace())
            .env("DPKG_MAINTSCRIPT_PACKAGE", "app")
            .env("DPKG_ROOT", machine.path(""));
        ran(&mut command)
    };
    for line in ["-i -u e1000e", "-r"] {
        let ran = script(line);
        assert_eq!(ran.code, Some(0), "{line}: {}", ran.err);
        assert!(
            ran.err.contains("neither NAME:S nor NAME:NUMBER"),
            "{}",
            ran.err
        );
    }
    assert_eq!(script("-i -u snd").code, Some(0));
    assert_eq!(machine.active(), "snd:1\n#@ snd app\n");
    assert_eq!(machine.read(&active(OTHER)), "ext4\n");
    // By hand nothing is written anywhere.
    assert_eq!(machine.run("-i -u e1000e").code, Some(1));
    assert_eq!(machine.run("--prune --force").code, Some(1));
    assert!(machine
        .run("--check -q")
        .out
        .contains("damaged\t6.1.0-other\t"));
}

#[test]
fn what_is_loaded_is_registered_by_its_name_whatever_modprobe_calls_it() {
    let machine = Machine::new()
        .kernel(KERNEL, MODULES)
        .file(
            "etc/modprobe.d/a.conf",
            "alias nouveau off\nalias e1000e snd\n",
        )
        .loaded(&["nouveau", "e1000e"]);
    machine.run("-i");
    assert_eq!(machine.active(), "#! base\ne1000e:S\nnouveau:S\n");
}

#[test]
fn a_file_outside_with_the_name_of_one_inside_keeps_that() {
    let machine = Machine::new()
        .kernel(KERNEL, MODULES)
        .file(&file(KERNEL, "updates/snd.ko"), "another")
        .file(&file(KERNEL, "build/new.ko"), "of somebody's headers")
        .registered("ext4:S\n");
    for _ in 0..2 {
        let ran = machine.run("--prune");
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        assert!(machine.path(&file(KERNEL, "kernel/snd.ko")).exists());
        assert!(!machine.path(&file(KERNEL, "kernel/nouveau.ko")).exists());
    }
    assert_eq!(machine.prints("--why -u snd"), "snd: outside kernel/\n");
}

#[test]
fn a_carry_over_without_renames_keeps_the_names() {
    // Two drivers for one device; the old kernel is pruned, so its index names one of them alone.
    let aliases = "alias usb:v1p1* usb_storage\nalias usb:v1p1* uas\n";
    let machine = Machine::new()
        .kernel(KERNEL, "kernel/uas.ko:\nkernel/usb-storage.ko:\n")
        .file(&file(KERNEL, "modules.alias"), aliases)
        .kernel(OTHER, "kernel/uas.ko:\nkernel/usb-storage.ko:\n")
        .file(&file(OTHER, "modules.alias"), aliases)
        .registered("usb_storage:S\n");
    assert_eq!(machine.run(&format!("--prune -k {KERNEL}")).code, Some(0));
    let from = machine.path(&active(KERNEL)).display().to_string();
    assert_eq!(
        machine.run(&format!("-i -k {OTHER} --from={from}")).code,
        Some(0)
    );
    assert_eq!(machine.read(&active(OTHER)), "#! base\nusb_storage:S\n");
}

#[test]
fn a_damaged_kernel_is_a_line_and_the_others_are_looked_at() {
    let machine = two_kernels();
    machine.run("-i");
    machine.write(&file(KERNEL, "modules.dep"), "no colon\n");
    let out = machine.run("--check -q").out;
    assert!(out.contains("damaged\t6.1.0\t"), "{out}");
    assert!(out.contains("unpruned\t6.1.0-other\t"), "{out}");
}

#[test]
fn hardware_that_nothing_is_kept_for_is_reported() {
    let machine = Machine::new()
        .kernel(KERNEL, MODULES)
        .file(&file(KERNEL, "modules.alias"), "alias pci:v1* e1000e\n")
        .file("sys/devices/pci0/modalias", "pci:v1d2\n")
        .registered("ext4:S\n");
    let out = machine.run("--check -q").out;
    assert!(
        out.contains("hardware\t6.1.0\te1000e\tpci:v1d2 asks for it"),
        "{out}"
    );
}

/// The power goes when modules.dep is new and the next index is not.
#[test]
fn a_prune_that_ended_between_two_indexes_is_finished_by_the_same_command() {
    let machine = Machine::new()
        .kernel(KERNEL, MODULES)
        .file(
            &file(KERNEL, "modules.alias"),
            "alias pci:a snd\nalias pci:b e1000e\n",
        )
        .file(&file(KERNEL, ".modules.dep.limopack-old"), MODULES);
    machine.succeeds("-i -u e1000e --static");
    std::fs::write(
        machine.path(&file(KERNEL, "modules.dep")),
        "kernel/e1000e.ko:\n",
    )
    .unwrap();
    machine.succeeds("--prune -q");
    assert_eq!(
        machine.read(&file(KERNEL, "modules.alias")),
        "alias pci:b e1000e\n"
    );
    assert!(!machine.path(&file(KERNEL, "kernel/snd.ko")).exists());
    assert!(!machine
        .path(&file(KERNEL, ".modules.dep.limopack-old"))
        .exists());
    // What no prune was about to delete is another matter.
    std::fs::write(
        machine.path(&file(KERNEL, "modules.alias")),
        "alias pci:a snd\n",
    )
    .unwrap();
    assert!(machine
        .refuses("--prune")
        .contains("in modules.alias, but not in modules.dep"));
}

/// depmod is still due for the one kernel; what it has to keep is no secret.
#[test]
fn a_kernel_without_an_index_still_says_what_the_machine_needs() {
    let machine = two_kernels();
    machine.run("-i");
    std::fs::remove_file(machine.path(&file(OTHER, "modules.dep"))).unwrap();
    let machine = machine
        .kernel("6.2", MODULES)
        .file(&active("6.2"), "#! base\n");
    let refusal = machine.refuses("--prune -k 6.2");
    assert!(
        refusal.contains("static in another kernel's registry"),
        "{refusal}"
    );
    let checked = machine.run("--check -q -k 6.2").out;
    assert!(checked.contains("sibling\t6.2\t"), "{checked}");
}

#[test]
fn a_kernel_whose_modules_all_come_from_elsewhere_is_one() {
    let machine = Machine::new().kernel(KERNEL, "extra/own.ko:\n");
    assert_eq!(machine.run("--list -u own").out, "extra/own.ko\n");
    machine.succeeds("-i -u own --static");
    machine.succeeds("--prune -q");
    assert!(machine.path(&file(KERNEL, "extra/own.ko")).exists());
}

/// /etc/crypttab may be root's alone: what only looks warns, and a prune refuses.
#[test]
fn what_cannot_be_read_of_the_boot_is_warned_of_and_refused_by_a_prune() {
    let machine = Machine::new()
        .kernel(KERNEL, MODULES)
        .file(&active(KERNEL), "e1000e:S\n");
    // For root, too, a directory is no file.
    std::fs::create_dir_all(machine.path("etc/crypttab")).unwrap();
    let ran = machine.run("--list");
    assert_eq!(
        (ran.code, &*ran.out),
        (Some(0), "kernel/e1000e.ko\n"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("warning: cannot read"), "{}", ran.err);
    assert!(machine.refuses("--prune").contains("cannot read"));
}

/// What a link leads to is no directory of the kernel's, and what depmod found there stays all the same.
#[test]
fn a_module_behind_a_link_outside_keeps_what_it_needs() {
    let machine = Machine::new()
        .kernel(
            KERNEL,
            "kernel/ext4.ko:\nkernel/snd.ko:\nupdates/x.ko: kernel/snd.ko\n",
        )
        .registered("#! base\n");
    let place = machine.path(&file(KERNEL, "updates"));
    std::fs::rename(&place, machine.path("opt")).unwrap();
    let wanted = "kernel/snd.ko\nupdates/x.ko\n";
    let machine = machine.link(&file(KERNEL, "updates"), "../../../opt");
    assert_eq!(machine.prints("--list"), wanted);
}

/// depmod's `external` finds modules elsewhere, and writes them with their whole path.
#[test]
fn a_prune_keeps_what_an_external_module_needs() {
    let machine = Machine::new()
        .kernel(KERNEL, "kernel/ext4.ko:\nkernel/snd.ko:\n")
        .file("opt/x.ko", "somebody's")
        .registered("ext4:S\n");
    let index = "kernel/ext4.ko:\nkernel/snd.ko:\n/opt/x.ko: kernel/snd.ko\n";
    machine.write(&file(KERNEL, "modules.dep"), index);
    let ran = machine.run("--prune");
    assert!(
        machine.path(&file(KERNEL, "kernel/snd.ko")).exists(),
        "{ran:?}"
    );
    assert_eq!(machine.read(&file(KERNEL, "modules.dep")), index, "{ran:?}");
}
