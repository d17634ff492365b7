"""Whole Debian machines in qemu that boot from disks, each with two kernels installed.

Owns the disks, the systems on them, and the emulator. A machine is a few lines in CASES: its
hardware, the shell commands that make its root file system, what its configuration says. Its
installer is a boot as well: the same system from another disk, which partitions, formats and
copies itself, so that device mapper, MD and the like are needed in the machine only. Systems are
Debian's, with its udev, kmod and initramfs-tools; only process 1 is a script, which starts udev,
mounts fstab and runs a script of the boot. Must not decide what is right.

That script reaches the machine in a second archive appended to the initramfs, and waits in /dev
until the root is mounted. A disk, a share or a serial device would load drivers, which a machine
that registers its loaded modules would then keep.
"""
import functools
import hashlib
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import boot
import chroots
import fetch
import tools
import trees

SUITE, ARCH = "bookworm", "amd64"
PACKAGES = ("initramfs-tools", "zstd", "busybox", "e2fsprogs", "fdisk", "dosfstools",
            "systemd-standalone-tmpfiles")
MIB = 1 << 20
DISK_SIZE = 1200 * MIB
# What makes systems small. No machine here has the hardware of these drivers.
UNUSED = """usr/share/doc usr/share/man usr/share/locale usr/share/info usr/share/zoneinfo
            usr/share/perl usr/lib/x86_64-linux-gnu/perl var/cache var/lib/apt/lists""".split()
UNUSED_DRIVERS = """sound drivers/gpu drivers/media drivers/infiniband drivers/staging drivers/iio
                    drivers/net/wireless""".split()
# With a second processor, an emulated machine spends more on keeping both in step than it gains.
QEMU = ("qemu-system-x86_64", "-M", "q35", "-m", "768", *boot.BARE)
# Emulation is ten times as fast if a program's code is at the same addresses whenever it runs, and
# if a system call switches no page tables. None of this says which modules are loaded.
COMMAND_LINE = "console=ttyS0 panic=-1 norandmaps nokaslr mitigations=off init_on_alloc=0"
# Seconds for one boot. The initramfs itself gives up after 30 s without a root.
LIMIT = 600

# While the scripts run, the kernel prints no message that could split one of their lines.
INIT = f"""#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C HOME=/root
dmesg -n 1
/lib/systemd/systemd-udevd --daemon
udevadm trigger --action=add --type=subsystems
udevadm trigger --action=add --type=devices
udevadm settle
mount -o remount,rw /
mount -a
swapon -a
cd /root
sh -e /dev/payload/script && said="{boot.DONE}" || said="boot: the script failed"
cd /; udevadm control --exit; swapoff -a; umount -a -t noproc,nosysfs,nodevtmpfs,notmpfs,nodevpts
mount -o remount,ro / || said="boot: / is still written to"
echo "$said"; busybox poweroff -f
"""
# initramfs-tools reads it as configuration when /dev is mounted; /dev moves to the root later.
CONF = "cp -r /payload /dev/payload\n"

INSTALL = """
disk() { readlink -f "$(ls -d /dev/disk/by-id/*disk$1 | head -n 1)"; }
part() { case $(disk $1) in *[0-9]) echo $(disk $1)p$2;; *) echo $(disk $1)$2;; esac; }
gpt() { sfdisk -q --wipe always $(disk $1); udevadm settle; }
new=/dev/payload/files
mkdir /target
%(make)s
cp -ax /. /target
cp -r $new/. /target
%(configure)s
%(remake)s
umount -R /target
sync
"""
REMAKE = """
for place in dev proc sys run; do mount --rbind /$place /target/$place; done
chroot /target update-initramfs -u -k all
for place in dev proc sys run; do umount -R -l /target/$place; done
"""
# Prints facts, which facts() reads.
PROVE = r"""
fact() { echo; echo "fact $*"; }
fact kernel $(uname -r)
fact root $(findmnt -n -o SOURCE,FSTYPE,OPTIONS /)
date +%N > /root/now; cp /root/now /dev/now; sync; echo 3 > /proc/sys/vm/drop_caches
fact written $(cmp -s /root/now /dev/now && echo yes || echo no)
fact unmounted $(awk '$2 ~ "^/" { print $2 }' /etc/fstab | while read at; do
    mountpoint -q $at || echo $at; done)
fact swap $(awk 'NR > 1 { print $1 }' /proc/swaps)
fact cards $(for card in /sys/class/net/*/device/driver; do basename $(readlink $card); done)
fact loaded $(cut -d ' ' -f 1 /proc/modules | sort)
"""


