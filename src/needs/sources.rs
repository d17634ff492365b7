//! What stays, and why: one answer for every action.
//!
//! A module stays because it is registered, because the machine's configuration loads it, because
//! the boot needs it, because it lies outside of `kernel/`, because what is built into the kernel asks
//! for it, or because one of those needs it. The boot's and the configuration's names are the
//! machine's; each kernel resolves them for itself, since what one has built in is a module of the
//! next, perhaps under another name.

use crate::error::{Answer, Result};
use crate::format::{decimal, keep, new_list, render, List, Text};
use crate::needs::boot::{self, Ask, Missing};
use crate::needs::census::configured;
use crate::needs::groups::{expand, names_in};
use crate::needs::kernel::Found;
use crate::needs::rules::{each_file, Rule};
use crate::needs::survey::{Finding, Kind};
use crate::needs::{Closure, Kernel, Why};
use crate::system::tree::{walk, Fate, Leaf, Scope, Sizes};
use crate::system::{running_kernel, Report, Root};
use crate::template::Template;
use crate::text::active::Registry;
use crate::text::modprobe::targets;
use crate::text::name::{ModuleName, ModulePath};
use crate::text::names::{Presence, Want, CENSUS};
use crate::text::{bare_lines, positions, proc_modules, until, words};

/// What is known of the machine, whatever the kernel.
pub struct Machine {
    /// What the boot asks for.
    pub boot: &'static [Ask],
    /// What its configuration loads, and what files of needs.d say.
    pub declared: &'static Declared,
    /// What is loaded.
    pub loaded: List<ModuleName<'static>>,
    /// The kernel that runs, as far as the root shows it.
    pub running: Option<Text>,
}

impl Machine {
    /// Looks at the machine below a root.
    ///
    /// # Errors
    /// A file that is there cannot be read, or says nothing sensible.
    pub fn look(root: &Root) -> Result<&'static Machine> {
        Machine::of(root, boot::asks(root)?)
    }

    /// The same for whoever only wants to know: /etc/crypttab is not for everybody to read.
    ///
    /// # Errors
    /// As there, except for the files of the boot: those are warned of.
    pub fn look_around(root: &Root, report: &Report) -> Result<&'static Machine> {
        let (boot, result) = boot::readable(root);
        if let Err(error) = result {
            for message in error.messages() {
                report.warn(msg!("{}"), &[message]);
            }
        }
        Machine::of(root, boot)
    }

    fn of(root: &Root, boot: &'static [Ask]) -> Result<&'static Machine> {
        Ok(Box::leak(Box::new(Machine {
            boot,
            declared: declared(root)?,
            loaded: loaded(root)?,
            running: running(root)?,
        })))
    }

    /// Whether what is loaded is loaded in this kernel, as far as anybody knows.
    pub fn runs(&self, version: Text) -> bool {
        self.running.map_or(true, |running| running == version)
    }
}

/// Where packages and the administrator say what they need; a file of the first hides one of its name
/// in the second.
const NEEDS: Template = msg!("etc/limopack/needs.d usr/lib/limopack/needs.d");

/// What files say that the machine needs.
#[derive(Default)]
pub struct Declared {
    /// The names, and where each is: a file, or `FILE:LINE`.
    pub names: Vec<(Want, Text)>,
    /// The files of needs.d.
    pub files: Vec<Text>,
    /// Whether a file of needs.d is a base: a census, or one with that line.
    pub is_base: bool,
}

/// Reads them.
///
/// # Errors
/// One cannot be read, or has a name that can be none.
pub fn declared(root: &Root) -> Result<&'static Declared> {
    let declared = Box::leak(Box::<Declared>::default());
    configured(root, &mut |name, file| {
        // Distributions ship lists of what other machines have: a name that is unknown is none.
        let want = Want {
            given: keep(name),
            presence: Presence::Optional,
            line: 0,
        };
        declared.names.push((want, file));
    })?;
    each_file(root, &[], NEEDS, b".conf", &mut |path, text| {
        declared.files.push(path);
        let (names, registry) = names_in(text, root.shown(path))?;
        declared.is_base |= registry.says_base() || text.starts_with(CENSUS);
        for &want in expand(root, names, root.shown(path))? {
            let place = match want.line {
                0 => path,
                line => render(msg!("{}:{}"), &[path, decimal(line)]),
            };
            declared.names.push((want, place));
        }
        Ok(())
    })?;
    Ok(declared)
}

