//! `--apply` and `--settle`: prune, then forget packages.
//!
//! While dpkg or apt runs, its database is in its memory and our edit would be lost, and the
//! scripts that come after this one may register more modules. So a maintainer script's apply
//! is checked, queued as a whole, and done by `--settle` when the package manager has ended.

use crate::actions::kernels;
use crate::actions::prune::{self, Order};
use crate::cli::parse::Mode;
use crate::cli::Request;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{fill, Text};
use crate::package::database::{kernels_of, Caller, Contents, Database};
use crate::package::forget::{self, is_auto, stem, subject, Edit, Situation, StandIns};
use crate::package::queue::{self, put, Note, FORGOTTEN, PENDING};
use crate::package::select::Spec;
use crate::system::report::print;
use crate::system::{variable, Report, Root};
use crate::text::sort_once;
use crate::text::stanza::Stanza;

/// As long as a stand-in's name may be in `info/` without exceeding a file name.
const LONGEST: usize = 200;

/// Prunes and forgets the packages of `--pkname`, or queues that in a maintainer script.
///
/// # Errors
/// Every refusal, with nothing changed; a held lock; a step that failed.
pub fn apply(root: &Root, request: &Request, report: &Report) -> Result<()> {
    let caller = Caller::of_environment(request.root.is_some());
    let database = Database::needed(root, request.root.is_some())?;
    let locks = match request.mode {
        Mode::DryRun => None,
        Mode::Execute => match database.lock(root, caller) {
            Ok(locks) => Some(locks),
            Err(error) if error.kind() == ErrorKind::Busy && caller != Caller::Anybody => {
                return defer(root, &database, request, report)
            }
            Err(error) => return Err(error),
        },
    };
    database.check_journal(root)?;
    let contents = database.read(root)?;
    let mut wanted = Wanted::default();
    for spec in &request.packages {
        wanted.select(root, &database, &contents, spec, request)?;
    }
    wanted.choose_kernels(request)?;
    forget(root, &database, &contents, &wanted, request, report)?;
    drop(locks);
    Ok(())
}

