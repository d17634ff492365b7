//! What the machine boots from: names and aliases, each with the place that asks for it.
//!
//! Two kinds of facts. What files say counts for every root: the file systems of fstab with what
//! their options ask for, crypttab, where a hibernated system is resumed from. What /proc and /sys
//! say counts if the root is mounted, as /proc has it: what `/` is, and the devices below each of
//! these file systems, from the mount's source down to the bus, whatever is stacked between
//! (partitions, LVM, LUKS, MD, loops, several disks of one btrfs) and whatever gives a device its
//! clock or power.
//!
//! Nothing here depends on a kernel: the caller resolves the names in each. All is read below one
//! root, whatever is missing is left out, and devices may come and go meanwhile. The names are for
//! keeping modules, so where a fact is uncertain, more is asked for rather than less.
//! (Sources: fstab(5), crypttab(5), proc_pid_mountinfo(5), bootparam(7), linux/Documentation/ABI/
//! testing/sysfs-*; initramfs-tools' hook-functions, `dep_add_modules`)

use crate::error::Result;
use crate::format::{keep, new_list, push_rendered, render, List, Text};
use crate::needs::facts::{self, Facts};
use crate::system::folder::{DirectoryEntry, NO_ENTRIES};
use crate::system::{resolved, Folder, Root};
use crate::text::{
    bare_lines, find, find_word, first_word, has, last_part, rfind, split_at_byte, until, words,
};

/// What it means if a kernel knows none of the names that are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Missing {
    /// The kernel does not mount its root file system.
    Refuse,
    /// It does not mount another file system.
    Warn,
    /// It may have it built in, call it otherwise, or do without.
    Ignore,
}

/// Something that the boot asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Names and aliases, separated by blanks. A kernel that knows one of them has what is asked
    /// for, and every one that it knows must stay.
    pub names: Text,
    /// What asks for it, in words.
    pub from: Text,
    /// What it means if the kernel knows none of them.
    pub missing: Missing,
}

/// What asks, in the words of `--why`.
const ROOT: Text = b"the root file system";
const DISK: Text = b"the root disk";
const USR: Text = b"/usr";
const FSTAB: Text = b"/etc/fstab";
const CRYPTTAB: Text = b"/etc/crypttab";
const SWAP: Text = b"swap";
const RESUME: Text = b"resume";
const COMMAND_LINE: Text = b"/proc/cmdline";
const BOARD: Text = b"clocks, power and pins";

/// Every device is below this directory of /sys.
const DEVICES: &[u8] = b"devices/";

/// What is mounted, or is to be.
pub(super) struct Mount {
    /// `MAJOR:MINOR`; empty where only a table says it.
    number: Text,
    source: Text,
    point: Text,
    pub(super) kinds: Text,
    /// Those of the mount and those of the file system.
    options: [Text; 2],
}

impl Mount {
    /// A line of fstab or /proc/mounts: `SOURCE POINT KIND[,KIND] OPTION[,OPTION] 0 0`.
    pub(super) fn of_table(line: Text) -> Option<Box<Mount>> {
        let mut fields = words(line);
        let mut field = || fields.next().unwrap_or(b"");
        let (source, point, kinds, options) = (field(), field(), field(), field());
        if point.is_empty() || source.starts_with(b"#") {
            return None;
        }
        Some(Box::new(Mount {
            number: b"",
            source,
            point: match point {
                [start @ .., b'/'] if !start.is_empty() => start,
                _ => point,
            },
            kinds,
            options: [options, b""],
        }))
    }

    /// A line of mountinfo: `ID PARENT MAJOR:MINOR ROOT POINT OPTION[,OPTION] ... - KIND SOURCE
    /// OPTION[,OPTION]`.
    fn of_info(line: Text) -> Option<Box<Mount>> {
        let (mount, system) = line.split_at(find(line, b" - ")?);
        let (mut mount, mut system) = (words(mount), words(&system[3..]));
        Some(Box::new(Mount {
            number: mount.nth(2)?,
            point: mount.nth(1)?,
            kinds: system.next()?,
            source: system.next()?,
            options: [mount.next()?, system.next().unwrap_or(b"")],
        }))
    }

    fn has(&self, wanted: &[u8]) -> bool {
        parts(self.options[0], b",").any(|option| option == wanted)
    }

    fn is_optional(&self) -> bool {
        self.has(b"noauto") || self.has(b"nofail")
    }

    /// What it means if the kernel cannot mount it. What is no device and no host is a file system
    /// of the kernel itself, which need not have a module.
    fn missing(&self) -> Missing {
        match self.source.iter().any(|&byte| has(b"/=", byte)) {
            true => Missing::Warn,
            false => Missing::Ignore,
        }
    }

    /// Whether the file system comes over the network.
    fn is_remote(&self) -> bool {
        let is_host = find(self.source, b":/").is_some() && !self.source.starts_with(b"/dev/");
        self.source.starts_with(b"//") || is_host
    }

    /// Whether a line of fstab may stay unmounted; those of the system itself never do.
    fn may_wait(&self) -> bool {
        let is_system = self.point == b"/" || self.point == b"/usr" || self.has(b"x-initrd.mount");
        // Mounted as soon as somebody looks at it.
        self.is_optional() && !is_system && !self.has(b"x-systemd.automount")
    }
}

/// Each type of a file system: `ext4,ext3` in fstab; `fuse.sshfs` is fuse.
pub(super) fn types(kinds: &[u8]) -> impl Iterator<Item = &[u8]> {
    let kinds = parts(kinds, b",").map(|kind| until(kind, b'.'));
    kinds.filter(|kind| !kind.is_empty() && find_word(b"auto none swap", kind).is_none())
}

/// Calls back with each line of a file; there is none where the file is missing.
pub(super) fn each_line(root: &Root, file: &[u8], visit: &mut dyn FnMut(Text)) -> Result<()> {
    let text = root.text_or_empty(file)?;
    bare_lines(text).for_each(visit);
    Ok(())
}

