//! A file of names (`--from`): a census, a registry, a copy of /proc/modules, lsmod's output, or
//! plain names.
//!
//! The first word of a line is a module or an alias. A `?` for the second word says that it may
//! be missing: a census writes it after the names of drivers and modules, because another
//! kernel may have them built in or call them otherwise. An alias may always be missing.
//! `NAME:S`, `NAME:N`, `#@` and `#!` are lines of a registry; other lines that begin with `#` or `;`
//! are comments. A census says in its first line that it is one, and has no such lines.
//!
//! In a file without that line, as `sort` or `grep` leave a census, aliases such as `platform:8250`
//! look like those lines. They are none because no module has the name of such a bus, and no count
//! of references has that many digits (`mdio:00000000001110110001100001100001`). Other buses have
//! no aliases of digits alone, and some have a module of their name (`hid:2`, `virtio:S`).

use crate::error::{Error, Result};
use crate::format::Text;
use crate::text::active::parse_hold;
use crate::text::alias::is_alias;
use crate::text::{has, is_control, lines, split_at_byte, words};

/// The first line of a census.
pub const CENSUS: &[u8] = b"# limopack census";

/// What a missing name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// An error.
    Required,
    /// Nothing to speak of.
    Optional,
}

/// A name or alias that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// The name, as it was given.
    pub given: Text,
    /// What it is where no kernel has it.
    pub presence: Presence,
    /// Its line, from 1; 0 for one of the command line.
    pub line: usize,
}

/// What a file of names holds.
#[derive(Default)]
pub struct Names {
    /// The names and aliases, in the file's order.
    pub names: Vec<Want>,
    /// The registry lines, with their numbers kept by empty lines in place of the others.
    pub registry: Vec<u8>,
    /// How many registry lines there are.
    pub registered: usize,
}

/// Reads a file of names; `file` is for messages.
///
/// # Errors
/// A name that can be none.
pub fn parse(text: Text, file: &[u8]) -> Result<&'static mut Names> {
    let is_census = text.starts_with(CENSUS);
    let found = Box::leak(Box::<Names>::default());
    for (number, line) in lines(text) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let is_registered = !is_census && is_registry_line(line);
        if is_registered {
            found.registry.extend_from_slice(line);
            found.registered += 1;
        }
        found.registry.push(b'\n');
        if is_registered || line.starts_with(b"#") || line.starts_with(b";") {
            continue;
        }
        let mut words = words(line);
        let Some(given) = words.next() else {
            continue;
        };
        let second = words.next();
        if given == b"Module" && second == Some(b"Size") {
            continue; // the head of lsmod's table
        }
        if given.iter().any(|&byte| is_control(byte)) {
            return Err(Error::parse(
                file,
                number,
                msg!("control bytes in a name"),
                &[],
            ));
        }
        let is_optional = second == Some(b"?") || is_alias(given);
        let presence = match is_optional {
            true => Presence::Optional,
            false => Presence::Required,
        };
        let line = number;
        found.names.push(Want {
            given,
            presence,
            line,
        });
    }
    Ok(found)
}

/// Buses with aliases that may be a number, and without a module of their name.
const BUSES: &[u8] = b"platform acpi pci usb of i2c spi cpu dmi pnp";

/// As many digits as a count has.
const MOST_DIGITS: usize = 10;

