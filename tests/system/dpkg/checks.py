"""What has to be true of a root: of its registry, its modules, its package database, and of apt's view.

Every function asserts, and names what it found; none changes the root.
"""

import hashlib
import os
import stat
from pathlib import Path

import model

AUDITS = ("dpkg --audit", "apt-get -qq check", "apt-get -qq -s upgrade", "apt-get -qq -s dist-upgrade",
          "apt-get -qq -s -f install", "apt-get -qq -s autoremove")


def sound(root):
    """dpkg and apt have nothing to say and nothing to do."""
    for audit in AUDITS:
        said = root.sh(audit, ok=None)
        assert (said.code, said.out, said.err) == (0, "", ""), f"not sound:\n{said}"


def unknown(root, package):
    """No query of dpkg or apt knows the package as installed, and none of its files."""
    for query in (f"dpkg -s {package}", f"dpkg -L {package}"):
        said = root.sh(query, ok=(1,))
        assert "is not installed" in said.err, said
    for line in root.sh(f"dpkg -l {package}", ok=None).out.splitlines():
        assert not line.startswith(("i", "r", "p", "h")), f"dpkg -l: {line}"
    assert "Installed: (none)" in (root.sh(f"apt-cache policy {package}").out or "Installed: (none)")
    for which in ("showauto", "showmanual", "showhold"):
        assert package not in root.sh(f"apt-mark {which}").out.split(), which
    name = package.split(":")[0]
    info = [f.name for f in (root / "var/lib/dpkg/info").iterdir() if f.name.startswith((f"{name}.", f"{name}:"))]
    assert not info, f"left in info/: {info}"


def unowned(root, kernel):
    """dpkg -S knows no owner of any module on disk."""
    for path in files(root, kernel).values():
        for lib in ("/lib", "/usr/lib"):
            said = root.sh(f"dpkg -S {lib}/modules/{kernel}/{path}", ok=(1,))
            assert "no path found" in said.err, said


def forgotten(root, package, kernel):
    """As if the package had never been installed, and yet nothing is broken; nothing is left to do."""
    unknown(root, package)
    unowned(root, kernel)
    sound(root)
    assert not pending(root), pending(root)


def installed(root, package, version=None):
    said = root.sh(f"dpkg-query -W -f '${{db:Status-Abbrev}}${{Version}}' {package}", ok=None)
    assert said.code == 0 and said.out.startswith("ii "), said
    assert version in (None, said.out.split()[1]), said


def stand_ins(root):
    """The names of the packages that stand for forgotten ones."""
    names = root.sh("dpkg-query -W -f '${Package}\\n'").out.split()
    return [name for name in names if name.startswith("limopack-stand-in-")]


def pending(root):
    """The text of limopack's queue."""
    queue = root / "var/lib/limopack/pending"
    return queue.read_text() if queue.is_file() else ""


def registry(root, kernel):
    """modules.active as {name: (count or S, owners)}."""
    entries, owners = {}, {}
    for line in (root / f"lib/modules/{kernel}/modules.active").read_text().splitlines():
        if line.startswith("#@ "):
            owners[line.split()[1]] = set(line.split()[2:])
        elif not line.startswith("#"):
            entries[line.split(":")[0]] = line.split(":")[1]
    assert owners.keys() <= entries.keys(), f"owners without an entry: {owners} {entries}"
    return {name: (count, owners.get(name, set())) for name, count in entries.items()}


def files(root, kernel):
    """The modules on disk, {name: path below the version directory}."""
    top = (root / f"lib/modules/{kernel}")
    found = (f for f in (top / "kernel").rglob("*.ko*"))
    return {f.name.split(".")[0].replace("-", "_"): str(f.relative_to(top)) for f in found}


def parked(root, kernel):
    """The names of the modules in a kernel's park."""
    return {path.stem for path in (root / f"lib/modules/.parked/{kernel}").rglob("*.ko")}


def modules_right(root, kernel, whole=None):
    """What the registered modules need is there, loads, and is what the indexes say; nothing else is
    there. `whole` is the directory with the indexes of the unpruned kernel."""
    index = model.Index(whole or root / "repo/kernel")
    names = [hit for name in registry(root, kernel) for hit in index.resolve(name)]
    kept = set(files(root, kernel))
    assert index.hard(names) <= kept, sorted(index.hard(names) - kept)
    # The roots of these tests are overlays, which is what they boot from.
    assert kept <= index.stays([*names, "overlay"]), sorted(kept - index.stays([*names, "overlay"]))
    assert set(model.Index(root / f"lib/modules/{kernel}").path.values()) == set(files(root, kernel).values())
    empty = [d for d, dirs, names in os.walk(root / f"lib/modules/{kernel}/kernel") if not dirs + names]
    assert not empty, empty
    for name in sorted(kept):
        root.sh(f"modprobe -S {kernel} --show-depends {name}")


def snapshot(root, *places):
    """Everything about the files below the places, to compare a before with an after."""
    seen = {}
    for place in places or ("var/lib/dpkg", "var/lib/apt", "var/lib/limopack", "usr/lib/modules"):
        for folder, dirs, names in os.walk(root / place):
            for path in (Path(folder, n) for n in (*dirs, *names)):
                about = path.lstat()
                what = hashlib.sha1(path.read_bytes()).hexdigest() if stat.S_ISREG(about.st_mode) else None
                times = None if path.is_dir() else (about.st_mtime_ns, about.st_ino)
                seen[str(path.relative_to(root.path))] = (about.st_mode, about.st_uid, about.st_gid, times, what)
    return seen


def unchanged(before, after):
    changed = sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k))
    assert not changed, f"changed: {changed}"