/// The parts of a text between separators.
pub(super) fn parts<'t>(
    text: &'t [u8],
    separators: &'static [u8],
) -> impl Iterator<Item = &'t [u8]> {
    text.split(move |byte| has(separators, *byte))
}

/// The facts, as they are found.
struct Boot<'r> {
    root: &'r Root,
    /// Unpacked when the first word is looked up.
    facts: Option<Facts>,
    /// What is mounted, sorted by mount point; of the same, the last is the one that is seen.
    mounts: Vec<&'static Mount>,
    /// Sorted by names; the first that asks for something is the one that is said.
    asks: Vec<Ask>,
    /// Devices and mount points that were looked at, sorted.
    seen: Vec<Text>,
    /// Mount points below which the devices were found, or any taken.
    reached: Vec<Text>,
    /// Devices to be looked at.
    pending: Vec<Text>,
    from: Text,
    /// What it means if the kernel does not know a file system that is found on the way.
    missing: Missing,
    /// Of the files that could not be read, the last.
    result: Result<()>,
}

/// What the boot of the machine, or of the image, below a root asks for, sorted by names.
///
/// # Errors
/// A file that is there cannot be read, except below /sys.
pub fn asks(root: &Root) -> Result<&'static [Ask]> {
    let (asks, result) = readable(root);
    result.map(|()| asks)
}

/// The same as far as it can be read, and whether that is all.
pub fn readable(root: &Root) -> (&'static [Ask], Result<()>) {
    let mut boot = Boot {
        root,
        facts: None,
        mounts: Vec::new(),
        asks: Vec::new(),
        seen: Vec::new(),
        reached: Vec::new(),
        pending: Vec::new(),
        from: ROOT,
        missing: Missing::Refuse,
        result: Ok(()),
    };
    let place = root.mounted_at();
    boot.mounts(place, b"proc/self/mountinfo", Mount::of_info);
    if boot.mounts.is_empty() {
        boot.mounts(place, b"proc/mounts", Mount::of_table);
    }
    let running = boot.mount_at(b"/");
    if let Some(mount) = running {
        boot.running_root(mount);
    }
    boot.read(FSTAB, b"etc/fstab", Boot::line_of_fstab);
    boot.read(CRYPTTAB, b"etc/crypttab", Boot::line_of_crypttab);
    let resume = b"etc/initramfs-tools/conf.d/resume";
    boot.read(RESUME, resume, |boot, line| {
        boot.option(line);
    });
    if running.is_some() {
        boot.running_system();
    }
    boot.walk();
    (boot.asks.leak(), boot.result)
}

