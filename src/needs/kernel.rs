//! One kernel's `/lib/modules/<version>/`: finding a module's line by name, as modprobe does.
//!
//! `modules.dep.bin` is what modprobe trusts, and a look-up in it costs what the name costs,
//! not what the tree costs; without it (busybox) modules.dep is read as text.

use crate::error::{Answer, Error, Result};
use crate::format::{keep_list, new_list, render, List, Text};
use crate::index::trie::Trie;
use crate::needs::patterns::{AliasFile, AliasFormat};
use crate::needs::rules::Rules;
use crate::system::mapped::Content;
use crate::system::{mapped, program, Folder, Root};
use crate::text::alias::normalise;
use crate::text::dep::{DepLine, DepText, Ends, Paths};
use crate::text::name::{is_module_file, ModuleName, ModulePath};
use crate::text::table::Table;
use crate::text::{bare_lines, has, memchr, until};
use std::cell::{Cell, RefCell};

/// An installed kernel and its files, opened as they are asked for.
pub struct Kernel<'r> {
    root: &'r Root,
    version: Text,
    lines: DepSource,
    builtin: Cell<Option<&'static Paths<'static>>>,
    rules: Cell<Option<&'static Rules>>,
    /// What [`SOURCES`] names, in the same order.
    aliases: [Cell<Option<&'static AliasFile>>; 3],
    room: RefCell<LookupBuffer>,
}

/// Where aliases are found: the index, and the text that is read where there is none.
const SOURCES: [(&[u8], &[u8], AliasFormat); 3] = [
    (b"modules.alias.bin", b"modules.alias", AliasFormat::Lines),
    (
        b"modules.symbols.bin",
        b"modules.symbols",
        AliasFormat::Lines,
    ),
    (
        b"modules.builtin.alias.bin",
        b"modules.builtin.modinfo",
        AliasFormat::Records,
    ),
];
const ALIASES: usize = 0;
const SYMBOLS: usize = 1;
const BUILTIN: usize = 2;

/// What one look-up after the other uses again.
#[derive(Default)]
struct LookupBuffer {
    /// The name, normalised.
    name: Vec<u8>,
    /// The modules that an alias stands for.
    modules: Vec<Text>,
    /// Which of them had a line.
    known: Table,
}

