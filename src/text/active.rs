//! `modules.active`: which modules of one kernel must stay, and who says so.
//!
//! ```text
//! # comments stay, at the top
//! ext4:S
//! hci_nokia:2
//! #@ hci_nokia myapp otherapp
//! ```
//!
//! `name:S` is static, `name:N` dynamic with N ≥ 1 references. `#@` names owners among the
//! references, the others are anonymous; a reader of the original format sees a comment.
//! Entries borrow from the text; the file is written from them in one piece.

use crate::error::{Error, Result};
use crate::format::{decimal, Text};
use crate::text::name::ModuleName;
use crate::text::{lines, words};

/// How firmly a module is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Stays, whatever packages come and go.
    Static,
    /// Stays while it has references; never 0.
    Dynamic(u32),
}

impl Hold {
    /// `S` or the number of references.
    pub fn to_text(self) -> Text {
        match self {
            Hold::Static => b"S",
            Hold::Dynamic(count) => decimal(count as usize),
        }
    }
}

/// A registered module.
#[derive(Clone, Debug)]
pub struct Entry<'t> {
    /// The module, in the spelling in which it came.
    pub name: ModuleName<'t>,
    /// Static, or the number of references.
    pub hold: Hold,
    /// The references that have a name; at most as many as there are references.
    pub owners: Vec<&'t [u8]>,
}

/// The registry of one kernel: entries sorted by name, one for each module.
#[derive(Clone, Debug, Default)]
pub struct Registry<'t> {
    comments: Vec<&'t [u8]>,
    entries: Vec<Entry<'t>>,
}

/// What became of a module when a reference was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// The registry changed.
    Changed,
    /// It was there already, in the same way.
    Same,
    /// A dynamic reference on a static entry, which needs none.
    StaysStatic,
    /// The count is at the limit of its type; nothing changed.
    Overflow,
}

/// What became of a module when a reference was taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// One reference less; at zero the entry went.
    Changed,
    /// The module is not registered, or not by this owner.
    NotRegistered,
    /// A static entry stays (its owner, if it had this one, is forgotten).
    StaysStatic,
    /// Every reference left has another owner; an anonymous caller may not take it.
    OwnedByOthers,
}

impl<'t> Registry<'t> {
    /// Reads a registry; `file` is for messages.
    ///
    /// # Errors
    /// The first malformed line.
    pub fn parse(text: &'t [u8], file: &[u8]) -> Result<Self> {
        let mut registry = Registry::default();
        let mut owner_lines = Vec::new();
        for (number, line) in lines(text) {
            let fail = |what: &[u8]| Err(Error::parse(file, number, "{}", &[what]));
            if let Some(owners) = owners_in(line) {
                // They may stand above their entry, so they wait for the end.
                owner_lines.push((number, owners));
            } else if line.is_empty() {
            } else if line.starts_with(b"#") {
                registry.comments.push(line);
            } else if line.ends_with(b"\r") {
                return fail(b"the line ends in a carriage return (CRLF)");
            } else {
                let Some(colon) = memchr::memrchr(b':', line) else {
                    return fail(b"neither NAME:S nor NAME:NUMBER");
                };
                let name = ModuleName::new(&line[..colon]);
                if !name.is_storable() {
                    return fail(b"not a module name before the ':'");
                }
                let Some(hold) = parse_hold(&line[colon + 1..]) else {
                    return fail(b"neither S nor a number from 1 to 4294967295 behind the ':'");
                };
                if registry.merge_hold(name, hold).is_none() {
                    return fail(b"too many references");
                }
            }
        }
        for (number, line) in owner_lines {
            let mut line = words(line);
            let Some(name) = line.next() else {
                return Err(Error::parse(file, number, "no module name behind #@", &[]));
            };
            // The original tool drops an entry at zero and leaves the comment: no entry, no owners.
            let Ok(at) = registry.position(ModuleName::new(name)) else {
                continue;
            };
            for owner in line {
                if !is_owner(owner) {
                    return Err(Error::parse(
                        file,
                        number,
                        "not a package name: {}",
                        &[owner],
                    ));
                }
                add_owner(&mut registry.entries[at].owners, owner);
            }
            // A count edited by hand below its owners would release a module too early.
            registry.entries[at].raise_to_owners();
        }
        Ok(registry)
    }

