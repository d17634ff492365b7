//! What a prune will change, as data: made and checked for all kernels before the first is
//! touched, printed by `--dry-run`, consumed by the execution.

use crate::error::{Error, Result};
use crate::format::{push_decimal, push_filled, Text};
use crate::index::binary::{Binary, BINARIES};
use crate::index::filter::{filter, Format, FILES};
use crate::index::trie::{Layout, Trie};
use crate::index::writer::Writer;
use crate::needs::survey::{Left, Survey, UNFINISHED};
use crate::needs::Closure;
use crate::system::folder::Naming;
use crate::system::tree::{Removal, Step, Tally};
use crate::system::Folder;
use crate::text::name::ModuleName;
use crate::text::sort::sort;
use crate::text::split_at_byte;

/// The prune of one kernel.
pub struct Prune {
    /// The kernel's version.
    pub version: Text,
    /// Its directory, locked if the plan is to be carried out.
    pub folder: Box<Folder>,
    /// The module files that go.
    pub removal: Box<Removal>,
    /// The index files that change.
    pub rewrites: Vec<Rewrite>,
    /// What an earlier prune left behind.
    pub left: Left,
}

/// What becomes of modules.order, the one list that depmod reads and never writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// It is filtered as the others are.
    Filter,
    /// It stays, since it belongs to a package that stays: nobody would bring it back.
    Leave,
}

/// An index file that changes.
pub struct Rewrite {
    /// Its name.
    pub name: Text,
    /// How many bytes it has now.
    pub old_size: usize,
    /// What it will hold: slices of the old file, or all of it made anew.
    pub parts: Vec<Text>,
}

impl Rewrite {
    /// How many bytes it will have.
    pub fn size(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }
}

impl Prune {
    /// What a survey leads to.
    ///
    /// # Errors
    /// An index that cannot be written anew.
    pub fn of(survey: Box<Survey<'_>>, order: Order) -> Result<Box<Prune>> {
        let rewrites = rewrites(&survey, order)?;
        let survey = *survey;
        Ok(Box::new(Prune {
            version: survey.kernel.version(),
            rewrites,
            folder: survey.folder,
            removal: survey.removal,
            left: survey.left,
        }))
    }

    /// Whether everything is done already.
    pub fn is_done(&self) -> bool {
        self.rewrites.is_empty() && !self.removal.has_work() && self.left == Left::Nothing
    }

    /// One step per line, sorted, then the totals.
    pub fn describe(&self, out: &mut Vec<u8>) {
        self.print_steps(out);
        let Tally { modules, bytes } = self.removal.kept;
        self.print_total(out, b"kept", Some(modules), bytes);
        let Tally { modules, bytes } = self.removal.removed;
        self.print_total(out, b"removed", Some(modules), bytes);
        let before = self.rewrites.iter().map(|rewrite| rewrite.old_size).sum();
        self.print_total(out, b"indexes before", None, before);
        let after = self.rewrites.iter().map(Rewrite::size).sum();
        self.print_total(out, b"indexes after", None, after);
    }

    fn print_total(&self, out: &mut Vec<u8>, what: &[u8], modules: Option<usize>, bytes: usize) {
        push_filled(out, "total {} {}: ", &[self.version, what]);
        if let Some(modules) = modules {
            push_decimal(out, modules);
            out.extend_from_slice(b" modules, ");
        }
        push_decimal(out, bytes);
        out.extend_from_slice(b" bytes\n");
    }

    fn print_steps(&self, out: &mut Vec<u8>) {
        // Each with a newline, and a zero byte to be sorted by, which no path can hold.
        let (mut lines, mut starts) = (Vec::new(), Vec::new());
        let shown = self.folder.shown(b"");
        self.removal.each_step(&mut |step| {
            starts.push(lines.len() as u32);
            match step {
                Step::Delete(directory, name, size) => {
                    push_filled(&mut lines, "delete {}{}/{} ", &[shown, directory, name]);
                    push_decimal(&mut lines, size);
                }
                Step::RemoveDirectory(path) => {
                    push_filled(&mut lines, "rmdir {}{}", &[shown, path]);
                }
            }
            lines.extend_from_slice(b"\n\0");
        });
        for rewrite in &self.rewrites {
            starts.push(lines.len() as u32);
            push_filled(&mut lines, "write {}{} ", &[shown, rewrite.name]);
            push_decimal(&mut lines, rewrite.old_size);
            lines.extend_from_slice(b" -> ");
            push_decimal(&mut lines, rewrite.size());
            lines.extend_from_slice(b"\n\0");
        }
        sort(&lines, &mut starts);
        out.reserve(lines.len());
        for start in starts {
            out.extend_from_slice(split_at_byte(&lines[start as usize..], 0).0);
        }
    }

