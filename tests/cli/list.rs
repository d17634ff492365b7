//! `--list`: which modules are needed, and by which names they can be asked for.

use crate::machine::{dep_index, on_every_index, Machine, KERNEL};
use crate::trie::Order;

#[test]
fn a_named_module_comes_with_all_that_it_needs_sorted_by_path() {
    on_every_index(|machine| {
        assert_eq!(
            machine.typical_kernel().prints("--list --use=ext4"),
            "kernel/fs/ext4/ext4.ko\nkernel/fs/jbd2/jbd2.ko\nkernel/lib/crc16.ko\n"
        );
    });
}

#[test]
fn the_closure_is_transitive_even_where_modules_dep_is_not() {
    on_every_index(|machine| {
        let machine = machine.kernel(KERNEL, "d.ko:\na.ko: b.ko\nb.ko: c.ko\nc.ko: d.ko\ne.ko:\n");
        assert_eq!(machine.prints("-l -u a"), "a.ko\nb.ko\nc.ko\nd.ko\n");
        assert_eq!(machine.prints("-l -u c"), "c.ko\nd.ko\n");
    });
}

#[test]
fn each_module_is_listed_once_however_often_it_is_needed() {
    on_every_index(|machine| {
        let machine = machine.typical_kernel();
        let all = "kernel/drivers/bluetooth/hci_uart.ko\nkernel/net/bluetooth/bluetooth.ko\n\
            kernel/net/rfkill.ko\n";
        for names in [
            "hci_uart,bluetooth,rfkill",
            "rfkill,hci_uart,rfkill,hci-uart",
        ] {
            assert_eq!(machine.prints(&format!("-l -u {names}")), all);
        }
    });
}

#[test]
fn either_spelling_names_a_module_whatever_its_file_is_called() {
    on_every_index(|machine| {
        let machine = machine.typical_kernel();
        for name in [
            "snd-hda_intel",
            "snd_hda_intel",
            "snd-hda-intel",
            "snd_hda-intel",
        ] {
            assert_eq!(
                machine.prints(&format!("-l -u {name}")),
                "kernel/sound/snd-hda_intel.ko.xz\nkernel/sound/snd.ko.xz\n"
            );
        }
    });
}

#[test]
fn a_file_name_names_its_module_whatever_its_suffix() {
    on_every_index(|machine| {
        let machine = machine.typical_kernel();
        for suffix in [".ko", ".ko.gz", ".ko.xz", ".ko.zst"] {
            for (name, file) in [
                ("rfkill", "kernel/net/rfkill.ko"),
                ("snd", "kernel/sound/snd.ko.xz"),
            ] {
                assert_eq!(
                    machine.prints(&format!("-l -u {name}{suffix}")),
                    format!("{file}\n")
                );
            }
        }
    });
}

#[test]
fn a_relative_path_names_the_module_at_that_place_alone() {
    on_every_index(|machine| {
        let machine = machine.typical_kernel();
        for path in ["kernel/net/rfkill.ko", "kernel/net/rfkill.ko.zst"] {
            assert_eq!(
                machine.prints(&format!("-l -u {path}")),
                "kernel/net/rfkill.ko\n"
            );
        }
        assert_eq!(
            machine.refuses("-l -u kernel/drivers/rfkill.ko"),
            "kernel/drivers/rfkill.ko is not what kernel 6.1.0 loads as rfkill: \
             that is kernel/net/rfkill.ko"
        );
        assert_eq!(
            machine.refuses("-l -u kernel/net/rfkill"),
            "no module kernel/net/rfkill in kernel 6.1.0"
        );
    });
}

