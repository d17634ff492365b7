"""What a listing reads from storage that is slow: how many bytes when nothing is in memory yet.

Owns the row of the cold cache. The root of bench_list.py, with all of Debian's 6.1 amd64 modules, is
an ext4 of its own, mounted anew for each run, and its device counts. How far the kernel reads ahead is
set here, to what it does by itself on most devices. Without reading ahead it reads the pages that are
touched, and the file system's own blocks: the least that any way of reading can cost.
"""
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

import bench_list
import chroots
import machine
import measure
import tools

ROOM = "1G"
AHEAD, SECTOR = 128, 512  # KiB, bytes
LIMIT = 1_100_000


@contextmanager
def mounted(image, at, ahead):
    """The directory in sysfs of an image's device, which reads `ahead` KiB ahead."""
    chroots.mount("-o", "loop,ro", image, at)
    device = os.stat(at).st_dev
    block = f"/sys/dev/block/{os.major(device)}:{os.minor(device)}"
    # The next user of the loop device gets what the last one left.
    before = open(f"{block}/queue/read_ahead_kb").read()
    try:
        set_ahead(block, ahead)
        yield block
    finally:
        set_ahead(block, before)
        chroots.umount(at)


def set_ahead(block, ahead):
    with open(f"{block}/queue/read_ahead_kb", "w") as setting:
        setting.write(str(ahead))


def bytes_read(block):
    """Since the device is there (Documentation/admin-guide/iostats.rst)."""
    with open(f"{block}/stat") as counters:
        return int(counters.read().split()[2]) * SECTOR


def listing(image, at, ahead):
    """The bytes that one listing makes the device read."""
    with mounted(image, at, ahead) as block:
        before = bytes_read(block)
        listed = tools.run(*tools.argv(at, "--list")).stdout.splitlines()
        assert len(listed) == machine.COUNT, f"{len(listed)} modules"
        return bytes_read(block) - before


def image_of(root):
    """An ext4 with a root in it, beside it."""
    tools.run("mkfs.ext4", "-q", "-d", root, f"{root}.ext4", ROOM)
    return f"{root}.ext4"


def rows(place):
    with tempfile.TemporaryDirectory(dir=place) as top:
        image = image_of(bench_list.loaded_root(Path(top) / "loaded"))
        at = Path(top) / "mounted"
        at.mkdir()
        ours, least = (listing(image, at, ahead) for ahead in (AHEAD, 0))
    yield measure.beside("bytes read from storage for the listing of 185 loaded modules when nothing is cached, "
                         "beside the pages that it touches", ours, least, measure.size, LIMIT)
