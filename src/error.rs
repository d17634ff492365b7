//! What can go wrong, and how it is said: one type, one place that words it.
//!
//! Messages are bytes, because kernel and dpkg promise no UTF-8. Control bytes in them are
//! shown as `\xNN`, so that no file name can write on somebody's terminal.

use crate::format::{decimal, render, Text};
use crate::template::Template;
use crate::text::bare_lines;
use core::num::NonZeroU32;

/// The result of everything that can fail.
pub type Result<T> = core::result::Result<T, Error>;

/// Yes or no, where it may fail to be found out. As wide as an error, and so both come back in
/// registers; a `bool` in a [`Result`] would go over memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Answer {
    /// It is not so.
    No,
    /// It is so.
    Yes,
}

impl Answer {
    /// Whether it is yes.
    #[inline(always)]
    pub fn is_yes(self) -> bool {
        self == Answer::Yes
    }
}

impl From<bool> for Answer {
    #[inline(always)]
    fn from(is_so: bool) -> Self {
        match is_so {
            true => Answer::Yes,
            false => Answer::No,
        }
    }
}

/// Why an action ended early: its rank, and one message or more. One word wide, because every
/// call passes it on: the enum with its texts inside cost 13 KB of program on ARMv7.
#[derive(Debug)]
pub struct Error(Box<Trouble>);

#[derive(Debug)]
struct Trouble {
    kind: ErrorKind,
    messages: Vec<Text>,
}

/// What kind of error it is; of several, the kind of the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The command line makes no sense (exit 2).
    Usage,
    /// Going on would be wrong or dangerous; nothing was changed (exit 1).
    Refused,
    /// A system call failed (exit 1).
    Io,
    /// A file does not have its format (exit 1).
    Parse {
        /// Which line, from 1; 0 where the format has no lines.
        line: usize,
    },
    /// Another process holds the package database's lock; nothing was changed (exit 75).
    Busy,
}

impl Error {
    /// An error of one message, as [`render`] makes it.
    #[cold]
    pub fn new(kind: ErrorKind, template: Template, parts: &[&[u8]]) -> Error {
        let messages = vec![render(template, parts)];
        Error(Box::new(Trouble { kind, messages }))
    }

    /// A usage error; where to read on is added. One part goes by registers, as in [`render`].
    #[inline(always)]
    pub fn usage(template: Template, parts: &[&[u8]]) -> Error {
        match parts {
            [one] => Error::usage_one(template, one),
            _ => Error::usage_all(template, parts),
        }
    }

    #[cold]
    #[inline(never)]
    fn usage_one(template: Template, one: &[u8]) -> Error {
        Error::usage_all(template, &[one])
    }

    #[cold]
    #[inline(never)]
    fn usage_all(template: Template, parts: &[&[u8]]) -> Error {
        let message = render(template, parts);
        Error::new(
            ErrorKind::Usage,
            msg!("{} (see limopack --help)"),
            &[message],
        )
    }

    /// A refusal. As in [`render`], one or two parts go by registers.
    #[inline(always)]
    pub fn refused(template: Template, parts: &[&[u8]]) -> Error {
        match parts {
            [one] => Error::refused_one(template, one),
            [one, two] => Error::refused_two(template, one, two),
            _ => Error::new(ErrorKind::Refused, template, parts),
        }
    }

    #[cold]
    #[inline(never)]
    fn refused_one(template: Template, one: &[u8]) -> Error {
        Error::new(ErrorKind::Refused, template, &[one])
    }

    #[cold]
    #[inline(never)]
    fn refused_two(template: Template, one: &[u8], two: &[u8]) -> Error {
        Error::new(ErrorKind::Refused, template, &[one, two])
    }

