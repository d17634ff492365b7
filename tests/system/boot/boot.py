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

CROSS_BUILT = fetch.TOP / "target/cross/armv7-unknown-linux-musleabihf/limopack"
# The last words of a script that went well; the init below says them.
DONE = "boot: done"
DISK_SIZE = "1G"

# Process 1 of the initramfs: the modules are numbered in the order in which they load. Soft
# dependencies are among them, which may suit another processor and not load.
INITRAMFS_INIT = """#!/bin/busybox sh
busybox mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do busybox insmod $module; done
while ! busybox mount -t ext4 /dev/vda /root; do busybox sleep 1; done
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
    kernel: str          # in fetch.KERNELS
    emulator: tuple      # qemu and its board
    bus: str             # qemu's suffix of virtio devices
    modules: tuple       # what the initramfs loads to see the disk, before ext4
    console: str
    limit: int           # seconds for one boot

    @property
    def limopack(self):
        """The static binary for this machine's processor."""
        if fetch.KERNELS[self.kernel][1] == "amd64":
            return tools.binary()
        path = Path(os.environ.get("LIMOPACK_ARM") or CROSS_BUILT).absolute()
        assert os.access(path, os.X_OK), (
            f"{path}: not there; cross-build it ({CROSS_BUILT.parent.name}) or set LIMOPACK_ARM")
        return str(path)


MACHINES = {
    "x86-64": Machine("cloud", ("qemu-system-x86_64", "-M", "q35", "-m", "512"), "pci",
                      ("virtio_pci", "virtio_blk"), "ttyS0", 180),
    "armv7": Machine("armmp", ("qemu-system-arm", "-M", "virt", "-cpu", "cortex-a15", "-m", "512"),
                     "device", ("virtio_mmio", "virtio_blk"), "ttyAMA0", 300),
}


class Installed:
    """A machine with a disk, on which `scripts` (name → shell) lie and in /bin `programs` (files);
    `prepare` changes the root before it is a disk, and `place` is its to fill."""

    def __init__(self, machine, pristine, place, scripts, programs=(), prepare=lambda root: None):
        self.machine, self.place, self.seconds = machine, Path(place), {}
        self.version = trees.version(pristine)
        self.kernel = fetch.unpacked_kernel(machine.kernel) / f"boot/vmlinuz-{self.version}"
        self.disk, self.initramfs = self.place / "disk", self.place / "initramfs"
        self._make_disk(pristine, scripts, programs, prepare)
        self._make_initramfs(pristine)

    def _make_disk(self, pristine, scripts, programs, prepare):
        arch, root = fetch.KERNELS[self.machine.kernel][1], self.place / "root"
        trees.copy(fetch.with_dependencies("bookworm", arch, "kmod"), root, shutil.copy2)
        trees.copy(pristine / "usr/lib/modules", root / "usr/lib/modules")
        shutil.copy2(fetch.busybox(arch), root / "bin/busybox")
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
        arch = fetch.KERNELS[self.machine.kernel][1]
        for name in ("bin", "dev", "modules", "root"):
            (root / name).mkdir(parents=True)
        shutil.copy2(fetch.busybox(arch), root / "bin/busybox")
        program(root / "init", INITRAMFS_INIT)
        depends = tools.Modprobe("30", pristine).show_depends(list(names))
        ordered = dict.fromkeys(path for name in names for path in depends[name])
        for at, path in enumerate(ordered):
            shutil.copy2(trees.directory(pristine) / path,
                         root / f"modules/{at:02}-{os.path.basename(path)}")
        pack(root, self.initramfs)
        shutil.rmtree(root)

    def boot(self, script, devices=(), **environment):
        """Boots with more `devices` of qemu's, runs `script`, powers off; the console's text."""
        words = {"console": self.machine.console, "panic": "-1", "script": script, **environment}
        bus, log = self.machine.bus, self.place / f"{script}.log"
        argv = [*self.machine.emulator, "-accel", "tcg", "-nodefaults", "-display", "none",
                "-no-reboot", "-serial", "stdio", "-kernel", self.kernel, "-initrd", self.initramfs,
                "-append", " ".join(f"{key}={value}" for key, value in words.items()),
                "-drive", f"if=none,id=disk,format=raw,file={self.disk}",
                "-device", f"virtio-blk-{bus},drive=disk",
                "-device", f"virtio-net-{bus}", "-device", f"virtio-rng-{bus}", *devices]
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


def pack(root, target):
    """All below `root`, as an archive that the kernel unpacks."""
    entries = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    with open(target, "wb") as archive:
        subprocess.run(["cpio", "--create", "--format=newc", "--quiet"], cwd=root,
                       input=entries.encode(), stdout=archive, check=True)


def program(path, text):
    path.write_text(text)
    path.chmod(0o755)
