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
use crate::package::database::{kernels_of, Caller, Contents, Database, Ties};
use crate::package::forget::{self, is_auto, stem, subject, Edit, Situation, StandIns, PREFIX};
use crate::package::queue::{self, by_package, Note, FORGOTTEN, PENDING};
use crate::package::select::Spec;
use crate::system::report::print;
use crate::system::{variable, Report, Root};
use crate::text::catalog::{Catalog, Entry};
use crate::text::stanza::Stanza;
use crate::text::{lines, sort_once, split_at_byte, words};

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
                return Task::read(root, &database, request, report)?.defer()
            }
            Err(error) => return Err(error),
        },
    };
    database.check_journal(root)?;
    let task = Task::read(root, &database, request, report)?;
    let mut wanted = Wanted::new(&task);
    let ties = database.ties(root)?;
    for given in &request.packages {
        wanted.select(&task, &ties, given)?;
    }
    wanted.choose_kernels(request)?;
    task.forget(&wanted)?;
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
    let task = Task::read(root, &database, request, report)?;
    let mut wanted = Wanted::new(&task);
    for note in &pending {
        wanted.take_pending(&task, note)?;
    }
    sort_once(&mut wanted.kernels);
    task.forget(&wanted)?;
    drop(locks);
    Ok(())
}

/// What a call works on, read once.
struct Task<'a> {
    root: &'a Root,
    database: &'a Database,
    contents: Contents,
    /// What was forgotten before.
    remembered: Vec<Note<'static>>,
    /// Its positions.
    remembered_names: Catalog<'static>,
    request: &'a Request,
    report: &'a Report,
}

/// What a call is about.
struct Wanted {
    /// Positions in `status` of packages to forget.
    chosen: Vec<usize>,
    /// For each stanza, whether it is one of those.
    is_chosen: Vec<bool>,
    /// What to remember of each.
    notes: Vec<Note<'static>>,
    /// What becomes of modules.order.
    order: Order,
    /// Packages that were forgotten before; what an interrupted call left of them goes.
    gone: Vec<Note<'static>>,
    /// Pending notes that this call finishes.
    settled: Vec<Note<'static>>,
    /// Positions of those that get no stand-in, and of stand-ins that go although needed.
    plain: Vec<usize>,
    /// The kernels to prune.
    kernels: Vec<Text>,
}

impl Wanted {
    fn new(task: &Task<'_>) -> Wanted {
        Wanted {
            chosen: Vec::new(),
            is_chosen: vec![false; task.contents.status.all.len()],
            notes: Vec::new(),
            order: Order::Leave,
            gone: Vec::new(),
            settled: Vec::new(),
            plain: Vec::new(),
            kernels: Vec::new(),
        }
    }

    /// Finds the packages that the user names.
    fn select(&mut self, task: &Task<'_>, ties: &Ties, given: Text) -> Result<()> {
        let status = &task.contents.status;
        let spec = Spec::new(given);
        let mut found = spec.among(&status.names);
        found.retain(|entry| status.all[entry.at].is_there() && subject(entry.name).is_none());
        let before = task.forgotten_before(&spec);
        if found.is_empty() && before.is_empty() {
            return Err(Error::refused("{} is not installed", &[given]));
        }
        if found.len() > 1 && !spec.is_pattern() {
            let names = found.iter().map(|e| fill("{}:{}", &[e.name, e.arch]));
            let names = names.collect::<Vec<_>>().join(&b", "[..]);
            return Err(Error::refused("{} is ambiguous: {}", &[given, &names]));
        }
        for entry in found {
            let at = entry.at;
            let stanza = &status.all[at];
            check_forgettable(stanza)?;
            if stanza.state() != b"installed" {
                return Err(Error::refused(
                    "{} is {}, not installed",
                    &[stanza.package, stanza.state()],
                ));
            }
            let files = task.files(stem(stanza.package, stanza))?;
            ties.check(stanza, files)?;
            self.choose(task, at, files, kernels_of(files));
            if task.request.stand_ins == StandIns::Refuse {
                self.plain.push(at);
            }
        }
        if task.request.stand_ins == StandIns::Refuse {
            let stand_in = fill("{}{}", &[PREFIX, given]);
            let found = Spec::new(stand_in).among(&status.names);
            self.plain.extend(found.iter().map(|entry| entry.at));
        }
        self.gone.extend(before);
        Ok(())
    }

