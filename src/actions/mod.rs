//! What each action does, built from the parts below. `run` is the only way in.

pub mod apply;
pub mod carry;
pub mod check;
pub mod kernels;
pub mod list;
pub mod prune;
pub mod register;
pub mod wanted;
pub mod why;

use crate::cli::{help, parse, Action, Parsed, Request};
use crate::error::Result;
use crate::needs::census;
use crate::system::report::{print, Volume};
use crate::system::{self, variable, Report, Root};
use std::ffi::OsString;

/// Runs the words behind the program's name and gives the exit code.
pub fn run(words: impl IntoIterator<Item = OsString>) -> u8 {
    let parsed = parse(words);
    let volume = match &parsed {
        Ok(Parsed::Request(request)) => request.volume,
        _ => Volume::Normal,
    };
    let report = Report::new(volume);
    match parsed.and_then(|parsed| act(parsed, &report)) {
        Ok(()) => 0,
        Err(error) => {
            report.error(&error);
            error.exit_code()
        }
    }
}

fn act(parsed: Parsed, report: &Report) -> Result<()> {
    match parsed {
        Parsed::Help => print(&help::text()),
        Parsed::Version => print(help::VERSION),
        Parsed::Request(request) => {
            let root = open_root(&request)?;
            if !matches!(request.action, Action::List | Action::Tree) {
                system::fill_standard_descriptors()?;
            }
            match request.action {
                Action::List => return list::list(&root, &request, report),
                Action::Tree => return list::tree(&root, &request, report),
                Action::Settle => return apply::settle(&root, &request, report),
                Action::Install => register::install(&root, &request, report),
                Action::Remove => register::remove(&root, &request, report),
                Action::Prune => prune::prune(&root, &request, report),
                Action::Census => return take_census(&root, report),
                Action::Check => return check::check(&root, &request, report),
                Action::Why => return why::why(&root, &request, report),
                Action::Apply => apply::apply(&root, &request, report),
            }?;
            apply::settle_in_passing(&root, &request, report);
            Ok(())
        }
    }
}

/// The root that was asked for, by dpkg too: with `--force-script-chrootless` it runs
/// maintainer scripts outside the chroot and says in `DPKG_ROOT` where that is.
fn open_root(request: &Request) -> Result<Root> {
    let path = request.root.or_else(|| variable("DPKG_ROOT"));
    Root::open(path.unwrap_or(b"/"))
}

/// `--census`: what the machine's hardware and software ask for, on stdout.
fn take_census(root: &Root, report: &Report) -> Result<()> {
    let census = census::take(root)?;
    if census.devices == 0 {
        let place = root.shown(b"sys/devices");
        report.warn("{}: no hardware to be seen there", &[place]);
    }
    print(census.to_text())
}
