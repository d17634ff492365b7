//! Groups: `@NAME` stands for every name in the file `groups.d/NAME.conf`, which is one of names as
//! `--from` takes it. What is in a group may be missing: kernels differ in what they have.

use crate::error::{Error, Result};
use crate::format::fill;
use crate::system::Root;
use crate::text::names::{self, Presence, Want};
use crate::text::{has, words};

/// Where groups are; a file of the first hides one of its name in the second.
const GROUPS: &[u8] = b"etc/limopack/groups.d usr/lib/limopack/groups.d";

/// Puts the names of the groups among `names` in their place, groups in groups as well; `file` is
/// where the names are from, for messages.
///
/// # Errors
/// A group that must be there and is not; its file cannot be read, or has a name that can be none.
pub fn expand(root: &Root, names: Vec<Want>, file: &[u8]) -> Result<Vec<Want>> {
    let (mut all, mut queue, mut at) = (Vec::new(), names, 0);
    while at < queue.len() {
        let want = queue[at];
        at += 1;
        let Some(group) = want.given.strip_prefix(b"@") else {
            all.push(want);
            continue;
        };
        // Each once, however groups name each other.
        if queue[..at - 1]
            .iter()
            .any(|other| other.given == want.given)
        {
            continue;
        }
        let mut found = None;
        for directory in words(GROUPS) {
            let path = fill(msg!("{}/{}.conf"), &[directory, group]);
            if found.is_none() && !has(group, b'/') {
                found = root.text(path)?.map(|text| (text, path));
            }
        }
        match found {
            Some((text, path)) => {
                for named in names::parse(text, root.shown(path))?.names {
                    queue.push(Want {
                        presence: Presence::Optional,
                        line: want.line,
                        ..named
                    });
                }
            }
            None if want.presence == Presence::Optional => {}
            None => {
                let what = msg!("no group {}; see limopack --help");
                return Err(Error::parse(file, want.line, what, &[want.given]));
            }
        }
    }
    Ok(all)
}
