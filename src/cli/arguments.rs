//! The words of a command line, as flags with their values.
//!
//! lexopt hands out the words; what a word is follows its rules, which a test compares. Its own
//! parser decodes and formats names for its errors, a thirtieth of the whole program.

use crate::cli::flags::{by_letter, by_long, Flag, Meaning, FLAGS};
use crate::cli::Action;
use crate::error::{Error, Result};
use crate::format::Text;
use crate::text::nearest::Nearest;
use crate::text::split_at_byte;
use lexopt::RawArgs;
use std::os::unix::ffi::OsStringExt;

/// What is left of a command line.
pub struct Arguments<'p> {
    words: RawArgs<'p>,
    /// The rest of a cluster of letters: `su` of `-isu`.
    letters: Text,
}

impl<'p> Arguments<'p> {
    /// The words after the program's name.
    pub fn new(words: RawArgs<'p>) -> Self {
        let letters = b"";
        Arguments { words, letters }
    }

    /// The next flag, with its value; that is empty for a flag that takes none.
    ///
    /// # Errors
    /// No such flag; a value that is missing, or that nobody takes; a word that is no flag.
    pub fn take(&mut self) -> Result<Option<(&'static Flag, Text)>> {
        if self.letters.is_empty() {
            let Some(word) = self.word() else {
                return Ok(None);
            };
            match word {
                b"--" => return self.word().map_or(Ok(None), |word| Err(unexpected(word))),
                [b'-', b'-', rest @ ..] => {
                    let (long, value) = split_at_byte(rest, b'=');
                    let value = (long.len() < rest.len()).then_some(value);
                    let flag = by_long(long).ok_or_else(|| no_such(&word[..2 + long.len()]))?;
                    return self.with_value(flag, value);
                }
                [b'-', _, ..] => self.letters = &word[1..],
                _ => return Err(unexpected(word)),
            }
        }
        let letters = self.letters;
        let flag = by_letter(letters[0]).ok_or_else(|| no_such_letter(letters))?;
        let rest = &letters[1..];
        let value = match rest {
            [b'=', value @ ..] => Some(value),
            b"" => None,
            _ if flag.words().value.is_empty() => None,
            _ => Some(rest),
        };
        self.letters = match value {
            Some(_) => b"",
            None => rest,
        };
        self.with_value(flag, value)
    }

    /// A flag with the value that was joined to it, or with the next word.
    fn with_value(
        &mut self,
        flag: &'static Flag,
        joined: Option<Text>,
    ) -> Result<Option<(&'static Flag, Text)>> {
        let words = flag.words();
        let value = match (words.value.is_empty(), joined) {
            (true, None) => return Ok(Some((flag, b""))),
            (true, Some(_)) => {
                return Err(Error::usage(msg!("--{} takes no value"), &[words.long]))
            }
            (false, None) => self.word(),
            (false, joined) => joined,
        };
        match value.filter(|value| !value.is_empty()) {
            Some(value) => Ok(Some((flag, value))),
            None => Err(Error::usage(msg!("--{} needs a value"), &[words.long])),
        }
    }

    /// The action that the next word names, with its dashes or without.
    pub fn action(&mut self) -> Option<Action> {
        let word = self.word()?;
        match by_long(word.strip_prefix(b"--").unwrap_or(word))?.meaning {
            Meaning::Act(action) => Some(action),
            _ => None,
        }
    }

    fn word(&mut self) -> Option<Text> {
        let word = self.words.next()?;
        Some(word.into_vec().leak())
    }
}

/// A word that is no flag, and perhaps should have been one.
fn unexpected(word: &[u8]) -> Error {
    match nearest_option(word) {
        b"" => Error::usage(
            msg!("unexpected argument: {}; modules are named with --use"),
            &[word],
        ),
        option => Error::usage(
            msg!("unexpected argument: {}; did you mean --{}?"),
            &[word, option],
        ),
    }
}

