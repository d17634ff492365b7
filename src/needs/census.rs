//! What hardware and software of a machine ask for: names and aliases that a kernel, this one or
//! another, resolves to modules.
//!
//! Everything lies below one root, so that an image gives its own census and never the host's.
//! Whatever is missing is left out: a census is taken in chroots and on odd kernels, too.
//! (Sources: linux/Documentation/ABI/testing/sysfs-devices, modules-load.d(5), crypttab(5))

use crate::error::Result;
use crate::format::{fill, Text};
use crate::needs::kernel::Found;
use crate::needs::rules::files;
use crate::needs::Kernel;
use crate::system::{Folder, Root};
use crate::text::alias::is_alias;
use crate::text::dep::DepLine;
use crate::text::names::CENSUS;
use crate::text::{is_control, lines, sort_once, words};
use rustix::fs::FileType;

/// Deeper than any device lies below another.
const DEEPEST: usize = 64;

/// Directories that every device has and that hold no device.
const NO_DEVICES: [&[u8]; 4] = [b"power", b"statistics", b"msi_irqs", b"queues"];

const MODULES_LOAD: &[&[u8]] = &[
    b"etc/modules-load.d",
    b"run/modules-load.d",
    b"usr/local/lib/modules-load.d",
    b"usr/lib/modules-load.d",
    b"lib/modules-load.d",
];

/// A census.
pub struct Census {
    lines: Vec<Text>,
    /// How many devices had an alias or a driver.
    pub devices: usize,
}

/// Takes the census of the machine below a root.
///
/// # Errors
/// A file that is there cannot be read, except below /sys, where devices come and go.
pub fn take(root: &Root) -> Result<Census> {
    let mut census = Census {
        lines: Vec::new(),
        devices: 0,
    };
    if let Some(folder) = Folder::open(root, b"sys/devices")? {
        census.walk(&folder, 0);
    }
    census.file_systems(root)?;
    census.ciphers(root)?;
    census.configured(root)?;
    census.running(root)?;
    sort_once(&mut census.lines);
    Ok(census)
}

impl Census {
    /// The aliases of the hardware alone.
    pub fn aliases(&self) -> impl Iterator<Item = &[u8]> {
        let lines = self.lines.iter().map(|line| &line[..]);
        lines.filter(|line| line.contains(&b':'))
    }

    /// One name or alias a line, sorted, under a head that says what it is.
    pub fn to_text(&self) -> Text {
        let mut text = CENSUS.to_vec();
        text.extend_from_slice(b"\n# feed it to --from; a name with ? may be missing\n");
        for line in &self.lines {
            text.extend_from_slice(line);
            text.push(b'\n');
        }
        text.leak()
    }

    /// Adds an alias, or a name that another kernel may not have.
    fn add(&mut self, name: &[u8]) {
        if name.is_empty() || name.starts_with(b"#") {
            return;
        }
        // No name of the kernel has a blank, and none could be told from what is behind it.
        if name.iter().any(|&byte| is_control(byte) || byte == b' ') {
            return;
        }
        let optional: &[u8] = if is_alias(name) { b"" } else { b" ?" };
        self.lines.push([name, optional].concat().leak());
    }

    /// Every device is below this, those that another one gets its power or clock from included.
    fn walk(&mut self, folder: &Folder, depth: usize) {
        // A device that went meanwhile has nothing to say.
        let (Ok(entries), true) = (folder.entries(), depth < DEEPEST) else {
            return;
        };
        let before = self.lines.len();
        for entry in entries {
            match (entry.kind, entry.name) {
                (FileType::Directory, name) if !NO_DEVICES.contains(&name) => {
                    if let Ok(Some(inner)) = folder.enter(name) {
                        self.walk(&inner, depth + 1);
                    }
                }
                (FileType::RegularFile, name @ (b"modalias" | b"uevent")) => {
                    let text = folder.read(name).unwrap_or_default();
                    for (_, line) in lines(&text) {
                        match name {
                            b"modalias" => self.add(line),
                            _ => self.uevent(line),
                        }
                    }
                }
                _ => {}
            }
        }
        self.devices += usize::from(self.lines.len() > before);
    }

