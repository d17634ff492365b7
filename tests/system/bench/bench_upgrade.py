"""What the update of a kernel costs where it is kept pruned, beside the same update without limopack.

Owns the rows of the upgrade: Debian 12 goes from one kernel of its archive to the next by apt, with a real
initramfs of MODULES=most, on an ext4 of its own in memory, where nothing waits for a device. Blocks in use
are counted every TICK seconds: what lives for less is not seen, and none of the large files does.
"""
import statistics
import threading

import chroots
import kernels
import measure

SUITE, ROUNDS, TICK, DISK = "bookworm", 3, 0.05, 2 << 30
TIME_LIMIT, PEAK_LIMIT = 1.25, 1.05
UPDATE = "apt-get -y --no-install-recommends dist-upgrade"


def megabytes(count):
    return f"{count / 1e6:,.1f} MB"


def seconds(count):
    return f"{count:.1f} s"


class Peak(threading.Thread):
    """Watches a disk for as long as a `with` block runs."""

    def __init__(self, disk):
        super().__init__(daemon=True)
        self.disk, self.most, self.done = disk, disk.used(), threading.Event()

    def run(self):
        while not self.done.wait(TICK):
            self.most = max(self.most, self.disk.used())

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.join()


def update(roots, machine):
    """Processor seconds, and bytes above the start at the peak and at the end, of one update on a fresh disk."""
    with roots.disk(machine.root, DISK) as disk:
        before = disk.used()
        with Peak(disk) as peak:
            taken = measure.time_of_children(lambda: disk.sh(f"{UPDATE}; sync -f /"))
        assert (disk / f"boot/initrd.img-{machine.new.release}").exists()
        return taken, peak.most - before, disk.used() - before


def size(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def image(machine):
    """Bytes of a new initramfs of the older kernel."""
    machine.sh(f"update-initramfs -u -k {machine.old.release}")
    return (machine.root / f"boot/initrd.img-{machine.old.release}").stat().st_size


def rows(place):
    (place / "roots").mkdir()
    roots = chroots.Roots(place / "roots")
    try:
        with roots.fresh(SUITE) as root:
            machine = kernels.bought(root)
            (root / kernels.FAST).unlink()
            yield from compared(roots, machine)
    finally:
        chroots.umount(place / "roots")


def compared(roots, whole):
    with roots.copy(whole.root) as ours, roots.copy(whole.root) as theirs:
        pruned, plain = (kernels.Machine(root, whole.old, whole.new) for root in (ours, theirs))
        (theirs / "usr/sbin/limopack").unlink()
        pruned.apply()
        modules = f"lib/modules/{whole.old.release}"
        yield measure.ratio("/lib/modules of a virtual machine's Debian 12 kernel, beside the whole one",
                            size(ours / modules), size(theirs / modules), megabytes)
        yield measure.ratio("its initramfs of MODULES=most, made anew, beside that of the whole kernel",
                            image(pruned), image(plain), megabytes)
        ways, figures = {"pruned": pruned, "plain": plain}, {"pruned": [], "plain": []}
        for machine in ways.values():
            machine.sees_the_next()
        for number in range(ROUNDS):
            for name in sorted(ways, reverse=number % 2 == 1):
                figures[name].append(update(roots, ways[name]))
    pairs = zip(*([statistics.median(column) for column in zip(*figures[name])] for name in ways))
    (time_ours, *disk_ours), (time_theirs, *disk_theirs) = (
        [statistics.median(column) for column in zip(*figures[name])] for name in ways)
    what = "update of a kernel by apt, which `--keep-pruned` prunes again, beside it without limopack"
    yield measure.ratio(f"processor time of the {what}", time_ours, time_theirs, seconds, TIME_LIMIT)
    yield measure.ratio(f"disk use above the start, at its peak, of the {what}", disk_ours[0], disk_theirs[0],
                        megabytes, PEAK_LIMIT)
    yield measure.ratio("disk use above the start after that update", disk_ours[1], disk_theirs[1], megabytes)
