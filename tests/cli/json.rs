//! `--format=json`: an object per line for programs, with the data that the lines have.

use crate::machine::{Machine, KERNEL};

#[test]
fn each_line_of_a_listing_is_an_object() {
    let machine = Machine::typical();
    let lines = machine.prints("-l -u ext4");
    let objects: String = lines
        .lines()
        .map(|path| format!("{{\"kernel\":\"{KERNEL}\",\"path\":\"{path}\"}}\n"))
        .collect();
    assert_eq!(machine.prints("-l -u ext4 --format=json"), objects);
    assert_eq!(machine.prints("-l -u ext4 --format=text"), lines);
}

#[test]
fn the_reason_of_a_module_is_an_object() {
    let machine = Machine::typical();
    let (name, text) = ("ext4", "nothing needs it");
    assert_eq!(machine.prints("--why -u ext4"), format!("{name}: {text}\n"));
    assert_eq!(
        machine.prints("--why -u ext4 --format=json"),
        format!("{{\"kernel\":\"{KERNEL}\",\"name\":\"{name}\",\"text\":\"{text}\"}}\n")
    );
}

#[test]
fn each_problem_is_an_object_whatever_its_name() {
    let name = "od\"d\\\u{e9}";
    let machine = Machine::typical().file(
        "usr/lib/limopack/needs.d/a.conf",
        format!("#! base\n{name}\n"),
    );
    let (lines, objects) = (machine.run("--check"), machine.run("--check --format=json"));
    assert_eq!((lines.code, objects.code), (Some(1), Some(1)));
    assert_eq!(lines.out.lines().count(), objects.out.lines().count());
    assert!(objects.out.is_ascii());
    let wanted = format!(
        "{{\"kind\":\"missing\",\"kernel\":\"{KERNEL}\",\"name\":\"od\\\"d\\\\\\u00c3\\u00a9\",\"text\":\""
    );
    assert!(objects.out.contains(&wanted), "{}", objects.out);
}

#[test]
fn another_format_is_a_usage_error() {
    let machine = Machine::typical();
    let error = machine.usage_error("-l --format=xml");
    assert!(
        error.starts_with("no such format: xml; there are json and text"),
        "{error}"
    );
    assert!(machine
        .usage_error("-i --format=json")
        .contains("--format does nothing with --install"));
}
