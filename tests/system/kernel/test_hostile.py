"""Roots that mean harm: links, mounts, devices, names and indexes that lead elsewhere.

Owns one promise: whatever lies in a root, nothing outside of `lib/modules/VERSION/kernel` is
deleted and nothing outside of the root is written or deleted; no call hangs, and each one ends
with an exit code and messages that name what is wrong. All of it with the kernel's own way to
stay inside (openat2), and by hand, as on kernels before 5.6.
"""
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import faults
import model
import small as small_kernel
import tools
import trees

# The modules of the small kernel that the outside has, too, by name and place: what is deleted
# there was taken for one of ours.
TWIN = "kernel/fs"
RENAME_EXCHANGE = 2


@pytest.fixture(scope="module")
def template(scratch):
    root = small_kernel.root(scratch / "hostile")
    tools.limopack(root, "--install", "--static", f"--use={small_kernel.KEPT}")
    return root


class Place:
    """A root with the small kernel, and a place outside of it that must stay as it is."""

    def __init__(self, template, top):
        self.root, self.outside = trees.copy(template, top / "root"), top / "outside"
        self.vdir = trees.directory(self.root)
        self.kernel = self.vdir / "kernel"
        # A copy, so that the files outside have nothing to do with those inside.
        shutil.copytree(self.vdir / TWIN, self.outside / "fs")
        for name in ("precious.ko", "precious", "passwd.ko"):
            (self.outside / name).write_text("precious\n")
        self.kept = set(model.Index(self.vdir).paths(model.Index(self.vdir).stays(small_kernel.KEPT.split(","))))

    def beside(self):
        """All that no prune may change: the outside, and the root without the version directory."""
        inside = {path: what for path, what in trees.snapshot(self.root).items()
                  if not path.startswith(str(self.vdir.resolve().relative_to(self.root.resolve())))}
        return trees.snapshot(self.outside), inside


@pytest.fixture
def place(template, scratch, tmp_path):
    # On the file system of the tree: hard links and exchanges work, and st_dev is no help.
    top = scratch / tmp_path.name
    top.mkdir()
    yield Place(template, top)
    shutil.rmtree(top)


@pytest.fixture(params=["openat2", "by hand"])
def call(request, tmp_path):
    """Runs limopack on a place; as an old kernel would, too."""
    def run(place, *args, before="", code=(0, 1)):
        argv = [tools.binary(), f"--root={place.root}", *args]
        if request.param == "by hand":
            argv = ["strace", "-f", "-qq", "-o", str(tmp_path / "trace"), "-e", "trace=openat2",
                    "-e", "inject=openat2:error=ENOSYS", *argv]
        if before:
            argv = ["unshare", "-m", "sh", "-ec", f'{before}; exec "$@"', "sh", *argv]
        done = subprocess.run(argv, capture_output=True, timeout=faults.PATIENCE, stdin=subprocess.DEVNULL)
        assert done.returncode in code, done
        for line in done.stderr.splitlines():
            assert line.startswith(b"limopack: "), done.stderr
        assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", done.stderr), done.stderr
        assert done.returncode == 0 or done.stderr
        return done
    return run


def socket_at(path):
    # A socket's address is short: bound by a name relative to its directory.
    here = os.getcwd()
    os.chdir(path.parent)
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


def tree_at(path):
    path.mkdir()
    (path / "inner.ko").touch()


