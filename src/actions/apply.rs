//! `--apply`: finds the packages to forget or to trim and the kernels to prune, and refuses what
//! must not go. `forget` carries it out.
//!
//! While dpkg or apt runs, its database is in its memory and our edit would be lost, and the
//! scripts that come after this one may register more modules. So a maintainer script's apply
//! is checked, queued as a whole, and done by `settle` when the package manager has ended.

use crate::actions::{kernels, prune, Session};
use crate::cli::parse::Mode;
use crate::cli::Request;
use crate::error::{Answer, Error, ErrorKind, Result};
use crate::format::{join, keep_list, new_list, render, some_of, List, Text};
use crate::needs::kernel::directory;
use crate::needs::sources::declared;
use crate::package::database::{
    info_name_of, kernels_of, Caller, Contents, Database, Ties, NOTHING,
};
use crate::package::forget::{info_name, is_auto, stood_in_for, StandIns, PREFIX};
use crate::package::queue::{self, by_package, Note, Notes, FORGOTTEN, PENDING};
use crate::package::select::Spec;
use crate::package::trim::place_of;
use crate::plan::indexes::Order;
use crate::plan::park::Park;
use crate::system::report::print;
use crate::system::{variable, Report, Root};
use crate::text::active::Standing;
use crate::text::catalog::{Catalog, CatalogEntry};
use crate::text::stanza::Stanza;
use crate::text::{bare_lines, find, lines, sort_once};

/// As long as a stand-in's name may be in `info/` without exceeding a file name.
const LONGEST: usize = 200;

