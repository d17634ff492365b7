"""Every write of a machine to its disks, in their order, and what a power cut would have left of them.

Owns the machine (qemu, Debian's kernel, an initramfs with busybox and limopack), the log that qemu's
blklogwrites makes of each disk, and the states that a disk may be in when the power goes. The format
of the log is that of dm-log-writes. (linux: drivers/md/dm-log-writes.c; qemu: block/blklogwrites.c)

Must not decide what is right of a state.
"""
import random
import shutil
import struct
from dataclasses import dataclass
from pathlib import Path

import boot
import chroots
import disk
import fetch
import tools
import trees

KERNEL = "bookworm"
SECTOR = 512
MIB = 1 << 20
# What a disk writes whole, or not at all.
ATOMIC = 4096
# After the file system, where nothing but the marker is written.
TAIL = MIB
MARKER = "limopack: the action has ended"
LOG_MAGIC, LOG_VERSION = 0x6A736677736872, 1
FLUSH, FUA, DISCARD = 1, 2, 4
LIMIT = 900  # seconds for one boot

# Process 1. Each disk is one line of /actions: file system, its bytes, limopack's arguments.
# Nothing is synced or unmounted: what is on the disk when a command has ended is all there is.
INIT = f"""#!/bin/busybox sh
busybox mkdir -p /mnt /results /proc /sys /dev /bin
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

# For contents_of().
RECOVERED = """
contents() {
    cd /mnt
    find . -type d
    find . -type l -exec sh -c 'for link; do echo "link $(readlink $link) $link"; done' links {} +
    find . -type f -exec stat -c 'mode %f %n' {} +
    find . -type f -exec md5sum {} +
    cd /
}
# Notes in a directory what is in /mnt before and after limopack has run there again.
recovered() {
    contents > $1/before
    code=0
    limopack --root=/mnt $arguments 2> $1/said || code=$?
    echo $code > $1/code
    contents > $1/after
}
"""
# Mounts each state, runs limopack again, and notes what is there before and after. Each is one line of
# /states: where it begins on the first disk, limopack's arguments.
RECOVER = f"""
mount -t ext4 /dev/vdb /results
{RECOVERED}
number=0
while read -r kind offset arguments; do
    mkdir /results/$number
    losetup -o $offset /dev/loop0 /dev/vda || exit 1
    if mount -t $kind /dev/loop0 /mnt; then
        recovered /results/$number
        umount /mnt || exit 1
    fi
    losetup -d /dev/loop0
    number=$((number + 1))
done < /states
umount /results
"""


@dataclass(frozen=True)
class FileSystem:
    """One that a root may have: how it is made of a tree, and what looks for damage."""
    name: str
    size: int
    module: str           # that mounts it
    package: str          # whose programs make and check it
    make: tuple           # commands; IMAGE, KIB, BYTES and SECTORS stand for what they are
    check: tuple
    fill: tuple = ()      # puts TREE on it, where this machine's kernel does not mount it

    def program(self, name, *args):
        """The command line of one of the package's programs, with its own libraries."""
        root = fetch.with_dependencies("bookworm", "amd64", self.package)
        libraries = f"{root}/usr/lib/x86_64-linux-gnu"
        file = next(file for place in ("usr/sbin", "sbin", "usr/bin")
                    if (file := root / place / name).exists())
        return [f"{libraries}/ld-linux-x86-64.so.2", "--library-path", libraries, file, *args]

    def made(self, tree, image):
        """A disk with this file system on it, and on that what is below `tree`."""
        with open(image, "wb") as file:
            file.truncate(self.size + TAIL)
        words = {"IMAGE": image, "TREE": tree, "SECTORS": self.size // SECTOR,
                 "KIB": f"{self.size // 1024}k", "BYTES": self.size}
        for command in self.make:
            tools.run(*self.program(*(words.get(word, word) for word in command)))
        if self.mounts_here:
            at = Path(f"{image}.mounted")
            at.mkdir()
            chroots.mount("-o", "loop", image, at)
            tools.run("cp", "-a", f"{tree}/.", at)
            tools.run("umount", at)
        else:
            tools.run(*self.program(*(words.get(word, word) for word in self.fill)))
        return image

    @property
    def mounts_here(self):
        """Whether this machine's kernel has it."""
        return f"\t{self.name}\n" in Path("/proc/filesystems").read_text()

    def sound(self, image):
        """Fails where the file system's own check finds damage."""
        tools.run(*self.program(*(image if word == "IMAGE" else word for word in self.check)))


