"""The power goes right after limopack has ended, and nothing was written since that was not asked to be.

Each file system lies in an image, and a copy of the image at that moment is what a disk would hold:
what nobody has synced is not in it, and no order is kept that nobody has asked for.
"""

import shutil
from contextlib import contextmanager

import pytest

import fetch
import trees
from chroots import mount, umount
from packages import ARCH, K, X
from test_locks import BOTH, held, queue
from tools import binary, run, system_calls

DATABASE = ("var/lib/dpkg", "var/lib/apt/extended_states", "var/lib/limopack", f"usr/lib/modules/{X}")


def make(kind, image):
    run("truncate", "-s", "300M", image)
    if kind == "btrfs":
        tools = fetch.with_dependencies("bookworm", ARCH, "btrfs-progs")
        libraries = tools / "usr/lib/x86_64-linux-gnu"
        run(libraries / "ld-linux-x86-64.so.2", "--library-path", libraries, tools / "usr/sbin/mkfs.btrfs", "-q", image)
    else:
        run(f"mkfs.{kind}", "-q", image)


@contextmanager
def mounted(image, place):
    place.mkdir()
    mount("-o", "loop", image, place)
    try:
        yield place
    finally:
        umount(place)
        place.rmdir()


@pytest.fixture(params=["ext4", "btrfs"])
def image(request, tmp_path):
    make(request.param, tmp_path / "image")
    return tmp_path / "image"


def fill(system, top):
    """What limopack works with of a system, all of it written."""
    for place in DATABASE:
        if (system / place).exists():
            (top / place).parent.mkdir(parents=True, exist_ok=True)
            run("cp", "-a", system / place, top / place)
    (top / "lib").symlink_to("usr/lib")
    run("sync")


def cut(image, place):
    """What a disk would hold now."""
    shutil.copyfile(image, place)
    return place


@pytest.mark.parametrize("how", ["apply", "settle"])
def test_what_is_recorded_as_gone_is_gone(stock, image, tmp_path, how):
    """btrfs had all modules back, and status did not know them: prune and apply were refused."""
    if how == "settle":
        queue(stock)
    arguments = ["--settle"] if how == "settle" else ["--apply", f"--pkname={K}"]
    with mounted(image, tmp_path / "disk") as disk:
        fill(stock, disk)
        run(binary(), f"--root={disk}", *arguments)
        kept = trees.modules(disk / f"usr/lib/modules/{X}")
        copy = cut(image, tmp_path / "copy")
    with mounted(copy, tmp_path / "after") as disk:
        status = (disk / "var/lib/dpkg/status").read_text()
        assert f"Package: {K}\n" not in status, "nothing was recorded: the test shows nothing"
        assert trees.modules(disk / f"usr/lib/modules/{X}") == kept
        assert (disk / "var/lib/limopack/forgotten").read_text() == f"{K} manual {X}\n"
        said = run(binary(), f"--root={disk}", "--apply", f"--pkname={K}")
        assert f"{K} is forgotten already" in said.stderr
        run(binary(), f"--root={disk}", "--prune", f"--kernel={X}")


def test_everything_is_synced_before_status_is_replaced(stock):
    """The order in which it is asked for, whatever the file system makes of it."""
    calls = system_calls("chroot", stock.path, "limopack", "--apply", f"--pkname={K}")

    def last(*words):
        return max(at for at, call in enumerate(calls) if all(word in call for word in words))
    commit = last("rename", '"status-new"')
    unlinked = max(at for at, call in enumerate(calls) if "unlinkat(" in call and ".ko" in call)
    noted = last("rename", '"forgotten"')
    synced = last("syncfs(")
    assert max(unlinked, noted) < synced < commit
    assert last("fsync(", "status-new") < commit


@pytest.mark.parametrize("damage", ["", "\0" * 40 + "\n", "\n\n", f"{K}\n", f"{K} manual {X[:4]}"],
                         ids=["empty", "zeros", "no text", "a name alone", "half a line"])
@pytest.mark.parametrize("as_script", [False, True], ids=["by hand", "in a script"])
def test_what_was_forgotten_may_itself_be_forgotten(stock, damage, as_script):
    """An empty file, as a power cut left it, and the same command failed for ever."""
    stock.sh(f"limopack --apply --pkname={K}")
    note = stock / "var/lib/limopack/forgotten"
    note.write_text(damage)
    for _ in range(2):
        stock.sh("limopack --settle")
        said = queue_again(stock) if as_script else stock.sh(f"limopack --apply --pkname={K}")
        assert "/var/lib/limopack/forgotten" in said.err and "warning" in said.err, said
    # And everything else works.
    stock.sh("limopack --install --use=vfat; limopack --check --quiet", ok=None)
    stock.sh(f"apt-get -y install {K}; limopack --apply --pkname={K}")
    assert note.read_text() == f"{K} manual {X}\n"
    assert "is forgotten already" in stock.sh(f"limopack --apply --pkname={K}").err


def queue_again(root):
    with held(root, *BOTH):
        return root.sh(f"limopack --apply --pkname={K}", env={"DPKG_MAINTSCRIPT_PACKAGE": "some-app"})


def test_without_that_file_a_package_that_is_not_there_is_still_an_error(stock):
    """Nothing was ever forgotten, so that the name can only be a wrong one."""
    assert "nokia is not installed" in stock.sh("limopack --apply --pkname=nokia", ok=(1,)).err
    stock.sh(f"limopack --apply --pkname={K}; apt-get -y install {K}; limopack --settle")
    assert not (stock / "var/lib/limopack/forgotten").exists()
    assert "nokia is not installed" in stock.sh("limopack --apply --pkname=nokia", ok=(1,)).err
