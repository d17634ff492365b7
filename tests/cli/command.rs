//! The command line itself: help, version, and what makes no sense.

use crate::machine::{ran, Machine};

fn run(words: &[&str]) -> crate::machine::Ran {
    ran(Machine::new().anywhere().args(words))
}

#[test]
fn help_and_version_are_data() {
    for word in ["-h", "--help"] {
        let ran = run(&[word]);
        assert_eq!((ran.code, &*ran.err), (Some(0), ""));
        assert!(ran.out.contains("Usage: limopack ACTION"), "{}", ran.out);
        assert!(ran.out.contains("--dry-run"), "{}", ran.out);
    }
    for word in ["-v", "-V", "--version"] {
        let ran = run(&[word]);
        let version = concat!("limopack ", env!("CARGO_PKG_VERSION"), "\n");
        assert_eq!((ran.code, &*ran.out, &*ran.err), (Some(0), version, ""));
    }
}

#[test]
fn what_makes_no_sense_exits_with_2_and_points_at_the_help() {
    let machine = Machine::typical();
    for (line, message) in [
        ("", "no action given; try --list"),
        ("--use=ext4", "no action given; try --list"),
        ("-l -i", "--list and --install cannot be combined"),
        ("-ir -u ext4", "--install and --remove cannot be combined"),
        (
            "-i ext4",
            "unexpected argument: ext4; modules are named with --use",
        ),
        (
            "-i -- ext4",
            "unexpected argument: ext4; modules are named with --use",
        ),
        ("list", "unexpected argument: list; did you mean --list?"),
        ("--chek", "no such option: --chek; did you mean --check?"),
        (
            "-l --kernal=6.1.0",
            "no such option: --kernal; did you mean --kernel?",
        ),
        ("-l --no-such-thing", "no such option: --no-such-thing"),
        ("-l --static", "--static does nothing with --list"),
        ("-l --owner=p", "--owner does nothing with --list"),
        ("-l -n", "--dry-run does nothing with --list"),
        ("-r -s -u ext4", "--static does nothing with --remove"),
        ("-i -u ext4,", "empty name in --use=ext4,"),
        ("-i -u ,", "empty name in --use=,"),
        ("-i --use=", "--use needs a value"),
        ("-i --owner=a --owner=b -u ext4", "--owner is given twice"),
        ("-l --root=x", "--root is given twice"),
        ("-i -u ext4 --owner=a/b", "not a package name: a/b"),
        ("-i -u ext4 --owner=a,b", "not a package name: a,b"),
    ] {
        assert_eq!(
            machine.usage_error(line),
            format!("{message} (see limopack --help)"),
            "{line}"
        );
    }
    for line in [
        "--nope",
        "-l --no-such=x",
        "-lz",
        "-l --use",
        "-l -u",
        "-l --list=x",
        "-l --use ext4 -k",
    ] {
        let error = machine.usage_error(line);
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.ends_with(" (see limopack --help)"), "{error}");
    }
}

#[test]
fn a_package_name_from_the_environment_is_checked() {
    let machine = Machine::typical();
    for name in ["../../etc", "a b", "a\nb"] {
        let mut command = machine.command("-i -u ext4");
        command
            .env("DPKG_MAINTSCRIPT_PACKAGE", name)
            .env("DPKG_MAINTSCRIPT_ARCH", "all");
        let error = machine.fails(&mut command, 2);
        assert!(error.starts_with("not a package name: "), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn the_help_of_an_action_is_asked_for_before_or_after_it() {
    let machine = Machine::typical();
    let help = machine.prints("--prune --help");
    for line in ["--help prune", "--help --prune", "-h prune"] {
        assert_eq!(machine.prints(line), help);
    }
    assert!(
        help.contains("--park")
            && !help.contains("--use")
            && help.ends_with("limopack --prune --dry-run\n")
    );
    assert!(machine.prints("--help nothing").contains("--census"));
}
