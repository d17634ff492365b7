"""Groups, tried: what each is for does not work while all else is parked, and works once it is registered.

Owns the proof of cross/package/groups.d. One machine boots Debian's kernel with all the hardware that qemu has
for them, keeps what it boots from, and parks the rest. Then it does for each group what a user would.
Where qemu has no hardware, the kernel is asked by the names that hardware or sockets would ask by.
"""
import shutil
import tempfile

import pytest

import boot
import fetch
import tools

GROUPS = fetch.TOP / "cross/package/groups.d"
PACKAGES = ["nftables", "iptables", "iproute2", "cryptsetup-bin", "dmsetup", "mdadm"]
MACHINE = boot.Machine("Debian 12, amd64 (qemu q35)", "bookworm", "x86_64-unknown-linux-musl",
                       ("qemu-system-x86_64", "-M", "q35", "-m", "1024"), "pci",
                       ("virtio_pci", "virtio_blk"), "ttyS0", 600)
# The machine's own: its disk and network, and what its sockets and slots are connected to.
BASE = "ext4,virtio_pci,virtio_blk,virtio_net,xhci_pci,ahci,mmc_core"
MIB = 1 << 20
# Shell for each group, in this order: what is true if it works.
TRIALS = {
    "usb-input": 'hardware && seen "QEMU USB Keyboard" /proc/bus/input/devices && loaded usbhid && loaded evdev',
    "usb-storage": 'hardware && file_system vfat $(ls /dev/sd? | head -n 1)',
    "usb-net": 'hardware && ls -d /sys/class/net/usb* || ls -d /sys/class/net/enx* || driver cdc_ether',
    "usb-serial": 'hardware && test -c /dev/ttyUSB0',
    "sd-card": 'hardware && modprobe mmc:block && sleep 1 && file_system vfat /dev/mmcblk0',
    "optical": 'hardware && test -b /dev/sr0 && ! mount -t iso9660 /dev/sr0 /mnt && loaded isofs',
    "sound-usb": 'hardware && grep -i usb /proc/asound/cards',
    "can": 'hardware && driver kvaser_pci && ip link add vcan0 type vcan && ip link set vcan0 up && modprobe can-proto-1',
    # The class of all USB adapters, and the protocols of a socket.
    "bluetooth": 'modprobe usb:v0A5Cp2198d0001dcE0dsc01dp01icE0isc01ip01in00 && modprobe net-pf-31'
                 ' && modprobe bt-proto-3 && modprobe bt-proto-4 && modprobe bt-proto-6',
    "nft-nat": 'nft -f /scripts/router.nft && nft list ruleset | grep masquerade',
    "iptables": 'tables iptables-legacy && tables ip6tables-legacy && tables iptables-nft && tables ip6tables-nft',
    "containers": 'overlay && ip link add br0 type bridge && ip link add in0 type veth peer name out0'
                  ' && ip link set out0 master br0 && ip link add vx0 type vxlan id 7 dstport 4789'
                  ' && ip link add mac0 link in0 type macvlan && ip link add vlan7 link in0 type vlan id 7',
    "vpn": 'ip link add wg0 type wireguard && modprobe tun && ip tuntap add dev tun0 mode tun && esp && ip link add xfrm0 type xfrm if_id 1',
    "luks": 'luks /dev/vdb',
    "raid": 'array 1 2 /dev/vdb /dev/vdc && array 0 2 /dev/vdb /dev/vdc && array 10 2 /dev/vdb /dev/vdc'
            ' && array 5 3 /dev/vdb /dev/vdc missing',
    "lvm": 'mapped mirror "core 1 1024 2 /dev/vdb 0 /dev/vdb 8192"'
           ' && mapped snapshot-origin /dev/vdb && mapped thin-pool "/dev/vdb /dev/vdc 128 0"'
           ' && mapped raid "raid1 1 0 2 - /dev/vdb - /dev/vdc"',
    "nfs-client": '! mount -t nfs4 -o addr=127.0.0.1,clientaddr=127.0.0.1 127.0.0.1:/ /mnt && seen nfs4 /proc/filesystems'
                  ' && loaded nfsv4 && modprobe rpc-auth-6',
    "cifs": '! mount -t cifs -o ip=127.0.0.1,user=a,pass=b //127.0.0.1/x /mnt && seen cifs /proc/filesystems',
}
ROUTER = """
table inet filter {
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        fib saddr . iif oif missing drop
        limit rate 10/second log prefix "drop: " counter
        meta nfproto ipv4 reject with icmp port-unreachable
        reject
    }
}
table ip nat {
    chain in { type nat hook prerouting priority dstnat; tcp dport 80 dnat to 10.0.0.2; tcp dport 81 redirect to :82; }
    chain out { type nat hook postrouting priority srcnat; masquerade; }
}
"""
SCRIPT = """
exec 2>&1
out=/results/$script
# busybox' shell prefers its own.
ip() { /usr/bin/ip "$@"; }
modprobe() { /sbin/modprobe "$@"; }
loaded() { grep -q "^$1 " /proc/modules; }
seen() { grep -q "$1" $2; }
driver() { ls -d /sys/bus/*/drivers/$1/*:*; }
hardware() {
    find /sys/devices -name modalias -exec cat {} + | sort -u | xargs /sbin/modprobe -a -b -q || true
    sleep 1
}
file_system() { mkdosfs $2 && mount -t $1 $2 /mnt && echo long > "/mnt/a long name" && umount /mnt; }
overlay() {
    cd /tmp; mkdir -p lower upper work merged
    mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work none merged
}
tables() {
    $1 -t filter -A FORWARD -p tcp -m multiport --dports 1,2 -m conntrack --ctstate NEW -m comment --comment x -j REJECT &&
    $1 -t filter -A FORWARD -m limit -j LOG && $1 -t filter -A INPUT -m addrtype --dst-type LOCAL -j ACCEPT &&
    $1 -t nat -A POSTROUTING -j MASQUERADE && $1 -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
}
esp() {
    ip xfrm state add src 10.0.0.1 dst 10.0.0.2 proto esp spi 7 mode tunnel aead 'rfc4106(gcm(aes))' \
        0x0102030405060708090a0b0c0d0e0f1011121314 128
}
luks() {
    echo secret | cryptsetup luksFormat -q --pbkdf pbkdf2 --pbkdf-force-iterations 1000 $1 - &&
    echo secret | cryptsetup open --key-file - $1 crypt && test -b /dev/mapper/crypt && cryptsetup close crypt
}
mapped() { dd if=/dev/zero of=/dev/vdb bs=64k count=1; echo "0 4096 $@" | dmsetup create t && dmsetup remove t; }
array() {
    level=$1 count=$2; shift 2
    mdadm --create /dev/md0 --run --force --assume-clean --level=$level --raid-devices=$count "$@" < /dev/null &&
    mdadm --stop /dev/md0 && mdadm --zero-superblock /dev/vdb /dev/vdc
}

mkdir -p /mnt /run
export DM_DISABLE_UDEV=1
modprobe -a xhci_pci ahci
limopack --install --static --use=%(base)s
echo '#! base' >> /lib/modules/$(uname -r)/modules.active
limopack --prune --park
cat /scripts/trials | while IFS='	' read -r group what; do
    if (eval "$what"); then echo "works without: $group" >> $out/report; fi
    limopack --install --use=@$group --owner=$group
    if (eval "$what"); then echo "works: $group" >> $out/report; else echo "fails: $group" >> $out/report; fi
    find /lib/modules/*/kernel -name '*.ko*' | wc -l
done
"""


