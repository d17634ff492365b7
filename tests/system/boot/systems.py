"""Whole Debian systems in qemu: systemd is process 1, and nothing of the system is a script of ours.

Owns their disk images, the archives of kernels inside of these, and the boots. An image is what debootstrap and
apt make: the distribution's kernel, the generator of its initramfs, a network, file systems of more than one
kind. A unit, last of all, runs the script of a boot, which debugfs writes to the disk before, and powers off. The
boot loader is qemu's, with what /boot holds at that time. Must not decide what is right.

While a script runs it may say `monitor: plug`, and a USB stick and a serial adapter are plugged in through qemu's
monitor.
"""
import functools
import inspect
import json
import re
import shutil
import socket
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import boot
import chroots
import disk
import fetch
import kernels
import packages
import tools

MIB = 1 << 20
# Where the partitions are, in MiB: start, size.
ESP, SWAP, HOME, ROOT = (1, 64), (65, 64), (129, 320), (449, 4600)
TABLE = f"""label: gpt
start={ESP[0]}M, size={ESP[1]}M, type=uefi
start={SWAP[0]}M, size={SWAP[1]}M, type=swap
start={HOME[0]}M, size={HOME[1]}M, type=linux
start={ROOT[0]}M, size={ROOT[1]}M, type=linux
"""
# A host name, files that do not wait for a first boot, and no unit that only takes time.
CONFIGURE = """
systemd-machine-id-setup
systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \\
    man-db.timer logrotate.timer e2scrub_reap.service 2>&1
systemctl enable boot-script.service 2>&1
mkdir -p /boot/efi /home
"""
UNIT = """[Unit]
Description=The script of this boot
After=multi-user.target

[Service]
Type=oneshot
Environment=LC_ALL=C HOME=/root DEBIAN_FRONTEND=noninteractive
ExecStart=/usr/local/sbin/boot-script
StandardOutput=tty
StandardError=tty
TTYPath=/dev/console

[Install]
WantedBy=boot-script.target
"""
TARGET = """[Unit]
Description=A boot with a script
Requires=multi-user.target
After=multi-user.target
AllowIsolate=yes
"""
RUN = f"""#!/bin/sh
cd /root
bash -e /root/script && said="{boot.DONE}" || said="boot: the script failed"
echo; echo "$said"
systemctl poweroff
"""
# The first initramfs is made where its generator sees another machine, and has most drivers; later ones would
# take minutes with these. disk.py has machines that go on so.
INSTALL = """
apt-get -qq update
apt-get -y --no-install-recommends install linux-image-{} >&2
apt-get clean
rm -rf /var/cache/apt/*.bin
{}
"""
# What makes the generator ready for a machine that it does not see, and what tells it afterwards that it does.
GENERATORS = {
    "initramfs-tools": ({"etc/initramfs-tools/conf.d/fast": "COMPRESSLEVEL=1\n",
                         "etc/initramfs-tools/conf.d/resume": "RESUME=none\n"},
                        "echo MODULES=dep > /etc/initramfs-tools/conf.d/modules"),
    "dracut": ({"etc/dracut.conf.d/here.conf": 'hostonly="no"\n'},
               "echo 'hostonly=\"yes\"' > /etc/dracut.conf.d/here.conf"),
}
NETWORKS = {
    "ifupdown": {"etc/network/interfaces.d/card": "allow-hotplug {card}\niface {card} inet dhcp\n"},
    "systemd-networkd": {"etc/systemd/network/card.network": "[Match]\nName={card}\n\n[Network]\nDHCP=yes\n"},
}
# A module that is built for each kernel, as DKMS does.
HELLO = """#include <linux/module.h>
static int __init hello_init(void) { pr_info("hello\\n"); return 0; }
static void __exit hello_exit(void) { }
module_init(hello_init);
module_exit(hello_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("hello");
"""
DKMS = """PACKAGE_NAME="hello"
PACKAGE_VERSION="1.0"
BUILT_MODULE_NAME[0]="hello"
DEST_MODULE_LOCATION[0]="/updates/dkms"
AUTOINSTALL="yes"
"""
# What DKMS' own hooks do for a kernel that comes, with what was built before, and for one that goes.
HOOKS = {
    "etc/kernel/postinst.d/dkms": """#!/bin/sh
set -e
mkdir -p "/lib/modules/$1/updates/dkms"
cp /usr/local/hello/$1/hello.ko* "/lib/modules/$1/updates/dkms"
depmod "$1"
""",
    "etc/kernel/prerm.d/dkms": """#!/bin/sh
rm -rf "/lib/modules/$1/updates"
""",
}
# What a user plugs in, for qemu's monitor.
PLUGGED = ({"driver": "usb-storage", "drive": "stick", "bus": "usb.0", "id": "plugged-stick"},
           {"driver": "usb-serial", "chardev": "serial", "bus": "usb.0", "id": "plugged-adapter", "always-plugged": True})