    fn uevent(&mut self, line: &[u8]) {
        for key in [&b"DRIVER="[..], b"MODALIAS="] {
            if let Some(value) = line.strip_prefix(key) {
                self.add(value);
            }
        }
    }

    /// What is mounted, and what is to be.
    fn file_systems(&mut self, root: &Root) -> Result<()> {
        for file in [&b"proc/mounts"[..], b"etc/fstab"] {
            for (_, line) in lines(root.text_or_empty(file)?) {
                let is_comment = words(line)
                    .next()
                    .map_or(true, |word| word.starts_with(b"#"));
                let Some(kinds) = words(line).nth(2).filter(|_| !is_comment) else {
                    continue;
                };
                // `ext4,ext3` in fstab; `fuse.sshfs` is fuse.
                for kind in kinds.split(|&byte| byte == b',') {
                    let kind = crate::text::split_at_byte(kind, b'.').0;
                    if !matches!(kind, b"" | b"auto" | b"none" | b"swap" | b"ignore") {
                        self.add(fill("fs-{}", &[kind]));
                    }
                }
            }
        }
        Ok(())
    }

    /// Encrypted disks: `cipher=aes-xts-plain64`, `hash=sha256`, `cipher=aes-cbc-essiv:sha256`.
    fn ciphers(&mut self, root: &Root) -> Result<()> {
        for (_, line) in lines(root.text_or_empty(b"etc/crypttab")?) {
            let mut fields = words(line);
            if fields.next().map_or(true, |name| name.starts_with(b"#")) {
                continue;
            }
            self.add(b"dm_crypt");
            let options = fields.nth(2).unwrap_or(b"");
            for option in options.split(|&byte| byte == b',') {
                let value = option.strip_prefix(b"cipher=");
                let Some(value) = value.or_else(|| option.strip_prefix(b"hash=")) else {
                    continue;
                };
                for part in value.split(|byte| b"-:".contains(byte)) {
                    self.add(fill("crypto-{}", &[part]));
                }
            }
        }
        Ok(())
    }

    /// What an administrator wants loaded.
    fn configured(&mut self, root: &Root) -> Result<()> {
        for file in [&b"etc/modules"[..], b"etc/initramfs-tools/modules"] {
            self.first_words(root.text_or_empty(file)?);
        }
        for file in files(root, MODULES_LOAD)? {
            self.first_words(file.text(root)?);
        }
        let line = root.text_or_empty(b"proc/cmdline")?;
        for word in line.split(|byte| b" \n\t".contains(byte)) {
            let (key, value) = crate::text::split_at_byte(word, b'=');
            let key = key.strip_prefix(b"rd.").unwrap_or(key);
            if matches!(key, b"modules_load" | b"modules-load") {
                value
                    .split(|&byte| byte == b',')
                    .for_each(|name| self.add(name));
            }
        }
        Ok(())
    }

    /// What the kernel has loaded, and what its ciphers come from.
    fn running(&mut self, root: &Root) -> Result<()> {
        self.first_words(root.text_or_empty(b"proc/modules")?);
        for (_, line) in lines(root.text_or_empty(b"proc/crypto")?) {
            let (key, value) = crate::text::split_at_byte(line, b':');
            let is_module = words(key).next() == Some(b"module");
            match words(value).next() {
                Some(name) if is_module && name != b"kernel" => self.add(name),
                _ => {}
            }
        }
        Ok(())
    }

    fn first_words(&mut self, text: &[u8]) {
        for (_, line) in lines(text) {
            if !line.starts_with(b";") {
                words(line).take(1).for_each(|word| self.add(word));
            }
        }
    }
}

