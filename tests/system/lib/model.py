"""An independent answer to "which modules are needed": depmod's files read the plain way.

Owns the tests' second opinion: text files only, regular Python, no care for
speed. Names, lookup order and the rules that soften dependencies follow kmod's
libkmod; `HIDDEN` is the tests' own copy of the dependencies that the kernel
requests without any index naming them. Shares nothing with the product.
"""
import fnmatch
import itertools
import os
import re
import struct
from functools import cached_property
from pathlib import Path

# Module → what it requests at run time. A product that keeps more has to be explained here.
HIDDEN = {
    "btrfs": ["crypto-crc32c", "blake2b-256", "sha256", "xxhash64"],
    "libcrc32c": ["crypto-crc32c"],
    "ext4": [
        "crypto-crc32c", "quota_v2", "crypto-xts", "crypto-cts", "crypto-aes", "crypto-hmac",
        "crypto-sha512", "crypto-adiantum"],
    "jbd2": ["crypto-crc32c"],
    "f2fs": [
        "crypto-crc32", "quota_v2", "crypto-xts", "crypto-cts", "crypto-aes", "crypto-hmac",
        "crypto-sha512", "crypto-adiantum"],
    "ubifs": [
        "crypto-xts", "crypto-cts", "crypto-aes", "crypto-hmac", "crypto-sha512",
        "crypto-adiantum", "deflate", "zlib", "lzo", "zstd"],
    "bcachefs": ["poly1305", "chacha20", "sha256", "crc64", "crc32c"],
    "fat": ["nls_cp437", "nls_ascii", "nls_iso8859-1"],
    "vfat": ["nls_cp437", "nls_ascii", "nls_iso8859-1", "nls_utf8"],
    "isofs": ["nls_utf8"],
    "udf": ["nls_utf8"],
    "cifs": [
        "nls_utf8", "gcm", "ccm", "sha512", "sha256", "cmac", "aes", "nls", "md5", "hmac", "ecb"],
    "ntfs3": ["nls_utf8"],
    "jfs": ["nls_utf8"],
    "exfat": ["nls_utf8"],
    "hfsplus": ["nls_utf8"],
    "nfs": ["nfsv2", "nfsv3", "nfsv4"],
    "nfsv4": ["nfs_layout_nfsv41_files", "nfs_layout_flexfiles"],
    "ksmbd": ["gcm", "ccm", "sha512", "sha256", "cmac", "aes", "nls", "md5", "hmac", "ecb"],
    "rpcsec_gss_krb5": [
        "crypto-cbc", "crypto-cts", "crypto-aes", "crypto-hmac", "crypto-sha1", "crypto-sha256"],
    "libceph": ["crypto-cbc", "crypto-aes", "crypto-gcm", "crypto-hmac", "crypto-sha256"],
    "scsi_mod": ["sd_mod"],
    "mmc_core": ["mmc_block"],
    "memstick": ["ms_block", "mspro_block"],
    "mtd": ["cmdlinepart", "ofpart", "sm_ftl"],
    "dm_mod": ["dm_snapshot", "dm_mirror"],
    "dm_crypt": [
        "crypto-xts", "crypto-aes", "crypto-ecb", "crypto-cbc", "crypto-essiv", "crypto-sha256"],
    "dm_integrity": ["crypto-crc32c", "crypto-hmac", "crypto-sha256"],
    "dm_verity": ["crypto-sha256"],
    "dm_multipath": [
        "dm_round_robin", "dm_service_time", "dm_queue_length", "scsi_dh_alua", "scsi_dh_emc",
        "scsi_dh_rdac"],
    "md_mod": ["linear", "raid0", "raid1", "raid10", "raid456"],
    "dm_raid": ["linear", "raid0", "raid1", "raid10", "raid456"],
    "iscsi_tcp": ["crypto-crc32c"],
    "nvme_tcp": ["crypto-crc32c"],
    "zram": ["crypto-lzo-rle", "crypto-lzo", "crypto-lz4", "crypto-zstd"],
    "nvme": ["vmd"],
    "virtio": ["virtio_pci", "virtio_mmio"],
    "usbcore": ["usbhid", "usb_storage"],
    "usb_storage": ["uas"],
    "hid": ["hid_generic"],
    "input_core": ["evdev"],
    "i8042": ["psmouse", "atkbd"],
    "parport_pc": ["ppdev", "lp"],
    "spi_rockchip": ["pl330"],
    "dw_mmc_rockchip": ["io-domain", "rockchip-io-domain"],
    "mediatek_drm": ["mediatek-drm-hdmi", "mtk_iommu", "mtk-smi"],
    "mtk_iommu": ["mtk-smi"],
    "phy_mtk_mipi_dsi_drv": ["nvmem_mtk-efuse"],
    "mt6397": ["mtk-pmic-wrap"],
    "qmi_helpers": ["qrtr"],
    "msm": ["qrtr", "pmic_glink_altmode", "gpio_sbu_mux"],
    "panel_edp": ["pwm_bl"],
    "framebuffer_coreboot": ["simpledrm", "simplefb"],
    "snd_hda_codec": ["snd_hda_codec_generic", "snd_hda_codec_hdmi"],
    "em28xx": ["em28xx_v4l", "em28xx_alsa", "em28xx_dvb", "em28xx_rc"],
    "nf_tables": [
        "nft_ct", "nft_masq", "nft_nat", "nft_chain_nat", "nft_log", "nft_limit", "nft_counter",
        "nft_reject", "nft_reject_inet", "nft_compat", "nft_chain_nat", "nft_compat", "nft_ct",
        "nft_counter", "nft_limit", "nft_log", "nft_reject_inet", "nft_reject_ipv4",
        "nft_reject_ipv6", "nft_fib_inet", "nft_fib_ipv4", "nft_fib_ipv6"],
    "nft_chain_nat": ["nf_nat", "nft_masq", "nft_nat", "nft_redir"],
    "nft_nat": ["nf_nat"],
    "nft_masq": ["nf_nat"],
    "nft_ct": ["nf_conntrack"],
    "xt_conntrack": ["nf_conntrack"],
    "mlx4_core": ["mlx4_en", "mlx4_ib"],
    "mlx5_core": ["mlx5_ib"],
    "i40e": ["irdma"],
    "ice": ["irdma"],
    "bnxt_en": ["bnxt_re"],
    "qed": ["qedr"],
    "be2net": ["ocrdma"],
    "iwlwifi": ["iwldvm", "iwlmvm", "iwlmld"],
    "brcmfmac": ["brcmfmac-wcc", "brcmfmac-cyw", "brcmfmac-bca"],
    "mac80211": ["crypto-ccm", "crypto-gcm", "crypto-cmac", "crypto-ctr", "crypto-aes"],
    "bluetooth": ["crypto-cmac", "crypto-aes", "crypto-ecdh-nist-p256", "hidp", "rfcomm", "bnep"],
    "ppp_generic": ["ppp_async", "ppp_deflate", "bsd_comp"],
    "xfrm_user": ["esp4", "esp6"],
    "esp4": [
        "authenc", "echainiv", "crypto-gcm", "crypto-seqiv", "crypto-cbc", "crypto-aes",
        "crypto-sha256"],
    "esp6": [
        "authenc", "echainiv", "crypto-gcm", "crypto-seqiv", "crypto-cbc", "crypto-aes",
        "crypto-sha256"],
    "tls": ["crypto-gcm", "crypto-aes"],
    "macsec": ["crypto-gcm", "crypto-aes"],
    "nft_log": ["nf_log_syslog"],
    "iptable_nat": ["xt_MASQUERADE", "xt_nat", "xt_conntrack"],
    "ip6table_nat": ["xt_MASQUERADE", "xt_nat", "xt_conntrack"],
    "gcm": ["crypto-ctr", "crypto-ghash"],
    "ccm": ["crypto-ctr"],
    "seqiv": ["crypto-stdrng"],
    "echainiv": ["crypto-stdrng"],
    "ecc": ["crypto-stdrng"],
    "drbg": ["jitterentropy_rng", "crypto-hmac", "crypto-sha512"],
    "cts": ["crypto-cbc"],
    "adiantum": ["crypto-xchacha12", "crypto-nhpoly1305", "crypto-aes"],
}


