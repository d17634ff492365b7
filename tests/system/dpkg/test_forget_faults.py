"""A forget that fails or is killed at any system call: the database is the old or the new one, real dpkg
and apt read it, and the same command again finishes.

Owns the databases that are tried; the fault engine is `faults`.
"""

import hashlib
import shutil

import pytest

import faults
import tools
from checks import sound
from packages import K, X, archive
from test_locks import queue

FAULTS = ["EIO", "ENOSPC", "EROFS", "KILL"]
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


def hold(case, suite, scratch):
    """Every fault, as read by one suite's dpkg and apt; the other one reads what killed runs leave."""
    case.faults = FAULTS if suite == "bookworm" else ["KILL"]
    table, broken = faults.campaign(case, scratch)
    for fault, (tried, good) in table.items():
        print(f"{case.name} {suite:10} {fault:7} {tried:5} tried {good:5} held")
    shown = "\n".join(f"{point}\n    {problem}" for point, problem in broken[:20])
    assert not broken, f"{len(broken)} faults broke {case.name}:\n{shown}"


@pytest.fixture(autouse=True)
def honest_closes(monkeypatch):
    """An error that strace injects leaves the file open, and locked; a real close never does."""
    learn = faults.learn
    monkeypatch.setattr(faults, "learn", lambda *args: [
        point for point in learn(*args) if point.syscall != "close" or point.fault == "KILL"])


@pytest.fixture
def place(roots):
    top = roots.top / "faults"
    top.mkdir()
    yield top
    shutil.rmtree(top)


def test_a_forget(system, roots, place):
    hold(faults.Case("forget", template(system, place / "old"), ["--apply", f"--pkname={K}"],
                     check=Readable(roots, system)), system.suite, place)


def test_a_settle(system, roots, place):
    with roots.copy(system) as root:
        queue(root)
        hold(Settle("settle", template(root, place / "old"), ["--settle"], check=Readable(roots, system)),
             system.suite, place)


def test_a_prune_and_a_forget(stocked, roots, place):
    hold(faults.Case("apply", template(stocked, place / "old"), ["--apply", f"--pkname={K}"],
                     check=Readable(roots, stocked), mark=".modules.dep.limopack-old"), stocked.suite, place)
