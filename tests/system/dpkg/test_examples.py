"""The scripts of limopack-integration(7) do what they are for, as the page shows them: the maintainer
scripts of a package, an initramfs of busybox, the recipes of Buildroot and Yocto, and a recovery.

`make test` runs the examples with a prompt, of README.md and of both manual pages.
"""

import hashlib
import os
import re
import shutil

import pytest

import fetch
import model
import packages
import trees
from checks import files, forgotten, modules_right, registry, sound
from packages import K, X
from test_trim import LINUX, image, machine, trimmed  # noqa: F401 (machine is a fixture)

PAGE = (fetch.TOP / "src/cli/manual/limopack-integration.7.in").read_text()


def scripts(heading):
    """The displays of a section or a subsection, without those that begin with a prompt."""
    section = re.search(rf"(?ms)^\.S[hs] {heading}\n(.*?)^\.S[hs] ", PAGE)[1]
    found = re.findall(r"(?ms)^\.Bd -literal -offset indent\n(.*?)^\.Ed$", section)
    assert "\\" not in "".join(found), "mdoc has its own meaning for it"
    return [text for text in found if not text.startswith("$ ")]


def board(root):
    """A root with busybox and Debian's kernel, named like the running one; its version directory."""
    source = trees.directory(fetch.kernel_tree("bookworm"))
    index = model.Index(source)
    trees.pick(source, root / "kernel", index.paths(index.needs(["ext4", "mmc_block", "btrfs", "vfat"])))
    fetch.kmod("30").depmod(root / "kernel", source.name)
    version = root / "usr/lib/modules" / os.uname().release
    version.parent.mkdir(exist_ok=True)
    shutil.move(trees.directory(root / "kernel"), version)
    shutil.copy(fetch.busybox(), root / "usr/bin")
    # busybox has a cpio, too, but its -p fails.
    shutil.copy(fetch.unpacked("bookworm", packages.ARCH, ["cpio"]) / "usr/bin/cpio", root / "usr/bin")
    root.sh("ln -sf busybox /usr/bin/depmod")
    root.sh("mkdir /work")
    return version


def test_an_initramfs_of_busybox_gets_what_its_modprobe_loads(root):
    script, = scripts("A busybox initramfs")
    version = board(root)
    root.sh(f"cd /work\n{script}")
    root.sh("cd /work; mkdir initramfs/bin; cp /usr/bin/busybox initramfs/bin")
    for name in ("ext4", "mmc_block", "crypto-crc32c"):
        loads = root.sh(f"chroot /work/initramfs /bin/busybox modprobe -D {name}").out.splitlines()
        files = [line.split()[1] for line in loads]
        assert files and all((root / "work/initramfs" / file[1:]).is_file() for file in files), loads
    copies = root / "work/initramfs/lib/modules" / version.name
    assert len(trees.modules(copies)) < len(trees.modules(version))


def test_no_initramfs_is_made_where_the_kernel_lacks_a_module(root):
    script, = scripts("A busybox initramfs")
    board(root)
    said = root.sh("cd /work\n" + script.replace("mmc_block", "mmc_blokc"), ok=(1,))
    assert "no module mmc_blokc" in said.err
    assert not list((root / "work").rglob("modules.dep"))


