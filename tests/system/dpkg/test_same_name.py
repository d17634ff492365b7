"""A kernel's package that keeps its name while its release changes, as those of Armbian and of most who build
with the kernel's own `make bindeb-pkg`: an update takes the running kernel's modules away and brings those of
the next one. depmod's indexes are part of the package.
"""

import os
import shutil

import pytest

import chroots
from checks import files, parked, registry
from conftest import HOOKS
from packages import ARCH, IMAGE, K, K_SAME, STATIC, X, deb

SLEEPS, NEXT = "6.6.0+rpt-lima", ("6.6.1+rpt-lima", "6.6.2+rpt-lima")
LINUX = "linux-image-current-lima"
# What bindeb-pkg writes for each of the four scripts.
SCRIPT = """#!/bin/sh
set -e
export DEB_MAINT_PARAMS="$*" INITRD=No
test -d /etc/kernel/{name}.d && run-parts --arg="{release}" --arg="/boot/vmlinuz-{release}" /etc/kernel/{name}.d
exit 0
"""

pytestmark = pytest.mark.parametrize("prepared", chroots.USUAL, indirect=True)
in_an_image = pytest.mark.parametrize("machine", [SLEEPS], ids=["in an image"], indirect=True)


def image(root, release, version):
    """The package with this kernel, whose modules are those of X."""
    source = root / "trees" / X
    contents = {f"lib/modules/{release}/{file.relative_to(source)}": file
                for file in source.rglob("*") if file.is_file()}
    deb(root / "repo/own", LINUX, version, {f"boot/vmlinuz-{release}": "linux\n", **contents},
        {name: SCRIPT.format(name=name, release=release) for name in ("preinst", "postinst", "prerm", "postrm")})
    return f"/repo/own/{LINUX}_{version}_{ARCH}.deb"


@pytest.fixture(params=[os.uname().release, SLEEPS], ids=["running", "in an image"])
def machine(request, stock):
    """The package is installed with a kernel that runs, or in an image with one that does not; two more wait."""
    release = request.param
    shutil.copytree(HOOKS / "kernel", stock / "etc/kernel", dirs_exist_ok=True)
    stock.sh(f"mkdir trees; cp -a /lib/modules/{X} /trees; rm /trees/{X}/modules.active;"
             f"dpkg --purge {IMAGE} {K} {K_SAME}; rm -rf /lib/modules/*")
    old, *stock.next = [image(stock, name, f"{number}.0") for number, name in enumerate((release, *NEXT), 1)]
    stock.sh(f"dpkg -i {old}; echo '#! base' > /lib/modules/{release}/modules.active;"
             f"limopack --install --static --use={STATIC} -k {release}")
    stock.release = release
    return stock


@pytest.mark.parametrize("order", ["--keep-pruned", ""], ids=["kept pruned", "whole again"])
def test_the_registry_goes_with_each_update(machine, order):
    """Story: two updates without a reboot between them, or one in an image, lost the registry, and with it
    the order and what packages had asked for; and what was registered last was pruned."""
    whole = files(machine, machine.release)
    machine.sh(f"limopack --apply {order} --pkname='linux-*'")
    kept = files(machine, machine.release)
    assert STATIC in kept and len(kept) < len(whole) / 3
    expected = registry(machine, machine.release)
    for package, release, owner in zip(machine.next, NEXT, ("dpkg", "kmod")):
        said = machine.sh(f"dpkg -i {package}")
        assert files(machine, release) == (kept if order else whole), said
        assert registry(machine, release) == expected, said
        assert "unlike" not in said.out + said.err, said
        assert machine.sh("dpkg --verify; dpkg --audit; apt-get -qq check").out == ""
        assert not order or machine.sh("limopack --check").out == ""
        machine.sh(f"limopack --install --use=failover --owner={owner}")
        expected = registry(machine, release)
        assert owner in expected["failover"][1]


@in_an_image
def test_what_is_parked_goes_with_its_kernel(machine):
    """Story: with each update of a board's kernel, the parked modules of the one before stayed for good, which
    --check did not see and no purge took."""
    machine.sh("limopack --apply --park --keep-pruned --pkname='linux-*'")
    for package, release in zip(machine.next, NEXT):
        assert len(parked(machine, machine.release)) > 50
        machine.sh(f"dpkg -i {package}")
        assert os.listdir(machine / "lib/modules/.parked") == [release]
        machine.release = release
    machine.sh(f"dpkg --purge {LINUX}")
    assert not (machine / "lib/modules/.parked").exists()


@in_an_image
def test_what_is_parked_of_a_kernel_that_is_there_stays(machine):
    """Of one it is all, one has modules of somebody else's, of one the index is missing, and a restore of one has
    not ended."""
    root, kernel, kernels = machine, machine.release, ("6.5.1-all", "6.5.2-other", "6.5.3-index", "6.5.4-begun")
    for name in kernels:
        root.sh(f"cp -a /lib/modules/{kernel} /lib/modules/{name}; cd /lib/modules/{name}; echo '#! base' > modules.active")
    # What is built in, and the root file system of this test, ask for modules, too.
    root.sh("cd /lib/modules; for name in 6.5.[124]*; do rm -r $name/modules.builtin* $name/kernel/fs/overlayfs;"
            "depmod $name; done; limopack --prune --park --force -k 6.5.1-all -k 6.5.2-other -k 6.5.4-begun")
    assert not files(root, "6.5.1-all")
    root.sh(f"cd /lib/modules; mkdir 6.5.2-other/updates; cp /trees/{X}/kernel/drivers/block/nbd.ko 6.5.2-other/updates;"
            "depmod 6.5.2-other; limopack --prune --park --force -k 6.5.3-index; rm 6.5.3-index/modules.dep;"
            "cd 6.5.4-begun; echo kernel/fs/fat/vfat.ko: > modules.dep; touch .modules.dep.limopack-old")
    before = {name: parked(root, name) for name in kernels}
    assert all(before.values())
    root.sh(f"dpkg -i {root.next[0]}")
    assert {name: parked(root, name) for name in before} == before