#[test]
fn of_two_files_with_one_name_the_one_that_depmod_chose_counts() {
    on_every_index(|machine| {
        let dep = "updates/dkms/e1000e.ko: kernel/ptp.ko\nkernel/ptp.ko:\n";
        let machine = machine.kernel(KERNEL, dep);
        machine.write(
            "lib/modules/6.1.0/kernel/net/e1000e.ko",
            "the one that lost",
        );
        let both = "kernel/ptp.ko\nupdates/dkms/e1000e.ko\n";
        assert_eq!(machine.prints("-l -u e1000e"), both);
        assert_eq!(machine.prints("-l -u updates/dkms/e1000e.ko"), both);
        let error = machine.refuses("-l -u kernel/net/e1000e.ko");
        assert!(error.ends_with("that is updates/dkms/e1000e.ko"), "{error}");
    });
}

#[test]
fn of_two_lines_with_one_name_the_first_counts() {
    let machine = Machine::new().kernel(KERNEL, "updates/a-b.ko:\nkernel/a_b.ko:\n");
    assert_eq!(machine.prints("-l -u a_b"), "updates/a-b.ko\n");
}

#[test]
fn names_are_told_apart_by_case_and_length() {
    on_every_index(|machine| {
        let dep = "net/xt_TCPMSS.ko:\nnet/xt_tcpmss.ko:\nnet/xt_tcp.ko:\nnet/xt_TCPMSSS.ko:\n";
        let machine = machine.kernel(KERNEL, dep);
        for name in ["xt_TCPMSS", "xt_tcpmss", "xt_tcp", "xt_TCPMSSS"] {
            assert_eq!(
                machine.prints(&format!("-l -u {name}")),
                format!("net/{name}.ko\n")
            );
        }
        for name in [
            "xt",
            "xt_",
            "xt_TCP",
            "xt_tcpms",
            "XT_TCP",
            "xt_tcpmsss",
            "t_tcp",
        ] {
            let error = machine.refuses(&format!("-l -u {name}"));
            let wanted = format!("no module {name} in kernel 6.1.0");
            assert_eq!(error.split("; did").next(), Some(&*wanted));
        }
    });
}

#[test]
fn every_module_of_a_large_kernel_is_found() {
    on_every_index(|machine| {
        let name = |number: usize| format!("m{:x}-{}", number * number, "x".repeat(number % 40));
        let line = |number| format!("kernel/{}.ko:\n", name(number));
        let dep: String = (0..3000).map(line).collect();
        let machine = machine.dep(KERNEL, &dep);
        let names: Vec<String> = (0..3000).map(name).collect();
        let mut command = machine.command("--list");
        names.chunks(100).for_each(|some| {
            command.arg("--use").arg(some.join(","));
        });
        let mut paths: Vec<String> = names
            .iter()
            .map(|name| format!("kernel/{name}.ko"))
            .collect();
        paths.sort();
        let ran = crate::machine::ran(&mut command);
        assert!(ran.out.lines().eq(paths), "{}", ran.err);
    });
}

#[test]
fn without_names_what_is_loaded_and_what_is_registered_is_needed() {
    on_every_index(|machine| {
        let machine = machine.typical_kernel().loaded(&["jbd2", "ext4", "crc16"]);
        let loaded = "kernel/fs/ext4/ext4.ko\nkernel/fs/jbd2/jbd2.ko\nkernel/lib/crc16.ko\n";
        assert_eq!(machine.prints("--list"), loaded);
        let machine = machine.registered("bluetooth:1\next4:S\nsnd_hda_intel:2\n");
        let both = format!(
            "{loaded}kernel/net/bluetooth/bluetooth.ko\nkernel/net/rfkill.ko\n\
             kernel/sound/snd-hda_intel.ko.xz\nkernel/sound/snd.ko.xz\n"
        );
        assert_eq!(machine.prints("--list"), both);
        assert_eq!(machine.prints("--list -k 6.1.0 -d"), both);
    });
}

#[test]
fn names_take_the_place_of_what_is_loaded_and_registered() {
    let machine = Machine::typical().loaded(&["ext4"]).registered("snd:S\n");
    assert_eq!(machine.prints("-l -u rfkill"), "kernel/net/rfkill.ko\n");
}

#[test]
fn on_a_machine_without_proc_modules_the_registered_ones_are_listed() {
    let machine = Machine::typical().registered("rfkill:1\n");
    assert_eq!(machine.prints("--list"), "kernel/net/rfkill.ko\n");
}

