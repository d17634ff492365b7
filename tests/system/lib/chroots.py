"""Debian roots to break: made once by debootstrap, kept as tarballs, laid out afresh for each test.

Owns every mount of the tests. All of them live in a mount namespace of the test process, so that
none outlives it, however it ends. Must never read or write the host's package database.
"""

import atexit
import ctypes
import functools
import os
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

import fetch
from tools import run

# suite → the debootstrap script that makes it
SUITES = {"bookworm": "bookworm", "trixie": "trixie", "forky": "sid"}
# Those in which every test of dpkg and apt runs; the one between differs in its apt.
USUAL = ("bookworm", "forky")
ENV = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C",
    "TERM": "dumb",
    "DEBIAN_FRONTEND": "noninteractive",
}
APT_CONF = 'Dpkg::Use-Pty "0"; APT::Sandbox::User "root"; Acquire::Languages "none";\n'
# What runs programs for another processor: qemu's name, and how such a file begins, with the bits that count.
FOREIGN = {"armhf": ("qemu-arm-static", r"\x7fELF\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x28\x00",
                     r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff")}
BINFMT = Path("/proc/sys/fs/binfmt_misc")
CLONE_NEWNS = 0x20000
MS_REC, MS_PRIVATE, MNT_DETACH = 0x4000, 0x40000, 2
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class Result:
    """What a command printed, and how it ended (negative: by a signal)."""

    command: str
    code: int
    out: str
    err: str

    def __str__(self):
        return f"$ {self.command}\n{self.out}{self.err}[exit {self.code}]"


def mount(*args):
    run("mount", *args)


def umount(at):
    if _libc.umount2(os.fsencode(at), MNT_DETACH):
        raise OSError(ctypes.get_errno(), f"cannot unmount {at}")


def own_mounts():
    """Gives this process its own mount namespace."""
    for failed in (_libc.unshare(CLONE_NEWNS),
                   _libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None)):
        if failed:
            raise OSError(ctypes.get_errno(), "a mount namespace needs root")


@functools.cache
def emulate(arch):
    """Lets this machine start programs for another processor, in roots that have no emulator, too, until this
    process ends. The kernel keeps a static qemu of Debian's open for them: binfmt_misc's flag F."""
    name, magic, mask = FOREIGN[arch]
    qemu = fetch.unpacked("bookworm", "amd64", ["qemu-user-static"]) / f"usr/bin/{name}"
    mount("-t", "binfmt_misc", "binfmt_misc", BINFMT)
    entry = BINFMT / f"limopack-tests-{os.getpid()}"
    (BINFMT / "register").write_text(f":{entry.name}:M::{magic}:{mask}:{qemu}:F")
    atexit.register(entry.write_text, "-1")


def tarball(suite, arch="amd64"):
    """The suite's minimal system, from the cache or from the archive."""
    if arch in FOREIGN:
        emulate(arch)

    def build(directory):
        tree = directory / "tree"
        run("debootstrap", "--variant=minbase", f"--arch={arch}", f"--keyring={fetch.keys(suite)[-1]}",
            suite, tree, fetch.mirror(), SUITES[suite])
        run("tar", "-C", tree, "-cf", directory / "tree.tar", ".")
        shutil.rmtree(tree)
    name = f"{suite}-{arch}" if arch in FOREIGN else suite
    return fetch.entry(f"chroots/{name}", build) / "tree.tar"


def inside(tree, script):
    """Runs a shell script in a directory with a Debian, which has its /proc for as long."""
    enter = 'mount -t proc proc "$0/proc"; exec chroot "$0" /bin/sh -ec "$1"'
    return run("unshare", "--mount", "sh", "-ec", enter, tree, script, env=ENV)


def install(tree, suite, arch, *packages):
    """Installs the suite's packages in a directory with a Debian, with what they depend on."""
    needed = set(fetch.dependencies(suite, arch, *packages))
    present = inside(tree, "dpkg-query -W -f '${Package}\\n'").stdout.split()
    (tree / "debs").mkdir()
    for deb in fetch.debs(suite, arch, sorted(needed - set(present))):
        shutil.copy(deb, tree / "debs")
    inside(tree, "apt-get install -qq --no-install-recommends -o APT::Sandbox::User=root /debs/*.deb")
    shutil.rmtree(tree / "debs")


class Roots:
    """Where the tests' roots lie: in memory, because dpkg syncs so often."""

    def __init__(self, top):
        self.top, self.count = Path(top), 0
        mount("-t", "tmpfs", "-o", "mode=755", "limopack-tests", self.top)

    def base(self, suite):
        """The suite as debootstrap left it, for reading only."""
        tree = self.top / "base" / suite
        if not tree.exists():
            tree.mkdir(parents=True)
            run("tar", "-C", tree, "-xf", tarball(suite))
            # packages come from the tests' own archives only
            (tree / "etc/apt/sources.list").write_text("")
            (tree / "etc/apt/apt.conf.d/00tests").write_text(APT_CONF)
            for lists in (tree / "var/lib/apt/lists").glob("*_*"):
                lists.unlink()
        return tree

    def fresh(self, suite):
        """A root for one test: nothing it does is seen by another one."""
        return self._root(suite, self.base(suite))

    def copy(self, root):
        """A root that starts as `root` is now; `root` must rest as long as the copy lives."""
        return self._root(root.suite, root.layers)

    def disk(self, root, size):
        """A root on a file system of its own, that starts as `root` is now."""
        self.count += 1
        return Disk(root, self.top / f"{root.suite}-{os.getpid()}-{self.count}", size)

    def _root(self, suite, lower):
        self.count += 1
        return Root(lower, self.top / f"{suite}-{os.getpid()}-{self.count}", suite)


class Root:
    """A writable view of `lower`, with /proc; a context manager."""

    def __init__(self, lower, place, suite):
        self.place, self.path, self.suite = place, place / "root", suite
        self.layers = f"{place}/upper:{lower}"
        for name in ("root", "upper", "work"):
            (place / name).mkdir(parents=True)
        mount("-t", "overlay", "overlay", "-o",
              f"lowerdir={lower},upperdir={place}/upper,workdir={place}/work", self.path)
        mount("-t", "proc", "proc", self.path / "proc")

    def __truediv__(self, name):
        return self.path / str(name).lstrip("/")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        umount(self.path / "proc")
        umount(self.path)
        shutil.rmtree(self.place)

    def sh(self, script, ok=(0,), env=None, user=0):
        """Runs a shell script inside; exit codes outside `ok` fail the test (None: any is fine)."""
        argv = ["chroot", f"--userspec={user}:{user}", str(self.path), "/bin/sh", "-ec", script]
        done = subprocess.run(argv, env={**ENV, **(env or {})}, stdin=subprocess.DEVNULL, text=True,
                              capture_output=True, errors="surrogateescape", cwd="/")
        result = Result(script, done.returncode, done.stdout, done.stderr)
        assert ok is None or result.code in ok, f"unexpected exit:\n{result}"
        return result


class Disk(Root):
    """A copy of a root on an ext4 of `size` bytes, its /dev/vda."""

    def __init__(self, root, place, size):
        self.place, self.outside, self.suite = place, place / "root", root.suite
        self.outside.mkdir(parents=True)
        with open(place / "image", "wb") as image:
            image.truncate(size)
        run("mkfs.ext4", "-q", place / "image")
        mount("-o", "loop", place / "image", self.outside)
        run("cp", "-ax", f"{root.path}/.", self.outside)
        # A second time from inside, under the name that it has there: grub finds no kernel on a loop device.
        os.mknod(self.outside / "dev/vda", stat.S_IFBLK | 0o600, self.outside.stat().st_dev)
        run("chroot", self.outside, "mount", "/dev/vda", "/mnt", env=ENV)
        self.path = self.layers = self.outside / "mnt"
        mount("-t", "proc", "proc", self.path / "proc")

    def __exit__(self, *_):
        umount(self.path / "proc")
        umount(self.path)
        umount(self.outside)
        shutil.rmtree(self.place)

    def used(self):
        """Bytes in use, those not yet written to it, too."""
        about = os.statvfs(self.path)
        return (about.f_blocks - about.f_bfree) * about.f_frsize