/// The type of the root file system, as it is mounted or will be, and its modules in a kernel.
///
/// # Errors
/// As [`Root::text`]; a damaged index.
pub fn root_file_system(
    root: &Root,
    kernel: &Kernel<'_>,
) -> Result<(&'static [u8], Vec<DepLine<'static>>)> {
    for file in [&b"proc/mounts"[..], b"etc/fstab"] {
        // The last mount on `/` is the one that is seen.
        let mounts = lines(root.text_or_empty(file)?);
        let mounts =
            mounts.filter(|(_, line)| !line.starts_with(b"#") && words(line).nth(1) == Some(b"/"));
        if let Some(kind) = mounts.last().and_then(|(_, line)| words(line).nth(2)) {
            for name in [fill("fs-{}", &[kind]), kind] {
                if let Found::Modules(modules) = kernel.look_up(name)? {
                    return Ok((kind, modules));
                }
            }
            return Ok((kind, Vec::new()));
        }
    }
    Ok((b"", Vec::new()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::scratch::Scratch;

    fn census(test: &str, files: &[(&str, &str)]) -> Vec<String> {
        let scratch = Scratch::new(test);
        for (path, text) in files {
            scratch.write(path, text);
        }
        let text = take(&scratch.root()).unwrap().to_text();
        let text = String::from_utf8(text.to_vec()).unwrap();
        text.lines().skip(2).map(String::from).collect()
    }

    #[test]
    fn hardware_is_found_below_sys_devices() {
        let found = census(
            "census-hardware",
            &[
                (
                    "sys/devices/pci0/00:1f.6/modalias",
                    "pci:v00008086d000015BB\n",
                ),
                (
                    "sys/devices/pci0/00:1f.6/uevent",
                    "DRIVER=e1000e\nPCI_CLASS=20000\nMODALIAS=pci:v00008086d000015BB\n",
                ),
                ("sys/devices/pci0/power/modalias", "no:device\n"),
                (
                    "sys/devices/platform/x/uevent",
                    "OF_NAME=x\nMODALIAS=of:NxT(null)Cacme,x\n",
                ),
            ],
        );
        let wanted = ["e1000e ?", "of:NxT(null)Cacme,x", "pci:v00008086d000015BB"];
        assert_eq!(found, wanted);
    }

    /// ext4 mounts ext3, too, and looking for a module by the type's own name hid that its alias
    /// was never found.
    #[test]
    fn the_root_file_system_is_found_by_its_alias() {
        let scratch = Scratch::new("census-root");
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
            let (found, modules) = root_file_system(&root, &kernel).unwrap();
            let paths: Vec<&[u8]> = modules.iter().map(|line| line.path.0).collect();
            assert_eq!(
                (found, paths.concat()),
                (kind.as_bytes(), wanted.as_bytes().to_vec())
            );
        }
    }

    #[test]
    fn file_systems_ciphers_and_configured_modules_are_found() {
        let found = census("census-software", &[
            (
                "proc/mounts",
                "/dev/sda1 / ext4 rw 0 0\nx /y fuse.sshfs rw 0 0\n",
            ),
            (
                "etc/fstab",
                "# a b c\nUUID=1 /boot vfat defaults 0 2\nx none swap sw 0 0\nx / btrfs,ext4 x\n",
            ),
            (
                "etc/crypttab",
                "# c\nroot UUID=2 none luks,cipher=aes-cbc-essiv:sha256\n",
            ),
            ("etc/modules", "# c\nlp\n"),
            ("etc/modules-load.d/a.conf", "; c\n# c\ntun\n"),
            ("usr/lib/modules-load.d/a.conf", "masked\n"),
            ("etc/initramfs-tools/modules", "nvme option=1\n"),
            (
                "proc/cmdline",
                "root=/dev/sda1 modules-load=a,b-c rd.modules_load=d quiet\n",
            ),
            (
                "proc/crypto",
                "name : x\nmodule       : kernel\nmodule       : aesni_intel\n",
            ),
            ("proc/modules", "bridge 1 0 - Live 0x0\n"),
        ]);
        let wanted = [
            "a ?",
            "aesni_intel ?",
            "b-c ?",
            "bridge ?",
            "crypto-aes",
            "crypto-cbc",
            "crypto-essiv",
            "crypto-sha256",
            "d ?",
            "dm_crypt ?",
            "fs-btrfs",
            "fs-ext4",
            "fs-fuse",
            "fs-vfat",
            "lp ?",
            "nvme ?",
            "tun ?",
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_root_without_anything_has_an_empty_census() {
        assert!(census("census-empty", &[]).is_empty());
    }
}
