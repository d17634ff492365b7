//! What a word of a file or a mount option asks for, as far as one table can tell.

use crate::format::fill;
use crate::system::Folder;
use crate::text::{lines, words};

/// Where the word is, the word, and the name or alias that it asks for. A `*` at the end of the
/// word is its rest, and stands for it at the end of the name.
///
/// First, files of a device below /sys; a `uuid` is that of device-mapper, whose first word tells
/// who made the device, `DEVTYPE` of a network device its kind. Then, starts of the names of
/// devices that belong to no bus. Then, words of the kernel's command line, and options of mounts.
/// (linux: Documentation/ABI/testing/sysfs-*, drivers/md, net/core/net-sysfs.c, fs/nls/nls_base.c,
/// fs/fat/inode.c, net/9p/mod.c, net/sunrpc/auth_gss)
const TABLE: &[u8] = b"\
modalias * *
uevent DRIVER=* *
uevent MODALIAS=* *
uevent DEVTYPE=b* rtnl-link-b*
uevent DEVTYPE=v* rtnl-link-v*
uevent DEVTYPE=wi* rtnl-link-wi*
uuid CRYPT-VERITY-* dm_verity
uuid CRYPT-INTEGRITY-* dm_integrity
uuid CRYPT-* dm_crypt
uuid LVM-* dm_mod
uuid mpath-* dm_multipath
uuid DMRAID-* dm_mirror
level raid* md-raid*
level linear md-linear
transport * nvme-*
/ dm-* dm_mod
/ loop* loop
/ bcache* bcache
/ zram* zram
/ ubiblock* ubi
/ nbd* nbd
/ rbd* rbd
/ drbd* drbd
/ session* iscsi_tcp
rootfstype * fs-*
modules_load * *
modules-load * *
rd.modules_load * *
rd.driver.pre * *
rd.driver.post * *
rootflags iocharset=* nls_*
rootflags codepage=* nls_cp*
iocharset * nls_*
nls * nls_*
codepage * nls_cp*
sec * rpc-auth-gss-*
trans * 9p-*
loop * loop
x-systemd.automount * fs-autofs
";

/// The key under which the table has names of devices.
pub const DEVICE: &[u8] = b"/";

/// Calls `add` with what a word asks for. Names have no blanks.
pub fn names(key: &[u8], word: &[u8], add: &mut dyn FnMut(&[u8])) {
    for (_, row) in lines(TABLE) {
        let mut row = words(row);
        let is_it = row.next() == Some(key);
        let (true, Some(head), Some(name)) = (is_it, row.next(), row.next()) else {
            continue;
        };
        let rest = match head {
            [head @ .., b'*'] => word.strip_prefix(head),
            _ => (word == head).then_some(&b""[..]),
        };
        match (rest, name) {
            (Some(rest), [name @ .., b'*']) => add(fill("{}{}", &[name, rest])),
            (Some(_), name) => add(name),
            (None, _) => {}
        }
    }
}

/// Whether the table has something of a file of this name below /sys.
pub fn is_known(file: &[u8]) -> bool {
    matches!(
        file,
        b"modalias" | b"uevent" | b"uuid" | b"level" | b"transport"
    )
}

/// Calls `add` with all that the lines of such a file ask for; `text` is a buffer. A device that
/// went meanwhile asks for nothing.
pub fn in_file(folder: &Folder, file: &[u8], text: &mut Vec<u8>, add: &mut dyn FnMut(&[u8])) {
    if folder.read(file, text).is_ok() {
        lines(text).for_each(|(_, line)| names(file, line, add));
    }
}
