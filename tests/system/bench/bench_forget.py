"""What it costs to forget one package of 3000, beside `cp` and `sync` of dpkg's status.

Owns the rows of the forget. Both do their work durably. The package's kernel is pruned already, so that
only the database is at work.

The limit holds for an ext4 of its own, in memory: its journal commits count, and no other program
writes to it. This machine's disk is shown, too: there a forget waits for two flushes, of the new
status and of its name, and `sync` for one.
"""
import os
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path

import chroots
import fetch
import measure
import tools

PACKAGES, ROUNDS, LIMIT = 3000, 21, 1.3
KERNEL, MODULES = "6.6.0-lima", "kernel-modules-6.6.0-lima"
STANZA = """Package: {name}
Status: install ok installed
Priority: optional
Section: libs
Installed-Size: {size}
Maintainer: Some Maintainers <pkg-{name}@example.org>
Architecture: amd64
Multi-Arch: same
Source: source-of-{name} ({size}-1)
Version: 2:{size}.0.1-1+deb12u3
Depends: libc6 (>= 2.36), libgcc-s1 (>= 3.0), package-{other} (>= 1.2.3), package-{another} | virtual-{other}
Breaks: package-{other} (<< 0.5), package-{another}-dev (<< 1:0.9~)
Description: package number {size} of a machine with much on it
 This is the kind of text that every package has, a few lines of it, so that
 the file becomes as large as it is on a real machine.
 .
 It also has a second paragraph.
Homepage: https://example.org/{name}/

"""
FORGOTTEN = f"""Package: {MODULES}
Status: install ok installed
Maintainer: Lima Pack <lima@example.org>
Architecture: amd64
Version: 1.0
Depends: kmod
Description: modules

"""


def machine(top):
    """A root with the database and one module, that is registered."""
    admin, vdir = top / "var/lib/dpkg", top / f"usr/lib/modules/{KERNEL}"
    for folder in (admin / "info", admin / "updates", vdir / "kernel"):
        folder.mkdir(parents=True)
    (top / "lib").symlink_to("usr/lib")
    stanzas = [STANZA.format(name=f"package-{n}", size=n, other=n * 7 % PACKAGES, another=n * 11 % PACKAGES)
               for n in range(PACKAGES - 1)]
    # As dpkg writes it: sorted by name. Each stanza begins with that. (dpkg: lib/dpkg/dump.c, writedb_stanzas)
    (admin / "status").write_text("".join(sorted([*stanzas, FORGOTTEN])))
    (admin / "info/format").write_text("1\n")
    (vdir / "kernel/vfat.ko").touch()
    (vdir / "modules.dep").write_text("kernel/vfat.ko:\n")
    (vdir / "modules.active").write_text("vfat:S\n")
    return admin


def restore(top, admin, status):
    """The package is installed again, and nothing waits to be written."""
    (admin / "status").write_bytes(status)
    module = f"lib/modules/{KERNEL}/kernel/vfat.ko"
    parents = [f"/{path}\n" for path in reversed(Path(module).parents) if path.name]
    (admin / f"info/{MODULES}.list").write_text("".join(["/.\n", *parents, f"/{module}\n"]))
    (admin / f"info/{MODULES}.md5sums").write_text(f"d41d8cd98f00b204e9800998ecf8427e  {module}\n")
    shutil.rmtree(top / "var/lib/limopack", ignore_errors=True)
    (admin / "copy").unlink(missing_ok=True)
    os.sync()


def bench(place):
    """Median seconds of both."""
    admin = machine(place)
    status = (admin / "status").read_bytes()
    commands = {"forget": [tools.binary(), f"--root={place}", "--apply", f"--pkname={MODULES}"],
                "copy": ["sh", "-c", f"cp {admin}/status {admin}/copy && sync {admin}/copy"]}

    def seconds(command):
        restore(place, admin, status)
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        taken = time.perf_counter() - start
        gone = f"Package: {MODULES}\n".encode() not in (admin / "status").read_bytes()
        assert gone == (command is commands["forget"])
        return taken
    return measure.taking_turns(commands, ROUNDS, seconds)


@contextmanager
def own_ext4(place):
    """A file system that nobody else uses, mounted in `place`, which is in memory."""
    tools.run("truncate", "-s", "256M", place / "image")
    tools.run("mkfs.ext4", "-q", place / "image")
    (place / "mounted").mkdir()
    chroots.mount("-o", "loop", place / "image", place / "mounted")
    try:
        yield place / "mounted"
    finally:
        chroots.umount(place / "mounted")


def rows(place):
    for what, limit in (("ext4 of its own, in memory", LIMIT), ("this machine's disk", None)):
        with tempfile.TemporaryDirectory(dir=place if limit else fetch.TOP / "target") as top:
            with own_ext4(Path(top)) if limit else nullcontext(Path(top)) as disk:
                taken = bench(disk / "root")
        yield measure.ratio(f"`--apply` that forgets one of {PACKAGES} packages, beside `cp` and `sync`, on {what}",
                            taken["forget"], taken["copy"], measure.milliseconds, limit)