@pytest.mark.parametrize("owner", ["linux-modules", "linux-image"])
def test_a_package_s_scripts_register_forget_or_trim_and_release(root, owner):
    """The pattern means the package that owns the modules, whichever the distribution has."""
    postinst, prerm = (f"#!/bin/sh\nset -e\n{script}" for script in scripts("Register and release"))
    # What the fixtures' kernel has in its place.
    postinst = postinst.replace("hci_nokia", "vfat")
    files = {f"{packages.LIB[root.suite]}/modules/{X}/{name}": root / "repo/kernel" / name
             for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo")}
    tree = packages.kernel(root.place / "kernel")
    files |= {f"{packages.LIB[root.suite]}/modules/{X}/{name}": tree / name for name in trees.modules(tree)}
    # The other of the two is there as well, and owns no module.
    other, boot = LINUX, {f"boot/vmlinuz-{X}": "linux\n"}
    if owner == "linux-image":
        other, files, boot = f"linux-modules-{X}", files | boot, {}
    packages.deb(root / "repo/own", f"{owner}-{X}", files=files, Depends="kmod",
                 scripts={"postinst": packages.DEPMOD.format(kernel=X)})
    packages.deb(root / "repo/own", other, files=boot)
    packages.deb(root / "repo/own", "myapp", Depends=f"{owner}-{X}, {other}",
                 scripts={"postinst": postinst, "prerm": prerm})
    packages.index(root / "repo/own")
    packages.sources(root, "debian", "own")
    root.sh("apt-get -y install kmod; apt-get -y install myapp")
    assert registry(root, X) == {"vfat": ("1", {"myapp"}), "btrfs": ("1", {"myapp"})}
    if owner == "linux-image":
        assert "xfs" not in root.sh(f"dpkg -L {LINUX}").out
        assert root.sh(f"dpkg -V {LINUX}").out == ""
    else:
        forgotten(root, f"{owner}-{X}", X)
    modules_right(root, X)
    root.sh("apt-get -y purge myapp")
    assert registry(root, X) == {}
    sound(root)


# ------------------------------------------------------------------------- build systems

@pytest.fixture
def target(root):
    """The root of a target below /image; its version directory, and what ext4 and a card need there."""
    version = board(root)
    root.sh(f"mkdir -p /image/lib/modules; mv /lib/modules/{version.name} /image/lib/modules")
    kept = root.sh("limopack --root=/image --list --use=ext4,mmc_block").out.splitlines()
    version = root / "image/lib/modules" / version.name
    assert 0 < len(kept) < len(trees.modules(version))
    return version, set(kept)


def test_buildroot_s_script_prunes_the_target(root, target):
    version, kept = target
    recipe, script = scripts("BUILDROOT")
    assert "host-cargo-package" in recipe
    (root / "script").write_text(script.replace(",dwmac_rk", ""))
    root.sh("chmod +x /script; /script /image")
    assert set(trees.modules(version)) == kept


def test_yocto_s_function_prunes_the_image(root, target):
    version, kept = target
    recipe, function = scripts("YOCTO")
    assert hashlib.md5((fetch.TOP / "LICENSE").read_bytes()).hexdigest() in recipe
    function = function[function.index("keep_needed_modules() {"):]
    root.sh('depmodwrapper() { depmod "$@"; }\nIMAGE_ROOTFS=/image; nonarch_base_libdir=/lib; T=/tmp\n'
            f"{function}\nkeep_needed_modules")
    assert set(trees.modules(version)) == kept
    listed = {line.split(":")[0] for line in (version / "modules.dep").read_text().splitlines()}
    assert listed == kept


# ------------------------------------------------------------------------- recovery

def recovery(which, package):
    """The script that brings a module back, for xfs of the fixtures' kernel."""
    script = scripts("A module is missing")[which].replace("$(uname -r)", X).replace("apt-get ", "apt-get -y ")
    script = script.replace("modprobe ftdi_sio", "modprobe -n -S $version ftdi_sio").replace("ftdi_sio", "xfs")
    return script.replace(*package)


def back(root):
    """xfs is registered and there, the others are gone again, and nobody prunes without being asked."""
    assert registry(root, X)["xfs"] == ("S", set())
    assert "xfs" in files(root, X) and "isofs" not in files(root, X)
    assert "keep-pruned" not in (root / f"lib/modules/{X}/modules.active").read_text()


ORDERS = pytest.mark.parametrize("order", ["", "--keep-pruned"])


@ORDERS
def test_a_missing_module_comes_back_with_the_kernel_s_package(machine, order):  # noqa: F811
    packages.index(machine / "repo/own")
    packages.sources(machine, "debian", "own")
    machine.sh(f"limopack --apply {order} --pkname='linux-*'")
    assert "xfs" not in files(machine, X)
    machine.sh(recovery(0, ("", "")))
    back(machine)
    trimmed(machine)


@ORDERS
def test_a_missing_module_comes_back_with_the_modules_package(stock, order):
    stock.sh(f"limopack --apply {order} --pkname={K}")
    assert "xfs" not in files(stock, X)
    stock.sh(recovery(1, ("linux-modules-", "kernel-modules-")))
    back(stock)
    forgotten(stock, K, X)


def test_a_machine_that_does_not_boot_gets_its_modules_from_outside(machine):  # noqa: F811
    """The package's scripts do not run, and what is registered stays."""
    whole, held = files(machine, X), registry(machine, X)
    dep = (machine / f"lib/modules/{X}/modules.dep").read_bytes()
    packages.other(machine)
    machine.sh(f"limopack --root=/other --prune --kernel={X}")
    there = machine / f"other/lib/modules/{X}"
    assert len(trees.modules(there)) < len(whole)
    generator = machine / "other/usr/sbin/update-initramfs"
    generator.write_text('#!/bin/sh\necho "$@" > /made\n')
    generator.chmod(0o755)
    script, = scripts("The machine does not boot")
    script = re.sub("^version=.*", f"version={X}", script).replace("/mnt", "/other")
    machine.sh(f"cd /repo/own\n{script}")
    assert sorted(trees.modules(there)) == sorted(whole.values())
    assert (there / "modules.dep").read_bytes() == dep
    assert (machine / "other/made").read_text() == f"-u -k {X}\n"
    assert "virtio_net:S" in (there / "modules.active").read_text() and "virtio_net" in held