    /// A system call's error: what was tried, on which path, as the user would write it, and the
    /// kernel's answer.
    #[cold]
    pub fn io(verb: Verb, path: &[u8], errno: Errno) -> Error {
        let verb = bare_lines(VERBS.text()).nth(verb as usize);
        let parts = [verb.unwrap_or_default(), path, errno_text(errno)];
        Error::new(ErrorKind::Io, msg!("cannot {} {}: {}"), &parts)
    }

    /// A parse error in `file`, as the user would write it. `line` counts from 1; it is 0 where
    /// the format has no lines. What has no parts goes by registers.
    #[inline(always)]
    pub fn parse(file: &[u8], line: usize, template: Template, parts: &[&[u8]]) -> Error {
        match parts {
            [] => Error::parse_plain(file, line, template),
            _ => Error::parse_rendered(file, line, render(template, parts)),
        }
    }

    #[cold]
    #[inline(never)]
    fn parse_plain(file: &[u8], line: usize, template: Template) -> Error {
        Error::parse_rendered(file, line, render(template, &[]))
    }

    #[cold]
    #[inline(never)]
    fn parse_rendered(file: &[u8], line: usize, what: Text) -> Error {
        let kind = ErrorKind::Parse { line };
        match line {
            0 => Error::new(kind, msg!("{}: {}"), &[file, what]),
            _ => Error::new(kind, msg!("{}:{}: {}"), &[file, decimal(line), what]),
        }
    }

    /// What kind of error this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The exit code: 2 for usage, 75 for a held lock, 1 for everything else.
    pub fn exit_code(&self) -> u8 {
        match self.0.kind {
            ErrorKind::Usage => 2,
            // EX_TEMPFAIL of sysexits.h: the same call may do later.
            ErrorKind::Busy => 75,
            _ => 1,
        }
    }

    /// The messages, without prefix or newline; one at least.
    pub fn messages(&self) -> &[Text] {
        &self.0.messages
    }
}

/// Errors that keep nothing from going on before they are told: one with the messages of all.
#[derive(Debug, Default)]
pub struct Errors(Option<Error>);