/// What the file systems ask for.
impl Boot<'_> {
    /// Says what asks from here on.
    fn set(&mut self, from: Text, missing: Missing) {
        self.walk();
        self.from = from;
        self.missing = missing;
    }

    /// Calls `look` with each line of a file, which `from` is called.
    fn read(&mut self, from: Text, file: &[u8], look: fn(&mut Self, Text)) {
        self.set(from, Missing::Ignore);
        self.each_line(file, &mut |boot, line| look(boot, line));
    }

    fn each_line(&mut self, file: &[u8], look: &mut dyn FnMut(&mut Self, Text)) {
        let read = each_line(self.root, file, &mut |line| look(self, line));
        if read.is_err() {
            self.result = read;
        }
    }

    /// Asks for what has one of these names.
    fn ask(&mut self, names: &[u8], missing: Missing) {
        let ask = Ask {
            names: keep(names),
            from: self.from,
            missing,
        };
        match self.position(names) {
            Ok(at) if missing < self.asks[at].missing => self.asks[at] = ask,
            Err(at) if !names.is_empty() => self.asks.insert(at, ask),
            _ => {}
        }
    }

    /// Asks for what the table gives, which a kernel may do without.
    fn add(&mut self, name: &[u8]) {
        if let Some(directory) = name.strip_prefix(b"sys:") {
            self.class(directory);
        } else if let Some(cipher) = name.strip_prefix(b"crypto-") {
            // `aes-cbc-essiv:sha256` of crypttab, `xts(aes)` of /proc/crypto.
            for part in parts(cipher, b"-(),").filter(|part| !part.is_empty()) {
                self.ask(render(msg!("crypto-{}"), &[part]), Missing::Ignore);
            }
        } else if first_word(name) == name {
            self.ask(name, Missing::Ignore);
        }
    }

    fn facts(&mut self) -> Facts {
        *self.facts.get_or_insert_with(Facts::default)
    }

    fn fact(&mut self, place: &[u8], word: &[u8]) {
        let facts = self.facts();
        facts.each(place, word, &mut |name| self.add(name));
    }

    /// What a file lists as mounted, as far as it is below this root, which is mounted at `place`.
    fn mounts(&mut self, place: &[u8], file: &[u8], parse: fn(Text) -> Option<Box<Mount>>) {
        self.each_line(file, &mut |boot, line| {
            let Some(mut mount) = parse(line) else {
                return;
            };
            // What is mounted elsewhere is not seen from this root.
            match mount.point.strip_prefix(place) {
                Some(b"") => mount.point = b"/",
                Some(point) if point.starts_with(b"/") => mount.point = point,
                _ => return,
            }
            let at = boot.mounts_up_to(mount.point);
            boot.mounts.insert(at, Box::leak(mount));
        });
    }

    fn mounts_up_to(&self, point: &[u8]) -> usize {
        self.mounts.partition_point(|mount| mount.point <= point)
    }

    fn mount_at(&self, point: &[u8]) -> Option<&'static Mount> {
        let at = self.mounts_up_to(point).checked_sub(1)?;
        Some(self.mounts[at]).filter(|mount| mount.point == point)
    }

    /// What is mounted on `/`, and on `/usr`.
    fn running_root(&mut self, mount: &Mount) {
        self.is_new(b"/");
        let missing = match find_word(b"rootfs tmpfs ramfs overlay", mount.kinds) {
            // Of a live system, or of a container, which does not boot.
            Some(3) => Missing::Warn,
            Some(_) => Missing::Ignore,
            None => Missing::Refuse,
        };
        self.kinds(mount.kinds, missing);
        self.from = DISK;
        let is_found = self.below(mount);
        // What leads back to the root itself has found nothing.
        self.walk();
        if missing != Missing::Ignore {
            if !is_found {
                self.any();
            }
            self.reached.push(b"/");
        }
        self.set(USR, Missing::Warn);
        if let Some(mount) = self.mount_at(b"/usr") {
            self.mount(mount, Missing::Warn);
        }
    }

    /// Where a disk cannot be found, it may be any.
    fn any(&mut self) {
        self.missing = Missing::Ignore;
        self.fact(b"any", b"");
    }

    fn line_of_fstab(&mut self, line: Text) {
        let Some(line) = Mount::of_table(line) else {
            return;
        };
        if line.may_wait() {
            return;
        }
        self.set(FSTAB, line.missing());
        if line.kinds == b"swap" {
            self.from = SWAP;
        }
        let mut is_found = false;
        match self.mount_at(line.point) {
            Some(mount) if mount.kinds != b"autofs" => {
                is_found = self.mount(mount, mount.missing());
                // The type in fstab may be that of mount's helper, and no name of the kernel's; that
                // of the root is what an image boots from that is made on something else.
                if line.point != b"/" {
                    self.missing = Missing::Ignore;
                }
            }
            None if line.point == b"/" => {
                self.from = ROOT;
                self.missing = Missing::Refuse;
            }
            _ => {}
        }
        is_found |= self.mount(&line, self.missing);
        // A volume that is not active, a disk that is not plugged in.
        if !is_found && line.missing() == Missing::Warn && self.reached.contains(&&b"/"[..]) {
            self.any();
            self.fact(b"away", b"");
        }
    }

    /// An encrypted disk: `NAME SOURCE KEY OPTION[,OPTION]`.
    fn line_of_crypttab(&mut self, line: Text) {
        if let Some(mut line) = Mount::of_table(line) {
            self.add(b"dm_crypt");
            line.source = if line.is_optional() { b"" } else { line.point };
            self.below(&line);
        }
    }

    /// A file system, with what its options ask for and the devices below it.
    fn mount(&mut self, mount: &Mount, missing: Missing) -> bool {
        self.kinds(mount.kinds, missing);
        self.below(mount)
    }

    /// Asks for a file system of one of these types.
    fn kinds(&mut self, kinds: &[u8], missing: Missing) {
        let names = new_list();
        for kind in types(kinds) {
            let blank = &b" "[..usize::from(!names.is_empty())];
            // Modules from outside of Linux, and before 3.9, have no alias for their type.
            push_rendered(names, b"{}fs-{} {}", &[blank, kind, kind]);
        }
        self.ask(names, missing);
    }

    /// What a mount's options ask for, and what it lies on; whether that was found.
    fn below(&mut self, mount: &Mount) -> bool {
        let mut is_found = false;
        for options in &mount.options {
            parts(options, b",").for_each(|option| is_found |= self.option(option));
        }
        if mount.is_remote() {
            return self.class(b"class/net");
        }
        // 0 is the major number of a file system that has no device, or several.
        if !matches!(mount.number, b"" | [b'0', b':', ..]) {
            return self.source(mount.number);
        }
        is_found |= self.source(mount.source);
        // bcachefs: all its disks.
        if find(mount.source, b":/dev/").is_some() {
            parts(mount.source, b":").for_each(|part| is_found |= self.source(part));
        }
        if mount.kinds == b"btrfs" {
            let disk = last_part(self.pending.last().unwrap_or(&DEVICES));
            for id in self.entries(b"fs/btrfs") {
                let disks = render(msg!("fs/btrfs/{}/devices"), &[id.name]);
                if !is_found || self.follow(disks, disk).is_some() {
                    is_found |= self.class(disks);
                }
            }
        }
        is_found
    }

    /// An option of a mount or of the kernel; whether it names something that is found.
    fn option(&mut self, option: &[u8]) -> bool {
        let (key, value) = split_at_byte(option, b'=');
        let mut is_found = false;
        for part in parts(value, b":,") {
            self.fact(key, part);
            // A place inside of the file system itself.
            if key == b"subvol" || key == b"subvolid" {
                continue;
            }
            // The layers of an overlay, a journal on another disk, `root=UUID=...`
            is_found |= part.iter().any(|&byte| has(b"/=", byte)) && self.source(part);
        }
        is_found
    }

    /// The file system that a file lies on; whether its devices are found.
    fn file(&mut self, path: &[u8]) -> bool {
        if !path.starts_with(b"/") {
            return false;
        }
        let mut end = path.len();
        loop {
            let Some(mount) = self.mount_at(&path[..end.max(1)]) else {
                if end == 0 {
                    return false;
                }
                end = rfind(&path[..end], b'/').unwrap_or(0);
                continue;
            };
            // What lies in memory has no device, and often no module.
            let missing = match mount.missing() {
                Missing::Ignore => Missing::Ignore,
                _ => self.missing,
            };
            if self.is_new(mount.point) && self.mount(mount, missing) {
                self.reached.push(mount.point);
            }
            return self.reached.contains(&mount.point);
        }
    }

    /// What the running system has beside its file systems.
    fn running_system(&mut self) {
        self.read(COMMAND_LINE, b"proc/cmdline", |boot, line| {
            for word in words(line) {
                boot.option(word);
            }
        });
        self.read(SWAP, b"proc/swaps", |boot, line| {
            boot.source(first_word(line));
        });
        self.read(BOARD, b"proc/modules", |boot, line| {
            boot.fact(b"board", until(line, b' '));
        });
        self.fact(b"boards", b"");
        self.walk();
        if let Some(from) = self.asks_for(b"dm_mod") {
            self.read(from, b"proc/modules", |boot, line| {
                boot.fact(b"mapped", until(line, b' '));
            });
        }
        // The ciphers that are in use, and the keyboard on which the passphrase is typed.
        if let Some(from) = self.asks_for(b"dm_crypt") {
            self.read(from, b"proc/crypto", |boot, line| {
                let (key, value) = split_at_byte(line, b':');
                let value = first_word(value);
                if !value.is_empty() && value != b"kernel" {
                    boot.fact(first_word(key), value);
                }
            });
            for light in self.entries(b"class/leds") {
                if light.name.ends_with(b"capslock") {
                    self.start(b"class/leds", light.name);
                }
            }
        }
    }

    /// What asks for a module, if anything does.
    fn asks_for(&self, name: &[u8]) -> Option<Text> {
        self.position(name).ok().map(|at| self.asks[at].from)
    }

    fn position(&self, names: &[u8]) -> core::result::Result<usize, usize> {
        self.asks.binary_search_by(|ask| ask.names.cmp(names))
    }
}

