"""Parked modules under dpkg and apt: to them they are gone, the hooks know the park, and no kernel leaves
one behind.
"""

import shutil

import pytest

from checks import files, forgotten, installed, modules_right, parked, registry, sound
from conftest import HOOKS
from packages import IMAGE, K, X, deb
from test_gone_kernel import HOOK, POSTRM
from test_trim import LINUX, image, machine, trimmed  # noqa: F401 (machine is a fixture)

PARK = f"lib/modules/.parked/{X}"


def test_a_package_is_forgotten_and_what_it_brought_is_parked(stock):
    before = set(files(stock, X))
    stock.sh(f"limopack --apply --park --pkname={K}")
    forgotten(stock, K, X)
    modules_right(stock, X)
    assert len(before) == len(files(stock, X)) + len(parked(stock, X))
    stock.sh(f"limopack --restore -k {X}")
    assert set(files(stock, X)) == before and not (stock / PARK).exists()
    forgotten(stock, K, X)


def test_a_package_is_trimmed_and_what_it_brought_is_parked(machine):  # noqa: F811
    machine.sh(f"limopack --apply --park --pkname={LINUX}")
    trimmed(machine)
    assert "vfat" in parked(machine, X)


def test_a_maintainer_script_brings_back_what_its_package_needs(stock):
    """app-b registers nf_nat in its postinst; apply waits there, and parks as this machine does."""
    stock.sh(f"limopack --apply --park --pkname={K}")
    assert {"nf_nat", "vfat"} <= parked(stock, X)
    stock.sh(f"apt-get -y install {K}=1.0 app-b")
    assert "nf_nat" in files(stock, X) and parked(stock, X) >= {"vfat"}
    assert registry(stock, X)["nf_nat"] == ("1", {"app-b"})
    forgotten(stock, K, X)
    modules_right(stock, X)


@pytest.mark.parametrize("bring", [f"dpkg -i /repo/own/{LINUX}_2.0_amd64.deb", f"dpkg -i /repo/own/{LINUX}_2.1_amd64.deb"],
                         ids=["reinstallation", "upgrade"])
def test_what_a_package_brings_again_is_parked_again_where_that_is_ordered(machine, bring):  # noqa: F811
    image(machine, "2.1")
    machine.sh(f"limopack --apply --park --keep-pruned --pkname={LINUX}")
    kept, there = set(files(machine, X)), parked(machine, X)
    said = machine.sh(bring)
    assert f"kernel {X}: modules are back" in said.out + said.err, said
    assert (set(files(machine, X)), parked(machine, X)) == (kept, there)
    trimmed(machine)


@pytest.mark.parametrize("how", ["dpkg --purge", "dpkg --remove", "apt-get -y purge"])
def test_the_park_goes_with_its_kernel(stock, how):
    """Of a package that was trimmed, dpkg removes what it lists, and the hook the rest."""
    (stock / HOOK).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(HOOKS / "kernel/postrm.d/limopack", stock / HOOK)
    contents = {path: stock / path for path in (f"lib/modules/{X}/{name}" for name in files(stock, X).values())}
    deb(stock / "repo/own", LINUX, "2.0", {f"boot/vmlinuz-{X}": "linux\n", **contents}, {"postrm": POSTRM},
        Replaces=f"{IMAGE}, {K}")
    stock.sh(f"dpkg --purge {IMAGE} {K}; dpkg -i /repo/own/{LINUX}_2.0_amd64.deb; depmod {X}")
    stock.sh(f"limopack --install --static --use=virtio_net -k {X}")
    stock.sh(f"limopack --apply --park --pkname={LINUX}")
    installed(stock, LINUX)
    assert parked(stock, X)
    stock.sh(f"{how} {LINUX}")
    assert not (stock / "lib/modules/.parked").exists()
    assert not (stock / f"lib/modules/{X}/kernel").exists()
    sound(stock)