# What lies below kernel/, and how it is made there.
TRAPS = {
    "an absolute link to a directory": lambda p: (p.kernel / "linked").symlink_to(p.outside),
    "a relative link to a directory": lambda p: (p.kernel / "linked").symlink_to(
        os.path.relpath(p.outside, (p.kernel).resolve())),
    "a link to the root": lambda p: (p.kernel / "linked").symlink_to("/"),
    "a link to its own directory": lambda p: (p.kernel / "self").symlink_to("."),
    "a loop of links": lambda p: ((p.kernel / "one").symlink_to("two"), (p.kernel / "two").symlink_to("one")),
    "a loop of module links": lambda p: (p.kernel / "loop.ko").symlink_to("loop.ko"),
    "a module that is a link out": lambda p: (p.kernel / "precious.ko").symlink_to(p.outside / "precious.ko"),
    "a module directory that is a link out": lambda p: (
        shutil.rmtree(p.kernel / "fs/ext4"), (p.kernel / "fs/ext4").symlink_to(p.outside / "fs/ext4")),
    "a needed directory that is a link out": lambda p: (
        shutil.rmtree(p.kernel / "fs/fat"), (p.kernel / "fs/fat").symlink_to(p.outside / "fs/fat")),
    "a hard link from outside": lambda p: os.link(p.outside / "precious.ko", p.kernel / "hard.ko"),
    "a FIFO": lambda p: os.mkfifo(p.kernel / "fifo.ko"),
    "a device": lambda p: os.mknod(p.kernel / "zero.ko", stat.S_IFCHR | 0o666, os.makedev(1, 5)),
    "a socket": lambda p: socket_at(p.kernel / "socket.ko"),
    "a directory named like a module": lambda p: tree_at(p.kernel / "dir.ko"),
    "an empty directory named like a module": lambda p: (p.kernel / "fs/ext4/dir.ko").mkdir(),
    "a name with a newline": lambda p: (p.kernel / "new\nline.ko").touch(),
    "a name with a terminal's escape": lambda p: (p.kernel / "\x1b[2Jred.ko").touch(),
    "a name that is no UTF-8": lambda p: open(os.fsencode(p.kernel) + b"/\xff\xfe.ko", "w").close(),
    "a directory that is no UTF-8": lambda p: os.mkdir(os.fsencode(p.kernel) + b"/\xc3\n"),
    "a name of dots": lambda p: (p.kernel / "....ko").touch(),
    "a name that is all extension": lambda p: (p.kernel / ".ko").touch(),
    "the longest name": lambda p: (p.kernel / ("x" * 252 + ".ko")).touch(),
}


@pytest.mark.parametrize("force", [[], ["--force"]], ids=["", "forced"])
@pytest.mark.parametrize("trap", TRAPS)
def test_a_prune_stays_inside_of_kernel_although_there_is(trap, force, place, call):
    TRAPS[trap](place)
    before, strangers = place.beside(), special(place)
    call(place, "--prune", *force)
    assert place.beside() == before
    assert trees.modules(place.vdir) >= {path for path in place.kept if "needed" not in trap or "/fat/" not in path}
    assert special(place) == strangers, "neither a module nor an empty directory"
    for action in (["--list"], ["--tree"], ["--check"], ["--why", "--use=vfat,ext4"],
                   ["--install", "--use=vfat"], ["--remove", "--use=vfat"]):
        call(place, *action)
    assert place.beside() == before


def special(place):
    """What is neither a file, a link nor a directory: never a module, whatever its name."""
    return {path for path, (mode, _) in trees.snapshot(place.root).items()
            if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode))}


LINES = {
    "out of the root": "../../../../../../outside/passwd.ko",
    "out of kernel": "kernel/../../../secret.ko",
    "out by a dependency": "kernel/fs/fat/vfat.ko: ../../../../../../outside/passwd.ko\n#",
    "absolute": "/{outside}/passwd.ko",
    "hidden": "kernel/.hidden.ko",
    "empty": "",
    "a control byte": "kernel/fs/\x07.ko",
    "the registry": "modules.active",
}


@pytest.mark.parametrize("line", LINES)
def test_no_index_leads_a_prune_elsewhere(line, place, call):
    (place.root / "secret.ko").touch()
    dep = place.vdir / "modules.dep"
    dep.write_text(LINES[line].format(outside=place.outside) + ":\n" + dep.read_text())
    for name in place.vdir.glob("*.bin"):
        name.unlink()
    before = place.beside()
    for force in ([], ["--force"]):
        call(place, "--prune", *force)
        call(place, "--install", "--use=passwd,secret,.hidden,modules", *force, code=(0, 1, 2))
        assert place.beside() == before
    assert (place.vdir / "modules.active").exists()


def exchange(path, make):
    path.unlink(missing_ok=True)
    make(path)


# Files that a call reads or replaces, as something else.
KINDS = {
    "a link out": lambda place, path: path.symlink_to(place.outside / "precious"),
    "a link to itself": lambda place, path: path.symlink_to(path.name),
    "a broken link": lambda place, path: path.symlink_to("nowhere"),
    "a FIFO": lambda place, path: os.mkfifo(path),
    "a socket": lambda place, path: socket_at(path),
    "endless zeros": lambda place, path: os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5)),
    "a directory": lambda place, path: path.mkdir(),
    "binary": lambda place, path: path.write_bytes(bytes(range(256)) * 64),
    "one endless line": lambda place, path: path.write_bytes(b"a" * (1 << 20)),
}
FILES = ("modules.active modules.dep modules.dep.bin modules.alias modules.alias.bin modules.softdep "
         "modules.symbols modules.order modules.builtin .modules.active.limopack-new "
         ".modules.dep.limopack-new .modules.dep.limopack-old").split()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FILES)
