//! The three binary indexes that list modules, made from the text files beside them.
//!
//! The numbers of lines in the new modules.dep are the priorities, as depmod has them.
//! (kmod: tools/depmod.c, `output_deps_bin`, `output_aliases_bin`, `output_symbols_bin`)

use crate::index::trie::Layout;
use crate::index::writer::Writer;
use crate::text::alias::{alias, has_open_bracket, normalised};
use crate::text::lines;
use crate::text::name::{ModuleName, ModulePath};

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

/// The index file made from `parts` of a text, with a priority for each module that is left;
/// `None` if it would be too large for its format.
pub fn write<'t>(
    binary: Binary,
    parts: &[&'t [u8]],
    priority: &dyn Fn(ModuleName<'_>) -> Option<u32>,
    layout: Layout,
) -> Option<Vec<u8>> {
    let mut writer = Writer::default();
    for part in parts {
        for (_, line) in lines(part) {
            add(&mut writer, binary, line, priority);
        }
    }
    writer.write(layout)
}

fn add<'t>(
    writer: &mut Writer<'t>,
    binary: Binary,
    line: &'t [u8],
    priority: &dyn Fn(ModuleName<'_>) -> Option<u32>,
) {
    if binary == Binary::Dep {
        let Some(colon) = memchr::memchr(b':', line) else {
            return;
        };
        let name = ModulePath(&line[..colon]).name();
        if let Some(priority) = priority(name) {
            writer.add(name.kernel_bytes(), line, priority);
        }
        return;
    }
    let Some((pattern, module)) = alias(line) else {
        return;
    };
    let Some(priority) = priority(ModuleName::new(module)) else {
        return;
    };
    match binary {
        Binary::Symbols => writer.add(pattern.iter().copied(), module, priority),
        _ if has_open_bracket(pattern) => {}
        _ => writer.add(normalised(pattern), module, priority),
    }
}
