//! One kernel's `/lib/modules/<version>/`: finding a module's line by name, as modprobe does.
//!
//! `modules.dep.bin` is what modprobe trusts, and a look-up in it costs what the name costs,
//! not what the tree costs; without it (busybox) modules.dep is read as text.

use crate::error::{Error, Result};
use crate::index::trie::Trie;
use crate::system::Root;
use crate::text::dep::{is_builtin, DepLine, DepText};
use crate::text::name::{is_module_file, ModuleName, ModulePath};
use std::cell::Cell;

/// An installed kernel and its files, opened as they are asked for.
pub struct Kernel<'r> {
    root: &'r Root,
    version: Vec<u8>,
    lines: Lines,
    builtin: Cell<Option<&'static [u8]>>,
}

/// Where modules.dep's lines are found.
enum Lines {
    Index(Trie<'static>),
    Text(DepText<'static>),
}

/// What a name stands for in a kernel.
pub enum Found {
    /// A module file.
    Module(DepLine<'static>),
    /// Part of the kernel itself.
    Builtin,
    /// Nothing that this kernel has.
    Nothing,
}

/// The directory of a kernel version, relative to the root.
pub fn directory(version: &[u8]) -> Vec<u8> {
    [b"lib/modules/", version].concat()
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
    pub fn open(root: &'r Root, version: &[u8]) -> Result<Kernel<'r>> {
        let path = [&directory(version), &b"/modules.dep.bin"[..]].concat();
        match root.text(&path)? {
            None => Kernel::open_text(root, version),
            Some(index) => {
                let lines = Lines::Index(Trie::new(index, &root.shown(&path))?);
                Ok(Kernel::new(root, version, lines))
            }
        }
    }

    /// Opens the text alone: what a prune goes by, since it writes the index from it.
    ///
    /// # Errors
    /// No such kernel, or a modules.dep that is empty.
    pub fn open_text(root: &'r Root, version: &[u8]) -> Result<Kernel<'r>> {
        let path = [&directory(version), &b"/modules.dep"[..]].concat();
        let Some(text) = root.text(&path)? else {
            let place = root.shown(&directory(version));
            let what = b": no modules.dep in ";
            return Err(Error::refused(&[b"no kernel ", version, what, &place]));
        };
        let lines = Lines::Text(DepText::new(text, &root.shown(&path))?);
        Ok(Kernel::new(root, version, lines))
    }

    fn new(root: &'r Root, version: &[u8], lines: Lines) -> Kernel<'r> {
        Kernel {
            root,
            version: version.to_vec(),
            lines,
            builtin: Cell::new(None),
        }
    }

    /// The version, as `uname -r` says it.
    pub fn version(&self) -> &[u8] {
        &self.version
    }

    /// A file of this kernel, if it is there.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn file(&self, name: &[u8]) -> Result<Option<&'static [u8]>> {
        let path = [&directory(&self.version), &b"/"[..], name].concat();
        self.root.text(&path)
    }

    /// The line of the module that modprobe would load by this name.
    ///
    /// # Errors
    /// The index or the line is damaged.
    pub fn line(&self, name: ModuleName<'_>) -> Result<Option<DepLine<'static>>> {
        match &self.lines {
            Lines::Text(text) => text.find(name),
            Lines::Index(index) => {
                let Some(line) = index.find(name)? else {
                    return Ok(None);
                };
                let broken = |what: &[&[u8]]| {
                    let file = self.shown(b"modules.dep.bin");
                    Error::parse(&file, 0, &[&what.concat(), b": ", line])
                };
                let parsed = DepLine::parse(line).map_err(|what| broken(&[what.as_bytes()]))?;
                if parsed.path.name() != name {
                    let what: [&[u8]; 2] = [b"another module in the place of ", &name.to_kernel()];
                    return Err(broken(&what));
                }
                Ok(Some(parsed))
            }
        }
    }

    /// A file of this kernel as the user would write it.
    pub fn shown(&self, name: &[u8]) -> Vec<u8> {
        (self.root).shown(&[&directory(&self.version), &b"/"[..], name].concat())
    }

    /// Whether the module is built into the kernel.
    ///
    /// # Errors
    /// modules.builtin cannot be read.
    pub fn is_builtin(&self, name: ModuleName<'_>) -> Result<bool> {
        let text = match self.builtin.get() {
            Some(text) => text,
            None => {
                let text = self.file(b"modules.builtin")?.unwrap_or(b"");
                self.builtin.set(Some(text));
                text
            }
        };
        Ok(is_builtin(text, name))
    }

    /// What a name that the user gave stands for: a module name in either spelling, a file name
    /// with any `.ko*` suffix, or a path relative to the version directory.
    ///
    /// # Errors
    /// A path at which another module of that name hides this one, or a damaged index.
    pub fn find(&self, given: &[u8]) -> Result<Found> {
        let path = ModulePath(given);
        let name = module_named(given);
        if let Some(line) = self.line(name)? {
            // depmod chose one of two files with this name, and modprobe loads that one.
            if !path.directory().is_empty() && !line.path.is_same_module(path) {
                return Err(Error::refused(&[
                    given,
                    b" is not what kernel ",
                    &self.version,
                    b" loads as ",
                    &name.to_kernel(),
                    b": that is ",
                    line.path.0,
                ]));
            }
            return Ok(Found::Module(line));
        }
        Ok(match self.is_builtin(name)? {
            true => Found::Builtin,
            false => Found::Nothing,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::scratch::Scratch;

    fn found(kernel: &Kernel<'_>, given: &str) -> String {
        match kernel.find(given.as_bytes()) {
            Ok(Found::Module(line)) => String::from_utf8(line.path.0.to_vec()).unwrap(),
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
        assert!(matches!(Kernel::open(&root, b"2"), Err(Error::Refused(_))));
        assert!(matches!(Kernel::open(&root, b"3"), Err(Error::Refused(_))));
        let kernel = Kernel::open(&root, b"1").unwrap();
        assert_eq!(found(&kernel, "b"), "nothing");
        assert_eq!(kernel.version(), b"1");
        assert!(kernel.shown(b"f").ends_with(b"/lib/modules/1/f"));
    }
}