/// Where modules.dep's lines are found.
enum DepSource {
    Index(Box<Trie<'static>>),
    Text(Box<DepText<'static>>),
}

/// What a name stands for in a kernel.
pub enum Found {
    /// Module files: one that has this name, or all that an alias stands for.
    Modules(List<DepLine<'static>>),
    /// Part of the kernel itself.
    Builtin,
    /// Nothing that this kernel has.
    Nothing,
}

const NO_LINES: List<DepLine<'static>> = &Vec::new();

/// Where all kernels lie.
pub const MODULES: &[u8] = b"lib/modules";

/// The directory of a kernel version, relative to the root.
#[inline(never)] // larger at every call
pub fn directory(version: &[u8]) -> Text {
    render(msg!("lib/modules/{}"), &[version])
}

/// A file in that directory, relative to the root.
#[inline(never)] // larger at every call
pub fn file_of(version: &[u8], name: &[u8]) -> Text {
    render(msg!("lib/modules/{}/{}"), &[version, name])
}

fn dep_index(root: &Root, version: &[u8]) -> Result<Option<Box<Trie<'static>>>> {
    let path = file_of(version, b"modules.dep.bin");
    match root.text(path)? {
        None => Ok(None),
        Some(index) => Trie::new(index, root.shown(path)).map(Some),
    }
}

/// The module that a given name, file name or path names, whether or not a kernel has it.
pub fn module_named(given: &[u8]) -> ModuleName<'_> {
    match is_module_file(ModulePath(given).file_name()) {
        true => ModulePath(given).name(),
        false => ModuleName::new(given),
    }
}

impl<'r> Kernel<'r> {
    /// Opens the index of a kernel.
    ///
    /// # Errors
    /// No such kernel, or a damaged index.
    pub fn open(root: &'r Root, version: Text) -> Result<Box<Kernel<'r>>> {
        let lines = match dep_index(root, version)? {
            None => Kernel::text_lines(root, version)?,
            Some(index) => DepSource::Index(index),
        };
        Ok(Kernel::new(root, version, lines))
    }

    /// Opens the text alone: what a prune goes by, since it writes the index from it.
    ///
    /// # Errors
    /// No such kernel, or a modules.dep that is empty.
    pub fn open_text(root: &'r Root, version: Text) -> Result<Box<Kernel<'r>>> {
        let lines = Kernel::text_lines(root, version)?;
        Ok(Kernel::new(root, version, lines))
    }

    fn text_lines(root: &Root, version: &[u8]) -> Result<DepSource> {
        let path = file_of(version, b"modules.dep");
        let Some(text) = root.text(path)? else {
            let place = root.shown(directory(version));
            let what = msg!("no kernel {}: no modules.dep in {}");
            return Err(Error::refused(what, &[version, place]));
        };
        Ok(DepSource::Text(DepText::new(text, root.shown(path))?))
    }

    fn new(root: &'r Root, version: Text, lines: DepSource) -> Box<Kernel<'r>> {
        Box::new(Kernel {
            root,
            version,
            lines,
            builtin: Cell::new(None),
            rules: Cell::new(None),
            aliases: Default::default(),
            room: RefCell::default(),
        })
    }

    /// The version, as `uname -r` says it.
    pub fn version(&self) -> Text {
        self.version
    }

    /// Its directory.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn folder(&self) -> Result<Option<Box<Folder>>> {
        Folder::open(self.root, directory(self.version))
    }

    /// What `modinfo` prints of modules of this kernel, by their paths, in a directory: the kernel's, as a
    /// rule. (`./`, so that no name is taken for an option.)
    ///
    /// # Errors
    /// It cannot be run.
    pub fn modinfo(&self, folder: &Folder, modules: &[Text]) -> Result<Text> {
        if modules.is_empty() {
            return Ok(b"");
        }
        let mut paths = Vec::new();
        for path in modules {
            paths.push(match ModulePath(path).is_absolute() {
                true => self.root.shown(&path[1..]),
                false => render(msg!("./{}"), &[path]),
            });
        }
        program::output(folder, b"modinfo", &paths)
    }

    /// The index of its modules, if it has one.
    ///
    /// # Errors
    /// It is damaged.
    pub fn index(&self) -> Result<Option<Box<Trie<'static>>>> {
        dep_index(self.root, self.version)
    }

    /// The index of its modules' aliases, if it has one.
    ///
    /// # Errors
    /// It is damaged.
    pub fn alias_index(&self) -> Result<Option<&'static Trie<'static>>> {
        Ok(match self.aliases(ALIASES)? {
            AliasFile::Index(index) => Some(index),
            AliasFile::Text(_) => None,
        })
    }

    /// A file of this kernel, if it is there.
    ///
    /// # Errors
    /// It cannot be read.
    #[inline(always)]
    pub fn file(&self, name: &[u8]) -> Result<Option<Text>> {
        self.root.text(file_of(self.version, name))
    }

    /// As [`Kernel::file`]; none where it is missing.
    ///
    /// # Errors
    /// As there.
    #[inline(always)]
    pub fn file_or_empty(&self, name: &[u8]) -> Result<Text> {
        self.content_or_empty(name).copied()
    }

    fn content_or_empty(&self, name: &[u8]) -> Result<Content> {
        self.root.content_or_empty(file_of(self.version, name))
    }

    /// The line of the module that modprobe would load by this name.
    ///
    /// # Errors
    /// The index or the line is damaged; in a text, where the name has no line, any line.
    pub fn line(&self, name: ModuleName<'_>) -> Result<Option<DepLine<'static>>> {
        match (self.listed(name)?, &self.lines) {
            (None, DepSource::Text(text)) => text.check().map(|()| None),
            (line, _) => Ok(line),
        }
    }

    /// The same without a look at other lines, for names that nobody insists on.
    fn listed(&self, name: ModuleName<'_>) -> Result<Option<DepLine<'static>>> {
        match &self.lines {
            DepSource::Text(text) => text.find(name),
            DepSource::Index(index) => {
                let Some(line) = index.find(name)? else {
                    return Ok(None);
                };
                let broken = |what: &[u8]| {
                    let file = self.shown(b"modules.dep.bin");
                    Error::parse(file, 0, msg!("{}: {}"), &[what, line])
                };
                let parsed = DepLine::parse(line).map_err(|what| broken(render(what, &[])))?;
                if !name.is_before(parsed.path().0) {
                    let instead =
                        render(msg!("another module in place of {}"), &[name.to_kernel()]);
                    return Err(broken(instead));
                }
                Ok(Some(parsed))
            }
        }
    }

    /// Whether a module has a line, which is not looked at any further.
    ///
    /// # Errors
    /// The index is damaged.
    pub fn lists(&self, name: ModuleName<'_>) -> Result<Answer> {
        match &self.lines {
            DepSource::Text(text) => Ok(text.lists(name).into()),
            DepSource::Index(index) => Ok(index.find(name)?.is_some().into()),
        }
    }

    /// Looks at every line of a text, once.
    ///
    /// # Errors
    /// A malformed line.
    pub fn check(&self) -> Result<()> {
        match &self.lines {
            DepSource::Text(text) => text.check(),
            DepSource::Index(_) => Ok(()),
        }
    }

    /// Calls back with the lines of the modules outside `kernel/`, which a prune leaves alone. Whoever deletes
    /// has read modules.dep, and gets them all. A listing has its index alone, and reads 600 KB more
    /// only if the kernel's directory has any such module (`is_there`): what depmod's `external` finds
    /// elsewhere is listed only while it is loaded or registered.
    ///
    /// # Errors
    /// modules.dep cannot be read, or one of these lines is malformed.
    pub fn outside(&self, is_there: bool, visit: &mut dyn FnMut(DepLine<'static>)) -> Result<()> {
        let text = match &self.lines {
            DepSource::Text(text) => text.text(),
            DepSource::Index(_) if is_there => self.file_or_empty(b"modules.dep")?,
            DepSource::Index(_) => b"",
        };
        let mut rest = text;
        while !rest.is_empty() {
            let length = memchr(b'\n', rest).unwrap_or(rest.len() - 1);
            let (line, after) = rest.split_at(length + 1);
            // No call to compare seven bytes: nearly every line ends here.
            if let [b'k', b'e', b'r', b'n', b'e', b'l', b'/', ..] = rest {
                rest = after;
                continue;
            }
            let broken = |what| {
                let file = self.shown(b"modules.dep");
                let number = bare_lines(text).count() - bare_lines(rest).count() + 1;
                Error::parse(file, number, what, &[])
            };
            visit(DepLine::parse(until(line, b'\n')).map_err(broken)?);
            rest = after;
        }
        Ok(())
    }

    /// A file of this kernel as the user would write it.
    pub fn shown(&self, name: &[u8]) -> Text {
        self.root.shown(file_of(self.version, name))
    }

    /// What modules.builtin lists.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn builtin(&self) -> Result<&'static Paths<'static>> {
        if let Some(paths) = self.builtin.get() {
            return Ok(paths);
        }
        let file = b"modules.builtin";
        let paths = Paths::new(self.file_or_empty(file)?, Ends::Line, self.shown(file))?;
        let paths = Box::leak(paths);
        self.builtin.set(Some(paths));
        Ok(paths)
    }

    /// Whether the module is built into the kernel.
    ///
    /// # Errors
    /// modules.builtin cannot be read.
    pub fn is_builtin(&self, name: ModuleName<'_>) -> Result<Answer> {
        Ok(self.builtin()?.find(name).is_some().into())
    }

    /// The rules that add to modules.dep.
    ///
    /// # Errors
    /// A file of them cannot be read.
    pub fn rules(&self) -> Result<&'static Rules> {
        if let Some(rules) = self.rules.get() {
            return Ok(rules);
        }
        let own = |name| file_of(self.version, name);
        let own = [own(b"modules.softdep"), own(b"modules.weakdep")];
        let rules = Rules::read(self.root, &own)?;
        self.rules.set(Some(rules));
        Ok(rules)
    }

    /// The aliases of one of the sources.
    fn aliases(&self, source: usize) -> Result<&'static AliasFile> {
        let cell = &self.aliases[source];
        if let Some(aliases) = cell.get() {
            return Ok(aliases);
        }
        let (index, text, format) = SOURCES[source];
        // By the index even where modules.dep is read as text: it is what modprobe goes by.
        let bytes = self.file(index)?;
        // depmod leaves an empty file where it had nothing to list.
        let aliases = match bytes.filter(|bytes| !bytes.is_empty()) {
            Some(bytes) => {
                // Whoever deletes reads all of it.
                if let DepSource::Index(_) = &self.lines {
                    mapped::read_here_and_there(bytes);
                }
                AliasFile::Index(Trie::new(bytes, self.shown(index))?)
            }
            None => AliasFile::of_text(self.file_or_empty(text)?, format),
        };
        let aliases = Box::leak(Box::new(aliases));
        cell.set(Some(aliases));
        Ok(aliases)
    }

    /// What modprobe would load for a name or an alias. The first that knows it decides: the
    /// aliases of modprobe.d, modules.dep, symbols, the aliases of the modules, what is built in.
    /// (kmod: libkmod/libkmod-module.c, `kmod_module_new_from_lookup`)
    ///
    /// # Errors
    /// A damaged index.
    pub fn look_up(&self, name: &[u8]) -> Result<Found> {
        let room = &mut *self.room.borrow_mut();
        room.set_name(name);
        // Aliases of devices have a bus before a `:`. modprobe resolves no alias to these modules, but
        // who wants a file system or a cipher can also ask for it by its name.
        let is_device = has(name, b':') && !name.starts_with(b"symbol:");
        let lines = self.lines_for(room, is_device)?;
        Ok(match lines.is_empty() {
            false => Found::Modules(lines),
            true if self.has_builtin(&room.name)?.is_yes() => Found::Builtin,
            true => Found::Nothing,
        })
    }

    /// The module files of a name or alias, as far as modprobe finds any. What is built in is not
    /// looked at.
    ///
    /// # Errors
    /// A damaged index.
    pub fn modules_named(&self, name: &[u8]) -> Result<List<DepLine<'static>>> {
        let room = &mut *self.room.borrow_mut();
        room.set_name(name);
        self.lines_for(room, false)
    }

