//! `--check`: an audit. One problem per line on stdout, `KIND<TAB>KERNEL<TAB>NAME<TAB>text`, and
//! exit 1 if there is any; [`kinds`] says what the kinds mean. Nothing is changed, and nothing is
//! locked. Without `--kernel` every kernel that has a registry is looked at.

use crate::actions::prune::owned_firmware;
use crate::actions::restore::parked;
use crate::actions::{kernels, Session};
use crate::cli::parse::{Mode, OutputFormat};
use crate::error::{Error, Result};
use crate::format::{decimal, join, keep, new_list, push_escaped, push_object, render, Text};
use crate::needs::census::{self, Census};
use crate::needs::kernel::Found;
use crate::needs::sources::Machine;
use crate::needs::survey::{About, Finding, Kind, Sibling, Survey, Weight, KINDS};
use crate::needs::Kernel;
use crate::package::database::Database;
use crate::package::queue::{self, PENDING};
use crate::plan::indexes::Order;
use crate::plan::modules::Goal;
use crate::plan::modules::Plan;
use crate::plan::park::Park;
use crate::plan::{firmware, prune};
use crate::system::report::print;
use crate::system::tree::Sizes;
use crate::system::Root;
use crate::text::name::{ModuleName, ModulePath};
use crate::text::{sort_once, split_at_byte};

/// The kinds of problems that concern the machine and no kernel, and what each means.
const OTHERS: &[(&str, &str)] = &[
    (
        "owner",
        "a reference or a file of needs.d whose package is not installed",
    ),
    ("firmware", "a driver of this machine without its firmware"),
    ("pending", "a package waits to be forgotten"),
    ("parked", "modules that --restore brings back; no problem"),
];

/// The words for all kinds of problems, what each means, and whether a prune refuses for it.
pub fn kinds() -> Vec<(&'static str, &'static str, bool)> {
    let is_refused = |about: &About| about.weight != Weight::Warning;
    let text = |bytes| core::str::from_utf8(bytes).unwrap_or_default();
    let kinds = KINDS.iter().map(|about| {
        let (word, _) = about.word_and_file();
        (text(word), text(about.what()), is_refused(about))
    });
    let others = OTHERS.iter().map(|&(word, what)| (word, what, false));
    kinds.chain(others).collect()
}

/// Prints what is wrong.
///
/// # Errors
/// Something is, or it cannot be known.
#[inline(never)] // larger in the large frame of its caller
pub fn check(session: &Session) -> Result<()> {
    let Session { root, request, .. } = session;
    let versions = kernels::named_or(session, kernels::registered)?;
    let machine = Machine::look(root)?;
    let census = census::with_boot(root, machine.boot)?;
    let mut problems = Problems {
        format: request.format,
        out: new_list(),
        count: 0,
        present: new_list(),
    };
    let siblings = new_list();
    for &version in kernels::with_registry(root)? {
        match kernels::sibling(root, version) {
            Ok(sibling) => siblings.push(sibling),
            // It is a line of its own below, unless it was not asked for; a prune refuses for it.
            Err(_) if versions.contains(&version) => {}
            Err(error) => problems.damaged(version, &error),
        }
    }
    let mut plans = Vec::new();
    for version in versions {
        match audit(root, machine, siblings, census, version, &mut problems) {
            Ok(plan) => plans.push(plan),
            Err(error) => problems.damaged(version, &error),
        }
    }
    if request.is_firmware {
        if let Err(error) = firmware(session, &plans, &mut problems) {
            problems.damaged(b"", &error);
        }
    }
    pending(root, &mut problems)?;
    owners(session, machine, siblings, &mut problems)?;
    print(problems.out)?;
    match problems.count {
        0 => Ok(()),
        1 => Err(Error::refused(msg!("1 problem"), &[])),
        count => Err(Error::refused(msg!("{} problems"), &[decimal(count)])),
    }
}

/// The lines to print.
struct Problems {
    format: OutputFormat,
    out: &'static mut Vec<u8>,
    count: usize,
    /// The modules that hardware asks for.
    present: &'static mut Vec<ModuleName<'static>>,
}