/// The devices. Paths of directories are those below /sys.
impl Boot<'_> {
    /// The device or file that `spec` names in one of the ways of fstab and the command line;
    /// whether it is known.
    fn source(&mut self, spec: &[u8]) -> bool {
        let (tag, value) = split_at_byte(spec, b'=');
        let node = match spec.strip_prefix(b"/dev/") {
            Some(name) => render(msg!("dev/{}"), &[name]),
            None if spec.starts_with(b"/") => return self.file(spec),
            None if !value.is_empty() => {
                let value = match value {
                    [b'"', value @ .., b'"'] => value,
                    _ => value,
                };
                render(
                    msg!("dev/disk/by-{}/{}"),
                    &[&tag.to_ascii_lowercase(), value],
                )
            }
            None => spec,
        };
        let name = last_part(self.root.link(node).unwrap_or(node));
        let is_flash = words(b"31: mtd ubi").any(|head| name.starts_with(head));
        self.start(b"dev/block", name)
            || self.start(b"class/block", name)
            || is_flash && self.class(b"class/mtd")
    }

    /// Every device that a directory links to; whether there is one.
    fn class(&mut self, directory: &[u8]) -> bool {
        let mut is_found = false;
        for entry in self.entries(directory) {
            is_found |= self.start(directory, entry.name);
        }
        is_found
    }

    /// The device that a link in a directory leads to, to be looked at; whether there is one.
    fn start(&mut self, directory: &[u8], name: &[u8]) -> bool {
        let device = self.follow(directory, name);
        self.pending.extend(device);
        device.is_some()
    }

    /// Where a link leads, if that is a device.
    fn follow(&self, directory: &[u8], name: &[u8]) -> Option<Text> {
        let target = self
            .root
            .link(render(msg!("sys/{}/{}"), &[directory, name]))?;
        Some(resolved(directory, target)).filter(|path| path.starts_with(DEVICES))
    }

    fn folder(&self, path: &[u8]) -> Option<Box<Folder>> {
        Folder::open(self.root, render(msg!("sys/{}"), &[path]))
            .ok()
            .flatten()
    }

    fn entries(&self, directory: &[u8]) -> List<DirectoryEntry> {
        Folder::entries_at(self.root, render(msg!("sys/{}"), &[directory])).unwrap_or(NO_ENTRIES)
    }

    /// Whether this path was not looked at before.
    fn is_new(&mut self, path: Text) -> bool {
        match self.seen.binary_search(&path) {
            Ok(_) => false,
            Err(at) => {
                self.seen.insert(at, path);
                true
            }
        }
    }

    /// Looks at the devices that were found, and at all above each.
    fn walk(&mut self) {
        while let Some(mut path) = self.pending.pop() {
            while path.len() > DEVICES.len() && self.is_new(path) {
                self.look_at(path);
                path = &path[..path.len() - last_part(path).len() - 1];
            }
        }
    }

    fn look_at(&mut self, path: Text) {
        let Some(folder) = self.folder(path) else {
            return;
        };
        self.fact(b"/", last_part(path));
        let text = new_list();
        for DirectoryEntry { name, .. } in folder.entries().unwrap_or(NO_ENTRIES) {
            let inner = || render(msg!("{}/{}"), &[path, name]);
            match find_word(b"driver slaves backing_file phydev dm md loop", name) {
                Some(0) => {
                    let module = self.root.link(render(msg!("sys/{}/module"), &[inner()]));
                    self.add(last_part(module.unwrap_or(b"")));
                }
                Some(1) => {
                    self.class(inner());
                }
                Some(2) => {
                    let _ = folder.read(name, text);
                    if !self.file(until(text, b'\n')) {
                        self.any();
                    }
                }
                Some(3) => {
                    self.start(path, name);
                }
                Some(_) => self.pending.push(inner()),
                // The controllers of a disk that has several.
                None if name.starts_with(b"nvme") => {
                    self.start(path, name);
                }
                None if name.starts_with(b"supplier:") => {
                    if let Some(link) = self.follow(path, name) {
                        self.start(link, b"supplier");
                    }
                }
                None if facts::is_place(name) => {
                    let facts = self.facts();
                    facts.of_file(&folder, name, text, &mut |name| self.add(name));
                }
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::scratch::Scratch;

    /// A machine, described by its links, `PATH > TARGET`, and its files, `PATH = CONTENT`, where the end
    /// of a line is a blank in files of /sys and `~` in others.
    fn machine(test: &str, files: &str) -> Scratch {
        let scratch = Scratch::new(test);
        for line in files.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if let Some((path, target)) = line.split_once(" > ") {
                scratch.link(path, target);
                continue;
            }
            let (path, content) = line.split_once(" = ").unwrap();
            let content = match path.starts_with("sys/") {
                true => content.replace(' ', "\n") + "\n",
                false => content.replace('~', "\n") + "\n",
            };
            scratch.write(path, content);
        }
        scratch
    }

    /// What the boot asks for: the names, `!` or `?` where they must not be missing, who asks.
    fn asked(scratch: &Scratch) -> Vec<String> {
        let asks = asks(&scratch.root()).unwrap();
        assert!(asks.windows(2).all(|pair| pair[0].names < pair[1].names));
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let line = |ask: &Ask| {
            let mark = match ask.missing {
                Missing::Refuse => "!",
                Missing::Warn => "?",
                Missing::Ignore => "",
            };
            format!("{}{mark} | {}", text(ask.names), text(ask.from))
        };
        asks.iter().map(line).collect()
    }

    fn asks_for(test: &str, files: &str, wanted: &[&str]) {
        assert_eq!(asked(&machine(test, files)), wanted);
    }

    /// The same without what the names come from.
    fn has(test: &str, files: &str, wanted: &[&str]) {
        let found = asked(&machine(test, files));
        for name in wanted {
            let is_it = |line: &String| line.split(" | ").next() == Some(name);
            assert!(found.iter().any(is_it), "{name}: {found:#?}");
        }
    }

    /// A disk below a SATA controller, as sd`letter`.
    fn sata(letter: char, number: usize, id: &str) -> String {
        let ata = format!("sys/devices/pci0/{id}/ata1/host{number}/target{number}/{number}:0:0:0");
        format!(
            "{ata}/block/sd{letter}/sd{letter}1/partition = 1
             {ata}/modalias = scsi:t-0x00
             {ata}/uevent = DEVTYPE=scsi_device DRIVER=sd MODALIAS=scsi:t-0x00
             {ata}/driver/module > ../../../module/sd_mod
             sys/devices/pci0/{id}/modalias = pci:v1d{id}
             sys/devices/pci0/{id}/uevent = DRIVER=ahci PCI_ID={id}
             sys/devices/pci0/{id}/driver > ../../../bus/pci/drivers/ahci
             sys/bus/pci/drivers/ahci/{id} > ../../../../devices/pci0/{id}
             sys/dev/block/8:{number} > ../../devices/{}/block/sd{letter}/sd{letter}1
             sys/class/block/sd{letter}1 > ../../devices/{}/block/sd{letter}/sd{letter}1
             ",
            &ata["sys/devices/".len()..],
            &ata["sys/devices/".len()..],
        )
    }

    #[test]
    fn a_root_without_anything_asks_for_nothing() {
        asks_for("boot-nothing", "", &[]);
    }

    #[test]
    fn the_devices_below_the_root_are_found_up_to_the_bus() {
        let files = sata('a', 1, "1f.2")
            + "proc/self/mountinfo = 1 0 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
               sys/bus/pci/drivers/ahci/module > ../../../../module/ahci
               sys/devices/pci0/1f.2/supplier:regulator:r > ../../virtual/devlink/r--1f.2
               sys/devices/virtual/devlink/r--1f.2/supplier > ../../../platform/i2c/r
               sys/devices/platform/i2c/r/modalias = i2c:axp20x
               sys/devices/platform/i2c/uevent = MODALIAS=of:NiTCallwinner,i2c
               sys/devices/platform/other/modalias = of:other
               sys/dev/block/8:2 > ../../devices/platform/other";
        asks_for(
            "boot-disk",
            &files,
            &[
                "ahci | the root disk",
                "fs-ext4 ext4! | the root file system",
                "i2c:axp20x | the root disk",
                "of:NiTCallwinner,i2c | the root disk",
                "pci:v1d1f.2 | the root disk",
                "scsi:t-0x00 | the root disk",
                "sd | the root disk",
                "sd_mod | the root disk",
            ],
        );
    }

    #[test]
    fn what_is_stacked_on_disks_is_taken_apart() {
        let files = sata('a', 1, "1f.2")
            + &sata('b', 2, "03.0")
            + "proc/self/mountinfo = 1 0 253:1 / / rw - xfs /dev/mapper/vg-root rw
               sys/dev/block/253:1 > ../../devices/virtual/block/dm-1
               sys/devices/virtual/block/dm-1/dm/uuid = LVM-abc
               sys/devices/virtual/block/dm-1/slaves/dm-0 > ../../dm-0
               sys/devices/virtual/block/dm-0/dm/uuid = CRYPT-LUKS2-0123-root
               sys/devices/virtual/block/dm-0/slaves/md0 > ../../md0
               sys/devices/virtual/block/md0/md/level = raid1
               sys/devices/virtual/block/md0/slaves/sda1 > ../../../../pci0/1f.2/ata1/host1/target1/1:0:0:0/block/sda/sda1
               sys/devices/virtual/block/md0/slaves/sdb1 > ../../../../pci0/03.0/ata1/host2/target2/2:0:0:0/block/sdb/sdb1
               proc/modules = dm_thin_pool 1 0 - Live 0x0~dmi_sysfs 1 0 - Live 0x0~clk_x 1
               proc/crypto = name : xts(serpent)~driver : x~module : serpent_avx~~name : lz4~module : kernel
               sys/class/leds/input1::capslock > ../../devices/platform/i8042/serio0/input/input1/input1::capslock
               sys/devices/platform/i8042/serio0/input/input1/input1::capslock/brightness = 0
               sys/devices/platform/i8042/serio0/modalias = serio:ty06
               sys/class/leds/power > ../../devices/platform/light/leds/power
               sys/devices/platform/light/modalias = platform:light";
        asks_for(
            "boot-stack",
            &files,
            &[
                "ahci | the root disk",
                "clk_x | clocks, power and pins",
                "crypto-lz4 | the root disk",
                "crypto-serpent | the root disk",
                "crypto-xts | the root disk",
                "dm_crypt | the root disk",
                "dm_mod | the root disk",
                "dm_thin_pool | the root disk",
                "fs-xfs xfs! | the root file system",
                "md-raid1 | the root disk",
                "pci:v1d03.0 | the root disk",
                "pci:v1d1f.2 | the root disk",
                "scsi:t-0x00 | the root disk",
                "sd | the root disk",
                "sd_mod | the root disk",
                "serio:ty06 | the root disk",
                "serpent_avx | the root disk",
            ],
        );
    }

    #[test]
    fn every_disk_of_a_btrfs_is_found_by_one() {
        let files = sata('a', 1, "1f.2")
            + &sata('b', 2, "03.0")
            + &sata('c', 3, "04.0")
            + "proc/self/mountinfo = 1 0 0:22 /@ / rw - btrfs /dev/sda1 rw,subvol=/@
               sys/fs/btrfs/features/x = 1
               sys/fs/btrfs/12-34/devices/sda1 > ../../../../devices/pci0/1f.2/ata1/host1/target1/1:0:0:0/block/sda/sda1
               sys/fs/btrfs/12-34/devices/sdb1 > ../../../../devices/pci0/03.0/ata1/host2/target2/2:0:0:0/block/sdb/sdb1
               sys/fs/btrfs/56-78/devices/sdc1 > ../../../../devices/pci0/04.0/ata1/host3/target3/3:0:0:0/block/sdc/sdc1";
        asks_for(
            "boot-btrfs",
            &files,
            &[
                "ahci | the root disk",
                "fs-btrfs btrfs! | the root file system",
                "pci:v1d03.0 | the root disk",
                "pci:v1d1f.2 | the root disk",
                "scsi:t-0x00 | the root disk",
                "sd | the root disk",
                "sd_mod | the root disk",
            ],
        );
    }

    #[test]
    fn the_layers_of_a_live_system_are_found() {
        let files = sata('a', 1, "1f.2")
            + "proc/self/mountinfo = 1 0 0:30 / / rw - overlay overlay rw,lowerdir=/run/live/fs/root:/x,upperdir=/run/cow/rw,workdir=/run/cow/w~2 1 7:0 / /run/live/fs ro - squashfs /dev/loop0 ro~3 1 8:1 / /run/live/medium rw - vfat /dev/sda1 rw,codepage=437,iocharset=utf8~4 1 0:31 / /run/cow rw - tmpfs tmpfs rw
               sys/dev/block/7:0 > ../../devices/virtual/block/loop0
               sys/devices/virtual/block/loop0/loop/backing_file = /run/live/medium/live/filesystem.squashfs";
        has(
            "boot-overlay",
            &files,
            &[
                "fs-overlay overlay?",
                "fs-squashfs squashfs!",
                "loop",
                "fs-vfat vfat!",
                "nls_utf8",
                "nls_cp437",
                "sd_mod",
                "pci:v1d1f.2",
            ],
        );
    }

    /// A running system on a disk whose root file system does not lead to it.
    fn any_disk(test: &str, mountinfo: &str) {
        let files = sata('a', 1, "1f.2")
            + &sata('b', 2, "03.0")
            + "sys/class/net/eth0 > ../../devices/platform/eth/net/eth0
               sys/devices/platform/eth/modalias = of:eth
               sys/dev/block/7:0 > ../../devices/virtual/block/loop0
               proc/self/mountinfo = "
            + mountinfo;
        has(test, &files, &["pci:v1d1f.2", "pci:v1d03.0", "sd_mod"]);
    }

    #[test]
    fn what_leads_back_to_the_root_has_found_no_disk() {
        // The layers were mounted in the initramfs and cannot be seen any more.
        let overlay = "overlay overlay rw,lowerdir=/lower,upperdir=/upper/data,workdir=/upper/w";
        any_disk("boot-hidden", &format!("1 0 0:25 / / rw - {overlay}"));
        let btrfs = "btrfs /dev/root rw,subvolid=5,subvol=/";
        any_disk("boot-subvol", &format!("1 0 0:25 / / rw - {btrfs}"));
        // A file of the host's.
        let backing = "\nsys/devices/virtual/block/loop0/loop/backing_file = ";
        let root = "1 0 7:0 / / rw - ext4 /dev/loop0 rw";
        any_disk("boot-loop", &format!("{root}{backing}/host/root.img"));
        any_disk("boot-loop-gone", &format!("{root}{backing}gone"));
    }

    #[test]
    fn a_device_of_fstab_that_is_not_there_may_be_any() {
        // A thin volume that nothing has activated yet: neither its targets nor its disk are seen.
        let root = "1 0 179:1 / / rw - ext4 /dev/mmcblk0 rw
            sys/dev/block/179:1 > ../../devices/platform/mmc/block/mmcblk0
            sys/devices/platform/mmc/block/mmcblk0/size = 8
            etc/fstab = ";
        let away = |test: &str, line: &str| any_disk(test, &format!("{root}{line}"));
        away("boot-away", "/dev/mapper/vg-srv /srv xfs defaults 0 2");
        away("boot-away-swap", "UUID=1 none swap sw 0 0");
        let files = format!("proc/self/mountinfo = {root}/dev/mapper/vg-srv /srv xfs defaults 0 2");
        has(
            "boot-away-thin",
            &files,
            &["dm_mod", "dm_thin_pool", "raid1"],
        );
        let fstab = "/dev/sdx1 /srv xfs nofail 0 2~tmpfs /tmp tmpfs defaults 0 0~/srv /b none bind";
        let files = format!("proc/self/mountinfo = {root}{fstab}");
        let found = asked(&machine("boot-away-optional", &files)).join("\n");
        assert!(!found.contains("dm_mod"), "{found}");
    }

    #[test]
    fn every_disk_of_bcachefs_is_looked_at_and_is_no_host() {
        any_disk(
            "boot-bcachefs",
            "1 0 0:25 / / rw - bcachefs /dev/sda1:/dev/sdb1 rw",
        );
    }

    #[test]
    fn the_systems_own_file_systems_are_not_optional() {
        let fstab = "etc/fstab = UUID=1 / ext4 defaults,nofail 0 1~UUID=2 /usr xfs noauto,x-initrd.mount 0 0~UUID=3 /srv udf nofail 0 0~UUID=4 /var f2fs nofail,x-initrd.mount 0 0";
        asks_for(
            "boot-nofail",
            fstab,
            &[
                "fs-ext4 ext4! | the root file system",
                "fs-f2fs f2fs? | /etc/fstab",
                "fs-xfs xfs? | /etc/fstab",
            ],
        );
    }

    #[test]
    fn a_root_from_the_network_needs_the_card_with_its_phy() {
        let files =
            "proc/self/mountinfo = 1 0 0:21 / / rw - nfs4 10.0.2.2:/srv rw,vers=4.2,sec=krb5p
            etc/fstab = nas:/home /home nfs defaults 0 0
            sys/class/net/eth0 > ../../devices/platform/soc/eth/net/eth0
            sys/devices/platform/soc/eth/modalias = of:NeTCrockchip,gmac
            sys/devices/platform/soc/eth/net/eth0/uevent = INTERFACE=eth0 IFINDEX=2
            sys/devices/platform/soc/eth/net/eth0/phydev > ../../mdio/eth:00
            sys/devices/platform/soc/eth/mdio/eth:00/driver/module > ../../realtek
            sys/class/net/br0 > ../../devices/virtual/net/br0
            sys/devices/virtual/net/br0/uevent = DEVTYPE=bridge INTERFACE=br0";
        asks_for(
            "boot-nfs",
            files,
            &[
                "fs-nfs nfs? | /etc/fstab",
                "fs-nfs4 nfs4! | the root file system",
                "of:NeTCrockchip,gmac | the root disk",
                "realtek | the root disk",
                "rpc-auth-gss-krb5p | the root disk",
                "rtnl-link-bridge | the root disk",
            ],
        );
    }

    #[test]
    fn flash_is_found_below_its_file_system() {
        for (mount, block) in [
            ("0:15 / / rw - ubifs ubi0:rootfs rw", ""),
            ("31:4 / / rw - jffs2 /dev/root rw", ""),
            (
                "254:0 / / ro - squashfs /dev/root ro",
                "sys/dev/block/254:0 > ../../devices/virtual/block/ubiblock0_1
                 sys/devices/virtual/block/ubiblock0_1/size = 8",
            ),
        ] {
            let files = format!(
                "proc/self/mountinfo = 1 0 {mount}
                 {block}
                 sys/class/ubi/ubi0/mtd_num = 4
                 sys/class/mtd/mtd4 > ../../devices/platform/spi/spi0.0/mtd/mtd0/mtd4
                 sys/devices/platform/spi/spi0.0/mtd/mtd0/mtd4/type = nor
                 sys/devices/platform/spi/spi0.0/modalias = spi:spi-nor"
            );
            has("boot-flash", &files, &["spi:spi-nor"]);
        }
    }

    #[test]
    fn a_disk_with_several_controllers_or_behind_a_network_is_found() {
        let files = "proc/self/mountinfo = 1 0 259:1 / / rw - ext4 /dev/nvme0n1p1 rw~2 1 8:1 / /usr rw - ext4 /dev/sda1 rw
            sys/dev/block/259:1 > ../../devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1/nvme0n1p1
            sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1/nvme0n1p1/partition = 1
            sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0 > ../../../pci0/01.0/nvme/nvme0
            sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme1 > ../../nvme-fabrics/ctl/nvme1
            sys/devices/virtual/nvme-fabrics/ctl/nvme1/transport = tcp
            sys/devices/pci0/01.0/nvme/nvme0/transport = pcie
            sys/devices/pci0/01.0/modalias = pci:nvme
            sys/dev/block/8:1 > ../../devices/platform/host2/session1/target/2:0:0:0/block/sda/sda1
            sys/devices/platform/host2/session1/target/2:0:0:0/block/sda/sda1/size = 1
            sys/class/net/eth0 > ../../devices/pci0/02.0/net/eth0
            sys/devices/pci0/02.0/modalias = pci:net";
        let wanted = ["nvme-tcp", "pci:nvme", "iscsi_tcp", "pci:net"];
        has("boot-fabric", files, &wanted);
    }

    #[test]
    fn where_nothing_says_which_disk_it_is_every_one_is_kept() {
        let files = sata('a', 1, "1f.2")
            + "proc/self/mountinfo = 1 0 0:25 / / rw - zfs rpool/root rw
               proc/cmdline = root=ZFS=rpool/root
               sys/bus/virtio/devices/virtio0 > ../../../devices/pci0/05.0/virtio0
               sys/devices/pci0/05.0/virtio0/modalias = virtio:d9";
        let found = asked(&machine("boot-any", &files)).join("\n");
        assert!(found.contains("fs-zfs zfs! |") && found.contains("virtio:d9 |"));
        assert!(found.contains("sd_mod |"));
    }

    #[test]
    fn the_lines_of_fstab_ask_for_types_and_options() {
        asks_for(
            "boot-fstab",
            "etc/fstab = # / x~UUID=1 / ext4,ext3 rw 0 1~LABEL=EFI /boot/efi vfat iocharset=iso8859-1,codepage=850~tmpfs /tmp tmpfs~/dev/sr0 /cd iso9660 noauto~UUID=2 /usb exfat nofail~//nas/x /nas cifs noauto,x-systemd.automount,sec=krb5~share /s 9p trans=virtio~u@h:/x /fuse fuse.sshfs~/x.img /l squashfs loop~UUID=3 /a auto~/b /c none bind~short~x y",
            &[
                "9p-virtio | /etc/fstab",
                "fs-9p 9p | /etc/fstab",
                "fs-autofs | /etc/fstab",
                "fs-cifs cifs? | /etc/fstab",
                "fs-ext4 ext4 fs-ext3 ext3! | the root file system",
                "fs-fuse fuse? | /etc/fstab",
                "fs-squashfs squashfs? | /etc/fstab",
                "fs-tmpfs tmpfs | /etc/fstab",
                "fs-vfat vfat? | /etc/fstab",
                "loop | /etc/fstab",
                "nls_cp850 | /etc/fstab",
                "nls_iso8859-1 | /etc/fstab",
                "rpc-auth-gss-krb5 | /etc/fstab",
            ],
        );
    }

    #[test]
    fn the_strictest_of_several_that_ask_is_said() {
        for fstab in [
            "/dev/b /b ext4~/dev/a / ext4",
            "/dev/a / ext4~/dev/b /b ext4",
        ] {
            asks_for(
                "boot-strict",
                &format!("etc/fstab = {fstab}"),
                &["fs-ext4 ext4! | the root file system"],
            );
        }
    }

    #[test]
    fn what_is_mounted_says_what_fstab_leaves_open() {
        asks_for(
            "boot-mounted",
            "etc/fstab = UUID=1 / auto~/dev/a /a/ auto~/dev/b /b ntfs-3g~/dev/c /c vfat x-systemd.automount
             sys/class/block/a > ../../devices/x
             sys/class/block/b > ../../devices/x
             sys/class/block/c > ../../devices/x
             sys/class/block/x > ../../devices/x
             proc/mounts = /dev/x / xfs rw~/dev/x / ext4 rw~/dev/a /a btrfs rw,compress=zstd:3~/dev/b /b fuseblk rw~systemd-1 /c autofs rw~/dev/d /d jfs rw",
            &[
                "fs-autofs | /etc/fstab",
                "fs-btrfs btrfs? | /etc/fstab",
                "fs-ext4 ext4! | the root file system",
                "fs-fuseblk fuseblk? | /etc/fstab",
                "fs-ntfs-3g ntfs-3g | /etc/fstab",
                "fs-vfat vfat? | /etc/fstab",
            ],
        );
    }

    #[test]
    fn an_image_boots_from_what_fstab_says_and_not_from_what_it_is_made_on() {
        asks_for(
            "boot-made",
            "etc/fstab = UUID=1 / xfs
             proc/mounts = none / tmpfs rw",
            &[
                "fs-tmpfs tmpfs | the root file system",
                "fs-xfs xfs? | /etc/fstab",
            ],
        );
    }

    #[test]
    fn swap_resume_crypttab_and_the_command_line_ask_for_their_devices() {
        let disk = |name: &str| {
            format!(
                "sys/class/block/{name} > ../../devices/platform/{name}
                 sys/devices/platform/{name}/modalias = of:{name}\n"
            )
        };
        let names = ["sda1", "sdb1", "sdc1", "sdd1", "sde1", "sdf1", "sdg1"];
        let files = names.map(disk).concat()
            + "proc/mounts = rootfs / rootfs rw
               proc/cmdline = quiet resume=UUID=\"c\" rootfstype=f2fs rd.driver.pre=a,b-c rd.modules_load=d rootflags=codepage=866
               proc/swaps = Filename Type Size~/dev/sda1 partition 1 0 -2~/swap file 1 0 -3
               etc/fstab = /dev/sdb1 none swap sw~/dev/sdf1 none swap noauto
               etc/initramfs-tools/conf.d/resume = RESUME=PARTUUID=d
               etc/crypttab = # x~home LABEL=e none luks,cipher=aes-cbc-essiv:sha256,tpm2-device=auto~usb /dev/sdg1 none noauto
               dev/disk/by-uuid/c > ../../sdc1
               dev/disk/by-partuuid/d > ../../sdd1
               dev/disk/by-label/e > ../../sde1
               sys/class/tpm/tpm0 > ../../devices/pnp0/00:01/tpm/tpm0
               sys/devices/pnp0/00:01/modalias = acpi:MSFT0101:
               sys/class/regulator/regulator.1 > ../../devices/platform/pmic/regulator/regulator.1
               sys/devices/platform/pmic/modalias = of:pmic";
        asks_for(
            "boot-swap",
            &files,
            &[
                "a | /proc/cmdline",
                "acpi:MSFT0101: | /etc/crypttab",
                "b-c | /proc/cmdline",
                "crypto-aes | /etc/crypttab",
                "crypto-cbc | /etc/crypttab",
                "crypto-essiv | /etc/crypttab",
                "crypto-sha256 | /etc/crypttab",
                "d | /proc/cmdline",
                "dm_crypt | /etc/crypttab",
                "fs-f2fs | /proc/cmdline",
                "fs-rootfs rootfs | the root file system",
                "nls_cp866 | /proc/cmdline",
                "of:pmic | clocks, power and pins",
                "of:sda1 | swap",
                "of:sdb1 | swap",
                "of:sdc1 | /proc/cmdline",
                "of:sdd1 | resume",
                "of:sde1 | /etc/crypttab",
            ],
        );
    }

    #[test]
    fn devices_that_lead_to_each_other_end_the_walk() {
        let files = "proc/self/mountinfo = 1 0 253:0 / / rw - ext4 x rw
            sys/dev/block/253:0 > ../../devices/virtual/block/dm-0
            sys/devices/virtual/block/dm-0/dm/uuid = mpath-1
            sys/devices/virtual/block/dm-0/slaves/dm-1 > ../../dm-1
            sys/devices/virtual/block/dm-0/supplier:a > ../dm-0
            sys/devices/virtual/block/dm-1/slaves/dm-0 > ../../dm-0
            sys/devices/virtual/block/dm-1/slaves/gone > ../../gone
            sys/devices/virtual/block/dm-1/loop/backing_file = /file
            sys/devices/virtual/block/dm-1/driver > dm-1";
        has("boot-loops", files, &["dm_multipath", "dm_mod"]);
    }

    #[test]
    fn links_that_lead_out_of_the_devices_are_not_followed() {
        let outside = Scratch::new("boot-outside");
        outside.write("sys/devices/x/modalias", "of:outside");
        outside.write("etc/modalias", "of:outside");
        let to = outside.path().to_str().unwrap();
        let files = format!(
            "proc/self/mountinfo = 1 0 8:1 / / rw - ext4 /dev/x rw~2 1 8:2 / /usr rw - ext4 x rw
             sys/dev/block/8:1 > {to}/sys/devices/x
             sys/dev/block/8:2 > ../../../../..{to}/etc
             sys/class/block/x > ../../../etc
             etc/modalias = of:outside
             sys/class/regulator/r > ../../devices/../../etc
             sys/devices/y > {to}"
        );
        let found = asked(&machine("boot-inside", &files)).join("\n");
        assert!(!found.contains("outside"), "{found}");
    }

    #[test]
    fn no_mount_panics() {
        let vocabulary: [&[u8]; 6] = [b"a", b"/", b" ", b",", b"=", b" - "];
        crate::text::tests::every_text(&vocabulary, 6, &mut |text| {
            let text = text.to_vec().leak();
            for mount in [Mount::of_table(text), Mount::of_info(text)]
                .into_iter()
                .flatten()
            {
                let _ = (mount.has(b"a"), mount.missing(), mount.is_remote());
            }
        });
    }
}