/// The kernel that runs, as far as the root shows it: an image may have a /proc of its own.
///
/// # Errors
/// It cannot be read.
pub fn running(root: &Root) -> Result<Option<Text>> {
    if root.is_host() {
        return Ok(Some(running_kernel()));
    }
    let text = root.text(b"proc/sys/kernel/osrelease")?;
    Ok(text.map(|text| text.strip_suffix(b"\n").unwrap_or(text)))
}

/// The loaded modules; none where the root has no /proc/modules.
///
/// # Errors
/// It cannot be read, or has a line without a name.
pub fn loaded(root: &Root) -> Result<List<ModuleName<'static>>> {
    let text = root.text_or_empty(b"proc/modules")?;
    proc_modules::names(text, root.shown(b"proc/modules"))
}

/// Adds everything that stays in a kernel, and completes it; what a kernel cannot give is added to
/// `findings`.
///
/// # Errors
/// A damaged index.
pub fn keep_all(
    kept: &mut Closure,
    machine: &Machine,
    kernel: &Kernel<'_>,
    registry: &Registry,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    for entry in registry.entries() {
        match kernel.line(entry.name)? {
            Some(line) => {
                kept.add(line, Why::Registered);
            }
            None if kernel.is_builtin(entry.name)?.is_yes() => {}
            None => {
                let text = msg!("neither listed nor built in").text();
                findings.push(Finding::new(Kind::Missing, entry.name.to_kernel(), text));
            }
        }
    }
    for (want, place) in &machine.declared.names {
        if !add(kept, kernel, want.given, Why::Declared(place))?.is_yes()
            && want.presence == Presence::Required
        {
            let text = render(UNKNOWN, &[place]);
            findings.push(Finding::new(Kind::Missing, want.given, text));
        }
    }
    add_boot(kept, machine, kernel, findings)?;
    add_outside(kept, kernel)?;
    add_for_builtin(kept, kernel)?;
    kept.complete(kernel)
}

/// The modules outside of `kernel/`.
fn add_outside(kept: &mut Closure, kernel: &Kernel<'_>) -> Result<()> {
    let mut may_be_listed = false;
    if let Some(folder) = kernel.folder()? {
        // What has the name of one of those files and is what the index knows must not go: the file
        // outside would be what nobody has indexed.
        let mut add = |leaf: &Leaf<'_>| {
            may_be_listed = true;
            if let Some(line) = kernel.line(ModulePath(leaf.name).name())? {
                kept.add(line, Why::Outside);
            }
            Ok(Fate::Stays)
        };
        let elsewhere = walk(&folder, Scope::Outside, Sizes::Unwanted, &mut add)?.mounts;
        may_be_listed |= !elsewhere.is_empty();
    }
    kernel.outside(may_be_listed, &mut |line| {
        kept.add(line, Why::Outside);
    })
}

/// A name that the kernel does not have, and who asks for it.
const UNKNOWN: Template = msg!("{} asks for it, and this kernel does not know it");

/// What the boot asks for.
///
/// # Errors
/// A damaged index.
pub fn add_boot(
    kept: &mut Closure,
    machine: &Machine,
    kernel: &Kernel<'_>,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    for ask in machine.boot {
        let mut is_known = false;
        for name in words(ask.names) {
            is_known |= add(kept, kernel, name, Why::Boot(ask.from))?.is_yes();
        }
        let kind = match ask.missing {
            _ if is_known => continue,
            Missing::Ignore => continue,
            Missing::Refuse => Kind::Root,
            Missing::Warn => Kind::FileSystem,
        };
        let text = render(UNKNOWN, &[ask.from]);
        findings.push(Finding::new(kind, ask.names, text));
    }
    Ok(())
}

