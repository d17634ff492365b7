//! Calls at the same time: none is lost.

use crate::machine::Machine;
use std::process::{Child, Stdio};
use std::time::Duration;

const MANY: usize = 64;

fn all_at_once(lines: impl Iterator<Item = String>, machine: &Machine) {
    let children: Vec<Child> = lines
        .map(|line| machine.command(&line).spawn().unwrap())
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn parallel_installs_by_owners_and_by_nobody_are_all_counted() {
    let machine = Machine::typical();
    let owner = |number| format!("--install --use=ext4 --owner=owner{number:02}");
    all_at_once((0..MANY).map(owner), &machine);
    let names: String = (0..MANY)
        .map(|number| format!(" owner{number:02}"))
        .collect();
    assert_eq!(machine.active(), format!("ext4:64\n#@ ext4{names}\n"));

    all_at_once(
        (0..MANY).map(|_| "--install --use=ext4".to_string()),
        &machine,
    );
    assert_eq!(machine.active(), format!("ext4:128\n#@ ext4{names}\n"));

    let all_go = (0..MANY).flat_map(|number| {
        let owned = format!("--remove --use=ext4 --owner=owner{number:02}");
        [owned, "--remove --use=ext4".to_string()]
    });
    all_at_once(all_go, &machine);
    assert_eq!(machine.active(), "");
}

#[test]
fn parallel_calls_on_several_kernels_do_not_wait_for_each_other_for_ever() {
    let machine = Machine::new()
        .kernel("1", "a.ko:\n")
        .kernel("2", "a.ko:\n")
        .kernel("3", "a.ko:\n");
    let kernels = ["-k 1 -k 2 -k 3", "-k 3 -k 2 -k 1", "-k all", "-k 3 -k 1"];
    let lines = kernels.iter().cycle().take(MANY);
    all_at_once(lines.map(|kernels| format!("-i -u a {kernels}")), &machine);
    let active = |version| machine.read(&crate::machine::active(version));
    assert_eq!(
        [active("1"), active("2"), active("3")],
        ["a:64\n", "a:48\n", "a:64\n"]
    );
}

#[test]
fn a_reader_sees_a_whole_registry_at_any_moment() {
    let machine = Machine::typical().registered("crc16:S\n");
    let add = |number| format!("-i -u ext4 --owner=owner{number}");
    let writers: Vec<Child> = (0..MANY)
        .map(|number| machine.command(&add(number)).spawn().unwrap())
        .collect();
    for _ in 0..MANY {
        let list = machine.prints("-l");
        assert!(list.ends_with("kernel/lib/crc16.ko\n"), "{list}");
    }
    for mut writer in writers {
        assert!(writer.wait().unwrap().success());
    }
}

/// Once an install looked its modules up and then waited for the lock that a prune held. The prune
/// deleted them; the install registered what was gone, and the next prune refused.
#[test]
fn an_install_that_waited_for_a_prune_sees_what_it_left() {
    let machine = Machine::new().kernel("1", "a.ko:\nb.ko:\n");
    let folder = std::fs::File::open(machine.path("lib/modules/1")).unwrap();
    let whole = rustix::fs::FlockOperation::LockExclusive;
    rustix::fs::flock(&folder, whole).unwrap();
    let mut install = machine.command("--install --use=b");
    let install = install.stderr(Stdio::piped()).spawn().unwrap();
    // Only the moment before it waits would hide the fault, so a while is enough.
    for _ in 0..200 {
        let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
        let waits =
            |line: &str| line.contains("->") && line.contains(&format!(" {} ", install.id()));
        if locks.lines().any(waits) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    machine.write("new", "a.ko:\n");
    std::fs::rename(
        machine.path("new"),
        machine.path("lib/modules/1/modules.dep"),
    )
    .unwrap();
    drop(folder);
    let said = install.wait_with_output().unwrap();
    assert_eq!(
        (said.status.code(), &said.stderr[..]),
        (Some(1), &b"limopack: no module b in kernel 1\n"[..])
    );
    assert_eq!(machine.read(&crate::machine::active("1")), "");
}
