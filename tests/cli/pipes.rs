//! Where the output goes: a pipe that somebody closes, a full disk, no standard output at all.

use crate::machine::{Machine, Ran, KERNEL};
use std::fs::OpenOptions;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

/// More than a pipe holds, so that the reader is gone before all is written.
fn long_listing() -> Machine {
    let directory = "kernel/".to_string() + &"long/".repeat(20);
    let line = |number| format!("{directory}m{number}.ko:\n");
    let dep: String = (0..4000).map(line).collect();
    let names: Vec<String> = (0..4000).map(|number| format!("m{number}")).collect();
    let names: Vec<&str> = names.iter().map(|name| &**name).collect();
    Machine::new().dep(KERNEL, &dep).loaded(&names)
}

/// Runs a command whose reader goes away at once; the signal that ended it, and the rest.
fn without_a_reader(command: &mut Command) -> (Option<i32>, Ran) {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    (output.status.signal(), Ran::from(output))
}

#[test]
fn a_closed_pipe_ends_quietly() {
    const SIGPIPE: i32 = 13;
    let machine = long_listing();
    for line in ["--list", "--tree"] {
        let (signal, ran) = without_a_reader(&mut machine.command(line));
        assert!(
            signal == Some(SIGPIPE) || ran.code == Some(0),
            "{signal:?} {ran:?}"
        );
        assert_eq!(ran.err, "");
    }
}

#[test]
fn a_closed_pipe_ends_quietly_also_where_its_signal_is_ignored() {
    let machine = long_listing();
    let mut shell = Command::new("/bin/sh");
    shell.args([
        "-c",
        "trap '' PIPE; exec \"$0\" \"$@\"",
        env!("CARGO_BIN_EXE_limopack"),
    ]);
    shell.arg("--root").arg(machine.path("")).arg("--list");
    let (signal, ran) = without_a_reader(&mut shell);
    assert_eq!((signal, ran.code, &*ran.err), (None, Some(0), ""));
}

#[test]
fn a_full_disk_under_the_output_is_an_error() {
    let machine = Machine::typical().registered("ext4:S\n");
    for line in [
        "--list",
        "--tree",
        "--help",
        "--version",
        "--install --dry-run --use=snd",
    ] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let error = machine.fails(shell(&machine, line, "").stdout(full), 1);
        assert_eq!(
            error, "cannot write standard output: No space left on device",
            "{line}"
        );
    }
}

#[test]
fn a_closed_standard_output_is_an_error_and_is_not_taken_for_a_file() {
    let machine = Machine::typical().registered("ext4:S\n");
    for line in [
        "--list",
        "--list --use=ext4",
        "--install --dry-run --use=snd",
    ] {
        let error = machine.fails(&mut shell(&machine, line, ">&-"), 1);
        assert_eq!(
            error, "cannot write standard output: Bad file descriptor",
            "{line}"
        );
    }
}

#[test]
fn without_any_standard_stream_a_message_never_lands_in_a_file() {
    let machine = Machine::typical().registered("ext4:S\n");
    let ran = crate::machine::ran(&mut shell(
        &machine,
        "-d -i -u ext4,snd,net_fs",
        "<&- >&- 2>&-",
    ));
    assert_eq!(ran.code, Some(0));
    assert_eq!(machine.active(), "ext4:S\nsnd:1\n");
}

/// The binary on this root, through a shell that redirects.
fn shell(machine: &Machine, line: &str, redirections: &str) -> Command {
    let mut shell = Command::new("/bin/sh");
    let script = format!("exec \"$0\" --root=\"$1\" {line} {redirections}");
    shell.args(["-c", &script, env!("CARGO_BIN_EXE_limopack")]);
    shell.arg(machine.path("")).env_clear();
    shell
}
