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
//! references, the others are anonymous. A line `#! base` says that the registry is complete: it
//! was made from all that a machine loads or has, and a prune may go by it. `#! keep-pruned` and
//! `#! keep-pruned apply` are standing orders, to which `#! keep-pruned firmware` adds. A reader of the
//! original format sees comments in all of them.
//! Entries borrow from the text; the file is written from them in one piece.

use crate::error::{Error, Result};
use crate::format::{decimal, new_list, push_rendered, Text};
use crate::template::Template;
use crate::text::name::ModuleName;
use crate::text::{has, lines, rfind, words};

/// The registry's file name.
pub const ACTIVE: &[u8] = b"modules.active";

/// The line that makes a registry a base.
pub const BASE: &[u8] = b"#! base";

/// The lines of standing orders; the last one adds firmware to the others.
const PRUNE: &[u8] = b"#! keep-pruned";
const APPLY: &[u8] = b"#! keep-pruned apply";
const WITH_FIRMWARE: &[u8] = b"#! keep-pruned firmware";

/// What is done again whenever a package manager has brought modules back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Nothing.
    Nothing,
    /// The kernel is pruned.
    Prune,
    /// And the packages that own its modules are forgotten or trimmed.
    Apply,
}

/// How firmly a module is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Stays, whatever packages come and go.
    Static,
    /// Stays while it has references; 0 is an entry that was removed.
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
#[derive(Debug)]
pub struct RegistryEntry {
    /// The module, in the spelling in which it came.
    pub name: ModuleName<'static>,
    /// Static, or the number of references.
    pub hold: Hold,
    /// The references that have a name; at most as many as there are references.
    pub owners: Vec<Text>,
}

/// The registry of one kernel: entries sorted by name, one for each module.
#[derive(Debug, Default)]
pub struct Registry {
    /// The text that it was read from.
    pub old: Text,
    comments: Vec<Text>,
    entries: Vec<RegistryEntry>,
    /// Those that came after the file was read, sorted as well: thousands of names that are added in
    /// their order move nothing.
    fresh: Vec<RegistryEntry>,
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

impl Registry {
    /// Reads a registry, which stays; `file` is for messages.
    ///
    /// # Errors
    /// The first malformed line.
    pub fn parse(text: Text, file: &[u8]) -> Result<&'static mut Registry> {
        let registry = Box::leak(Box::<Registry>::default());
        registry.old = text;
        let owner_lines = new_list();
        for (number, line) in lines(text) {
            if let Some(owners) = owners_in(line) {
                // They may stand above their entry, so they wait for the end.
                owner_lines.push((number, owners));
            } else if line.starts_with(b"#") {
                registry.comments.push(line);
            } else if !line.is_empty() {
                let (name, hold) =
                    parse_line(line).map_err(|what| Error::parse(file, number, what, &[]))?;
                if registry.join(name, hold).is_none() {
                    return Err(Error::parse(file, number, msg!("too many references"), &[]));
                }
            }
        }
        for &mut (number, line) in owner_lines {
            let mut line = words(line);
            let Some(name) = line.next() else {
                return Err(Error::parse(
                    file,
                    number,
                    msg!("no module name after #@"),
                    &[],
                ));
            };
            // The original tool drops an entry at zero and leaves the comment: no entry, no owners.
            let Ok(at) = position(&registry.entries, ModuleName::new(name)) else {
                continue;
            };
            let entry = &mut registry.entries[at];
            for owner in line {
                if !is_owner(owner) {
                    let what = msg!("not a package name: {}");
                    return Err(Error::parse(file, number, what, &[owner]));
                }
                add_owner(&mut entry.owners, owner);
            }
            // A count edited by hand below its owners would release a module too early.
            entry.raise_to_owners();
        }
        Ok(registry)
    }

    /// The modules that were registered when the file was read, sorted.
    pub fn entries(&self) -> &[RegistryEntry] {
        &self.entries
    }

    /// All that will be registered.
    pub fn all(&self) -> impl Iterator<Item = &RegistryEntry> {
        self.entries.iter().chain(&self.fresh)
    }

    /// Whether it tells all that the machine needs: a static entry or the line that says so.
    pub fn is_base(&self) -> bool {
        let is_static = |entry: &RegistryEntry| entry.hold == Hold::Static;
        self.says_base() || self.all().any(is_static)
    }