    /// The registered modules, sorted.
    pub fn entries(&self) -> &[Entry<'t>] {
        &self.entries
    }

    /// The entry of a module.
    pub fn find(&self, name: ModuleName<'_>) -> Option<&Entry<'t>> {
        self.position(name).ok().map(|at| &self.entries[at])
    }

    /// The modules that an owner has a reference to.
    pub fn owned_by(&self, owner: &[u8]) -> Vec<ModuleName<'t>> {
        let entries = self.entries.iter();
        let owned = entries.filter(|entry| entry.owners.contains(&owner));
        owned.map(|entry| entry.name).collect()
    }

    fn position(&self, name: ModuleName<'_>) -> core::result::Result<usize, usize> {
        self.entries.binary_search_by(|entry| entry.name.cmp(&name))
    }

    /// Joins two lines of one file that name one module in two spellings: their references
    /// were counted apart, so they add up. `None` where they exceed the count.
    fn merge_hold(&mut self, name: ModuleName<'t>, hold: Hold) -> Option<()> {
        match self.position(name) {
            Ok(at) => {
                let entry = &mut self.entries[at];
                entry.hold = match (entry.hold, hold) {
                    (Hold::Dynamic(a), Hold::Dynamic(b)) => Hold::Dynamic(a.checked_add(b)?),
                    _ => Hold::Static,
                };
            }
            Err(at) => self.entries.insert(at, Entry::new(name, hold)),
        }
        Some(())
    }

    /// Adds a reference: static, or one more by `owner`, who counts once, or by nobody.
    pub fn add(&mut self, name: ModuleName<'t>, wanted: Hold, owner: Option<&'t [u8]>) -> Added {
        let at = match self.position(name) {
            Ok(at) => at,
            Err(at) => {
                let mut entry = Entry::new(name, wanted);
                // A static entry counts nobody.
                if wanted != Hold::Static {
                    entry.owners.extend(owner);
                }
                self.entries.insert(at, entry);
                return Added::Changed;
            }
        };
        let entry = &mut self.entries[at];
        match (entry.hold, wanted) {
            (Hold::Static, Hold::Static) => Added::Same,
            (Hold::Static, Hold::Dynamic(_)) => Added::StaysStatic,
            (Hold::Dynamic(_), Hold::Static) => {
                entry.hold = Hold::Static;
                Added::Changed
            }
            (Hold::Dynamic(count), Hold::Dynamic(_)) => {
                if owner.map_or(false, |owner| entry.owners.contains(&owner)) {
                    return Added::Same;
                }
                let Some(more) = count.checked_add(1) else {
                    return Added::Overflow;
                };
                entry.hold = Hold::Dynamic(more);
                if let Some(owner) = owner {
                    add_owner(&mut entry.owners, owner);
                }
                Added::Changed
            }
        }
    }

    /// Joins an entry of another registry, so that doing it twice changes nothing: static wins,
    /// the larger count stays, and the owners of both are owners.
    pub fn merge(&mut self, name: ModuleName<'t>, other: &Entry<'t>) {
        let at = self.position(name).unwrap_or_else(|at| {
            self.entries.insert(at, Entry::new(name, other.hold));
            at
        });
        let entry = &mut self.entries[at];
        entry.hold = match (entry.hold, other.hold) {
            (Hold::Dynamic(a), Hold::Dynamic(b)) => Hold::Dynamic(a.max(b)),
            _ => Hold::Static,
        };
        for owner in &other.owners {
            add_owner(&mut entry.owners, owner);
        }
        entry.raise_to_owners();
    }

