//! What hardware and software of a machine ask for: names and aliases that a kernel, this one or
//! another, resolves to modules.
//!
//! Everything lies below one root, so that an image gives its own census and never the host's.
//! Whatever is missing is left out: a census is taken in chroots and on odd kernels, too.
//! (Sources: linux/Documentation/ABI/testing/sysfs-devices, modules-load.d(5), crypttab(5))

use crate::error::Result;
use crate::format::{join, render, Text};
use crate::needs::boot::{asks, each_line, parts, types, Ask, Mount};
use crate::needs::facts::{self, Facts};
use crate::needs::rules::each_file;
use crate::system::folder::NO_ENTRIES;
use crate::system::listing::Listing;
use crate::system::{Folder, Root};
use crate::template::Template;
use crate::text::alias::is_alias;
use crate::text::names::CENSUS;
use crate::text::{
    bare_lines, find_word, first_word, has, is_control, sort_once, split_at_byte, words,
};
use rustix::fs::FileType;

/// Deeper than any device lies below another.
const DEEPEST: usize = 64;

/// Directories that every device has and that hold no device.
const NO_DEVICES: &[u8] = b"power statistics msi_irqs queues";

/// Files with the name of a module in each line, which is loaded at boot, and directories of such.
const MODULES: Text = b"etc/modules etc/initramfs-tools/modules";
const MODULES_LOAD: Template = msg!(
    "etc/modules-load.d run/modules-load.d usr/local/lib/modules-load.d usr/lib/modules-load.d \
     lib/modules-load.d"
);

/// Tables of what is mounted, and of what is to be.
const MOUNTS: &[u8] = b"proc/mounts etc/fstab";

const INITRAMFS: Template = msg!("usr/share/initramfs-tools/modules.d");
const DRACUT: Template = msg!("etc/dracut.conf.d usr/lib/dracut/dracut.conf.d");

/// A census.
#[derive(Default)]
pub struct Census {
    facts: Facts,
    lines: Vec<Text>,
    /// How many devices had an alias or a driver.
    pub devices: usize,
}

/// Used for one directory after the other.
#[derive(Default)]
struct Buffers {
    listing: Listing,
    text: Vec<u8>,
}

/// Takes the census of the machine below a root.
///
/// # Errors
/// A file that is there cannot be read, except below /sys, where devices come and go.
pub fn take(root: &Root) -> Result<&'static Census> {
    with_boot(root, asks(root)?)
}

/// The same, where it is known already what the boot asks for.
///
/// # Errors
/// As there.
pub fn with_boot(root: &Root, asks: &[Ask]) -> Result<&'static Census> {
    let census = Box::leak(Box::<Census>::default());
    if let Some(folder) = Folder::open(root, b"sys/devices")? {
        let mut buffers = Buffers::default();
        census.walk(&folder, 0, &mut buffers);
    }
    for ask in asks {
        census.add(first_word(ask.names));
    }
    census.file_systems(root)?;
    configured(root, &mut |name, _| census.add(name))?;
    census.initramfs(root)?;
    census.running(root)?;
    sort_once(&mut census.lines);
    Ok(census)
}

/// Calls `visit` with each name that is to be loaded at boot, and with the file that says so.
///
/// # Errors
/// One of the files cannot be read.
pub fn configured(root: &Root, visit: &mut dyn FnMut(&[u8], Text)) -> Result<()> {
    let mut tell_first_words = |file, text| {
        first_words(text, &mut |name| visit(name, file));
        Ok(())
    };
    for file in words(MODULES) {
        tell_first_words(file, root.text_or_empty(file)?)?;
    }
    each_file(root, &[], MODULES_LOAD, b".conf", &mut tell_first_words)
}

/// The first words of lines that are no comments.
fn first_words(text: &[u8], add: &mut dyn FnMut(&[u8])) {
    for line in bare_lines(text) {
        let word = first_word(line);
        if !matches!(word, [] | [b'#' | b';', ..]) {
            add(word);
        }
    }
}

impl Census {
    /// The aliases of the hardware alone.
    pub fn aliases(&self) -> impl Iterator<Item = &[u8]> {
        let lines = self.lines.iter().map(|line| &line[..]);
        lines.filter(|line| has(line, b':'))
    }

    /// One name or alias per line, sorted, under a head that says what it is.
    pub fn to_text(&self) -> Text {
        let mut text = CENSUS.to_vec();
        let head = msg!("\n# feed it to --from; a name with ? may be missing\n");
        text.extend_from_slice(head.text());
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
        // No name of the kernel has a blank, and none could be separated from what comes after it.
        if name.iter().any(|&byte| is_control(byte) || byte == b' ') {
            return;
        }
        let optional: &[u8] = if is_alias(name) { b"" } else { b" ?" };
        self.lines.push(join(&[name, optional], ""));
    }

    /// Every device is below this, those that another one gets its power or clock from included.
    fn walk(&mut self, folder: &Folder, depth: usize, buffers: &mut Buffers) {
        let before = self.lines.len();
        // A device that went meanwhile has nothing to say.
        let Ok(mark) = folder.list(&mut buffers.listing) else {
            return;
        };
        for at in mark.count..buffers.listing.count() {
            let name = buffers.listing.name(at);
            if facts::is_place(name) {
                let facts = self.facts;
                facts.of_file(folder, name, &mut buffers.text, &mut |name| self.add(name));
            } else if buffers.listing.kind(at) == FileType::Directory
                && depth < DEEPEST
                && find_word(NO_DEVICES, name).is_none()
            {
                if let Ok(Some(inner)) = folder.enter(name) {
                    self.walk(&inner, depth + 1, buffers);
                }
            }
        }
        buffers.listing.truncate(mark);
        self.devices += usize::from(self.lines.len() > before);
    }

