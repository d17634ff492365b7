//! Which modules a call names: by `--use`, in the files of `--from`, by the machine's census.

use crate::actions::carry::Source;
use crate::actions::Session;
use crate::cli::Action;
use crate::error::{Error, Result};
use crate::format::{decimal, join, Text};
use crate::needs::census;
use crate::system::{mapped, Report};
use crate::text::active::Registry;
use crate::text::names::{self, Insist, Want};

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
        for file in &request.from {
            wanted.add_file(file, &session.report)?;
        }
        if request.detect {
            let census = census::take(root)?;
            if census.devices == 0 {
                let place = root.shown(b"sys/devices");
                return Err(Error::refused("{}: no hardware to be seen there", &[place]));
            }
            wanted.add_text(census.to_text(), b"census")?;
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
        let insist = Insist::Must;
        self.names.push(Want { given, insist });
    }

    fn add_file(&mut self, file: &[u8], report: &Report) -> Result<()> {
        let before = self.names.len();
        let registry = self.add_text(mapped::argument(file)?, file)?;
        if let Some(registry) = registry {
            let count = decimal(registry.entries().len());
            report.debug("{}: a registry of {} modules", &[file, count]);
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
            return Err(Error::refused("{} names no module", &[file]));
        }
        Ok(())
    }

    /// Adds the names of a text; its registry is given back, if it has one.
    fn add_text(&mut self, text: Text, file: &[u8]) -> Result<Option<&'static Registry>> {
        let mut found = names::parse(text, file)?;
        self.names.append(&mut found.names);
        if found.registered == 0 {
            return Ok(None);
        }
        Ok(Some(Registry::parse(found.registry.leak(), file)?))
    }
}

/// Says which names nothing matched: an error for those that must be there, a word with `-d` for
/// the others.
///
/// # Errors
/// A name that must be there.
pub fn judge(names: &[Want], is_found: &[bool], versions: &[Text], report: &Report) -> Result<()> {
    let versions = join(versions, ", ");
    let mut errors = Vec::new();
    let mut passed = 0;
    for (want, is_found) in names.iter().zip(is_found) {
        if *is_found {
            continue;
        }
        let (what, parts) = ("no module {} in kernel {}", [want.given, versions]);
        match want.insist {
            Insist::Must => errors.push(Error::refused(what, &parts)),
            Insist::May => {
                passed += 1;
                report.debug(what, &parts);
            }
        }
    }
    if passed > 0 {
        let count = decimal(passed);
        report.debug("{} aliases and optional names match nothing", &[count]);
    }
    Error::unless_empty(errors)
}
