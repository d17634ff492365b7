"""dpkg's locks: limopack takes both, waits for none, and names who holds them."""

import fcntl
import os
import subprocess
import sys

import pytest

from checks import pending, registry, snapshot, sound, unchanged, unknown
from packages import K, X

HOLD = """
import fcntl, os, sys, time
held = [os.open(path, os.O_RDWR | os.O_CREAT, 0o640) for path in sys.argv[1:]]
for fd in held:
    fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
print("held", flush=True)
sys.stdin.read()
"""
BOTH = ("lock-frontend", "lock")


class held:
    """Another process holds these locks, as dpkg or apt does."""

    def __init__(self, root, *names):
        self.files = [str(root / "var/lib/dpkg" / name) for name in names]

    def __enter__(self):
        self.process = subprocess.Popen([sys.executable, "-c", HOLD, *self.files], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == "held\n"
        return self.process

    def __exit__(self, *_):
        self.process.communicate()


@pytest.mark.parametrize("names", [BOTH, BOTH[:1], BOTH[1:]], ids=["both", "frontend", "database"])
def test_a_busy_dpkg_is_named_and_nothing_is_done(stock, names):
    before = snapshot(stock)
    with held(stock, *names) as other:
        said = stock.sh(f"limopack --apply --pkname={K}", ok=(75,))
        assert str(other.pid) in said.err and "python3" in said.err, said
    unchanged(before, snapshot(stock))
    stock.sh(f"limopack --apply --pkname={K}")
    unknown(stock, K)


def test_under_apt_only_the_database_is_locked_by_us(stock):
    """apt's Post-Invoke: apt holds the frontend lock, and says so."""
    queue(stock)
    with held(stock, "lock-frontend"):
        stock.sh("limopack --settle", env={"DPKG_FRONTEND_LOCKED": "true"})
    unknown(stock, K)
    sound(stock)
    assert not pending(stock)


@pytest.mark.parametrize("env, names", [
    ({"DPKG_FRONTEND_LOCKED": "true", "DPKG_HOOK_ACTION": "unpack"}, BOTH[:1]),  # dpkg in the middle of apt's run
    ({"DPKG_FRONTEND_LOCKED": "true"}, BOTH),
    ({"DPKG_HOOK_ACTION": "install"}, BOTH),  # another dpkg was faster
], ids=["in the middle of apt's run", "apt's dpkg still works", "another dpkg was faster"])
def test_a_settle_that_cannot_be_keeps_the_queue_and_fails_nobody(stock, env, names):
    queue(stock)
    before = snapshot(stock)
    with held(stock, *names):
        stock.sh("limopack --settle", env=env)
    unchanged(before, snapshot(stock))
    assert K in pending(stock)


def test_a_shell_that_inherits_dpkgs_environment_is_told_apart_by_the_lock(stock):
    """Nobody holds this root's locks, so that the work can be done at once, as on an image."""
    stock.sh(f"limopack --apply --pkname={K}", env={"DPKG_MAINTSCRIPT_PACKAGE": "builds-images", "DPKG_ROOT": ""})
    unknown(stock, K)
    assert not pending(stock)


def test_parallel_references_are_all_counted(stock):
    names = [f"pkg{n}" for n in range(20)]
    calls = " & ".join(f"limopack --install --use=vfat --owner={name} -k {X}" for name in names)
    stock.sh(f"{calls} & wait")
    assert registry(stock, X)["vfat"] == ("20", set(names))


def test_dpkg_finds_the_locks_usable_afterwards(stock):
    stock.sh(f"limopack --apply --pkname={K}")
    for name in BOTH:
        about = (stock / "var/lib/dpkg" / name).stat()
        assert about.st_mode & 0o777 == 0o640, name
        with open(stock / "var/lib/dpkg" / name, "r+") as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    stock.sh("dpkg -i /repo/1.0/bystander_*.deb")


def queue(root):
    """What a maintainer script leaves behind: the modules package waits to be forgotten."""
    with held(root, *BOTH):
        root.sh(f"limopack --apply --pkname={K}", env={"DPKG_MAINTSCRIPT_PACKAGE": "some-app"})
    assert K in pending(root)
    assert os.path.exists(root / "var/lib/limopack/pending")
