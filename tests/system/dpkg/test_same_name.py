"""A kernel's package that keeps its name while its release changes, as those of Armbian and of most who build
with the kernel's own `make bindeb-pkg`: an update takes the running kernel's modules away and brings those of
the next one. depmod's indexes are part of the package.
"""

import os
import shutil

import pytest

import chroots
from checks import files, registry
from conftest import HOOKS
from packages import IMAGE, K, K_SAME, STATIC, X, deb

NEXT = "6.6.1+rpt-lima", "6.6.2+rpt-lima"
LINUX = "linux-image-current-lima"
# What bindeb-pkg writes for each of the four scripts.
SCRIPT = """#!/bin/sh
set -e
export DEB_MAINT_PARAMS="$*" INITRD=No
test -d /etc/kernel/{name}.d && run-parts --arg="{release}" --arg="/boot/vmlinuz-{release}" /etc/kernel/{name}.d
exit 0
"""

pytestmark = pytest.mark.parametrize("prepared", chroots.USUAL, indirect=True)


def image(root, release, version):
    """The package with this kernel, whose modules are those of X."""
    source = root / "trees" / X
    contents = {f"lib/modules/{release}/{file.relative_to(source)}": file
                for file in source.rglob("*") if file.is_file()}
    return deb(root / "repo/own", LINUX, version, {f"boot/vmlinuz-{release}": "linux\n", **contents},
               {name: SCRIPT.format(name=name, release=release) for name in ("preinst", "postinst", "prerm", "postrm")})


@pytest.fixture(params=[os.uname().release, "6.6.0+rpt-lima"], ids=["running", "in an image"])
def machine(request, stock):
    """The package is installed with a kernel that runs, or in an image with one that does not; two more wait."""
    release = request.param
    shutil.copytree(HOOKS / "kernel", stock / "etc/kernel", dirs_exist_ok=True)
    stock.sh(f"mkdir trees; cp -a /lib/modules/{X} /trees; rm /trees/{X}/modules.active;"
             f"dpkg --purge {IMAGE} {K} {K_SAME}; rm -rf /lib/modules/*")
    old, *stock.next = [image(stock, name, f"{number}.0") for number, name in enumerate((release, *NEXT), 1)]
    stock.sh(f"dpkg -i {inside(stock, old)}; echo '#! base' > /lib/modules/{release}/modules.active;"
             f"limopack --install --static --use={STATIC} -k {release}")
    stock.release = release
    return stock


def inside(root, path):
    return f"/{path.relative_to(root.path)}"


@pytest.mark.parametrize("order", ["--keep-pruned", ""], ids=["kept pruned", "whole again"])
def test_the_registry_goes_with_each_update(machine, order):
    """Story: two updates without a reboot between them, or one in an image, lost the registry, and with it
    the order and what packages had asked for; and what was registered last was pruned."""
    whole = files(machine, machine.release)
    machine.sh(f"limopack --apply {order} --pkname='linux-*'")
    kept = files(machine, machine.release)
    assert STATIC in kept and len(kept) < len(whole) / 3
    expected = registry(machine, machine.release)
    for deb, release, owner in zip(machine.next, NEXT, ("dpkg", "kmod")):
        said = machine.sh(f"dpkg -i {inside(machine, deb)}")
        assert files(machine, release) == (kept if order else whole), said
        assert registry(machine, release) == expected, said
        assert "unlike" not in said.out + said.err, said
        assert machine.sh("dpkg --verify; dpkg --audit; apt-get -qq check").out == ""
        assert not order or machine.sh("limopack --check").out == ""
        machine.sh(f"limopack --install --use=failover --owner={owner}")
        expected = registry(machine, release)
        assert owner in expected["failover"][1]
