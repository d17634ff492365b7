//! What a module needs beyond modules.dep, names that are aliases, `--why` and `--check`.

use crate::machine::{Machine, KERNEL};

/// A kernel whose modules need each other in every way.
fn machine() -> Machine {
    Machine::new()
        .kernel(
            KERNEL,
            "kernel/a.ko:\nkernel/b-1.ko:\nkernel/c.ko: kernel/d.ko\nkernel/d.ko:\nkernel/e.ko:\n\
             kernel/ext4.ko:\nkernel/crc.ko:\nkernel/f.ko:\n",
        )
        .builtin(KERNEL, "kernel/built-in.ko\n")
        .file(
            &file("modules.builtin.modinfo"),
            "built_in.alias=pci:vB*\0built_in.license=GPL\0",
        )
        .file(
            &file("modules.alias"),
            "# Aliases\nalias crypto-crc32c crc\nalias pci:v1d* a\nalias pci:v1d[2-4]* b_1\n\
             alias of:N*T*Cacme,x-y e\n",
        )
        .file(
            &file("modules.softdep"),
            "softdep a pre: b-1 post: crypto-crc32c\nsoftdep a pre: e\nsoftdep c missing\n",
        )
        .file(&file("modules.weakdep"), "weakdep d e\n")
}

fn file(name: &str) -> String {
    format!("lib/modules/{KERNEL}/{name}")
}

fn listed(machine: &Machine, line: &str) -> String {
    let out = machine.prints(line);
    let names = out
        .lines()
        .map(|line| &line["kernel/".len()..line.len() - ".ko".len()]);
    names.collect::<Vec<_>>().join(" ")
}

#[test]
fn soft_weak_and_hidden_needs_are_needs() {
    let machine = machine();
    assert_eq!(listed(&machine, "-l -u a"), "a b-1 crc"); // the first softdep alone
    assert_eq!(listed(&machine, "-l -u c"), "c d e");
    assert_eq!(listed(&machine, "-l -u ext4"), "crc ext4");
    assert_eq!(
        machine.prints("-e -u a,c,ext4"),
        "a\n|-- b_1 (soft)\n`-- crc (soft)\nc\n`-- d\n    `-- e (weak)\next4\n`-- crc (hidden)\n"
    );
}

#[test]
fn modprobe_d_is_read_as_modprobe_reads_it() {
    let machine = machine()
        // Sorted before modules.softdep, so that this is the first entry for a.
        .file(
            "etc/modprobe.d/a.conf",
            "softdep a \\\n pre: f\nalias my-disk d\n",
        )
        .file("usr/lib/modprobe.d/a.conf", "softdep f pre: a\n") // masked
        .file(
            "lib/modprobe.d/z.conf",
            "softdep a pre: d\nsoftdep e* pre: d\nweakdep f crc\n",
        )
        .file("run/modprobe.d/no.txt", "softdep f pre: d\n")
        .file("usr/lib/modprobe.d/null.conf", "softdep f pre: d\n")
        .link("etc/modprobe.d/null.conf", "/dev/null");
    assert_eq!(listed(&machine, "-l -u a"), "a crc f");
    assert_eq!(listed(&machine, "-l -u my_disk"), "d e");
    assert_eq!(listed(&machine, "-l -u e"), "d e");
}

#[test]
fn commands_that_load_modules_in_place_of_one_are_needs_of_it() {
    let machine = machine()
        .file(
            "etc/modprobe.d/a.conf",
            "install f /sbin/modprobe -i f && { modprobe crc; /sbin/modprobe -q d; }\n\
             install my-things /usr/sbin/modprobe b-1;echo x\n\
             install a /bin/false\nremove f modprobe -r ext4\n",
        )
        // Read as .conf files are, unlike everything else.
        .file("usr/lib/modprobe.d/x.alias", "alias my-disk e\n")
        .file("usr/lib/modprobe.d/x.aliases", "install f modprobe ext4\n");
    assert_eq!(listed(&machine, "-l -u f"), "crc d e f"); // d's weakdep is e
    assert_eq!(listed(&machine, "-l -u my_things"), "b-1");
    assert_eq!(listed(&machine, "-l -u my_disk"), "e");
    assert_eq!(listed(&machine, "-l -u a"), "a b-1 crc");
}

#[test]
fn aliases_of_devices_do_not_stand_for_blacklisted_modules() {
    let machine = machine().file(
        "etc/modprobe.d/a.conf",
        "blacklist b-1\nblacklist crc\nblacklist  e\n",
    );
    assert_eq!(listed(&machine, "-l -u pci:v1d3"), "a b-1 crc"); // a has softdeps
    assert_eq!(listed(&machine, "-l -u b_1"), "b-1");
    assert_eq!(listed(&machine, "-l -u crypto-crc32c"), "crc");
    assert_eq!(
        machine.refuses("-l -u of:NxTyCacme,x_y"),
        "no module of:NxTyCacme,x_y in kernel 6.1.0"
    );
    machine.succeeds("-i -u pci:v1d3");
    assert_eq!(machine.active(), "a:1\n");
}