    /// Takes one reference away, that of `owner` or an anonymous one.
    pub fn remove(&mut self, name: ModuleName<'_>, owner: Option<&[u8]>) -> Removed {
        let Ok(at) = self.position(name) else {
            return Removed::NotRegistered;
        };
        let entry = &mut self.entries[at];
        let owned = owner.map(|owner| entry.owners.iter().position(|other| *other == owner));
        if let Some(Some(owned)) = owned {
            entry.owners.remove(owned);
        }
        let Hold::Dynamic(count) = entry.hold else {
            return Removed::StaysStatic;
        };
        match owned {
            Some(None) => return Removed::NotRegistered,
            None if count as usize <= entry.owners.len() => return Removed::OwnedByOthers,
            _ => {}
        }
        if count <= 1 {
            self.entries.remove(at);
        } else {
            entry.hold = Hold::Dynamic(count - 1);
        }
        Removed::Changed
    }

    /// The file that says all this.
    pub fn to_text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for comment in &self.comments {
            text.extend_from_slice(comment);
            text.push(b'\n');
        }
        for entry in &self.entries {
            text.extend(entry.name.kernel_bytes());
            text.push(b':');
            text.extend_from_slice(&entry.hold.to_text());
            text.push(b'\n');
            if !entry.owners.is_empty() {
                text.extend_from_slice(b"#@ ");
                text.extend(entry.name.kernel_bytes());
                for owner in &entry.owners {
                    text.push(b' ');
                    text.extend_from_slice(owner);
                }
                text.push(b'\n');
            }
        }
        text
    }
}

impl<'t> Entry<'t> {
    fn new(name: ModuleName<'t>, hold: Hold) -> Self {
        Entry {
            name,
            hold,
            owners: Vec::new(),
        }
    }

    fn raise_to_owners(&mut self) {
        if let Hold::Dynamic(count) = self.hold {
            let owners = u32::try_from(self.owners.len()).unwrap_or(u32::MAX);
            self.hold = Hold::Dynamic(count.max(owners));
        }
    }
}

fn add_owner<'t>(owners: &mut Vec<&'t [u8]>, owner: &'t [u8]) {
    if let Err(at) = owners.binary_search(&owner) {
        owners.insert(at, owner);
    }
}

/// What stands behind `#@`; a comment that goes on without a blank is a comment.
fn owners_in(line: &[u8]) -> Option<&[u8]> {
    let owners = line.strip_prefix(b"#@")?;
    matches!(owners.first(), None | Some(b' ' | b'\t')).then_some(owners)
}

/// `S`, or a number from 1 on that fits.
pub fn parse_hold(text: &[u8]) -> Option<Hold> {
    if text == b"S" {
        return Some(Hold::Static);
    }
    match parse_number(text)? {
        0 => None,
        count => Some(Hold::Dynamic(count)),
    }
}

/// A decimal number of digits alone that fits.
pub fn parse_number(text: &[u8]) -> Option<u32> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    core::str::from_utf8(text).ok()?.parse().ok()
}