def underscores(name):
    """`-` → `_`, but not inside [...]: kmod's alias_normalize."""
    return re.sub(r"\[.*?\]|-", lambda hit: "_" if hit[0] == "-" else hit[0], name)


def is_alias(name):
    """Whether a name is an alias by its looks, which no module can have for a name."""
    return ":" in name or name.startswith(("fs-", "crypto-", "net-pf-", "char-major-", "block-major-"))


def name_of(path):
    """The module name of a file: base name up to the first dot, in kernel spelling."""
    return os.path.basename(path).split(".")[0].replace("-", "_")


def lines(path):
    """The lines of a text that may be missing, without comments."""
    if not path.exists():
        return []
    return [line for line in path.read_text(errors="surrogateescape").split("\n")[:-1] if not line.startswith("#")]


class Index:
    """The files of one version directory."""

    def __init__(self, vdir):
        self.vdir = Path(vdir)
        self.path, self.dep = {}, {}
        for line in lines(self.vdir / "modules.dep"):
            path, needs = line.split(":")
            self.path[name_of(path)] = path
            self.dep[name_of(path)] = [name_of(need) for need in needs.split()]
        self.builtin = {name_of(path) for path in lines(self.vdir / "modules.builtin")}

    @cached_property
    def soft(self):
        """Module → targets of its first softdep line; markers dropped."""
        found = {}
        for line in lines(self.vdir / "modules.softdep"):
            _, module, *targets = line.split()
            found.setdefault(underscores(module),
                             [t for t in targets if t not in ("pre:", "post:")])
        return found

    @cached_property
    def weak(self):
        return {underscores(line.split()[1]): line.split()[2:]
                for line in lines(self.vdir / "modules.weakdep")}

    @cached_property
    def symbols(self):
        return {line.split()[1]: line.split()[2] for line in lines(self.vdir / "modules.symbols")}

    @cached_property
    def aliases(self):
        """[(pattern, module)] as depmod wrote them, patterns in kernel spelling."""
        # A pattern may have spaces in it.
        found = [line.removeprefix("alias ").rsplit(" ", 1) for line in lines(self.vdir / "modules.alias")]
        return [(underscores(pattern), module) for pattern, module in found]

    @cached_property
    def _heads(self):
        return [(re.match(r"[^*?\[]*", pattern)[0], pattern, module)
                for pattern, module in self.aliases]

    def resolve(self, name):
        """The modules that modprobe finds under a name or alias; built-ins and nothing: []."""
        name = underscores(name)
        if name in self.path:
            return [name]
        if name.startswith("symbol:"):
            return [self.symbols[name]] if name in self.symbols else []
        return sorted({module for head, pattern, module in self._heads
                       if name.startswith(head) and fnmatch.fnmatchcase(name, pattern)})

    @cached_property
    def _extra(self):
        """Module → modules that it needs beyond modules.dep."""
        return {module: [hit for target in self.soft.get(module, []) + self.weak.get(module, [])
                         + HIDDEN.get(module, []) for hit in self.resolve(target)]
                for module in self.path}

    @cached_property
    def asked_by_builtin(self):
        """What modules that are built in request at run time, and what that needs."""
        path = self.vdir / "modules.builtin.modinfo"
        records = path.read_bytes().decode().split("\0") if path.exists() else []
        rules = [record.split("=", 1)[1] for record in records if re.match(r"[^.]*\.(soft|weak)dep=", record)]
        targets = [target for module in self.builtin for target in HIDDEN.get(module, [])]
        targets += [word for rule in rules for word in rule.split() if word not in ("pre:", "post:")]
        return self.needs({hit for target in targets for hit in self.resolve(target)})

    def stays(self, names):
        """What stays in a prune, or is listed, where these are registered, or loaded."""
        return self.needs(names) | self.asked_by_builtin

    def hard(self, names):
        """The modules named, with their dependencies in modules.dep."""
        return self._closure(names, lambda module: self.dep[module])

    def needs(self, names):
        """The modules named, with all that must stay for them to work."""
        return self._closure(names, lambda module: self.dep[module] + self._extra[module])

    @staticmethod
    def _closure(names, edges):
        found, todo = set(), list(names)
        while todo:
            module = todo.pop()
            if module not in found:
                found.add(module)
                todo += edges(module)
        return found

    def paths(self, names):
        return sorted(self.path[name] for name in names)


