//! Which modules are needed beyond modules.dep: softdeps and weakdeps of modprobe.d and of the
//! modules themselves, and the hidden table, in one index by module name.
//!
//! modprobe.d is five directories. A file hides those of the same name in later directories;
//! what is left is read in the order of the names, modules.softdep and modules.weakdep of the
//! kernel among them. (kmod: libkmod/libkmod-config.c, `kmod_config_new`)

use crate::error::{ErrorKind, Result};
use crate::format::{render, Text};
use crate::needs::hidden;
use crate::needs::patterns::Patterns;
use crate::system::folder::DirectoryEntry;
use crate::system::{Folder, Root};
use crate::template::Template;
use crate::text::modprobe::{commands, joined, loading, targets, CommandKind};
use crate::text::name::{ModuleName, ModulePath};
use crate::text::{first_word, last_part, sort_once, words};
use core::mem::replace;
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
}

/// The rules for one kernel.
#[derive(Default)]
pub struct Rules {
    rules: Vec<Rule>,
    /// For each rule the module, or a pattern of modules.
    modules: Patterns,
    /// The aliases of modprobe.d.
    aliases: Patterns,
    /// The modules for which aliases of devices do not stand.
    blacklist: Vec<Text>,
}

/// As many rules as most kernels have.
const ROOM: usize = 256;

/// Earlier ones hide files of later ones. (The last two are one directory on most systems.)
const MODPROBE: Template = msg!(
    "etc/modprobe.d run/modprobe.d usr/local/lib/modprobe.d \
    usr/lib/modprobe.d lib/modprobe.d"
);

const HIDDEN: Template = msg!("etc/limopack/hidden.d usr/lib/limopack/hidden.d");

impl Rules {
    /// Reads the rules for a kernel, whose own files of them are `own`.
    ///
    /// # Errors
    /// A file cannot be read, or a row of hidden.d is malformed.
    pub fn read(root: &Root, own: &[Text]) -> Result<&'static Rules> {
        let rules = Box::leak(Box::<Rules>::default());
        rules.rules.reserve(ROOM);
        rules.modules.reserve(ROOM);
        each_file(root, own, MODPROBE, b".conf .alias", &mut |_, text| {
            rules.add_commands(joined(text));
            Ok(())
        })?;
        for row in hidden::known() {
            rules.add_row(&row);
        }
        each_file(root, &[], HIDDEN, b".conf", &mut |path, text| {
            hidden::rows(text, root.shown(path), &mut |row| rules.add_row(row))
        })?;
        sort_once(&mut rules.blacklist);
        Ok(rules)
    }

    fn add_commands(&mut self, text: &'static [u8]) {
        for command in commands(text) {
            let need = match command.kind {
                CommandKind::Softdep => Need::Soft,
                CommandKind::Weakdep => Need::Weak,
                CommandKind::Alias => {
                    let module = first_word(command.targets);
                    self.aliases.add(command.name, module);
                    continue;
                }
                CommandKind::Install => {
                    self.add_install(command.name, command.targets);
                    continue;
                }
                CommandKind::Blacklist => {
                    self.blacklist
                        .push(ModuleName::new(command.name).to_kernel());
                    continue;
                }
            };
            self.add(need, command.name, command.targets);
        }
    }

    /// What a command loads is needed by the module that it stands for, which need be none: then
    /// its name stands for what is loaded. Its other words are no names of modules.
    fn add_install(&mut self, module: &'static [u8], command: &'static [u8]) {
        let Some(words) = loading(command) else {
            return;
        };
        self.add(Need::Weak, module, words);
        for word in targets(words) {
            self.aliases.add(module, word);
        }
        self.aliases.add(module, module);
    }

    fn add_row(&mut self, row: &hidden::Row<'static>) {
        for module in words(row.modules) {
            self.add(Need::Hidden, module, row.targets);
        }
    }

    fn add(&mut self, need: Need, module: &'static [u8], targets: &'static [u8]) {
        self.rules.push(Rule { need, targets });
        self.modules.add(module, b"");
    }

    /// Calls back with the rules of a module; `hash` is that of its path. Of its softdeps the first alone
    /// counts, as for modprobe; of weakdeps and hidden needs, which nothing reads but us and an
    /// initramfs, all do.
    ///
    /// # Errors
    /// Those of `visit`.
    pub fn of(
        &self,
        path: ModulePath<'_>,
        hash: u32,
        visit: &mut dyn FnMut(&Rule) -> Result<()>,
    ) -> Result<()> {
        let mut has_soft = false;
        self.modules.search(hash, &|| path.name(), &mut |number| {
            let rule = &self.rules[number as usize];
            if rule.need == Need::Soft && replace(&mut has_soft, true) {
                return Ok(());
            }
            visit(rule)
        })
    }

    /// Whether aliases of devices do not stand for a module (`blacklist`).
    pub fn is_blacklisted(&self, name: ModuleName<'_>) -> bool {
        self.blacklist.binary_search(&name.to_kernel()).is_ok()
    }

    /// Calls back with the modules that modprobe.d's aliases give a normalised name, in the order of the
    /// files: an alias of nothing (`off`) names one that no kernel has.
    ///
    /// # Errors
    /// None that an input could cause.
    pub fn alias(&self, name: &[u8], visit: &mut dyn FnMut(Text)) -> Result<()> {
        self.aliases.modules_of(name, visit)
    }
}