    /// Carries the plan out: the new indexes first, durable before the first file goes, so that
    /// every index lists only what is there. Calls `tick` after each file.
    ///
    /// # Errors
    /// The first step that fails. The system works as it is then, and the same command finishes.
    pub fn execute(&self, tick: &mut dyn FnMut()) -> Result<()> {
        if !self.removal.has_place() || self.is_done() {
            return Ok(());
        }
        self.remove_leftovers()?;
        let files = self.rewrites.iter();
        let files: Vec<_> = files.map(|file| (file.name, &file.parts[..])).collect();
        let staged = self.folder.stage(Naming::Hidden, &files)?;
        if self.left != Left::Modules && self.removal.has_work() {
            if let Err(error) = self.folder.keep_as(b"modules.dep", UNFINISHED) {
                self.unmark_if_untouched();
                return Err(error);
            }
        }
        if let Err(error) = staged.commit() {
            self.unmark_if_untouched();
            return Err(error);
        }
        self.removal.carry_out(&self.folder, tick)?;
        // What is recorded as gone has to be gone after a power cut, too.
        self.folder.sync_file_system()?;
        self.folder.unlink(UNFINISHED)?;
        self.folder.sync()
    }

    /// Takes the mark back if modules.dep is what it was.
    fn unmark_if_untouched(&self) {
        let text = |name: &[u8]| self.folder.text(name).ok().flatten();
        if text(b"modules.dep") == text(UNFINISHED) {
            let _ = self.folder.unlink(UNFINISHED);
        }
    }

    /// Removes what a killed run was writing; our lock says that nobody writes now.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove_leftovers(&self) -> Result<()> {
        for entry in self.folder.entries()? {
            if crate::system::folder::is_temporary(entry.name) {
                self.folder.unlink(entry.name)?;
            }
        }
        Ok(())
    }
}

/// The index files that change, for exactly those that exist: the texts, then what is made
/// from them. Each text is passed over once.
fn rewrites(survey: &Survey<'_>, order: Order) -> Result<Vec<Rewrite>> {
    let folder = &survey.folder;
    let layout = layout(folder)?;
    let mut indexing = Indexing {
        keep: &survey.keep,
        priorities: vec![0; survey.keep.modules().len()],
        writer: Writer::default(),
    };
    let (mut texts, mut indexes) = (Vec::new(), Vec::new());
    for &(name, format) in FILES {
        if name == b"modules.order" && order == Order::Leave {
            continue;
        }
        let index = BINARIES.iter().find(|(_, _, source)| *source == name);
        let index = index.map(|&(binary, index, _)| Ok((binary, index, folder.text(index)?)));
        let index = match index.transpose()? {
            Some((binary, index, Some(old))) => Some((binary, index, old)),
            _ => None,
        };
        let Some(text) = folder.text(name)? else {
            if let Some((_, index, _)) = index {
                let what = "{} has no text to be made from; run depmod";
                return Err(Error::refused(what, &[folder.shown(index)]));
            }
            continue;
        };
        let parts = indexing.filter(name, format, text, index.map(|(binary, ..)| binary));
        let parts = parts.map_err(|line| {
            let what = "no line of depmod's; run depmod";
            Error::parse(folder.shown(name), line, what, &[])
        })?;
        push_changed(&mut texts, name, text, parts);
        if let Some((_, index, old)) = index {
            let Some(bytes) = indexing.writer.write(layout) else {
                let what = "{} would become too large";
                return Err(Error::refused(what, &[folder.shown(index)]));
            };
            push_changed(&mut indexes, index, old, vec![bytes.leak()]);
        }
    }
    texts.extend(indexes);
    Ok(texts)
}

/// What the texts are filtered by and the binary indexes are made with.
struct Indexing<'k> {
    keep: &'k Closure,
    /// For each module that stays, the number of its line in the new modules.dep, which is the
    /// first text.
    priorities: Vec<u32>,
    writer: Writer,
}

impl Indexing<'_> {
    /// The parts of a text that stay, or the number of a damaged line; what stays becomes the
    /// entries of its index, if it has one.
    fn filter(
        &mut self,
        name: &[u8],
        format: Format,
        text: Text,
        index: Option<Binary>,
    ) -> core::result::Result<Vec<Text>, usize> {
        let mut number = 0;
        let position = |name: ModuleName<'_>| self.keep.position(name);
        filter(format, text, &position, &mut |found| {
            if let Some((line, position)) = found {
                if name == b"modules.dep" {
                    self.priorities[position] = number;
                }
                if let Some(index) = index {
                    index.add(&mut self.writer, line, self.priorities[position]);
                }
            }
            number += 1;
        })
    }
}

fn push_changed(rewrites: &mut Vec<Rewrite>, name: Text, old: Text, parts: Vec<Text>) {
    let mut rest = old;
    let is_same = parts.iter().all(|part| match rest.strip_prefix(*part) {
        Some(behind) => {
            rest = behind;
            true
        }
        None => false,
    });
    if !is_same || !rest.is_empty() {
        rewrites.push(Rewrite {
            name,
            old_size: old.len(),
            parts,
        });
    }
}

/// The order in which this machine's depmod writes nodes, as its indexes show. Where all are
/// empty any order is right, and the newer one is what the machine will have sooner or later.
fn layout(folder: &Folder) -> Result<Layout> {
    for &(_, name, _) in BINARIES {
        if let Some(bytes) = folder.text(name)? {
            if let Some(layout) = Trie::new(bytes, folder.shown(name))?.layout() {
                return Ok(layout);
            }
        }
    }
    Ok(Layout::ParentsFirst)
}
