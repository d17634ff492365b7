"""The README's scripts do what they are for, as they stand there: in an initramfs of busybox, and as
the maintainer scripts of a package. (Its `console` examples are run by `make test`.)"""

import os
import re
import shutil

import fetch
import model
import packages
import trees
from checks import forgotten, modules_right, registry, sound

README = (fetch.TOP / "README.md").read_text()
KERNEL = "linux-modules-6.6.0-lima"


def scripts(heading):
    """The shell blocks of a section."""
    section = re.search(rf"(?ms)^## {heading}\n(.*?)^## ", README)[1]
    return re.findall(r"(?ms)^```sh\n(.*?)^```", section)


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
    script, = scripts("In a busybox initramfs")
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
    script, = scripts("In a busybox initramfs")
    board(root)
    said = root.sh("cd /work\n" + script.replace("mmc_block", "mmc_blokc"), ok=(1,))
    assert "no module mmc_blokc" in said.err
    assert not list((root / "work").rglob("modules.dep"))


def test_a_package_s_scripts_register_forget_and_give_back(root):
    postinst, prerm = (f"#!/bin/sh\nset -e\n{script}" for script in scripts("In a postinst"))
    # What the fixtures' kernel has in its place.
    postinst = postinst.replace("hci_nokia", "vfat")
    files = {f"{packages.LIB[root.suite]}/modules/{packages.X}/{name}": root / "repo/kernel" / name
             for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo")}
    tree = packages.kernel(root.place / "kernel")
    files |= {f"{packages.LIB[root.suite]}/modules/{packages.X}/{name}": tree / name for name in trees.modules(tree)}
    packages.deb(root / "repo/own", KERNEL, files=files, Depends="kmod",
                 scripts={"postinst": packages.DEPMOD.format(kernel=packages.X)})
    packages.deb(root / "repo/own", "myapp", Depends=KERNEL, scripts={"postinst": postinst, "prerm": prerm})
    packages.index(root / "repo/own")
    packages.sources(root, "debian", "own")
    root.sh("apt-get -y install kmod; apt-get -y install myapp")
    assert registry(root, packages.X) == {"vfat": ("1", {"myapp"}), "btrfs": ("1", {"myapp"})}
    forgotten(root, KERNEL, packages.X)
    modules_right(root, packages.X)
    root.sh("apt-get -y purge myapp")
    assert registry(root, packages.X) == {}
    sound(root)
