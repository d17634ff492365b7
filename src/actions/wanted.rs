//! Which modules a call names: by `--use`, in the files of `--from`, by the machine's census.

use crate::actions::migrate::Source;
use crate::actions::restore::parked;
use crate::actions::{kernels, Session};
use crate::cli::parse::Mode;
use crate::cli::Action;
use crate::error::{Error, Errors, Result};
use crate::format::{join, new_list, render, Text};
use crate::needs::census;
use crate::needs::groups::expand;
use crate::needs::kernel::{file_of, module_named, Found};
use crate::package::database::Database;
use crate::package::queue::{self, FORGOTTEN};
use crate::system::{mapped, Root};
use crate::text::active::Registry;
use crate::text::name::ModulePath;
use crate::text::names::{self, Presence, Want};
use crate::text::nearest::Nearest;
use crate::text::{bare_lines, until};
use core::mem::take;

/// Everything that a call names.
#[derive(Default)]
pub struct Wanted {
    /// The names and aliases; those of registries, too, for actions that change none.
    pub names: Vec<Want>,
    /// The registries.
    pub sources: Vec<Source>,
}

impl Wanted {
    /// Reads what the call names; `None` where it names nothing.
    ///
    /// # Errors
    /// A file that cannot be read or is malformed, or that has no name in it.
    pub fn read(session: &Session) -> Result<Option<&'static Wanted>> {
        let Session { root, request, .. } = session;
        if request.names.is_empty() && request.from.is_empty() && !request.detect {
            return Ok(None);
        }
        let wanted = Box::leak(Box::<Wanted>::default());
        for name in &request.names {
            wanted.add(name);
        }
        wanted.names = expand(root, &take(&mut wanted.names), b"--use")?.to_vec();
        for file in &request.from {
            wanted.add_file(root, file)?;
        }
        if request.detect {
            let census = census::take(root)?;
            if census.devices == 0 {
                let place = root.shown(b"sys/devices");
                return Err(Error::refused(
                    msg!("{}: no hardware found there"),
                    &[place],
                ));
            }
            wanted.add_text(root, census.to_text(), b"census")?;
        }
        if request.action != Action::Install {
            for at in 0..wanted.sources.len() {
                for entry in wanted.sources[at].registry.entries() {
                    wanted.add(entry.name.to_kernel());
                }
            }
        }
        Ok(Some(wanted))
    }

    /// Adds a name that must be there.
    fn add(&mut self, given: Text) {
        let (presence, line) = (Presence::Required, 0);
        self.names.push(Want {
            given,
            presence,
            line,
        });
    }

    fn add_file(&mut self, root: &Root, file: &[u8]) -> Result<()> {
        let before = self.names.len();
        let registry = self.add_text(root, mapped::argument(file)?, file)?;
        if let Some(registry) = registry {
            let directory = file.strip_suffix(b"modules.active");
            let sibling = |name: &[u8]| match directory {
                Some(directory) => mapped::argument(join(&[directory, name], "")).unwrap_or(b""),
                None => b"",
            };
            self.sources.push(Source {
                registry,
                aliases: sibling(b"modules.alias"),
                builtin: sibling(b"modules.builtin"),
            });
        } else if self.names.len() == before {
            return Err(Error::refused(msg!("{} names no module"), &[file]));
        }
        Ok(())
    }

    /// Adds the names of a text; its registry is given back, if it has one.
    fn add_text(
        &mut self,
        root: &Root,
        text: Text,
        file: &[u8],
    ) -> Result<Option<&'static Registry>> {
        let found = names::parse(text, file)?;
        self.names
            .extend_from_slice(expand(root, &found.names, file)?);
        if found.registered == 0 {
            return Ok(None);
        }
        Ok(Some(Registry::parse(&found.registry, file)?))
    }
}

/// Says which names nothing matched: an error for those that must be there, with how they can be
/// had, and a word with `-d` for the others.
///
/// # Errors
/// A name that must be there.
pub fn check_found(
    session: &Session,
    names: &[Want],
    is_found: &[bool],
    versions: &[Text],
) -> Result<()> {
    let joined = join(versions, ", ");
    let (mut errors, missing) = (Errors::default(), new_list());
    for (want, is_found) in names.iter().zip(is_found) {
        if *is_found {
            continue;
        }
        let (what, parts) = (msg!("no module {} in kernel {}"), [want.given, joined]);
        match want.presence {
            Presence::Required => {
                errors.push(match nearest_module(session, want.given, versions)? {
                    name if name.is_empty() || name == want.given => Error::refused(what, &parts),
                    name => Error::refused(
                        msg!("no module {} in kernel {}; did you mean {}?"),
                        &[want.given, joined, name],
                    ),
                });
                missing.push(want.given);
            }
            Presence::Optional => session.report.debug(what, &parts),
        }
    }
    if !missing.is_empty() {
        for version in versions {
            // Whatever keeps it from being known is no reason to hide the error.
            let _ = say_who_brings(session, version, missing);
        }
    }
    errors.result()
}

/// The module of these kernels whose name is nearest; empty if none is near.
fn nearest_module(session: &Session, given: Text, versions: &[Text]) -> Result<Text> {
    let mut nearest = Nearest::to(module_named(given).to_kernel());
    for version in versions {
        let text = session
            .root
            .text_or_empty(file_of(version, b"modules.dep"))?;
        for line in bare_lines(text) {
            nearest.offer(ModulePath(until(line, b':')).name().to_kernel());
        }
    }
    Ok(nearest.found)
}

/// Says how modules that a kernel does not have come back: from its park, or with the package that was
/// forgotten or trimmed.
///
/// # Errors
/// It cannot be found out.
pub fn say_who_brings(session: &Session, version: Text, missing: &[Text]) -> Result<()> {
    let Session {
        root,
        request,
        report,
    } = session;
    let names = new_list();
    let gone = new_list();
    let folder = kernels::open(root, version, Mode::DryRun)?;
    let full = parked(root, version, &folder)?;
    for &given in missing {
        match &full {
            Some(full) if matches!(full.find(given)?, Found::Modules(_)) => names.push(given),
            _ => gone.push(given),
        }
    }
    if !names.is_empty() {
        let what = msg!("parked in kernel {}; this brings it back: limopack --restore --use={}");
        report.warn(what, &[version, join(names, ",")]);
    }
    if gone.is_empty() {
        return Ok(());
    }
    for note in queue::read(root, FORGOTTEN)?.all {
        if note.kernels.contains(&version) {
            let what = msg!("kernel {} was pruned; for more of its modules, install again: {}");
            report.warn(what, &[version, note.package]);
        }
    }
    // Of a package that was trimmed, this list stays as it was.
    let order = root.text_or_empty(file_of(version, b"modules.order"))?;
    let is_missing = |path: &[u8]| {
        let name = ModulePath(path).name();
        gone.iter().any(|given| module_named(given) == name)
    };
    let Some(database) = Database::find(root, request.root.is_some())? else {
        return Ok(());
    };
    if bare_lines(order).any(is_missing) {
        let owner = database.owner(root, render(msg!("{}/kernel/"), &[version]))?;
        if !owner.is_empty() {
            let what = msg!(
                "kernel {} was pruned; for more of its modules: apt-get install --reinstall {}"
            );
            report.warn(what, &[version, owner]);
        }
    }
    Ok(())
}