FILE_SYSTEMS = {
    "ext4": FileSystem("ext4", 64 * MIB, "ext4", "e2fsprogs",
                       (("mke2fs", "-q", "-t", "ext4", "IMAGE", "KIB"),),
                       ("e2fsck", "-f", "-n", "IMAGE")),
    # Its `mkfs -r` makes directories of which the replay of a log loses names.
    "btrfs": FileSystem("btrfs", 128 * MIB, "btrfs", "btrfs-progs",
                        (("mkfs.btrfs", "-q", "-b", "BYTES", "IMAGE"),),
                        ("btrfs", "check", "--readonly", "IMAGE")),
    "f2fs": FileSystem("f2fs", 128 * MIB, "f2fs", "f2fs-tools",
                       (("mkfs.f2fs", "-q", "IMAGE", "SECTORS"),),
                       ("fsck.f2fs", "-f", "--dry-run", "IMAGE"), ("sload.f2fs", "-f", "TREE", "IMAGE")),
}


# ------------------------------------------------------------------- the machine

def initramfs(place, modules, script, files):
    """Packs busybox, limopack, `modules` with what they need, and `files` (path → text, bytes or Path)."""
    root = place / "initramfs.root"
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
    boot.put_modules(root / "modules", fetch.kernel_tree(KERNEL), ("virtio_pci", "virtio_blk", *modules), "30")
    boot.pack(root, place / "initramfs")
    shutil.rmtree(root)
    return place / "initramfs"


def run(place, modules, script, files, devices, limit=LIMIT):
    """Boots, and runs `script` as a part of process 1; the console's text."""
    version = trees.version(fetch.kernel_tree(KERNEL))
    kernel = fetch.unpacked_kernel(KERNEL) / f"boot/vmlinuz-{version}"
    return disk.qemu(kernel, initramfs(place, modules, script, files), "quiet", devices, place / "console", limit)


def record(kind, actions, place):
    """Runs limopack on copies of trees, each on a disk of its own, and records what is written: the Log of
    each. `actions` are (tree, arguments)."""
    logs, lines, devices = [], [], []
    for number, (tree, arguments) in enumerate(actions):
        image = kind.made(tree, place / f"disk{number}")
        logs.append(Log(shutil.copyfile(image, place / f"base{number}"), place / f"log{number}"))
        lines.append(" ".join((kind.name, str(kind.size), *arguments)))
        devices += disk.drive(f"disk{number}", image, "virtio-blk-pci,discard=off,write-zeroes=off", "off",
                              logs[-1].file)
    tools.run("cc", "-static", "-x", "c", "-o", place / "mark", "-", input=MARK % MARKER)
    files = {"actions": "\n".join(lines) + "\n", "bin/mark": place / "mark"}
    text = run(place, [kind.module], RECORD, files, devices)
    assert text.count("cut: exit 0") == len(actions), text
    return logs


def recover(kind, arguments, images, place):
    """What a machine finds whose kernel mounts the file system: for each of `images`, (what it is, contents
    before and after limopack has run with `arguments`, its exit status, its messages, the image after it)."""
    states, results, size, names = place / "states", place / "results", kind.size + TAIL, []
    with open(states, "wb"):
        pass
    for what, image in images:
        tools.run("dd", f"if={image}", f"of={states}", "bs=1M", "conv=sparse,notrunc",
                  f"seek={len(names) * (size // MIB)}")
        names.append(what)
    with open(states, "r+b") as whole:
        whole.truncate(len(names) * size)
    tools.run("/sbin/mke2fs", "-q", "-t", "ext4", results, "512M")
    lines = [f"{kind.name} {number * size} {' '.join(arguments)}\n" for number in range(len(names))]
    devices = [word for file in (states, results) for word in disk.drive(file.name, file, "virtio-blk-pci", "off")]
    # A state takes a few seconds where nothing else runs.
    run(place, ["loop", "ext4", kind.module], RECOVER, {"states": "".join(lines)}, devices,
        LIMIT + 20 * len(names))
    out, image = place / "found", place / "state"
    out.mkdir()
    tools.run("/sbin/debugfs", "-R", f"rdump / {out}", results)
    for number, what in enumerate(names):
        tools.run("dd", f"if={states}", f"of={image}", "bs=1M", "conv=sparse", f"skip={number * (size // MIB)}",
                  f"count={size // MIB}")
        told = out / str(number)
        assert (told / "after").exists(), f"{what}: does not mount"
        yield (what, contents_of(told / "before"), contents_of(told / "after"), int((told / "code").read_text()),
               (told / "said").read_text(), image)
    shutil.rmtree(out)