def test_no_file_of_a_kernel_leads_out_or_hangs_as(name, kind, place, call):
    exchange(place.vdir / name, lambda path: KINDS[kind](place, path))
    before = place.beside()
    for action in (["--install", "--use=dummy"], ["--remove", "--use=dummy"], ["--list"], ["--check"],
                   ["--prune"], ["--prune", "--force"]):
        call(place, *action)
        assert place.beside() == before
        gone = place.kept - trees.modules(place.vdir)
        assert not gone or (name, action[-1]) == ("modules.active", "--force"), (action, gone)


PACKAGE = """Package: modules
Status: install ok installed
Architecture: armhf
Version: 1

Package: needs-it
Status: install ok installed
Architecture: armhf
Version: 1
Depends: modules

"""
DATABASE = {
    "var/lib/dpkg/status": PACKAGE, "var/lib/dpkg/info/modules.list": "/lib/modules/{version}/kernel/fs/ext4/ext4.ko\n",
    "var/lib/dpkg/info/modules.md5sums": "", "var/lib/dpkg/lock": "", "var/lib/dpkg/lock-frontend": "",
    "var/lib/apt/extended_states": "Package: modules\nArchitecture: armhf\nAuto-Installed: 1\n\n",
    "var/lib/limopack/pending": "modules stand-in {version}\n", "var/lib/limopack/forgotten": "other manual {version}\n",
}
FOLDERS = "var var/lib var/lib/dpkg var/lib/dpkg/info var/lib/apt var/lib/limopack var/lib/dpkg/updates".split()
TEMPORARY = "var/lib/dpkg/status-new var/lib/dpkg/status-old var/lib/limopack/.pending.limopack-new".split()


@pytest.fixture
def database(place):
    """The place with a package database that a forget changes, and the same outside."""
    for top in (place.root, place.outside):
        for name, text in DATABASE.items():
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).write_text(text.format(version=place.vdir.name))
        (top / "var/lib/dpkg/updates").mkdir()
    return place


def test_without_a_trap_the_database_is_one_that_a_forget_changes(database, call):
    call(database, "--apply", "--pkname=modules", code=(0,))
    status = (database.root / "var/lib/dpkg/status").read_text()
    assert "Package: modules" not in status and "Package: limopack-stand-in-modules" in status


def forget(place, call):
    before = trees.snapshot(place.outside)
    for action in (["--apply", "--pkname=modules"], ["--settle"], ["--check"], ["--install", "--use=dummy"]):
        call(place, *action)
        assert trees.snapshot(place.outside) == before


@pytest.mark.parametrize("style", ["absolute", "relative"])
@pytest.mark.parametrize("name", FOLDERS)
def test_no_folder_of_the_database_leads_out_as_a_link(name, style, database, call):
    path, target = database.root / name, database.outside / name
    shutil.rmtree(path)
    path.symlink_to(target if style == "absolute" else os.path.relpath(target, path.parent))
    forget(database, call)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [*DATABASE, *TEMPORARY])
def test_no_file_of_the_database_leads_out_or_hangs_as(name, kind, database, call):
    exchange(database.root / name, lambda path: KINDS[kind](database, path))
    forget(database, call)


MOUNTS = {
    "a bind mount of the same file system": "mount --bind {outside} {at}",
    "another file system": "mount -t tmpfs none {at}; cp {outside}/*.ko {at}",
    "a bind mount of a module directory": "mount --bind {outside}/fs {kernel}/fs",
    "a bind mount over kernel itself": "mount --bind {outside} {kernel}",
    "an overlay": "mkdir {at}.work; mount -t overlay none -o lowerdir={outside},upperdir={outside},"
                  "workdir={at}.work {at} 2>/dev/null || mount --bind {outside} {at}",
}


@pytest.mark.parametrize("force", [[], ["--force"]], ids=["", "forced"])
@pytest.mark.parametrize("how", MOUNTS)
def test_a_prune_never_crosses(how, force, place, call):
    """Story: by hand, only another device number told a mount from a directory, so that what was
    bound there from the same file system was pruned."""
    at = place.kernel / "bound"
    at.mkdir()
    before = place.beside()[0]
    done = call(place, "--prune", *force,
                before=MOUNTS[how].format(outside=place.outside, at=at, kernel=place.kernel))
    assert place.beside()[0] == before
    assert b"mount" in done.stderr, "not a word of it"