@dataclass(frozen=True)
class Case:
    """A machine, and how it has its root file system."""
    make: str                            # shell, in the installer: mounts the new root on /target
    mounted: str                         # expression for the source and the type of what / is then
    fstab: str
    root: str = "LABEL=root"             # for the kernel's command line
    disks: tuple = ("virtio-blk-pci",)   # qemu's device for each disk
    hardware: tuple = ()                 # more of qemu's arguments, before the disks
    card: str = "virtio-net-pci"
    packages: tuple = ()                 # beyond PACKAGES
    kernels: tuple = ("cloud", "bookworm")  # in fetch.KERNELS; the first one runs limopack
    modules: str = "most"                # of initramfs-tools
    files: dict = field(default_factory=dict)  # path → text, more configuration
    configure: str = ""                  # shell, in the installer, after the copy
    boot: tuple = (0, "/boot")           # where an ext4 begins on the first disk, and /boot in it

    @property
    def remake(self):
        """Whether the installer's initramfs images do not suit the new system."""
        return self.modules != "most" or "etc/crypttab" in self.files


CASES = {
    "virtio": Case(
        mounted="/dev/vda ext4", fstab="LABEL=root / ext4 errors=remount-ro 0 1",
        make="mkfs.ext4 -q -L root $(disk 0); mount $(disk 0) /target"),
    # No virtio at all: the card is one that the cloud kernel has a driver for, too.
    "nvme": Case(
        disks=("nvme",), card="vmxnet3", boot=(100 * MIB, "/boot"), mounted="/dev/nvme0n1p2 ext4",
        fstab="""
            LABEL=root / ext4 errors=remount-ro 0 1
            LABEL=ESP /boot/efi vfat umask=0077 0 1""",
        make="""
            printf 'label: gpt\\nsize=99M, type=uefi\\nstart=100M, type=linux\\n' | gpt 0
            mkfs.vfat -n ESP $(part 0 1) > /dev/null
            mkfs.ext4 -q -L root $(part 0 2)
            mount $(part 0 2) /target; mkdir -p /target/boot/efi"""),
    "lvm in luks": Case(
        packages=("cryptsetup-initramfs", "lvm2"), modules="dep", boot=(MIB, "/"),
        root="/dev/mapper/vg-root", mounted="/dev/mapper/vg-root ext4",
        fstab="""
            /dev/mapper/vg-root / ext4 errors=remount-ro 0 1
            LABEL=boot /boot ext4 defaults 0 2
            /dev/mapper/vg-swap none swap sw 0 0""",
        files={
            "etc/crypttab": "crypt UUID=6c696d6f-7061-636b-0000-000000000001 "
                            "/etc/keys/root.key luks,initramfs\n",
            "etc/keys/root.key": "not a secret\n",
            "etc/cryptsetup-initramfs/conf-hook": "KEYFILE_PATTERN=/etc/keys/*.key\n",
            "etc/initramfs-tools/conf.d/resume": "RESUME=/dev/mapper/vg-swap\n"},
        make="""
            printf 'label: gpt\\nsize=199M, type=linux\\ntype=linux\\n' | gpt 0
            mkfs.ext4 -q -L boot $(part 0 1)
            key=$new/etc/keys/root.key
            cryptsetup luksFormat -q --pbkdf pbkdf2 --pbkdf-force-iterations 1000 \\
                --uuid 6c696d6f-7061-636b-0000-000000000001 $(part 0 2) $key
            cryptsetup open --key-file $key $(part 0 2) crypt
            vgcreate -q vg /dev/mapper/crypt
            lvcreate -q -n swap -L 64M vg
            lvcreate -q -n root -l 100%FREE vg
            mkswap -q /dev/vg/swap
            mkfs.ext4 -q -L root /dev/vg/root
            mount /dev/vg/root /target
            mkdir /target/boot; mount $(part 0 1) /target/boot""",
        configure="chmod -R go= /target/etc/keys"),
    # Version 1.0 has its superblock at the end, so that each disk begins as the ext4 does.
    "raid1": Case(
        packages=("mdadm",), disks=("virtio-blk-pci", "virtio-blk-pci"),
        mounted=r"/dev/md\d+ ext4", fstab="LABEL=root / ext4 errors=remount-ro 0 1",
        make="""
            mdadm --create /dev/md0 --level=1 --raid-devices=2 --metadata=1.0 --assume-clean \\
                --run --homehost=any $(disk 0) $(disk 1)
            mkfs.ext4 -q -L root /dev/md0
            mount /dev/md0 /target""",
        configure="mdadm --detail --scan >> /target/etc/mdadm/mdadm.conf"),
    "btrfs": Case(
        packages=("btrfs-progs",), disks=("scsi-hd", "scsi-hd"), boot=(MIB, "/"),
        hardware=("-device", "virtio-scsi-pci"), mounted="/dev/sd[ab]2? btrfs",
        fstab="""
            LABEL=root / btrfs defaults 0 0
            LABEL=boot /boot ext4 defaults 0 2""",
        make="""
            printf 'label: gpt\\nsize=199M, type=linux\\ntype=linux\\n' | gpt 0
            mkfs.ext4 -q -L boot $(part 0 1)
            mkfs.btrfs -q -L root -d raid0 -m raid1 $(part 0 2) $(disk 1)
            mount $(part 0 2) /target
            mkdir /target/boot; mount $(part 0 1) /target/boot"""),
}