    /// Whether it has the line that makes it one, whatever its entries.
    pub fn says_base(&self) -> bool {
        self.comments.contains(&BASE)
    }

    /// Makes it one that does.
    pub fn make_base(&mut self) {
        if !self.says_base() {
            self.comments.push(BASE);
        }
    }

    /// Its standing order.
    pub fn standing(&self) -> Standing {
        match (
            self.comments.contains(&APPLY),
            self.comments.contains(&PRUNE),
        ) {
            (true, _) => Standing::Apply,
            (false, true) => Standing::Prune,
            (false, false) => Standing::Nothing,
        }
    }

    /// Gives it a standing order, of firmware too if that is so, unless it has one that orders more.
    pub fn order(&mut self, wanted: Standing, is_firmware: bool) {
        let old = (self.standing(), self.orders_firmware());
        let new = (wanted.max(old.0), is_firmware || old.1);
        if new == old {
            return;
        }
        self.end_order();
        match new.0 {
            Standing::Apply => self.comments.push(APPLY),
            Standing::Prune => self.comments.push(PRUNE),
            Standing::Nothing => {}
        }
        if new.1 {
            self.comments.push(WITH_FIRMWARE);
        }
    }

    /// Whether that is of firmware, too.
    pub fn orders_firmware(&self) -> bool {
        self.comments.contains(&WITH_FIRMWARE)
    }

    /// Ends its standing order.
    pub fn end_order(&mut self) {
        let orders = [PRUNE, APPLY, WITH_FIRMWARE];
        self.comments.retain(|comment| !orders.contains(comment));
    }

    /// How many modules are registered.
    pub fn count(&self) -> usize {
        self.all()
            .filter(|entry| entry.hold != Hold::Dynamic(0))
            .count()
    }

    /// The entry of a module.
    pub fn find(&self, name: ModuleName<'_>) -> Option<&RegistryEntry> {
        let list = [&self.entries, &self.fresh];
        let found = list
            .iter()
            .find_map(|list| position(list, name).ok().map(|at| &list[at]));
        found.filter(|entry| entry.hold != Hold::Dynamic(0))
    }

    fn find_mut(&mut self, name: ModuleName<'_>) -> Option<&mut RegistryEntry> {
        match position(&self.entries, name) {
            Ok(at) => Some(&mut self.entries[at]),
            Err(_) => match position(&self.fresh, name) {
                Ok(at) => Some(&mut self.fresh[at]),
                Err(_) => None,
            },
        }
    }

    /// The entry of a module, which is one that was removed if there was none.
    fn entry(&mut self, name: ModuleName<'static>) -> &mut RegistryEntry {
        if let Ok(at) = position(&self.entries, name) {
            return &mut self.entries[at];
        }
        let at = position(&self.fresh, name).unwrap_or_else(|at| {
            self.fresh
                .insert(at, RegistryEntry::new(name, Hold::Dynamic(0)));
            at
        });
        &mut self.fresh[at]
    }

    /// Joins a line with one before it if both name one module, perhaps in two spellings: their
    /// references were counted apart, so they add up. `None` where they exceed the count.
    fn join(&mut self, name: ModuleName<'static>, hold: Hold) -> Option<()> {
        match position(&self.entries, name) {
            Ok(at) => {
                let joined = &mut self.entries[at].hold;
                *joined = match (*joined, hold) {
                    (Hold::Dynamic(a), Hold::Dynamic(b)) => Hold::Dynamic(a.checked_add(b)?),
                    _ => Hold::Static,
                };
            }
            // Written by us, the lines are sorted, and each comes to the end.
            Err(at) => self.entries.insert(at, RegistryEntry::new(name, hold)),
        }
        Some(())
    }

