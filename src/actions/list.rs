//! `--list` and `--tree`: the modules needed, on stdout; or the firmware, which `--why --firmware` explains.

use crate::actions::wanted::{check_found, Wanted};
use crate::actions::{kernels, Session};
use crate::cli::parse::OutputFormat;
use crate::cli::Action;
use crate::error::Result;
use crate::format::{new_list, push_object, push_rendered, render, some_of, Text};
use crate::needs::firmware::{Demand, Supply};
use crate::needs::kernel::Found;
use crate::needs::sources::{add_boot, add_loaded, keep_all, Machine};
use crate::needs::survey::{message, Finding, Kind};
use crate::needs::tree::Drawing;
use crate::needs::{Closure, Kernel, Why};
use crate::plan::park::Park;
use crate::system::report::print;
use crate::system::{Report, Root};
use crate::text::names::{Presence, Want};

/// Prints the paths of the modules needed, one per line, sorted, each once; or the modules as a tree,
/// under the kernel's version where there are several.
///
/// # Errors
/// A name that no kernel has, a damaged file, no kernel to show.
#[inline(never)] // larger in the large frame of its caller
pub fn list(session: &Session) -> Result<()> {
    let Session {
        root,
        report,
        request,
    } = session;
    let is_why = request.action == Action::Why;
    let wanted = match is_why {
        true => None,
        false => Wanted::read(session)?,
    };
    let versions = kernels::to_show(session)?;
    let out = new_list();
    let names: &[Want] = wanted.map_or(&[], |wanted| &wanted.names);
    let mut is_found = vec![false; names.len()];
    let machine = match wanted {
        Some(_) => None,
        None => Some(Machine::look_around(root, report)?),
    };
    let mut demand = request.is_firmware.then(|| Demand::new(root));
    for version in versions {
        let kernel = Kernel::open(root, version)?;
        let closure = Closure::empty();
        match machine {
            None => named(closure, &kernel, names, &mut is_found, report)?,
            Some(machine) if request.is_boot => boot(closure, machine, &kernel, report)?,
            Some(machine) => needed(closure, root, machine, &kernel, report)?,
        }
        let Some(demand) = &mut demand else {
            show(session, closure, version, versions, out);
            continue;
        };
        if let Some(folder) = kernel.folder()? {
            demand.add_modules(&kernel, &folder, &closure.paths())?;
        }
        if machine.is_some() && !request.is_boot {
            demand.add_builtin(&kernel)?;
        }
    }
    check_found(session, names, &is_found, versions)?;
    if let Some(demand) = demand {
        let supply = demand.supply(report, Park::of_firmware(root).path())?;
        for &path in supply.needed(false).iter().filter(|_| !is_why) {
            match request.format {
                OutputFormat::Json => push_object(out, &[("path", path)]),
                OutputFormat::Text => push_rendered(out, b"{}\n", &[path]),
            }
        }
        for name in request.names.iter().filter(|_| is_why) {
            explain(name, supply, request.format, out);
        }
    }
    print(out)
}

/// Adds who asks for the firmware of a name, or of a pattern.
fn explain(name: &[u8], supply: &Supply<'_>, format: OutputFormat, out: &mut Vec<u8>) {
    let mut line = |path: &[u8], text: &[u8]| match format {
        OutputFormat::Json => push_object(out, &[("path", path), ("text", text)]),
        OutputFormat::Text => push_rendered(out, b"{}: {}\n", &[path, text]),
    };
    let mut is_found = false;
    for entry in supply.entries.iter() {
        if entry.rest(name) == Some(b"") {
            is_found = true;
            line(
                entry.path,
                match entry.by {
                    Some(by) => render(msg!("{} asks for it"), &[by]),
                    None => msg!("nothing asks for it").text(),
                },
            );
        }
    }
    if !is_found {
        line(name, b"not on disk");
    }
}

/// Adds what a kernel needs, `version` of several `versions`, to what is printed.
fn show(
    session: &Session,
    closure: &Closure,
    version: &[u8],
    versions: &[Text],
    out: &mut Vec<u8>,
) {
    let with_version = versions.len() > 1;
    if session.request.action == Action::Tree {
        let mut indent: &[u8] = b"";
        if with_version {
            out.extend_from_slice(version);
            out.push(b'\n');
            indent = b"  ";
        }
        Drawing::new(closure).draw(indent, out);
        return;
    }
    let paths = closure.paths();
    let mut size = 0;
    for path in &paths {
        size += path.len() + version.len() + 2;
    }
    out.reserve(size);
    for path in paths {
        if session.request.format == OutputFormat::Json {
            push_object(out, &[("kernel", version), ("path", path)]);
            continue;
        }
        if with_version {
            out.extend_from_slice(version);
            out.push(b'/');
        }
        out.extend_from_slice(path);
        out.push(b'\n');
    }
}

/// Names the modules that the kernel does not have, and the file systems that it does not know.
fn warn_of(version: Text, findings: &[Finding], report: &Report) {
    for kind in [Kind::Missing, Kind::Root, Kind::FileSystem] {
        if findings.iter().any(|finding| finding.kind == kind) {
            report.warn(msg!("{}"), &[message(version, kind, findings)]);
        }
    }
}

/// What mounts the root and the other file systems of the boot.
fn boot(
    closure: &mut Closure,
    machine: &Machine,
    kernel: &Kernel<'_>,
    report: &Report,
) -> Result<()> {
    let findings = new_list();
    add_boot(closure, machine, kernel, findings)?;
    warn_of(kernel.version(), findings, report);
    closure.complete(kernel)
}

/// What stays, and what is loaded.
fn needed(
    closure: &mut Closure,
    root: &Root,
    machine: &Machine,
    kernel: &Kernel<'_>,
    report: &Report,
) -> Result<()> {
    let version = kernel.version();
    let findings = new_list();
    let registry = kernels::registry(root, version)?;
    keep_all(closure, machine, kernel, registry, findings)?;
    warn_of(version, findings, report);
    if machine.runs(version) {
        let absent = add_loaded(closure, machine, kernel)?;
        if !absent.is_empty() {
            let what = msg!("loaded, but not in kernel {}: {}");
            report.warn(what, &[version, some_of(absent)]);
        }
        closure.complete(kernel)?;
    }
    Ok(())
}

/// What is named, and needs of it; `found` says which names the kernel has.
///
/// # Errors
/// A damaged index.
pub fn named(
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
                closure.add_all(lines, Why::Named);
                *found = true;
            }
            Found::Builtin => {
                let what = msg!("{} is built into kernel {}");
                match want.presence {
                    Presence::Required => report.note(what, &[name, kernel.version()]),
                    Presence::Optional => report.debug(what, &[name, kernel.version()]),
                }
                *found = true;
            }
            Found::Nothing => {}
        }
    }
    closure.complete(kernel)
}
