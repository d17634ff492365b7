//! What `modinfo` prints of modules: a line for each record, of one module after those of another.
//!
//! ```text
//! filename:       /lib/modules/6.1.0/kernel/drivers/net/ethernet/realtek/r8169.ko
//! firmware:       rtl_nic/rtl8168g-2.fw
//! vermagic:       6.1.0 SMP preempt mod_unload modversions
//! ```
//!
//! kmod's begins with the name of the file and ends with `vermagic`, which is the last record of a
//! module; busybox's has an order of its own after the first line. A record may have newlines in it, and
//! then its other lines look like records. (kmod: tools/modinfo.c; busybox: modutils/modinfo.c)

use crate::text::{bare_lines, split_at_byte};

/// Name and value of each record.
pub fn records(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    bare_lines(text).map(|line| {
        let (name, mut value) = split_at_byte(line, b':');
        while let [b' ', rest @ ..] = value {
            value = rest;
        }
        (name, value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_a_line_without_the_blanks_before_its_value() {
        let text = b"filename:       /m/a b.ko\nparm:           x:a number\nfirmware:\nodd\n";
        let wanted: [(&[u8], &[u8]); 4] = [
            (b"filename", b"/m/a b.ko"),
            (b"parm", b"x:a number"),
            (b"firmware", b""),
            (b"odd", b""),
        ];
        assert!(records(text).eq(wanted));
    }
}
