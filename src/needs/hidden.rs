//! Needs that no file of the kernel names: the kernel asks for these modules by itself while it
//! runs, by name or by alias, and a pruned tree must still have them.
//!
//! More rows come from the files `*.conf` in /etc/limopack/hidden.d and
//! /usr/lib/limopack/hidden.d; a file in the first hides one of the same name in the second.
//!
//! ```text
//! # MODULE TARGET... [firmware: NAME...] # reason
//! mydriver mydriver-fw-loader crypto-sha256 # asks for them in its probe function
//! mydriver firmware: mydriver/board-*.bin # by the board's name
//! ```
//!
//! MODULE may be a pattern. A target is a module or an alias, and one that the kernel does not
//! have is none. A NAME is relative to lib/firmware, and may be a pattern, or a directory with all
//! that is in it.

use crate::error::{Error, Result};
use crate::format::Text;
use crate::text::{bare_lines, lines, split_at_byte, until, words};

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
    ("btrfs", "blake2b-256 sha256 xxhash64", "checksums; softdep entries after the first (fs/btrfs/super.c)"),
    ("f2fs", "crypto-crc32", "checksums by the crypto interface (fs/f2fs/super.c)"),
    ("ext4 f2fs", "quota_v2", "the quota feature, by name (fs/quota/dquot.c, find_quota_format)"),
    ("ext4 f2fs ubifs", "crypto-xts crypto-cts crypto-aes crypto-hmac crypto-sha512 crypto-adiantum", "encrypted directories (fs/crypto/keysetup.c)"),
    ("bcachefs", "poly1305 chacha20 sha256 crc64 crc32c", "softdep entries after the first (fs/bcachefs/checksum.c)"),
    ("fat vfat", "nls_cp437 nls_ascii nls_iso8859-1", "character sets by name (fs/nls/nls_base.c, load_nls)"),
    ("vfat isofs udf cifs ntfs3 jfs exfat hfsplus", "nls_utf8", "file names in UTF-8, which hfsplus always asks for (fs/nls/nls_base.c, fs/hfsplus/super.c)"),
    ("ubifs", "deflate zlib lzo zstd", "compression by the crypto interface (fs/ubifs/compress.c)"),
    ("nfs", "nfsv2 nfsv3 nfsv4", "versions by name (fs/nfs/client.c, find_nfs_version)"),
    ("nfsv4", "nfs_layout_nfsv41_files nfs_layout_flexfiles", "layouts by number (fs/nfs/pnfs.c, find_pnfs_driver)"),
    ("cifs ksmbd", "gcm ccm sha512 sha256 cmac aes nls md5 hmac ecb", "softdep entries after the first (fs/smb)"),
    ("rpcsec_gss_krb5", "crypto-cbc crypto-cts crypto-aes crypto-hmac crypto-sha1 crypto-sha256", "encryption types (net/sunrpc/auth_gss/gss_krb5_mech.c)"),
    ("libceph", "crypto-cbc crypto-aes crypto-gcm crypto-hmac crypto-sha256", "messages and tickets (net/ceph/crypto.c, messenger_v2.c)"),
    // Disks
    ("scsi_mod", "sd_mod", "disks, of USB too, have no name without it; none may be there now (initramfs generators)"),
    ("mmc_core", "mmc_block", "the same for a card in a slot that is empty now (initramfs generators)"),
    ("memstick", "ms_block mspro_block", "the same for a memory stick (drivers/memstick/core)"),
    ("mtd", "cmdlinepart ofpart sm_ftl", "parsers of partitions by name (drivers/mtd/mtdpart.c, parse_mtd_partitions)"),
    ("dm_mod", "dm_snapshot dm_mirror", "targets by name, which LVM sets up while it runs (drivers/md/dm-target.c; lvm2's initramfs hook)"),
    ("dm_crypt", "crypto-xts crypto-aes crypto-ecb crypto-cbc crypto-essiv crypto-sha256", "LUKS' defaults; other ciphers are seen in /proc/crypto (drivers/md/dm-crypt.c)"),
    ("dm_integrity", "crypto-crc32c crypto-hmac crypto-sha256", "tags (drivers/md/dm-integrity.c)"),
    ("dm_verity", "crypto-sha256", "the usual hash (drivers/md/dm-verity-target.c)"),
    ("dm_multipath", "dm_round_robin dm_service_time dm_queue_length scsi_dh_alua scsi_dh_emc scsi_dh_rdac", "path selectors and handlers by name (drivers/md/dm-path-selector.c, drivers/scsi/scsi_dh.c)"),
    ("md_mod dm_raid", "linear raid0 raid1 raid10 raid456", "levels by name and number (drivers/md/md.c, md_run; mdadm's initramfs hook)"),
    ("iscsi_tcp nvme_tcp", "crypto-crc32c", "digests (drivers/scsi/iscsi_tcp.c, drivers/nvme/host/tcp.c)"),
    ("zram", "crypto-lzo-rle crypto-lzo crypto-lz4 crypto-zstd", "compression by name (drivers/block/zram/zcomp.c)"),
    ("nvme", "vmd", "disks after Intel's volume controller appear with it (initramfs generators)"),
    // Buses and boards
    ("virtio", "virtio_pci virtio_mmio", "another machine has the other bus (initramfs generators)"),
    ("usbcore", "usbhid usb_storage", "keyboards and disks that are plugged in later (initramfs generators)"),
    ("usb_storage", "uas", "leaves the disks that it can serve to it (drivers/usb/storage/uas-detect.h)"),
    ("hid", "hid_generic", "serves what has no driver of its own (drivers/hid/hid-generic.c)"),
    ("input_core", "evdev", "how programs read keyboards and mice (drivers/input/evdev.c)"),
    ("i8042", "psmouse atkbd", "what is plugged in is seen too late (initramfs generators)"),
    ("parport_pc", "ppdev lp", "programs open its devices (drivers/char/ppdev.c, lp.c)"),
    ("spi_rockchip", "pl330", "its DMA engine (initramfs generators)"),
    ("dw_mmc_rockchip", "io-domain rockchip-io-domain", "the voltage of its pins (initramfs generators)"),
    ("mediatek_drm", "mediatek-drm-hdmi mtk_iommu mtk-smi", "parts of the display (initramfs generators)"),
    ("mtk_iommu", "mtk-smi", "its bus (initramfs generators)"),
    ("phy_mtk_mipi_dsi_drv", "nvmem_mtk-efuse", "its calibration (initramfs generators)"),
    ("mt6397", "mtk-pmic-wrap", "its bus (initramfs generators)"),
    ("qmi_helpers msm", "qrtr", "messages of Qualcomm's processors (initramfs generators)"),
    ("msm", "pmic_glink_altmode gpio_sbu_mux", "displays on USB-C (initramfs generators)"),
    ("panel_edp", "pwm_bl", "its light (initramfs generators)"),
    ("framebuffer_coreboot", "simpledrm simplefb", "one of them draws (initramfs generators)"),
    // Sound and pictures
    ("snd_hda_codec", "snd_hda_codec_generic snd_hda_codec_hdmi", "codecs without a driver of their own, by name (sound/pci/hda/hda_bind.c)"),
    ("em28xx", "em28xx_v4l em28xx_alsa em28xx_dvb em28xx_rc", "the parts of a device by name (drivers/media/usb/em28xx/em28xx-cards.c, request_module_async)"),
    // Network
    ("nf_tables", "nft_chain_nat nft_compat nft_ct nft_counter nft_limit nft_log nft_reject_inet nft_reject_ipv4 nft_reject_ipv6 nft_fib_inet nft_fib_ipv4 nft_fib_ipv6", "chains and expressions of the usual rules by name (net/netfilter/nf_tables_api.c, nft_expr_type_request_module)"),
    ("nft_chain_nat nft_nat nft_masq", "nf_nat", "translation by name (net/netfilter/nft_nat.c)"),
    ("nft_ct xt_conntrack", "nf_conntrack", "connection tracking (net/netfilter/nft_ct.c)"),
    ("mlx4_core", "mlx4_en mlx4_ib", "by name (drivers/net/ethernet/mellanox/mlx4/main.c, mlx4_request_modules)"),
    ("mlx5_core", "mlx5_ib", "on the auxiliary bus (initramfs generators)"),
    ("i40e ice", "irdma", "on the auxiliary bus (drivers/infiniband/hw/irdma)"),
    ("bnxt_en", "bnxt_re", "on the auxiliary bus (drivers/infiniband/hw/bnxt_re)"),
    ("qed", "qedr", "registers with it (drivers/infiniband/hw/qedr)"),
    ("be2net", "ocrdma", "registers with it (drivers/infiniband/hw/ocrdma)"),
    ("iwlwifi", "iwldvm iwlmvm iwlmld", "the card's half by name (drivers/net/wireless/intel/iwlwifi/iwl-drv.c)"),
    ("brcmfmac", "brcmfmac-wcc brcmfmac-cyw brcmfmac-bca", "the vendor's half by name (brcmfmac/fwvid.c)"),
    ("mac80211", "crypto-ccm crypto-gcm crypto-cmac crypto-ctr crypto-aes", "keys of WPA2 and WPA3 (net/mac80211/aes_ccm.c, aes_cmac.c)"),
    ("bluetooth", "crypto-cmac crypto-aes crypto-ecdh-nist-p256", "pairing (net/bluetooth/smp.c)"),
    ("bluetooth", "hidp rfcomm bnep", "protocols by number (net/bluetooth/af_bluetooth.c, bt_sock_create)"),
    ("ppp_generic", "ppp_async ppp_deflate bsd_comp", "line disciplines and compressors by number (drivers/net/ppp/ppp_generic.c)"),
    ("xfrm_user", "esp4 esp6", "the usual protocol of IPsec by number (net/xfrm/xfrm_state.c, xfrm_get_type)"),
    ("esp4 esp6", "authenc echainiv crypto-gcm crypto-seqiv crypto-cbc crypto-aes crypto-sha256", "the usual algorithms of IPsec (net/xfrm/xfrm_algo.c)"),
    ("tls macsec", "crypto-gcm crypto-aes", "ciphers (net/tls/tls_sw.c, drivers/net/macsec.c)"),
    ("nft_chain_nat", "nft_masq nft_nat nft_redir", "the same for rules that translate addresses (net/netfilter/nf_tables_api.c)"),
    ("nft_log", "nf_log_syslog", "where it writes, by number (net/netfilter/nf_log.c, nf_logger_find_get)"),
    ("iptable_nat ip6table_nat", "xt_MASQUERADE xt_nat xt_conntrack", "targets and matches of the usual rules by name (net/netfilter/x_tables.c)"),
    // Ciphers
    ("gcm", "crypto-ctr crypto-ghash", "what it is made of, by name (crypto/gcm.c)"),
    ("ccm", "crypto-ctr", "the same (crypto/ccm.c)"),
    ("seqiv echainiv ecc", "crypto-stdrng", "random bytes by the crypto interface (crypto/geniv.c, crypto/ecc.c)"),
    ("drbg", "jitterentropy_rng crypto-hmac crypto-sha512", "its seed and its usual core (crypto/drbg.c)"),
    ("cts", "crypto-cbc", "the same (fs/crypto/keysetup.c)"),
    ("adiantum", "crypto-xchacha12 crypto-nhpoly1305 crypto-aes", "the same (crypto/adiantum.c)"),
];