    /// The lines of the modules that the name in `room` stands for, each once; one that has none is
    /// left out, as modprobe does. The alias of a device does not stand for what is blacklisted.
    fn lines_for(
        &self,
        room: &mut LookupBuffer,
        is_device: bool,
    ) -> Result<List<DepLine<'static>>> {
        let LookupBuffer { name, modules, .. } = room;
        let rules = self.rules()?;
        rules.alias(name, &mut |module| modules.push(module))?;
        let is_hidden = |line: &DepLine<'_>| is_device && rules.is_blacklisted(line.path().name());
        if modules.is_empty() {
            if let Some(line) = self.listed(ModuleName::new(name))? {
                return Ok(match is_hidden(&line) {
                    true => NO_LINES,
                    false => keep_list(vec![line]),
                });
            }
            let source = match name.starts_with(b"symbol:") {
                true => SYMBOLS,
                false => ALIASES,
            };
            let aliases = self.aliases(source)?;
            aliases.search(name, &mut |module| modules.push(module))?;
        }
        let lines: &mut Vec<DepLine<'static>> = new_list();
        room.known.clear();
        for module in &room.modules {
            let name = ModuleName::new(module);
            let Some(line) = self.listed(name)? else {
                continue;
            };
            let is_it = |other| lines[other as usize].path() == line.path();
            let new = lines.len() as u32;
            if !is_hidden(&line) && room.known.insert(name.hash(), new, &is_it).is_none() {
                lines.push(line);
            }
        }
        Ok(lines)
    }

