//! `--apply` and `--settle`: prune, then forget packages.
//!
//! While dpkg or apt runs, its database is in its memory and our edit would be lost, and the
//! scripts that come after this one may register more modules. So a maintainer script's apply
//! is checked, queued as a whole, and done by `--settle` when the package manager has ended.

use crate::actions::kernels;
use crate::actions::prune;
use crate::actions::purged::{self, Purged};
use crate::cli::parse::Mode;
use crate::cli::Request;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{fill, some_of, Text};
use crate::needs::kernel::{directory, file_of};
use crate::needs::sources::Machine;
use crate::package::database::{kernels_of, stem_of, Caller, Contents, Database, Ties};
use crate::package::forget::{self, is_auto, stem, subject, Edit, Situation, StandIns, PREFIX};
use crate::package::queue::{self, by_package, Note, Notes, FORGOTTEN, PENDING};
use crate::package::select::Spec;
use crate::plan::prune::{Order, Prune};
use crate::system::report::print;
use crate::system::tree::{Sizes, Step};
use crate::system::{variable, Folder, Report, Root};
use crate::text::active::Standing;
use crate::text::catalog::{Catalog, Entry};
use crate::text::stanza::Stanza;
use crate::text::{find, lines, sort_once, split_at_byte, words};

/// As long as a stand-in's name may be in `info/` without exceeding a file name.
const LONGEST: usize = 200;

/// Prunes and forgets the packages of `--pkname`, or queues that in a maintainer script.
///
/// # Errors
/// Every refusal, with nothing changed; a held lock; a step that failed.
#[inline(never)] // larger in the large frame of its caller
pub fn apply(root: &Root, request: &Request, report: &Report) -> Result<()> {
    let caller = Caller::of_environment(request.root.is_some());
    let database = Database::needed(root, request.root.is_some())?;
    let (locks, is_to_wait) = match request.mode {
        // What the call would do: find the lock held, and queue.
        Mode::DryRun => (None, caller != Caller::Anybody && database.is_locked(root)?),
        Mode::Execute => match database.lock(root, caller) {
            Ok(locks) => (Some(locks), false),
            Err(error) if is_somebodys(&error, caller) => (None, true),
            Err(error) => return Err(error),
        },
    };
    if !is_to_wait {
        database.check_journal(root)?;
    }
    let task = Task::read(root, database, request, report)?;
    if is_to_wait {
        return task.defer();
    }
    let mut wanted = Wanted::new(task);
    let ties = database.ties(root)?;
    for given in &request.packages {
        wanted.select(task, &ties, given)?;
    }
    wanted.choose_kernels(task)?;
    let result = task.forget(&wanted);
    drop(locks);
    match result {
        Err(error) if is_somebodys(&error, caller) => task.defer(),
        result => result.map(drop),
    }
}

/// Whether the package manager's script has met somebody who holds what it needs, perhaps the
/// package manager itself: then its request waits, and not the script.
fn is_somebodys(error: &Error, caller: Caller) -> bool {
    error.kind() == ErrorKind::Busy && caller != Caller::Anybody
}