/// Firmware that no record of its module names: the modules, names relative to lib/firmware, patterns or
/// directories, and the reason. A table of its own, because only lists of firmware look into it.
#[rustfmt::skip]
pub const FIRMWARE: &[(&str, &str, &str)] = &[
    ("iwlwifi", "iwlwifi-*.pnvm", "data of the card's platform (drivers/net/wireless/intel/iwlwifi/fw/pnvm.c)"),
    ("brcmfmac", "brcm/brcmfmac*", "files of the board, by its name (brcmfmac/firmware.c)"),
    ("ath11k", "ath11k", "files by the chip's name (drivers/net/wireless/ath/ath11k/core.c)"),
    ("ath12k", "ath12k", "the same (drivers/net/wireless/ath/ath12k/core.c)"),
    ("ath10k_snoc ath10k_sdio ath10k_usb", "ath10k", "the same (drivers/net/wireless/ath/ath10k/core.c)"),
    ("ath6kl_core", "ath6k", "the board's data (drivers/net/wireless/ath/ath6kl/init.c)"),
    ("ath3k", "ar3k", "by numbers that the device tells (drivers/bluetooth/ath3k.c)"),
    ("wlcore hci_uart", "ti-connectivity", "scripts by the chip's number, and the board's calibration (drivers/bluetooth/hci_ll.c)"),
    ("btintel", "intel/ibt-*", "files by numbers that the device tells (drivers/bluetooth/btintel.c)"),
    ("btusb btqca", "qca", "the same (drivers/bluetooth/btqca.c, btusb.c)"),
    ("btbcm", "brcm/BCM*", "the same (drivers/bluetooth/btbcm.c)"),
    ("btmtk", "mediatek/BT*", "the same (drivers/bluetooth/btmtk.c)"),
    ("snd_sof", "*/sof*", "topologies and files by the platform's name (sound/soc/sof/fw-file-profile.c)"),
    ("snd_soc_skl snd_soc_avs", "intel/dsp* intel/avs *tplg* dfw*", "the same (sound/soc/intel)"),
    ("snd_intel_sst_core", "intel/fw*", "the same (sound/soc/intel/atom/sst/sst_loader.c)"),
    ("snd_soc_catpt", "intel/catpt", "the same (sound/soc/intel/catpt/loader.c)"),
    ("cs_dsp", "cirrus", "the amplifier's files, by its name (sound/pci/hda/cs35l41_hda.c)"),
    ("snd_soc_tas2781_fmwlib", "TAS* TIAS* ti", "the same (sound/soc/codecs/tas2781-i2c.c)"),
    ("dvb_core", "dvb* v4l-* sms* as102* isdbt* tdmb* cmmb*", "names in tables of receivers (drivers/media)"),
    ("coda_vpu", "vpu* v4l-coda*", "by the chip's name (drivers/media/platform/chips-media)"),
    ("mdt_loader mhi", "qcom wlan *.mdt *.mbn *.b??", "parts of an image, and images by the board's tree (drivers/soc/qcom/mdt_loader.c)"),
    ("ice", "intel/ice", "packages by the card's number (drivers/net/ethernet/intel/ice)"),
    ("nfp", "netronome", "the same (drivers/net/ethernet/netronome/nfp)"),
    ("cxgb4", "cxgb4", "configurations (drivers/net/ethernet/chelsio/cxgb4)"),
    ("silead", "silead", "by the screen's name (drivers/input/touchscreen/silead.c)"),
    ("goodix_ts", "goodix*", "the same (drivers/input/touchscreen/goodix.c)"),
    ("drm", "edid", "what drm.edid_firmware= names (drivers/gpu/drm/drm_edid_load.c)"),
    ("pcmcia", "cis", "descriptions of cards (drivers/pcmcia/ds.c)"),
    ("mxuport", "moxa", "by the device's number (drivers/usb/serial/mxuport.c)"),
];