# -------------------------------------------------------------------- the emulator

class Failed(Exception):
    """A boot that did not end as it should; its text is the whole console."""


@functools.cache
def accelerator():
    """KVM if Debian's kernel starts with it (that /dev/kvm opens proves little), else TCG."""
    kernel = next(fetch.unpacked_kernel("cloud").glob("boot/vmlinuz-*"))
    # With a richer processor, TCG spends most of a boot on drivers for its features.
    kvm, tcg = ("-accel", "kvm", "-cpu", "host"), ("-accel", "tcg", "-cpu", "Westmere,+rdrand")
    try:
        done = subprocess.run([*QEMU, *kvm, "-kernel", kernel, "-append", "console=ttyS0 panic=-1"],
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
    except subprocess.TimeoutExpired:
        return tcg
    return kvm if b"Unable to mount root" in done.stdout else tcg


def qemu(kernel, initramfs, command_line, devices, log, limit=LIMIT, emulator=None):
    """Boots until the machine powers off; the console's text, which stays in `log`, too. `emulator` is another
    one than that of x86-64."""
    argv = [*(emulator or (*QEMU, *accelerator())), "-kernel", kernel, "-initrd", initramfs,
            "-append", f"{COMMAND_LINE} {command_line}", *devices]
    with open(log, "wb") as console:
        try:
            code = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=console, stderr=console,
                                  timeout=limit).returncode
        except subprocess.TimeoutExpired:
            code = f"none after {limit} s"
    text = console_of(log)
    if code != 0 or boot.DONE not in text:
        raise Failed(f"{text}\n[exit status {code}]")
    return text


def console_of(log):
    return log.read_text(errors="replace").replace("\r", "")


def drive(name, file, device, snapshot, log=None):
    """The arguments for one disk; `log` is a file in which `record` finds what is written to it. The
    installer finds disks by their serial numbers."""
    if log:
        log.touch()
        nodes = (f"driver=file,filename={file},node-name={name}-file",
                 f"driver=file,filename={log},node-name={name}-log",
                 f"driver=blklogwrites,file={name}-file,log={name}-log,node-name={name}")
        words = [word for node in nodes for word in ("-blockdev", node)]
    else:
        words = ["-drive", f"if=none,id={name},format=raw,file={file},snapshot={snapshot}"]
    return (*words, "-device", f"{device},drive={name},serial={name}")


def with_payload(image, target, script, files):
    """Writes `image` to `target` with `script` and `files` (path → text or Path) appended."""
    with tempfile.TemporaryDirectory() as top:
        tree = Path(top) / "tree"
        for path, content in {"script": script, **files}.items():
            place = tree / "payload" / path
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(content, place) if isinstance(content, Path) else place.write_text(content)
        (tree / "conf/conf.d").mkdir(parents=True)
        (tree / "conf/conf.d/payload").write_text(CONF)
        boot.pack(tree, f"{top}/payload")
        first = Path(image).read_bytes()
        # The kernel looks for another archive at multiples of four.
        target.write_bytes(first + bytes(-len(first) % 4) + Path(f"{top}/payload").read_bytes())


def facts(console):
    """What PROVE printed: name → words."""
    lines = (line.split() for line in console.splitlines() if line.startswith("fact "))
    return {words[1]: words[2:] for words in lines}


# --------------------------------------------------------------------- the system

def recipe(name, *parts):
    """A name in the cache that changes with all that the entry is made from."""
    digest = hashlib.sha256(repr(parts).encode()).hexdigest()
    return f"disks/{name.replace(' ', '-')}-{digest[:12]}"


def system(case):
    """The cache's entry with the disk that the case's installer boots and copies, and its /boot."""
    packages = (*PACKAGES, *case.packages)
    versions = [trees.version(fetch.kernel_tree(name)) for name in case.kernels]

    def build(directory):
        tree = directory / "tree"
        tree.mkdir()
        tools.run("tar", "-C", tree, "-xf", chroots.tarball(SUITE))
        chroots.install(tree, SUITE, ARCH, *packages)
        for name, version in zip(case.kernels, versions):
            install_kernel(tree, name, version)
        for unused in UNUSED:
            shutil.rmtree(tree / unused, ignore_errors=True)
        boot.program(tree / "usr/sbin/init", INIT)
        conf = tree / "etc/initramfs-tools/conf.d"
        (conf / "fast").write_text("COMPRESSLEVEL=1\n")
        (conf / "resume").write_text("RESUME=none\n")
        chroots.inside(tree, "update-initramfs -c -k all")
        tools.run("/sbin/mke2fs", "-q", "-t", "ext4", "-L", "system", "-d", tree,
                  directory / "disk", f"{DISK_SIZE // 1024}k")
        (tree / "boot").rename(directory / "boot")
        shutil.rmtree(tree)
    parts = (packages, versions, UNUSED, UNUSED_DRIVERS, INIT, DISK_SIZE)
    return fetch.entry(recipe("-".join(("system", *case.packages)), *parts), build)


