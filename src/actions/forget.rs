//! Carries out what `apply` and `settle` have found: prunes, edits the package database, cleans up,
//! and reports it. `--dry-run` prints the same plans.

use crate::actions::apply::{Selection, Task, Trimmed};
use crate::actions::purged::{self, Gone, Purged};
use crate::actions::settle::standing_orders;
use crate::actions::{kernels, prune};
use crate::cli::parse::Mode;
use crate::error::{Answer, Result};
use crate::format::{join, new_list, render, some_of, List, Text};
use crate::needs::kernel::{directory, file_of};
use crate::package::database::Caller;
use crate::package::forget::{self, info_name, stood_in_for, Edit, Situation, PREFIX};
use crate::package::queue::{self, Note, FORGOTTEN, PENDING, REMOVED};
use crate::package::select::Spec;
use crate::plan::modules::Plan;
use crate::system::report::print;
use crate::system::tree::Removal;
use crate::system::Folder;
use crate::text::active::Standing;
use crate::text::stanza::Stanza;
use crate::text::{sort_once, split_at_byte, words};

impl Task<'_> {
    /// Prunes, then edits the database, then cleans up; everything that can be refused is refused
    /// before the first step. The stand-ins that went are given back.
    pub(super) fn forget(&self, wanted: &Selection) -> Result<List<&'static Stanza<'static>>> {
        let (root, request, report) = (self.root, self.request, self.report);
        let was_auto = |package: &[u8]| {
            let note = self.remembered_names.find(package).first();
            note.map_or(false, |entry| self.remembered.all[entry.at].mark == b"auto")
        };
        let edit = forget::plan(&Situation {
            status: self.contents.status,
            chosen: &wanted.chosen,
            marks: self.contents.marks,
            was_auto: &was_auto,
            plain: &wanted.plain,
        });
        let mut plans = Vec::new();
        let is_firmware = wanted.firmware != Standing::Nothing;
        if !wanted.kernels.is_empty() || is_firmware {
            let kernels = kernels::named(root, &wanted.kernels)?;
            plans = prune::plan(root, kernels, wanted.order, is_firmware, request, report)?;
        }
        let trimmed: &mut Vec<&Trimmed> = new_list();
        if !wanted.trimmed.is_empty() {
            let going = going(&plans);
            for package in &wanted.trimmed {
                // For its modules, and for its firmware.
                if trimmed.iter().any(|it| it.info_name == package.info_name) {
                    continue;
                }
                let info_name = package.info_name;
                let changed = self
                    .database
                    .trim(root, info_name, going, &mut edit.trimmed)?;
                if changed.is_yes() {
                    trimmed.push(package);
                }
            }
        }
        self.warn(wanted, edit);
        if request.mode == Mode::DryRun {
            prune::execute(plans, request, report)?;
            print(edit_lines(wanted, trimmed, edit))?;
            return Ok(&edit.dropped);
        }
        let gone = self.gone(wanted, edit);
        self.database
            .edit(root, self.contents, edit, gone, &mut || {
                // Queued, so that whoever is interrupted finishes it.
                if !wanted.queued.is_empty() {
                    queue::change(root, PENDING, &wanted.queued, &[])?;
                }
                prune::execute(core::mem::take(&mut plans), request, report)?;
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
                msg!("{}: forgotten; the package manager can install it again"),
                &[note.package],
            );
        }
        for Trimmed { info_name, others } in trimmed {
            if others.is_empty() {
                let what =
                    msg!("{}: trimmed; an upgrade or a reinstallation brings its firmware again");
                report.note(what, &[info_name]);
                continue;
            }
            let what = msg!(
                "{}: trimmed, and not forgotten, as it owns more than modules ({}); an \
                        upgrade or a reinstallation brings its modules again"
            );
            report.note(what, &[info_name, some_of(others)]);
        }
        for stanza in &edit.dropped {
            report.note(msg!("{}: removed, no longer needed"), &[stanza.package]);
        }
        if wanted.settled.is_empty() {
            for note in &wanted.gone {
                report.note(msg!("{} is forgotten already"), &[note.package]);
            }
        }
        Ok(&edit.dropped)
    }

    /// Removes what is left of purged kernels, or says what stays and why: whenever a stand-in has
    /// gone, and by hand.
    #[inline(never)] // larger in the large frame of its caller
    pub(super) fn look_after_purged(
        &self,
        dropped: &[&Stanza<'static>],
        caller: Caller,
    ) -> Result<()> {
        let names = new_list();
        for stanza in dropped {
            names.push(stanza.package);
        }
        sort_once(names);
        let purged = Purged {
            root: self.root,
            database: self.database,
            status: self.contents.status,
            dropped: names,
            report: self.report,
        };
        let marked = purged::marked(self.root, self.remembered.all)?;
        for &kernel in marked {
            self.look_after(&purged, kernel, Gone::Purged, caller)?;
        }
        for note in self.remembered.all {
            let package = split_at_byte(note.package, b':').0;
            let stand_in = join(&[PREFIX, package], "");
            let has_gone = note.mark == REMOVED || names.binary_search(&stand_in).is_ok();
            if !has_gone || self.find(note.package).is_some() {
                continue;
            }
            let mut stays = false;
            for &kernel in note.kernels {
                let is_there = self.root.has(file_of(kernel, b"kernel"))?.is_yes();
                if !is_there || marked.binary_search(&kernel).is_ok() {
                    continue;
                }
                // Others would have been removed with the last package that needed them.
                if note.mark != b"manual" {
                    stays |= self
                        .look_after(&purged, kernel, Gone::Removed, caller)?
                        .is_yes();
                    continue;
                }
                let what = msg!("kernel {}: its modules stay; no package brings them any more");
                self.report.note(what, &[kernel]);
            }
            // The rest of the kernel may go in another run of the package manager.
            if stays && note.mark != REMOVED && self.request.mode == Mode::Execute {
                let mark = REMOVED;
                queue::change(self.root, FORGOTTEN, &[&Note { mark, ..**note }], &[])?;
            }
        }
        self.forget_notes()
    }

    /// Removes what is left of a kernel, or says what stays and why; whether it stays.
    fn look_after(
        &self,
        purged: &Purged<'_>,
        kernel: Text,
        gone: Gone,
        caller: Caller,
    ) -> Result<Answer> {
        let reason = purged.reason_to_stay(kernel, gone)?;
        if reason.is_empty() {
            match self.request.mode {
                Mode::DryRun => print(render(msg!("remove kernel {}\n"), &[kernel]))?,
                Mode::Execute => purged.remove(kernel, gone)?,
            }
            return Ok(Answer::No);
        }
        let what = msg!("kernel {} was {}, but {}; its modules stay");
        let parts = [kernel, gone.word(), reason];
        match purged.dropped.is_empty() && caller.is_hook() {
            true => self.report.debug(what, &parts),
            false => self.report.note(what, &parts),
        }
        Ok(Answer::Yes)
    }

    /// Drops the notes of packages that nobody knows any more, and of whose kernels nothing is left.
    fn forget_notes(&self) -> Result<()> {
        let lost = new_list();
        for note in self.remembered.all {
            let mut is_left = note.kernels.is_empty() || self.find(note.package).is_some();
            for kernel in note.kernels {
                is_left = is_left || self.root.has(directory(kernel))?.is_yes();
            }
            if !is_left {
                lost.push(note.package);
            }
        }
        match lost.is_empty() || self.request.mode == Mode::DryRun {
            true => Ok(()),
            false => queue::change(self.root, FORGOTTEN, &[], lost),
        }
    }

    /// What is recorded as gone is gone after a power cut, too.
    fn sync_kernels(&self, wanted: &Selection) -> Result<()> {
        let synced = new_list();
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
    fn gone(&self, wanted: &Selection, edit: &Edit<'_>) -> List<Text> {
        let gone = queue::packages(&wanted.notes);
        let new = new_list();
        for stand_in in &edit.stand_ins {
            new.push(stand_in.info_name);
        }
        sort_once(new);
        for stanza in &edit.dropped {
            let info_name = info_name(stanza.package, stanza);
            // The new stand-in of a package that was forgotten before has the old one's name.
            if new.binary_search(&info_name).is_err() {
                gone.push(info_name);
            }
        }
        // One that is in `status` in any state has its `info/` files for a reason.
        for note in &wanted.gone {
            let names = &self.contents.status.names;
            if Spec::new(note.package).among(names).is_empty() {
                gone.push(note.package);
            }
        }
        sort_once(gone);
        gone
    }

    /// Drops the notes that have had their day: what was pending and is done, and what was
    /// forgotten and is installed again.
    fn remember(&self, wanted: &Selection) -> Result<()> {
        let new = queue::packages(&wanted.notes);
        let done = queue::packages(&wanted.settled);
        done.extend_from_slice(new);
        if !done.is_empty() {
            queue::change(self.root, PENDING, &[], done)?;
        }
        let back = new_list();
        let orders = standing_orders(self.root)?;
        for note in self.remembered.all {
            if new.binary_search(&note.package).is_err() && self.find(note.package).is_some() {
                back.push(note.package);
                // A standing order prunes it in a moment.
                let mut orders = orders.iter();
                if !orders.any(|order| note.kernels.contains(&order.version)) {
                    let what = msg!(
                        "{} is installed again, with all of its modules; limopack --apply \
                                --pkname={} removes them again, with --keep-pruned every time"
                    );
                    self.report.note(what, &[note.package, note.package]);
                }
            }
        }
        if !back.is_empty() {
            queue::change(self.root, FORGOTTEN, &[], back)?;
        }
        Ok(())
    }

    fn warn(&self, wanted: &Selection, edit: &Edit<'_>) {
        let stanzas = self.contents.status.all;
        for &at in &wanted.chosen {
            let stanza = &stanzas[at];
            if words(stanza.status).next() == Some(b"hold") {
                self.report.warn(
                    msg!("{} is on hold; the hold is forgotten, too"),
                    &[stanza.package],
                );
            }
        }
        let plain = new_list();
        for &at in &wanted.plain {
            let package = stanzas[at].package;
            plain.push(stood_in_for(package).unwrap_or(package));
        }
        sort_once(plain);
        for (package, dependant) in &edit.dependants {
            if plain.binary_search(package).is_ok() {
                self.report.warn(
                    msg!("{} depends on {}, which goes without a stand-in"),
                    &[dependant, package],
                );
            }
        }
    }
}

/// The files and directories that go, relative to the root, sorted.
fn going(plans: &[Box<Plan<'_>>]) -> List<Text> {
    let going = new_list();
    for plan in plans {
        push_going(going, plan.place(), &plan.removal);
    }
    sort_once(going);
    going
}

/// Adds those of one directory.
pub(super) fn push_going(going: &mut Vec<Text>, place: Text, removal: &Removal) {
    for path in removal.paths(true).iter() {
        going.push(render(msg!("{}/{}"), &[place, path]));
    }
}

/// What the database half would do, a step a line, sorted.
fn edit_lines(wanted: &Selection, trimmed: &[&Trimmed], edit: &Edit<'_>) -> Text {
    let lines: &mut Vec<Text> = new_list();
    for note in &wanted.notes {
        lines.push(render(msg!("forget {}\n"), &[note.package]));
    }
    for trimmed in trimmed {
        lines.push(render(msg!("trim {}\n"), &[trimmed.info_name]));
    }
    for new in &edit.stand_ins {
        lines.push(render(msg!("stand-in {}\n"), &[new.info_name]));
    }
    for stanza in &edit.dropped {
        lines.push(render(
            msg!("drop {}\n"),
            &[info_name(stanza.package, stanza)],
        ));
    }
    lines.sort_unstable();
    join(lines, "")
}