@pytest.mark.parametrize("what", ["lib/modules", "the version", "the root"])
def test_a_tree_that_is_a_mount_as_a_whole_is_pruned_as_any_other(what, place, call, tmp_path):
    """An image's modules may be bound in, be a subvolume or an overlay: that is not left alone."""
    real = {"lib/modules": place.vdir.parent, "the version": place.vdir, "the root": place.root}[what]
    call(place, "--prune", before=f"mount --bind {real} {real}", code=(0,))
    assert trees.modules(place.vdir) == place.kept


def test_an_overlay_as_the_root_is_pruned_as_any_other(place, call, tmp_path):
    lower, name = place.root.with_name("lower"), place.vdir.name
    place.root.rename(lower)
    for folder in ("root", "upper", "work"):
        (lower.parent / folder).mkdir()
    before = trees.snapshot(lower)
    mount = (f"mount -t overlay none -o lowerdir={lower},upperdir={lower.parent}/upper,"
             f"workdir={lower.parent}/work {place.root}")
    call(place, "--prune", before=mount, code=(0,))
    assert trees.snapshot(lower) == before
    find = f"{mount}; cd {place.root}/usr/lib/modules/{name}; find kernel -name '*.ko'"
    assert set(tools.run("unshare", "-m", "sh", "-ec", find).stdout.split()) == place.kept


class Swapping:
    """Another process that exchanges two paths as fast as it can."""

    SCRIPT = f"""
import ctypes, os, sys
exchange = ctypes.CDLL(None).renameat2
one, other = map(os.fsencode, sys.argv[1:])
print("ready", flush=True)
while True:
    exchange(-100, one, -100, other, {RENAME_EXCHANGE})
"""

    def __init__(self, one, other):
        self.argv = [sys.executable, "-c", self.SCRIPT, str(one), str(other)]

    def __enter__(self):
        self.process = subprocess.Popen(self.argv, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b"ready\n"

    def __exit__(self, *_):
        assert self.process.poll() is None, "the race was not run"
        self.process.kill()
        self.process.communicate()


# What is swapped for a link out of the root, between any check and its use.
RACES = {
    "kernel": ["--prune", "--force"],
    "kernel/fs": ["--prune", "--force"],
    "kernel/fs/ext4": ["--prune", "--force"],
    "modules.dep": ["--prune", "--force"],
    "modules.active": ["--install", "--static", "--use=dummy,loop"],
}


@pytest.mark.parametrize("path", RACES)
def test_what_is_swapped_between_check_and_use_leads_nowhere(path, template, scratch, tmp_path, call):
    for turn in range(12):
        top = scratch / f"{tmp_path.name}-{turn}"
        top.mkdir()
        place = Place(template, top)
        other = place.outside.with_name("swapped")
        target = {"kernel": place.outside, "kernel/fs": place.outside / "fs",
                  "kernel/fs/ext4": place.outside / "fs/ext4"}.get(path, place.outside / "precious")
        other.symlink_to(target)
        before = trees.snapshot(place.outside)
        with Swapping(place.vdir / path, other):
            for _ in range(3):
                call(place, *RACES[path])
        assert trees.snapshot(place.outside) == before
        shutil.rmtree(top)


@pytest.mark.parametrize("directory", ["lib", "usr/lib/modules", "the version"])
def test_a_root_whose_directories_are_swapped_for_links_is_not_left(directory, template, scratch, tmp_path, call):
    for turn in range(12):
        top = scratch / f"{tmp_path.name}-{turn}"
        top.mkdir()
        place = Place(template, top)
        # Outside lies a whole kernel of the same version, ready to be pruned.
        decoy = trees.copy(template, top / "decoy")
        name = f"usr/lib/modules/{place.vdir.name}" if directory == "the version" else directory
        target = decoy / ("usr/lib" if name == "lib" else name)
        (top / "swapped").symlink_to(target)
        before = trees.snapshot(decoy)
        with Swapping(place.root / name, top / "swapped"):
            for args in (["--install", "--static", "--use=dummy"], ["--prune", "--force"], ["--prune"]):
                call(place, *args)
        assert trees.snapshot(decoy) == before
        shutil.rmtree(top)
