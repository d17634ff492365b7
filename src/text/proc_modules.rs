//! `/proc/modules`: `name size refs users state 0xaddress[ (taints)]`, one module a line.
//!
//! Only the first field is read: every other one has forms that ended a program somewhere
//! (a reference count of `-` or above 255, `[permanent]` users, a seventh field of taints).
//! (linux: kernel/module/procfs.c)

use crate::error::{Error, Result};
use crate::format::new_list;
use crate::text::name::ModuleName;

/// The names of the loaded modules, in the file's order; `file` is for messages.
///
/// # Errors
/// A line without a name.
pub fn names<'t>(text: &'t [u8], file: &[u8]) -> Result<&'t Vec<ModuleName<'t>>> {
    let names = new_list();
    for (number, line) in super::lines(text) {
        let name = super::until(line, b' ');
        if name.is_empty() {
            let what = msg!("no module name at the start of the line");
            return Err(Error::parse(file, number, what, &[]));
        }
        names.push(ModuleName::new(name));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{kind_of, ErrorKind};

    #[test]
    fn only_the_first_field_matters() {
        let text = b"nvidia 56 70000 - Live 0x0 (POE)\n\
            a 1 - [permanent], Loading 0x0\n\
            b 1 4294967295 a,c, Live 0xffffffffc0000000\n\
            short\n";
        let all = names(text, b"f").unwrap().iter();
        let all: Vec<_> = all.map(|name| name.to_kernel()).collect();
        assert_eq!(all, [&b"nvidia"[..], b"a", b"b", b"short"]);
    }

    #[test]
    fn a_line_without_a_name_is_named_by_number() {
        let bad = names(b"a 1\n 2\n", b"m");
        assert_eq!(kind_of(bad), Some(ErrorKind::Parse { line: 2 }));
    }

    #[test]
    fn no_text_panics() {
        crate::text::tests::every_text(&[b"a", b" ", b"\n", b"\0", b":"], 5, &mut |text| {
            let _ = names(text, b"f");
        });
    }
}