/// Whether a registry can hold the name of an owner: a package name, with `:arch` or without
/// (Debian Policy 5.6.7, and wide enough for opkg's).
pub fn is_owner(owner: &[u8]) -> bool {
    !owner.is_empty()
        && owner
            .iter()
            .all(|&b| b.is_ascii_alphanumeric() || b"+-._:~".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn name(text: &str) -> ModuleName<'_> {
        ModuleName::new(text.as_bytes())
    }

    fn parsed(text: &str) -> Registry<'_> {
        Registry::parse(text.as_bytes(), b"f").unwrap()
    }

    fn written(registry: &Registry) -> String {
        String::from_utf8(registry.to_text()).unwrap()
    }

    #[test]
    fn the_designed_example_is_read_and_written_unchanged() {
        let text =
            "# comments stay, at the top\next4:S\nhci_nokia:2\n#@ hci_nokia myapp otherapp\n";
        assert_eq!(written(&parsed(text)), text);
    }

    #[test]
    fn an_old_file_is_normalised() {
        let old = "snd-hda-intel:1\next4:S\n\n# note\nsnd_hda_intel:2\n";
        assert_eq!(written(&parsed(old)), "# note\next4:S\nsnd_hda_intel:3\n");
        assert_eq!(
            written(&parsed("#@ a x y\n#@ gone z\na-b:1\na:1")),
            "a:2\n#@ a x y\na_b:1\n"
        );
    }

    #[test]
    fn malformed_lines_are_errors_with_their_number() {
        for bad in [
            "a",
            "a:",
            ":1",
            "a:0",
            "a:-1",
            "a:4294967296",
            "a:S\r",
            "a b:1",
            "a:s",
            "#@",
            "a:1\n#@ a x/y",
            "a:4294967295\nA:1\na:1",
        ] {
            let text = format!("# top\n{bad}\n");
            let error = Registry::parse(text.as_bytes(), b"f").unwrap_err();
            assert!(
                matches!(error.kind(), ErrorKind::Parse { line: 2.. }),
                "{bad}"
            );
        }
    }

    #[test]
    fn merging_twice_changes_nothing_more() {
        let mut registry = parsed("a:3\n#@ a p q\nb:1\n");
        let other = parsed("a:2\n#@ a q r\nb:S\nc-d:1\n#@ c_d p\n");
        for _ in 0..2 {
            for entry in other.entries() {
                registry.merge(entry.name, entry);
            }
            let wanted = "a:3\n#@ a p q r\nb:S\nc_d:1\n#@ c_d p\n";
            assert_eq!(written(&registry), wanted);
        }
    }

    #[test]
    fn an_owner_counts_once() {
        let mut registry = parsed("");
        let one = Hold::Dynamic(1);
        assert_eq!(registry.add(name("a-b"), one, Some(b"p")), Added::Changed);
        assert_eq!(registry.add(name("a_b"), one, Some(b"p")), Added::Same);
        assert_eq!(registry.add(name("a_b"), one, Some(b"q")), Added::Changed);
        assert_eq!(registry.add(name("a_b"), one, None), Added::Changed);
        assert_eq!(written(&registry), "a_b:3\n#@ a_b p q\n");
        assert_eq!(
            registry.remove(name("a_b"), Some(b"r")),
            Removed::NotRegistered
        );
        assert_eq!(registry.remove(name("a_b"), None), Removed::Changed);
        assert_eq!(registry.remove(name("a_b"), None), Removed::OwnedByOthers);
        assert_eq!(registry.remove(name("a-b"), Some(b"p")), Removed::Changed);
        assert_eq!(written(&registry), "a_b:1\n#@ a_b q\n");
        assert_eq!(registry.remove(name("a_b"), Some(b"q")), Removed::Changed);
        assert_eq!(written(&registry), "");
        assert_eq!(registry.remove(name("a_b"), None), Removed::NotRegistered);
    }

    #[test]
    fn static_wins_and_keeps_the_owners() {
        let mut registry = parsed("a:2\n#@ a p\n");
        assert_eq!(registry.add(name("a"), Hold::Static, None), Added::Changed);
        assert_eq!(
            registry.add(name("a"), Hold::Dynamic(1), Some(b"q")),
            Added::StaysStatic
        );
        assert_eq!(written(&registry), "a:S\n#@ a p\n");
        assert_eq!(registry.remove(name("a"), Some(b"p")), Removed::StaysStatic);
        assert_eq!(registry.remove(name("a"), None), Removed::StaysStatic);
        assert_eq!(written(&registry), "a:S\n");
    }

    #[test]
    fn a_count_at_its_limit_does_not_wrap() {
        let mut registry = parsed("a:4294967295\n");
        assert_eq!(
            registry.add(name("a"), Hold::Dynamic(1), None),
            Added::Overflow
        );
        assert_eq!(written(&registry), "a:4294967295\n");
    }

    #[test]
    fn what_is_written_is_read_back_the_same() {
        let vocabulary: [&[u8]; 9] = [b"a", b"-", b":", b"S", b"2", b"#", b"@", b" ", b"\n"];
        crate::text::tests::every_text(&vocabulary, 6, &mut |text| {
            if let Ok(registry) = Registry::parse(text, b"f") {
                let once = registry.to_text();
                let again = Registry::parse(&once, b"f").unwrap().to_text();
                assert_eq!(once, again);
            }
        });
    }
}
