//! From words to a request that makes sense, or to a usage error that says why not.

use crate::cli::arguments::Arguments;
use crate::cli::flags::{action_name, Flag, Meaning};
use crate::error::{Error, Result};
use crate::format::Text;
use crate::package::forget::StandIns;
use crate::system::report::Volume;
use crate::text::{find_word, has};
use std::ffi::OsString;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Print the modules needed.
    List,
    /// Print them as a tree.
    Tree,
    /// Register modules.
    Install,
    /// Take references away.
    Remove,
    /// Delete what nothing needs.
    Prune,
    /// Bring parked modules back.
    Restore,
    /// Look for problems.
    Check,
    /// Say why modules are kept.
    Why,
    /// Print what the hardware asks for.
    Census,
    /// Prune, and forget packages.
    Apply,
    /// Finish what was deferred.
    Settle,
}

/// Whether to print a plan or carry it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Carry it out.
    Execute,
    /// Print it.
    DryRun,
}

/// A command line that makes sense.
#[derive(Debug)]
pub struct Request {
    /// What to do.
    pub action: Action,
    /// The names of `--use`, in order.
    pub names: Vec<Text>,
    /// The files of `--from`, in order.
    pub from: Vec<Text>,
    /// Whether the machine's census is taken for more names.
    pub detect: bool,
    /// Whether only what the boot needs is meant.
    pub is_boot: bool,
    /// Whether the firmware is meant that modules ask for.
    pub is_firmware: bool,
    /// How data is printed.
    pub format: OutputFormat,
    /// Whether references are static.
    pub is_static: bool,
    /// Whose references; `None` leaves it to the environment.
    pub owner: Option<Text>,
    /// The packages of `--pkname`, in order.
    pub packages: Vec<Text>,
    /// Whether forgotten packages with dependants get a stand-in.
    pub stand_ins: StandIns,
    /// Whether the kernels stay pruned whatever packages bring.
    pub keep_pruned: bool,
    /// Whether modules are parked instead of deleted.
    pub park: bool,
    /// The versions of `--kernel`; `all` among them means all.
    pub kernels: Vec<Text>,
    /// The directory of `--root`; `None` leaves it to the environment.
    pub root: Option<Text>,
    /// Whether refusals that allow it are overridden.
    pub force: bool,
    /// Print the plan, or do it.
    pub mode: Mode,
    /// How much to say.
    pub volume: Volume,
}

/// How data is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputFormat {
    /// Lines for people and for `cut`.
    Text,
    /// An object per line, as [`crate::format::push_object`] makes it.
    Json,
}

/// What a command line asks for.
#[derive(Debug)]
pub enum Parsed {
    /// `--help`, of everything or of an action
    Help(Option<Action>),
    /// `--version`
    Version,
    /// Everything else.
    Request(&'static Request),
}

/// Reads the words after the program's name.
///
/// # Errors
/// A usage error.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Parsed> {
    let mut parser = lexopt::Parser::from_args(words);
    // There always are, before the first word is taken apart.
    let Some(words) = parser.try_raw_args() else {
        return Err(Error::usage(msg!("no action given; try --list"), &[]));
    };
    let mut arguments = Arguments::new(words);
    let mut action = None;
    let mut seen: Vec<&'static Flag> = Vec::new();
    let request = Box::leak(Box::new(Request {
        action: Action::List,
        names: Vec::new(),
        from: Vec::new(),
        detect: false,
        is_boot: false,
        is_firmware: false,
        format: OutputFormat::Text,
        is_static: false,
        owner: None,
        packages: Vec::new(),
        stand_ins: StandIns::Make,
        keep_pruned: false,
        park: false,
        kernels: Vec::new(),
        root: None,
        force: false,
        mode: Mode::Execute,
        volume: Volume::Normal,
    }));
    while let Some((flag, value)) = arguments.take()? {
        let words = flag.words();
        seen.push(flag);
        match flag.meaning {
            Meaning::Help => return Ok(Parsed::Help(arguments.action().or(action))),
            Meaning::Version => return Ok(Parsed::Version),
            Meaning::Act(second) => match action {
                Some(first) if first != second => {
                    return Err(Error::usage(
                        msg!("--{} and --{} cannot be combined"),
                        &[action_name(first), words.long],
                    ))
                }
                _ => action = Some(second),
            },
            Meaning::Use => {
                split_list(&mut request.names, value, words.long)?;
                for name in &request.names {
                    check_name(name)?;
                }
            }
            Meaning::Pkname => {
                split_list(&mut request.packages, value, words.long)?;
                for name in &request.packages {
                    check_package(name)?;
                }
            }
            Meaning::NoStandIn => request.stand_ins = StandIns::Refuse,
            Meaning::KeepPruned => request.keep_pruned = true,
            Meaning::Park => request.park = true,
            Meaning::From => request.from.push(value),
            Meaning::Detect => request.detect = true,
            Meaning::Boot => request.is_boot = true,
            Meaning::Firmware => request.is_firmware = true,
            Meaning::Format => request.format = output_format(value)?,
            Meaning::Static => request.is_static = true,
            Meaning::Owner => set_once(&mut request.owner, value, words.long)?,
            Meaning::Kernel => request.kernels.push(value),
            Meaning::Root => set_once(&mut request.root, value, words.long)?,
            Meaning::Force => request.force = true,
            Meaning::DryRun => request.mode = Mode::DryRun,
            Meaning::Quiet => request.volume = Volume::Quiet,
            Meaning::Debug => request.volume = Volume::Debug,
        }
    }
    let Some(action) = action else {
        return Err(Error::usage(msg!("no action given; try --list"), &[]));
    };
    request.action = action;
    if action == Action::Apply && request.packages.is_empty() {
        return Err(Error::usage(
            msg!("--apply needs --pkname; --prune deletes modules alone"),
            &[],
        ));
    }
    for flag in seen {
        if !flag.goes_with(action) {
            let parts = [flag.words().long, action_name(action)];
            return Err(Error::usage(msg!("--{} does nothing with --{}"), &parts));
        }
    }
    Ok(Parsed::Request(request))
}