impl Errors {
    /// Adds one.
    pub fn push(&mut self, mut error: Error) {
        match &mut self.0 {
            Some(all) => all.0.messages.append(&mut error.0.messages),
            None => self.0 = Some(error),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// `Ok(())` for none.
    ///
    /// # Errors
    /// Whenever there is one.
    pub fn result(self) -> Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}

/// Which kind of error a result is, and on which line.
#[cfg(test)]
pub fn kind_of<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

/// Numbers and a text with a line for each.
macro_rules! verbs {
    ($($name:ident $words:literal)*) => {
        /// What a system call was to do. A number, because every call that may fail passes it on: with
        /// a text for it, five words instead of four, the last one would go over the stack.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Verb {
            $(#[doc = concat!("cannot ", $words, " …")] $name),*
        }
        const VERBS: Template = msg!(concat!($($words, "\n"),*));
    };
}

verbs! {
    Open "open"
    Read "read"
    Stat "stat"
    Map "map"
    Create "create"
    MakePlace "make a place for"
    Write "write"
    WriteIn "write in"
    SetMode "set the mode of"
    Sync "sync"
    SyncFileSystem "sync the file system of"
    Lock "lock"
    Keep "keep"
    Replace "replace"
    Move "move"
    Remove "remove"
    Run "run"
}

/// The result of a system call.
pub type Called<T> = core::result::Result<T, Errno>;

/// The number of a system call's error. One word wide and never 0, so that the result of a call without
/// a value is one word, too, and one with a descriptor comes back in registers; with rustix's own type,
/// half as wide, that goes over memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(NonZeroU32);

impl Errno {
    /// A signal came first.
    pub const INTR: Errno = Errno::of(rustix::io::Errno::INTR.raw_os_error());
    /// It would have to be waited for.
    pub const AGAIN: Errno = Errno::of(rustix::io::Errno::AGAIN.raw_os_error());

    /// That of a number as the kernel has it.
    pub const fn of(number: i32) -> Errno {
        match NonZeroU32::new(number as u32) {
            Some(number) => Errno(number),
            None => panic!(),
        }
    }
}

impl From<rustix::io::Errno> for Errno {
    fn from(errno: rustix::io::Errno) -> Self {
        Errno::of(errno.raw_os_error())
    }
}

/// Constants, a list of numbers, and a text with a line for each: pairs would be as large again.
macro_rules! errors {
    ($($name:ident $words:literal)*) => {
        #[allow(missing_docs)]
        impl Errno {
            $(pub const $name: Errno = Errno::of(rustix::io::Errno::$name.raw_os_error());)*
        }
        const NUMBERS: &[u16] = &[$(rustix::io::Errno::$name.raw_os_error() as u16),*];
        const WORDS: Template = msg!(concat!($($words, "\n"),*));
    };
}

// Only what the calls that we make can answer: the whole of `strerror` and the formatting around
// it cost 10 KiB of program.
errors! {
    PERM "Operation not permitted"
    NOENT "No such file or directory"
    IO "Input/output error"
    NXIO "No such device or address"
    BADF "Bad file descriptor"
    NOMEM "Cannot allocate memory"
    ACCESS "Permission denied"
    BUSY "Device or resource busy"
    EXIST "File exists"
    XDEV "Invalid cross-device link"
    NODEV "No such device"
    NOTDIR "Not a directory"
    ISDIR "Is a directory"
    INVAL "Invalid argument"
    NFILE "Too many open files in system"
    MFILE "Too many open files"
    FBIG "File too large"
    NOSPC "No space left on device"
    ROFS "Read-only file system"
    MLINK "Too many links"
    PIPE "Broken pipe"
    NAMETOOLONG "File name too long"
    NOLCK "No locks available"
    NOSYS "Function not implemented"
    NOTEMPTY "Directory not empty"
    LOOP "Too many levels of symbolic links"
    OVERFLOW "Value too large for defined data type"
    OPNOTSUPP "Operation not supported"
    STALE "Stale file handle"
    DQUOT "Disk quota exceeded"
}

/// What an error number means, in the C library's words.
pub fn errno_text(errno: Errno) -> Text {
    let number = errno.0.get();
    let mut known = NUMBERS.iter().zip(bare_lines(WORDS.text()));
    match known.find(|(&known, _)| u32::from(known) == number) {
        Some((_, words)) => words,
        None => render(msg!("error number {}"), &[decimal(number as usize)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(error: &Error) -> Vec<String> {
        let texts = error.messages().iter();
        texts
            .map(|text| String::from_utf8(text.to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn messages_name_verb_path_and_line() {
        let io = Error::io(Verb::Open, b"/x", Errno::NOENT);
        assert_eq!(messages(&io), ["cannot open /x: No such file or directory"]);
        assert_eq!(
            messages(&Error::parse(b"f", 7, msg!("bad"), &[])),
            ["f:7: bad"]
        );
        assert_eq!(
            messages(&Error::parse(b"f", 0, msg!("bad"), &[])),
            ["f: bad"]
        );
    }

    // musl has words of its own.
    #[cfg(target_env = "gnu")]
    #[test]
    fn error_numbers_have_the_words_of_the_c_library() {
        for number in 1..140 {
            let own = String::from_utf8(errno_text(Errno::of(number)).to_vec()).unwrap();
            let libc = std::io::Error::from_raw_os_error(number).to_string();
            assert!(
                own.starts_with("error number") || libc.starts_with(&own),
                "{own}: {libc}"
            );
        }
    }

    #[test]
    fn several_errors_keep_the_first_exit_code() {
        assert!(Errors::default().result().is_ok());
        let mut two = Errors::default();
        two.push(Error::usage(msg!("a"), &[]));
        two.push(Error::refused(msg!("b"), &[]));
        let error = two.result().unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert_eq!(messages(&error).len(), 2);
    }
}
