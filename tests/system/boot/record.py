"""Every write of a machine to its disks, in their order, and what a power cut would have left of them.

Owns the machine (qemu, Debian's kernel, an initramfs with busybox and limopack), the log that qemu's
blklogwrites makes of each disk, and the states that a disk may be in when the power goes. The format
of the log is that of dm-log-writes. (linux: drivers/md/dm-log-writes.c; qemu: block/blklogwrites.c)

Must not decide what is right of a state.
"""
import functools
import random
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

import boot
import fetch
import tools
import trees

KERNEL = "bookworm"
SECTOR = 512
MIB = 1 << 20
# What a disk writes whole, or not at all.
ATOMIC = 4096
# Behind the file system, where nothing but the marker is written.
TAIL = MIB
MARKER = "limopack: the action has ended"
LOG_MAGIC, LOG_VERSION = 0x6A736677736872, 1
FLUSH, FUA, DISCARD = 1, 2, 4
LIMIT = 900  # seconds for one boot

# Process 1. Each disk is one line of /actions: file system, its bytes, limopack's arguments.
# Nothing is synced or unmounted: what is on the disk when a command has ended is all there is.
INIT = f"""#!/bin/busybox sh
busybox mkdir -p /mnt /proc /sys /dev /bin
/bin/busybox --install -s /bin
export PATH=/bin
mount -t devtmpfs devtmpfs /dev; mount -t proc proc /proc; mount -t sysfs sysfs /sys
dmesg -n 1
for module in /modules/*; do insmod $module; done
{{ %s
}} && echo "{boot.DONE}"
poweroff -f -n
"""
# Writes the marker past all caches, which busybox cannot: DISK OFFSET.
MARK = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv) {
    static char marker[512] __attribute__((aligned(4096))) = "%s";
    int disk = open(argv[1], O_WRONLY | O_DIRECT);
    return argc != 3 || pwrite(disk, marker, sizeof marker, atoll(argv[2])) != sizeof marker;
}
"""
RECORD = """
letters="a b c d e f g h"
while read -r kind size arguments; do
    disk=/dev/vd${letters%% *}; letters=${letters#* }
    mount -t $kind $disk /mnt || exit 1
    limopack --root=/mnt $arguments; code=$?
    /bin/mark $disk $size || exit 1
    echo "cut: exit $code"
    # The next one lies over it: to unmount would write.
done < /actions
"""


@functools.cache
def unpacked(package):
    return fetch.with_dependencies("bookworm", "amd64", package)


@dataclass(frozen=True)
class FileSystem:
    """One that a root may have: how it is made of a tree, and what looks for damage."""
    name: str
    size: int
    module: str           # that mounts it
    package: str          # whose programs make and check it
    make: tuple           # commands; IMAGE, TREE and SECTORS stand for what they are
    check: tuple

    def program(self, name, *args):
        """The command line of one of the package's programs, with its own libraries."""
        root = unpacked(self.package)
        libraries = f"{root}/usr/lib/x86_64-linux-gnu"
        file = next(file for place in ("usr/sbin", "sbin", "usr/bin")
                    if (file := root / place / name).exists())
        return [f"{libraries}/ld-linux-x86-64.so.2", "--library-path", libraries, file, *args]

    def made(self, tree, image):
        """A disk with this file system on it, and on that what is below `tree`."""
        with open(image, "wb") as disk:
            disk.truncate(self.size + TAIL)
        words = {"IMAGE": image, "TREE": tree, "SECTORS": self.size // SECTOR,
                 "KIB": f"{self.size // 1024}k", "BYTES": self.size}
        for command in self.make:
            tools.run(*self.program(*(words.get(word, word) for word in command)))
        return image

    def sound(self, image):
        """Fails where the file system's own check finds damage."""
        tools.run(*self.program(*(image if word == "IMAGE" else word for word in self.check)))


FILE_SYSTEMS = {
    "ext4": FileSystem("ext4", 64 * MIB, "ext4", "e2fsprogs",
                       (("mke2fs", "-q", "-t", "ext4", "-d", "TREE", "IMAGE", "KIB"),),
                       ("e2fsck", "-f", "-n", "IMAGE")),
    "btrfs": FileSystem("btrfs", 128 * MIB, "btrfs", "btrfs-progs",
                        (("mkfs.btrfs", "-q", "-r", "TREE", "-b", "BYTES", "IMAGE"),),
                        ("btrfs", "check", "--readonly", "IMAGE")),
    "f2fs": FileSystem("f2fs", 128 * MIB, "f2fs", "f2fs-tools",
                       (("mkfs.f2fs", "-q", "IMAGE", "SECTORS"), ("sload.f2fs", "-f", "TREE", "IMAGE")),
                       ("fsck.f2fs", "-f", "--dry-run", "IMAGE")),
}


# ------------------------------------------------------------------- the machine

def initramfs(place, modules, script, files):
    """Packs busybox, limopack, `modules` with what they need, and `files` (path → text, bytes or Path)."""
    root, pristine = place / "initramfs.root", fetch.kernel_tree(KERNEL)
    for name in ("bin", "modules"):
        (root / name).mkdir(parents=True)
    shutil.copy2(fetch.busybox(), root / "bin/busybox")
    shutil.copy2(tools.binary(), root / "bin/limopack")
    boot.program(root / "init", INIT % script)
    for path, content in files.items():
        if isinstance(content, Path):
            shutil.copy2(content, root / path)
        else:
            (root / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    names = ("virtio_pci", "virtio_blk", *modules)
    depends = tools.Modprobe("30", pristine).show_depends(list(names))
    for at, path in enumerate(dict.fromkeys(path for name in names for path in depends[name])):
        shutil.copy2(trees.directory(pristine) / path, root / f"modules/{at:02}-{Path(path).name}")
    boot.pack(root, place / "initramfs")
    shutil.rmtree(root)
    return place / "initramfs"


def run(place, modules, script, files, devices):
    """Boots, and runs `script` as a part of process 1; the console's text."""
    version = trees.version(fetch.kernel_tree(KERNEL))
    kernel = fetch.unpacked_kernel(KERNEL) / f"boot/vmlinuz-{version}"
    argv = ["qemu-system-x86_64", "-M", "q35", "-m", "512", "-accel", "tcg", "-nodefaults", "-no-reboot",
            "-display", "none", "-serial", "stdio", "-kernel", kernel,
            "-initrd", initramfs(place, modules, script, files),
            "-append", "console=ttyS0 panic=-1 quiet norandmaps nokaslr mitigations=off", *devices]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT)
    text = done.stdout.decode(errors="replace").replace("\r", "")
    assert done.returncode == 0 and boot.DONE in text, f"{text}\n{done.stderr.decode()}"
    return text


def record(kind, actions, place):
    """Runs limopack on copies of trees, each on a disk of its own, and records what is written.

    `actions` are (tree, arguments); the console's text, and the Log of each.
    """
    logs, lines, devices = [], [], []
    for number, (tree, arguments) in enumerate(actions):
        disk = kind.made(tree, place / f"disk{number}")
        logs.append(Log(kind, shutil.copyfile(disk, place / f"base{number}"), place / f"log{number}"))
        logs[-1].file.touch()
        lines.append(" ".join((kind.name, str(kind.size), *arguments)))
        for word in (f"driver=file,filename={disk},node-name=file{number}",
                     f"driver=file,filename={logs[-1].file},node-name=log{number}",
                     f"driver=blklogwrites,file=file{number},log=log{number},node-name=disk{number}"):
            devices += ["-blockdev", word]
        devices += ["-device", f"virtio-blk-pci,drive=disk{number},discard=off,write-zeroes=off"]
    tools.run("cc", "-static", "-x", "c", "-o", place / "mark", "-", input=MARK % MARKER)
    files = {"actions": "\n".join(lines) + "\n", "bin/mark": place / "mark"}
    text = run(place, [kind.module], RECORD, files, devices)
    assert text.count("cut: exit 0") == len(actions), text
    return text, logs


# ---------------------------------------------------------------------- the log

@dataclass
class Entry:
    """One write: where, what, and whether it is on the disk for certain when it has ended."""
    offset: int
    data: bytes
    flags: int


class Log:
    """What was written to one disk, up to the end of the action."""

    def __init__(self, kind, base, file):
        self.kind, self.base, self.file = kind, Path(base), Path(file)

    def entries(self):
        """The writes and flushes until the marker, which is not among them."""
        found = []
        with open(self.file, "rb") as log:
            magic, version, count, sector = struct.unpack("<QQQI", log.read(28))
            assert (magic, version) == (LOG_MAGIC, LOG_VERSION), f"{self.file}: not such a log"
            at = sector
            for _ in range(count):
                log.seek(at)
                start, length, flags, _ = struct.unpack("<QQQQ", log.read(32))
                at += sector
                data = b""
                if not flags & DISCARD:
                    log.seek(at)
                    data = log.read(length * sector)
                    at += length * sector
                if data.startswith(MARKER.encode()):
                    return found
                found.append(Entry(start * sector, data, flags))
        raise AssertionError(f"{self.file}: the action did not end")

    def states(self, between, seed):
        """(what it is, writes on top of the state before, whether the action has ended) for every state to
        try: at each flush; at `between` writes spread over the others, with all that was written since, and
        with a part of it lost. Writes of a state whose last item is True stay for those after it."""
        entries = self.entries()
        flushes = [at for at, entry in enumerate(entries) if entry.flags & FLUSH]
        writes = [at for at, entry in enumerate(entries) if entry.data]
        step = max(1, len(writes) // between)
        chosen = set(writes[::step][:between]) | {writes[-1]}
        chance, pending = random.Random(seed), []
        for at, entry in enumerate(entries):
            if entry.flags & FLUSH:
                # What came before it is on the disk for good.
                yield f"flush {flushes.index(at)}", list(pending), True
                pending = []
            if entry.data:
                pending.append(entry)
            if at in chosen:
                yield f"write {at}", list(pending), False
                yield f"write {at}, torn", list(torn(pending, chance)), False
        # The power goes when the action has said that it is done; nothing was flushed since.
        yield "end", [entry for entry in pending if entry.flags & FUA], False

    def images(self, between, place, seed=0):
        """(what it is, a disk in that state), one after the other in the same file."""
        durable, image = place / "durable", place / "state"
        shutil.copyfile(self.base, durable)
        for what, writes, stays in self.states(between, seed):
            if stays:
                apply(writes, durable)
            tools.run("cp", "--sparse=always", durable, image)
            apply([] if stays else writes, image)
            yield what, image


def torn(entries, chance):
    """A part of some writes that no flush followed: disks keep no order among them."""
    for entry in entries:
        for at in range(0, len(entry.data), ATOMIC):
            if entry.flags & FUA or chance.random() < 0.5:
                yield Entry(entry.offset + at, entry.data[at:at + ATOMIC], entry.flags)


def apply(entries, image):
    with open(image, "r+b") as disk:
        for entry in entries:
            disk.seek(entry.offset)
            disk.write(entry.data)