# Prints what is true of the running system, for disk.facts().
FACTS = r"""
dmesg -n 1  # nobody else writes to the console now, and splits a line
fact() { echo; echo "fact $*"; }
address() { ip -o -4 addr show scope global | awk '{ print $4 }'; }
for _ in $(seq 60); do [ -z "$(address)" ] || break; sleep 1; done
udevadm settle
fact kernel $(uname -r)
fact state $(systemctl list-jobs --no-legend | wc -l) $(systemctl --failed --plain --no-legend | awk '{ print $1 }')
fact unmounted $(awk '$2 ~ "^/" { print $2 }' /etc/fstab | while read at; do mountpoint -q $at || echo $at; done)
fact swap $(awk 'NR > 1 { print $1 }' /proc/swaps)
fact address $(address)
fact loaded $(cut -d ' ' -f 1 /proc/modules | sort)
fact files $(find /lib/modules/$(uname -r)/kernel -name '*.ko*' | wc -l)
"""


@dataclass(frozen=True)
class System:
    """What tells one system from another."""
    suite: str
    network: str                     # in NETWORKS
    home: str                        # the type of /home
    generator: str                   # of the initramfs, in GENERATORS
    packages: tuple                  # what the network and /home need
    remake: str                      # the command that makes the initramfs of the running kernel anew
    devices: tuple                   # qemu's: where the disk is, and the card
    card: str = "enp0s16"            # what udev calls it
    arch: str = "amd64"
    flavour: str = "amd64"
    successor: str = None            # the flavour of the next kernel, where the suite has one version of this one
    emulator: tuple = None           # qemu and its board, where that is not disk.QEMU
    console: str = "ttyS0"

    @property
    def fstab(self):
        return (f"LABEL=root / ext4 errors=remount-ro 0 1\nLABEL=ESP /boot/efi vfat umask=0077 0 1\n"
                f"LABEL=home /home {self.home} defaults 0 2\nLABEL=swap none swap sw 0 0\n")


COMMON = ("systemd-sysv", "udev", "dbus", "kmod", "zstd", "e2fsprogs", "fdisk", "dosfstools", "iproute2")
CARD = "netdev=net,addr=0x10"
SYSTEMS = {
    "Debian 12, x86-64": System(
        "bookworm", "ifupdown", "xfs", "initramfs-tools", ("xfsprogs", "ifupdown", "isc-dhcp-client"),
        "update-initramfs -u", ("-device", "virtio-blk-pci,drive=disk", "-device", f"virtio-net-pci,{CARD}")),
    "Debian 13, x86-64": System(
        "trixie", "systemd-networkd", "btrfs", "initramfs-tools", ("btrfs-progs",),
        "update-initramfs -u", ("-device", "ide-hd,drive=disk", "-device", f"e1000e,{CARD}")),
    "Debian 14, x86-64": System(
        "forky", "systemd-networkd", "ext4", "dracut", (), "dracut --force",
        ("-device", "virtio-scsi-pci", "-device", "scsi-hd,drive=disk", "-device", f"virtio-net-pci,{CARD}"),
        successor="rt-amd64"),
    # The disk is an SD card. A kernel without LPAE sees no devices above 4 GiB.
    "Debian 12, armhf": System(
        "bookworm", "ifupdown", "xfs", "initramfs-tools", ("xfsprogs", "ifupdown", "isc-dhcp-client"),
        "update-initramfs -u",
        ("-device", "sdhci-pci", "-device", "sd-card,drive=disk", "-device", f"virtio-net-pci,{CARD}"),
        arch="armhf", flavour="armmp", console="ttyAMA0",
        emulator=("qemu-system-arm", "-M", "virt,highmem=off", "-cpu", "cortex-a15", "-accel", "tcg", *boot.BARE)),
}
LIMIT = 3600  # seconds for one boot, in which apt upgrades kernels


# ------------------------------------------------------------------------- kernels

@functools.cache
def releases(system):
    """The kernels that a machine goes through, as kernels.Kernel: the one before, and the newest."""
    return [kernel(system, image) for image in images(system)]


def images(system):
    """The packages of these."""
    def of(flavour):
        # Flavours like rt-amd64 have a name that ends alike.
        return [name for name in fetch.images(system.suite, system.arch, system.flavour)
                if re.search(rf"\d(\+\w+)?-{flavour}$", name)]
    if system.successor:
        return of(system.flavour)[-1], of(system.successor)[-1]
    return of(system.flavour)[-2:]


def kernel(system, image):
    needed = [name for name in fetch.dependencies(system.suite, system.arch, image)
              if name.endswith(image.removeprefix("linux-image-"))]
    debs = fetch.debs(system.suite, system.arch, needed)
    return kernels.Kernel(image.removeprefix("linux-image-"), kernels.version_of(debs[0]), tuple(debs))


