//! Needs that no file of the kernel names: the kernel asks for these modules by itself while it
//! runs, by name or by alias, and a pruned tree must still have them.
//!
//! More rows come from the files `*.conf` in /etc/limopack/hidden.d and
//! /usr/lib/limopack/hidden.d; a file in the first hides one of the same name in the second.
//!
//! ```text
//! # MODULE TARGET... # reason
//! mydriver mydriver-fw-loader crypto-sha256 # asks for them in its probe function
//! ```
//!
//! MODULE may be a pattern. A target is a module or an alias, and one that the kernel does not
//! have is none.

use crate::error::{Error, Result};
use crate::text::{lines, words};

/// Modules that need something, and what they need.
pub struct Row<'t> {
    /// The modules, or patterns of them, separated by blanks.
    pub modules: &'t [u8],
    /// Modules or aliases, separated by blanks.
    pub targets: &'t [u8],
}

/// What is known of Linux itself: the modules, their targets, and the reason with the place where
/// it can be read; paths are those of Linux' source. The manual page shows all of it.
#[rustfmt::skip]
pub const KNOWN: &[(&str, &str, &str)] = &[
    // File systems
    ("btrfs libcrc32c ext4 jbd2", "crypto-crc32c", "checksums by the crypto interface (lib/libcrc32c.c, fs/ext4/super.c)"),
    ("btrfs", "blake2b-256 sha256 xxhash64", "checksums; softdep entries behind the first (fs/btrfs/super.c)"),
    ("f2fs", "crypto-crc32", "checksums by the crypto interface (fs/f2fs/super.c)"),
    ("ext4 f2fs", "quota_v2", "the quota feature, by name (fs/quota/dquot.c, find_quota_format)"),
    ("ext4 f2fs ubifs", "crypto-xts crypto-cts crypto-aes crypto-hmac crypto-sha512 crypto-adiantum", "encrypted directories (fs/crypto/keysetup.c)"),
    ("bcachefs", "poly1305 chacha20 sha256 crc64 crc32c", "softdep entries behind the first (fs/bcachefs/checksum.c)"),
    ("fat vfat", "nls_cp437 nls_ascii nls_iso8859-1", "character sets by name (fs/nls/nls_base.c, load_nls)"),
    ("vfat isofs udf cifs ntfs3 jfs exfat", "nls_utf8", "a mount with iocharset=utf8, which is usual (fs/nls/nls_base.c, load_nls)"),
    ("hfsplus", "nls_utf8", "does not mount without (fs/hfsplus/super.c)"),
    ("ubifs", "deflate zlib lzo zstd", "compression by the crypto interface (fs/ubifs/compress.c)"),
    ("nfs", "nfsv2 nfsv3 nfsv4", "versions by name (fs/nfs/client.c, find_nfs_version)"),
    ("nfsv4", "nfs_layout_nfsv41_files nfs_layout_flexfiles", "layouts by name (fs/nfs/pnfs.c, set_pnfs_layoutdriver)"),
    ("cifs ksmbd", "gcm ccm sha512 sha256 cmac aes nls md5 hmac ecb", "softdep entries behind the first (fs/smb)"),
    ("rpcsec_gss_krb5", "crypto-cbc crypto-cts crypto-aes crypto-hmac crypto-sha1 crypto-sha256", "encryption types (net/sunrpc/auth_gss/gss_krb5_mech.c)"),
    ("libceph", "crypto-cbc crypto-aes crypto-gcm crypto-hmac crypto-sha256", "messages and tickets (net/ceph/crypto.c, messenger_v2.c)"),
    // Block devices
    ("dm_crypt", "crypto-xts crypto-aes crypto-ecb crypto-cbc crypto-essiv crypto-sha256", "LUKS' defaults; other ciphers are seen in /proc/crypto (drivers/md/dm-crypt.c)"),
    ("dm_integrity", "crypto-crc32c crypto-hmac crypto-sha256", "tags (drivers/md/dm-integrity.c)"),
    ("dm_verity", "crypto-sha256", "the usual hash (drivers/md/dm-verity-target.c)"),
    ("dm_mod", "dm_snapshot dm_mirror", "targets by name (drivers/md/dm-target.c, load_module)"),
    ("dm_raid", "raid1 raid10 raid456", "levels by name (drivers/md/md.c, md_run)"),
    ("dm_multipath", "dm_round_robin dm_service_time", "path selectors by name (drivers/md/dm-path-selector.c)"),
    ("md_mod", "raid0 raid1 raid10 raid456", "levels by name (drivers/md/md.c, md_run)"),
    ("iscsi_tcp nvme_tcp", "crypto-crc32c", "digests (drivers/scsi/iscsi_tcp.c, drivers/nvme/host/tcp.c)"),
    ("zram", "crypto-lzo-rle crypto-lzo crypto-lz4 crypto-zstd", "compression by name (drivers/block/zram/zcomp.c)"),
    ("nvme", "vmd", "disks behind Intel's volume controller appear with it (initramfs generators)"),
    ("memstick", "ms_block mspro_block", "cards are seen too late (initramfs generators)"),
    ("mtd", "sm_ftl", "the translation layer of SmartMedia (initramfs generators)"),
    // Buses, on which nothing may be plugged in yet
    ("scsi_mod", "sd_mod", "a disk of any bus needs it to be seen as one (drivers/scsi/sd.c)"),
    ("mmc_core", "mmc_block", "a card needs it to be seen as a disk (drivers/mmc/core/block.c)"),
    ("usbcore", "usbhid usb_storage", "keyboards and sticks (initramfs generators)"),
    ("hid", "hid_generic", "keyboards without a driver of their own (drivers/hid/hid-generic.c)"),
    ("virtio", "virtio_pci virtio_mmio", "the bus' transports (initramfs generators)"),
    ("i8042", "psmouse atkbd", "what is plugged in is seen too late (initramfs generators)"),
    ("spi_rockchip", "pl330", "its DMA engine (initramfs generators)"),
    ("dw_mmc_rockchip", "io-domain rockchip-io-domain", "the voltage of its pins (initramfs generators)"),
    ("parport_pc", "ppdev lp", "devices of the port by name (drivers/parport)"),
    // Network
    ("nf_tables", "nft_ct nft_masq nft_nat nft_chain_nat nft_log nft_limit nft_counter nft_reject nft_reject_inet nft_compat", "expressions and chains by name (net/netfilter/nf_tables_api.c, nft_expr_type_request_module)"),
    ("nft_chain_nat nft_nat nft_masq", "nf_nat", "translation by name (net/netfilter/nft_nat.c)"),
    ("nft_ct xt_conntrack", "nf_conntrack", "connection tracking (net/netfilter/nft_ct.c)"),
    ("mlx4_core", "mlx4_en mlx4_ib", "by name (drivers/net/ethernet/mellanox/mlx4/main.c, mlx4_request_modules)"),
    ("mlx5_core", "mlx5_ib", "on the auxiliary bus (initramfs generators)"),
    ("i40e ice", "irdma", "on the auxiliary bus (drivers/infiniband/hw/irdma)"),
    ("bnxt_en", "bnxt_re", "on the auxiliary bus (drivers/infiniband/hw/bnxt_re)"),
    ("qed", "qedr", "by its core driver (drivers/infiniband/hw/qedr)"),
    ("be2net", "ocrdma", "by name (drivers/net/ethernet/emulex/benet/be_roce.c)"),
    ("iwlwifi", "iwldvm iwlmvm iwlmld", "the card's half by name (drivers/net/wireless/intel/iwlwifi/iwl-drv.c)"),
    ("brcmfmac", "brcmfmac-wcc brcmfmac-cyw brcmfmac-bca", "the vendor's half by name (brcmfmac/fwvid.c)"),
    ("mac80211", "crypto-ccm crypto-gcm crypto-cmac crypto-ctr crypto-aes", "keys of WPA2 and WPA3 (net/mac80211/aes_ccm.c, aes_cmac.c)"),
    ("bluetooth", "crypto-cmac crypto-aes crypto-ecdh-nist-p256", "pairing (net/bluetooth/smp.c)"),
    ("ppp_generic", "ppp_async ppp_deflate bsd_comp", "line disciplines and compressors by name (drivers/net/ppp/ppp_generic.c)"),
    ("esp4 esp6", "crypto-authenc crypto-echainiv", "templates of its transforms (net/ipv4/esp4.c)"),
    ("xfrm_user", "esp4", "transforms by name (net/xfrm/xfrm_state.c, xfrm_get_type)"),
    ("tls macsec", "crypto-gcm crypto-aes", "their cipher (net/tls/tls_sw.c, drivers/net/macsec.c)"),
    // Sound and video
    ("snd_hda_codec", "snd_hda_codec_generic snd_hda_codec_hdmi", "codecs by name (sound/pci/hda/hda_bind.c)"),
    ("em28xx", "em28xx_dvb em28xx_alsa", "its halves by name (drivers/media/usb/em28xx/em28xx-cards.c)"),
];