#[test]
fn files_of_hidden_d_extend_the_table() {
    let machine = machine()
        .file(
            "etc/limopack/hidden.d/mine.conf",
            "# c\nf crypto-crc32c d # by name\n",
        )
        .file("usr/lib/limopack/hidden.d/mine.conf", "f a\n")
        .file("usr/lib/limopack/hidden.d/other.conf", "[ef] missing\n");
    assert_eq!(listed(&machine, "-l -u f"), "crc d e f");
    machine.write("etc/limopack/hidden.d/bad.conf", "ok x\nf # nothing\n");
    assert_eq!(
        machine.refuses("-l -u f"),
        "ROOT/etc/limopack/hidden.d/bad.conf:2: no target after f"
    );
}

#[test]
fn an_alias_names_every_module_that_modprobe_would_load() {
    let machine = machine();
    assert_eq!(listed(&machine, "-l -u pci:v1d3"), "a b-1 crc");
    assert_eq!(listed(&machine, "-l -u f,of:NxTyCacme,x_y"), "e f");
    assert_eq!(
        machine.run("-l -u pci:vBd1").err,
        "limopack: pci:vBd1 is built into kernel 6.1.0\n"
    );
    assert_eq!(
        machine.refuses("-l -u pci:v2d1"),
        "no module pci:v2d1 in kernel 6.1.0"
    );
    machine.succeeds("-i -u pci:v1d3,a");
    assert_eq!(machine.active(), "a:1\nb_1:1\n");
    machine.succeeds("-r -u pci:v1d3");
    assert_eq!(machine.active(), "");
}

#[test]
fn why_shows_the_way_to_each_module() {
    let machine = machine()
        .registered("a:S\nc:2\n#@ c p q\ngone:1\n")
        .loaded(&["ext4"]);
    let said = machine
        .run("--why -u crc,e,c,f,built-in,gone,nope,pci:v1d3")
        .out;
    assert_eq!(
        said,
        "crc: registered (S) a -> soft crc\ne: registered (2: p q) c -> dependency d -> weak e\n\
         c: registered (2: p q)\nf: nothing needs it\nbuilt-in: built into the kernel\n\
         gone: not on disk, but registered\nnope: not on disk\n\
         a: registered (S)\nb_1: registered (S) a -> soft b_1\n"
    );
    assert!(machine.usage_error("--why").contains("--why needs --use"));
}

#[test]
fn check_says_what_is_wrong() {
    let machine = machine()
        .registered("a:1\n#@ a gone\nc:S\nlost:S\n")
        .loaded(&["f", "a"]);
    machine.write("proc/mounts", "/dev/x / ext4 rw 0 0\n");
    machine.write("var/lib/limopack/pending", "pkg plain 6.1.0\n");
    machine.write("sys/devices/x/modalias", "usb:v9\n");
    machine.write(
        "var/lib/dpkg/status",
        "Package: p\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n\n",
    );
    machine.write(
        &file("modules.alias"),
        "alias fs-ext4 ext4\nalias x nowhere\n",
    );
    std::fs::remove_file(machine.path(&file("kernel/d.ko"))).unwrap();
    machine.write(&file("kernel/new.ko"), "");
    let machine = machine.kernel("6.0", "kernel/usb9.ko:\n");
    machine.write("lib/modules/6.0/modules.alias", "alias usb:v* usb9\n");
    let ran = machine.run("--check");
    assert_eq!(ran.code, Some(1));
    let kinds: Vec<Vec<&str>> = ran
        .out
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    let found: Vec<String> = kinds
        .iter()
        .map(|row| format!("{} {}", row[0], row[2]))
        .collect();
    let wanted = [
        "missing lost",
        "dependency kernel/d.ko",
        "index modules.dep",
        "index modules.dep",
        "index modules.alias",
        "loaded f",
        "alias usb:v9",
        "unpruned kernel",
        "pending pkg",
        "owner a",
    ];
    assert_eq!(found, wanted, "{}", ran.out);
    assert!(ran.out.contains("kernel 6.0 has usb9"));
    assert_eq!(ran.err, "limopack: 10 problems\n");
}

#[test]
fn check_is_silent_where_all_is_well() {
    let machine = Machine::typical().registered("ext4:S\nhci_uart:S\nsnd_hda_intel:S\n");
    assert_eq!(machine.prints("--check"), "");
    assert_eq!(Machine::typical().prints("--check"), ""); // no registry, nothing to look at
}