/// What modules that are built in ask for while they run: by the same rules as others, and by the
/// records `NAME.softdep=` and `NAME.weakdep=` that depmod does not read.
fn add_for_builtin(kept: &mut Closure, kernel: &Kernel<'_>) -> Result<()> {
    let rules = kernel.rules()?;
    for path in bare_lines(kernel.builtin()?.text()) {
        let path = ModulePath(path);
        let add = &mut |rule: &Rule| add_targets(kept, kernel, rule.targets);
        rules.of(path, path.hash(), add)?;
    }
    let records = kernel.file_or_empty(b"modules.builtin.modinfo")?;
    for equals in positions(records, b'=') {
        let key = &records[..equals];
        if key.ends_with(b".softdep") || key.ends_with(b".weakdep") {
            add_targets(kept, kernel, until(&records[equals + 1..], 0))?;
        }
    }
    Ok(())
}

fn add_targets(kept: &mut Closure, kernel: &Kernel<'_>, text: Text) -> Result<()> {
    for target in targets(text) {
        // Whether it is built in, too, makes no difference, and is not looked at.
        kept.add_all(kernel.modules_named(target)?, Why::BuiltIn);
    }
    Ok(())
}

/// Adds what a name stands for; whether the kernel knows it.
///
/// # Errors
/// A damaged index.
pub fn add(
    kept: &mut Closure,
    kernel: &Kernel<'_>,
    name: &'static [u8],
    why: Why,
) -> Result<Answer> {
    match kernel.look_up(name)? {
        Found::Modules(modules) => {
            kept.add_all(modules, why);
            Ok(Answer::Yes)
        }
        Found::Builtin => Ok(Answer::Yes),
        Found::Nothing => Ok(Answer::No),
    }
}

/// Adds the loaded modules; those that the kernel does not have are given back.
///
/// # Errors
/// A damaged index.
pub fn add_loaded(
    closure: &mut Closure,
    machine: &Machine,
    kernel: &Kernel<'_>,
) -> Result<List<Text>> {
    let absent = new_list();
    for &name in machine.loaded {
        match kernel.line(name)? {
            Some(line) => {
                closure.add(line, Why::Loaded);
            }
            None => absent.push(name.to_kernel()),
        }
    }
    Ok(absent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::scratch::Scratch;

    /// ext4 mounts ext3, too, and looking for a module by the type's own name hid that its alias
    /// was never found.
    #[test]
    fn the_root_file_system_is_found_by_its_alias() {
        let scratch = Scratch::new("sources-root");
        scratch.write(
            "lib/modules/1/modules.dep",
            "kernel/ext4.ko:\nkernel/xfs.ko:\n",
        );
        scratch.write(
            "lib/modules/1/modules.alias",
            "alias fs-ext3 ext4\nalias fs-xfs xfs\n",
        );
        for (kind, wanted) in [
            ("ext3", "kernel/ext4.ko"),
            ("xfs", "kernel/xfs.ko"),
            ("nfs", ""),
        ] {
            scratch.write("etc/fstab", format!("#x / xfs\n/dev/x / {kind} rw 0 1\n"));
            let root = scratch.root();
            let kernel = Kernel::open(&root, b"1").unwrap();
            let machine = Machine::look(&root).unwrap();
            let (mut kept, mut findings) = (Closure::default(), Vec::new());
            add_boot(&mut kept, machine, &kernel, &mut findings).unwrap();
            assert_eq!(kept.paths().concat(), wanted.as_bytes());
            let unknown: Vec<_> = findings
                .iter()
                .map(|found| (found.kind, found.name))
                .collect();
            let missing: &[(Kind, Text)] = &[(Kind::Root, b"fs-nfs nfs")];
            assert_eq!(unknown, if wanted.is_empty() { missing } else { &[] });
        }
    }
}
