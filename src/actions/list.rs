//! `--list` and `--tree`: the modules needed, on stdout.

use crate::actions::kernels;
use crate::actions::wanted::{judge, Want, Wanted};
use crate::cli::Request;
use crate::error::Result;
use crate::needs::kernel::{file_of, Found};
use crate::needs::tree::Drawing;
use crate::needs::{Closure, Kernel, Why};
use crate::system::report::print;
use crate::system::{Report, Root};
use crate::text::active::{Registry, ACTIVE};
use crate::text::name::ModuleName;
use crate::text::names::Insist;
use crate::text::proc_modules;

/// Prints the paths of the modules needed, one a line, sorted, each once.
///
/// # Errors
/// A name that no kernel has, a damaged file, no kernel to show.
pub fn list(root: &Root, request: &Request, report: &Report) -> Result<()> {
    let mut out = Vec::new();
    for_each_kernel(
        root,
        request,
        report,
        &mut |version, closure, with_version| {
            let paths = closure.paths();
            out.reserve(
                paths
                    .iter()
                    .map(|path| path.len() + version.len() + 2)
                    .sum(),
            );
            for path in paths {
                if with_version {
                    out.extend_from_slice(version);
                    out.push(b'/');
                }
                out.extend_from_slice(path);
                out.push(b'\n');
            }
        },
    )?;
    print(&out)
}

/// Prints them as a tree, under the kernel's version where there are several.
///
/// # Errors
/// As [`list`].
pub fn tree(root: &Root, request: &Request, report: &Report) -> Result<()> {
    let mut out = Vec::new();
    for_each_kernel(
        root,
        request,
        report,
        &mut |version, closure, with_version| {
            let mut indent: &[u8] = b"";
            if with_version {
                out.extend_from_slice(version);
                out.push(b'\n');
                indent = b"  ";
            }
            out.extend(Drawing::new(closure).draw(indent));
        },
    )?;
    print(&out)
}

/// What to do with one kernel's closure: its version, the closure, and whether to tell kernels apart.
type Show<'f> = &'f mut dyn FnMut(&[u8], &Closure, bool);

fn for_each_kernel(root: &Root, request: &Request, report: &Report, show: Show<'_>) -> Result<()> {
    let wanted = Wanted::read(root, request, report)?.map(Wanted::into_names);
    let versions = kernels::to_show(root, request)?;
    let loaded = match &wanted {
        None => loaded_text(root, report)?,
        Some(_) => None,
    };
    let wanted = wanted.as_deref();
    let mut found = vec![false; wanted.map_or(0, <[Want]>::len)];
    for version in &versions {
        let kernel = Kernel::open(root, version)?;
        let mut closure = Closure::default();
        match wanted {
            None => {
                add_loaded(&mut closure, &kernel, loaded, root, report)?;
                add_registered(&mut closure, &kernel, root, report)?;
            }
            Some(names) => add_named(&mut closure, &kernel, names, &mut found, report)?,
        }
        closure.complete(&kernel)?;
        show(version, &closure, versions.len() > 1);
    }
    let names = wanted.unwrap_or(&[]).iter().zip(&found);
    let missing: Vec<&Want> = names
        .filter(|(_, found)| !**found)
        .map(|(want, _)| want)
        .collect();
    judge(&missing, &versions, report)
}

/// The text of /proc/modules; `None`, and a word of it, where it is missing.
///
/// # Errors
/// It cannot be read.
pub fn loaded_text(root: &Root, report: &Report) -> Result<Option<&'static [u8]>> {
    let text = root.text(b"proc/modules")?;
    if text.is_none() {
        report.debug(
            "no {}; taking no module for loaded",
            &[root.shown(b"proc/modules")],
        );
    }
    Ok(text)
}

/// Adds the loaded modules.
///
/// # Errors
/// A damaged file.
pub fn add_loaded(
    closure: &mut Closure,
    kernel: &Kernel<'_>,
    text: Option<&[u8]>,
    root: &Root,
    report: &Report,
) -> Result<()> {
    let shown = root.shown(b"proc/modules");
    for name in proc_modules::names(text.unwrap_or(b""), shown) {
        let name = name?;
        match kernel.line(name)? {
            Some(line) => {
                closure.add(line, Why::Loaded);
            }
            None => warn_absent(report, b"loaded", name, kernel.version()),
        }
    }
    Ok(())
}

fn add_registered(
    closure: &mut Closure,
    kernel: &Kernel<'_>,
    root: &Root,
    report: &Report,
) -> Result<()> {
    for entry in registry(root, kernel)?.entries() {
        match kernel.line(entry.name)? {
            Some(line) => {
                closure.add(line, Why::Registered);
            }
            None if kernel.is_builtin(entry.name)? => {}
            None => warn_absent(report, b"registered", entry.name, kernel.version()),
        }
    }
    Ok(())
}

/// The registry of a kernel, to be read only; an empty one where it has none.
///
/// # Errors
/// A malformed line.
pub fn registry(root: &Root, kernel: &Kernel<'_>) -> Result<Registry<'static>> {
    let path = file_of(kernel.version(), ACTIVE);
    Registry::parse(root.text_or_empty(path)?, root.shown(path))
}

/// What stays for itself in a prune: the registered modules and those outside `kernel/`. What
/// they need comes in with [`Closure::complete`].
///
/// # Errors
/// A damaged index.
pub fn kept(kernel: &Kernel<'_>, registry: &Registry<'_>) -> Result<Closure> {
    let mut kept = Closure::default();
    for entry in registry.entries() {
        if let Some(line) = kernel.line(entry.name)? {
            kept.add(line, Why::Registered);
        }
    }
    for line in kernel.outside()? {
        kept.add(line, Why::Outside);
    }
    Ok(kept)
}

fn warn_absent(report: &Report, what: &[u8], name: ModuleName<'_>, version: &[u8]) {
    let name = name.to_kernel();
    report.warn(
        "{} is {}, but kernel {} has no such module",
        &[name, what, version],
    );
}

fn add_named(
    closure: &mut Closure,
    kernel: &Kernel<'_>,
    names: &[Want],
    found: &mut [bool],
    report: &Report,
) -> Result<()> {
    for (want, found) in names.iter().zip(found) {
        let name = &want.given;
        match kernel.find(name)? {
            Found::Modules(lines) => {
                for line in lines {
                    closure.add(line, Why::Named);
                }
                *found = true;
            }
            Found::Builtin => {
                let what = "{} is built into kernel {}";
                match want.insist {
                    Insist::Must => report.note(what, &[name, kernel.version()]),
                    Insist::May => report.debug(what, &[name, kernel.version()]),
                }
                *found = true;
            }
            Found::Nothing => {}
        }
    }
    Ok(())
}
