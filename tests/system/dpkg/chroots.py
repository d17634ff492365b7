"""Debian roots to break: made once by debootstrap, kept as tarballs, laid out afresh for each test.

Owns every mount of the tests. All of them live in a mount namespace of the test process, so that
none outlives it, however it ends. Never reads or writes the host's package database.
"""

import ctypes
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SUITES = {"bookworm": "bookworm", "forky": "sid"}  # suite → the debootstrap script that makes it
TOP = Path(__file__).resolve().parents[3]
CACHE = Path(os.environ.get("LIMOPACK_CACHE", TOP / "target/system")) / "dpkg"
ENV = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C",
    "TERM": "dumb",
    "DEBIAN_FRONTEND": "noninteractive",
}
APT_CONF = 'Dpkg::Use-Pty "0"; APT::Sandbox::User "root"; Acquire::Languages "none"; Acquire::Check-Valid-Until "false";\n'
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


def run(*argv, cwd=None, env=None, stdin=None):
    """Runs a command on the host; a failure is loud and shows all that it printed."""
    done = subprocess.run([str(a) for a in argv], cwd=cwd, env=env, input=stdin, text=True,
                          capture_output=True, errors="surrogateescape")
    result = Result(" ".join(map(str, argv)), done.returncode, done.stdout, done.stderr)
    assert result.code == 0, f"failed:\n{result}"
    return result


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


def mirror():
    """The Debian archive that the host itself uses."""
    targets = run("apt-get", "indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)").out
    for origin, label, uri in (line.split(" ", 2) for line in targets.splitlines()):
        if origin == label == "Debian":
            return uri
    raise RuntimeError("apt-get indextargets names no Debian archive: run apt-get update first")


def keyring():
    """The newest archive keys that the host's own apt vouches for: those of later suites too."""
    ring = CACHE / "keyring/usr/share/keyrings/debian-archive-keyring.gpg"
    if not ring.exists():
        fresh = CACHE / "keyring"
        fresh.mkdir(parents=True, exist_ok=True)
        # not the installed ones: they may be older than the suite
        run("apt-get", "-o", "APT::Sandbox::User=root", "download", "debian-archive-keyring", cwd=fresh)
        run("dpkg-deb", "-x", next(fresh.glob("*.deb")), fresh)
    return ring


def tarball(suite):
    """The suite's minimal system, from the cache or from the archive."""
    made = CACHE / f"{suite}.tar"
    if not made.exists():
        tree = CACHE / f"{suite}.new"
        shutil.rmtree(tree, ignore_errors=True)
        tree.mkdir(parents=True)
        run("debootstrap", "--variant=minbase", f"--keyring={keyring()}",
            suite, tree, mirror(), SUITES[suite])
        run("tar", "-C", tree, "-cf", f"{made}.new", ".")
        os.rename(f"{made}.new", made)
        shutil.rmtree(tree)
    return made


class Roots:
    """Where the tests' roots lie: in memory, because dpkg syncs so often."""

    def __init__(self, top):
        self.top = Path(top)
        self.count = 0
        mount("-t", "tmpfs", "-o", "mode=755", "limopack-tests", self.top)

    def base(self, suite):
        """The suite as debootstrap left it, for reading only."""
        tree = self.top / "base" / suite
        if not tree.exists():
            tree.mkdir(parents=True)
            run("tar", "-C", tree, "-xf", tarball(suite))
            # packages come from the tests' own archive only
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
        return self._root(root.suite, f"{root.place}/upper:{root.lower}")

    def _root(self, suite, lower):
        self.count += 1
        return Root(lower, self.top / f"{suite}-{self.count}", suite)


class Root:
    """A writable view of `lower`, with /proc; a context manager."""

    def __init__(self, lower, place, suite):
        self.lower, self.place, self.path, self.suite = lower, place, place / "root", suite
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
        for at in (self.path / "proc", self.path):
            umount(at)
        shutil.rmtree(self.place)

    def sh(self, script, ok=(0,), env=None, user=0):
        """Runs a shell script inside; exit codes outside `ok` fail the test (None: any is fine)."""
        argv = ["chroot", f"--userspec={user}:{user}", str(self.path), "/bin/sh", "-ec", script]
        done = subprocess.run(argv, env={**ENV, **(env or {})}, stdin=subprocess.DEVNULL, text=True,
                              capture_output=True, errors="surrogateescape", cwd="/")
        result = Result(script, done.returncode, done.stdout, done.stderr)
        assert ok is None or result.code in ok, f"unexpected exit:\n{result}"
        return result
