//! What can go wrong, and how it is said: one enum, one place that words it.
//!
//! Messages are bytes, because kernel and dpkg promise no UTF-8. Control bytes in them are
//! shown as `\xNN`, so that no file name can write on somebody's terminal.

use rustix::io::Errno;

/// The result of everything that can fail.
pub type Result<T> = core::result::Result<T, Error>;

/// Why an action ended early. Each variant says which exit code it has.
#[derive(Debug)]
pub enum Error {
    /// The command line makes no sense (exit 2).
    Usage(Vec<u8>),
    /// Going on would be wrong or dangerous; nothing was changed (exit 1).
    Refused(Vec<u8>),
    /// A system call failed (exit 1).
    Io {
        /// What was tried: `open`, `read`, …
        verb: &'static str,
        /// On which path, as the user would write it.
        path: Vec<u8>,
        /// The kernel's answer.
        errno: Errno,
    },
    /// A file does not have its format (exit 1).
    Parse {
        /// The file, as the user would write it.
        file: Vec<u8>,
        /// Line number from 1, or 0 where the format has no lines.
        line: usize,
        /// What is wrong.
        what: Vec<u8>,
    },
    /// Another process holds the package database's lock; nothing was changed (exit 75).
    Busy(Vec<u8>),
    /// Several errors of equal rank (exit code of the first).
    Several(Vec<Error>),
}

impl Error {
    /// A usage error from message parts.
    pub fn usage(parts: &[&[u8]]) -> Error {
        Error::Usage(parts.concat())
    }

    /// A refusal from message parts.
    pub fn refused(parts: &[&[u8]]) -> Error {
        Error::Refused(parts.concat())
    }

    /// A parse error; `line` counts from 1.
    pub fn parse(file: &[u8], line: usize, what: &[&[u8]]) -> Error {
        Error::Parse {
            file: file.to_vec(),
            line,
            what: what.concat(),
        }
    }

    /// `Ok(())` for none, the error itself for one, [`Error::Several`] for more.
    ///
    /// # Errors
    /// Whenever `errors` is not empty.
    pub fn unless_empty(mut errors: Vec<Error>) -> Result<()> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(Error::Several(errors)),
        }
    }

    /// The exit code: 2 for usage, 75 for a held lock, 1 for everything else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) => 2,
            // EX_TEMPFAIL of sysexits.h: the same call may do later.
            Error::Busy(_) => 75,
            Error::Several(errors) => errors.first().map_or(1, Error::exit_code),
            _ => 1,
        }
    }

    /// Calls `say` once for each message, without prefix or newline.
    pub fn each_message(&self, say: &mut dyn FnMut(&[&[u8]])) {
        match self {
            Error::Usage(text) => say(&[text, b" (see limopack --help)"]),
            Error::Refused(text) | Error::Busy(text) => say(&[text]),
            Error::Io { verb, path, errno } => say(&[
                b"cannot ",
                verb.as_bytes(),
                b" ",
                path,
                b": ",
                &errno_text(*errno),
            ]),
            Error::Parse {
                file,
                line: 0,
                what,
            } => say(&[file, b": ", what]),
            Error::Parse { file, line, what } => {
                say(&[file, b":", &decimal(*line as u64), b": ", what])
            }
            Error::Several(errors) => errors.iter().for_each(|e| e.each_message(say)),
        }
    }
}

