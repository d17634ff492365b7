//! Which words of which files ask for which modules: one table.

use crate::format::{render, Text};
use crate::system::Folder;
use crate::text::{bare_lines, find_word, words};

/// Where the word is, the word, and what it asks for: names, aliases, or with `sys:` all devices
/// of a directory of /sys. A `*` at the end of the word is its rest, and stands for it at the end
/// of a name.
/// (linux: Documentation/ABI/testing/sysfs-*, drivers/md, net/core/net-sysfs.c, fs/nls/nls_base.c,
/// net/9p/mod.c, net/sunrpc/auth_gss; crypttab(5), initramfs-tools' hook-functions)
const TABLE: &str = concat!(
    // Files of devices below /sys. A `uuid` is that of device-mapper, and begins with the maker of
    // the device; the DEVTYPE of a network device is its kind.
    "modalias * *\n",
    "uevent DRIVER=* *\n",
    "uevent MODALIAS=* *\n",
    "uevent DEVTYPE=b* rtnl-link-b*\n",
    "uevent DEVTYPE=v* rtnl-link-v*\n",
    "uevent DEVTYPE=wi* rtnl-link-wi*\n",
    "uuid CRYPT-VERITY-* dm_verity\n",
    "uuid CRYPT-INTEGRITY-* dm_integrity\n",
    "uuid CRYPT-* dm_crypt\n",
    "uuid LVM-* dm_mod\n",
    "uuid mpath-* dm_multipath\n",
    "uuid DMRAID-* dm_mirror\n",
    "level raid* md-raid*\n",
    "level linear md-linear\n",
    "transport * nvme-*\n",
    // Names of devices that belong to no bus.
    "/ dm-* dm_mod\n",
    "/ loop* loop\n",
    "/ bcache* bcache\n",
    "/ zram* zram\n",
    "/ ubiblock* sys:class/mtd\n",
    "/ nbd* nbd sys:class/net\n",
    "/ rbd* rbd sys:class/net\n",
    "/ drbd* drbd sys:class/net\n",
    "/ session* iscsi_tcp sys:class/net\n",
    "/ nvme-fabrics sys:class/net\n",
    // The kernel's command line.
    "rootfstype * fs-*\n",
    "modules_load * *\n",
    "modules-load * *\n",
    "rd.modules_load * *\n",
    "rd.modules-load * *\n",
    "rd.driver.pre * *\n",
    "rd.driver.post * *\n",
    "rootflags iocharset=* nls_*\n",
    "rootflags codepage=* nls_cp*\n",
    "ip * sys:class/net\n",
    "netroot * sys:class/net\n",
    // Options of mounts and of crypttab.
    "iocharset * nls_*\n",
    "nls * nls_*\n",
    "codepage * nls_cp*\n",
    "sec * rpc-auth-gss-*\n",
    "trans * 9p-*\n",
    "loop * loop\n",
    "x-systemd.automount * fs-autofs\n",
    "_netdev * sys:class/net\n",
    "cipher * crypto-*\n",
    "hash * crypto-*\n",
    "tpm2-device * sys:class/tpm\n",
    // Lines of /proc/crypto.
    "name * crypto-*\n",
    "module * *\n",
    // Lines of dracut's configuration.
    "add_drivers * *\n",
    "force_drivers * *\n",
    "drivers * *\n",
    "filesystems * fs-*\n",
    // On which others depend, though older kernels do not say which. What has no devices of its
    // own is known by the names of the loaded modules.
    "boards * sys:class/regulator sys:class/phy sys:class/gpio sys:class/pwm sys:class/extcon \
        sys:class/rtc\n",
    "board clk_* clk_*\n",
    "board phy_* phy_*\n",
    "board pinctrl_* pinctrl_*\n",
    "board reset_* reset_*\n",
    // Which targets a mapped device has is not to be seen.
    "mapped dm_* dm_*\n",
    // Where a disk is not known, it may be any; one that is not active may be made of anything.
    "any * sys:class/block sys:class/mtd sys:bus/virtio/devices\n",
    "away * dm_mod dm_crypt dm_mirror dm_raid dm_snapshot dm_thin_pool dm_cache_smq raid0 raid1 \
        raid10 raid456\n",
);

/// The table, ready to be read.
#[derive(Clone, Copy)]
pub struct Facts(Text);

impl Default for Facts {
    fn default() -> Facts {
        Facts(msg!(TABLE).text())
    }
}

impl Facts {
    /// Calls `add` with all that a word asks for.
    pub fn each(self, place: &[u8], word: &[u8], add: &mut dyn FnMut(&[u8])) {
        for row in bare_lines(self.0) {
            let mut row = words(row);
            let is_it = row.next() == Some(place);
            let (true, Some(head)) = (is_it, row.next()) else {
                continue;
            };
            let rest = match head {
                [head @ .., b'*'] => word.strip_prefix(head),
                _ => word.strip_prefix(head).filter(|rest| rest.is_empty()),
            };
            let Some(rest) = rest else {
                continue;
            };
            for name in row {
                match name {
                    [name @ .., b'*'] => add(render(msg!("{}{}"), &[name, rest])),
                    name => add(name),
                }
            }
        }
    }

    /// Calls `add` with all that the lines of a file below /sys ask for; `text` is a buffer. A device
    /// that went meanwhile asks for nothing.
    pub fn of_file(
        self,
        folder: &Folder,
        file: &[u8],
        text: &mut Vec<u8>,
        add: &mut dyn FnMut(&[u8]),
    ) {
        if folder.read(file, text).is_ok() {
            bare_lines(text).for_each(|line| self.each(file, line, add));
        }
    }
}

/// Whether a file of this name below /sys may have such words.
pub fn is_place(file: &[u8]) -> bool {
    find_word(b"modalias uevent uuid level transport", file).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(place: &str, word: &str) -> Vec<String> {
        let mut found = Vec::new();
        Facts::default().each(place.as_bytes(), word.as_bytes(), &mut |name| {
            found.push(String::from_utf8(name.to_vec()).unwrap());
        });
        found
    }

    #[test]
    fn a_word_is_looked_up_by_its_place_and_its_start() {
        assert_eq!(asked("level", "raid10"), ["md-raid10"]);
        assert_eq!(asked("level", "linear"), ["md-linear"]);
        assert!(asked("level", "linear2").is_empty());
        assert!(asked("level", "1").is_empty());
        assert!(asked("leve", "raid1").is_empty());
        assert!(asked("", "modalias").is_empty());
        assert_eq!(asked("loop", ""), ["loop"]);
        let two = ["dm_verity", "dm_crypt"];
        assert_eq!(asked("uuid", "CRYPT-VERITY-1-x"), two);
    }

    #[test]
    fn every_row_has_a_name_and_a_rest_where_it_is_used() {
        for row in TABLE.lines() {
            let row: Vec<&str> = row.split(' ').collect();
            let names = &row[2..];
            assert!(!names.is_empty() && !names.contains(&""), "{row:?}");
            let has_rest = names.iter().any(|name| name.ends_with('*'));
            assert!(row[1].ends_with('*') || !has_rest, "{row:?}");
        }
    }

    #[test]
    fn no_word_panics() {
        let vocabulary: [&[u8]; 5] = [b"level", b"raid", b"*", b" ", b"loop"];
        crate::text::tests::every_text(&vocabulary, 3, &mut |place| {
            crate::text::tests::every_text(&vocabulary, 2, &mut |word| {
                Facts::default().each(place, word, &mut |name| assert!(!name.is_empty()));
            });
        });
    }
}