/// What a table has in the program, `MODULE[ MODULE...]|TARGET[ TARGET...]` in each line: the program
/// has no use for the reasons and does not carry them, and pointers to each text would be a third of
/// what it does.
const fn lines_of<const N: usize>(rows: &[(&str, &str, &str)]) -> [u8; N] {
    let mut table = [b'\n'; N];
    let (mut row, mut start) = (0, 0);
    while row < rows.len() {
        let (modules, targets) = (rows[row].0.as_bytes(), rows[row].1.as_bytes());
        let mut at = 0;
        while at < modules.len() {
            table[start + at] = modules[at];
            at += 1;
        }
        table[start + at] = b'|';
        start += at + 1;
        at = 0;
        while at < targets.len() {
            table[start + at] = targets[at];
            at += 1;
        }
        start += at + 1;
        row += 1;
    }
    table
}

/// The length of that.
const fn length_of(rows: &[(&str, &str, &str)]) -> usize {
    let (mut length, mut at) = (0, 0);
    while at < rows.len() {
        length += rows[at].0.len() + rows[at].1.len() + 2;
        at += 1;
    }
    length
}

/// The rows of what was known of Linux when this was built: [`KNOWN`].
pub fn known() -> impl Iterator<Item = Row<'static>> {
    const LINES: &[u8; length_of(KNOWN)] = &lines_of(KNOWN);
    table_rows(packed!(LINES).text())
}