def install_kernel(tree, name, version):
    trees.copy(fetch.kernel_tree(name) / "usr/lib/modules", tree / "usr/lib/modules", shutil.copy2)
    for unused in UNUSED_DRIVERS:
        shutil.rmtree(tree / f"usr/lib/modules/{version}/kernel/{unused}", ignore_errors=True)
    chroots.inside(tree, f"depmod {version}")
    for file in ("vmlinuz", "config"):
        shutil.copy(fetch.unpacked_kernel(name) / f"boot/{file}-{version}", tree / "boot")


# --------------------------------------------------------------------- the machine

class Machine:
    """A case's disks in a directory, and beside them the /boot that a boot loader would read."""

    def __init__(self, case, place):
        self.case, self.place, self.seconds = case, Path(place), {}
        self.versions = [trees.version(fetch.kernel_tree(name)) for name in case.kernels]

    @classmethod
    def installed(cls, name, place):
        """A machine on which nothing happened yet but one boot of each kernel."""
        case = CASES[name]

        def build(directory):
            machine = cls(case, directory)
            machine.install()
            for version in machine.versions:
                booted = machine.prove("control", version)
                if isinstance(booted, Failed):
                    raise booted
        entry = fetch.entry(recipe(name, case, system(case).name, INSTALL, REMAKE, PROVE, QEMU,
                                   COMMAND_LINE), build)
        tools.run("cp", "-a", "--sparse=always", "--reflink=auto", f"{entry}/.", place)
        return cls(case, place)

    def console(self, name):
        return console_of(self.place / f"{name}.log")

    def install(self):
        """Makes the disks, and copies the system to them."""
        for number in range(len(self.case.disks)):
            with open(self.place / f"disk{number}", "wb") as disk:
                disk.truncate(DISK_SIZE)
        source, version = system(self.case), self.versions[0]
        script = INSTALL % {"make": self.case.make, "configure": self.case.configure,
                            "remake": REMAKE if self.case.remake else ""}
        files = {"etc/fstab": re.sub("(?m)^ +", "", self.case.fstab).strip() + "\n",
                 "etc/initramfs-tools/conf.d/modules": f"MODULES={self.case.modules}\n",
                 **self.case.files}
        devices = (*drive("system", source / "disk", "virtio-blk-pci", "on"), *self._devices("off"))
        self._run("install", source / "boot", version, "LABEL=system", script,
                  {f"files/{path}": text for path, text in files.items()}, devices)
        self._read_boot()

    def boot(self, name, version, script, files=None, log=None):
        """Boots a kernel and runs `script`; the console's text. `log` is for what is written to the disk."""
        text = self._run(name, self.place / "boot", version, self.case.root, script, files or {},
                         self._devices("off", log))
        self._read_boot()
        return text

    def prove(self, name, version, then=""):
        """Boots a kernel to PROVE what works, does what else is to be done `then`, and keeps nothing of what
        it writes: the facts, or a Failed."""
        try:
            return facts(self._run(f"{name}-{version}", self.place / "boot", version,
                                   self.case.root, PROVE + then, {}, self._devices("on")))
        except Failed as failed:
            return failed

    def _devices(self, snapshot, log=None):
        disks = (drive(f"disk{number}", self.place / f"disk{number}", device, snapshot, log)
                 for number, device in enumerate(self.case.disks))
        return (*self.case.hardware, *(word for words in disks for word in words),
                "-device", self.case.card)

    def _run(self, name, folder, version, root, script, files, devices):
        image = self.place / f"{name}.initramfs"
        with_payload(folder / f"initrd.img-{version}", image, script, files)
        started = time.monotonic()
        try:
            return qemu(folder / f"vmlinuz-{version}", image, f"root={root} ro", devices,
                        self.place / f"{name}.log")
        finally:
            self.seconds[name] = time.monotonic() - started
            image.unlink()

    def _read_boot(self):
        """Copies /boot out of the first disk."""
        start, folder = self.case.boot
        out = self.place / "boot"
        shutil.rmtree(out, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=self.place) as top:
            done = tools.run("/sbin/debugfs", "-R", f"rdump {folder} {top}",
                             f"{self.place}/disk0?offset={start}")
            assert list(Path(top + folder).glob("vmlinuz-*")), done.stderr
            shutil.copytree(top + folder, out)