    /// Whether what is built in has the name or an alias that it matches.
    fn has_builtin(&self, name: &[u8]) -> Result<Answer> {
        if !has(name, b':') && self.is_builtin(ModuleName::new(name))?.is_yes() {
            return Ok(Answer::Yes);
        }
        let mut is_found = false;
        let aliases = self.aliases(BUILTIN)?;
        aliases.search(name, &mut |_| is_found = true)?;
        Ok(is_found.into())
    }

    /// What a name that the user gave stands for: a module name in either spelling, a file name
    /// with any `.ko*` suffix, a path relative to the version directory, or an alias.
    ///
    /// # Errors
    /// A path at which another module of that name hides this one, or a damaged index.
    pub fn find(&self, given: &[u8]) -> Result<Found> {
        let path = ModulePath(given);
        if !is_module_file(path.file_name()) {
            let found = self.look_up(given)?;
            if let (Found::Nothing, DepSource::Text(text)) = (&found, &self.lines) {
                text.check()?;
            }
            return Ok(found);
        }
        let name = path.name();
        let Some(line) = self.line(name)? else {
            return Ok(match self.is_builtin(name)?.is_yes() {
                true => Found::Builtin,
                false => Found::Nothing,
            });
        };
        // depmod chose one of two files with this name, and modprobe loads that one.
        let directory = path.directory();
        if !directory.is_empty() && directory != line.path().directory() {
            return Err(Error::refused(
                msg!("{} is not what kernel {} loads as {}: that is {}"),
                &[given, self.version, name.to_kernel(), line.path().0],
            ));
        }
        Ok(Found::Modules(keep_list(vec![line])))
    }
}