fn output_format(value: Text) -> Result<OutputFormat> {
    match find_word(b"json text", value) {
        Some(0) => Ok(OutputFormat::Json),
        Some(_) => Ok(OutputFormat::Text),
        None => Err(Error::usage(
            msg!("no such format: {}; there are json and text"),
            &[value],
        )),
    }
}

fn set_once(place: &mut Option<Text>, value: Text, long: Text) -> Result<()> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::usage(msg!("--{} is given twice"), &[long])),
    }
}

/// Splits `NAME,NAME`. An empty one is a typing error that must not pass as "nothing".
fn split_list(list: &mut Vec<Text>, value: Text, long: Text) -> Result<()> {
    let mut rest = value;
    loop {
        let (name, after) = split_name(rest);
        if name.is_empty() {
            return Err(Error::usage(msg!("empty name in --{}={}"), &[long, value]));
        }
        list.push(name);
        match after {
            Some(after) => rest = after,
            None => return Ok(()),
        }
    }
}

/// The first name of a list, and what comes after its comma. Some aliases have commas of their
/// own (`of:N*T*Cbrcm,bcm2835-i2c`). What follows one of them belongs to it until something has a
/// `:`, as every alias has; but the second part of `cpu:type:x86,ven*:feature:*` has one, and the
/// firmware's words in `dmi*:` may hold anything, so that those end with the list.
fn split_name(list: &[u8]) -> (&[u8], Option<&[u8]>) {
    const WITH_COMMAS: [&[u8]; 5] = [b"of:", b"cpu:", b"input:", b"ip_set_", b"dmi"];
    let first = crate::text::split_at_byte(list, b',').0;
    let has_commas = has(first, b':') && WITH_COMMAS.iter().any(|head| first.starts_with(head));
    let mut ends = crate::text::positions(list, b',').filter(|&comma| {
        let next = crate::text::split_at_byte(&list[comma + 1..], b',').0;
        let is_alias = has(next, b':') && !next.starts_with(b"ven");
        !has_commas || (is_alias && !first.starts_with(b"dmi"))
    });
    match ends.next() {
        Some(comma) => (&list[..comma], Some(&list[comma + 1..])),
        None => (list, None),
    }
}

/// Refuses what can name no package, with or without an architecture, and is no pattern of one.
fn check_package(name: &[u8]) -> Result<()> {
    let is_fit = |byte: &u8| byte.is_ascii_alphanumeric() || has(b"+-._:~*?", *byte);
    match name.iter().all(is_fit) {
        true => Ok(()),
        false => Err(Error::usage(msg!("not a package name: {}"), &[name])),
    }
}

