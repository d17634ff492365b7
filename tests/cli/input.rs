//! Bad input: each leads to one clear message with file and line where there is one, an exit code,
//! and no change.

use crate::machine::{active, on_every_index, Machine, KERNEL};
use crate::trie::{index, Order};
use std::process::Command;

const DEP: &str = "lib/modules/6.1.0/modules.dep";
const BIN: &str = "lib/modules/6.1.0/modules.dep.bin";

/// Every action that reads the registry.
const READING: [&str; 9] = [
    "-l",
    "-e",
    "-i -u ext4",
    "-is -u ext4",
    "-i -u ext4 --owner=p",
    "-i -u ext4 --force",
    "-n -i -u ext4",
    "-r -u ext4",
    "-r --owner=p",
];

/// Messages are for people: one line of a length that can be read.
fn is_readable(error: &str) -> bool {
    error.lines().count() == 1 && error.len() <= 4096 && !error.contains(char::is_control)
}

#[test]
fn a_malformed_line_of_the_registry_stops_every_action() {
    const NO_VALUE: &str = "neither NAME:S nor NAME:NUMBER";
    const NO_HOLD: &str = "neither S nor a number from 1 to 4294967295 after the ':'";
    const NO_NAME: &str = "not a module name before the ':'";
    for (line, what) in [
        ("ext4", NO_VALUE),
        ("ext4 S", NO_VALUE),
        (" ", NO_VALUE),
        ("ext4=S", NO_VALUE),
        ("ext4:", NO_HOLD),
        ("ext4:s", NO_HOLD),
        ("ext4:S ", NO_HOLD),
        ("ext4: S", NO_HOLD),
        ("ext4:0", NO_HOLD),
        ("ext4:-1", NO_HOLD),
        ("ext4:+1", NO_HOLD),
        ("ext4:1.5", NO_HOLD),
        ("ext4:4294967296", NO_HOLD),
        ("ext4:99999999999999999999999", NO_HOLD),
        (":S", NO_NAME),
        ("ext4:x:S", NO_NAME),
        ("fs/ext4:S", NO_NAME),
        ("../ext4:S", NO_NAME),
        ("ext 4:S", NO_NAME),
        (" ext4:S", NO_NAME),
        ("ext\t4:S", NO_NAME),
        ("ext\x1b[31m4:S", NO_NAME),
        ("ext\0:S", NO_NAME),
        ("\0", NO_VALUE),
        ("#@", "no module name after #@"),
        ("#@ crc16 p/q", "not a package name: p/q"),
        ("#@ crc16 p\x1b", "not a package name: p\\x1b"),
    ] {
        let machine = Machine::typical().registered(&format!("# top\ncrc16:1\n{line}\njbd2:1\n"));
        for action in READING {
            assert_eq!(
                machine.refuses(action),
                format!("ROOT/{}:3: {what}", active(KERNEL)),
                "{action}: {line}"
            );
        }
    }
}

#[test]
fn a_registry_with_dos_line_ends_is_refused_by_their_name() {
    let machine = Machine::typical().registered("# top\r\ncrc16:S\r\n");
    for action in READING {
        assert_eq!(
            machine.refuses(action),
            format!(
                "ROOT/{}:2: the line ends in a carriage return (CRLF)",
                active(KERNEL)
            )
        );
    }
}

#[test]
fn a_missing_final_newline_makes_no_difference() {
    on_every_index(|machine| {
        let machine = machine.dep(
            KERNEL,
            "kernel/a.ko: kernel/b.ko\nkernel/b.ko: kernel/c.ko\nkernel/c.ko:",
        );
        let machine = machine
            .file("proc/modules", "b 1 0 - Live 0x0")
            .registered("c:1");
        assert_eq!(machine.prints("-l"), "kernel/b.ko\nkernel/c.ko\n");
        machine.succeeds("-i -u c");
        assert_eq!(machine.active(), "c:2\n");
    });
}