/// The text of [`FIRMWARE`], for [`table_rows`].
pub fn firmware() -> Text {
    const LINES: &[u8; length_of(FIRMWARE)] = &lines_of(FIRMWARE);
    packed!(LINES).text()
}

/// The rows of a table's text.
pub fn table_rows(text: Text) -> impl Iterator<Item = Row<'static>> {
    bare_lines(text).map(|line| {
        let (modules, targets) = split_at_byte(line, b'|');
        Row { modules, targets }
    })
}

/// Calls back with the rows of one file of hidden.d; `file` is for messages.
///
/// # Errors
/// A module without a target: what it was to keep would be deleted.
pub fn rows<'t>(text: &'t [u8], file: &[u8], visit: &mut dyn FnMut(&Row<'t>)) -> Result<()> {
    for (number, line) in lines(text) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mut row = words(until(line, b'#'));
        let Some(modules) = row.next() else {
            continue;
        };
        let targets = row.rest();
        if row.next().is_none() {
            return Err(Error::parse(
                file,
                number,
                msg!("no target after {}"),
                &[modules],
            ));
        }
        visit(&Row { modules, targets });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{kind_of, ErrorKind};

    #[test]
    fn every_row_of_the_table_is_complete() {
        assert_eq!(known().count(), KNOWN.len());
        let firmware = table_rows(firmware());
        for (row, known) in known().chain(firmware).zip(KNOWN.iter().chain(FIRMWARE)) {
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
        let mut parts = Vec::new();
        rows(text, b"f", &mut |row| {
            parts.push((row.modules, row.targets))
        })
        .unwrap();
        assert_eq!(parts[0], (&b"a-b"[..], &b" c d "[..]));
        assert_eq!(parts[1], (&b"x*"[..], &b" y"[..]));
    }

    #[test]
    fn a_module_without_a_target_is_an_error() {
        let bad = rows(b"\na # b\n", b"f", &mut |_| {});
        assert_eq!(kind_of(bad), Some(ErrorKind::Parse { line: 2 }));
    }

    #[test]
    fn no_text_panics() {
        crate::text::tests::every_text(&[b"a", b" ", b"#", b"\n", b"\r"], 6, &mut |text| {
            let _ = rows(text, b"f", &mut |_| {});
        });
    }
}