def concrete(pattern):
    """A name that an alias pattern matches."""
    return re.sub(r"\[(.).*?\]", r"\1", pattern).replace("*", "0").replace("?", "0")


def read_trie(path):
    """A .bin index: {key: [(priority, value)]}; raises on anything torn."""
    data = Path(path).read_bytes()
    if not data:
        return {}
    magic, layout, root = struct.unpack_from(">III", data)
    assert (magic, layout) == (0xB007F457, 0x00020001), f"{path}: not a kmod index"
    found = {}

    def text(at):
        end = data.index(b"\0", at)
        return data[at:end].decode(errors="surrogateescape"), end + 1

    def node(offset, key):
        at = offset & 0x0FFFFFFF
        if offset & 0x80000000:
            prefix, at = text(at)
            key += prefix
        if offset & 0x20000000:
            first, last = data[at], data[at + 1]
            children = struct.unpack_from(f">{last - first + 1}I", data, at + 2)
            at += 2 + 4 * len(children)
            for label, child in enumerate(children, first):
                if child:
                    node(child, key + chr(label))
        if offset & 0x40000000:
            (count,), at = struct.unpack_from(">I", data, at), at + 4
            for _ in range(count):
                (priority,), at = struct.unpack_from(">I", data, at), at + 4
                value, at = text(at)
                found.setdefault(key, []).append((priority, value))

    node(root, "")
    return found