/// Finishes what is pending, and takes away stand-ins that are no longer needed. Under a hook it
/// never fails: what could not be done stays pending.
///
/// # Errors
/// A held lock, a step that failed; by hand only.
#[inline(never)] // larger in the large frame of its caller
pub fn settle(root: &Root, request: &Request, report: &Report) -> Result<()> {
    let caller = Caller::of_environment(request.root.is_some());
    if caller == Caller::DpkgHookUnderApt {
        return Ok(());
    }
    match settle_as(root, caller, request, report) {
        Err(error) if caller.is_hook() => {
            report.error(&error);
            if error.kind() == ErrorKind::Busy {
                report.note("what is queued is still queued; see --settle", &[]);
            }
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::Busy && caller == Caller::Script => Ok(()),
        result => result,
    }
}

/// What every other call does at its end: settles what is pending if the lock is free. That is
/// a service, so its failure is said and no more.
#[inline(never)] // larger in the large frame of its caller
pub fn settle_in_passing(root: &Root, request: &Request, report: &Report) {
    let caller = Caller::of_environment(request.root.is_some());
    if request.mode == Mode::DryRun || caller != Caller::Anybody {
        return;
    }
    match queue::read(root, PENDING) {
        Ok(pending) if pending.all.is_empty() => {}
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
    let pending = queue::read(root, PENDING)?.all;
    let orders = standing_orders(root)?;
    if pending.is_empty() && orders.is_empty() && queue::read(root, FORGOTTEN)?.all.is_empty() {
        return Ok(());
    }
    let locks = match request.mode {
        Mode::Execute => Some(database.lock(root, caller)?),
        Mode::DryRun => None,
    };
    database.check_journal(root)?;
    let task = Task::read(root, database, request, report)?;
    // Once more: whoever held the lock until now may have queued something.
    let pending = queue::read(root, PENDING)?.all;
    // Others may not have said yet what they need.
    let mut all = task.contents.status.all.iter();
    if let Some(stanza) = all.find(|stanza| !stanza.is_settled()) {
        let parts = [stanza.package, stanza.state()];
        match pending.is_empty() {
            true => report.debug("{} is {}; nothing is settled", &parts),
            false => report.note(
                "{} is {}; what is queued waits until all packages are configured",
                &parts,
            ),
        }
        return Ok(());
    }
    let mut wanted = Wanted::new(task);
    if !pending.is_empty() {
        let ties = database.ties(root)?;
        for note in pending {
            wanted.take_pending(task, &ties, note)?;
        }
    }
    sort_once(&mut wanted.kernels);
    let dropped = task.forget(&wanted)?;
    task.look_after_purged(dropped, caller)?;
    let mut errors = Vec::new();
    for (version, standing) in orders {
        if let Err(error) = follow(root, database, request, report, version, standing) {
            report.warn(
                "kernel {} is left as it is, though it is to be kept pruned:",
                &[version],
            );
            errors.push(error);
        }
    }
    drop(locks);
    Error::unless_empty(errors)
}

/// The kernels that are to be kept pruned.
fn standing_orders(root: &Root) -> Result<Vec<(Text, Standing)>> {
    let mut orders = Vec::new();
    for version in kernels::with_registry(root)? {
        // One that is malformed is for --check to tell.
        let standing = kernels::registry(root, version).map(|registry| registry.standing());
        match standing {
            Ok(standing) if standing != Standing::Nothing => orders.push((version, standing)),
            _ => {}
        }
    }
    Ok(orders)
}

/// Prunes a kernel whose modules are back, and forgets or trims again who brought them.
#[inline(never)] // larger in the large frame of its caller
fn follow(
    root: &Root,
    database: &'static Database,
    request: &Request,
    report: &Report,
    version: Text,
    standing: Standing,
) -> Result<()> {
    let machine = Machine::look(root)?;
    let (mode, sizes) = (Mode::DryRun, Sizes::Unwanted);
    let survey = kernels::survey(root, &machine, &[], version, mode, sizes)?;
    if !survey.removal.has_work() {
        return Ok(());
    }
    report.note(
        "kernel {}: modules are back; it is to be kept pruned",
        &[version],
    );
    let task = Task::read(root, database, request, report)?;
    let mut wanted = Wanted::new(task);
    wanted.kernels.push(version);
    let mut notes = Vec::new();
    if standing == Standing::Apply {
        notes = task.owners(version)?;
        let ties = database.ties(root)?;
        for note in &notes {
            wanted.take_pending(task, &ties, note)?;
        }
        // Queued, so that whoever is interrupted finishes it.
        if request.mode == Mode::Execute {
            queue::change(root, PENDING, &notes, &[])?;
        }
    }
    let result = task.forget(&wanted);
    if result.is_err() {
        queue::change(root, PENDING, &[], &queue::packages(&notes))?;
    }
    result.map(drop)
}

/// What a call works on, read once.
struct Task<'a> {
    root: &'a Root,
    database: &'static Database,
    contents: &'static Contents,
    /// What was forgotten before.
    remembered: Notes,
    /// Its positions.
    remembered_names: Catalog<'static>,
    request: &'a Request,
    report: &'a Report,
}

/// A package that stays installed, because it owns more than modules.
struct Trimmed {
    /// Its name in `info/`.
    stem: Text,
    /// What it owns beyond modules.
    others: &'static [Text],
}

/// What a call is about.
struct Wanted {
    /// Positions in `status` of packages to forget.
    chosen: Vec<usize>,
    /// For each stanza, whether it is one of those, or of those to trim.
    is_chosen: Vec<bool>,
    /// What to remember of each that is forgotten.
    notes: Vec<Note<'static>>,
    /// What is to be trimmed.
    trimmed: Vec<Trimmed>,
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
            trimmed: Vec::new(),
            order: Order::Leave,
            gone: Vec::new(),
            settled: Vec::new(),
            plain: Vec::new(),
            kernels: Vec::new(),
        }
    }

    /// Finds the packages that the user names.
    #[inline(never)] // larger in the large frame of its caller
    fn select(&mut self, task: &Task<'_>, ties: &Ties, given: Text) -> Result<()> {
        let status = &task.contents.status;
        let spec = Spec::new(given);
        let is_pattern = spec.is_pattern();
        let mut found = Vec::new();
        for entry in spec.among(&status.names) {
            if subject(entry.name).is_some() {
                continue;
            }
            if status.all[entry.at].is_there() {
                found.push(entry);
            } else {
                let what = "{} is not installed; skipped";
                task.report.debug(what, &[entry.name]);
            }
        }
        if found.len() > 1 && !is_pattern {
            let mut names = Vec::new();
            for entry in found {
                names.push(fill("{}:{}", &[entry.name, entry.arch]));
            }
            let names = names.join(&b", "[..]);
            return Err(Error::refused("{} is ambiguous: {}", &[given, &names]));
        }
        let mut is_taken = false;
        for entry in found {
            is_taken |= self.take_named(task, ties, entry.at, is_pattern)?;
        }
        let gone = task.forgotten_before(&spec);
        if !is_taken && gone.is_empty() {
            task.explain_nothing(given, &spec)?;
        }
        if task.request.stand_ins == StandIns::Refuse {
            let stand_in = fill("{}{}", &[PREFIX, given]);
            for entry in Spec::new(stand_in).among(&status.names) {
                self.plain.push(entry.at);
            }
        }
        for entry in gone {
            self.gone.push(task.remembered.all[entry.at]);
        }
        Ok(())
    }

    /// Takes a package that the user names, or `false`: a pattern skips those without modules.
    #[inline(never)] // larger in the large frame of its caller
    fn take_named(
        &mut self,
        task: &Task<'_>,
        ties: &Ties,
        at: usize,
        is_pattern: bool,
    ) -> Result<bool> {
        let stanza = &task.contents.status.all[at];
        let files = task.files(stem(stanza.package, stanza))?;
        let kernels = kernels_of(files);
        if kernels.is_empty() && is_pattern {
            task.skip_without_modules(stanza.package);
            return Ok(false);
        }
        check_caller(stanza.package)?;
        let others = task.others(ties, stanza, files)?;
        if stanza.state() != b"installed" {
            return Err(Error::refused(
                "{} is {}, not installed",
                &[stanza.package, stanza.state()],
            ));
        }
        let is_plain = task.request.stand_ins == StandIns::Refuse;
        self.choose(task, at, files, kernels, others, is_plain);
        Ok(true)
    }

    /// Takes a package; `files` is its list, `others` what it owns beyond modules, and one that is
    /// plain gets no stand-in.
    fn choose(
        &mut self,
        task: &Task<'_>,
        at: usize,
        files: &[u8],
        kernels: &'static [Text],
        others: &'static [Text],
        is_plain: bool,
    ) {
        if core::mem::replace(&mut self.is_chosen[at], true) {
            return;
        }
        self.kernels.extend_from_slice(kernels);
        let stanza = &task.contents.status.all[at];
        let stem = stem(stanza.package, stanza);
        if !others.is_empty() && !task.request.force {
            self.trimmed.push(Trimmed { stem, others });
            return;
        }
        if !others.is_empty() {
            let what = "forced: no package owns any more what {} brought: {}";
            task.report.warn(what, &[stanza.package, some_of(others)]);
        }
        if is_plain {
            self.plain.push(at);
        }
        let mark: Text = match is_auto(task.contents.marks, stanza.package, stanza.arch) {
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
            package: stem,
            mark,
            kernels,
        });
    }

    /// The kernels of `--kernel`, or those of the packages.
    #[inline(never)] // larger in the large frame of its caller
    fn choose_kernels(&mut self, task: &Task<'_>) -> Result<()> {
        if !task.request.kernels.is_empty() {
            let given = kernels::named(task.root, &task.request.kernels)?;
            self.kernels = given.to_vec();
            for note in &mut self.notes {
                note.kernels = given;
            }
            return Ok(());
        }
        for note in &self.notes {
            if note.kernels.is_empty() {
                return Err(task.owns_no_module(note.package));
            }
        }
        // A kernel that has gone since is no reason to fail for ever.
        for note in &self.gone {
            for kernel in note.kernels {
                if task.root.has(directory(kernel))? {
                    self.kernels.push(kernel);
                }
            }
        }
        sort_once(&mut self.kernels);
        Ok(())
    }

    /// Takes a pending package, if the time for it has come. What has changed since it was queued is
    /// asked again.
    #[inline(never)] // larger in the large frame of its caller
    fn take_pending(&mut self, task: &Task<'_>, ties: &Ties, note: &Note<'static>) -> Result<()> {
        let Some(at) = task.find(note.package) else {
            let what = "{} is no longer installed; nothing to forget";
            task.report.debug(what, &[note.package]);
            self.gone.push(*note);
            self.settled.push(*note);
            return Ok(());
        };
        let stanza = &task.contents.status.all[at];
        let files = task.files(note.package)?;
        let others = match task.others(ties, stanza, files) {
            Ok(others) => others,
            Err(error) => {
                for message in error.messages() {
                    task.report.warn("{}; no longer queued", &[message]);
                }
                self.settled.push(*note);
                return Ok(());
            }
        };
        let mut kernels = Vec::new();
        for kernel in note.kernels {
            if task.root.has(directory(kernel))? {
                kernels.push(*kernel);
            }
        }
        // Upgraded meanwhile, it has brought another kernel.
        let kernels = match kernels.is_empty() {
            true => kernels_of(files),
            false => kernels.leak(),
        };
        if !task.has_base(kernels, task.request.force)? {
            let what = "{} waits: nothing says what its kernels have to keep; see --install";
            task.report.note(what, &[note.package]);
            return Ok(());
        }
        self.choose(task, at, files, kernels, others, note.mark == b"plain");
        self.settled.push(*note);
        Ok(())
    }
}

