//! What a fuzzer calls: every parser, the flags and the writer of indexes, each with what must be
//! true of its answer whatever the bytes are.
//!
//! Part of two crates: of the fuzzer beside it, and of the integration tests, which feed it with
//! the seeds and what once broke it. Nothing here does I/O or leaves memory behind.

use crate::trie::{index, Entry, Order};
use limopack::cli::parse::parse as parse_flags;
use limopack::format::keep;
use limopack::index::binary::BINARIES;
use limopack::index::filter::{filter, Comments, IndexFormat, FILES};
use limopack::index::trie::{Layout, Trie};
use limopack::index::writer::Writer;
use limopack::needs::hidden::rows;
use limopack::needs::patterns::record;
use limopack::package::database::kernels_of;
use limopack::package::forget::{plan, stood_in_for, Situation};
use limopack::package::queue::notes;
use limopack::package::relation::{alternatives, compare as compare_versions, groups, relation};
use limopack::package::select::{glob, Spec};
use limopack::text::active::{Hold, Registry};
use limopack::text::alias::{alias, has_open_bracket, matches, normalise, normalised};
use limopack::text::dep::{DepText, Ends, Paths};
use limopack::text::modprobe::{commands, joined, targets};
use limopack::text::name::{is_module_file, kernel_byte, ModuleName, ModulePath};
use limopack::text::{
    compare, find, lines, modinfo, names, proc_modules, split_at_byte, stanza, words,
};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// A target's name and what it does with the fuzzer's bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All of them; the directories of seeds have the same names.
pub const TARGETS: &[Target] = &[
    ("text", text),
    ("registry", registry),
    ("alias", aliases),
    ("dep", dep),
    ("modprobe", modprobe),
    ("name", name),
    ("names", names_file),
    ("proc_modules", loaded),
    ("modinfo", modinfo_records),
    ("stanza", stanzas),
    ("trie", trie),
    ("writer", writer),
    ("wild", wild),
    ("filter", filters),
    ("relation", relations),
    ("glob", globs),
    ("queue", queue),
    ("flags", flags),
];

/// The first line and the rest: for targets that take two things.
fn two(data: &[u8]) -> (&[u8], &[u8]) {
    split_at_byte(data, b'\n')
}

fn is_inside(outer: &[u8], inner: &[u8]) -> bool {
    let (outer, inner) = (outer.as_ptr_range(), inner.as_ptr_range());
    inner.start == inner.end || outer.start <= inner.start && inner.end <= outer.end
}

fn text(data: &[u8]) {
    let mut joined = Vec::new();
    for (number, (counted, line)) in lines(data).enumerate() {
        assert_eq!(counted, number + 1);
        let given: Vec<&[u8]> = words(line).collect();
        let blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
        assert!(given
            .iter()
            .all(|word| !word.is_empty() && !word.iter().any(blank)));
        assert_eq!(
            given.concat().len(),
            line.iter().filter(|byte| !blank(byte)).count()
        );
        joined.extend_from_slice(line);
        joined.push(b'\n');
    }
    if !data.is_empty() && !data.ends_with(b"\n") {
        joined.pop();
    }
    assert_eq!(joined, data);
    let (a, b) = two(data);
    assert_eq!(compare(a, b), a.cmp(b));
    let naive = (!a.is_empty()).then(|| b.windows(a.len()).position(|window| window == a));
    assert_eq!(find(b, a), naive.flatten());
}

fn registry(data: &[u8]) {
    let (name, rest) = two(keep(data));
    let Ok(registry) = Registry::parse(rest, b"f") else {
        return;
    };
    let written = registry.to_text();
    let again = Registry::parse(keep(written), b"f").expect("what was written is read");
    assert_eq!(again.entries().len(), registry.entries().len());
    assert_eq!(
        again.to_text(),
        written,
        "writing it once more changes nothing"
    );

    let name = ModuleName::new(name);
    if !name.is_storable() {
        return;
    }
    for owner in [None, Some(&b"owner"[..])] {
        for hold in [Hold::Static, Hold::Dynamic(1)] {
            registry.add(name, hold, owner);
            let text = registry.to_text();
            let read = Registry::parse(keep(text), b"f").expect("an added entry is read");
            assert!(read.find(name).is_some());
        }
        registry.remove(name, owner);
        assert!(Registry::parse(keep(registry.to_text()), b"f").is_ok());
    }
    for entry in again.entries() {
        registry.merge(entry.name, entry);
    }
    assert!(Registry::parse(keep(registry.to_text()), b"f").is_ok());
}