def archives(system, out):
    """Makes an archive below `out` for each of the machine's kernels: `old`, `revised`, which is that one under the
    next version, and `new`, each with the metapackages."""
    old, new = releases(system)
    next_version = f"{old.version}.1"
    # A flavour that follows has the version of the one before.
    new_version = f"{new.version}.2" if system.successor else new.version
    for folder in ("old", "revised", "new"):
        (out / folder).mkdir(parents=True)
    for deb in old.debs:
        shutil.copy(deb, out / "old")
        kernels.remade(deb, out / "revised", (old.version, next_version))
    for deb in new.debs:
        kernels.remade(deb, out / "new", (new.version, new_version))
    # The metapackages name the suite's newest kernel of the flavour.
    metas = [name for name in fetch.dependencies(system.suite, system.arch, f"linux-image-{system.flavour}")
             if re.fullmatch(f"linux-[a-z]+-{system.flavour}", name)]
    named = old if system.successor else new
    for folder, release, version in (("old", old.release, old.version), ("revised", old.release, next_version),
                                     ("new", new.release, new_version)):
        for meta in fetch.debs(system.suite, system.arch, metas):
            kernels.remade(meta, out / folder, (named.release, release), (named.version, version))
    for folder in ("old", "revised", "new"):
        packages.index(out / folder)


def built_module(system):
    """The cache's entry with hello.ko for each kernel, built by DKMS with the suite's compiler and headers."""
    names = [kernel.release for kernel in releases(system)]

    def build(directory):
        tree = directory / "tree"
        tree.mkdir()
        tools.run("tar", "-C", tree, "-xf", chroots.tarball(system.suite, system.arch))
        chroots.install(tree, system.suite, system.arch, "dkms", *(f"linux-headers-{name}" for name in names))
        source = tree / "usr/src/hello-1.0"
        source.mkdir(parents=True)
        (source / "hello.c").write_text(HELLO)
        (source / "Makefile").write_text("obj-m := hello.o\n")
        (source / "dkms.conf").write_text(DKMS)
        for name in names:
            chroots.inside(tree, f"mkdir -p /lib/modules/{name}; dkms build hello/1.0 -k {name} >&2")
            (directory / name).mkdir()
            built, = (tree / f"var/lib/dkms/hello/1.0/{name}").rglob("hello.ko*")
            shutil.copy(built, directory / name)
        shutil.rmtree(tree)
    return fetch.entry(disk.recipe(f"hello-{system.suite}-{system.arch}", names, HELLO, DKMS), build)


# ------------------------------------------------------------------------- images

def configuration(system):
    """The files that make a system of the suite's packages this one: path → text."""
    files = {"etc/fstab": system.fstab, "etc/hostname": "board\n", "etc/modules-load.d/hello.conf": "hello\n",
             "etc/systemd/system/boot-script.service": UNIT, "etc/systemd/system/boot-script.target": TARGET,
             "etc/apt/sources.list": "deb [trusted=yes] file:/repo/old ./\n",
             "etc/apt/apt.conf.d/00here": chroots.APT_CONF, **GENERATORS[system.generator][0]}
    for path, text in NETWORKS[system.network].items():
        files[path] = text.format(card=system.card)
    return files


def image(system):
    """The cache's entry with a disk on which the suite is installed with the older kernel, `stick`, and /boot."""
    names, hello, files = (*COMMON, system.generator, *system.packages), built_module(system), configuration(system)
    is_here = GENERATORS[system.generator][1]

    def build(directory):
        tree = directory / "tree"
        tree.mkdir()
        tools.run("tar", "-C", tree, "-xf", chroots.tarball(system.suite, system.arch))
        chroots.install(tree, system.suite, system.arch, *names)
        for path, text in files.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text(text)
        boot.program(tree / "usr/local/sbin/boot-script", RUN)
        shutil.copytree(hello, tree / "usr/local/hello")
        for path, text in HOOKS.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            boot.program(tree / path, text)
        archives(system, tree / "repo")
        chroots.inside(tree, CONFIGURE)
        if system.network == "systemd-networkd":
            chroots.inside(tree, "systemctl enable systemd-networkd 2>&1")
        chroots.inside(tree, INSTALL.format(system.flavour, is_here))
        pack(system, tree, directory)
        shutil.rmtree(tree)
    kernel_versions = [kernel.version for kernel in releases(system)]
    archived = inspect.getsource(archives)
    parts = (system, archived, names, files, hello.name, kernel_versions, TABLE, CONFIGURE, RUN, HOOKS, INSTALL, is_here)
    return fetch.entry(disk.recipe(f"systemd-{system.suite}-{system.arch}", *parts), build)


