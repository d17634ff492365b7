//! Carrying a registry over to another kernel: `--install --from=modules.active`, and `--install` of
//! what is loaded for the kernels that do not run.
//!
//! A module that the other kernel has is taken over by its name. Where an alias of it went to
//! another module, that one is taken, too: drivers are renamed and split. Where it kept all its
//! aliases, others that have them as well are rivals that were not wanted before. What was built
//! into the old kernel and is a module of the new one was always there, and has to be again.

use crate::error::Result;
use crate::format::{join, new_list, push_rendered, some_of, List, Text};
use crate::needs::kernel::file_of;
use crate::needs::Kernel;
use crate::system::{Report, Root};
use crate::text::active::{Hold, Registry};
use crate::text::alias::alias;
use crate::text::name::{ModuleName, ModulePath};
use crate::text::{lines, sort_once, split_at_byte};

/// A registry, and what is known of the kernel that it belongs to.
pub struct Source {
    /// Its entries.
    pub registry: &'static Registry,
    /// modules.alias of that kernel, or nothing.
    pub aliases: Text,
    /// modules.builtin of that kernel, or nothing.
    pub builtin: Text,
}

impl Source {
    /// A registry of modules that an installed kernel, or one that was, has loaded.
    ///
    /// # Errors
    /// The kernel's files cannot be read.
    pub fn of_loaded(
        root: &Root,
        version: Text,
        loaded: &[ModuleName<'static>],
    ) -> Result<&'static Source> {
        let registry = new_list();
        for name in loaded {
            push_rendered(registry, b"{}:S\n", &[name.to_kernel()]);
        }
        let registry = Registry::parse(registry, b"")?;
        let file = |name: &[u8]| root.text_or_empty(file_of(version, name));
        Ok(Box::leak(Box::new(Source {
            registry,
            aliases: file(b"modules.alias")?,
            builtin: file(b"modules.builtin")?,
        })))
    }
}

/// Adds the entries of `source` to the registry of a kernel. What the kernel does not have is
/// reported and left out.
///
/// # Errors
/// A damaged index.
pub fn migrate(
    registry: &mut Registry,
    kernel: &Kernel<'_>,
    source: &Source,
    report: &Report,
) -> Result<()> {
    let version = kernel.version();
    let source_registry = &source.registry;
    registry.order(
        source_registry.standing(),
        source_registry.orders_firmware(),
    );
    let heirs = heirs(kernel, source)?;
    let inherited: &mut Vec<Text> = new_list();
    for pair in heirs {
        inherited.push(split_at_byte(pair, b' ').1);
    }
    sort_once(inherited);
    let (built_in, gone) = (new_list(), new_list());
    for entry in source.registry.entries() {
        let name = entry.name.to_kernel();
        if kernel.line(entry.name)?.is_some() {
            registry.merge(entry.name, entry);
        } else if kernel.is_builtin(entry.name)?.is_yes() {
            built_in.push(name);
        } else if inherited.binary_search(&name).is_err() {
            gone.push(name);
        }
    }
    for pair in heirs {
        let (heir, old) = split_at_byte(pair, b' ');
        let name = ModuleName::new(heir);
        let is_new = registry.find(name).is_none();
        if let Some(entry) = source.registry.find(ModuleName::new(old)) {
            registry.merge(name, entry);
        }
        if is_new {
            report.note(
                msg!("{} has aliases of {} in kernel {}"),
                &[heir, old, version],
            );
        }
    }
    let fresh = new_list();
    for (_, path) in lines(source.builtin) {
        let name = ModulePath(path).name();
        if registry.find(name).is_none() && kernel.line(name)?.is_some() {
            registry.add(name, Hold::Static, None);
            fresh.push(name.to_kernel());
        }
    }
    if !built_in.is_empty() {
        let what = msg!("built into kernel {}, not registered: {}");
        report.note(what, &[version, some_of(built_in)]);
    }
    if !fresh.is_empty() {
        let what = msg!("no longer built in with kernel {}: {}");
        report.note(what, &[version, some_of(fresh)]);
    }
    if !gone.is_empty() {
        let what = msg!("not in kernel {}, not registered: {}");
        report.warn(what, &[version, some_of(gone)]);
    }
    Ok(())
}

/// The kernel's modules that have an alias which a registered one had in the old kernel and has not
/// in this one, each before the one whose entry it inherits, as two words, sorted.
fn heirs(kernel: &Kernel<'_>, source: &Source) -> Result<List<Text>> {
    let new: &mut Vec<Text> = new_list();
    for (_, line) in lines(kernel.file_or_empty(b"modules.alias")?) {
        if alias(line).is_some() {
            new.push(line);
        }
    }
    sort_once(new);
    let heirs = new_list();
    for (_, line) in lines(source.aliases) {
        let Some((_, owner)) = alias(line) else {
            continue;
        };
        let Some(entry) = source.registry.find(ModuleName::new(owner)) else {
            continue;
        };
        if new.binary_search(&line).is_ok() {
            continue;
        }
        // Lines with one pattern stand together.
        let pattern = &line[..line.len() - owner.len()];
        let first = new.binary_search(&pattern).unwrap_or_else(|at| at);
        for other in &new[first..] {
            let Some(heir) = other.strip_prefix(pattern).map(ModuleName::new) else {
                break;
            };
            if heir != entry.name
                && kernel.line(heir)?.is_some()
                && !kernel.is_builtin(entry.name)?.is_yes()
            {
                heirs.push(join(&[heir.to_kernel(), entry.name.to_kernel()], " "));
            }
        }
    }
    sort_once(heirs);
    Ok(heirs)
}
