"""Every action that writes, with a fault at every system call: `make faults`.

Owns the prepared roots and what has to hold of each action; the engine is `faults`. A database
that a fault left is read by real dpkg and apt, too.
"""

import hashlib
import os
import shutil
from contextlib import contextmanager

import pytest

import faults
import fetch
import model
import tools
import trees
from checks import sound
from packages import K, X, archive
from test_locks import queue

# A prune that did not end tells the next run by it which modules it was about to delete.
MARK = ".modules.dep.limopack-old"
PARKS = "usr/lib/modules/.parked"  # empty, it says that this machine parks, and that nothing is parked
DATABASE = ("var/lib/dpkg", "var/lib/apt/extended_states", "var/lib/limopack", f"usr/lib/modules/{X}")


class Settle(faults.Case):
    """A case that works on what is pending, not on a kernel."""

    def argv(self, root):
        return [tools.binary(), f"--root={root}", *self.args]


class Readable:
    """Puts a database that a fault left into the system it was taken from, and asks dpkg and apt of it."""

    seen = set()  # by each process of the campaign: states are few, faults many

    def __init__(self, roots, system):
        self.roots, self.system = roots, system

    def __call__(self, root):
        database = root / "var/lib/dpkg"
        state = hashlib.sha1(repr(sorted(f.name for f in (database / "info").iterdir())).encode())
        for file in (database / "status", root / "var/lib/apt/extended_states"):
            state.update(file.read_bytes())
        state = (self.system.suite, state.digest())
        if state in self.seen:
            return
        with self.roots.copy(self.system) as whole:
            for gone in (whole / "var/lib/dpkg/info").glob(f"{K}.*"):
                gone.unlink()
            tools.run("cp", "-a", *(root / place for place in ("var",)), whole.path)
            sound(whole)
        self.seen.add(state)


@pytest.fixture(scope="module")
def system(stocked, roots):
    """The modules package came by itself, for a package that needs it, and is pruned already."""
    with roots.copy(stocked) as root:
        archive(root, ("needs-it", {"Depends": K}))
        root.sh(f"apt-get -y install needs-it; apt-mark auto {K}; limopack --prune -k {X}")
        yield root


def template(system, to):
    """What limopack reads and writes of the system, small enough to be copied for each fault."""
    for place in DATABASE:
        if (system / place).exists():
            (to / place).parent.mkdir(parents=True, exist_ok=True)
            tools.run("cp", "-a", system / place, to / place)
    (to / "lib").symlink_to("usr/lib")
    # unlinked and linked anew, as dpkg does: for a moment there is none
    (to / "var/lib/dpkg/status-old").unlink()
    for file in (to / "var/lib/dpkg/info").iterdir():
        if not file.name.startswith(("format", "kernel-", "needs-it", "kmod")):
            file.unlink()
    return to


@contextmanager
def queue_aside(root):
    """Without what is queued, which any call would settle in passing."""
    queue, aside = root / "var/lib/limopack/pending", root / "pending"
    if queue.exists():
        queue.rename(aside)
    yield
    if aside.exists():
        aside.rename(queue)


def pruned(system, to):
    """The same when nothing is left to prune: what the boot of the whole system needs is none of its business."""
    template(system, to)
    with queue_aside(to):
        tools.limopack(to, "--prune")
    return to


def unpruned(system, to):
    """The same before a prune: of the kernel, a few modules to keep and a few to delete."""
    template(system, to)
    registry = trees.directory(to) / "modules.active"
    registered = registry.read_bytes()
    with queue_aside(to):
        tools.limopack(to, "--install", "--static", "--use=vfat,overlay,virtio_net")
        tools.limopack(to, "--prune", "--force")
    registry.unlink()
    registry.write_bytes(registered)
    return to


def listed_modules(root):
    """Index file → the modules that it names."""
    vdir = trees.directory(root)
    index = model.Index(vdir)
    named = {"modules.dep": set(index.path),
             "modules.alias": {module for _, module in index.aliases},
             "modules.symbols": set(index.symbols.values()),
             "modules.softdep": set(index.soft), "modules.weakdep": set(index.weak),
             "modules.dep.bin": set(model.read_trie(vdir / "modules.dep.bin"))}
    for name in ("modules.alias.bin", "modules.symbols.bin"):
        named[name] = {module for values in model.read_trie(vdir / name).values()
                       for _, module in values}
    return named


def listed_modules_exist(root):
    """What any index names is on disk: indexes are replaced before modules go."""
    present = {model.name_of(path) for path in trees.modules(trees.directory(root))}
    for name, modules in listed_modules(root).items():
        assert modules <= present, f"{name} lists what is gone: {sorted(modules - present)[:5]}"


@pytest.fixture(scope="module")
def total():
    """Tried and held, of all actions."""
    total = [0, 0]
    yield total
    print(f"\n{total[0]} points tried, {total[1]} held")


@pytest.fixture
def hold(stocked, roots, total):
    """Prepares a root in `place` by itself, then tries all faults of a case there."""
    suite, place = stocked.suite, roots.top / "faults"

    def hold(case):
        # dpkg and apt of one suite read what every fault left, those of the other what a kill left.
        case.faults = faults.FAULTS if suite == "bookworm" else ["KILL"]
        table, broken = faults.campaign(case, place)
        print()
        for line in faults.lines(table):
            print(f"{case.name:8} {suite:10} {line}", flush=True)
        for column, count in enumerate(map(sum, zip(*table.values()))):
            total[column] += count
        shown = "\n".join(f"{point}\n    {problem}" for point, problem in broken[:20])
        assert not broken, f"{len(broken)} faults broke {case.name}:\n{shown}"
    place.mkdir()
    hold.place = place / "old"
    yield hold
    shutil.rmtree(place)


