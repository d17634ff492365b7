//! What each action does, built from the parts below. `run` is the only way in.

pub mod apply;
pub mod check;
mod forget;
pub mod kernels;
pub mod list;
pub mod migrate;
pub mod prune;
pub mod purged;
pub mod register;
pub mod restore;
pub mod settle;
pub mod wanted;
pub mod why;

use crate::cli::{help, parse, Action, Parsed, Request};
use crate::error::Result;
use crate::needs::census;
use crate::system::report::{print, Volume};
use crate::system::{self, variable, Report, Root};
use std::ffi::OsString;

/// What every action of a call works with.
pub struct Session {
    /// Where the machine's files are.
    pub root: Root,
    /// What is asked for.
    pub request: &'static Request,
    /// Where messages go.
    pub report: Report,
}

/// Runs the words after the program's name and returns the exit code.
pub fn run(words: impl IntoIterator<Item = OsString>) -> u8 {
    match parse(words).and_then(act) {
        Ok(()) => 0,
        Err(error) => {
            Report::new(Volume::Normal).error(&error);
            error.exit_code()
        }
    }
}

fn act(parsed: Parsed) -> Result<()> {
    let request = match parsed {
        Parsed::Help(action) => return print(&help::text(action)),
        Parsed::Version => return print(help::VERSION),
        Parsed::Request(request) => request,
    };
    let session = Session {
        root: open_root(request)?,
        request,
        report: Report::new(request.volume),
    };
    if !matches!(request.action, Action::List | Action::Tree) {
        system::fill_standard_descriptors()?;
    }
    match request.action {
        Action::List | Action::Tree => return list::list(&session),
        Action::Why if request.is_firmware && !request.names.is_empty() => list::list(&session),
        Action::Settle => return settle::settle(&session),
        Action::Install => register::install(&session),
        Action::Remove => register::remove(&session),
        Action::Prune => prune::prune(&session),
        Action::Restore => restore::restore(&session),
        Action::Census => return take_census(&session),
        Action::Check => return check::check(&session),
        Action::Why => return why::why(&session),
        Action::Apply => apply::apply(&session),
    }?;
    settle::settle_in_passing(&session);
    Ok(())
}

/// The root that was asked for, by dpkg too: with `--force-script-chrootless` it runs
/// maintainer scripts outside the chroot and says in `DPKG_ROOT` where that is.
fn open_root(request: &Request) -> Result<Root> {
    let path = request.root.or_else(|| variable("DPKG_ROOT"));
    Root::open(path.unwrap_or(b"/"))
}

/// `--census`: what the machine's hardware and software ask for, on stdout.
fn take_census(session: &Session) -> Result<()> {
    let census = census::take(&session.root)?;
    if census.devices == 0 {
        let place = session.root.shown(b"sys/devices");
        session
            .report
            .warn(msg!("{}: no hardware found there"), &[place]);
    }
    print(census.to_text())
}