#[test]
fn with_nothing_loaded_and_nothing_registered_nothing_is_listed() {
    Machine::typical().succeeds("--list");
    Machine::typical()
        .loaded(&[])
        .registered("# none\n")
        .succeeds("--list");
}

#[test]
fn what_is_not_on_disk_is_warned_of_and_the_rest_listed() {
    let machine = Machine::typical().loaded(&["old-driver", "crc16"]);
    let machine = machine.registered("gone:2\nnet_fs:1\nrfkill:S\n");
    for line in ["--list", "--list --quiet"] {
        let ran = machine.run(line);
        assert_eq!(
            (ran.code, &*ran.out),
            (Some(0), "kernel/lib/crc16.ko\nkernel/net/rfkill.ko\n")
        );
        assert_eq!(
            machine.messages(&ran.err),
            "warning: kernel 6.1.0: registered or declared, but neither in modules.dep nor built in: gone\n\
             warning: loaded, but not in kernel 6.1.0: old_driver"
        );
    }
}

#[test]
fn a_builtin_is_noted_and_has_no_file_to_list() {
    on_every_index(|machine| {
        let machine = machine.typical_kernel();
        for name in [
            "net-fs",
            "net_fs",
            "net_fs.ko",
            "kernel/fs/fscache/net-fs.ko",
        ] {
            let ran = machine.run(&format!("-l -u {name},rfkill"));
            assert_eq!((ran.code, &*ran.out), (Some(0), "kernel/net/rfkill.ko\n"));
            assert_eq!(
                machine.messages(&ran.err),
                format!("{name} is built into kernel 6.1.0")
            );
        }
        machine.succeeds("-l -q -u net_fs");
    });
}

#[test]
fn each_name_that_is_missing_has_its_own_message_and_nothing_is_listed() {
    on_every_index(|machine| {
        assert_eq!(
            machine.typical_kernel().refuses("-l -u nope,rfkill,ext5"),
            "no module nope in kernel 6.1.0\n\
             no module ext5 in kernel 6.1.0; did you mean ext4?"
        );
    });
}

#[test]
fn the_binary_index_is_believed_before_the_text() {
    let machine = Machine::typical();
    for order in [Order::Post, Order::Pre] {
        let index = dep_index("updates/rfkill.ko:\n", order);
        machine.write("lib/modules/6.1.0/modules.dep.bin", index);
        assert_eq!(machine.prints("-l -u rfkill"), "updates/rfkill.ko\n");
        assert_eq!(
            machine.refuses("-l -u ext4"),
            "no module ext4 in kernel 6.1.0"
        );
    }
}

#[test]
fn a_kernel_needs_no_text_where_it_has_the_binary_index() {
    let index = dep_index("a.ko: b.ko\nb.ko:\n", Order::Pre);
    let machine = Machine::new()
        .installed()
        .file("lib/modules/6.1.0/modules.dep.bin", index);
    assert_eq!(machine.prints("-l -u a"), "a.ko\nb.ko\n");
}

#[test]
fn a_module_outside_the_version_directory_is_listed_by_its_absolute_path() {
    on_every_index(|machine| {
        let machine = machine.dep(KERNEL, "/opt/driver.ko: kernel/a.ko\nkernel/a.ko:\n");
        assert_eq!(
            machine.prints("-l -u driver"),
            "/opt/driver.ko\nkernel/a.ko\n"
        );
    });
}

#[test]
fn a_cycle_of_dependencies_is_listed_like_any_other() {
    on_every_index(|machine| {
        let machine = machine.kernel(
            KERNEL,
            "a.ko: b.ko c.ko\nb.ko: c.ko a.ko\nc.ko: a.ko b.ko\nd.ko: d.ko\n",
        );
        assert_eq!(machine.prints("-l -u b"), "a.ko\nb.ko\nc.ko\n");
        assert_eq!(machine.prints("-l -u d"), "d.ko\n");
    });
}
