"""Debian's own kernels as two archives, `old` and `new`, and a machine that goes from one to the other.

An archive of Debian's has one metapackage, that of the newest kernel: the one before is made from it.
Where it has but one kernel, as that of testing, the next is the same one under the next number.

Owns what has to be true of such a machine. Must leave the cache as it is: what is made goes to the root.
"""

import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import fetch
import model
import packages
from checks import files, installed, modules_right, pending, registry, sound, stand_ins, unknown, unowned
from packages import ARCH, CLOUD
from tools import binary, run

FLAVOUR = CLOUD.removeprefix("linux-image-")
WHOLE = "whole"  # below it, the indexes of each kernel as depmod has made them
# Keeps them: limopack's hooks come later.
HOOK = f"""#!/bin/sh
set -e
mkdir -p /{WHOLE}/$1
cp /lib/modules/$1/modules.* /{WHOLE}/$1
"""
# apt keeps the last two kernels by itself.
ALL = "-o APT::Protect-Kernels=false"
FAST = "etc/initramfs-tools/conf.d/fast"
# What a virtual machine has loaded that serves web pages, in containers, too.
LOADED = """ext4 crc32c_generic virtio_net virtio_blk virtio_pci virtio_rng virtio_balloon nvme ena gve vfat
nls_ascii nls_cp437 efivarfs overlay fuse bridge br_netfilter veth nf_tables nft_compat nft_ct nft_masq
xt_MASQUERADE xt_conntrack xt_LOG tls binfmt_misc aesni_intel crc32_pclmul configfs dm_mod isofs cdrom
sr_mod ata_piix ahci autofs4 loop""".split()


@dataclass(frozen=True)
class Kernel:
    """One kernel's packages."""
    release: str
    version: str
    debs: tuple

    @property
    def image(self):
        return f"linux-image-{self.release}"

    @property
    def modules(self):
        """The package with its modules; Debian 14 has one of their own."""
        names = [deb.name.split("_")[0] for deb in self.debs]
        return next((name for name in names if name.startswith("linux-modules-")), self.image)


def of(suite, image, names):
    """The kernel with this image; its packages are among these names."""
    release = image.removeprefix("linux-image-")
    debs = tuple(fetch.deb(suite, ARCH, name) for name in names if name.endswith(release))
    return Kernel(release, version_of(debs[0]), debs)


def version_of(deb):
    return run("dpkg-deb", "-f", deb, "Version").stdout.strip()


def remade(deb, out, *changes):
    """The package with other words in its names and scripts: each change is what is there, and what comes."""
    def changed(text):
        for old, new in changes:
            text = text.replace(old, new)
        return text
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as top:
        tree = Path(top) / "tree"
        run("dpkg-deb", "-R", deb, tree)
        for file in (tree / "DEBIAN").iterdir():
            file.write_text(changed(file.read_text()))
        for path in sorted(tree.rglob("*"), reverse=True):  # what lies in a directory comes before it
            path.rename(path.with_name(changed(path.name)))
        run("dpkg-deb", "-Znone", "--root-owner-group", "-b", tree, top)
        made, = Path(top).glob("*.deb")
        return made.rename(out / made.name)


def following(kernel, out):
    """The kernel again, as the next ABI and the next version."""
    number = re.search(rf"(\d+)(\+\w+)?-{FLAVOUR}$", kernel.release)
    release = f"{kernel.release[:number.start()]}{int(number[1]) + 1}{kernel.release[number.end(1):]}"
    version = f"{kernel.version}.1"
    changes = (kernel.release, release), (kernel.version, version)
    return Kernel(release, version, tuple(remade(deb, out, *changes) for deb in kernel.debs))


def archives(suite, names, out):
    """Makes `old` and `new` below `out`, of the suite's packages with these names; the two kernels."""
    images = [name for name in names if re.match(r"linux-image-\d", name)]
    old, *newer = (of(suite, image, names) for image in images)
    new, = newer or [following(old, out / "made")]
    metapackages = [fetch.deb(suite, ARCH, name) for name in names if re.match(rf"linux-[a-z]+-{FLAVOUR}$", name)]
    for folder, kernel, other in (("old", old, new), ("new", new, old)):
        (out / folder).mkdir()
        for deb in kernel.debs:
            shutil.copy(deb, out / folder)
        for deb in metapackages:
            if version_of(deb) == kernel.version:
                shutil.copy(deb, out / folder)
            else:
                remade(deb, out / folder, (other.release, kernel.release), (other.version, kernel.version))
        packages.index(out / folder)
        # By its origin unattended-upgrades knows what it may install.
        said = run("apt-ftparchive", "-o", "APT::FTPArchive::Release::Origin=Lima", "release", ".", cwd=out / folder)
        (out / folder / "Release").write_text(said.stdout)
    return old, new