fn is_registry_line(line: &[u8]) -> bool {
    if line.starts_with(b"#@") || line.starts_with(b"#! ") {
        return true;
    }
    let (name, hold) = split_at_byte(line, b':');
    parse_hold(hold).is_some()
        && hold.len() <= MOST_DIGITS
        && !name.is_empty()
        && !name.iter().any(|&b| has(b"# \t", b))
        && words(BUSES).all(|bus| bus != name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{kind_of, ErrorKind};
    use crate::format::keep;
    use crate::text::active::Registry;

    fn registry(names: &Names) -> Result<&'static mut Registry> {
        Registry::parse(keep(&names.registry), b"f")
    }

    fn named(text: &str) -> Vec<(String, Presence)> {
        let names = &parse(keep(text.as_bytes()), b"f").unwrap().names;
        let owned = |want: &Want| (String::from_utf8_lossy(want.given).into(), want.presence);
        names.iter().map(owned).collect()
    }

    #[test]
    fn owners_without_a_module_are_an_error_and_no_comment() {
        for text in [&b"a:1\n#@\n"[..], b"#@\n", b"a:1\n#@\n#! base\n"] {
            assert!(registry(parse(text, b"f").unwrap()).is_err());
        }
        assert_eq!(parse(b"#!/bin/sh\na\n", b"f").unwrap().registered, 0);
    }

    #[test]
    fn the_first_word_of_every_kind_of_file_is_the_name() {
        let must = |name: &str| (name.to_string(), Presence::Required);
        let may = |name: &str| (name.to_string(), Presence::Optional);
        let proc = "ext4 970752 1 - Live 0xffffffffc0a10000\n";
        assert_eq!(named(proc), [must("ext4")]);
        let lsmod = "Module                  Size  Used by\next4  970752  1\n";
        assert_eq!(named(lsmod), [must("ext4")]);
        let plain = "# c\n; c\n\nsnd-hda-intel\r\n  e1000e\npci:v1d2\nfs-ext4\nfs_enet\n";
        let wanted = [
            must("snd-hda-intel"),
            must("e1000e"),
            may("pci:v1d2"),
            may("fs-ext4"),
            must("fs_enet"),
        ];
        assert_eq!(named(plain), wanted);
        let census = "# limopack census\nplatform:8250\ne1000e ?\n";
        assert_eq!(named(census), [may("platform:8250"), may("e1000e")]);
    }

    /// A part of a census, sorted, without its head: `platform` was registered, and no module has
    /// that name.
    #[test]
    fn aliases_of_a_number_are_no_registry_lines() {
        let text =
            "platform:8250\nmdio:00000000000000000000000100001010\ni2c:5000\nhid:2\nvirtio:S\na:01\n";
        let names = parse(text.as_bytes(), b"f").unwrap();
        let wanted: [Text; 3] = [
            b"platform:8250",
            b"mdio:00000000000000000000000100001010",
            b"i2c:5000",
        ];
        let given = names.names.iter().map(|want| want.given);
        assert!(given.eq(wanted));
        let is_optional = |want: &Want| want.presence == Presence::Optional;
        assert!(names.names.iter().all(is_optional));
        assert_eq!(names.registry, b"\n\n\nhid:2\nvirtio:S\na:01\n"[..]);
        // Nor in a census, whatever its aliases look like.
        assert_eq!(named("# limopack census\nhid:2\n").len(), 1);
    }

    #[test]
    fn registry_lines_are_taken_apart_with_their_numbers() {
        let text = b"# top\next4:S\nvfat\nhci_nokia:2\n#@ hci_nokia myapp\n";
        let names = parse(keep(text), b"f").unwrap();
        let wanted = Want {
            given: b"vfat",
            presence: Presence::Required,
            line: 3,
        };
        assert_eq!(names.names, [wanted]);
        assert_eq!(names.registered, 3);
        assert_eq!(
            names.registry,
            b"\next4:S\n\nhci_nokia:2\n#@ hci_nokia myapp\n"
        );
        assert_eq!(registry(names).unwrap().entries().len(), 2);
        let bad = parse(b"a:1\n#@ a b/c\n", b"f").unwrap();
        assert_eq!(kind_of(registry(bad)), Some(ErrorKind::Parse { line: 2 }));
    }

    #[test]
    fn no_text_panics() {
        let vocabulary: [&[u8]; 8] = [b"a", b":S", b":1", b" ", b"\n", b"#@", b"?", b"\x01"];
        crate::text::tests::every_text(&vocabulary, 5, &mut |text| {
            if let Ok(names) = parse(keep(text), b"f") {
                let _ = registry(names);
            }
        });
    }
}