/// fnmatch(3) by trying everything: short, slow and obvious.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let Some((&first, rest)) = pattern.split_first() else {
        return name.is_empty();
    };
    match first {
        b'*' => (0..=name.len()).any(|eaten| fits(rest, &name[eaten..])),
        b'?' => !name.is_empty() && fits(rest, &name[1..]),
        _ => name.first() == Some(&kernel_byte(first)) && fits(rest, &name[1..]),
    }
}

fn aliases(data: &[u8]) {
    let (name, rest) = two(data);
    for (_, line) in lines(rest) {
        let Some((pattern, module)) = alias(line) else {
            continue;
        };
        assert!(is_inside(line, pattern) && is_inside(line, module) && !module.is_empty());
        let flat: Vec<u8> = normalised(pattern).collect();
        assert_eq!(flat.len(), pattern.len());
        if has_open_bracket(pattern) {
            continue;
        }
        let found = matches(pattern, name);
        let is_simple = !pattern.iter().any(|byte| b"[]\\".contains(byte));
        let stars = pattern.iter().filter(|&&byte| byte == b'*').count();
        if is_simple && stars < 4 && name.len() < 40 {
            assert_eq!(found, fits(pattern, name));
        }
    }
}

/// `a.long-name.ko` is `a` to depmod; where its lines are sought by the last eight bytes, such a
/// dot is not seen and the module is none (see `ModulePath::quick_tail_hash`).
fn has_hidden_dot(path: ModulePath<'_>) -> bool {
    let stem = path.file_name().strip_suffix(b".ko");
    stem.map_or(false, |stem| stem.contains(&b'.'))
}

fn dep(data: &[u8]) {
    let (name, rest) = two(data);
    let name = ModuleName::new(name);
    let builtin = Paths::new(rest, Ends::Line, b"f").expect("small");
    let listed = lines(rest).map(|(_, line)| ModulePath(line));
    let listed: Vec<_> = listed.filter(|path| path.name() == name).collect();
    // A path or a file name is no name of a module, and what is found for it is no matter.
    let is_path = name.as_written().iter().any(|byte| b"/.".contains(byte));
    if !is_path && !listed.iter().any(|&path| has_hidden_dot(path)) {
        assert_eq!(builtin.find(name).is_some(), !listed.is_empty());
    }
    let Ok(index) = DepText::new(rest, b"f") else {
        return;
    };
    let mut first: BTreeMap<&[u8], &[u8]> = BTreeMap::new();
    let is_sound = index.all().all(|line| line.is_ok());
    assert_eq!(index.check().is_ok(), is_sound);
    for line in index.all().flatten() {
        assert!(
            is_inside(rest, line.as_written()) && line.path().is_sound()
                || line.path().is_absolute()
        );
        for path in line.dependencies() {
            assert!(is_inside(line.as_written(), path.0));
        }
        if has_hidden_dot(line.path()) {
            return;
        }
        let kernel = line.path().name().to_kernel();
        first.entry(kernel).or_insert(line.as_written());
    }
    if is_sound {
        for (name, line) in &first {
            let found = index
                .find(ModuleName::new(name))
                .expect("all lines are sound");
            assert_eq!(found.map(|found| found.as_written()), Some(*line));
        }
        let found = index.find(name).expect("all lines are sound");
        let wanted = first.get(name.to_kernel()).copied();
        if !is_path {
            assert_eq!(found.map(|found| found.as_written()), wanted);
        }
    } else {
        let _ = index.find(name);
    }
}

fn modprobe(data: &[u8]) {
    let text = joined(data);
    for command in commands(text) {
        assert!(is_inside(text, command.name) && !command.name.is_empty());
        assert!(targets(command.targets).all(|target| is_inside(text, target)));
    }
    let _ = rows(data, b"f", &mut |row| {
        assert!(words(row.modules).count() == 1 && words(row.targets).count() > 0);
    });
}

