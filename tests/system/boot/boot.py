"""Machines that qemu emulates: a kernel of Debian, a root file system on a disk, boots.

Owns the disk image, the initramfs that mounts it, and the emulator. The root is an ext4
image with busybox, kmod and limopack, made without mounting; which of the scripts in it
runs is the boot's business. A boot that does not power off by itself in time, or whose
script fails, is an error that shows the whole console. Must not decide what is right.
"""
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import fetch
import tools
import trees

# What may stand in for the binary that ships.
GIVEN = {"amd64": "LIMOPACK_BIN", "armhf": "LIMOPACK_ARM"}
# Debian's packages of the emulators.
PACKAGES = {
    "qemu-system-x86_64": "qemu-system-x86", "qemu-system-i386": "qemu-system-x86",
    "qemu-system-arm": "qemu-system-arm", "qemu-system-aarch64": "qemu-system-arm",
    "qemu-system-riscv64": "qemu-system-misc (of Debian 13: qemu-system-riscv)",
}
# The last words of a script that went well; the init below says them.
DONE = "boot: done"
DISK_SIZE = "1G"
# Of an emulator: nothing but what is asked for, and the console.
BARE = ("-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio")

# Process 1 of the initramfs: the modules are numbered in the order in which they load. Soft
# dependencies are among them, which may suit another processor and not load.
INITRAMFS_INIT = """#!/bin/busybox sh
busybox mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do busybox insmod $module; done
while ! busybox mount -t ext4 $disk /root; do busybox sleep 1; done
exec busybox switch_root /root /init
"""
# Process 1 of the root: runs $script, which the kernel's command line names.
INIT = f"""#!/bin/sh
export PATH=/bin:/sbin
mount -t devtmpfs devtmpfs /dev; mount -t proc proc /proc; mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /tmp
mkdir -p /results/$script
sh -e /scripts/$script && done="{DONE}" || done="boot: $script failed"
dmesg > /results/$script/dmesg
cd /; sync; mount -o remount,ro /; echo "$done"; poweroff -f
"""


@dataclass(frozen=True)
class Machine:
    """What tells one emulated machine from another."""
    title: str           # in the table of machines
    kernel: str          # in fetch.KERNELS or fetch.BOOTED
    target: str          # in cross/build/targets.tsv
    emulator: tuple      # qemu and its board
    bus: str             # qemu's suffix of virtio devices, or "sd": a card is the disk, and all there is
    modules: tuple       # what the initramfs loads to see the disk, before ext4
    console: str
    limit: int           # seconds for one boot
    tree: str = ""       # the device tree, among those of the kernel's package
    options: str = ""    # more for the kernel's command line

    @property
    def suite(self):
        return fetch.source(self.kernel)[0][0]

    @property
    def arch(self):
        return fetch.source(self.kernel)[1]

    @property
    def kmod(self):
        """The release of kmod that this machine's suite has."""
        return next(release for release, suite in fetch.KMODS.items() if suite == self.suite)

    @property
    def limopack(self):
        """The static binary that ships for this machine's processor."""
        built = fetch.TOP / f"target/cross/{self.target}/limopack"
        path = Path(os.environ.get(GIVEN.get(self.arch, "")) or built).absolute()
        assert os.access(path, os.X_OK), f"{path}: not there; first: make cross-{self.target}"
        return str(path)

    @property
    def disk(self):
        """The name that the kernel gives the disk."""
        return "/dev/mmcblk0" if self.bus == "sd" else "/dev/vda"

    def hardware(self, disk):
        """What qemu adds to the board; the file `disk` is its disk."""
        drive = f"id=disk,format=raw,file={disk}"
        if self.bus == "sd":
            return ["-drive", f"if=sd,{drive}"]
        return ["-drive", f"if=none,{drive}", "-device", f"virtio-blk-{self.bus},drive=disk",
                "-device", f"virtio-net-{self.bus}", "-device", f"virtio-rng-{self.bus}"]