    /// What is mounted, and what may be.
    fn file_systems(&mut self, root: &Root) -> Result<()> {
        for file in words(MOUNTS) {
            each_line(root, file, &mut |line| {
                if let Some(mount) = Mount::of_table(line) {
                    types(mount.kinds).for_each(|kind| self.add(render(msg!("fs-{}"), &[kind])));
                }
            })?;
        }
        Ok(())
    }

    /// What packages want in every initramfs, by initramfs-tools or by dracut, whose configuration
    /// has lines as `add_drivers+=" NAME NAME "`.
    fn initramfs(&mut self, root: &Root) -> Result<()> {
        each_file(root, &[], INITRAMFS, b"", &mut |_, text| {
            first_words(text, &mut |name| self.add(name));
            Ok(())
        })?;
        self.dracut(root.text_or_empty(b"etc/dracut.conf")?);
        each_file(root, &[], DRACUT, b".conf", &mut |_, text| {
            self.dracut(text);
            Ok(())
        })
    }

    fn dracut(&mut self, text: &[u8]) {
        for line in bare_lines(text) {
            let (key, value) = split_at_byte(line, b'=');
            let key = key.strip_suffix(b"+").unwrap_or(key);
            for name in parts(value, b"\"' \t").filter(|name| !name.is_empty()) {
                let facts = self.facts;
                facts.each(key, name, &mut |name| self.add(name));
            }
        }
    }

    /// What the kernel has loaded or built in, what its ciphers come from, and its arrays.
    fn running(&mut self, root: &Root) -> Result<()> {
        first_words(root.text_or_empty(b"proc/modules")?, &mut |name| {
            self.add(name)
        });
        each_line(root, b"proc/crypto", &mut |line| {
            let (key, value) = split_at_byte(line, b':');
            let name = first_word(value);
            if first_word(key) == b"module" && name != b"kernel" {
                self.add(name);
            }
        })?;
        each_line(root, b"proc/mdstat", &mut |line| {
            let facts = self.facts;
            words(line).for_each(|word| facts.each(b"level", word, &mut |name| self.add(name)));
        })?;
        for entry in Folder::entries_at(root, b"sys/module").unwrap_or(NO_ENTRIES) {
            self.add(entry.name);
        }
        Ok(())
    }
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
                (
                    "sys/devices/virtual/net/br0/uevent",
                    "DEVTYPE=bridge\nINTERFACE=br0\n",
                ),
                ("sys/devices/virtual/block/dm-0/uevent", "DEVTYPE=disk\n"),
                ("sys/devices/virtual/block/dm-0/dm/uuid", "CRYPT-LUKS2-1\n"),
                ("sys/devices/virtual/block/dm-1/dm/uuid", "LVM-1\n"),
                ("sys/devices/virtual/block/md0/md/level", "raid6\n"),
                ("sys/devices/system/cpu/cpu0/cache/index0/level", "1\n"),
            ],
        );
        let wanted = [
            "dm_crypt ?",
            "dm_mod ?",
            "e1000e ?",
            "md-raid6 ?",
            "of:NxT(null)Cacme,x",
            "pci:v00008086d000015BB",
            "rtnl-link-bridge ?",
        ];
        assert_eq!(found, wanted);
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
                "root=/dev/sda1 modules-load=a,b-c rd.modules_load=d rd.driver.pre=e rootfstype=f2fs\n",
            ),
            (
                "proc/crypto",
                "name : x\nmodule       : kernel\nmodule       : aesni_intel\n",
            ),
            ("proc/modules", "bridge 1 0 - Live 0x0\n"),
            ("proc/mdstat", "Personalities : [raid0] \nmd0 : active raid10 sda1[0]\n"),
            ("sys/module/usbcore/parameters/x", ""),
            ("usr/share/initramfs-tools/modules.d/package", "# c\npackage-module\n"),
            ("etc/dracut.conf.d/x.conf", "#add_drivers+=\" no \"\nadd_drivers+=\" g h-i \"\nfilesystems+='xfs'\nhostonly=yes\n"),
            ("etc/dracut.conf", "force_drivers+=j\n"),
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
            "crypto-x",
            "d ?",
            // The disk of /boot is not to be found here.
            "dm_cache_smq ?",
            "dm_crypt ?",
            "dm_mirror ?",
            "dm_mod ?",
            "dm_raid ?",
            "dm_snapshot ?",
            "dm_thin_pool ?",
            "e ?",
            "fs-btrfs",
            "fs-ext4",
            "fs-f2fs",
            "fs-fuse",
            "fs-vfat",
            "fs-xfs",
            "g ?",
            "h-i ?",
            "j ?",
            "lp ?",
            "md-raid10 ?",
            "nvme ?",
            "package-module ?",
            "raid0 ?",
            "raid1 ?",
            "raid10 ?",
            "raid456 ?",
            "tun ?",
            "usbcore ?",
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_root_without_anything_has_an_empty_census() {
        assert!(census("census-empty", &[]).is_empty());
    }
}