fn no_such(option: &[u8]) -> Error {
    match nearest_option(option) {
        b"" => Error::usage(msg!("no such option: {}"), &[option]),
        nearest => Error::usage(
            msg!("no such option: {}; did you mean --{}?"),
            &[option, nearest],
        ),
    }
}

/// The long name nearest to a word, which may have dashes before it; empty if none is near.
fn nearest_option(word: &[u8]) -> Text {
    let mut nearest = Nearest::to(word.strip_prefix(b"--").unwrap_or(word));
    for flag in FLAGS {
        nearest.offer(flag.words().long);
    }
    nearest.found
}

/// The first character, of however many bytes.
fn no_such_letter(letters: &[u8]) -> Error {
    let others = letters[1..].iter();
    let rest = others.take_while(|&&byte| byte & 0xC0 == 0x80).count();
    Error::usage(msg!("no such option: -{}"), &[&letters[..1 + rest]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::flags::FlagNames;
    use lexopt::{Arg, Parser};
    use std::ffi::OsString;

    type Flags = Vec<(&'static str, Text)>;

    fn ours(line: &[OsString]) -> core::result::Result<Flags, ()> {
        let mut parser = Parser::from_args(line);
        let mut arguments = Arguments::new(parser.try_raw_args().unwrap());
        let mut flags = Vec::new();
        while let Some((flag, value)) = arguments.take().map_err(drop)? {
            flags.push((flag.strings().long, value));
        }
        Ok(flags)
    }

    fn by_lexopt(line: &[OsString]) -> core::result::Result<Flags, ()> {
        let mut parser = Parser::from_args(line);
        let mut flags: Flags = Vec::new();
        while let Some(argument) = parser.next().map_err(drop)? {
            let flag = match argument {
                Arg::Short(letter) => u8::try_from(letter).ok().and_then(by_letter),
                Arg::Long(name) => by_long(name.as_bytes()),
                Arg::Value(_) => None,
            };
            let FlagNames { long, value, .. } = flag.ok_or(())?.strings();
            let value: Text = match value {
                "" => b"",
                _ => parser.value().map_err(drop)?.into_vec().leak(),
            };
            if value.is_empty() && !flag.unwrap().strings().value.is_empty() {
                return Err(());
            }
            flags.push((long, value));
        }
        Ok(flags)
    }

    #[test]
    fn every_line_of_three_words_is_what_lexopt_says() {
        let words = [
            "-l",
            "-is",
            "-us",
            "-su",
            "-u=x",
            "-u=",
            "-l=",
            "--use",
            "--use=a,b",
            "--use=",
            "--list=",
            "--list",
            "x",
            "--",
            "-",
            "",
            "-nq",
            "--root=/=",
            "-\u{e9}",
            "-l\u{e9}",
            "--=",
            "-=",
            "---",
            "--us",
            "-k",
        ];
        let mut count = 0;
        let mut line = Vec::new();
        fn extend(line: &mut Vec<OsString>, words: &[&str], left: usize, count: &mut usize) {
            assert_eq!(ours(line), by_lexopt(line), "{line:?}");
            *count += usize::from(ours(line).is_ok());
            if left > 0 {
                for word in words {
                    line.push(word.into());
                    extend(line, words, left - 1, count);
                    line.pop();
                }
            }
        }
        extend(&mut line, &words, 3, &mut count);
        assert!(count > 1_000, "{count}");
    }

    #[test]
    fn a_wrong_letter_is_shown_whole() {
        let mut parser = Parser::from_args(["-l\u{e9}x"]);
        let mut arguments = Arguments::new(parser.try_raw_args().unwrap());
        assert!(arguments.take().is_ok());
        let error = arguments.take().err().unwrap();
        let text = String::from_utf8(error.messages()[0].to_vec()).unwrap();
        assert!(text.starts_with("no such option: -\u{e9} (see"), "{text}");
    }
}