/// A text; empty where it is no regular file: a link to /dev/null is how an administrator hides a file
/// without another in its place.
pub(super) fn text_or_hidden(root: &Root, path: Text) -> Result<Option<Text>> {
    match root.text(path) {
        Err(error) if error.kind() == ErrorKind::Refused => Ok(Some(b"")),
        // An image has no /dev/null.
        Ok(None) => Ok(root.link(path).map(|_| &b""[..])),
        text => text,
    }
}

/// Calls back with path and text of each file of directories whose name ends in one of `ends`, and of `own`,
/// which have other names, sorted by name; of one name, the file in the first directory that has it.
/// Directories and ends are separated by blanks.
pub(super) fn each_file(
    root: &Root,
    own: &[Text],
    directories: Template,
    ends: &[u8],
    visit: &mut dyn FnMut(Text, Text) -> Result<()>,
) -> Result<()> {
    let mut paths = own.to_vec();
    for directory in words(directories.text()) {
        for DirectoryEntry { name, kind } in Folder::entries_at(root, directory)? {
            let is_ours = ends.is_empty() || words(ends).any(|end| name.ends_with(end));
            if *kind == FileType::Directory || !is_ours || name.starts_with(b".") {
                continue;
            }
            if let Err(at) = paths.binary_search_by(|path| last_part(path).cmp(name)) {
                paths.insert(at, render(msg!("{}/{}"), &[directory, name]));
            }
        }
    }
    for path in paths {
        visit(path, text_or_hidden(root, path)?.unwrap_or(b""))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::alias::matches;

    fn rules(text: &'static str) -> Rules {
        let mut rules = Rules::default();
        rules.add_commands(text.as_bytes());
        rules.add_row(&hidden::Row {
            modules: b"a b*",
            targets: b"h",
        });
        rules
    }

    fn targets(rules: &Rules, name: &str) -> Vec<(Need, String)> {
        let path = format!("kernel/{name}.ko");
        let path = ModulePath(path.as_bytes());
        let mut found = Vec::new();
        let visit = &mut |&Rule { need, targets }: &Rule| {
            found.push((need, String::from_utf8_lossy(targets).into()));
            Ok(())
        };
        rules.of(path, path.hash(), visit).unwrap();
        found
    }

    fn aliases(rules: &Rules, name: &str) -> Vec<Text> {
        let mut found = Vec::new();
        let visit = &mut |module| found.push(module);
        rules.alias(name.as_bytes(), visit).unwrap();
        found
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
        for name in ["c_1", "c-1"] {
            assert_eq!(targets(&rules, name), [(Need::Soft, " p".into())]);
        }
        assert_eq!(targets(&rules, "d_1"), [(Need::Soft, " q".into())]);
        assert_eq!(targets(&rules, "b2"), [(Need::Hidden, "h".into())]);
        assert!(targets(&rules, "e").is_empty());
    }

    #[test]
    fn aliases_of_modprobe_d_are_patterns() {
        let rules = rules("alias net-pf-1? a\nalias net-pf-* b\nalias x off\n");
        assert_eq!(aliases(&rules, "net_pf_10"), [&b"a"[..], b"b"]);
        assert_eq!(aliases(&rules, "x"), [b"off"]);
        assert!(aliases(&rules, "y").is_empty());
    }

    #[test]
    fn every_alias_that_matches_is_told_in_the_order_of_the_lines() {
        let pieces: [&[u8]; 5] = [b"a", b"-", b"*", b"?", b" m\nalias "];
        crate::text::tests::every_text(&pieces, 5, &mut |text| {
            let text = [b"alias ", text, b" m\n"].concat();
            // A module of its own for each line.
            let mut lines: Vec<Vec<u8>> = Vec::new();
            for (number, line) in text.split_inclusive(|&byte| byte == b'\n').enumerate() {
                let number = number.to_string();
                lines.push([&line[..line.len() - 1], number.as_bytes(), b"\n"].concat());
            }
            let text: Text = lines.concat().leak();
            let mut rules = Rules::default();
            rules.add_commands(text);
            for name in ["a", "a_", "aa", "_", "a_a"] {
                let matching = commands(text).filter(|line| matches(line.name, name.as_bytes()));
                let wanted: Vec<_> = matching.map(|line| words(line.targets).next()).collect();
                let found: Vec<_> = aliases(&rules, name).into_iter().map(Some).collect();
                assert_eq!(found, wanted, "{name}");
            }
        });
    }
}
