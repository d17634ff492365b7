"""A new revision under the same package names, as a point release is: it needs the forgotten package, and
brings it. It was kept back silently, with the kernel's security update in it.
"""

import pytest

import chroots
from checks import files, installed, sound, stand_ins, unknown
from packages import LIB, X, archive, index, sources, deb

BASE, MODULES, LINUX = (f"linux-{kind}-{X}" for kind in ("base", "modules", "image"))

# Their solvers differ: apt 2.6, 3.0 and 3.3.
pytestmark = pytest.mark.parametrize("prepared", chroots.SUITES, indirect=True)


def revision(root, version, kernel):
    """Debian 14's packages of one kernel: the image needs both others, version for version."""
    out = root / f"repo/linux-{version}"
    same = f"(= {version})"
    tree = {f"{LIB[root.suite]}/modules/{X}/{file.relative_to(kernel)}": file
            for file in kernel.rglob("*") if file.is_file()}
    deb(out, BASE, version, {f"usr/lib/{BASE}/config": version}, Source="linux (9)")
    deb(out, MODULES, version, tree, Depends=f"{BASE} {same}", Source="linux (9)")
    deb(out, LINUX, version, Depends=f"{BASE} {same}, {MODULES} {same}", Source="linux (9)")
    index(out)


@pytest.fixture
def machine(stock):
    """One kernel in three packages, of which that with the modules is forgotten; an update waits."""
    kernel = stock / "kernel-tree"
    stock.sh(f"cp -a /lib/modules/{X} /kernel-tree; rm /kernel-tree/modules.active")
    for version in ("1", "2"):
        revision(stock, version, kernel)
    stock.sh(f"dpkg --purge kernel-modules-{X}; rm -rf /lib/modules/{X}")
    sources(stock, "debian", "linux-1")
    stock.sh(f"apt-get -y install {LINUX}; limopack --install --static --use=virtio_net,vfat -k {X}")
    return stock


def update(root, how):
    sources(root, "debian", "linux-2")
    return root.sh(f"apt-get -y {how}")


@pytest.mark.parametrize("how", ["dist-upgrade", "--with-new-pkgs upgrade", f"install {LINUX}"])
@pytest.mark.parametrize("order", ["", "--keep-pruned"])
def test_an_update_that_needs_the_package_brings_it(machine, how, order):
    machine.sh(f"limopack --apply {order} --pkname={MODULES}")
    assert len(stand_ins(machine)) == 1
    kept = files(machine, X)
    said = update(machine, how)
    for package in (BASE, LINUX):
        installed(machine, package, "2")
    sound(machine)
    hint = f"{MODULES} is installed again, with all of its modules; limopack --apply --pkname={MODULES} "
    assert (hint in said.out + said.err) != bool(order), said
    if order:
        unknown(machine, MODULES)
        assert files(machine, X) == kept and len(stand_ins(machine)) == 1
    else:
        installed(machine, MODULES, "2")
        assert len(files(machine, X)) > len(kept) and not stand_ins(machine), said


def test_nothing_else_brings_it(machine):
    machine.sh(f"limopack --apply --pkname={MODULES}")
    archive(machine, ("bystander", {"version": "9"}))
    sources(machine, "debian", "linux-1", "1.0", "own")
    for how in ("dist-upgrade", "--with-new-pkgs upgrade", "-f install", "autoremove", "install bystander",
                "purge bystander"):
        machine.sh(f"apt-get -y {how}")
        unknown(machine, MODULES)
        for package in (BASE, LINUX):
            installed(machine, package, "1")
        assert len(stand_ins(machine)) == 1, how
    sound(machine)