impl Problems {
    fn add(&mut self, kind: &[u8], version: &[u8], name: &[u8], text: &[u8]) {
        debug_assert!(kinds().iter().any(|known| known.0.as_bytes() == kind));
        self.count += 1;
        if self.format == OutputFormat::Json {
            let fields = [
                ("kind", kind),
                ("kernel", version),
                ("name", name),
                ("text", text),
            ];
            return push_object(self.out, &fields);
        }
        for field in [kind, version, name] {
            push_escaped(self.out, field);
            self.out.push(b'\t');
        }
        push_escaped(self.out, text);
        self.out.push(b'\n');
    }

    /// What is parked is as somebody wanted it, and no problem.
    fn add_parked(&mut self, version: &[u8], name: &[u8], tally: Text) {
        let text = render(msg!("{}; see --restore"), &[tally]);
        self.add(b"parked", version, name, text);
        self.count -= 1;
    }

    fn damaged(&mut self, version: Text, error: &Error) {
        for message in error.messages() {
            self.add(b"damaged", version, b"kernel", message);
        }
    }
}

/// Looks at one kernel, and plans its prune.
fn audit<'r>(
    root: &'r Root,
    machine: &Machine,
    siblings: &[&Sibling],
    census: &Census,
    version: Text,
    problems: &mut Problems,
) -> Result<Box<Plan<'r>>> {
    let sizes = Sizes::Wanted;
    let mut survey = kernels::survey(root, machine, siblings, version, Mode::DryRun, sizes)?;
    hardware(root, census, &mut survey, problems.present)?;
    let removed = survey.removal.removed;
    if removed.modules > 0 {
        let text = removed.to_text(b"modules");
        survey
            .findings
            .push(Finding::new(Kind::Unpruned, b"kernel", text));
    }
    let all = Park::of(root, version);
    if let Some(folder) = all.find()? {
        let parked = all.modules(&folder, sizes)?.removed;
        problems.add_parked(version, b"kernel", parked.to_text(b"modules"));
    }
    for about in KINDS {
        let (mut count, mut last) = (0, &b""[..]);
        let (word, file) = about.word_and_file();
        for found in &survey.findings {
            if found.kind == about.kind {
                count += 1;
                last = found.name;
                if file.is_empty() {
                    problems.add(word, version, found.name, found.text);
                }
            }
        }
        if count > 0 && !file.is_empty() {
            let parts = [about.what(), decimal(count), last];
            let text = render(msg!("{}: {}, such as {}"), &parts);
            problems.add(word, version, file, text);
        }
    }
    // Whatever keeps the indexes from being written anew keeps a prune from its work.
    prune::plan(root, survey, Order::Filter, Goal::Delete)
}