/// The same without the reasons: the program has no use for them and does not carry them.
pub const TABLE: &[Row<'static>] = &without_reasons();

const fn without_reasons() -> [Row<'static>; KNOWN.len()] {
    const NONE: Row<'static> = Row {
        modules: b"",
        targets: b"",
    };
    let mut rows = [NONE; KNOWN.len()];
    let mut at = 0;
    while at < KNOWN.len() {
        rows[at].modules = KNOWN[at].0.as_bytes();
        rows[at].targets = KNOWN[at].1.as_bytes();
        at += 1;
    }
    rows
}

/// The rows of one file of hidden.d; `file` is for messages.
///
/// # Errors
/// A module without a target: what it was to keep would be deleted.
pub fn rows<'t>(text: &'t [u8], file: &[u8]) -> Result<Vec<Row<'t>>> {
    let mut rows = Vec::new();
    for (number, line) in lines(text) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mut row = words(crate::text::split_at_byte(line, b'#').0);
        let Some(modules) = row.next() else {
            continue;
        };
        let targets = row.rest();
        if row.next().is_none() {
            return Err(Error::parse(
                file,
                number,
                "no target behind {}",
                &[modules],
            ));
        }
        rows.push(Row { modules, targets });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{kind_of, ErrorKind};

    #[test]
    fn every_row_of_the_table_is_complete() {
        for (row, known) in TABLE.iter().zip(KNOWN) {
            assert_eq!(
                (row.modules, row.targets),
                (known.0.as_bytes(), known.1.as_bytes())
            );
            assert!(words(row.modules).count() > 0 && words(row.targets).count() > 0);
            assert!(!known.2.is_empty());
            assert!(
                !row.modules.contains(&b'-'),
                "module names in kernel spelling"
            );
        }
    }

    #[test]
    fn a_file_has_rows() {
        let text = b"# comment\n\na-b c d # why not\r\nx* y\n";
        let rows = rows(text, b"f").unwrap();
        let parts: Vec<_> = rows.iter().map(|row| (row.modules, row.targets)).collect();
        assert_eq!(parts[0], (&b"a-b"[..], &b" c d "[..]));
        assert_eq!(parts[1], (&b"x*"[..], &b" y"[..]));
    }

    #[test]
    fn a_module_without_a_target_is_an_error() {
        let bad = rows(b"\na # b\n", b"f");
        assert_eq!(kind_of(bad), Some(ErrorKind::Parse { line: 2 }));
    }

    #[test]
    fn no_text_panics() {
        crate::text::tests::every_text(&[b"a", b" ", b"#", b"\n", b"\r"], 6, &mut |text| {
            let _ = rows(text, b"f");
        });
    }
}
