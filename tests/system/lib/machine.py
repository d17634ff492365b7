"""A realistic machine: 185 loaded modules of a Debian kernel, and their /proc/modules.

Owns the choice of the modules, which is the same in every run; tests use it as
the loaded set and as the keep set. It is closed: what the 185 need is in it.
"""
import model

COUNT = 185
SEEDS = """
    ext4 vfat nls_ascii nls_cp437 efivarfs dm_crypt dm_mod md_mod raid1 btrfs fuse overlay loop
    ahci nvme sd_mod sr_mod usb_storage uas xhci_pci ehci_pci usbhid hid_generic
    e1000e r8169 igb iwlmvm mac80211 cfg80211 rfkill bridge bonding 8021q tun veth
    nf_tables nft_ct nft_masq nft_reject_inet nft_compat xt_MASQUERADE xt_conntrack ip_tables wireguard
    i915 amdgpu drm snd_hda_intel snd_hda_codec_realtek snd_hda_codec_hdmi snd_usb_audio
    btusb bluetooth uvcvideo kvm_intel vhost_net virtio_net virtio_blk
    intel_rapl_msr intel_powerclamp coretemp iTCO_wdt i2c_i801 mei_me lpc_ich
    aesni_intel ghash_clmulni_intel crc32_pclmul crct10dif_pclmul
    joydev evdev pcspkr serio_raw battery ac button thermal fan wmi sunrpc binfmt_misc
""".split()


def loaded(index):
    """The names of the machine's modules, dependencies before their users."""
    chosen = set(index.asked_by_builtin)
    # Seeds first; then modules that need nothing fill up to the exact count.
    for seed in SEEDS + sorted(m for m in index.path if index.needs([m]) == {m}):
        grown = chosen | (index.needs([seed]) if seed in index.path else set())
        if len(grown) <= COUNT:
            chosen = grown
    assert len(chosen) == COUNT and index.needs(chosen) == chosen
    return sorted(chosen, key=lambda module: (len(index.hard([module])), module))


def proc_modules(index):
    """/proc/modules as the kernel prints it: the module loaded last comes first."""
    names, text = loaded(index), []
    for at, module in enumerate(reversed(names)):
        users = [user for user in names if module in index.dep[user]]
        size = (index.vdir / index.path[module]).stat().st_size // 4096 * 4096 + 16384
        used_by = ",".join(users) + "," if users else "-"
        if module == "dm_crypt":
            used_by = used_by.replace("-", "") + "[permanent],"
        address = 0xFFFFFFFFC0000000 + at * 0x21000
        taint = " (E)" if module == "wireguard" else ""
        text.append(f"{module} {size} {len(users)} {used_by} Live 0x{address:016x}{taint}\n")
    return "".join(text)