    /// Adds a reference: static, or one more by `owner`, who counts once, or by nobody.
    pub fn add(&mut self, name: ModuleName<'static>, wanted: Hold, owner: Option<Text>) -> Added {
        let entry = self.entry(name);
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
    pub fn merge(&mut self, name: ModuleName<'static>, other: &RegistryEntry) {
        let entry = self.entry(name);
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
        let Some(entry) = self.find_mut(name) else {
            return Removed::NotRegistered;
        };
        let owned = owner.map(|owner| entry.owners.iter().position(|other| *other == owner));
        if let Some(Some(owned)) = owned {
            entry.owners.remove(owned);
        }
        match (entry.hold, owned) {
            (Hold::Static, _) => Removed::StaysStatic,
            (Hold::Dynamic(0), _) | (_, Some(None)) => Removed::NotRegistered,
            (Hold::Dynamic(count), None) if count as usize <= entry.owners.len() => {
                Removed::OwnedByOthers
            }
            (Hold::Dynamic(count), _) => {
                entry.hold = Hold::Dynamic(count - 1);
                Removed::Changed
            }
        }
    }

    /// The file that says all this.
    pub fn to_text(&self) -> Text {
        let text = new_list();
        for comment in &self.comments {
            text.extend_from_slice(comment);
            text.push(b'\n');
        }
        let (mut entries, mut fresh) = (&self.entries[..], &self.fresh[..]);
        loop {
            let rest = match (entries.first(), fresh.first()) {
                (None, None) => return text,
                (Some(old), Some(new)) if old.name < new.name => &mut entries,
                (_, Some(_)) => &mut fresh,
                (Some(_), None) => &mut entries,
            };
            rest[0].push(text);
            *rest = &rest[1..];
        }
    }
}

impl RegistryEntry {
    fn new(name: ModuleName<'static>, hold: Hold) -> Self {
        RegistryEntry {
            name,
            hold,
            owners: Vec::new(),
        }
    }

    /// Writes the entry, unless it was removed.
    fn push(&self, text: &mut Vec<u8>) {
        if self.hold == Hold::Dynamic(0) {
            return;
        }
        let start = text.len();
        text.extend(self.name.kernel_bytes());
        let end = text.len();
        push_rendered(text, b":{}\n", &[self.hold.to_text()]);
        if !self.owners.is_empty() {
            text.extend_from_slice(b"#@ ");
            text.extend_from_within(start..end);
            for owner in &self.owners {
                push_rendered(text, b" {}", &[owner]);
            }
            text.push(b'\n');
        }
    }