def pack(system, tree, directory):
    """Makes the disk of a tree, whose own programs make what is not ext4."""
    work = tree / "work"
    work.mkdir()
    for name, (_, size) in {"esp": ESP, "swap": SWAP, "home": HOME, "stick": (0, 32)}.items():
        sparse(work / name, size)
    # An SD card's size is a power of two.
    sparse(work / "disk", 1 << (ROOT[0] + ROOT[1]).bit_length())
    (work / "table").write_text(TABLE)
    chroots.inside(tree, f"cd /work; sfdisk -q disk < table; mkfs.vfat -n ESP esp; mkfs.vfat -n STICK stick; "
                         f"mkswap -L swap swap; mkfs.{system.home} -q -L home home")
    for name in ("disk", "stick"):
        (work / name).rename(directory / name)
    for name, (start, _) in {"esp": ESP, "swap": SWAP, "home": HOME}.items():
        tools.run("dd", f"if={work / name}", f"of={directory / 'disk'}", "bs=1M", f"seek={start}", "conv=notrunc,sparse")
    shutil.rmtree(work)
    tools.run("/sbin/mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", tree, "-E", f"offset={ROOT[0] * MIB}",
              directory / "disk", f"{ROOT[1]}M")


def sparse(path, size):
    with open(path, "wb") as file:
        file.truncate(size * MIB)


def package(arch):
    """limopack's own package, as `make deb` has made it."""
    found = list((fetch.TOP / "target/deb").glob(f"limopack_*_{arch}.deb"))
    assert len(found) == 1, f"one package for {arch} in target/deb expected, found {found}: make deb ARCH={arch}"
    return found[0]


# ------------------------------------------------------------------------ machines

class Machine:
    """A system's disk in a directory of its own."""

    def __init__(self, system, place):
        self.system, self.place, self.seconds = system, Path(place), {}
        tools.run("cp", "-a", "--sparse=always", "--reflink=auto", f"{image(system)}/.", place)
        self._debugfs(f"write {package(system.arch)} root/limopack.deb")

    def boot(self, name, release, script):
        """Boots a kernel and runs `script`; the console's text."""
        self._write_script(script)
        top = self._read_boot()
        # The path of a socket has to be short.
        monitor = tempfile.mktemp(prefix="qmp-")
        log = self.place / f"{name}.log"
        log.write_bytes(b"")
        over = threading.Event()
        plugged = threading.Thread(target=watch, args=(log, monitor, over))
        devices = ("-drive", f"if=none,id=disk,format=raw,cache=unsafe,file={self.place}/disk",
                   *self.system.devices, "-netdev", "user,id=net,restrict=on", "-device", "qemu-xhci,id=usb,addr=0x11",
                   "-drive", f"if=none,id=stick,format=raw,file={self.place}/stick",
                   "-chardev", "null,id=serial",
                   "-qmp", f"unix:{monitor},server=on,wait=off", "-m", "1024")
        started = time.monotonic()
        try:
            plugged.start()
            return disk.qemu(top / f"vmlinuz-{release}", top / f"initrd.img-{release}",
                             f"console={self.system.console} root=LABEL=root ro quiet systemd.show_status=no "
                             "systemd.unit=boot-script.target", devices, log, LIMIT, self.system.emulator)
        finally:
            self.seconds[name] = time.monotonic() - started
            over.set()
            plugged.join()
            Path(monitor).unlink(missing_ok=True)

    def _debugfs(self, *commands):
        for command in commands:
            done = tools.run("/sbin/debugfs", "-w", "-R", command, f"{self.place}/disk?offset={ROOT[0] * MIB}")
            bad = [line for line in done.stderr.splitlines() if not line.startswith("debugfs ")]
            assert not bad or command.startswith("rm "), f"{command}: {done.stderr}"

    def _write_script(self, script):
        text = self.place / "script"
        text.write_text(script)
        self._debugfs("rm root/script", f"write {text} root/script")

    def _read_boot(self):
        """The directory with a copy of /boot as it is now."""
        out = self.place / "now"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        tools.run("/sbin/debugfs", "-R", f"rdump /boot {out}", f"{self.place}/disk?offset={ROOT[0] * MIB}")
        return out / "boot"


def watch(log, monitor, over):
    """Plugs what is PLUGGED in once the console asks for it; ends when the boot is over."""
    while b"monitor: plug" not in log.read_bytes():
        if over.wait(1):
            return
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(monitor)
        with client.makefile("rw") as stream:
            stream.readline()  # the greeting
            for command, arguments in (("qmp_capabilities", {}), *(("device_add", device) for device in PLUGGED)):
                stream.write(json.dumps({"execute": command, "arguments": arguments}))
                stream.flush()
                while not {"return", "error"} & json.loads(said := stream.readline()).keys():
                    pass
                assert "error" not in json.loads(said), said
