//! depmod's files as they will be, written anew without depmod: each for itself is what depmod
//! would write for the modules that are there then.

use crate::error::{Error, Result};
use crate::format::{decimal, new_list, render, List, Text};
use crate::index::binary::BINARIES;
use crate::index::filter::{filter, Comments, IndexFormat, Line, Position, See, FILES};
use crate::index::trie::{Layout, Trie};
use crate::index::writer::Writer;
use crate::system::Folder;

/// The list that depmod reads and never writes.
pub const ORDER: Text = b"modules.order";

/// What becomes of that list.
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
    pub parts: &'static [Text],
}

impl Rewrite {
    /// How many bytes it will have.
    pub fn size(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }

    /// Its line in a plan; `shown` is the directory, with a slash.
    pub fn describe(&self, shown: &[u8]) -> Text {
        let parts = [
            shown,
            self.name,
            decimal(self.old_size),
            decimal(self.size()),
        ];
        render(msg!("write {}{} {} -> {}\n"), &parts)
    }
}

/// The index files of a directory that change, for exactly those that exist: the texts, then what is
/// made from them. Each text is passed over once. `whole` returns a text of which the new one is a
/// part, `position` the place of a module that is listed among `count` of them.
///
/// # Errors
/// An index that cannot be written anew.
pub fn rewrites(
    folder: &Folder,
    whole: &dyn Fn(Text, IndexFormat) -> Result<Text>,
    order: Order,
    position: Position<'_>,
    count: usize,
) -> Result<List<Rewrite>> {
    let layout = layout(folder)?;
    // For each module that stays, the number of its line in the new modules.dep, the first text.
    let mut priorities = vec![0; count];
    let mut writer = Writer::default();
    let (texts, indexes) = (new_list(), new_list());
    for &(name, format) in FILES {
        let index = BINARIES.iter().find(|(_, _, source)| *source == name);
        let index = index.map(|&(binary, index, _)| Ok((binary, index, folder.text(index)?)));
        let index = match index.transpose()? {
            Some((binary, index, Some(old))) => Some((binary, index, old)),
            _ => None,
        };
        let Some(old) = folder.text(name)? else {
            if let Some((_, index, _)) = index {
                let what = msg!("{} has no text file to be made from; run depmod");
                return Err(Error::refused(what, &[folder.shown(index)]));
            }
            continue;
        };
        if name == ORDER && order == Order::Leave {
            continue;
        }
        let mut number = 0;
        let mut see = |found: Option<(&Line<'_>, usize)>| {
            if let Some((line, position)) = found {
                if name == b"modules.dep" {
                    priorities[position] = number;
                }
                if let Some((binary, ..)) = index {
                    binary.add(&mut writer, line, priorities[position]);
                }
            }
            number += 1;
        };
        let comments = Comments::Stay;
        let parts = part_of(
            folder,
            name,
            format,
            whole(name, format)?,
            comments,
            position,
            &mut see,
        )?;
        push_changed(texts, name, old, parts);
        if let Some((_, index, old)) = index {
            let Some(bytes) = writer.write(layout) else {
                let what = msg!("{} would become too large");
                return Err(Error::refused(what, &[folder.shown(index)]));
            };
            push_changed(indexes, index, old, vec![bytes].leak());
        }
    }
    texts.append(indexes);
    Ok(texts)
}

/// [`filter`] for a text of a directory.
///
/// # Errors
/// A line that is none of depmod's.
pub fn part_of<'t>(
    folder: &Folder,
    name: &[u8],
    format: IndexFormat,
    text: &'t [u8],
    comments: Comments,
    position: Position<'_>,
    see: See<'_, 't>,
) -> Result<&'t mut Vec<&'t [u8]>> {
    filter(format, text, comments, position, see).map_err(|line| {
        let what = msg!("no line of depmod's; run depmod");
        Error::parse(folder.shown(name), line, what, &[])
    })
}

fn push_changed(rewrites: &mut Vec<Rewrite>, name: Text, old: Text, parts: &'static [Text]) {
    let mut rest = old;
    let is_same = parts.iter().all(|part| match rest.strip_prefix(*part) {
        Some(after) => {
            rest = after;
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