def contents_of(file):
    """What the machine found below /mnt: path → a directory, a link's target, a file's mode and checksum."""
    found, modes = {}, {}
    for line in file.read_text().splitlines():
        first, rest = line.split(" ", 1) if not line.startswith(".") else ("directory", line)
        if first in ("link", "mode"):
            value, path = rest.split(" ", 1)
            (found if first == "link" else modes)[path[2:]] = value
        elif first == "directory":
            found[rest[2:]] = first
        else:
            path = rest.strip()[2:]
            found[path] = f"{int(modes[path], 16):o} {first}"
    found.pop("", None)
    return found


# ---------------------------------------------------------------------- the log

@dataclass
class Entry:
    """One write, or a flush without data."""
    offset: int
    data: bytes
    flags: int

    @property
    def is_marker(self):
        return self.data.startswith(MARKER.encode())


def entries(file):
    """A log's writes and flushes: those before the action, which a marker ends if there are two, and those
    of the action, which the last marker ends."""
    found, markers = [], []
    with open(file, "rb") as log:
        magic, version, count, sector = struct.unpack("<QQQI", log.read(28))
        assert (magic, version) == (LOG_MAGIC, LOG_VERSION), f"{file}: not such a log"
        at = sector
        for _ in range(count):
            log.seek(at)
            start, length, flags, _ = struct.unpack("<QQQQ", log.read(32))
            data = b"" if flags & DISCARD else log.read(sector - 32 + length * sector)[sector - 32:]
            at += sector + len(data)
            found.append(Entry(start * sector, data, flags))
            if found[-1].is_marker:
                markers.append(len(found) - 1)
    assert markers, f"{file}: the action did not end"
    start = markers[-2] if len(markers) > 1 else 0
    return found[:start], found[start:markers[-1]]


@dataclass
class State:
    """What a disk holds: all that was `flushed` since the state before, for good, and some writes since."""
    what: str
    flushed: list
    since: list


class Log:
    """What was written to one disk, which was `base` before."""

    def __init__(self, base, file):
        self.base, self.file = Path(base), Path(file)

    def states(self, between, seed=0):
        """The states to try: at each flush; at `between` writes spread over the others, once with all that
        was written since the last flush, once with a part of it lost; and "end", when the action has said
        that it is done, and nothing is there that it did not flush."""
        before, action = entries(self.file)
        writes = [at for at, entry in enumerate(action) if entry.data]
        chosen = set(writes[::max(1, len(writes) // between)][:between]) | {writes[-1]}
        chance, since, flushed = random.Random(seed), [], before
        for at, entry in enumerate(action):
            if entry.flags & FLUSH:
                flushed, since = flushed + since, []
                yield State(f"flush {at}", flushed, [])
                flushed = []
            if entry.data:
                since.append(entry)
            if at in chosen:
                yield State(f"write {at}", flushed, since)
                yield State(f"write {at}, torn", [], list(torn(since, chance)))
                flushed = []
        yield State("end", flushed, [entry for entry in since if entry.flags & FUA])

    def images(self, states, place):
        """(what it is, a disk in that state), one after the other in the same file."""
        durable, image = place / "durable", place / "state"
        shutil.copyfile(self.base, durable)
        for state in states:
            write(state.flushed, durable)
            tools.run("cp", "--sparse=always", durable, image)
            write(state.since, image)
            yield state.what, image


def torn(writes, chance):
    """A part of the writes that no flush followed: disks keep no order among them."""
    for entry in writes:
        for at in range(0, len(entry.data), ATOMIC):
            if entry.flags & FUA or chance.random() < 0.5:
                yield Entry(entry.offset + at, entry.data[at:at + ATOMIC], entry.flags)


def write(writes, image):
    with open(image, "r+b") as file:
        for entry in writes:
            file.seek(entry.offset)
            file.write(entry.data)
