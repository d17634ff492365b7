#!/bin/sh
# Builds a root with one kernel as Debian lays it out, small enough to read and large enough to
# prune: real module names, paths and dependencies of Linux 6.1, files of plausible sizes without
# content, and the package database that goes with them. Needs nothing but a POSIX shell.
set -eu

root=$1
version=6.1.0-sample
kernel=$root/lib/modules/$version

rm -rf "$root"
mkdir -p "$kernel" "$root/proc"

cat > "$kernel/modules.dep" <<'END'
kernel/arch/x86/crypto/crc32c-intel.ko:
kernel/crypto/crc32c_generic.ko:
kernel/crypto/xor.ko:
kernel/drivers/ata/ahci.ko: kernel/drivers/ata/libahci.ko kernel/drivers/ata/libata.ko kernel/drivers/scsi/scsi_mod.ko kernel/drivers/scsi/scsi_common.ko
kernel/drivers/ata/libahci.ko: kernel/drivers/ata/libata.ko kernel/drivers/scsi/scsi_mod.ko kernel/drivers/scsi/scsi_common.ko
kernel/drivers/ata/libata.ko: kernel/drivers/scsi/scsi_mod.ko kernel/drivers/scsi/scsi_common.ko
kernel/drivers/bluetooth/btbcm.ko: kernel/net/bluetooth/bluetooth.ko kernel/net/rfkill/rfkill.ko kernel/crypto/ecdh_generic.ko kernel/crypto/ecc.ko
kernel/drivers/bluetooth/hci_nokia.ko: kernel/drivers/bluetooth/hci_uart.ko kernel/drivers/bluetooth/btbcm.ko kernel/net/bluetooth/bluetooth.ko kernel/net/rfkill/rfkill.ko kernel/crypto/ecdh_generic.ko kernel/crypto/ecc.ko
kernel/drivers/bluetooth/hci_uart.ko: kernel/drivers/bluetooth/btbcm.ko kernel/net/bluetooth/bluetooth.ko kernel/net/rfkill/rfkill.ko kernel/crypto/ecdh_generic.ko kernel/crypto/ecc.ko
kernel/crypto/ecc.ko:
kernel/crypto/ecdh_generic.ko: kernel/crypto/ecc.ko
kernel/drivers/net/ethernet/intel/e1000e/e1000e.ko: kernel/drivers/ptp/ptp.ko kernel/drivers/pps/pps_core.ko
kernel/drivers/net/usb/usbnet.ko: kernel/drivers/net/mii.ko kernel/drivers/usb/core/usbcore.ko kernel/drivers/usb/common/usb-common.ko
kernel/drivers/net/usb/asix.ko: kernel/drivers/net/usb/usbnet.ko kernel/drivers/net/mii.ko kernel/drivers/usb/core/usbcore.ko kernel/drivers/usb/common/usb-common.ko
kernel/drivers/net/mii.ko:
kernel/drivers/pps/pps_core.ko:
kernel/drivers/ptp/ptp.ko: kernel/drivers/pps/pps_core.ko
kernel/drivers/scsi/scsi_common.ko:
kernel/drivers/scsi/scsi_mod.ko: kernel/drivers/scsi/scsi_common.ko
kernel/drivers/scsi/sd_mod.ko: kernel/drivers/scsi/scsi_mod.ko kernel/drivers/scsi/scsi_common.ko
kernel/drivers/usb/common/usb-common.ko:
kernel/drivers/usb/core/usbcore.ko: kernel/drivers/usb/common/usb-common.ko
kernel/drivers/usb/host/xhci-hcd.ko: kernel/drivers/usb/core/usbcore.ko kernel/drivers/usb/common/usb-common.ko
kernel/drivers/usb/host/xhci-pci.ko: kernel/drivers/usb/host/xhci-hcd.ko kernel/drivers/usb/core/usbcore.ko kernel/drivers/usb/common/usb-common.ko
kernel/drivers/usb/serial/ftdi_sio.ko: kernel/drivers/usb/serial/usbserial.ko kernel/drivers/usb/core/usbcore.ko kernel/drivers/usb/common/usb-common.ko
kernel/drivers/usb/serial/usbserial.ko: kernel/drivers/usb/core/usbcore.ko kernel/drivers/usb/common/usb-common.ko
kernel/fs/btrfs/btrfs.ko: kernel/crypto/xor.ko kernel/lib/raid6/raid6_pq.ko kernel/lib/libcrc32c.ko
kernel/fs/ext4/ext4.ko: kernel/lib/crc16.ko kernel/fs/mbcache.ko kernel/fs/jbd2/jbd2.ko
kernel/fs/jbd2/jbd2.ko:
kernel/fs/mbcache.ko:
kernel/fs/fat/fat.ko:
kernel/fs/fat/vfat.ko: kernel/fs/fat/fat.ko
kernel/fs/nls/nls_ascii.ko:
kernel/fs/nls/nls_cp437.ko:
kernel/lib/crc16.ko:
kernel/lib/libcrc32c.ko:
kernel/lib/raid6/raid6_pq.ko:
kernel/net/bluetooth/bluetooth.ko: kernel/net/rfkill/rfkill.ko kernel/crypto/ecdh_generic.ko kernel/crypto/ecc.ko
kernel/net/rfkill/rfkill.ko:
kernel/sound/core/snd-pcm.ko: kernel/sound/core/snd-timer.ko kernel/sound/core/snd.ko kernel/sound/soundcore.ko
kernel/sound/core/snd-timer.ko: kernel/sound/core/snd.ko kernel/sound/soundcore.ko
kernel/sound/core/snd.ko: kernel/sound/soundcore.ko
kernel/sound/soundcore.ko:
kernel/sound/usb/snd-usb-audio.ko: kernel/sound/core/snd-pcm.ko kernel/sound/core/snd-timer.ko kernel/sound/core/snd.ko kernel/sound/soundcore.ko kernel/drivers/usb/core/usbcore.ko kernel/drivers/usb/common/usb-common.ko
END

