"""Roots with a kernel's modules: cheap copies, snapshots, comparison.

Owns the way tests copy a pristine root: module files are hard links (nothing
writes into a module), everything else is a real copy, so that an edit in place
shows up in the copy and never in the original.
"""
import os
import shutil
from pathlib import Path

# Room on a tmpfs for the pristine kernels and their copies.
ROOM = 4 << 30


def scratch_place():
    """Where copies live: /dev/shm if it is a tmpfs with room, for deleting thousands of
    files is slow elsewhere; $LIMOPACK_SCRATCH overrides."""
    place = os.environ.get("LIMOPACK_SCRATCH")
    if not place and os.path.ismount("/dev/shm") and shutil.disk_usage("/dev/shm").free > ROOM:
        place = "/dev/shm"
    place = place or Path(__file__).resolve().parents[3] / "target/scratch"
    os.makedirs(place, exist_ok=True)
    return str(place)


def link_modules(source, target):
    if ".ko" in os.path.basename(source):
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def copy(root, target, copy_file=link_modules):
    """A copy of `root` at `target`; `copy_file=shutil.copy2` shares nothing."""
    shutil.copytree(root, target, symlinks=True, copy_function=copy_file, dirs_exist_ok=True)
    return Path(target)


def pick(vdir, root, paths):
    """A root that has only `paths` of a kernel's modules; depmod has yet to index it."""
    target = Path(root) / "usr/lib/modules" / vdir.name
    for path in paths:
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        copy_module = os.link if (vdir / path).stat().st_dev == target.stat().st_dev else shutil.copy2
        copy_module(vdir / path, target / path)
    for name in ("modules.builtin", "modules.builtin.modinfo"):
        shutil.copy2(vdir / name, target / name)
    order = (vdir / "modules.order").read_text().splitlines(keepends=True)
    (target / "modules.order").write_text("".join(o for o in order if o.strip() in set(paths)))
    (Path(root) / "lib").symlink_to("usr/lib")


def version(root):
    """The one kernel version in `root`; what is parked is none."""
    versions = [name for name in os.listdir(Path(root) / "lib/modules") if not name.startswith(".")]
    assert len(versions) == 1, f"{root}/lib/modules: one version expected, found {versions}"
    return versions[0]


def directory(root):
    """The version directory of the one kernel in `root`."""
    return Path(root) / "lib/modules" / version(root)


def park(root):
    """Where the one kernel's modules are parked."""
    return Path(root) / "lib/modules/.parked" / version(root)


def modules(vdir):
    """The module files below a version directory, as relative paths."""
    return {os.path.relpath(os.path.join(top, name), vdir)
            for top, _, names in os.walk(vdir) for name in names
            if name.endswith((".ko", ".ko.gz", ".ko.xz", ".ko.zst"))}


def snapshot(root):
    """Everything below `root`: path → mode and target or bytes (modules: their inode)."""
    found = {}
    for top, names, files in os.walk(root):
        for name in names + files:
            path = os.path.join(top, name)
            info = os.lstat(path)
            if os.path.islink(path):
                content = os.readlink(path)
            elif not os.path.isfile(path):
                content = None
            elif ".ko" in name:
                content = info.st_ino
            else:
                content = Path(path).read_bytes()
            found[os.path.relpath(path, root)] = (info.st_mode, content)
    return found


def move_modules_behind_link(image, decoy, style):
    """Make image/usr/lib/modules a link to DECOY/modules, which the image has too.

    Outside the image, DECOY/modules/VERSION is a kernel with the one module
    `decoy`: whoever resolves the link outside the image finds that one.
    """
    name, target = version(image), f"{decoy}/modules"
    inside = image / target[1:]
    inside.parent.mkdir(parents=True)
    os.rename(image / "usr/lib/modules", inside)
    (image / "usr/lib/modules").symlink_to(target if style == "absolute" else "../" * 40 + target[1:])
    (image / "lib").unlink()
    (image / "lib").symlink_to("/usr/lib")
    outside = Path(target) / name
    (outside / "kernel").mkdir(parents=True)
    (outside / "kernel/decoy.ko").touch()
    (outside / "modules.dep").write_text("kernel/decoy.ko:\n")
    (outside / "modules.builtin").touch()
    (outside / "modules.order").write_text("kernel/decoy.ko\n")