/// What an error number means, in the C library's words. Only what the calls that we make can
/// give: the whole of `strerror` and the formatting around it cost 10 KiB of program.
pub fn errno_text(errno: Errno) -> Vec<u8> {
    const TEXTS: &[(Errno, &str)] = &[
        (Errno::PERM, "Operation not permitted"),
        (Errno::NOENT, "No such file or directory"),
        (Errno::IO, "Input/output error"),
        (Errno::NXIO, "No such device or address"),
        (Errno::BADF, "Bad file descriptor"),
        (Errno::NOMEM, "Cannot allocate memory"),
        (Errno::ACCESS, "Permission denied"),
        (Errno::BUSY, "Device or resource busy"),
        (Errno::EXIST, "File exists"),
        (Errno::XDEV, "Invalid cross-device link"),
        (Errno::NODEV, "No such device"),
        (Errno::NOTDIR, "Not a directory"),
        (Errno::ISDIR, "Is a directory"),
        (Errno::INVAL, "Invalid argument"),
        (Errno::NFILE, "Too many open files in system"),
        (Errno::MFILE, "Too many open files"),
        (Errno::FBIG, "File too large"),
        (Errno::NOSPC, "No space left on device"),
        (Errno::ROFS, "Read-only file system"),
        (Errno::MLINK, "Too many links"),
        (Errno::PIPE, "Broken pipe"),
        (Errno::NAMETOOLONG, "File name too long"),
        (Errno::NOLCK, "No locks available"),
        (Errno::NOSYS, "Function not implemented"),
        (Errno::NOTEMPTY, "Directory not empty"),
        (Errno::LOOP, "Too many levels of symbolic links"),
        (Errno::OVERFLOW, "Value too large for defined data type"),
        (Errno::OPNOTSUPP, "Operation not supported"),
        (Errno::STALE, "Stale file handle"),
        (Errno::DQUOT, "Disk quota exceeded"),
    ];
    match TEXTS.iter().find(|(known, _)| *known == errno) {
        Some((_, text)) => text.as_bytes().to_vec(),
        None => {
            let number = decimal(errno.raw_os_error().unsigned_abs().into());
            [b"error number ", &number[..]].concat()
        }
    }
}

/// A number in decimal, as bytes.
pub fn decimal(mut number: u64) -> Vec<u8> {
    let mut digits = Vec::with_capacity(20);
    loop {
        digits.push(b'0' + (number % 10) as u8);
        number /= 10;
        if number == 0 {
            digits.reverse();
            return digits;
        }
    }
}

/// Appends `bytes`, with control bytes as `\xNN`.
pub fn push_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for &byte in bytes {
        if byte < 0x20 || byte == 0x7f {
            let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
            out.extend_from_slice(&[b'\\', b'x', high, low]);
        } else {
            out.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(error: &Error) -> Vec<String> {
        let mut said = Vec::new();
        error.each_message(&mut |parts| said.push(String::from_utf8(parts.concat()).unwrap()));
        said
    }

    #[test]
    fn messages_name_verb_path_and_line() {
        let io = Error::Io {
            verb: "open",
            path: b"/x".to_vec(),
            errno: Errno::NOENT,
        };
        assert_eq!(messages(&io), ["cannot open /x: No such file or directory"]);
        assert_eq!(messages(&Error::parse(b"f", 7, &[b"bad"])), ["f:7: bad"]);
        assert_eq!(messages(&Error::parse(b"f", 0, &[b"bad"])), ["f: bad"]);
    }

    // musl has words of its own.
    #[cfg(target_env = "gnu")]
    #[test]
    fn error_numbers_have_the_words_of_the_c_library() {
        for number in 1..140 {
            let errno = Errno::from_raw_os_error(number);
            let own = String::from_utf8(errno_text(errno)).unwrap();
            let libc = std::io::Error::from(errno).to_string();
            assert!(
                own.starts_with("error number") || libc.starts_with(&own),
                "{own}: {libc}"
            );
        }
    }

    #[test]
    fn several_errors_keep_the_first_exit_code() {
        assert!(Error::unless_empty(Vec::new()).is_ok());
        let two = vec![Error::usage(&[b"a"]), Error::refused(&[b"b"])];
        let error = Error::unless_empty(two).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert_eq!(messages(&error).len(), 2);
    }

    #[test]
    fn decimal_writes_the_whole_range() {
        assert_eq!(decimal(0), b"0");
        assert_eq!(decimal(u64::MAX), u64::MAX.to_string().into_bytes());
    }

    #[test]
    fn control_bytes_never_reach_a_terminal() {
        let mut out = Vec::new();
        push_escaped(&mut out, b"a\n\x1b[31m\xff");
        assert_eq!(out, b"a\\x0a\\x1b[31m\xff");
    }
}
