//! The three binary indexes that list modules, made from the text files beside them.
//!
//! The numbers of lines in the new modules.dep are the priorities, as depmod has them.
//! (kmod: tools/depmod.c, `output_deps_bin`, `output_aliases_bin`, `output_symbols_bin`)

use crate::index::filter::Line;
use crate::index::writer::Writer;
use crate::text::alias::{has_open_bracket, normalise};
use crate::text::name::kernel_byte;

/// A binary index and the text that it is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// modules.dep.bin: module name → its line
    Dep,
    /// modules.alias.bin: pattern → module name
    Alias,
    /// modules.symbols.bin: `symbol:NAME` → module name
    Symbols,
}

/// The binary indexes with their names and those of their texts.
pub const BINARIES: &[(Binary, &[u8], &[u8])] = &[
    (Binary::Dep, b"modules.dep.bin", b"modules.dep"),
    (Binary::Alias, b"modules.alias.bin", b"modules.alias"),
    (Binary::Symbols, b"modules.symbols.bin", b"modules.symbols"),
];

impl Binary {
    /// Adds what the index lists of a line of its text; `priority` is that of the line's module.
    pub fn add(self, writer: &mut Writer, line: &Line<'_>, priority: u32) {
        match self {
            Binary::Dep => {
                let key = writer.add(line.module, line.whole, priority);
                key.iter_mut().for_each(|byte| *byte = kernel_byte(*byte));
            }
            Binary::Symbols => {
                writer.add(line.pattern, line.module, priority);
            }
            Binary::Alias if has_open_bracket(line.pattern) => {}
            Binary::Alias => normalise(writer.add(line.pattern, line.module, priority)),
        }
    }
}
