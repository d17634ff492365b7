//! Carrying a registry over to another kernel (`--install --from=modules.active`).
//!
//! A module that the other kernel has is taken over by its name. Where its aliases went to
//! another module, that one is taken, too: drivers are renamed and split. What was built into the
//! old kernel and is a module of the new one was always there, and has to be again.

use crate::actions::wanted::Source;
use crate::error::Result;
use crate::needs::Kernel;
use crate::system::Report;
use crate::text::active::{Entry, Hold, Registry};
use crate::text::alias::alias;
use crate::text::lines;
use crate::text::name::{ModuleName, ModulePath};

/// Adds the entries of `source` to the registry of a kernel. What the kernel does not have is
/// told and left out.
///
/// # Errors
/// A damaged index.
pub fn carry<'s>(
    registry: &mut Registry<'s>,
    kernel: &Kernel<'_>,
    source: &'s Source,
    report: &Report,
) -> Result<()> {
    let version = kernel.version();
    let mut gone = Vec::new();
    for entry in source.registry.entries() {
        let name = entry.name.to_kernel();
        if kernel.line(entry.name)?.is_some() {
            registry.merge(entry.name, entry);
        } else if kernel.is_builtin(entry.name)? {
            report.note(
                "{} is built into kernel {}; not registered",
                &[&name, version],
            );
        } else {
            gone.push(entry);
        }
    }
    let heirs = heirs(kernel, source)?;
    for &(heir, entry) in &heirs {
        let is_new = registry.find(heir).is_none();
        registry.merge(heir, entry);
        if is_new {
            let (heir, old) = (heir.to_kernel(), entry.name.to_kernel());
            report.note("{} has aliases of {} in kernel {}", &[&heir, &old, version]);
        }
    }
    for entry in gone {
        if !heirs.iter().any(|(_, of)| of.name == entry.name) {
            let name = entry.name.to_kernel();
            report.warn(
                "no module {} in kernel {}; not registered",
                &[&name, version],
            );
        }
    }
    for (_, path) in lines(source.builtin) {
        let name = ModulePath(path).name();
        if kernel.line(name)?.is_some() && registry.find(name).is_none() {
            registry.add(name, Hold::Static, None);
            let name = name.to_kernel();
            report.note("{} is no longer built in with kernel {}", &[&name, version]);
        }
    }
    Ok(())
}

/// The kernel's modules that have aliases of registered ones and had not in the old kernel, each
/// with the entry that it inherits.
fn heirs<'s>(
    kernel: &Kernel<'_>,
    source: &'s Source,
) -> Result<Vec<(ModuleName<'static>, &'s Entry<'static>)>> {
    let is_alias = |line: &&[u8]| alias(line).is_some();
    let mut old: Vec<&[u8]> = lines(source.aliases)
        .map(|line| line.1)
        .filter(is_alias)
        .collect();
    old.sort_unstable();
    let mut heirs: Vec<(ModuleName<'static>, &Entry<'static>)> = Vec::new();
    let new = kernel.file_or_empty(b"modules.alias")?;
    for (_, line) in lines(new) {
        let Some((_, module)) = alias(line) else {
            continue;
        };
        // Lines with one pattern stand together.
        let pattern = &line[..line.len() - module.len()];
        let first = old.partition_point(|other| *other < pattern);
        let same = old[first..]
            .iter()
            .map_while(|other| other.strip_prefix(pattern));
        let owners = same.map(ModuleName::new);
        let module = ModuleName::new(module);
        if owners.clone().any(|owner| owner == module) || kernel.line(module)?.is_none() {
            continue;
        }
        for owner in owners {
            let Some(entry) = source.registry.find(owner) else {
                continue;
            };
            let is_known = |(heir, of): &(ModuleName<'_>, &Entry<'_>)| {
                *heir == module && of.name == entry.name
            };
            if !heirs.iter().any(is_known) {
                heirs.push((module, entry));
            }
        }
    }
    Ok(heirs)
}