    /// Takes a package; `files` is its list.
    fn choose(&mut self, task: &Task<'_>, at: usize, files: &[u8], kernels: Vec<Text>) {
        if core::mem::replace(&mut self.is_chosen[at], true) {
            return;
        }
        let stanza = &task.contents.status.all[at];
        let mark: Text = match is_auto(&task.contents.marks, stanza.package, stanza.arch) {
            true => b"auto",
            false => b"manual",
        };
        // modules.order goes with the packages that brought it; in Debian 14 another one does.
        let is_order = |(_, file): (usize, &[u8])| file.ends_with(b"/modules.order");
        if self.order == Order::Leave && lines(files).any(is_order) {
            self.order = Order::Filter;
        }
        self.chosen.push(at);
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
    fn take_pending(&mut self, task: &Task<'_>, note: &Note<'static>) -> Result<()> {
        match task.find(note.package) {
            None => {
                task.report.debug(
                    "{} is no longer installed; nothing to forget",
                    &[note.package],
                );
                self.gone.push(note.clone());
                self.settled.push(note.clone());
            }
            Some((_, stanza)) if stanza.state() != b"installed" => {
                let state = stanza.state();
                task.report.note(
                    "{} is {}; to be forgotten when it is installed",
                    &[note.package, state],
                );
            }
            Some((at, _)) => {
                let files = task.files(note.package)?;
                self.choose(task, at, files, note.kernels.clone());
                if note.mark == b"plain" {
                    self.plain.push(at);
                }
                self.settled.push(note.clone());
                self.kernels.extend_from_slice(&note.kernels);
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

impl<'a> Task<'a> {
    fn read(
        root: &'a Root,
        database: &'a Database,
        request: &'a Request,
        report: &'a Report,
    ) -> Result<Task<'a>> {
        let contents = database.read(root)?;
        let remembered = queue::read(root, FORGOTTEN)?;
        Ok(Task {
            root,
            database,
            contents,
            remembered_names: by_package(&remembered),
            remembered,
            request,
            report,
        })
    }

    /// The list of a package's files.
    fn files(&self, stem: &[u8]) -> Result<Text> {
        Ok(self.database.files(self.root, stem)?.unwrap_or_default())
    }

    /// The package of a note, if it is there.
    fn find(&self, package: &[u8]) -> Option<(usize, &Stanza<'static>)> {
        let status = &self.contents.status;
        let found = Spec::new(package).among(&status.names).into_iter();
        let mut found = found.map(|entry| (entry.at, &status.all[entry.at]));
        found.find(|(_, stanza)| stanza.is_there())
    }

    /// Packages of this name that were forgotten before.
    fn forgotten_before(&self, spec: &Spec<'_>) -> Vec<Note<'static>> {
        let found = spec.among(&self.remembered_names).into_iter();
        found
            .map(|entry| self.remembered[entry.at].clone())
            .collect()
    }

    /// In a maintainer script: checks what can be checked, and queues the rest.
    fn defer(&self) -> Result<()> {
        let (root, request) = (self.root, self.request);
        kernels::named(root, &request.kernels)?;
        let listed = self.database.listed(root)?;
        let ties = self.database.ties(root)?;
        let mut notes: Vec<Note<'static>> = Vec::new();
        for given in &request.packages {
            let spec = Spec::new(given);
            let before = notes.len();
            for entry in spec.among(&listed) {
                if subject(entry.name).is_none() {
                    notes.push(self.pending_note(&entry, &ties)?);
                }
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
                if self.forgotten_before(&spec).is_empty() {
                    return Err(Error::refused("{} is not installed", &[given]));
                }
                self.report.note("{} is forgotten already", &[given]);
            }
        }
        if notes.is_empty() {
            return Ok(());
        }
        queue::change(root, PENDING, &notes, &|_| false)?;
        let mut names: Vec<Text> = notes.iter().map(|note| note.package).collect();
        sort_once(&mut names);
        self.report.note(
            "{}: queued; done when the package manager has ended",
            &[&names.join(&b", "[..])],
        );
        Ok(())
    }

    /// What is queued of a package that has a list.
    fn pending_note(&self, entry: &Entry<'static>, ties: &Ties) -> Result<Note<'static>> {
        let package = match entry.arch.is_empty() {
            true => entry.name,
            false => fill("{}:{}", &[entry.name, entry.arch]),
        };
        let files = self.files(package)?;
        // dpkg may not have the package in `status` yet, so its list is what counts.
        match self.contents.status.named(entry.name).next() {
            Some((_, stanza)) => {
                check_forgettable(stanza)?;
                ties.check(stanza, files)?;
            }
            None if variable("DPKG_MAINTSCRIPT_PACKAGE") == Some(entry.name) => {
                return Err(is_the_caller(entry.name));
            }
            None => {}
        }
        let mut kernels = self.request.kernels.clone();
        if kernels.is_empty() {
            kernels = kernels_of(files);
        }
        if kernels.is_empty() {
            return Err(owns_no_module(entry.name));
        }
        let mark: Text = match self.request.stand_ins {
            StandIns::Make => b"stand-in",
            StandIns::Refuse => b"plain",
        };
        Ok(Note {
            package,
            mark,
            kernels,
        })
    }

    /// Prunes, then edits the database, then cleans up; everything that can be refused is refused
    /// before the first step.
    fn forget(&self, wanted: &Wanted) -> Result<()> {
        let (root, request, report) = (self.root, self.request, self.report);
        let was_auto = |package: &[u8]| {
            let note = self.remembered_names.find(package).first();
            note.map_or(false, |entry| self.remembered[entry.at].mark == b"auto")
        };
        let edit = forget::plan(&Situation {
            status: &self.contents.status,
            chosen: &wanted.chosen,
            marks: &self.contents.marks,
            was_auto: &was_auto,
            plain: &wanted.plain,
        });
        let mut plans = Vec::new();
        if !wanted.kernels.is_empty() {
            let kernels = kernels::named(root, &wanted.kernels)?;
            plans = prune::plan(root, &kernels, wanted.order, request, report)?;
        }
        self.warn(wanted, &edit);
        if request.mode == Mode::DryRun {
            prune::carry_out(plans, request, report)?;
            return print(&edit_lines(wanted, &edit));
        }
        let gone = self.gone(wanted, &edit);
        let mut plans = Some(plans);
        self.database
            .edit(root, &self.contents, &edit, &gone, &mut || {
                prune::carry_out(plans.take().unwrap_or_default(), request, report)?;
                // Remembered before `status` changes: a note too many is harmless, since that is
                // asked first.
                match wanted.notes.is_empty() {
                    true => Ok(()),
                    false => queue::change(root, FORGOTTEN, &wanted.notes, &|_| false),
                }
            })?;
        self.remember(wanted)?;
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

    /// The stems of the packages of which nothing is to be left in `info/`, sorted.
    fn gone(&self, wanted: &Wanted, edit: &Edit<'_>) -> Vec<Text> {
        let mut gone: Vec<Text> = wanted.notes.iter().map(|note| note.package).collect();
        let mut new: Vec<Text> = edit.stand_ins.iter().map(|new| new.stem).collect();
        sort_once(&mut new);
        for stanza in &edit.dropped {
            let stem = stem(stanza.package, stanza);
            // The new stand-in of a package that was forgotten before has the old one's name.
            if new.binary_search(&stem).is_err() {
                gone.push(stem);
            }
        }
        // One that is in `status` in any state has its `info/` files for a reason.
        for note in &wanted.gone {
            let names = &self.contents.status.names;
            if Spec::new(note.package).among(names).is_empty() {
                gone.push(note.package);
            }
        }
        sort_once(&mut gone);
        gone
    }

    /// Drops the notes that have had their day: what was pending and is done, and what was
    /// forgotten and is installed again.
    fn remember(&self, wanted: &Wanted) -> Result<()> {
        let done = by_package(&wanted.notes);
        let settled = by_package(&wanted.settled);
        if !wanted.settled.is_empty() || !wanted.notes.is_empty() {
            let is_done = |note: &Note<'_>| is_in(&settled, note) || is_in(&done, note);
            queue::change(self.root, PENDING, &[], &is_done)?;
        }
        let is_back = |note: &Note<'_>| !is_in(&done, note) && self.find(note.package).is_some();
        if self.remembered.iter().any(is_back) {
            queue::change(self.root, FORGOTTEN, &[], &is_back)?;
        }
        Ok(())
    }

    fn warn(&self, wanted: &Wanted, edit: &Edit<'_>) {
        let stanzas = &self.contents.status.all;
        for &at in &wanted.chosen {
            let stanza = &stanzas[at];
            if words(stanza.status).next() == Some(b"hold") {
                self.report.warn(
                    "{} is on hold; the hold is forgotten, too",
                    &[stanza.package],
                );
            }
        }
        let plain = wanted.plain.iter().map(|&at| {
            let package = stanzas[at].package;
            let (name, arch) = (subject(package).unwrap_or(package), &b""[..]);
            Entry { name, arch, at }
        });
        let plain = Catalog::new(plain.collect());
        for (package, dependant) in &edit.dependants {
            if plain.has(package) {
                self.report.warn(
                    "{} depends on {}, which goes without a stand-in",
                    &[dependant, package],
                );
            }
        }
    }
}

/// Whether the package of a note is one of these.
fn is_in(names: &Catalog<'_>, note: &Note<'_>) -> bool {
    let (name, arch) = split_at_byte(note.package, b':');
    names.find(name).iter().any(|entry| entry.arch == arch)
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
