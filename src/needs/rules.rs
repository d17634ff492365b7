//! Which modules are needed beyond modules.dep: softdeps and weakdeps of modprobe.d and of the
//! modules themselves, and the hidden table, in one index by module name.
//!
//! modprobe.d is five directories. A file hides those of the same name in later directories;
//! what is left is read in the order of the names, modules.softdep and modules.weakdep of the
//! kernel among them. (kmod: libkmod/libkmod-config.c, `kmod_config_new`)

use crate::error::{ErrorKind, Result};
use crate::format::{fill, Text};
use crate::needs::hidden;
use crate::system::{Folder, Root};
use crate::text::alias::{is_wild, matches};
use crate::text::modprobe::{commands, joined, Kind};
use crate::text::name::{ModuleName, ModulePath};
use crate::text::words;
use rustix::fs::FileType;

/// How one module needs another, in the order in which it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// It does not load without (modules.dep).
    Dependency,
    /// modprobe loads it, too (softdep).
    Soft,
    /// It may ask for it later (weakdep).
    Weak,
    /// It asks for it, and nothing says so but our table.
    Hidden,
}

/// What a module needs beyond modules.dep.
#[derive(Clone, Copy)]
pub struct Rule {
    /// How it needs that.
    pub need: Need,
    /// Modules or aliases, for [`crate::text::modprobe::targets`].
    pub targets: &'static [u8],
    name: ModuleName<'static>,
    hash: u32,
}

/// The rules for one kernel.
#[derive(Default)]
pub struct Rules {
    rules: Vec<Rule>,
    /// Positions in `rules` + 1 by hash of the name; 0 is free. A power of two, half empty.
    slots: Vec<u32>,
    /// The positions of rules whose name is a pattern.
    patterns: Vec<usize>,
    /// The aliases of modprobe.d: pattern and module.
    aliases: Vec<(&'static [u8], &'static [u8])>,
}

/// Earlier ones hide files of later ones. (The last two are one directory on most systems.)
const MODPROBE: &[&[u8]] = &[
    b"etc/modprobe.d",
    b"run/modprobe.d",
    b"usr/local/lib/modprobe.d",
    b"usr/lib/modprobe.d",
    b"lib/modprobe.d",
];

const HIDDEN: &[&[u8]] = &[b"etc/limopack/hidden.d", b"usr/lib/limopack/hidden.d"];

impl Rules {
    /// Reads the rules for the kernel in `directory`.
    ///
    /// # Errors
    /// A file cannot be read, or a row of hidden.d is malformed.
    pub fn read(root: &Root, directory: &[u8]) -> Result<Rules> {
        let mut rules = Rules {
            rules: Vec::with_capacity(128),
            ..Rules::default()
        };
        let mut files = files(root, MODPROBE)?;
        for name in [&b"modules.softdep"[..], b"modules.weakdep"] {
            let before = files.partition_point(|file| file.name < name);
            files.insert(before, File::new(directory, name));
        }
        for file in files {
            let text = file.text(root)?;
            let text = joined(text).map_or(text, |joined| joined.leak());
            rules.add_commands(text);
        }
        for row in hidden::TABLE {
            rules.add_row(row);
        }
        for file in self::files(root, HIDDEN)? {
            let shown = root.shown(file.path);
            let rows = hidden::rows(file.text(root)?, shown)?;
            rows.iter().for_each(|row| rules.add_row(row));
        }
        rules.fill();
        Ok(rules)
    }

    fn add_commands(&mut self, text: &'static [u8]) {
        for command in commands(text) {
            let need = match command.kind {
                Kind::Softdep => Need::Soft,
                Kind::Weakdep => Need::Weak,
                Kind::Alias => {
                    if let Some(module) = words(command.targets).next() {
                        self.aliases.push((command.subject, module));
                    }
                    continue;
                }
            };
            self.add(need, command.subject, command.targets);
        }
    }

    fn add_row(&mut self, row: &hidden::Row<'static>) {
        for module in words(row.modules) {
            self.add(Need::Hidden, module, row.targets);
        }
    }

    fn add(&mut self, need: Need, module: &'static [u8], targets: &'static [u8]) {
        let name = ModuleName::new(module);
        self.rules.push(Rule {
            need,
            targets,
            name,
            hash: name.hash(),
        });
    }

    fn fill(&mut self) {
        let room = (self.rules.len() * 2).next_power_of_two().max(64);
        self.slots = vec![0; room];
        for (position, rule) in self.rules.iter().enumerate() {
            if rule.name.as_written().iter().any(|&byte| is_wild(byte)) {
                self.patterns.push(position);
                continue;
            }
            let mut slot = rule.hash as usize & (room - 1);
            while self.slots[slot] != 0 {
                slot = (slot + 1) & (room - 1);
            }
            self.slots[slot] = position as u32 + 1;
        }
    }

