//! What the user sees: data on stdout, everything else on stderr as `limopack: …`.
//! Each message is one write, so that parallel calls do not mix their lines.
//! The print macros are not used: they panic on a closed pipe.

use crate::error::{Errno, Error, Result, Verb};
use crate::format::{decimal, push_escaped, render, Text};
use crate::system::{io, retry, write_all};
use crate::template::Template;
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// How much is said on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Volume {
    /// Errors and warnings alone (`-q`).
    Quiet,
    /// What was done, too.
    Normal,
    /// What was looked at, too (`-d`).
    Debug,
}

/// Where messages go. It has no size, so that every call can pass it on for nothing: a process has
/// one standard error, and so one volume.
pub struct Report(());

static VOLUME: AtomicU8 = AtomicU8::new(Volume::Normal as u8);

impl Report {
    /// The process's report, from now on of the volume asked for.
    pub fn new(volume: Volume) -> Self {
        VOLUME.store(volume as u8, Relaxed);
        Report(())
    }

    /// Each message of an error.
    pub fn error(&self, error: &Error) {
        for message in error.messages() {
            say(b"", message);
        }
    }

    /// Something that the user should look at although the action goes on.
    #[inline(always)]
    pub fn warn(&self, template: Template, parts: &[&[u8]]) {
        report(Volume::Quiet, template, parts);
    }

    /// What was done.
    #[inline(always)]
    pub fn note(&self, template: Template, parts: &[&[u8]]) {
        report(Volume::Normal, template, parts);
    }

    /// What was looked at.
    #[inline(always)]
    pub fn debug(&self, template: Template, parts: &[&[u8]]) {
        report(Volume::Debug, template, parts);
    }
}

/// Reports at this volume. As in [`render`], one or two parts go by registers.
#[inline(always)]
fn report(volume: Volume, template: Template, parts: &[&[u8]]) {
    match parts {
        [one] => report_one(template, one, volume),
        [one, two] => report_two(template, one, two, volume),
        _ => report_all(template, parts, volume),
    }
}

#[inline(never)]
fn report_one(template: Template, one: &[u8], volume: Volume) {
    report_all(template, &[one], volume);
}

#[inline(never)]
fn report_two(template: Template, one: &[u8], two: &[u8], volume: Volume) {
    report_all(template, &[one, two], volume);
}

#[inline(never)]
fn report_all(template: Template, parts: &[&[u8]], volume: Volume) {
    if VOLUME.load(Relaxed) >= volume as u8 {
        let head: &[u8] = match volume {
            Volume::Quiet => b"warning: ",
            Volume::Normal => b"",
            Volume::Debug => b"debug: ",
        };
        say(head, render(template, parts));
    }
}

/// The longest message: what a pipe takes in one piece (pipe(7), `PIPE_BUF`), and more than
/// anybody reads.
const LONGEST: usize = 4096;

/// A message on stderr.
fn say(head: &[u8], message: &[u8]) {
    let mut line = b"limopack: ".to_vec();
    line.extend_from_slice(head);
    push_escaped(&mut line, message);
    if line.len() >= LONGEST {
        line.truncate(LONGEST - b"...\n".len());
        line.extend_from_slice(b"...");
    }
    line.push(b'\n');
    write_stderr(&line);
}

/// How far a long work is, for somebody who waits at a terminal.
pub struct Progress {
    total: usize,
    done: usize,
    is_seen: bool,
    is_shown: bool,
    /// The second of the last word; the first comes with the next second, half a one later as a
    /// rule. The C library's clock, for better ones, is a kilobyte of program.
    second: Second,
}

/// Seconds since the machine started.
type Second = core::ffi::c_long;

fn now() -> Second {
    rustix::system::sysinfo().uptime as Second
}

impl Progress {
    /// A work of `total` steps that begins now.
    pub fn new(total: usize, volume: Volume) -> Self {
        let is_seen = volume >= Volume::Normal && rustix::termios::isatty(rustix::stdio::stderr());
        Progress {
            total,
            done: 0,
            is_seen,
            is_shown: false,
            second: if is_seen { now() } else { 0 },
        }
    }

    /// One step was done.
    pub fn tick(&mut self) {
        self.done += 1;
        // The clock is not asked for every file.
        if !self.is_seen || self.done % 32 != 0 || now() == self.second {
            return;
        }
        self.second = now();
        self.is_shown = true;
        write_stderr(self.line());
    }

    /// What the terminal shows meanwhile; no verb, because a restore and a park count as a prune does.
    fn line(&self) -> Text {
        let (done, total) = (decimal(self.done), decimal(self.total));
        render(msg!("\rlimopack: {} of {} modules"), &[done, total])
    }

    /// The work ended; how many steps were done.
    pub fn end(self) -> usize {
        if self.is_shown {
            write_stderr(b"\r\x1b[K");
        }
        self.done
    }
}

/// Writes a whole message. Where even that fails there is nobody left to tell.
pub fn write_stderr(bytes: &[u8]) {
    let _ = retry(|| rustix::io::write(rustix::stdio::stderr(), bytes));
}

/// Writes data to stdout. A closed pipe is a reader that has seen enough: no error.
///
/// # Errors
/// Everything else, a full disk above all.
pub fn print(data: &[u8]) -> Result<()> {
    match write_all(rustix::stdio::stdout(), data) {
        Err(Errno::PIPE) => Ok(()),
        written => io(Verb::Write, b"standard output", written),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Story: `--prune --park` and `--restore` of a whole kernel showed "removed 544 of 3925" meanwhile.
    #[test]
    fn progress_does_not_say_that_what_is_restored_is_removed() {
        let mut progress = Progress::new(3925, Volume::Quiet);
        (0..544).for_each(|_| progress.tick());
        assert_eq!(progress.line(), b"\rlimopack: 544 of 3925 modules");
    }
}
