//! Which modules a call names: by `--use`, in the files of `--from`, by the machine's census.

use crate::actions::carry::Source;
use crate::cli::Request;
use crate::error::{Error, Result};
use crate::format::{decimal, Text};
use crate::needs::census;
use crate::system::{mapped, Report, Root};
use crate::text::active::Registry;
use crate::text::names::{self, Insist};

/// A name or alias that was given.
pub struct Want {
    /// The name, as it was given.
    pub given: Text,
    /// What it is where no kernel has it.
    pub insist: Insist,
}

/// Everything that a call names.
#[derive(Default)]
pub struct Wanted {
    /// The names and aliases.
    pub names: Vec<Want>,
    /// The registries.
    pub sources: Vec<Source>,
}

impl Wanted {
    /// Reads what the call names; `None` where it names nothing.
    ///
    /// # Errors
    /// A file that cannot be read or is malformed, or that has no name in it.
    pub fn read(root: &Root, request: &Request, report: &Report) -> Result<Option<Wanted>> {
        if request.names.is_empty() && request.from.is_empty() && !request.detect {
            return Ok(None);
        }
        let mut wanted = Wanted::default();
        wanted.names.extend(request.names.iter().map(|name| Want {
            given: name,
            insist: Insist::Must,
        }));
        for file in &request.from {
            wanted.add_file(file, report)?;
        }
        if request.detect {
            let census = census::take(root)?;
            if census.devices == 0 {
                let place = root.shown(b"sys/devices");
                return Err(Error::refused("{}: no hardware to be seen there", &[place]));
            }
            wanted.add_text(census.to_text(), b"census")?;
        }
        Ok(Some(wanted))
    }

    /// The names, those of registries among them: for actions that change none.
    pub fn into_names(mut self) -> Vec<Want> {
        for source in &self.sources {
            self.names
                .extend(source.registry.entries().iter().map(|entry| Want {
                    given: entry.name.to_kernel(),
                    insist: Insist::Must,
                }));
        }
        self.names
    }

    fn add_file(&mut self, file: &[u8], report: &Report) -> Result<()> {
        let before = self.names.len();
        let registry = self.add_text(mapped::argument(file)?, file)?;
        let added = self.names.len() - before;
        if let Some(registry) = registry {
            let count = decimal(registry.entries().len());
            report.debug("{}: a registry of {} modules", &[file, count]);
            let directory = file.strip_suffix(b"modules.active");
            let sibling = |name: &[u8]| match directory {
                Some(directory) => mapped::argument(&[directory, name].concat()).unwrap_or(b""),
                None => b"",
            };
            self.sources.push(Source {
                registry,
                aliases: sibling(b"modules.alias"),
                builtin: sibling(b"modules.builtin"),
            });
        } else if added == 0 {
            return Err(Error::refused("{} names no module", &[file]));
        }
        Ok(())
    }

    /// Adds the names of a text; its registry is given back, if it has one.
    fn add_text(&mut self, text: Text, file: &[u8]) -> Result<Option<Registry<'static>>> {
        let found = names::parse(text, file)?;
        self.names
            .extend(found.names.iter().map(|&(name, insist)| Want {
                given: name,
                insist,
            }));
        match found.registered {
            0 => Ok(None),
            _ => Registry::parse(found.registry.leak(), file).map(Some),
        }
    }
}

/// Says which names nothing matched: an error for those that must be there, a word with `-d` for
/// the others.
///
/// # Errors
/// A name that must be there.
pub fn judge(missing: &[&Want], versions: &[Text], report: &Report) -> Result<()> {
    let versions = versions.join(&b", "[..]);
    let mut errors = Vec::new();
    let mut passed = 0;
    for want in missing {
        let (what, parts) = ("no module {} in kernel {}", [want.given, &versions]);
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