    /// The rules of a module, `hash` being that of its name in the path. Of its softdeps the first alone
    /// counts, as for modprobe; of weakdeps and hidden needs, which nothing reads but us and an
    /// initramfs, all do.
    pub fn of(&self, path: ModulePath<'_>, hash: u32) -> Vec<&Rule> {
        let mut positions = Vec::new();
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        while let Some(position) = (self.slots[slot] as usize).checked_sub(1) {
            let rule = &self.rules[position];
            if rule.hash == hash && rule.name == path.name() {
                positions.push(position);
            }
            slot = (slot + 1) & mask;
        }
        if !self.patterns.is_empty() {
            let kernel = path.name().to_kernel();
            for &position in &self.patterns {
                if matches(self.rules[position].name.as_written(), kernel) {
                    let before = positions.partition_point(|&other| other < position);
                    positions.insert(before, position);
                }
            }
        }
        let mut has_soft = false;
        positions.retain(|&position| {
            let is_soft = self.rules[position].need == Need::Soft;
            !is_soft || !core::mem::replace(&mut has_soft, true)
        });
        positions
            .iter()
            .map(|&position| &self.rules[position])
            .collect()
    }

    /// The modules that modprobe.d's aliases give a normalised name; `None` where none matches,
    /// which is not the same as an alias of nothing (`off`).
    pub fn alias(&self, name: &[u8]) -> Option<Vec<&'static [u8]>> {
        let matching = self.aliases.iter().filter(|alias| matches(alias.0, name));
        let modules: Vec<&[u8]> = matching.map(|alias| alias.1).collect();
        (!modules.is_empty()).then_some(modules)
    }
}

/// A file to be read.
pub(super) struct File {
    name: Text,
    pub(super) path: Text,
}

impl File {
    fn new(directory: &[u8], name: Text) -> File {
        File {
            name,
            path: fill("{}/{}", &[directory, name]),
        }
    }

    /// Its bytes; none where it is gone, or no regular file: a link to /dev/null is how an
    /// administrator hides a file without another in its place.
    pub(super) fn text(&self, root: &Root) -> Result<&'static [u8]> {
        match root.text(self.path) {
            Err(error) if error.kind() == ErrorKind::Refused => Ok(b""),
            text => Ok(text?.unwrap_or(b"")),
        }
    }
}

/// The files `*.conf` of directories, sorted by name; each name once, from the first that has it.
pub(super) fn files(root: &Root, directories: &[&[u8]]) -> Result<Vec<File>> {
    let mut files: Vec<File> = Vec::new();
    for directory in directories {
        let Some(folder) = Folder::open(root, directory)? else {
            continue;
        };
        for entry in folder.entries()? {
            let is_file = entry.kind != FileType::Directory;
            if !is_file || !entry.name.ends_with(b".conf") || entry.name.starts_with(b".") {
                continue;
            }
            if let Err(at) = files.binary_search_by(|file| file.name.cmp(entry.name)) {
                files.insert(at, File::new(directory, entry.name));
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &'static str) -> Rules {
        let mut rules = Rules::default();
        rules.add_commands(text.as_bytes());
        rules.add_row(&hidden::Row {
            modules: b"a b*",
            targets: b"h",
        });
        rules.fill();
        rules
    }

    fn targets(rules: &Rules, name: &str) -> Vec<(Need, String)> {
        let path = format!("kernel/{name}.ko");
        let path = ModulePath(path.as_bytes());
        let all = rules.of(path, path.name().hash());
        let text = |rule: &&Rule| (rule.need, String::from_utf8_lossy(rule.targets).into());
        all.iter().map(text).collect()
    }

    #[test]
    fn only_the_first_softdep_counts_patterns_included() {
        let rules = rules(
            "softdep a x\nsoftdep a y\nsoftdep c* p\nsoftdep c-1 q\nsoftdep d-1 q\n\
             softdep d* p\nweakdep a w\nweakdep a v\n",
        );
        let wanted = [
            (Need::Soft, " x".into()),
            (Need::Weak, " w".into()),
            (Need::Weak, " v".into()),
            (Need::Hidden, "h".into()),
        ];
        assert_eq!(targets(&rules, "a"), wanted);
        assert_eq!(targets(&rules, "c_1"), [(Need::Soft, " p".into())]);
        assert_eq!(targets(&rules, "d_1"), [(Need::Soft, " q".into())]);
        assert_eq!(targets(&rules, "b2"), [(Need::Hidden, "h".into())]);
        assert!(targets(&rules, "e").is_empty());
    }

    #[test]
    fn aliases_of_modprobe_d_are_patterns() {
        let rules = rules("alias net-pf-1? a\nalias net-pf-* b\nalias x off\n");
        assert_eq!(rules.alias(b"net_pf_10").unwrap(), [&b"a"[..], b"b"]);
        assert_eq!(rules.alias(b"x").unwrap(), [b"off"]);
        assert!(rules.alias(b"y").is_none());
    }
}