fn name(data: &[u8]) {
    let (a, b) = two(data);
    let (one, other) = (ModuleName::new(a), ModuleName::new(b));
    let spelled: Vec<u8> = a.iter().map(|&byte| kernel_byte(byte)).collect();
    assert_eq!(one.to_kernel(), spelled);
    assert_eq!(one.cmp(&other), spelled[..].cmp(other.to_kernel()));
    assert_eq!(one == other, spelled == other.to_kernel());
    assert_eq!(one.hash(), ModuleName::new(&spelled).hash());
    let path = ModulePath(data);
    let file = data.rsplit(|&byte| byte == b'/').next().unwrap_or(b"");
    assert_eq!(path.file_name(), file);
    assert!(file.starts_with(path.name().as_written()));
    if path.is_sound() && !path.is_absolute() {
        let mut parts = data.split(|&byte| byte == b'/');
        assert!(parts.all(|part| part != b".." && part != b"."));
    }
    if let (Some(hash), false) = (ModulePath(a).quick_hash(), a.contains(&b'\n')) {
        assert_eq!(hash, ModulePath(a).name().hash());
    }
    let is_seen = !a.contains(&b'\n') && !has_hidden_dot(ModulePath(a));
    if let (Some(hash), true) = (ModulePath(a).quick_tail_hash(), is_seen) {
        assert_eq!(hash, ModulePath(a).name().tail_hash());
    }
    is_module_file(file);
    one.is_storable();
}

fn names_file(data: &[u8]) {
    let data = keep(data);
    let Ok(found) = names::parse(data, b"f") else {
        return;
    };
    assert!(found
        .names
        .iter()
        .all(|want| is_inside(data, want.given) && !want.given.is_empty()));
    assert_eq!(lines(&found.registry).count(), lines(data).count());
    let _ = Registry::parse(keep(&found.registry), b"f");
}

fn loaded(data: &[u8]) {
    for name in proc_modules::names(data, b"f").into_iter().flatten() {
        assert!(is_inside(data, name.as_written()) && !name.as_written().contains(&b' '));
    }
}

fn modinfo_records(data: &[u8]) {
    for (name, value) in modinfo::records(data) {
        assert!(is_inside(data, name) && is_inside(data, value) && !value.starts_with(b" "));
    }
}

fn stanzas(data: &[u8]) {
    let (chosen, rest) = two(data);
    let Ok(status) = stanza::parse(rest, b"f") else {
        return;
    };
    let all = status.all;
    let joined: Vec<&[u8]> = all.iter().map(|stanza| stanza.text).collect();
    assert!(
        rest.ends_with(&joined.concat()),
        "nothing is lost between stanzas"
    );
    for stanza in all {
        // What a continuation line adds is no part of a name.
        assert!(stanza.field(b"Package").starts_with(stanza.package));
        assert!(!stanza.package.contains(&b'/'));
        for (name, known) in [
            (&b"Status"[..], stanza.status),
            (b"Pre-Depends", stanza.pre_depends),
            (b"Depends", stanza.depends),
            (b"Provides", stanza.provides),
        ] {
            assert_eq!(stanza.field(name), known);
        }
    }
    let spec = Spec::new(chosen);
    let is_meant = |stanza: &stanza::Stanza<'_>| {
        spec.matches(stanza.package, stanza.arch)
            && stanza.is_there()
            && stood_in_for(stanza.package).is_none()
    };
    let chosen: Vec<usize> = (0..all.len()).filter(|&at| is_meant(&all[at])).collect();
    let edit = plan(&Situation {
        status,
        chosen: &chosen,
        marks: &stanza::Stanzas::default(),
        was_auto: &|_| false,
        plain: &[],
    });
    let mut new = edit.parts.concat();
    if !edit.stand_ins.is_empty() {
        new.extend_from_slice(b"\n\n");
    }
    for stand_in in &edit.stand_ins {
        assert!(!stand_in.info_name.contains(&b'/') && !stand_in.info_name.contains(&b'\n'));
        new.extend_from_slice(stand_in.text);
    }
    let after = stanza::parse(&new, b"f")
        .expect("what is written is read")
        .all;
    assert!(
        !after.iter().any(is_meant),
        "what is forgotten is there no more"
    );
    let stays = |stanza: &&stanza::Stanza<'_>| stanza.is_there() && !is_meant(stanza);
    let stand_ins = all.len()
        - all
            .iter()
            .filter(|s| stood_in_for(s.package).is_none())
            .count();
    let (before, after) = (
        all.iter().filter(stays).count(),
        after.iter().filter(stays).count(),
    );
    assert!(after <= before + edit.stand_ins.len() && after + stand_ins >= before);
}

