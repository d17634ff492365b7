//! `--why`: for each named module, the way on which it is needed.
//!
//! One line for each module and kernel:
//!
//! ```text
//! crc32c_intel: registered (S) ext4 -> soft crc32c_intel
//! e1000e: registered (2: myapp otherapp)
//! ftdi_sio: nothing needs it
//! netfs: built into the kernel
//! nokia: not on disk
//! ```
//!
//! After the reason comes the module that has it, and then, each after its `->`, what that one
//! needs and how: `dependency`, `soft`, `weak` or `hidden`. (Of firmware, [`crate::actions::list`] says it.)

use crate::actions::wanted::{say_who_brings, Wanted};
use crate::actions::{kernels, Session};
use crate::cli::parse::OutputFormat;
use crate::error::{Answer, Error, Result};
use crate::format::{join, new_list, push_object, render, Text};
use crate::needs::kernel::{file_of, module_named, Found};
use crate::needs::sources::{add_loaded, keep_all, Machine};
use crate::needs::{Closure, Kernel, Need, Why};
use crate::system::report::print;
use crate::system::{Report, Root};
use crate::text::active::{Registry, RegistryEntry};
use crate::text::name::ModuleName;
use crate::text::names::{Presence, Want};

/// Prints why each named module is kept.
///
/// # Errors
/// Nothing is named, or a file is damaged.
#[inline(never)] // larger in the large frame of its caller
pub fn why(session: &Session) -> Result<()> {
    let root = &session.root;
    let Some(wanted) = Wanted::read(session)? else {
        return Err(Error::usage(
            msg!("--why needs --use, --from or --detect"),
            &[],
        ));
    };
    let versions = kernels::to_show(session)?;
    let machine = Machine::look_around(root, &session.report)?;
    let out = new_list();
    for version in versions {
        let kernel = Kernel::open(root, version)?;
        let registry = kernels::registry(root, version)?;
        let kept = Closure::empty();
        keep_all(kept, machine, &kernel, registry, &mut Vec::new())?;
        if machine.runs(version) {
            add_loaded(kept, machine, &kernel)?;
            kept.complete(&kernel)?;
        }
        let reasons = Reasons {
            root,
            kernel: &kernel,
            kept,
            registry,
            format: session.request.format,
        };
        let missing = new_list();
        for want in &wanted.names {
            let prefix: &[&[u8]] = match versions.len() {
                1 => &[],
                _ => &[version, b"/"],
            };
            let report = &session.report;
            if reasons
                .answer(want, join(prefix, ""), report, out)?
                .is_yes()
            {
                missing.push(want.given);
            }
        }
        if !missing.is_empty() {
            say_who_brings(session, version, missing)?;
        }
    }
    print(out)
}

/// What is known of one kernel.
struct Reasons<'a> {
    root: &'a Root,
    kernel: &'a Kernel<'a>,
    kept: &'a Closure,
    registry: &'static Registry,
    format: OutputFormat,
}

impl Reasons<'_> {
    /// Answers for a name; whether it is one that must be there, and is not.
    fn answer(
        &self,
        want: &Want,
        prefix: &[u8],
        report: &Report,
        out: &mut Vec<u8>,
    ) -> Result<Answer> {
        let given = &want.given;
        let mut line = |name: &[u8], text: &[u8]| {
            if self.format == OutputFormat::Json {
                let version = self.kernel.version();
                let fields = [("kernel", version), ("name", name), ("text", text)];
                return push_object(out, &fields);
            }
            out.extend_from_slice(render(msg!("{}{}: {}\n"), &[prefix, name, text]));
        };
        match self.kernel.find(given)? {
            Found::Modules(modules) => {
                for module in modules {
                    let name = module.path().name();
                    let path = file_of(self.kernel.version(), module.path().0);
                    let text = match self.root.has(path)?.is_yes() {
                        true => self.chain(name),
                        false => b"not on disk",
                    };
                    line(name.to_kernel(), text);
                }
            }
            Found::Builtin => line(given, msg!("built into the kernel").text()),
            Found::Nothing if want.presence == Presence::Optional => {
                report.debug(msg!("{} matches nothing"), &[given]);
            }
            Found::Nothing => {
                let name = module_named(given);
                let text: &[u8] = match self.registry.find(name) {
                    Some(_) => msg!("not on disk, but registered").text(),
                    None => b"not on disk",
                };
                line(given, text);
                return Ok(Answer::Yes);
            }
        }
        Ok(Answer::No)
    }

    /// From a module that is wanted for itself to this one, by the shortest way.
    fn chain(&self, name: ModuleName<'_>) -> Text {
        let Some(mut position) = self.kept.position(name) else {
            return b"nothing needs it";
        };
        let steps: &mut Vec<Text> = new_list();
        // Modules come in by those that stand before them, so this ends.
        while self.kept.modules()[position].why == Why::Needed {
            let Some((user, need)) = self.kept.first_user(position) else {
                break;
            };
            let own = self.kept.modules()[position].name().to_kernel();
            steps.push(render(msg!(" -> {} {}"), &[word(need), own]));
            position = user;
        }
        let top = &self.kept.modules()[position];
        let reason = self.reason(top.why, top.name());
        if steps.is_empty() {
            return reason;
        }
        steps.reverse();
        render(
            msg!("{} {}{}"),
            &[reason, top.name().to_kernel(), join(steps, "")],
        )
    }

    fn reason(&self, why: Why, name: ModuleName<'_>) -> Text {
        match why {
            Why::Registered => render(msg!("registered ({})"), &[hold(self.registry.find(name))]),
            Why::Declared(file) => render(msg!("/{} loads it"), &[file]),
            Why::Boot(what) => render(msg!("{} needs it"), &[what]),
            Why::BuiltIn => msg!("what is built into the kernel needs it").text(),
            Why::Loaded => b"loaded",
            Why::Outside => b"outside kernel/",
            Why::Named | Why::Needed => b"needed",
        }
    }
}

/// `S`, or the count and the owners: `2: myapp otherapp`.
fn hold(entry: Option<&RegistryEntry>) -> Text {
    let Some(entry) = entry else {
        return b"";
    };
    let hold = entry.hold.to_text();
    match entry.owners.is_empty() {
        true => hold,
        false => render(msg!("{}: {}"), &[hold, join(&entry.owners, " ")]),
    }
}

fn word(need: Need) -> &'static [u8] {
    match need {
        Need::Dependency => b"dependency",
        Need::Soft => b"soft",
        Need::Weak => b"weak",
        Need::Hidden => b"hidden",
    }
}