def test_an_install(stocked, hold):
    hold(faults.Case("install", unpruned(stocked, hold.place), ["--install", "--use=overlay,vfat", "--owner=one"]))


def test_a_remove(stocked, hold):
    root = unpruned(stocked, hold.place)
    tools.limopack(root, "--install", "--use=overlay,vfat", "--owner=one")
    hold(faults.Case("remove", root, ["--remove", "--owner=one"]))


def test_a_prune(stocked, hold):
    hold(faults.Case("prune", unpruned(stocked, hold.place), ["--prune"], checks=(listed_modules_exist,), mark=MARK))


def parked(root):
    """The same with the modules parked that the prune would delete."""
    tools.limopack(root, "--prune", "--park")
    return root


class NothingLost:
    """Every module is in place, or in the park."""

    def __init__(self, root):
        self.all = self.modules(root)

    @staticmethod
    def modules(root):
        return trees.modules(trees.directory(root)) | trees.modules(trees.park(root))

    def __call__(self, root):
        assert self.modules(root) == self.all, f"lost: {sorted(self.all - self.modules(root))[:5]}"


def test_a_park(stocked, hold):
    root = unpruned(stocked, hold.place)
    hold(faults.Case("park", root, ["--prune", "--park"], checks=(listed_modules_exist, NothingLost(root)), mark=MARK))


def test_a_restore(stocked, hold):
    root = parked(unpruned(stocked, hold.place))
    hold(faults.Case("restore", root, ["--restore"], checks=(listed_modules_exist, NothingLost(root)), harmless=PARKS))


def test_a_restore_of_what_is_installed(stocked, hold):
    root = parked(unpruned(stocked, hold.place))
    gone = sorted(map(model.name_of, trees.modules(trees.park(root))))[0]
    hold(faults.Case("bring", root, ["--install", "--owner=one", f"--use={gone}"],
                     checks=(listed_modules_exist, NothingLost(root))))


def test_a_park_that_is_deleted(stocked, hold):
    root = parked(unpruned(stocked, hold.place))
    hold(faults.Case("free", root, ["--prune"], checks=(listed_modules_exist,), harmless=PARKS))


@pytest.fixture
def modinfo(roots, monkeypatch):
    """kmod's, in PATH; what it prints comes in one piece, so that every run has the same calls."""
    place = roots.top / "bin"
    place.mkdir(exist_ok=True)
    (place / "modinfo").write_text(f"#!/bin/sh\n{' '.join(fetch.kmod('30').argv('modinfo'))} \"$@\" | dd bs=1M iflag=fullblock status=none\n")
    (place / "modinfo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")


def with_firmware(root):
    """The same with firmware of a package, of which some is asked for, and its package."""
    place = root / "usr/lib/firmware"
    files = ("board/a.bin", "board/other.bin", "other/b.bin", "other/deep/c.bin")
    for path in files:
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_text(path)
    (place / "other/link").symlink_to("deep")
    row = root / "etc/limopack/hidden.d/board.conf"
    row.parent.mkdir(parents=True)
    row.write_text("virtio_net firmware: board/a.bin\n")
    info = root / "var/lib/dpkg/info"
    (info / f"{K}.list").write_text((info / f"{K}.list").read_text() + "".join(
        f"/usr/lib/firmware/{path}\n" for path in (*files, "other/link", "other/deep", "other", "board")))
    return root


def needed_firmware_stays(root):
    assert (root / "usr/lib/firmware/board/a.bin").read_text() == "board/a.bin"


def test_a_prune_of_firmware(stocked, hold, modinfo):
    root = with_firmware(unpruned(stocked, hold.place))
    hold(faults.Case("firmware", root, ["--prune", "--firmware"],
                     checks=(listed_modules_exist, needed_firmware_stays), mark=MARK))


def test_a_park_of_firmware_and_a_trim(stocked, hold, modinfo):
    root = with_firmware(unpruned(stocked, hold.place))
    hold(faults.Case("fwpark", root, ["--apply", f"--pkname={K}", "--firmware", "--park"],
                     checks=(listed_modules_exist, needed_firmware_stays, NothingLost(root)), mark=MARK))


def test_a_forget(system, roots, hold):
    hold(faults.Case("forget", pruned(system, hold.place), ["--apply", f"--pkname={K}"],
                     checks=(Readable(roots, system),)))


def test_a_settle(system, roots, hold):
    with roots.copy(system) as root:
        queue(root)
        hold(Settle("settle", pruned(root, hold.place), ["--settle"], checks=(Readable(roots, system),)))


def test_a_prune_and_a_forget(stocked, roots, hold):
    hold(faults.Case("apply", unpruned(stocked, hold.place), ["--apply", f"--pkname={K}"],
                     checks=(listed_modules_exist, Readable(roots, stocked)), mark=MARK))


def owned_modules_are_listed(root):
    """The trimmed package's list and checksums name every module on disk, whatever else they do."""
    vdir = trees.directory(root)
    on_disk = {f"lib/modules/{X}/{path}" for path in trees.modules(vdir)}
    for name, start in (("list", 1), ("md5sums", 34)):
        lines = (root / f"var/lib/dpkg/info/{K}.{name}").read_text().splitlines()
        assert on_disk <= {line[start:].removeprefix("usr/") for line in lines}, name


def test_a_prune_and_a_trim(stocked, roots, hold):
    with roots.copy(stocked) as whole:
        with open(whole / f"var/lib/dpkg/info/{K}.list", "a") as text:
            text.write("/boot/config-lima\n")
        (whole / "boot/config-lima").touch()
        hold(faults.Case("trim", unpruned(whole, hold.place), ["--apply", f"--pkname={K}"],
                         checks=(listed_modules_exist, owned_modules_are_listed, Readable(roots, whole)), mark=MARK))