@pytest.fixture
def place(scratch):
    path = tempfile.mkdtemp(prefix="groups-", dir=scratch)
    yield path
    shutil.rmtree(path)


def prepare(root):
    for package in PACKAGES:
        # In the place of busybox's links.
        tools.run("cp", "-a", "--remove-destination", f"{fetch.with_dependencies('bookworm', 'amd64', package)}/.", root)
    shutil.copytree(GROUPS, root / "usr/lib/limopack/groups.d")
    (root / "scripts/router.nft").write_text(ROUTER)
    (root / "scripts/trials").write_text("".join(f"{group}\t{what}\n" for group, what in TRIALS.items()))


def disk(place, name, size=64 * MIB):
    """qemu's arguments for the host's part of a disk."""
    with open(f"{place}/{name}", "wb") as file:
        file.truncate(size)
    return ("-drive", f"if=none,id={name},format=raw,file={place}/{name}")


def hardware(place):
    """A device of each kind, as qemu's arguments."""
    virtio = [word for name in ("more0", "more1") for word in
              (*disk(place, name), "-device", f"virtio-blk-pci,drive={name}")]
    return (*virtio, "-device", "qemu-xhci", "-device", "usb-kbd",
            *disk(place, "stick"), "-device", "usb-storage,drive=stick",
            "-netdev", "user,id=net", "-device", "usb-net,netdev=net",
            "-chardev", "null,id=serial", "-device", "usb-serial,chardev=serial,always-plugged=on",
            "-audiodev", "none,id=sound", "-device", "usb-audio,audiodev=sound",
            "-device", "sdhci-pci", *disk(place, "card"), "-device", "sd-card,drive=card",
            *disk(place, "cd", MIB), "-device", "ide-cd,drive=cd",
            "-object", "can-bus,id=can", "-device", "kvaser_pci,canbus=can")


def test_every_group_is_tried():
    assert {file.stem for file in GROUPS.glob("*.conf")} == TRIALS.keys()


def test_what_a_group_is_for_works_once_it_is_registered(place, pristine, capsys):
    installed = boot.Installed(MACHINE, pristine("bookworm"), place, {"groups": SCRIPT % {"base": BASE}}, prepare=prepare)
    console = installed.boot("groups", hardware(place))
    report = installed.results("groups")["report"].splitlines()
    with capsys.disabled():
        print(f"\n{len(TRIALS)} groups tried, boot: {installed.seconds['groups']:.0f} s")
    assert report == [f"works: {group}" for group in TRIALS], f"{report}\n{console}"


def test_every_name_is_one_of_a_kernel(pristine, index_of):
    """The names of older kernels, of which Debian has none any more."""
    older = {"nft_counter"}
    known = {name for kernel in fetch.KERNELS for name in {*index_of(kernel).path, *index_of(kernel).builtin}}
    for file in GROUPS.glob("*.conf"):
        names = {line.replace("-", "_") for line in file.read_text().splitlines() if line[0] not in "#@"}
        assert names <= known | older, f"{file.name}: {names - known}"
