//! `--list` and `--tree`: the modules needed, on stdout.

use crate::actions::kernels;
use crate::cli::Request;
use crate::error::{Error, Result};
use crate::needs::kernel::{directory, Found};
use crate::needs::tree::Drawing;
use crate::needs::{Closure, Kernel, Why};
use crate::system::report::print;
use crate::system::{Report, Root};
use crate::text::active::Registry;
use crate::text::name::ModuleName;
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
    let versions = kernels::to_show(root, request)?;
    let loaded = match request.names.is_empty() {
        true => loaded_text(root, report)?,
        false => None,
    };
    let mut found = vec![false; request.names.len()];
    for version in &versions {
        let kernel = Kernel::open(root, version)?;
        let mut closure = Closure::default();
        if request.names.is_empty() {
            add_loaded(&mut closure, &kernel, loaded, root, report)?;
            add_registered(&mut closure, &kernel, root, report)?;
        } else {
            add_named(&mut closure, &kernel, &request.names, &mut found, report)?;
        }
        closure.complete(&kernel)?;
        show(version, &closure, versions.len() > 1);
    }
    let names = request.names.iter().zip(&found);
    let missing = names.filter(|(_, found)| !**found);
    Error::unless_empty(
        missing
            .map(|(name, _)| no_such_module(name, &versions))
            .collect(),
    )
}

/// The error for a name that none of the kernels has.
pub fn no_such_module(name: &[u8], versions: &[Vec<u8>]) -> Error {
    Error::refused(&[
        b"no module ",
        name,
        b" in kernel ",
        &versions.join(&b", "[..]),
    ])
}

fn loaded_text(root: &Root, report: &Report) -> Result<Option<&'static [u8]>> {
    let text = root.text(b"proc/modules")?;
    if text.is_none() {
        report.debug(&[
            b"no ",
            &root.shown(b"proc/modules"),
            b"; taking no module for loaded",
        ]);
    }
    Ok(text)
}

fn add_loaded(
    closure: &mut Closure,
    kernel: &Kernel<'_>,
    text: Option<&[u8]>,
    root: &Root,
    report: &Report,
) -> Result<()> {
    let shown = root.shown(b"proc/modules");
    for name in proc_modules::names(text.unwrap_or(b""), &shown) {
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
    let path = [&directory(kernel.version()), &b"/modules.active"[..]].concat();
    let Some(text) = root.text(&path)? else {
        return Ok(());
    };
    let registry = Registry::parse(text, &root.shown(&path))?;
    for entry in registry.entries() {
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

fn warn_absent(report: &Report, what: &[u8], name: ModuleName<'_>, version: &[u8]) {
    let name = name.to_kernel();
    report.warn(&[
        &name,
        b" is ",
        what,
        b", but kernel ",
        version,
        b" has no such module",
    ]);
}

fn add_named(
    closure: &mut Closure,
    kernel: &Kernel<'_>,
    names: &[Vec<u8>],
    found: &mut [bool],
    report: &Report,
) -> Result<()> {
    for (name, found) in names.iter().zip(found) {
        match kernel.find(name)? {
            Found::Modules(lines) => {
                for line in lines {
                    closure.add(line, Why::Named);
                }
                *found = true;
            }
            Found::Builtin => {
                report.note(&[name, b" is built into kernel ", kernel.version()]);
                *found = true;
            }
            Found::Nothing => {}
        }
    }
    Ok(())
}
