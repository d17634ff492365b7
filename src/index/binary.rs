//! The three binary indexes that list modules, made from the text files beside them.
//!
//! The numbers of lines in the new modules.dep are the priorities, as depmod has them.
//! (kmod: tools/depmod.c, `output_deps_bin`, `output_aliases_bin`, `output_symbols_bin`)

use crate::index::trie::Layout;
use crate::index::writer::Writer;
use crate::text::lines;
use crate::text::name::{kernel_byte, ModuleName, ModulePath};

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
    for (_, line) in parts.iter().flat_map(|part| lines(part)) {
        add(&mut writer, binary, line, priority);
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

/// Pattern and module of an `alias PATTERN MODULE` line.
pub fn alias(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = line.strip_prefix(b"alias ")?;
    let space = memchr::memrchr(b' ', rest)?;
    let (pattern, module) = (&rest[..space], &rest[space + 1..]);
    (!pattern.is_empty() && !module.is_empty()).then_some((pattern, module))
}

/// A pattern with `-` as `_` outside brackets (kmod: shared/util.c, `alias_normalize`).
pub fn normalised(pattern: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let mut is_inside = false;
    pattern.iter().map(move |&byte| {
        match byte {
            b'[' => is_inside = true,
            b']' => is_inside = false,
            _ => {}
        }
        if is_inside {
            byte
        } else {
            kernel_byte(byte)
        }
    })
}

/// Whether a bracket has no partner; depmod leaves such a pattern out.
pub fn has_open_bracket(pattern: &[u8]) -> bool {
    let mut is_inside = false;
    for &byte in pattern {
        match byte {
            b']' if !is_inside => return true,
            b'[' => is_inside = true,
            b']' => is_inside = false,
            _ => {}
        }
    }
    is_inside
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_normalised_outside_brackets() {
        let normal = |text: &[u8]| normalised(text).collect::<Vec<u8>>();
        assert_eq!(normal(b"a-b[c-d]e-f"), b"a_b[c-d]e_f");
        assert!(has_open_bracket(b"a[b") && has_open_bracket(b"a]b") && !has_open_bracket(b"[b]"));
    }

    #[test]
    fn an_alias_line_is_pattern_and_module() {
        assert_eq!(alias(b"alias a b c"), Some((&b"a b"[..], &b"c"[..])));
        for bad in [
            &b"alias a"[..],
            b"alias  a",
            b"alias a ",
            b"softdep a b",
            b"",
        ] {
            assert_eq!(alias(bad), None);
        }
    }
}