    fn raise_to_owners(&mut self) {
        if let Hold::Dynamic(count) = self.hold {
            let owners = u32::try_from(self.owners.len()).unwrap_or(u32::MAX);
            self.hold = Hold::Dynamic(count.max(owners));
        }
    }
}

fn position(entries: &[RegistryEntry], name: ModuleName<'_>) -> core::result::Result<usize, usize> {
    entries.binary_search_by(|entry| entry.name.cmp(&name))
}

fn add_owner(owners: &mut Vec<Text>, owner: Text) {
    if let Err(at) = owners.binary_search(&owner) {
        owners.insert(at, owner);
    }
}

/// Takes the line of an entry apart, or says what is wrong with it.
fn parse_line(line: Text) -> core::result::Result<(ModuleName<'static>, Hold), Template> {
    if line.ends_with(b"\r") {
        return Err(msg!("the line ends in a carriage return (CRLF)"));
    }
    let Some(colon) = rfind(line, b':') else {
        return Err(msg!("neither NAME:S nor NAME:NUMBER"));
    };
    let name = ModuleName::new(&line[..colon]);
    if !name.is_storable() {
        return Err(msg!("not a module name before the ':'"));
    }
    match parse_hold(&line[colon + 1..]) {
        Some(hold) => Ok((name, hold)),
        None => Err(msg!(
            "neither S nor a number from 1 to 4294967295 after the ':'"
        )),
    }
}

/// What comes after `#@`; a comment that goes on without a blank is a comment.
fn owners_in(line: Text) -> Option<Text> {
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
    if text.is_empty() {
        return None;
    }
    let mut number = 0_u32;
    for byte in text {
        let digit = byte.checked_sub(b'0').filter(|&digit| digit < 10)?;
        number = number.checked_mul(10)?.checked_add(digit.into())?;
    }
    Some(number)
}

/// Whether a registry can hold the name of an owner: a package name, with `:arch` or without
/// (Debian Policy 5.6.7, and wide enough for opkg's).
pub fn is_owner(owner: &[u8]) -> bool {
    !owner.is_empty()
        && owner
            .iter()
            .all(|&b| b.is_ascii_alphanumeric() || has(b"+-._:~", b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::format::keep;

    fn name(text: &'static str) -> ModuleName<'static> {
        ModuleName::new(text.as_bytes())
    }

    fn parsed(text: &str) -> &'static mut Registry {
        Registry::parse(keep(text.as_bytes()), b"f").unwrap()
    }

    fn written(registry: &Registry) -> String {
        String::from_utf8(registry.to_text().to_vec()).unwrap()
    }

    #[test]
    fn the_designed_example_is_read_and_written_unchanged() {
        let text =
            "# comments stay, at the top\next4:S\nhci_nokia:2\n#@ hci_nokia myapp otherapp\n";
        assert_eq!(written(parsed(text)), text);
    }

    #[test]
    fn an_old_file_is_normalised() {
        let old = "snd-hda-intel:1\next4:S\n\n# note\nsnd_hda_intel:2\n";
        assert_eq!(written(parsed(old)), "# note\next4:S\nsnd_hda_intel:3\n");
        assert_eq!(
            written(parsed("#@ a x y\n#@ gone z\na-b:1\na:1")),
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
            let error = Registry::parse(keep(text.as_bytes()), b"f").unwrap_err();
            assert!(
                matches!(error.kind(), ErrorKind::Parse { line: 2.. }),
                "{bad}"
            );
        }
    }

    #[test]
    fn merging_twice_changes_nothing_more() {
        let registry = parsed("a:3\n#@ a p q\nb:1\n");
        let other = parsed("a:2\n#@ a q r\nb:S\nc-d:1\n#@ c_d p\n");
        for _ in 0..2 {
            for entry in other.entries() {
                registry.merge(entry.name, entry);
            }
            let wanted = "a:3\n#@ a p q r\nb:S\nc_d:1\n#@ c_d p\n";
            assert_eq!(written(registry), wanted);
        }
    }

    #[test]
    fn an_owner_counts_once() {
        let registry = parsed("");
        let one = Hold::Dynamic(1);
        assert_eq!(registry.add(name("a-b"), one, Some(b"p")), Added::Changed);
        assert_eq!(registry.add(name("a_b"), one, Some(b"p")), Added::Same);
        assert_eq!(registry.add(name("a_b"), one, Some(b"q")), Added::Changed);
        assert_eq!(registry.add(name("a_b"), one, None), Added::Changed);
        assert_eq!(written(registry), "a_b:3\n#@ a_b p q\n");
        assert_eq!(
            registry.remove(name("a_b"), Some(b"r")),
            Removed::NotRegistered
        );
        assert_eq!(registry.remove(name("a_b"), None), Removed::Changed);
        assert_eq!(registry.remove(name("a_b"), None), Removed::OwnedByOthers);
        assert_eq!(registry.remove(name("a-b"), Some(b"p")), Removed::Changed);
        assert_eq!(written(registry), "a_b:1\n#@ a_b q\n");
        assert_eq!(registry.remove(name("a_b"), Some(b"q")), Removed::Changed);
        assert_eq!(written(registry), "");
        assert_eq!(registry.remove(name("a_b"), None), Removed::NotRegistered);
    }

    #[test]
    fn static_wins_and_keeps_the_owners() {
        let registry = parsed("a:2\n#@ a p\n");
        assert_eq!(registry.add(name("a"), Hold::Static, None), Added::Changed);
        assert_eq!(
            registry.add(name("a"), Hold::Dynamic(1), Some(b"q")),
            Added::StaysStatic
        );
        assert_eq!(written(registry), "a:S\n#@ a p\n");
        assert_eq!(registry.remove(name("a"), Some(b"p")), Removed::StaysStatic);
        assert_eq!(registry.remove(name("a"), None), Removed::StaysStatic);
        assert_eq!(written(registry), "a:S\n");
    }

    #[test]
    fn a_count_at_its_limit_does_not_wrap() {
        let registry = parsed("a:4294967295\n");
        assert_eq!(
            registry.add(name("a"), Hold::Dynamic(1), None),
            Added::Overflow
        );
        assert_eq!(written(registry), "a:4294967295\n");
    }

    #[test]
    fn what_is_written_is_read_back_the_same() {
        let vocabulary: [&[u8]; 9] = [b"a", b"-", b":", b"S", b"2", b"#", b"@", b" ", b"\n"];
        crate::text::tests::every_text(&vocabulary, 6, &mut |text| {
            if let Ok(registry) = Registry::parse(keep(text), b"f") {
                let once = registry.to_text();
                let again = Registry::parse(once, b"f").unwrap().to_text();
                assert_eq!(once, again);
            }
        });
    }
}