fn trie(data: &[u8]) {
    let (name, bytes) = two(data);
    // Nearly nothing that a fuzzer makes would have the header.
    let whole = [b"\xB0\x07\xF4\x57\x00\x02\x00\x01", bytes].concat();
    let _ = Trie::new(bytes, b"f");
    let Ok(trie) = Trie::new(&whole, b"f") else {
        return;
    };
    if let Ok(Some(value)) = trie.find(ModuleName::new(name)) {
        assert!(is_inside(&whole, value));
    }
    let _ = trie.search_patterns(name, &mut |_, value| assert!(is_inside(&whole, value)));
    let _ = trie.checksum();
    trie.layout();
}

/// `KEY VALUE` lines, the priority being the key's length: keys that share beginnings, and
/// several values of one key, are what a fuzzer finds soon.
fn entries(data: &[u8]) -> Vec<Entry<'_>> {
    // Whatever can go wrong with keys goes wrong with a few short ones; long ones are slow.
    let data = &data[..data.len().min(80)];
    let pair = |line| {
        let (key, value) = split_at_byte(line, b' ');
        (key, (value.len() % 3) as u32, value)
    };
    let good = |line: &&[u8]| !line.contains(&0);
    lines(data)
        .map(|(_, line)| line)
        .filter(good)
        .map(pair)
        .collect()
}

fn writer(data: &[u8]) {
    let entries = entries(data);
    for (layout, order) in [
        (Layout::ParentsFirst, Order::Pre),
        (Layout::ChildrenFirst, Order::Post),
    ] {
        let mut writer = Writer::default();
        for (key, priority, value) in &entries {
            writer.add(key, value, *priority);
        }
        let bytes = writer.write(layout).expect("small");
        assert_eq!(
            bytes,
            index(&entries, order),
            "another writer makes the same of it"
        );
        let trie = Trie::new(bytes, b"f").expect("what is written is read");
        for (key, _, _) in &entries {
            if key.contains(&b'-') {
                continue; // names are looked up in kernel spelling, so nothing finds these
            }
            let mut values: Vec<_> = entries.iter().filter(|entry| entry.0 == *key).collect();
            values.reverse();
            values.sort_by_key(|entry| entry.1);
            let found = trie.find(ModuleName::new(key)).expect("sound");
            assert_eq!(found, values.first().map(|entry| entry.2));
        }
    }
}

fn wild(data: &[u8]) {
    let (name, rest) = two(data);
    let mut writer = Writer::default();
    let mut wanted: Vec<&[u8]> = Vec::new();
    for (pattern, _, module) in entries(rest) {
        if has_open_bracket(pattern) || pattern.len() > 100 {
            continue;
        }
        normalise(writer.add(pattern, module, 0));
        let flat: Vec<u8> = normalised(pattern).collect();
        if matches(&flat, name) {
            wanted.push(module);
        }
    }
    let bytes = writer.write(Layout::ParentsFirst).expect("small");
    let trie = Trie::new(bytes, b"f").expect("what is written is read");
    let mut found: Vec<&[u8]> = Vec::new();
    trie.search_patterns(name, &mut |_, value| found.push(value))
        .expect("sound");
    found.sort_unstable();
    found.dedup();
    wanted.sort_unstable();
    wanted.dedup();
    assert_eq!(
        found, wanted,
        "the index finds what the patterns match, each once"
    );
}