/// What a prune with firmware would delete after these plans, what is parked, and the modules of the
/// machine's hardware that lack theirs.
fn firmware(session: &Session, plans: &[Box<Plan<'_>>], problems: &mut Problems) -> Result<()> {
    let Session {
        root,
        request,
        report,
    } = session;
    let supply = firmware::supply(root, plans, false, report)?;
    let mut last: Text = b"";
    for asked in supply.names.iter().filter(|asked| asked.is_record) {
        let module = ModulePath(asked.by).name();
        let mut own = supply.names.iter().filter(|other| other.by == asked.by);
        if asked.by != last
            && problems.present.contains(&module)
            && own.all(|other| !other.is_found.get())
        {
            let what = msg!("nothing is there of what it asks for, such as {}");
            let text = render(what, &[asked.name]);
            problems.add(b"firmware", b"", module.to_kernel(), text);
        }
        last = asked.by;
    }
    let Some(folder) = firmware::open(root)? else {
        return Ok(());
    };
    let owned = owned_firmware(root, request)?;
    let plan = firmware::plan(root, folder, Goal::Delete, Some(supply), owned, report)?;
    if let Some(plan) = plan {
        if plan.removal.has_work() {
            let text = plan.removal.removed.to_text(b"files");
            problems.add(b"unpruned", b"", b"firmware", text);
        }
        if let Some(parked) = plan.freed {
            problems.add_parked(b"", b"firmware", parked.to_text(b"files"));
        }
    }
    Ok(())
}

/// What hardware asks for and would lose, or what another kernel has for it.
fn hardware(
    root: &Root,
    census: &Census,
    survey: &mut Survey<'_>,
    present: &mut Vec<ModuleName<'static>>,
) -> Result<()> {
    let (lost, mut orphans) = (new_list(), Vec::new());
    for alias in census.aliases() {
        match survey.kernel.look_up(alias)? {
            Found::Modules(modules) => {
                present.extend(modules.iter().map(|line| line.path().name()));
                // One driver of several is enough: they are rivals.
                if !modules.iter().any(|line| survey.keeps(line.path().name())) {
                    for line in modules {
                        lost.push(join(&[line.path().name().to_kernel(), alias], " "));
                    }
                }
            }
            Found::Builtin => {}
            Found::Nothing => orphans.push(alias),
        }
    }
    sort_once(lost);
    let mut last: Text = b"";
    for line in lost {
        let (name, alias) = split_at_byte(line, b' ');
        if name == last {
            continue;
        }
        last = name;
        let text = render(msg!("{} asks for it, and nothing keeps it"), &[alias]);
        survey
            .findings
            .push(Finding::new(Kind::Hardware, name, text));
    }
    if orphans.is_empty() {
        return Ok(());
    }
    let others = new_list();
    if let Some(parked) = parked(root, survey.kernel.version(), &survey.folder)? {
        others.push((Kind::Hardware, parked));
    }
    for version in kernels::installed(root)? {
        if *version != survey.kernel.version() {
            // A damaged one has a line of its own.
            if let Ok(sibling) = Kernel::open(root, version) {
                others.push((Kind::Alias, sibling));
            }
        }
    }
    for (kind, other) in others.iter() {
        let mut left = Vec::new();
        for alias in orphans {
            match other.look_up(alias)? {
                Found::Modules(modules) => {
                    let names = new_list();
                    for line in modules {
                        names.push(line.path().name().to_kernel());
                    }
                    let parts = [other.version(), join(names, ", ")];
                    let text = match kind {
                        Kind::Alias => render(msg!("kernel {} has {}"), &parts),
                        _ => render(msg!("parked: {}; see --restore"), &parts[1..]),
                    };
                    survey.findings.push(Finding::new(*kind, keep(alias), text));
                }
                _ => left.push(alias),
            }
        }
        orphans = left;
    }
    Ok(())
}

fn pending(root: &Root, problems: &mut Problems) -> Result<()> {
    for note in queue::read(root, PENDING)?.all {
        let kernels = join(note.kernels, " ");
        problems.add(b"pending", kernels, note.package, b"see --settle");
    }
    Ok(())
}

/// Owners that are packages no longer, and files that were those of a package. Where there is no
/// package database, owners are words.
fn owners(
    session: &Session,
    machine: &Machine,
    siblings: &[&Sibling],
    problems: &mut Problems,
) -> Result<()> {
    let Session { root, request, .. } = session;
    let Some(database) = Database::find(root, request.root.is_some())? else {
        return Ok(());
    };
    let contents = database.read(root)?;
    let is_installed = |owner: &[u8]| {
        let (package, arch) = split_at_byte(owner, b':');
        let mut named = contents.status.named(package);
        named.any(|(_, stanza)| stanza.is_there() && (arch.is_empty() || stanza.arch == arch))
    };
    for Sibling { version, registry } in siblings {
        for entry in registry.entries() {
            for owner in entry.owners.iter().filter(|owner| !is_installed(owner)) {
                let text = render(msg!("{} is not installed"), &[owner]);
                problems.add(b"owner", version, entry.name.to_kernel(), text);
            }
        }
    }
    for file in &machine.declared.files {
        let is_file = |path: &[u8]| {
            path.strip_prefix(b"/")
                .map_or(false, |path| path.starts_with(file))
        };
        if file.starts_with(b"usr/") && database.owner_of(root, &is_file)?.is_empty() {
            problems.add(b"owner", b"", file, msg!("no package has this file").text());
        }
    }
    Ok(())
}
