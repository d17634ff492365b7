//! `--tree`: direct dependencies, drawn.

use crate::machine::{on_every_index, Machine, KERNEL};

#[test]
fn only_direct_dependencies_are_edges() {
    on_every_index(|machine| {
        assert_eq!(
            machine
                .typical_kernel()
                .prints("--tree --use=hci_uart,ext4"),
            "ext4\n\
             |-- crc16\n\
             `-- jbd2\n\
             hci_uart\n\
             `-- bluetooth\n    \
                 `-- rfkill\n"
        );
    });
}

#[test]
fn a_repeated_subtree_is_drawn_once_and_marked_and_a_leaf_is_not() {
    on_every_index(|machine| {
        let machine = machine.kernel(
            KERNEL,
            "a.ko: m.ko x.ko y.ko\nb.ko: m.ko x.ko y.ko\nm.ko: x.ko y.ko\nx.ko:\ny.ko:\nz.ko: y.ko\n",
        );
        assert_eq!(
            machine.prints("-e -u a,b,z"),
            "a\n\
             `-- m\n    \
                 |-- x\n    \
                 `-- y\n\
             b\n\
             `-- m (*)\n\
             z\n\
             `-- y\n"
        );
    });
}

#[test]
fn branches_are_continued_past_deeper_ones() {
    let machine = Machine::new().kernel(KERNEL, "a.ko: b.ko d.ko c.ko\nb.ko: c.ko\nc.ko:\nd.ko:\n");
    assert_eq!(
        machine.prints("-e -u a"),
        "a\n\
         |-- b\n\
         |   `-- c\n\
         `-- d\n"
    );
}

#[test]
fn a_module_that_another_needs_stands_below_it_and_not_at_the_top() {
    let machine = Machine::typical();
    let below = "ext4\n|-- crc16\n`-- jbd2\n";
    assert_eq!(machine.prints("-e -u crc16,ext4,jbd2"), below);
}

#[test]
fn names_are_drawn_in_kernel_spelling() {
    let machine = Machine::typical();
    assert_eq!(
        machine.prints("-e -u snd-hda-intel"),
        "snd_hda_intel\n`-- snd\n"
    );
}

#[test]
fn a_module_that_needs_itself_or_its_user_ends_the_drawing() {
    on_every_index(|machine| {
        let machine = machine.kernel(
            KERNEL,
            "a.ko: b.ko\nb.ko: a.ko\nc.ko: c.ko\nt.ko: a.ko b.ko\n",
        );
        assert_eq!(machine.prints("-e -u c"), "c\n");
        assert_eq!(machine.prints("-e -u a"), "a\n`-- b\n    `-- a (*)\n");
        let tree = machine.prints("-e -u t");
        assert!(tree.starts_with("t\n|-- a\n"), "{tree}");
        assert_eq!(tree.lines().count(), 5, "{tree}");
    });
}

#[test]
fn a_longer_cycle_keeps_the_edge_that_leads_into_it() {
    // Each member explains the next one, and once that left nothing below the top.
    let machine = Machine::new().kernel(
        KERNEL,
        "t.ko: b.ko c.ko d.ko\nb.ko: c.ko\nc.ko: d.ko\nd.ko: b.ko\n",
    );
    let tree = machine.prints("-e -u t");
    assert!(
        tree.starts_with("t\n|-- b\n") || tree.starts_with("t\n`-- b\n"),
        "{tree}"
    );
}

#[test]
fn a_long_chain_of_dependencies_is_drawn_to_its_end() {
    let line = |number| format!("m{number}.ko: m{}.ko\n", number + 1);
    let dep: String = (0..2000).map(line).collect();
    let machine = Machine::new().dep(KERNEL, &(dep + "m2000.ko:\n"));
    let tree = machine.prints("-e -u m0");
    assert_eq!(tree.lines().count(), 2001);
    assert!(tree.ends_with("`-- m2000\n"));
}

#[test]
fn without_names_the_tree_is_of_what_is_loaded_and_registered() {
    let machine = Machine::typical()
        .loaded(&["snd"])
        .registered("bluetooth:S\n");
    assert_eq!(machine.prints("--tree"), "bluetooth\n`-- rfkill\nsnd\n");
}

#[test]
fn several_kernels_each_have_a_tree_under_their_version() {
    let machine = Machine::new()
        .kernel("6.1", "a.ko: b.ko\nb.ko:\n")
        .kernel("6.2", "a.ko:\n");
    assert_eq!(
        machine.prints("-e -u a -k all"),
        "6.1\n  a\n  `-- b\n6.2\n  a\n"
    );
    assert_eq!(machine.prints("-e -u a -k 6.2"), "a\n");
}

#[test]
fn a_missing_name_is_an_error_and_nothing_is_drawn() {
    let machine = Machine::typical();
    assert_eq!(
        machine.refuses("-e -u ext4,nope"),
        "no module nope in kernel 6.1.0"
    );
}