/// Prunes and forgets the packages of `--pkname`, or queues that in a maintainer script.
///
/// # Errors
/// Every refusal, with nothing changed; a held lock; a step that failed.
#[inline(never)] // larger in the large frame of its caller
pub fn apply(session: &Session) -> Result<()> {
    let Session { root, request, .. } = session;
    let caller = Caller::of_environment(request.root.is_some());
    let database = Database::needed(root, request.root.is_some())?;
    let (locks, is_to_wait) = match request.mode {
        // What the call would do: find the lock held, and queue.
        Mode::DryRun => (
            None,
            caller != Caller::Anybody && database.is_locked(root)?.is_yes(),
        ),
        Mode::Execute => match database.lock(root, caller) {
            Ok(locks) => (Some(locks), false),
            Err(error) if is_somebodys(&error, caller) => (None, true),
            Err(error) => return Err(error),
        },
    };
    if !is_to_wait {
        database.check_journal(root)?;
    }
    let task = Task::read(session, database)?;
    if is_to_wait {
        return task.defer();
    }
    let mut wanted = Selection::new(task);
    let ties = database.ties(root)?;
    for given in &request.packages {
        wanted.select(task, ties, given)?;
    }
    if request.is_firmware {
        wanted.take_firmware(task)?;
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

/// What a call works on, read once.
pub(super) struct Task<'a> {
    pub(super) root: &'a Root,
    pub(super) database: &'static Database,
    pub(super) contents: &'static Contents,
    /// What was forgotten before.
    pub(super) remembered: &'static Notes,
    /// Its positions.
    pub(super) remembered_names: Catalog<'static>,
    pub(super) request: &'a Request,
    pub(super) report: &'a Report,
}

/// A package that stays installed, because it owns more than modules.
pub(super) struct Trimmed {
    /// Its name in `info/`.
    pub(super) info_name: Text,
    /// What it owns beyond modules; nothing, if it is trimmed for its firmware.
    pub(super) others: List<Text>,
}

/// What a call is about.
pub(super) struct Selection {
    /// Positions in `status` of packages to forget.
    pub(super) chosen: Vec<usize>,
    /// For each stanza, whether it is one of those, or of those to trim.
    is_chosen: Vec<bool>,
    /// What to remember of each that is forgotten.
    pub(super) notes: Vec<&'static Note<'static>>,
    /// What is to be queued before anything is changed.
    pub(super) queued: Vec<&'static Note<'static>>,
    /// What is to be trimmed.
    pub(super) trimmed: Vec<Trimmed>,
    /// What becomes of modules.order.
    pub(super) order: Order,
    /// Packages that were forgotten before; what an interrupted call left of them goes.
    pub(super) gone: Vec<&'static Note<'static>>,
    /// Pending notes that this call finishes.
    pub(super) settled: Vec<&'static Note<'static>>,
    /// Positions of those that get no stand-in, and of stand-ins that go although needed.
    pub(super) plain: Vec<usize>,
    /// The kernels to prune.
    pub(super) kernels: Vec<Text>,
    /// What becomes of firmware that nothing asks for.
    pub(super) firmware: Standing,
}

impl Selection {
    pub(super) fn new(task: &Task<'_>) -> Selection {
        Selection {
            chosen: Vec::new(),
            is_chosen: vec![false; task.contents.status.all.len()],
            notes: Vec::new(),
            queued: Vec::new(),
            trimmed: Vec::new(),
            order: Order::Leave,
            gone: Vec::new(),
            settled: Vec::new(),
            plain: Vec::new(),
            kernels: Vec::new(),
            firmware: Standing::Nothing,
        }
    }

    /// Finds the packages that the user names.
    #[inline(never)] // larger in the large frame of its caller
    fn select(&mut self, task: &Task<'_>, ties: &Ties, given: Text) -> Result<()> {
        let status = &task.contents.status;
        let spec = Spec::new(given);
        let is_pattern = spec.is_pattern();
        let found = new_list();
        for entry in spec.among(&status.names) {
            if stood_in_for(entry.name).is_some() {
                continue;
            }
            if status.all[entry.at].is_there() {
                found.push(entry);
            } else {
                let what = msg!("{} is not installed; skipped");
                task.report.debug(what, &[entry.name]);
            }
        }
        if found.len() > 1 && !is_pattern {
            let names = new_list();
            for entry in found {
                names.push(render(msg!("{}:{}"), &[entry.name, entry.arch]));
            }
            let names = join(names, ", ");
            return Err(Error::refused(msg!("{} is ambiguous: {}"), &[given, names]));
        }
        let mut is_taken = false;
        for entry in found {
            is_taken |= self.take_named(task, ties, entry.at, is_pattern)?.is_yes();
        }
        let gone = task.forgotten_before(&spec);
        if !is_taken && gone.is_empty() {
            task.explain_nothing(given, &spec)?;
        }
        if task.request.stand_ins == StandIns::Refuse {
            let stand_in = render(msg!("{}{}"), &[PREFIX, given]);
            for entry in Spec::new(stand_in).among(&status.names) {
                self.plain.push(entry.at);
            }
        }
        for entry in gone {
            self.gone.push(task.remembered.all[entry.at]);
        }
        Ok(())
    }

    /// Takes a package that the user names, or not: a pattern skips those without modules.
    #[inline(never)] // larger in the large frame of its caller
    fn take_named(
        &mut self,
        task: &Task<'_>,
        ties: &Ties,
        at: usize,
        is_pattern: bool,
    ) -> Result<Answer> {
        let stanza = &task.contents.status.all[at];
        let files = task.files(info_name(stanza.package, stanza))?;
        let kernels = kernels_of(files);
        if kernels.is_empty() && is_pattern {
            task.skip_without_modules(stanza.package);
            return Ok(Answer::No);
        }
        check_caller(stanza.package)?;
        let others = task.others(ties, stanza, files)?;
        if stanza.state() != b"installed" {
            return Err(Error::refused(
                msg!("{} is {}, not installed"),
                &[stanza.package, stanza.state()],
            ));
        }
        let is_plain = task.request.stand_ins == StandIns::Refuse;
        self.choose(task, at, files, kernels, others, is_plain);
        Ok(Answer::Yes)
    }

    /// Takes a package; `files` is its list, `others` what it owns beyond modules, and one that is
    /// plain gets no stand-in.
    fn choose(
        &mut self,
        task: &Task<'_>,
        at: usize,
        files: &[u8],
        kernels: List<Text>,
        others: List<Text>,
        is_plain: bool,
    ) {
        if core::mem::replace(&mut self.is_chosen[at], true) {
            return;
        }
        self.kernels.extend_from_slice(kernels);
        let stanza = &task.contents.status.all[at];
        let info_name = info_name(stanza.package, stanza);
        if !others.is_empty() {
            if !task.request.force {
                self.trimmed.push(Trimmed { info_name, others });
                return;
            }
            let what = msg!("forced: no package owns any more what {} brought: {}");
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
        self.notes.push(Note::new(info_name, mark, kernels));
    }

    /// The kernels of `--kernel`, or those of the packages.
    #[inline(never)] // larger in the large frame of its caller
    fn choose_kernels(&mut self, task: &Task<'_>) -> Result<()> {
        if !task.request.kernels.is_empty() {
            let given = kernels::named(task.root, &task.request.kernels)?;
            self.kernels = given.to_vec();
            for note in &mut self.notes {
                *note = Note::new(note.package, note.mark, given);
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
                if task.root.has(directory(kernel))?.is_yes() {
                    self.kernels.push(kernel);
                }
            }
        }
        sort_once(&mut self.kernels);
        Ok(())
    }

    /// Takes the firmware, and the packages that own some: they are trimmed.
    pub(super) fn take_firmware(&mut self, task: &Task<'_>) -> Result<()> {
        if self.firmware != Standing::Apply {
            self.firmware = Standing::Apply;
            for note in task.owners(NOTHING, b"/lib/firmware/", &|_| true)? {
                self.trimmed.push(Trimmed {
                    info_name: note.package,
                    others: NOTHING,
                });
            }
        }
        Ok(())
    }

    /// Takes a pending package, if the time for it has come. What has changed since it was queued is
    /// asked again.
    #[inline(never)] // larger in the large frame of its caller
    pub(super) fn take_pending(
        &mut self,
        task: &Task<'_>,
        ties: &Ties,
        note: &'static Note<'static>,
    ) -> Result<()> {
        let Some(at) = task.find(note.package) else {
            let what = msg!("{} is not installed; skipped");
            task.report.note(what, &[note.package]);
            self.gone.push(note);
            self.settled.push(note);
            return Ok(());
        };
        let stanza = &task.contents.status.all[at];
        let files = task.files(note.package)?;
        let others = match task.others(ties, stanza, files) {
            Ok(others) => others,
            Err(error) => {
                for message in error.messages() {
                    task.report.warn(msg!("{}; no longer queued"), &[message]);
                }
                self.settled.push(note);
                return Ok(());
            }
        };
        let kernels = new_list();
        for kernel in note.kernels {
            if task.root.has(directory(kernel))?.is_yes() {
                kernels.push(*kernel);
            }
        }
        // Upgraded meanwhile, it has brought another kernel.
        let kernels = match kernels.is_empty() {
            true => kernels_of(files),
            false => kernels,
        };
        if !task.has_base(kernels, task.request.force) {
            let what = msg!("{} waits: nothing says what its kernels have to keep; see --install");
            task.report.note(what, &[note.package]);
            return Ok(());
        }
        if note.mark.ends_with(b"firmware") {
            self.take_firmware(task)?;
        }
        let is_plain = note.mark.starts_with(b"plain");
        self.choose(task, at, files, kernels, others, is_plain);
        self.settled.push(note);
        Ok(())
    }
}

/// Refuses the package whose maintainer script is running.
fn check_caller(package: &[u8]) -> Result<()> {
    match variable("DPKG_MAINTSCRIPT_PACKAGE") == Some(package) {
        true => Err(Error::refused(
            msg!("{} cannot be forgotten by its own maintainer script"),
            &[package],
        )),
        false => Ok(()),
    }
}

/// Refuses packages that must not be forgotten whatever their state.
fn check_forgettable(stanza: &Stanza<'_>) -> Result<()> {
    let package = stanza.package;
    if package == b"limopack" {
        return Err(Error::refused(msg!("limopack does not forget itself"), &[]));
    }
    for field in [&b"Essential"[..], b"Protected"] {
        if stanza.field(field) == b"yes" {
            return Err(Error::refused(msg!("{} has {}: yes"), &[package, field]));
        }
    }
    if package.len() > LONGEST {
        return Err(Error::refused(
            msg!("{} is too long a name for a stand-in"),
            &[package],
        ));
    }
    Ok(())
}

impl<'a> Task<'a> {
    pub(super) fn read(session: &'a Session, database: &'static Database) -> Result<&'a Task<'a>> {
        let Session {
            root,
            request,
            report,
        } = session;
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
    fn others(&self, ties: &Ties, stanza: &Stanza<'_>, files: Text) -> Result<List<Text>> {
        let others = self.database.others(files);
        let is_to_stay = !others.is_empty() && !self.request.force;
        if is_to_stay && !kernels_of(files).is_empty() {
            ties.check(stanza, files, true)?;
            return Ok(others);
        }
        check_forgettable(stanza)?;
        if is_to_stay {
            let what = msg!("{} owns no module{}");
            return Err(Error::refused(what, &[stanza.package, self.who_does()]));
        }
        ties.check(stanza, files, false)?;
        Ok(others)
    }

    /// The packages that own something of what goes, as they are queued; `going` is sorted. One that
    /// would be forgotten and has another kernel's modules is none.
    pub(super) fn owners_of(
        &self,
        version: Text,
        going: &[Text],
    ) -> Result<List<&'static Note<'static>>> {
        let only = [version];
        self.owners(keep_list(vec![version]), b"/lib/modules/", &|files| {
            let goes = |path| going.binary_search(&place_of(path)).is_ok();
            bare_lines(files).any(goes)
                && (kernels_of(files)[..] == only || !self.database.others(files).is_empty())
        })
    }

    /// The packages whose list names this part of a path and passes, as notes for these kernels.
    fn owners(
        &self,
        kernels: List<Text>,
        part: &[u8],
        passes: &dyn Fn(Text) -> bool,
    ) -> Result<List<&'static Note<'static>>> {
        let notes = new_list();
        for stanza in self.contents.status.all {
            let package = info_name(stanza.package, stanza);
            if !stanza.is_there() {
                continue;
            }
            let files = self.files(package)?;
            if find(files, part).is_some() && passes(files) {
                notes.push(Note::new(package, b"stand-in", kernels));
            }
        }
        Ok(notes)
    }

    /// The list of a package's files.
    fn files(&self, info_name: &[u8]) -> Result<Text> {
        self.database.files(self.root, info_name)
    }

    /// The position of a note's package, if it is there.
    pub(super) fn find(&self, package: &[u8]) -> Option<usize> {
        let status = self.contents.status;
        for entry in Spec::new(package).among(&status.names) {
            if status.all[entry.at].is_there() {
                return Some(entry.at);
            }
        }
        None
    }

    /// Packages of this name that were forgotten before: where their notes are.
    fn forgotten_before(&self, spec: &Spec<'_>) -> &'static [CatalogEntry<'static>] {
        spec.among(&self.remembered_names)
    }

    /// In a maintainer script: checks what can be checked, and queues the rest.
    fn defer(&self) -> Result<()> {
        let (root, request) = (self.root, self.request);
        let kernels = kernels::named(root, &request.kernels)?;
        let listed = self.database.listed(root)?;
        let ties = self.database.ties(root)?;
        let notes: &mut Vec<&'static Note<'static>> = new_list();
        for given in &request.packages {
            let spec = Spec::new(given);
            let before = notes.len();
            for entry in spec.among(&listed) {
                if stood_in_for(entry.name).is_none() {
                    self.take(entry, &spec, ties, kernels, notes)?;
                }
            }
            if notes.len() > before + 1 && !spec.is_pattern() {
                return Err(Error::refused(
                    msg!("{} is ambiguous; say which with PKG:arch"),
                    &[given],
                ));
            }
            if notes.len() == before {
                // Asked again by a script that runs again: what is forgotten needs no forgetting,
                // but what was registered since is a reason to look at the modules once more.
                match self.forgotten_before(&spec).is_empty() {
                    true => self.explain_nothing(given, &spec)?,
                    false => self.report.note(msg!("{} is forgotten already"), &[given]),
                }
            }
        }
        if notes.is_empty() {
            return Ok(());
        }
        let waiting = new_list();
        for note in notes.iter() {
            // Nobody is there to force it when the time comes.
            if !self.has_base(note.kernels, false) {
                waiting.extend_from_slice(note.kernels);
            }
        }
        sort_once(waiting);
        if !waiting.is_empty() {
            let what =
                msg!("nothing says what kernel {} has to keep; what is queued waits for that");
            self.report.warn(what, &[join(waiting, ", ")]);
        }
        let kernels_ordered = new_list();
        for note in notes.iter().filter(|_| request.keep_pruned) {
            kernels_ordered.extend_from_slice(note.kernels);
        }
        sort_once(kernels_ordered);
        if request.mode == Mode::DryRun {
            let queued = new_list();
            for version in kernels_ordered {
                queued.push(render(msg!("keep-pruned {}\n"), &[version]));
            }
            for note in notes.iter() {
                queued.push(render(msg!("queue {}"), &[queue::line(note)]));
            }
            sort_once(queued);
            return print(join(queued, ""));
        }
        if request.park {
            Park::announce(root)?;
        }
        queue::change(root, PENDING, notes, &[])?;
        self.report.note(
            msg!("{}: queued; done when the package manager has ended"),
            &[join(queue::packages(notes), ", ")],
        );
        for version in kernels_ordered {
            // What is queued stays so, whoever works on the kernel meanwhile.
            let ordered = kernels::open(root, version, request.mode)
                .and_then(|folder| prune::order(&folder, request));
            if let Err(error) = ordered {
                self.report.error(&error);
            }
        }
        Ok(())
    }

    /// Whether it is known of all these kernels what they have to keep. What is malformed is the
    /// prune's to refuse.
    fn has_base(&self, kernels: &[Text], is_forced: bool) -> bool {
        let is_base = |version: &Text| {
            let registry = kernels::registry(self.root, version);
            registry.map_or(true, |registry| registry.is_base())
        };
        let is_declared = || declared(self.root).map_or(true, |declared| declared.is_base);
        is_forced || kernels.iter().all(is_base) || is_declared()
    }

    /// Adds what is queued of a package that has a list; nothing, if a pattern skips it.
    #[inline(never)] // larger in the large frame of its caller
    fn take(
        &self,
        entry: &CatalogEntry<'static>,
        spec: &Spec<'_>,
        ties: &Ties,
        given: List<Text>,
        notes: &mut Vec<&'static Note<'static>>,
    ) -> Result<()> {
        let package = info_name_of(entry);
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
                return Err(Error::refused(msg!("{} is not installed"), &[entry.name]));
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
        let mark: Text = match (self.request.stand_ins, self.request.is_firmware) {
            (StandIns::Make, false) => b"stand-in",
            (StandIns::Make, true) => b"firmware",
            (StandIns::Refuse, false) => b"plain",
            (StandIns::Refuse, true) => b"plain-firmware",
        };
        notes.push(Note::new(package, mark, kernels));
        Ok(())
    }

    /// The message for a package that is not the one which brought the modules.
    fn owns_no_module(&self, package: &[u8]) -> Error {
        let what = msg!("{} owns no module{}; or say with --kernel which kernel to prune");
        Error::refused(what, &[package, self.who_does()])
    }

    /// Which packages own modules, for messages: on Debian 14 and Ubuntu linux-modules-VERSION, on
    /// Debian 12 and 13 linux-image-VERSION.
    fn who_does(&self) -> Text {
        match self.owners(NOTHING, b"/lib/modules/", &|files| {
            !kernels_of(files).is_empty()
        }) {
            Ok(notes) if !notes.is_empty() => {
                render(msg!("; these do: {}"), &[some_of(queue::packages(notes))])
            }
            _ => b"",
        }
    }

    fn skip_without_modules(&self, package: &[u8]) {
        let what = msg!("{} owns no module; skipped");
        self.report.debug(what, &[package]);
    }

    /// What it means that a name or pattern matches nothing that can be forgotten.
    fn explain_nothing(&self, given: &[u8], spec: &Spec<'_>) -> Result<()> {
        if spec.is_pattern() {
            let what = msg!("no installed package with modules matches {}{}");
            return Err(Error::refused(what, &[given, self.who_does()]));
        }
        let Some(file) = self.remembered.damaged else {
            return Err(Error::refused(msg!("{} is not installed"), &[given]));
        };
        // As a script that is run again must not fail for ever.
        let what =
            msg!("{} is not installed; {} is damaged, and may have said that it was forgotten");
        self.report.warn(what, &[given, file]);
        Ok(())
    }
}
