"""The shipped hooks: they run when they should, and never break dpkg or apt."""

import subprocess
import sys
import time

import pytest

from checks import files, installed, modules_right, pending, registry, snapshot, sound, stand_ins, unchanged, unknown
from packages import IMAGE, K, REGISTRY, X, deb, other
from test_locks import queue

TELL = """#!/bin/sh
echo "$* ${DPKG_HOOK_ACTION:-none} ${DPKG_ROOT:-none}" >> /run/told
"""


def replace(root, text):
    """Puts a script where limopack was."""
    (root / "usr/bin/limopack").write_text(text)


def test_dpkg_calls_settle_once(root):
    replace(root, TELL)
    root.sh("dpkg -i /repo/1.0/bystander_*.deb")
    assert (root / "run/told").read_text() == "--settle install none\n"


def test_apt_calls_settle_at_the_end(root):
    replace(root, TELL)
    root.sh("apt-get -y install bystander")
    assert (root / "run/told").read_text().splitlines()[-1] == "--settle none none"


def test_dpkg_on_another_root_says_which(root):
    replace(root, TELL)
    other(root)
    root.sh("dpkg --root=/other -i /repo/1.0/bystander_*.deb")
    assert (root / "run/told").read_text() == "--settle install /other\n"


def test_without_anything_to_settle_nothing_is_said(root):
    for command in ("dpkg -i /repo/1.0/bystander_*.deb", "apt-get -y install --reinstall bystander",
                    "limopack --settle"):
        said = root.sh(command)
        assert "limopack" not in said.out + said.err, said


@pytest.mark.parametrize("text", [None, "#!/bin/sh\nexit 1\n", "#!/bin/sh\nkill -KILL $$\n", "#!/no/such/shell\n", ""],
                         ids=["removed", "fails", "is killed", "cannot start", "is empty"])
def test_neither_dpkg_nor_apt_minds_when_limopack(root, text):
    if text is None:
        (root / "usr/bin/limopack").unlink()
    else:
        replace(root, text)
    root.sh("dpkg -i /repo/1.0/bystander_*.deb")
    root.sh("apt-get -y install --reinstall bystander")
    sound(root)


def test_a_settle_while_dpkg_works_waits_for_the_next_one(root):
    """Between two calls of dpkg in one run of apt, forgetting would break apt's plan."""
    said = root.sh(f"apt-get -y install {IMAGE} {K} {REGISTRY} app-a")
    assert "depends on" not in said.out + said.err
    unknown(root, K)
    assert stand_ins(root) and not pending(root)


def test_what_a_missing_hook_left_pending_is_settled_by_the_next_call(root):
    for hook in ("etc/dpkg/dpkg.cfg.d/limopack", "etc/apt/apt.conf.d/90limopack"):
        (root / hook).unlink()
    root.sh(f"apt-get -y install {IMAGE} {REGISTRY} app-a")
    installed(root, K)
    assert K in pending(root)
    root.sh("limopack --settle")
    unknown(root, K)
    sound(root)
    assert not pending(root)


def test_a_pending_package_that_is_not_installed_yet_stays_pending(root):
    """As when dpkg was interrupted before it had configured the package."""
    root.sh(f"apt-get -y install kmod; dpkg --unpack /repo/1.0/{K}_*.deb")
    status = root / "var/lib/dpkg/status"
    (root / "var/lib/limopack").mkdir(exist_ok=True)
    root.sh(f"echo {K} > /var/lib/limopack/pending", ok=None)
    before = status.read_bytes()
    root.sh("limopack --settle")
    assert status.read_bytes() == before and K in pending(root)


LATE = """#!/bin/sh
set -e
[ "$1" = configure ] || exit 0
[ ! -e /etc/late.fails ] || exit 1
limopack --install --use=wireguard
"""


@pytest.mark.parametrize("command", ["dpkg -i /repo/1.0/app-a_*.deb /repo/own/late_*.deb",
                                     "apt-get -y install ./repo/1.0/app-a_*.deb ./repo/own/late_*.deb"])