#[test]
fn counts_above_255_and_at_the_limit_of_the_type_are_numbers_like_others() {
    let machine = Machine::typical().registered("crc16:256\next4:4294967294\njbd2:4294967295\n");
    machine.succeeds("-i -u ext4,crc16");
    assert_eq!(
        machine.active(),
        "crc16:257\next4:4294967295\njbd2:4294967295\n"
    );
    for line in ["-i -u ext4", "-i -u snd,jbd2", "-i -u jbd2 --owner=p"] {
        let name = if line.contains("jbd2") {
            "jbd2"
        } else {
            "ext4"
        };
        assert_eq!(
            machine.refuses(line),
            format!("ROOT/{}: too many references to {name}", active(KERNEL))
        );
    }
    machine.succeeds("-r -u ext4,jbd2");
    assert_eq!(
        machine.active(),
        "crc16:257\next4:4294967294\njbd2:4294967294\n"
    );
}

#[test]
fn references_that_add_up_to_too_many_are_refused() {
    let machine = Machine::typical().registered("snd-hda-intel:4294967295\nsnd_hda_intel:1\n");
    for action in READING {
        assert_eq!(
            machine.refuses(action),
            format!("ROOT/{}:2: too many references", active(KERNEL))
        );
    }
}

#[test]
fn names_that_can_name_no_module_are_refused_before_anything_is_read() {
    let machine = Machine::new(); // not even a kernel
    for name in [
        "/lib/modules/6.1.0/kernel/a.ko",
        "/",
        "..",
        "../a.ko",
        "kernel/../../a.ko",
        "a/..",
    ] {
        for action in ["-l", "-e", "-i", "-i --force", "-r"] {
            assert_eq!(
                machine.usage_error(&format!("{action} -u {name}")),
                format!(
                    "{name}: a path is relative to /lib/modules/VERSION and has no '..' \
                     (see limopack --help)"
                )
            );
        }
    }
    for (name, shown) in [
        ("a\nb", "a\\x0ab"),
        ("a\r", "a\\x0d"),
        ("a\tb", "a\\x09b"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\x7f", "a\\x7f"),
    ] {
        for action in ["-l", "-i", "-r"] {
            let mut command = machine.command(action);
            command.arg("--use").arg(name);
            assert_eq!(
                machine.fails(&mut command, 2),
                format!("control bytes in the name {shown} (see limopack --help)")
            );
        }
    }
}

#[test]
fn names_of_no_module_cannot_be_forced_into_the_registry() {
    on_every_index(|machine| {
        let machine = machine.typical_kernel();
        for name in ["ext4:S", "fs/ext4", "ext4:", ":", "#ext4", "kernel/", "a b"] {
            for action in ["-l", "-i"] {
                let mut command = machine.command(action);
                command.arg("--use").arg(name);
                let error = machine.fails(&mut command, 1);
                let wanted = format!("no module {name} in kernel 6.1.0");
                assert_eq!(error.split("; did").next(), Some(&*wanted));
            }
            let mut command = machine.command("-i --force");
            command.arg("--use").arg(name);
            assert_eq!(
                machine.fails(&mut command, 2),
                format!("not a module name: {name} (see limopack --help)")
            );
        }
    });
}

#[test]
fn a_name_of_other_bytes_than_text_is_not_found() {
    use std::os::unix::ffi::OsStrExt;
    on_every_index(|machine| {
        let machine = machine.typical_kernel();
        for name in [&b"\xff\xfe"[..], b"ext4\xff", "ext\u{301}4".as_bytes()] {
            let mut command = machine.command("-i");
            command.arg("--use").arg(std::ffi::OsStr::from_bytes(name));
            let error = machine.fails(&mut command, 1);
            assert!(error.starts_with("no module "), "{error}");
        }
    });
}

#[test]
fn an_empty_modules_dep_is_refused() {
    let machine = Machine::new().installed().file(DEP, "");
    for action in ["-l", "-e", "-l -u a", "-i -u a", "-i -u a --force"] {
        assert_eq!(
            machine.refuses(action),
            format!("ROOT/{DEP}: the file is empty; run depmod")
        );
    }
}

#[test]
fn a_malformed_line_of_modules_dep_is_named() {
    const NO_COLON: &str = "no ':' after the module's path";
    const UNSOUND: &str = "a path with '..', '.', control bytes or no file name";
    for (line, what) in [
        ("kernel/a.ko", NO_COLON),
        ("", NO_COLON),
        ("kernel/a.ko kernel/b.ko", NO_COLON),
        (":", UNSOUND),
        (": kernel/b.ko", UNSOUND),
        ("../a.ko:", UNSOUND),
        ("kernel/../../a.ko:", UNSOUND),
        ("./a.ko:", UNSOUND),
        ("kernel/:", UNSOUND),
        ("kernel/a\0.ko:", UNSOUND),
        ("kernel/\x1ba.ko:", UNSOUND),
        ("kernel/a.ko\r:", UNSOUND),
    ] {
        let machine = Machine::new()
            .installed()
            .file(DEP, format!("kernel/b.ko:\n{line}\nkernel/c.ko:\n"));
        for action in ["-l -u a", "-e -u a", "-i -u a"] {
            assert_eq!(
                machine.refuses(action),
                format!("ROOT/{DEP}:2: {what}"),
                "{line}"
            );
        }
    }
}

#[test]
fn two_lines_of_modules_dep_that_ran_together_are_not_taken_for_one() {
    // The second colon was taken for the end of a path, and the first module for the second.
    let machine = Machine::new()
        .installed()
        .file(DEP, "kernel/a.ko: kernel/b.ko:\nkernel/c.ko:\n");
    assert_eq!(machine.refuses("-l -u b"), "no module b in kernel 6.1.0");
    let error = machine.refuses("-l -u a");
    assert!(error.contains("needs kernel/b.ko:"), "{error}");
    assert_eq!(machine.prints("-l -u c"), "kernel/c.ko\n");
}

#[test]
fn a_modules_dep_with_dos_line_ends_is_refused() {
    let machine = Machine::new()
        .installed()
        .file(DEP, "kernel/a.ko:\r\nkernel/b.ko: kernel/a.ko\r\n");
    for line in ["-l -u a", "-l -u b", "-e -u b"] {
        let error = machine.refuses(line);
        assert!(
            error.starts_with(&format!("ROOT/{DEP}: kernel/")),
            "{error}"
        );
        assert!(error.contains("\\x0d"), "{error}");
    }
}

#[test]
fn a_dependency_without_a_line_of_its_own_is_named() {
    on_every_index(|machine| {
        let machine = machine.dep(
            KERNEL,
            "kernel/a.ko: kernel/gone.ko\nkernel/b.ko: kernel/a.ko\nc.ko:\n",
        );
        for line in ["-l -u b", "-e -u a"] {
            assert_eq!(
                machine.refuses(line),
                format!(
                    "ROOT/{DEP}: kernel/a.ko needs kernel/gone.ko, which has no line of its own; \
                     run depmod"
                )
            );
        }
        assert_eq!(machine.prints("-l -u c"), "c.ko\n");
    });
}

#[test]
fn a_damaged_binary_index_is_refused_and_the_text_not_taken_instead() {
    let good = index(&[(b"rfkill", 0, b"kernel/net/rfkill.ko:")], Order::Pre);
    let bad: [Vec<u8>; 8] = [
        Vec::new(),
        b"modules".to_vec(),
        good[..11].to_vec(),
        good[..16].to_vec(),
        good[..good.len() - 1].to_vec(),
        [&b"\xB0\x07\xF4\x58"[..], &good[4..]].concat(),
        [&good[..4], b"\x00\x03\x00\x00", &good[8..]].concat(),
        [&good[..8], b"\xef\xff\xff\xff", &good[12..]].concat(),
    ];
    for bytes in bad {
        let machine = Machine::typical().file(BIN, &bytes);
        let error = machine.refuses("-l -u rfkill");
        let what = format!("ROOT/{BIN}: not a valid index of version 2.1; run depmod");
        assert_eq!(error, what, "{bytes:x?}");
    }
}

#[test]
fn a_binary_index_that_answers_with_another_module_is_refused() {
    let machine = Machine::typical();
    for value in [
        &b"kernel/fs/jbd2/jbd2.ko:"[..],
        b"../../rfkill.ko:",
        b"rfkill.ko",
        b"",
        b"a\n:",
    ] {
        machine.write(BIN, index(&[(b"rfkill", 0, value)], Order::Post));
        for line in ["-l -u rfkill", "-i -u rfkill"] {
            let error = machine.refuses(line);
            assert!(error.starts_with(&format!("ROOT/{BIN}: ")), "{error}");
            assert!(is_readable(&error), "{error}");
        }
    }
}

#[test]
fn no_byte_that_changes_in_a_binary_index_ends_the_program() {
    let dep = "kernel/ab.ko: kernel/ac.ko\nkernel/ac.ko:\nkernel/b.ko:\n";
    for order in [Order::Post, Order::Pre] {
        let good = crate::machine::dep_index(dep, order);
        let machine = Machine::new().dep(KERNEL, dep);
        for at in 0..good.len() {
            for byte in [0, 0xff] {
                let mut bytes = good.clone();
                bytes[at] = byte;
                machine.write(BIN, bytes);
                let ran = machine.run("-l -u ab,b");
                assert!(matches!(ran.code, Some(0 | 1)), "{at} {byte}: {ran:?}");
                assert_eq!(
                    ran.code == Some(0),
                    ran.err.is_empty(),
                    "{at} {byte}: {ran:?}"
                );
            }
        }
    }
}

#[test]
fn a_tainted_or_odd_line_of_proc_modules_is_a_loaded_module() {
    let machine = Machine::typical().file(
        "proc/modules",
        "rfkill 56717312 70000 - Live 0xffffffffc0a10000 (POE)\n\
         crc16 16384 - [permanent], Loading 0x0000000000000000\n\
         snd 16384 4294967296 a,b,[permanent], Unloading 0x0 (O-)\n\
         jbd2\n",
    );
    assert_eq!(
        machine.prints("-l"),
        "kernel/fs/jbd2/jbd2.ko\nkernel/lib/crc16.ko\nkernel/net/rfkill.ko\nkernel/sound/snd.ko.xz\n"
    );
}

#[test]
fn a_line_of_proc_modules_without_a_name_is_named() {
    for bad in ["", " 16384 0 - Live 0x0"] {
        let machine =
            Machine::typical().file("proc/modules", format!("ext4 1 0 - Live 0x0\n{bad}\n"));
        for line in ["-l", "-e", "-i"] {
            assert_eq!(
                machine.refuses(line),
                "ROOT/proc/modules:2: no module name at the start of the line"
            );
        }
    }
}

#[test]
fn a_line_of_a_million_bytes_is_refused_in_one_readable_message() {
    let long = "x".repeat(1_000_000);
    for line in [
        long.clone(),
        format!("{long}:S:"),
        format!("#@ ext4 {long}/"),
        format!("ext4:{}", "1".repeat(1_000_000)),
        ":".repeat(1_000_000),
    ] {
        let machine = Machine::typical().registered(&format!("ext4:1\n{line}\n"));
        let error = machine.refuses("-i -u ext4");
        assert!(error.starts_with(&format!("ROOT/{}:2: ", active(KERNEL))));
        assert!(is_readable(&error), "{} bytes", error.len());
    }
    for line in [
        long.clone(),
        ":".repeat(1_000_000),
        " :".repeat(500_000),
        "a.ko: ".repeat(200_000),
    ] {
        let machine = Machine::new().dep(KERNEL, &format!("kernel/b.ko: kernel/c.ko\n{line}\n"));
        let error = machine.refuses("-l -u x");
        assert!(is_readable(&error), "{} bytes", error.len());
    }
}

#[test]
fn a_good_line_of_a_million_bytes_is_a_line_like_any_other() {
    on_every_index(|machine| {
        let directory = "kernel/".repeat(20);
        let names: Vec<String> = (0..8000)
            .map(|number| format!("{directory}m{number}.ko"))
            .collect();
        let lines = names.iter().map(|name| format!("{name}:\n"));
        let dep = format!(
            "kernel/all.ko: {}\n{}",
            names.join(" "),
            lines.collect::<String>()
        );
        let machine = machine.dep(KERNEL, &dep);
        assert_eq!(machine.prints("-l -u all").lines().count(), 8001);
        let long = "x".repeat(1_000_000);
        let machine = machine.registered(&format!("# {long}\nall:1\n"));
        machine.succeeds("-i -u all");
        assert_eq!(machine.active(), format!("# {long}\nall:2\n"));
        let machine = machine.file("proc/modules", format!("{long} 1 0 - Live 0x0\nm1 1\n"));
        let ran = machine.run("-l");
        assert_eq!(ran.code, Some(0));
        assert!(is_readable(ran.err.trim_end()), "{} bytes", ran.err.len());
    });
}

#[test]
fn unreadable_files_are_named_whatever_is_in_their_place() {
    for (path, line) in [
        ("proc/modules", "-l"),
        ("proc/modules", "-i"),
        (DEP, "-l -u ext4"),
        (DEP, "-i -u ext4"),
        (BIN, "-l -u ext4"),
        ("lib/modules/6.1.0/modules.builtin", "-l -u nope"),
        ("lib/modules/6.1.0/modules.active", "-l"),
        ("lib/modules/6.1.0/modules.active", "-i -u ext4"),
        ("lib/modules/6.1.0/modules.active", "-r -u ext4"),
    ] {
        let machine = Machine::typical();
        let _ = std::fs::remove_file(machine.path(path));
        let machine = machine.directory(path);
        assert_eq!(
            machine.refuses(line),
            format!("cannot read ROOT/{path}: Is a directory")
        );
        std::fs::remove_dir(machine.path(path)).unwrap();
        let fifo = Command::new("mkfifo")
            .arg(machine.path(path))
            .status()
            .unwrap();
        assert!(fifo.success());
        assert_eq!(
            machine.refuses(line),
            format!("ROOT/{path} is not a regular file")
        );
    }
}

#[test]
fn a_registry_that_cannot_be_written_leaves_everything_as_it_was() {
    // A directory in the way of the temporary file stops root, too.
    let machine = Machine::typical()
        .registered("ext4:1\n")
        .directory("lib/modules/6.1.0/.modules.active.limopack-new/x");
    assert_eq!(
        machine.refuses("-i -u ext4"),
        "cannot remove ROOT/lib/modules/6.1.0/.modules.active.limopack-new: Is a directory"
    );
}

#[test]
fn of_several_kernels_those_changed_before_a_failure_are_named() {
    let machine = Machine::new()
        .kernel("1", "a.ko:\n")
        .kernel("2", "a.ko:\n")
        .directory("lib/modules/2/.modules.active.limopack-new/x");
    let ran = machine.run("-i -u a");
    assert_eq!(ran.code, Some(1));
    assert_eq!(
        machine.messages(&ran.err),
        "warning: changed before this failed: 1\n\
         cannot remove ROOT/lib/modules/2/.modules.active.limopack-new: Is a directory"
    );
    assert_eq!(machine.read(&active("1")), "a:1\n");
}
