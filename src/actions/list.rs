//! `--list` and `--tree`: the modules needed, on stdout.

use crate::actions::kernels;
use crate::actions::wanted::{judge, Want, Wanted};
use crate::cli::Request;
use crate::error::Result;
use crate::format::Text;
use crate::needs::kernel::{file_of, Found};
use crate::needs::sources::{add_boot, add_loaded, keep_all, Machine};
use crate::needs::survey::{message, Finding, Kind};
use crate::needs::tree::Drawing;
use crate::needs::{Closure, Kernel, Why};
use crate::system::report::print;
use crate::system::{Report, Root};
use crate::text::active::{Registry, ACTIVE};
use crate::text::names::Insist;

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
            Drawing::new(closure).draw(indent, &mut out);
        },
    )?;
    print(&out)
}

/// What to do with one kernel's closure: its version, the closure, and whether to tell kernels apart.
type Show<'f> = &'f mut dyn FnMut(&[u8], &Closure, bool);

fn for_each_kernel(root: &Root, request: &Request, report: &Report, show: Show<'_>) -> Result<()> {
    let wanted = Wanted::read(root, request, report)?.map(Wanted::into_names);
    let versions = kernels::to_show(root, request)?;
    let machine = match &wanted {
        None => Some(Machine::look(root)?),
        Some(_) => None,
    };
    let wanted = wanted.as_deref();
    let mut found = vec![false; wanted.map_or(0, <[Want]>::len)];
    for &version in &versions {
        let kernel = Kernel::open(root, version)?;
        let closure = match &machine {
            Some(machine) if request.is_boot => boot(machine, &kernel, report)?,
            Some(machine) => needed(root, machine, &kernel, report)?,
            None => named(&kernel, wanted.unwrap_or(&[]), &mut found, report)?,
        };
        show(version, &closure, versions.len() > 1);
    }
    let names = wanted.unwrap_or(&[]).iter().zip(&found);
    let missing: Vec<&Want> = names
        .filter(|(_, found)| !**found)
        .map(|(want, _)| want)
        .collect();
    judge(&missing, &versions, report)
}

/// Names the file systems that the kernel does not know.
fn warn_of_boot(version: Text, findings: &[Finding], report: &Report) {
    for kind in [Kind::Root, Kind::FileSystem] {
        if findings.iter().any(|finding| finding.kind == kind) {
            report.warn("{}", &[message(version, kind, findings)]);
        }
    }
}

/// What mounts the root and the other file systems of the boot.
fn boot(machine: &Machine, kernel: &Kernel<'_>, report: &Report) -> Result<Closure> {
    let mut closure = Closure::default();
    let mut findings = Vec::new();
    add_boot(&mut closure, machine, kernel, &mut findings)?;
    warn_of_boot(kernel.version(), &findings, report);
    closure.complete(kernel)?;
    Ok(closure)
}

/// What stays, and what is loaded.
fn needed(root: &Root, machine: &Machine, kernel: &Kernel<'_>, report: &Report) -> Result<Closure> {
    let version = kernel.version();
    let mut findings = Vec::new();
    let registry = registry(root, kernel)?;
    let mut closure = Closure::default();
    keep_all(&mut closure, machine, kernel, &registry, &mut findings)?;
    for finding in findings
        .iter()
        .filter(|finding| finding.kind != Kind::FileSystem)
    {
        warn_absent(report, b"registered", finding.name, version);
    }
    if machine.runs(version) {
        for name in add_loaded(&mut closure, machine, kernel)? {
            warn_absent(report, b"loaded", name, version);
        }
        closure.complete(kernel)?;
    }
    Ok(closure)
}

/// The registry of a kernel, to be read only; an empty one where it has none.
///
/// # Errors
/// A malformed line.
pub fn registry(root: &Root, kernel: &Kernel<'_>) -> Result<Registry<'static>> {
    let path = file_of(kernel.version(), ACTIVE);
    Registry::parse(root.text_or_empty(path)?, root.shown(path))
}

fn warn_absent(report: &Report, what: &[u8], name: &[u8], version: &[u8]) {
    report.warn(
        "{} is {}, but kernel {} has no such module",
        &[name, what, version],
    );
}

/// What is named, and needs of it.
fn named(
    kernel: &Kernel<'_>,
    names: &[Want],
    found: &mut [bool],
    report: &Report,
) -> Result<Closure> {
    let mut closure = Closure::default();
    for (want, found) in names.iter().zip(found) {
        let name = &want.given;
        match kernel.find(name)? {
            Found::Modules(lines) => {
                for &line in lines {
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
    closure.complete(kernel)?;
    Ok(closure)
}