/// Refuses what can name no module, before anything is looked up.
fn check_name(name: &[u8]) -> Result<()> {
    let is_relative = |name: &[u8]| {
        !name.starts_with(b"/") && !name.split(|&b| b == b'/').any(|part| part == b"..")
    };
    if name.iter().any(|&byte| crate::text::is_control(byte)) {
        return Err(Error::usage(msg!("control bytes in the name {}"), &[name]));
    }
    if !is_relative(name) {
        return Err(Error::usage(
            msg!("{}: a path is relative to /lib/modules/VERSION and has no '..'"),
            &[name],
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn request(line: &str) -> &'static Request {
        match parse(line.split_whitespace().map(OsString::from)) {
            Ok(Parsed::Request(request)) => request,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn usage_error(line: &str) -> String {
        match parse(line.split_whitespace().map(OsString::from)) {
            Err(error) if error.kind() == ErrorKind::Usage => {
                String::from_utf8(error.messages().concat()).unwrap()
            }
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn values_come_joined_or_apart_and_letters_cluster() {
        for line in [
            "-isu a,b",
            "-is --use=a,b",
            "-i -s -ua -u b",
            "--install --static --use a --use b",
        ] {
            let request = request(line);
            assert_eq!(request.action, Action::Install);
            assert!(request.is_static);
            assert_eq!(request.names, [b"a", b"b"]);
        }
    }

    #[test]
    fn what_makes_no_sense_is_a_usage_error() {
        for (line, text) in [
            ("", "no action"),
            ("-l -i", "--list and --install cannot be combined"),
            ("-l ext4", "unexpected argument: ext4"),
            ("-l --nope", "--nope"),
            ("-l -z", "-z"),
            ("-l --static", "--static does nothing with --list"),
            ("-l --use=", "--use"),
            ("-l -u a,,b", "empty name"),
            ("-a", "--pkname"),
            ("-a -p a/b", "package"),
            ("-l -u a\x1bb", "control bytes"),
            ("-l -u /lib/a.ko", "relative"),
            ("-l -u kernel/../a.ko", "relative"),
            ("-l --list=x", "--list"),
            ("-u", "--use needs a value"),
            ("-i --owner a --owner b", "twice"),
        ] {
            let error = usage_error(line);
            assert!(error.contains(text), "{line}: {error}");
        }
    }

    #[test]
    fn aliases_keep_their_own_commas() {
        for (list, wanted) in [
            ("of:NxTyCa,bCc,d,pci:v1", &["of:NxTyCa,bCc,d", "pci:v1"][..]),
            ("ext4,of:NxTyCa,b", &["ext4", "of:NxTyCa,b"]),
            (
                "cpu:type:x86,ven0fam6mod3A:feature:,0000,0001,fs:x",
                &["cpu:type:x86,ven0fam6mod3A:feature:,0000,0001", "fs:x"],
            ),
            (
                "input:b19e0-e0,1,k74,ramlsfw",
                &["input:b19e0-e0,1,k74,ramlsfw"],
            ),
            ("pci:v1,ext4", &["pci:v1", "ext4"]),
            (
                "ip_set_hash:ip,port,ext4:x",
                &["ip_set_hash:ip,port", "ext4:x"],
            ),
            ("dmi_sysfs,a", &["dmi_sysfs", "a"]),
            ("dmi:rvnX,Inc.:a", &["dmi:rvnX,Inc.:a"]),
        ] {
            let names = &request(&format!("-l -u {list}")).names;
            assert_eq!(
                *names,
                wanted
                    .iter()
                    .map(|name| name.as_bytes())
                    .collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn help_and_version_win_over_what_follows() {
        assert!(matches!(
            parse(["-h".into(), "--nope".into()]),
            Ok(Parsed::Help(None))
        ));
        for word in ["-v", "-V", "--version"] {
            assert!(matches!(parse([word.into()]), Ok(Parsed::Version)));
        }
    }

    #[test]
    fn every_short_combination_parses_or_is_a_usage_error() {
        let words = [
            "-l",
            "-i",
            "-is",
            "-us",
            "--use",
            "--use=a,b",
            "-u",
            "x",
            "--",
            "-",
            "-nq",
            "--root=/",
            "\u{e9}",
            "-\u{e9}",
            "--=",
            "-k",
        ];
        fn extend(line: &mut Vec<OsString>, words: &[&str], left: usize) {
            match parse(line.clone()) {
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::Usage, "{line:?}: {error:?}"),
            }
            if left > 0 {
                for word in words {
                    line.push(word.into());
                    extend(line, words, left - 1);
                    line.pop();
                }
            }
        }
        extend(&mut Vec::new(), &words, 4);
    }
}