def write_trie(path, entries):
    """A .bin index of pairs (key, value), children before their parents; priorities by their order."""
    entries = sorted((key.encode(), priority, value.encode())
                     for priority, (key, value) in enumerate(entries))
    data = bytearray(struct.pack(">III", 0xB007F457, 0x00020001, 0))

    def node(entries, depth):
        first, last = entries[0][0], entries[-1][0]
        # The root alone never has a prefix.
        end = len(os.path.commonprefix([first, last])) if depth else 0
        values = [entry for entry in entries if len(entry[0]) == end]
        children = {label: node(list(group), end + 1)
                    for label, group in itertools.groupby(entries[len(values):], lambda entry: entry[0][end])}
        offset = len(data)
        if end > depth:
            offset |= 0x80000000
            data.extend(first[depth:end] + b"\0")
        if children:
            offset |= 0x20000000
            labels = range(min(children), max(children) + 1)
            data.extend([labels[0], labels[-1]])
            data.extend(struct.pack(f">{len(labels)}I", *(children.get(label, 0) for label in labels)))
        if values:
            offset |= 0x40000000
            data.extend(struct.pack(">I", len(values)))
            for _, priority, value in values:
                data.extend(struct.pack(">I", priority) + value + b"\0")
        return offset

    root = node(entries, 0) if entries else len(data)
    struct.pack_into(">I", data, 8, root)
    Path(path).write_bytes(data)