/// Finishes what is pending, and takes away stand-ins that are no longer needed. Under a hook it
/// never fails: what could not be done stays pending.
///
/// # Errors
/// A held lock, a step that failed; by hand only.
pub fn settle(root: &Root, request: &Request, report: &Report) -> Result<()> {
    let caller = Caller::of_environment(request.root.is_some());
    if caller == Caller::DpkgHookUnderApt {
        return Ok(());
    }
    match settle_as(root, caller, request, report) {
        Err(error) if caller.is_hook() => {
            report.error(&error);
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::Busy && caller == Caller::Script => Ok(()),
        result => result,
    }
}

/// What every other call does at its end: settles what is pending if the lock is free. That is
/// a service, so its failure is said and no more.
pub fn settle_in_passing(root: &Root, request: &Request, report: &Report) {
    let caller = Caller::of_environment(request.root.is_some());
    if request.mode == Mode::DryRun || caller != Caller::Anybody {
        return;
    }
    match queue::read(root, PENDING) {
        Ok(pending) if pending.is_empty() => {}
        Ok(_) => match settle_as(root, caller, request, report) {
            Err(error) if error.kind() != ErrorKind::Busy => report.error(&error),
            _ => {}
        },
        Err(error) => report.error(&error),
    }
}

fn settle_as(root: &Root, caller: Caller, request: &Request, report: &Report) -> Result<()> {
    let Some(database) = Database::find(root, request.root.is_some())? else {
        return Ok(());
    };
    let pending = queue::read(root, PENDING)?;
    if pending.is_empty() && queue::read(root, FORGOTTEN)?.is_empty() {
        return Ok(());
    }
    let locks = match request.mode {
        Mode::Execute => Some(database.lock(root, caller)?),
        Mode::DryRun => None,
    };
    database.check_journal(root)?;
    let contents = database.read(root)?;
    let mut wanted = Wanted::default();
    for note in &pending {
        wanted.take_pending(&contents, note, report)?;
    }
    let result = forget(root, &database, &contents, &wanted, request, report);
    drop(locks);
    result
}

/// What a call is about.
#[derive(Default)]
struct Wanted {
    /// Positions in `status` of packages to forget.
    doomed: Vec<usize>,
    /// What to remember of each.
    notes: Vec<Note>,
    /// Packages that were forgotten before; what an interrupted call left of them goes.
    gone: Vec<Note>,
    /// Names of pending entries that this call finishes.
    settled: Vec<Text>,
    /// Positions of those that get no stand-in, and of stand-ins that go although needed.
    plain: Vec<usize>,
    /// The kernels to prune.
    kernels: Vec<Text>,
}

impl Wanted {
    /// Finds the packages that the user names.
    fn select(
        &mut self,
        root: &Root,
        database: &Database,
        contents: &Contents,
        given: &[u8],
        request: &Request,
    ) -> Result<()> {
        let spec = Spec::new(given);
        let is_meant =
            |stanza: &Stanza<'_>| spec.matches_stanza(stanza) && subject(stanza.package).is_none();
        let stanzas = contents.stanzas.iter().enumerate();
        let found: Vec<(usize, &Stanza<'_>)> = stanzas
            .filter(|(_, stanza)| is_meant(stanza) && stanza.is_there())
            .collect();
        let before = forgotten_before(root, &spec)?;
        if found.is_empty() && before.is_empty() {
            return Err(Error::refused("{} is not installed", &[given]));
        }
        if found.len() > 1 && !spec.is_pattern() {
            let names: Vec<Text> = found
                .iter()
                .map(|(_, s)| fill("{}:{}", &[s.package, s.arch]))
                .collect();
            return Err(Error::refused(
                "{} is ambiguous: {}",
                &[given, &names.join(&b", "[..])],
            ));
        }
        for (at, stanza) in found {
            check_forgettable(stanza)?;
            if stanza.state() != b"installed" {
                return Err(Error::refused(
                    "{} is {}, not installed",
                    &[stanza.package, stanza.state()],
                ));
            }
            database.check_ties(root, stanza)?;
            let files = database.files(root, stem(stanza.package, stanza))?;
            self.doom(contents, at, kernels_of(files.unwrap_or(b"")));
        }
        if request.stand_ins == StandIns::Refuse {
            let subject_of = |stanza: &Stanza<'_>| subject(stanza.package).map(<[u8]>::to_vec);
            for (at, stanza) in contents.stanzas.iter().enumerate() {
                let name = subject_of(stanza).unwrap_or_else(|| stanza.package.to_vec());
                if stanza.is_there() && spec.matches(&name, stanza.arch) {
                    self.plain.push(at);
                }
            }
        }
        self.gone.extend(before);
        Ok(())
    }

    fn doom(&mut self, contents: &Contents, at: usize, kernels: Vec<Text>) {
        if self.doomed.contains(&at) {
            return;
        }
        let stanza = &contents.stanzas[at];
        let mark: Text = match is_auto(&contents.states, stanza.package, stanza.arch) {
            true => b"auto",
            false => b"manual",
        };
        self.doomed.push(at);
        self.notes.push(Note {
            package: stem(stanza.package, stanza),
            mark,
            kernels,
        });
    }

    /// The kernels of `--kernel`, or those of the packages.
    fn choose_kernels(&mut self, request: &Request) -> Result<()> {
        let notes = || self.notes.iter().chain(&self.gone);
        if !request.kernels.is_empty() {
            self.kernels = request.kernels.clone();
            for note in &mut self.notes {
                note.kernels = request.kernels.clone();
            }
            return Ok(());
        }
        if let Some(note) = notes().find(|note| note.kernels.is_empty()) {
            return Err(owns_no_module(note.package));
        }
        let mut kernels = Vec::new();
        for note in notes() {
            kernels.extend_from_slice(&note.kernels);
        }
        sort_once(&mut kernels);
        self.kernels = kernels;
        Ok(())
    }

    /// Takes a pending package, if the time for it has come.
    fn take_pending(&mut self, contents: &Contents, note: &Note, report: &Report) -> Result<()> {
        let spec = Spec::new(note.package);
        let mut stanzas = contents.stanzas.iter().enumerate();
        let found = stanzas.find(|(_, stanza)| spec.matches_stanza(stanza) && stanza.is_there());
        match found {
            None => {
                report.debug(
                    "{} is no longer installed; nothing to forget",
                    &[note.package],
                );
                self.gone.push(note.clone());
                self.settled.push(note.package);
            }
            Some((_, stanza)) if stanza.state() != b"installed" => {
                let state = stanza.state();
                report.note(
                    "{} is {}; to be forgotten when it is installed",
                    &[note.package, state],
                );
            }
            Some((at, _)) => {
                self.doom(contents, at, note.kernels.clone());
                if note.mark == b"plain" {
                    self.plain.push(at);
                }
                self.settled.push(note.package);
                self.kernels.extend(note.kernels.iter().cloned());
                sort_once(&mut self.kernels);
            }
        }
        Ok(())
    }
}

fn owns_no_module(package: &[u8]) -> Error {
    let what = "{} owns no module; say with --kernel which kernel to prune";
    Error::refused(what, &[package])
}

fn is_the_caller(package: &[u8]) -> Error {
    let what = "{} cannot be forgotten by its own maintainer script";
    Error::refused(what, &[package])
}

/// Packages of this name that were forgotten before.
fn forgotten_before(root: &Root, spec: &Spec<'_>) -> Result<Vec<Note>> {
    let mut notes = queue::read(root, FORGOTTEN)?;
    queue::drop_those(&mut notes, &|note| {
        let (package, arch) = crate::text::split_at_byte(note.package, b':');
        !spec.matches(package, arch)
    });
    Ok(notes)
}

/// Refuses packages that must not be forgotten whatever their state.
fn check_forgettable(stanza: &Stanza<'_>) -> Result<()> {
    let package = stanza.package;
    if package == b"limopack" {
        return Err(Error::refused("limopack does not forget itself", &[]));
    }
    if variable("DPKG_MAINTSCRIPT_PACKAGE") == Some(package) {
        return Err(is_the_caller(package));
    }
    if package.len() > LONGEST {
        return Err(Error::refused(
            "{} is too long a name for a stand-in",
            &[package],
        ));
    }
    Ok(())
}

/// In a maintainer script: checks what can be checked, and queues the rest.
fn defer(root: &Root, database: &Database, request: &Request, report: &Report) -> Result<()> {
    kernels::named(root, &request.kernels)?;
    let stems = database.stems(root)?;
    let contents = database.read(root)?;
    let mark: Text = match request.stand_ins {
        StandIns::Make => b"stand-in",
        StandIns::Refuse => b"plain",
    };
    let mut notes: Vec<Note> = Vec::new();
    for given in &request.packages {
        let spec = Spec::new(given);
        let before = notes.len();
        for stem in &stems {
            let (package, arch) = crate::text::split_at_byte(stem, b':');
            let arch = if arch.is_empty() {
                spec.arch().unwrap_or(b"")
            } else {
                arch
            };
            if !spec.matches(package, arch) || subject(package).is_some() {
                continue;
            }
            // dpkg may not have the package in `status` yet, so its list is what counts.
            let stanza = contents
                .stanzas
                .iter()
                .find(|stanza| stanza.package == package);
            match stanza {
                Some(stanza) => {
                    check_forgettable(stanza)?;
                    database.check_ties(root, stanza)?;
                }
                None if variable("DPKG_MAINTSCRIPT_PACKAGE") == Some(package) => {
                    return Err(is_the_caller(package));
                }
                None => {}
            }
            let mut kernels = request.kernels.clone();
            if kernels.is_empty() {
                kernels = kernels_of(database.files(root, stem)?.unwrap_or(b""));
            }
            if kernels.is_empty() {
                return Err(owns_no_module(package));
            }
            notes.push(Note {
                package: stem,
                mark,
                kernels,
            });
        }
        if notes.len() > before + 1 && !spec.is_pattern() {
            return Err(Error::refused(
                "{} is ambiguous; say which with PKG:arch",
                &[given],
            ));
        }
        if notes.len() == before {
            // Asked again by a script that runs again: what is forgotten needs no forgetting,
            // but what was registered since is a reason to look at the modules once more.
            if forgotten_before(root, &spec)?.is_empty() {
                return Err(Error::refused("{} is not installed", &[given]));
            }
            report.note("{} is forgotten already", &[given]);
        }
    }
    if notes.is_empty() {
        return Ok(());
    }
    queue::change(root, PENDING, &|pending| {
        for note in &notes {
            put(pending, note.clone());
        }
    })?;
    let names: Vec<Text> = notes.into_iter().map(|note| note.package).collect();
    report.note(
        "{}: queued; done when the package manager has ended",
        &[&names.join(&b", "[..])],
    );
    Ok(())
}

/// Prunes, then edits the database, then cleans up; everything that can be refused is refused
/// before the first step.
fn forget(
    root: &Root,
    database: &Database,
    contents: &Contents,
    wanted: &Wanted,
    request: &Request,
    report: &Report,
) -> Result<()> {
    let remembered = queue::read(root, FORGOTTEN)?;
    let was_auto = |package: &[u8]| {
        let mut notes = remembered.iter();
        let same = |note: &&Note| crate::text::split_at_byte(note.package, b':').0 == package;
        notes.find(same).map_or(false, |note| note.mark == b"auto")
    };
    let edit = forget::plan(&Situation {
        text: contents.text,
        stanzas: &contents.stanzas,
        doomed: &wanted.doomed,
        states: &contents.states,
        was_auto: &was_auto,
        plain: &wanted.plain,
    });
    let mut plans = Vec::new();
    if !wanted.kernels.is_empty() {
        let kernels = kernels::named(root, &wanted.kernels)?;
        plans = prune::plan(
            root,
            &kernels,
            order(root, database, wanted)?,
            request,
            report,
        )?;
    }
    warn(contents, wanted, &edit, report);
    if request.mode == Mode::DryRun {
        prune::carry_out(plans, request, report)?;
        return print(&edit_lines(wanted, &edit));
    }
    let mut gone = Vec::new();
    for note in &wanted.notes {
        gone.push(note.package);
    }
    for stanza in &edit.dropped {
        let stem = stem(stanza.package, stanza);
        // The new stand-in of a package that was forgotten before has the old one's name.
        if edit.stand_ins.iter().all(|new| new.stem != stem) {
            gone.push(stem);
        }
    }
    // One that is in `status` in any state has its `info/` files for a reason.
    let is_known = |note: &&Note| {
        let spec = Spec::new(note.package);
        contents
            .stanzas
            .iter()
            .any(|stanza| spec.matches_stanza(stanza))
    };
    for note in wanted.gone.iter().filter(|note| !is_known(note)) {
        gone.push(note.package);
    }
    let mut plans = Some(plans);
    database.edit(root, contents, &edit, &gone, &mut || {
        prune::carry_out(plans.take().unwrap_or_default(), request, report)?;
        // Remembered before `status` changes: a note too many is harmless, since that is asked first.
        if !wanted.notes.is_empty() {
            queue::change(root, FORGOTTEN, &|notes| {
                wanted
                    .notes
                    .iter()
                    .for_each(|note| put(notes, note.clone()));
            })?;
        }
        Ok(())
    })?;
    remember(root, contents, wanted)?;
    for note in &wanted.notes {
        report.note(
            "{}: forgotten; the package manager can install it again",
            &[note.package],
        );
    }
    for stanza in &edit.dropped {
        report.note("{}: removed, no longer needed", &[stanza.package]);
    }
    for note in wanted.gone.iter().filter(|_| wanted.settled.is_empty()) {
        report.note("{} is forgotten already", &[note.package]);
    }
    Ok(())
}

/// modules.order goes with the packages that brought it; in Debian 14 another one does.
fn order(root: &Root, database: &Database, wanted: &Wanted) -> Result<Order> {
    for note in &wanted.notes {
        let files = database.files(root, note.package)?.unwrap_or(b"");
        let is_order = |(_, file): (usize, &[u8])| file.ends_with(b"/modules.order");
        if crate::text::lines(files).any(is_order) {
            return Ok(Order::Filter);
        }
    }
    Ok(Order::Leave)
}

/// Drops the notes that have had their day: what was pending and is done, and what was
/// forgotten and is installed again.
fn remember(root: &Root, contents: &Contents, wanted: &Wanted) -> Result<()> {
    if !wanted.settled.is_empty() || !wanted.notes.is_empty() {
        let is_done = |note: &Note| {
            wanted.settled.contains(&note.package)
                || wanted.notes.iter().any(|done| done.package == note.package)
        };
        queue::change(root, PENDING, &|notes| queue::drop_those(notes, &is_done))?;
    }
    let is_back = |note: &Note| {
        let is_doomed = wanted.notes.iter().any(|done| done.package == note.package);
        let spec = Spec::new(note.package);
        let mut stanzas = contents.stanzas.iter();
        !is_doomed && stanzas.any(|stanza| stanza.is_there() && spec.matches_stanza(stanza))
    };
    let remembered = queue::read(root, FORGOTTEN)?;
    if remembered.iter().any(is_back) {
        queue::change(root, FORGOTTEN, &|notes| queue::drop_those(notes, &is_back))?;
    }
    Ok(())
}

fn warn(contents: &Contents, wanted: &Wanted, edit: &Edit<'_>, report: &Report) {
    for &at in &wanted.doomed {
        let stanza = &contents.stanzas[at];
        if crate::text::words(stanza.status).next() == Some(b"hold") {
            report.warn(
                "{} is on hold; the hold is forgotten, too",
                &[stanza.package],
            );
        }
    }
    for (package, dependant) in &edit.dependants {
        let is_plain = |&at: &usize| {
            let name = contents.stanzas[at].package;
            name == *package || subject(name) == Some(package)
        };
        if wanted.plain.iter().any(is_plain) {
            report.warn(
                "{} depends on {}, which goes without a stand-in",
                &[dependant, package],
            );
        }
    }
}

/// What the database half would do, a step a line, sorted.
fn edit_lines(wanted: &Wanted, edit: &Edit<'_>) -> Vec<u8> {
    let mut lines: Vec<Text> = Vec::new();
    for note in &wanted.notes {
        lines.push(fill("forget {}\n", &[note.package]));
    }
    for new in &edit.stand_ins {
        lines.push(fill("stand-in {}\n", &[new.stem]));
    }
    for stanza in &edit.dropped {
        lines.push(fill("drop {}\n", &[stem(stanza.package, stanza)]));
    }
    lines.sort_unstable();
    lines.concat()
}