def provide(root, *asked):
    """Puts these packages and what they depend on into the archive `debian`; the names of all of them."""
    out = root / "repo/debian"
    out.mkdir(parents=True, exist_ok=True)
    present = root.sh("dpkg-query -W -f '${Package}\\n'").out.split()
    names = sorted(set(fetch.dependencies(root.suite, ARCH, *asked)) - set(present))
    for deb in fetch.debs(root.suite, ARCH, names):
        if not deb.name.split("_")[0].endswith(FLAVOUR):
            shutil.copy(deb, out)
    packages.index(out)
    return names


@dataclass
class Machine:
    """A root, and the kernels that are and will be its."""
    root: object
    old: Kernel
    new: Kernel
    said: object = None

    def sh(self, script, **how):
        return self.root.sh(script, **how)

    def install(self, *names):
        return self.sh(f"apt-get -y --no-install-recommends install {' '.join(names)}")

    def apply(self):
        return self.sh(f"limopack --apply --keep-pruned --pkname={self.old.modules}")

    def sees_the_next(self):
        """apt learns that there is another kernel."""
        packages.sources(self.root, "debian", "new")


def bought(root):
    """A machine with the older kernel, whole, that has registered what it has loaded."""
    names = provide(root, CLOUD, *fetch.images(root.suite, ARCH, FLAVOUR)[-2:], "initramfs-tools", "zstd")
    machine = Machine(root, *archives(root.suite, names, root / "repo"))
    packages.sources(root, "debian", "old")
    run("make", "-C", fetch.TOP, "install", f"BIN={binary()}", "PREFIX=/usr", f"DESTDIR={root.path}")
    hook = root / "etc/kernel/postinst.d/zz-whole"
    hook.write_text(HOOK)
    hook.chmod(0o755)
    machine.install("initramfs-tools", "zstd")  # first: else it makes the same image twice
    (root / FAST).write_text("COMPRESSLEVEL=1\n")
    machine.install(CLOUD)
    index = model.Index(root / WHOLE / machine.old.release)
    loaded = sorted(index.hard(name for name in LOADED if name in index.path))
    (root / "loaded").write_text("".join(f"{name} 16384 0 - Live 0x0000000000000000\n" for name in loaded))
    root.sh("limopack --install --static --from=/loaded")
    return machine


def right(machine, *there):
    """These kernels are there, pruned and as dpkg says, and nothing is left of any other one."""
    root, releases = machine.root, {kernel.release for kernel in there}
    assert {path.name for path in (root / "lib/modules").iterdir()} == releases
    kinds = ["vmlinuz", "config", "initrd.img"] + ["System.map"] * (root.suite != "forky")
    boot = {f"{kind}-{release}" for kind in kinds for release in releases}
    assert {path.name for path in (root / "boot").iterdir()} - {"grub"} == boot
    names = {line.split()[0]: ("S", set()) for line in (root / "loaded").read_text().splitlines()}
    for kernel in there:
        assert registry(root, kernel.release) == names
        modules_right(root, kernel.release, root / WHOLE / kernel.release)
        truthful(root, kernel)
    assert root.sh("dpkg --verify").out == ""
    sound(root)
    assert not pending(root)
    assert len(stand_ins(root)) == sum(kernel.modules != kernel.image for kernel in there)
    for note in (root / "var/lib/limopack").rglob("*"):
        text = note.read_text() if note.is_file() else ""
        for kernel in (machine.old, machine.new):
            assert kernel in there or kernel.release not in note.name + text, f"{note}: {text}"


def truthful(root, kernel):
    """dpkg names the modules that are there, or none, where their package was forgotten."""
    installed(root, kernel.image, kernel.version)
    if kernel.modules != kernel.image:
        unknown(root, kernel.modules)
        unowned(root, kernel.release)
        return
    listed = {path for path in root.sh(f"dpkg -L {kernel.image}").out.splitlines() if "/kernel/" in path and ".ko" in path}
    modules = {f"/lib/modules/{kernel.release}/{path}" for path in files(root, kernel.release).values()}
    assert {path.removeprefix("/usr") for path in listed} == modules
    owners = root.sh(f"dpkg -S {' '.join(listed)}").out.splitlines()
    assert {owner.split(": ")[0] for owner in owners} == {kernel.image} and len(owners) == len(listed), owners