def virt(title, kernel, target, emulator, *, limit):
    """The board without a model that qemu has for ARM and RISC-V."""
    console = "ttyS0" if "riscv" in target else "ttyAMA0"
    return Machine(title, kernel, target, (*emulator, "-M", "virt", "-m", "512"), "device",
                   ("virtio_mmio", "virtio_blk"), console, limit)


def pi_zero(title, target):
    """The only board with a processor before ARMv7 on which a kernel of Debian boots in qemu. (The
    other one of armel, marvell, is for boards with Feroceon cores, which qemu has not.) The driver of
its power domains reads registers that qemu has not, and the kernel panics."""
    return Machine(title, "rpi", target, ("qemu-system-arm", "-M", "raspi0"), "sd", (), "ttyAMA0", 900,
                   "bcm2835-rpi-zero.dtb", "initcall_blacklist=bcm2835_power_driver_init")


MACHINES = {
    "x86-64": Machine("Debian 12, amd64 (qemu q35)", "cloud", "x86_64-unknown-linux-musl",
                      ("qemu-system-x86_64", "-M", "q35", "-m", "512"), "pci",
                      ("virtio_pci", "virtio_blk"), "ttyS0", 180),
    "armv7": virt("Debian 12, armhf (qemu virt, Cortex-A15)", "armmp", "armv7-unknown-linux-musleabihf",
                  ("qemu-system-arm", "-cpu", "cortex-a15"), limit=600),
}
# These take longer, and are in `make test-machines`.
MORE = {
    "arm64": virt("Debian 12, arm64 (qemu virt, Cortex-A53)", "arm64", "aarch64-unknown-linux-musl",
                  ("qemu-system-aarch64", "-cpu", "cortex-a53"), limit=900),
    "riscv64": virt("Debian 13, riscv64 (qemu virt)", "riscv64", "riscv64gc-unknown-linux-musl",
                    ("qemu-system-riscv64",), limit=900),
    "i686": Machine("Debian 12, i386 (qemu pc, Pentium II)", "686", "i586-unknown-linux-musl",
                    ("qemu-system-i386", "-M", "pc", "-cpu", "pentium2", "-m", "512"), "pci",
                    ("virtio_pci", "virtio_blk"), "ttyS0", 600),
    "armv6": pi_zero("Debian 12, armel (qemu raspi0), binary for ARMv6", "arm-unknown-linux-musleabi"),
    "armv5te": pi_zero("Debian 12, armel (qemu raspi0), binary for ARMv5TE",
                       "armv5te-unknown-linux-musleabi"),
}