fn filters(data: &[u8]) {
    let (letters, rest) = two(data);
    let keeps = |name: ModuleName<'_>| {
        let first = name.to_kernel().first().copied().unwrap_or(0);
        letters.contains(&first).then_some(0)
    };
    // The fuzzer chooses one, or it would be eight times as slow.
    let choice = usize::from(letters.first().copied().unwrap_or(0)) % FILES.len();
    let (file, format) = FILES[choice];
    let mut writers = BINARIES.iter().filter(|(_, _, source)| *source == file);
    let binary = writers.next().map(|(binary, ..)| *binary);
    let mut writer = Writer::default();
    let parts = filter(format, rest, Comments::Stay, &keeps, &mut |found| {
        if let (Some((line, position)), Some(binary)) = (found, binary) {
            binary.add(&mut writer, line, position as u32);
        }
    });
    let all = filter(format, rest, Comments::Stay, &|_| Some(0), &mut |_| {});
    assert_eq!(parts.is_ok(), all.is_ok());
    if let (Ok(parts), Ok(all)) = (parts, all) {
        assert!(parts.iter().all(|part| is_inside(rest, part)));
        let kept = parts.concat();
        let again = filter(format, &kept, Comments::Stay, &keeps, &mut |_| {})
            .expect("what is sound stays so");
        if format != IndexFormat::Record {
            assert_eq!(again.concat(), kept, "filtering once more changes nothing");
        }
        let all = all.concat();
        assert!(all == rest || format == IndexFormat::FirstWord && all.is_empty());
        let bytes = writer.write(Layout::ParentsFirst).expect("small");
        assert!(Trie::new(bytes, b"f").is_ok());
    }
    for text in rest.split(|&byte| byte == 0) {
        if let Some((pattern, module)) = record(text) {
            assert!(is_inside(text, pattern) && is_inside(text, module));
        }
    }
}

fn relations(data: &[u8]) {
    let (a, rest) = two(data);
    let (b, field) = two(rest);
    assert_eq!(compare_versions(a, b), compare_versions(b, a).reverse());
    assert!(compare_versions(a, a).is_eq());
    for group in groups(field) {
        for relation in alternatives(group).map(relation) {
            assert!(is_inside(field, relation.name) && is_inside(field, relation.version));
            let order = compare_versions(a, relation.version);
            match relation.operator {
                b"=" => assert_eq!(relation.accepts(a), order.is_eq()),
                b">>" => assert_eq!(relation.accepts(a), order.is_gt()),
                b"<<" => assert_eq!(relation.accepts(a), order.is_lt()),
                _ => drop(relation.accepts(a)),
            }
        }
    }
}

fn globs(data: &[u8]) {
    fn fits(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|eaten| fits(rest, &text[eaten..])),
            Some((b'?', rest)) => !text.is_empty() && fits(rest, &text[1..]),
            Some((byte, rest)) => text.first() == Some(byte) && fits(rest, &text[1..]),
        }
    }
    let (pattern, text) = two(data);
    let found = glob(pattern, text);
    if pattern.iter().filter(|&&byte| byte == b'*').count() < 5 && text.len() < 40 {
        assert_eq!(found, fits(pattern, text));
    }
    let (name, arch) = match pattern.iter().rposition(|&byte| byte == b':') {
        Some(colon) => (&pattern[..colon], &pattern[colon + 1..]),
        None => (pattern, &b"x"[..]),
    };
    assert_eq!(Spec::new(pattern).matches(text, arch), glob(name, text));
}

fn queue(data: &[u8]) {
    for note in notes(data, b"f").into_iter().flatten() {
        let words = note.kernels.iter().chain([&note.package, &note.mark]);
        assert!(words
            .into_iter()
            .all(|word| !word.contains(&b' ') && !word.contains(&b'\n')));
        assert!(!note.package.is_empty());
    }
    let kernels = kernels_of(data);
    assert!(kernels.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(kernels.iter().all(|kernel| !kernel.contains(&b'/')));
}

fn flags(data: &[u8]) {
    let words = lines(data).map(|(_, line)| OsString::from_vec(line.to_vec()));
    if let Err(error) = parse_flags(words) {
        assert_eq!(error.exit_code(), 2);
        assert!(error.messages().iter().all(|message| !message.is_empty()));
    }
}
