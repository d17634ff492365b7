//! What the modules that are built into a kernel ask for while it runs: what the hidden table has
//! of them (i8042 still wants psmouse), and their own records in modules.builtin.modinfo, which
//! modprobe never looks at: `ext4.softdep=pre: crypto-crc32c`, each with a NUL behind it.

use crate::error::Result;
use crate::format::Text;
use crate::needs::{Kernel, Need};
use crate::text::name::ModulePath;
use crate::text::{lines, split_at_byte};

/// Something that a built-in module asks for. A target that the kernel does not have is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The module's name.
    pub module: Text,
    /// How it needs that.
    pub need: Need,
    /// Modules or aliases, for [`crate::text::modprobe::targets`].
    pub targets: Text,
}

/// What the built-in modules of a kernel ask for.
///
/// # Errors
/// A file of the kernel or of its rules cannot be read.
pub fn asks(kernel: &Kernel<'_>) -> Result<Vec<Asked>> {
    let rules = kernel.rules()?;
    let mut asks = Vec::new();
    for (_, line) in lines(kernel.file_or_empty(b"modules.builtin")?) {
        let path = ModulePath(line);
        for rule in rules.of(path, path.name().hash()) {
            asks.push(Asked {
                module: path.name().as_written(),
                need: rule.need,
                targets: rule.targets,
            });
        }
    }
    let mut rest = kernel.file_or_empty(b"modules.builtin.modinfo")?;
    while !rest.is_empty() {
        let (record, behind) = split_at_byte(rest, 0);
        asks.extend(asked(record));
        rest = behind;
    }
    Ok(asks)
}

fn asked(record: Text) -> Option<Asked> {
    let (key, targets) = split_at_byte(record, b'=');
    let (module, need) = match key.strip_suffix(b".softdep") {
        Some(module) => (module, Need::Soft),
        None => (key.strip_suffix(b".weakdep")?, Need::Weak),
    };
    Some(Asked {
        module,
        need,
        targets,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::scratch::Scratch;

    #[test]
    fn the_table_and_the_records_of_built_in_modules_are_found() {
        let scratch = Scratch::new("builtin");
        scratch.write("lib/modules/1/modules.dep", "kernel/a.ko:\n");
        scratch.write(
            "lib/modules/1/modules.builtin",
            "kernel/drivers/input/serio/i8042.ko\nkernel/fs/ext2.ko\nkernel/a-b.ko\n",
        );
        scratch.write(
            "lib/modules/1/modules.builtin.modinfo",
            "ext2.license=GPL\0ext2.softdep=pre: x\0soft.parm=softdep=y\0a_b.weakdep=y z\0tail=",
        );
        scratch.write("etc/limopack/hidden.d/x.conf", "a-b h\nnone n\n");
        let root = scratch.root();
        let kernel = Kernel::open(&root, b"1").unwrap();
        let asks: Vec<_> = asks(&kernel).unwrap();
        let shown: Vec<_> = asks
            .iter()
            .map(|asked| (asked.module, asked.need, asked.targets))
            .collect();
        let wanted: [(Text, Need, Text); 4] = [
            (b"i8042", Need::Hidden, b"psmouse atkbd"),
            (b"a-b", Need::Hidden, b" h"),
            (b"ext2", Need::Soft, b"pre: x"),
            (b"a_b", Need::Weak, b"y z"),
        ];
        assert_eq!(shown, wanted);
    }

    #[test]
    fn a_kernel_without_these_files_asks_for_nothing() {
        let scratch = Scratch::new("builtin-none");
        scratch.write("lib/modules/1/modules.dep", "kernel/a.ko:\n");
        let root = scratch.root();
        let kernel = Kernel::open(&root, b"1").unwrap();
        assert!(asks(&kernel).unwrap().is_empty());
    }
}