/// Refuses the package whose maintainer script is running.
fn check_caller(package: &[u8]) -> Result<()> {
    match variable("DPKG_MAINTSCRIPT_PACKAGE") == Some(package) {
        true => Err(Error::refused(
            "{} cannot be forgotten by its own maintainer script",
            &[package],
        )),
        false => Ok(()),
    }
}

/// Refuses packages that must not be forgotten whatever their state.
fn check_forgettable(stanza: &Stanza<'_>) -> Result<()> {
    let package = stanza.package;
    if package == b"limopack" {
        return Err(Error::refused("limopack does not forget itself", &[]));
    }
    for field in [&b"Essential"[..], b"Protected"] {
        if stanza.field(field) == b"yes" {
            return Err(Error::refused("{} has {}: yes", &[package, field]));
        }
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
        database: &'static Database,
        request: &'a Request,
        report: &'a Report,
    ) -> Result<&'a Task<'a>> {
        let contents = database.read(root)?;
        let remembered = queue::read(root, FORGOTTEN)?;
        Ok(Box::leak(Box::new(Task {
            root,
            database,
            contents,
            remembered_names: by_package(remembered.all),
            remembered,
            request,
            report,
        })))
    }

    /// What a package owns beyond modules, which is why it is trimmed; nothing, where it is to be
    /// forgotten. `files` is its list.
    ///
    /// # Errors
    /// Neither can be done.
    fn others(&self, ties: &Ties, stanza: &Stanza<'_>, files: Text) -> Result<&'static [Text]> {
        let others = self.database.others(files);
        let is_to_stay = !others.is_empty() && !self.request.force;
        if is_to_stay && !kernels_of(files).is_empty() {
            ties.check(stanza, files, true)?;
            return Ok(others);
        }
        check_forgettable(stanza)?;
        if is_to_stay {
            return Err(self.owns_no_module(stanza.package));
        }
        ties.check(stanza, files, false)?;
        Ok(others)
    }

    /// The packages that own modules of a kernel, or of any if its version is empty, as they are
    /// queued.
    fn owners(&self, version: Text) -> Result<Vec<Note<'static>>> {
        let mut notes = Vec::new();
        for stanza in self.contents.status.all {
            let package = stem(stanza.package, stanza);
            if !stanza.is_there() {
                continue;
            }
            let files = self.files(package)?;
            if find(files, b"/lib/modules/").is_none() {
                continue;
            }
            let kernels = kernels_of(files);
            if kernels.contains(&version) || version.is_empty() && !kernels.is_empty() {
                notes.push(Note {
                    package,
                    mark: b"stand-in",
                    kernels: vec![version].leak(),
                });
            }
        }
        Ok(notes)
    }

    /// The list of a package's files.
    fn files(&self, stem: &[u8]) -> Result<Text> {
        self.database.files(self.root, stem)
    }

    /// The position of a note's package, if it is there.
    fn find(&self, package: &[u8]) -> Option<usize> {
        let status = self.contents.status;
        for entry in Spec::new(package).among(&status.names) {
            if status.all[entry.at].is_there() {
                return Some(entry.at);
            }
        }
        None
    }

    /// Packages of this name that were forgotten before: where their notes are.
    fn forgotten_before(&self, spec: &Spec<'_>) -> &'static [Entry<'static>] {
        spec.among(&self.remembered_names)
    }

    /// In a maintainer script: checks what can be checked, and queues the rest.
    fn defer(&self) -> Result<()> {
        let (root, request) = (self.root, self.request);
        let kernels = kernels::named(root, &request.kernels)?;
        let listed = self.database.listed(root)?;
        let ties = self.database.ties(root)?;
        let mut notes: Vec<Note<'static>> = Vec::new();
        for given in &request.packages {
            let spec = Spec::new(given);
            let before = notes.len();
            for entry in spec.among(&listed) {
                if subject(entry.name).is_none() {
                    self.take(entry, &spec, &ties, kernels, &mut notes)?;
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
                match self.forgotten_before(&spec).is_empty() {
                    true => self.explain_nothing(given, &spec)?,
                    false => self.report.note("{} is forgotten already", &[given]),
                }
            }
        }
        if notes.is_empty() {
            return Ok(());
        }
        let mut waiting = Vec::new();
        for note in &notes {
            // Nobody is there to force it when the time comes.
            if !self.has_base(note.kernels, false)? {
                waiting.extend_from_slice(note.kernels);
            }
        }
        sort_once(&mut waiting);
        if !waiting.is_empty() {
            let what = "nothing says what kernel {} has to keep; what is queued waits for that";
            self.report.warn(what, &[&waiting.join(&b", "[..])]);
        }
        if request.mode == Mode::DryRun {
            let mut queued = Vec::new();
            for note in &notes {
                queued.push(fill("queue {}", &[queue::line(note)]));
            }
            sort_once(&mut queued);
            return print(&queued.concat());
        }
        if request.keep_pruned {
            for note in &notes {
                for version in note.kernels {
                    let folder = kernels::open(root, version, request.mode)?;
                    prune::keep_pruned(&folder, request)?;
                }
            }
        }
        queue::change(root, PENDING, &notes, &[])?;
        self.report.note(
            "{}: queued; done when the package manager has ended",
            &[&queue::packages(&notes).join(&b", "[..])],
        );
        Ok(())
    }

    /// Whether it is known of all these kernels what they have to keep. A registry that is malformed
    /// is the prune's to refuse.
    fn has_base(&self, kernels: &[Text], is_forced: bool) -> Result<bool> {
        for version in kernels {
            let registry = kernels::registry(self.root, version);
            if registry.map_or(false, |registry| !registry.is_base()) && !is_forced {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Adds what is queued of a package that has a list; nothing, if a pattern skips it.
    #[inline(never)] // larger in the large frame of its caller
    fn take(
        &self,
        entry: &Entry<'static>,
        spec: &Spec<'_>,
        ties: &Ties,
        given: &'static [Text],
        notes: &mut Vec<Note<'static>>,
    ) -> Result<()> {
        let package = stem_of(entry);
        let files = self.files(package)?;
        let mut kernels = kernels_of(files);
        if kernels.is_empty() && spec.is_pattern() {
            self.skip_without_modules(entry.name);
            return Ok(());
        }
        if !given.is_empty() {
            kernels = given;
        }
        check_caller(entry.name)?;
        // dpkg may not have the package in `status` yet, so its list is what counts.
        let status = self.contents.status;
        let mut stanzas = status.named(entry.name);
        let is_it = |stanza: &Stanza<'_>| {
            let is_arch = entry.arch.is_empty() || entry.arch == stanza.arch;
            is_arch && spec.matches(stanza.package, stanza.arch)
        };
        match stanzas.find(|(_, stanza)| is_it(stanza)) {
            // Removed, but not purged: its list names what is left of it.
            Some((_, stanza)) if kernels.is_empty() && !stanza.is_there() => {
                return Err(Error::refused("{} is not installed", &[entry.name]));
            }
            Some((_, stanza)) => {
                self.others(ties, stanza, files)?;
            }
            // Of another architecture.
            None if status.names.has(entry.name) => return Ok(()),
            None => {}
        }
        if kernels.is_empty() {
            return Err(self.owns_no_module(entry.name));
        }
        let mark: Text = match self.request.stand_ins {
            StandIns::Make => b"stand-in",
            StandIns::Refuse => b"plain",
        };
        notes.push(Note {
            package,
            mark,
            kernels,
        });
        Ok(())
    }

    /// The message for a package that is not the one which brought the modules.
    fn owns_no_module(&self, package: &[u8]) -> Error {
        let what = "{} owns no module{}; or say with --kernel which kernel to prune";
        Error::refused(what, &[package, self.who_does()])
    }

    /// Which packages own modules, for messages: on Debian 14 and Ubuntu linux-modules-VERSION, on
    /// Debian 12 and 13 linux-image-VERSION.
    fn who_does(&self) -> Text {
        match self.owners(b"") {
            Ok(notes) if !notes.is_empty() => {
                fill("; these do: {}", &[some_of(&queue::packages(&notes))])
            }
            _ => b"",
        }
    }

    fn skip_without_modules(&self, package: &[u8]) {
        let what = "{} owns no module; skipped";
        self.report.debug(what, &[package]);
    }

    /// What it means that a name or pattern matches nothing that can be forgotten.
    fn explain_nothing(&self, given: &[u8], spec: &Spec<'_>) -> Result<()> {
        if spec.is_pattern() {
            let what = "no installed package with modules matches {}{}";
            return Err(Error::refused(what, &[given, self.who_does()]));
        }
        let Some(file) = self.remembered.damaged else {
            return Err(Error::refused("{} is not installed", &[given]));
        };
        // As a script that is run again must not fail for ever.
        let what = "{} is not installed; {} is damaged, and may have said that it was forgotten";
        self.report.warn(what, &[given, file]);
        Ok(())
    }

    /// Prunes, then edits the database, then cleans up; everything that can be refused is refused
    /// before the first step. The stand-ins that went are given back.
    fn forget(&self, wanted: &Wanted) -> Result<&'static [&'static Stanza<'static>]> {
        let (root, request, report) = (self.root, self.request, self.report);
        let was_auto = |package: &[u8]| {
            let note = self.remembered_names.find(package).first();
            note.map_or(false, |entry| self.remembered.all[entry.at].mark == b"auto")
        };
        let mut edit = forget::plan(&Situation {
            status: self.contents.status,
            chosen: &wanted.chosen,
            marks: self.contents.marks,
            was_auto: &was_auto,
            plain: &wanted.plain,
        });
        let mut plans = Vec::new();
        if !wanted.kernels.is_empty() {
            let kernels = kernels::named(root, &wanted.kernels)?;
            plans = prune::plan(root, kernels, wanted.order, request, report)?;
        }
        if !wanted.trimmed.is_empty() {
            let going = modules_of(&plans);
            for trimmed in &wanted.trimmed {
                let files = self.database.trim(root, trimmed.stem, &going)?;
                edit.trimmed.extend(files);
            }
        }
        self.warn(wanted, &edit);
        if request.mode == Mode::DryRun {
            prune::carry_out(plans, request, report)?;
            print(&edit_lines(wanted, &edit))?;
            return Ok(edit.dropped.leak());
        }
        let gone = self.gone(wanted, &edit);
        self.database
            .edit(root, self.contents, &edit, &gone, &mut || {
                prune::carry_out(core::mem::take(&mut plans), request, report)?;
                // Remembered before `status` changes: a note too many is harmless, since that is
                // asked first.
                if !wanted.notes.is_empty() {
                    queue::change(root, FORGOTTEN, &wanted.notes, &[])?;
                }
                self.sync_kernels(wanted)
            })?;
        self.remember(wanted)?;
        for note in &wanted.notes {
            report.note(
                "{}: forgotten; the package manager can install it again",
                &[note.package],
            );
        }
        for Trimmed { stem, others } in &wanted.trimmed {
            let what = "{}: trimmed, and not forgotten, as it owns more than modules ({}); an \
                        upgrade or a reinstallation brings its modules again";
            report.note(what, &[stem, some_of(others)]);
        }
        for stanza in &edit.dropped {
            report.note("{}: removed, no longer needed", &[stanza.package]);
        }
        if wanted.settled.is_empty() {
            for note in &wanted.gone {
                report.note("{} is forgotten already", &[note.package]);
            }
        }
        Ok(edit.dropped.leak())
    }

    /// Removes what is left of purged kernels, or says what stays and why: whenever a stand-in has
    /// gone, and by hand.
    #[inline(never)] // larger in the large frame of its caller
    fn look_after_purged(&self, dropped: &[&Stanza<'static>], caller: Caller) -> Result<()> {
        let mut names = Vec::new();
        for stanza in dropped {
            names.push(stanza.package);
        }
        sort_once(&mut names);
        let purged = Purged {
            root: self.root,
            database: self.database,
            status: self.contents.status,
            dropped: &names,
            report: self.report,
        };
        let marked = purged::marked(self.root, self.remembered.all)?;
        for &kernel in &marked {
            let reason = purged.reason_to_stay(kernel)?;
            if reason.is_empty() {
                match self.request.mode {
                    Mode::DryRun => print(fill("remove kernel {}\n", &[kernel]))?,
                    Mode::Execute => purged.remove(kernel)?,
                }
                continue;
            }
            let what = "kernel {} was purged, but {}; its modules stay";
            match dropped.is_empty() && caller.is_hook() {
                true => self.report.debug(what, &[kernel, reason]),
                false => self.report.note(what, &[kernel, reason]),
            }
        }
        if dropped.is_empty() {
            return Ok(());
        }
        for note in self.remembered.all {
            let package = split_at_byte(note.package, b':').0;
            let stand_in = fill("{}{}", &[PREFIX, package]);
            if names.binary_search(&stand_in).is_err() || self.find(note.package).is_some() {
                continue;
            }
            for &kernel in note.kernels {
                let is_there = self.root.has(file_of(kernel, b"kernel"))?;
                if is_there && marked.binary_search(&kernel).is_err() {
                    let what = "kernel {}: its modules stay; no package brings them any more";
                    self.report.note(what, &[kernel]);
                }
            }
        }
        Ok(())
    }

    /// What is recorded as gone is gone after a power cut, too.
    fn sync_kernels(&self, wanted: &Wanted) -> Result<()> {
        let mut synced = Vec::new();
        for kernel in &wanted.kernels {
            if let Some(folder) = Folder::open(self.root, directory(kernel))? {
                // One file system as a rule, however many kernels.
                let device = folder.device()?;
                if !synced.contains(&device) {
                    folder.sync_file_system()?;
                    synced.push(device);
                }
            }
        }
        Ok(())
    }

    /// The stems of the packages of which nothing is to be left in `info/`, sorted.
    fn gone(&self, wanted: &Wanted, edit: &Edit<'_>) -> Vec<Text> {
        let mut gone = queue::packages(&wanted.notes);
        let mut new = Vec::new();
        for stand_in in &edit.stand_ins {
            new.push(stand_in.stem);
        }
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
        let new = queue::packages(&wanted.notes);
        let mut done = queue::packages(&wanted.settled);
        done.extend_from_slice(&new);
        if !done.is_empty() {
            queue::change(self.root, PENDING, &[], &done)?;
        }
        let mut back = Vec::new();
        let orders = standing_orders(self.root)?;
        for note in self.remembered.all {
            if new.binary_search(&note.package).is_err() && self.find(note.package).is_some() {
                back.push(note.package);
                // A standing order prunes it in a moment.
                if !orders
                    .iter()
                    .any(|(kernel, _)| note.kernels.contains(kernel))
                {
                    let what = "{} is installed again, with all of its modules; limopack --apply \
                                --pkname={} removes them again, with --keep-pruned every time";
                    self.report.note(what, &[note.package, note.package]);
                }
            }
        }
        if !back.is_empty() {
            queue::change(self.root, FORGOTTEN, &[], &back)?;
        }
        Ok(())
    }

    fn warn(&self, wanted: &Wanted, edit: &Edit<'_>) {
        let stanzas = self.contents.status.all;
        for &at in &wanted.chosen {
            let stanza = &stanzas[at];
            if words(stanza.status).next() == Some(b"hold") {
                self.report.warn(
                    "{} is on hold; the hold is forgotten, too",
                    &[stanza.package],
                );
            }
        }
        let mut plain = Vec::new();
        for &at in &wanted.plain {
            let package = stanzas[at].package;
            plain.push(subject(package).unwrap_or(package));
        }
        sort_once(&mut plain);
        for (package, dependant) in &edit.dependants {
            if plain.binary_search(package).is_ok() {
                self.report.warn(
                    "{} depends on {}, which goes without a stand-in",
                    &[dependant, package],
                );
            }
        }
    }
}

/// The modules and directories that go, sorted as `VERSION/PATH`.
fn modules_of(plans: &[Box<Prune>]) -> Vec<Text> {
    let mut going = Vec::new();
    for plan in plans {
        plan.removal.each_step(&mut |step| {
            going.push(match step {
                Step::Delete(directory, name, _) => {
                    fill("{}/{}/{}", &[plan.version, directory, name])
                }
                Step::RemoveDirectory(path) => fill("{}/{}", &[plan.version, path]),
            });
        });
    }
    sort_once(&mut going);
    going
}

/// What the database half would do, a step a line, sorted.
fn edit_lines(wanted: &Wanted, edit: &Edit<'_>) -> Vec<u8> {
    let mut lines: Vec<Text> = Vec::new();
    for note in &wanted.notes {
        lines.push(fill("forget {}\n", &[note.package]));
    }
    for trimmed in &wanted.trimmed {
        lines.push(fill("trim {}\n", &[trimmed.stem]));
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
