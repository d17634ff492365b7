//! Groups: `@NAME` stands for every name in the file `groups.d/NAME.conf`, which is one of names as
//! `--from` takes it. What is in a group may be missing: kernels differ in what they have.

use crate::error::{Error, Result};
use crate::format::{new_list, render, List, Text};
use crate::needs::rules::text_or_hidden;
use crate::system::Root;
use crate::template::Template;
use crate::text::active::Registry;
use crate::text::names::{self, Presence, Want};
use crate::text::{has, words};

/// Where groups are; a file of the first hides one of its name in the second.
const GROUPS: Template = msg!("etc/limopack/groups.d usr/lib/limopack/groups.d");

/// The names in a text, and the registry in it: a copy of one needs what that has.
///
/// # Errors
/// A name that can be none; a registry that is malformed.
pub fn names_in(text: Text, file: &[u8]) -> Result<(List<Want>, &'static Registry)> {
    let found = names::parse(text, file)?;
    let registry = Registry::parse(&found.registry, file)?;
    for entry in registry.entries() {
        found.names.push(Want {
            given: entry.name.to_kernel(),
            presence: Presence::Required,
            line: 0,
        });
    }
    Ok((&found.names, registry))
}

/// Puts the names of the groups among `names` in their place, groups in groups as well; `file` is
/// where the names are from, for messages.
///
/// # Errors
/// A group that must be there and is not; its file cannot be read, or has a name that can be none.
pub fn expand(root: &Root, names: &[Want], file: &[u8]) -> Result<List<Want>> {
    let (all, mut queue, mut at) = (new_list(), names.to_vec(), 0);
    while at < queue.len() {
        let want = queue[at];
        at += 1;
        let Some(group) = want.given.strip_prefix(b"@") else {
            all.push(want);
            continue;
        };
        // Each once, however groups name each other.
        let is_it = |other: &Want| other.given == want.given && other.presence == want.presence;
        if queue[..at - 1].iter().any(is_it) {
            continue;
        }
        let (mut found, mut path): (_, Text) = (None, b"");
        for directory in words(GROUPS.text()) {
            if found.is_none() && !has(group, b'/') {
                path = render(msg!("{}/{}.conf"), &[directory, group]);
                found = text_or_hidden(root, path)?;
            }
        }
        match found {
            Some(text) => {
                for named in names_in(text, root.shown(path))?.0 {
                    queue.push(Want {
                        presence: Presence::Optional,
                        line: want.line,
                        ..*named
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