impl LookupBuffer {
    /// Begins with another name.
    fn set_name(&mut self, name: &[u8]) {
        self.modules.clear();
        self.name.clear();
        self.name.extend_from_slice(name);
        normalise(&mut self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{kind_of, ErrorKind};
    use crate::system::scratch::Scratch;

    fn found(kernel: &Kernel<'_>, given: &str) -> String {
        match kernel.find(given.as_bytes()) {
            Ok(Found::Modules(lines)) => String::from_utf8(lines[0].path().0.to_vec()).unwrap(),
            Ok(Found::Builtin) => "built in".to_string(),
            Ok(Found::Nothing) => "nothing".to_string(),
            Err(_) => "error".to_string(),
        }
    }

    #[test]
    fn a_name_a_file_name_and_a_path_stand_for_one_module() {
        let scratch = Scratch::new("find");
        scratch.write("lib/modules/1/modules.dep", "k/a-b.ko.xz:\nup/c.ko:\n");
        scratch.write("lib/modules/1/modules.builtin", "k/d-e.ko\n");
        let root = scratch.root();
        let kernel = Kernel::open(&root, b"1").unwrap();
        for given in [
            "a-b",
            "a_b",
            "a_b.ko",
            "a-b.ko.zst",
            "k/a-b.ko.xz",
            "k/a_b.ko",
        ] {
            assert_eq!(found(&kernel, given), "k/a-b.ko.xz", "{given}");
        }
        for given in ["d-e", "d_e", "d-e.ko", "k/d-e.ko"] {
            assert_eq!(found(&kernel, given), "built in", "{given}");
        }
        for given in ["k/c.ko", "c.ko/c.ko", "up/x/c.ko"] {
            assert_eq!(found(&kernel, given), "error", "{given}");
        }
        for given in [
            "",
            "a",
            "a-b.",
            "a-b.k",
            "a-b.ko.bz2",
            "k/a-b",
            ".ko",
            "c.ko/",
            "A-B",
        ] {
            assert_eq!(found(&kernel, given), "nothing", "{given}");
        }
    }

    #[test]
    fn a_kernel_without_an_index_is_refused_and_one_without_builtins_is_not() {
        let scratch = Scratch::new("open");
        scratch.write("lib/modules/1/modules.dep", "a.ko:\n");
        scratch.write("lib/modules/2/modules.alias", "");
        let root = scratch.root();
        assert_eq!(kind_of(Kernel::open(&root, b"2")), Some(ErrorKind::Refused));
        assert_eq!(kind_of(Kernel::open(&root, b"3")), Some(ErrorKind::Refused));
        let kernel = Kernel::open(&root, b"1").unwrap();
        assert_eq!(found(&kernel, "b"), "nothing");
        assert_eq!(kernel.version(), b"1");
        assert!(kernel.shown(b"f").ends_with(b"/lib/modules/1/f"));
    }
}