def test_a_package_that_fails_once_finds_its_modules_when_it_is_configured(stock, command):
    """It had not said yet what it needs, the hook pruned, and it could never be configured."""
    deb(stock / "repo/own", "late", scripts={"postinst": LATE}, Depends=K)
    (stock / "etc/late.fails").touch()
    said = stock.sh(command, ok=(1, 100))
    assert said.err.count("late is half-configured") == 1, said
    assert K in pending(stock) and "wireguard" in files(stock, X)
    (stock / "etc/late.fails").unlink()
    stock.sh("dpkg --configure -a")
    unknown(stock, K)
    assert not pending(stock)
    assert registry(stock, X)["wireguard"] == ("1", {"late"})
    modules_right(stock, X)


@pytest.mark.parametrize("state", ["unpacked", "half-installed", "half-configured", "triggers-awaited",
                                   "triggers-pending"])
def test_nothing_is_settled_while_another_package_is(stock, state):
    stock.sh("dpkg -i /repo/1.0/bystander_*.deb")
    queue(stock)
    status = stock / "var/lib/dpkg/status"
    whole = status.read_text()
    name = "Package: bystander\nStatus: install ok "
    broken = whole.replace(f"{name}installed\n", f"{name}{state}\n")
    assert broken != whole
    status.write_text(broken)
    before = snapshot(stock)
    for settle in ("limopack --settle", "limopack --settle --dry-run", "limopack --install --use=vfat --dry-run",
                   "DPKG_HOOK_ACTION=configure limopack --settle"):
        said = stock.sh(settle)
        assert said.out == "" or "--install" in settle, said
    unchanged(before, snapshot(stock))
    assert said.err == f"limopack: bystander is {state}; what is queued waits until all packages are configured\n"
    status.write_text(whole)
    stock.sh("limopack --settle")
    unknown(stock, K)
    assert not pending(stock)


FLOCK = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
fcntl.flock(fd, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


class busy:
    """Another process holds the lock of a kernel's directory, as a prune does."""

    def __init__(self, root, kernel):
        self.place = str(root / f"lib/modules/{kernel}")

    def __enter__(self):
        self.process = subprocess.Popen([sys.executable, "-c", FLOCK, self.place], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == "held\n"

    def __exit__(self, *_):
        self.process.communicate()


@pytest.mark.parametrize("env", [{"DPKG_HOOK_ACTION": "install"}, {"DPKG_FRONTEND_LOCKED": "true"}],
                         ids=["dpkg", "apt"])
def test_a_hook_does_not_wait_for_ever_for_a_kernel(stock, env):
    """It holds dpkg's lock meanwhile, and dpkg's caller waits for it."""
    queue(stock)
    before = snapshot(stock)
    with busy(stock, X):
        start = time.monotonic()
        said = stock.sh("timeout 60 limopack --settle", env=env)
        assert 2 < time.monotonic() - start < 30
    assert f"/lib/modules/{X} is locked by another limopack" in said.err and "still queued" in said.err, said
    unchanged(before, snapshot(stock))
    assert K in pending(stock)
    stock.sh("limopack --settle", env=env)
    unknown(stock, K)


def test_a_script_does_not_wait_for_ever_for_a_kernel(stock):
    """Nobody holds dpkg's lock here, so that the work is tried at once; then it is queued."""
    env = {"DPKG_MAINTSCRIPT_PACKAGE": "some-app", "DPKG_ROOT": ""}
    with busy(stock, X):
        said = stock.sh(f"timeout 60 limopack --apply --pkname={K}", env=env)
        assert f"{K}: queued" in said.err, said
        said = stock.sh("timeout 60 limopack --install --use=vfat", env=env, ok=(75,))
        assert f"/lib/modules/{X} is locked by another limopack" in said.err, said
    installed(stock, K)
    assert K in pending(stock)


def test_by_hand_a_kernel_is_waited_for(stock):
    with busy(stock, X):
        said = stock.sh("timeout 15 limopack --install --use=vfat", ok=(124,))
        assert said.err == "", said
    assert "vfat" not in registry(stock, X)