class Installed:
    """A machine with a disk, on which `scripts` (name → shell) lie and in /bin `programs` (files);
    `prepare` changes the root before it is a disk, and `place` is its to fill."""

    def __init__(self, machine, pristine, place, scripts, programs=(), prepare=lambda root: None):
        self.machine, self.place, self.seconds = machine, Path(place), {}
        self.version, package = trees.version(pristine), fetch.unpacked_kernel(machine.kernel)
        # vmlinuz, or where it is not compressed vmlinux.
        (self.kernel,) = package.glob(f"boot/vmlinu[xz]-{self.version}")
        self.tree = machine.tree and package / f"usr/lib/linux-image-{self.version}/{machine.tree}"
        self.disk, self.initramfs = self.place / "disk", self.place / "initramfs"
        self._make_disk(pristine, scripts, programs, prepare)
        self._make_initramfs(pristine)

    def _make_disk(self, pristine, scripts, programs, prepare):
        suite, arch, root = self.machine.suite, self.machine.arch, self.place / "root"
        trees.copy(fetch.with_dependencies(suite, arch, "kmod"), root, shutil.copy2)
        trees.copy(pristine / "usr/lib/modules", root / "usr/lib/modules")
        shutil.copy2(fetch.busybox(arch, suite), root / "bin/busybox")
        shutil.copy2(self.machine.limopack, root / "sbin/limopack")
        for file in programs:
            shutil.copy2(file, root / "bin")
        # kmod's modprobe stays the one of the system; busybox's lies beside it.
        (root / "busybox").mkdir()
        (root / "busybox/modprobe").symlink_to("/bin/busybox")
        present = {path.name for folder in ("bin", "sbin") for path in (root / folder).iterdir()}
        for applet in set(tools.run(fetch.busybox(), "--list").stdout.split()) - present:
            (root / "bin" / applet).symlink_to("busybox")
        for name in ("dev", "proc", "sys", "tmp", "results", "scripts"):
            (root / name).mkdir()
        program(root / "init", INIT)
        for name, text in scripts.items():
            (root / "scripts" / name).write_text(text)
        prepare(root)
        tools.run("/sbin/mke2fs", "-q", "-t", "ext4", "-d", root, self.disk, DISK_SIZE)
        shutil.rmtree(root)

    def _make_initramfs(self, pristine):
        root, names = self.place / "initramfs.root", (*self.machine.modules, "ext4")
        for name in ("bin", "dev", "modules", "root"):
            (root / name).mkdir(parents=True)
        shutil.copy2(fetch.busybox(self.machine.arch, self.machine.suite), root / "bin/busybox")
        program(root / "init", INITRAMFS_INIT)
        put_modules(root / "modules", pristine, names, self.machine.kmod)
        pack(root, self.initramfs)
        shutil.rmtree(root)

    def boot(self, script, devices=(), **environment):
        """Boots with more `devices` of qemu's, runs `script`, powers off; the console's text."""
        emulator, log = self.machine.emulator, self.place / f"{script}.log"
        assert shutil.which(emulator[0]), \
            f"no {emulator[0]}: apt-get install {PACKAGES[emulator[0]]}"
        words = {"console": self.machine.console, "panic": "-1", "script": script,
                 "disk": self.machine.disk, **environment}
        argv = [*emulator, "-accel", "tcg", *BARE, "-kernel", self.kernel, "-initrd", self.initramfs,
                "-append", " ".join([f"{key}={value}" for key, value in words.items()]
                                    + [self.machine.options]),
                *(("-dtb", self.tree) if self.tree else ()),
                *self.machine.hardware(self.disk), *devices]
        started = time.monotonic()
        with open(log, "wb") as console:
            try:
                code = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=console,
                                      stderr=console, timeout=self.machine.limit).returncode
            except subprocess.TimeoutExpired:
                code = f"none after {self.machine.limit} s"
        self.seconds[script] = time.monotonic() - started
        text = log.read_text(errors="replace")
        assert code == 0 and DONE in text, \
            f"{script}: exit status {code}; the console:\n{text}"
        return text

    def results(self, script):
        """The files that `script` left in /results/NAME on the disk: name → text."""
        out = self.place / "results"
        out.mkdir(exist_ok=True)
        done = tools.run("/sbin/debugfs", "-R", f"rdump /results/{script} {out}", self.disk)
        assert (out / script).is_dir(), done.stderr
        return {path.name: path.read_text(errors="replace") for path in (out / script).iterdir()}


def put_modules(folder, pristine, names, kmod):
    """Copies modules with all that they need, numbered in the order in which they load."""
    depends = tools.Modprobe(kmod, pristine).show_depends(list(names))
    ordered = dict.fromkeys(path for name in names for path in depends[name])
    for at, path in enumerate(ordered):
        shutil.copy2(trees.directory(pristine) / path, folder / f"{at:02}-{os.path.basename(path)}")


def pack(root, target):
    """All below `root`, as an archive that the kernel unpacks."""
    entries = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    with open(target, "wb") as archive:
        subprocess.run(["cpio", "--create", "--format=newc", "--quiet"], cwd=root,
                       input=entries.encode(), stdout=archive, check=True)


def program(path, text):
    path.write_text(text)
    path.chmod(0o755)