cat > "$kernel/modules.builtin" <<'END'
kernel/drivers/tty/serial/8250/8250.ko
kernel/fs/fscache/netfs.ko
kernel/net/ipv4/tcp_cubic.ko
END

cat > "$kernel/modules.alias" <<'END'
# Aliases extracted from modules themselves.
alias crc32c crc32c_intel
alias crypto-crc32c crc32c_intel
alias cpu:type:x86,ven*fam*mod*:feature:*0094* crc32c_intel
alias crypto-crc32c crc32c_generic
alias pci:v*d*sv*sd*bc01sc06i01* ahci
alias pci:v00008086d000010D3sv*sd*bc*sc*i* e1000e
alias usb:v0B95p7720d*dc*dsc*dp*ic*isc*ip*in* asix
alias scsi:t-0x00* sd_mod
alias pci:v*d*sv*sd*bc0Csc03i30* xhci_pci
alias usb:v0403p6001d*dc*dsc*dp*ic*isc*ip*in* ftdi_sio
alias fs-btrfs btrfs
alias fs-ext4 ext4
alias fs-vfat vfat
alias usb:v*p*d*dc*dsc*dp*ic01isc01ip*in* snd_usb_audio
END

cat > "$kernel/modules.symbols" <<'END'
# Aliases for symbols, used by symbol_request().
alias symbol:jbd2_journal_init_inode jbd2
alias symbol:usb_register_driver usbcore
alias symbol:rfkill_alloc rfkill
END

cat > "$kernel/modules.softdep" <<'END'
# Soft dependencies extracted from modules themselves.
softdep btrfs pre: crypto-crc32c
softdep libcrc32c pre: crc32c
END

echo 'btrfs btrfs-control c10:234' > "$kernel/modules.devname"

size=20000
while IFS=: read -r path _; do
    mkdir -p "$kernel/${path%/*}"
    size=$(((size * 7 + 4099) % 190000 + 8000))
    dd if=/dev/zero of="$kernel/$path" bs="$size" count=1 2>/dev/null
    echo "$path"
done < "$kernel/modules.dep" > "$kernel/modules.order"

# What a small machine has loaded: a disk with ext4, a network card, a keyboard on USB.
cat > "$root/proc/modules" <<'END'
ext4 970752 1 - Live 0xffffffffc0a10000
crc16 16384 1 ext4, Live 0xffffffffc0550000
mbcache 16384 1 ext4, Live 0xffffffffc0541000
jbd2 167936 1 ext4, Live 0xffffffffc09e0000
crc32c_intel 24576 2 - Live 0xffffffffc0539000
sd_mod 65536 2 - Live 0xffffffffc0520000
ahci 49152 1 - Live 0xffffffffc0500000
libahci 49152 1 ahci, Live 0xffffffffc04f0000
libata 401408 2 ahci,libahci, Live 0xffffffffc0480000
scsi_mod 286720 2 sd_mod,libata, Live 0xffffffffc0430000
scsi_common 16384 2 libata,scsi_mod, Live 0xffffffffc0420000
e1000e 315392 0 - Live 0xffffffffc03c0000
ptp 36864 1 e1000e, Live 0xffffffffc03b0000
pps_core 24576 1 ptp, Live 0xffffffffc03a0000
xhci_pci 24576 0 - Live 0xffffffffc0390000
xhci_hcd 319488 1 xhci_pci, Live 0xffffffffc0340000
usbcore 348160 2 xhci_pci,xhci_hcd, Live 0xffffffffc02d0000
usb_common 16384 2 xhci_hcd,usbcore, Live 0xffffffffc02c0000
END

# A modules package of its own, as Debian has it since 14, on which the kernel's package depends.
dpkg=$root/var/lib/dpkg
mkdir -p "$dpkg/info" "$dpkg/updates"

package() {
    name=$1 release=$2 text=$3
    shift 3
    printf 'Package: %s\nStatus: install ok installed\nPriority: optional\nSection: kernel\n' "$name"
    printf 'Maintainer: Sample <sample@localhost>\nArchitecture: amd64\nVersion: %s\n' "$release"
    for field in "$@"; do
        printf '%s\n' "$field"
    done
    printf 'Description: %s\n\n' "$text"
    : > "$dpkg/info/$name.md5sums"
    : > "$dpkg/info/$name.list"
}

{
    package kmod 30+20221128-1 'tools for managing Linux kernel modules'
    package "linux-image-$version" 6.1.1-1 'Linux 6.1' \
        "Depends: kmod, linux-modules-$version (= 6.1.1-1)"
    package "linux-modules-$version" 6.1.1-1 'modules of Linux 6.1' 'Depends: kmod'
} > "$dpkg/status"
sed "s|^|/lib/modules/$version/|" "$kernel/modules.order" > "$dpkg/info/linux-modules-$version.list"
