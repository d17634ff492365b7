"""The standing order: whatever brings modules back, the hooks prune again, and forget or trim again who
brought them. What a prune would refuse is left whole, with a word.
"""

import pytest

import chroots
from checks import files, forgotten, installed, pending, registry, sound, unknown
from packages import IMAGE, K, K_SAME, X, Y, deb
from test_trim import LINUX, image, machine, trimmed  # noqa: F401 (machine is a fixture)

ORDER = f"--keep-pruned --pkname={K}"

# Their solvers differ: apt 2.6, 3.0 and 3.3.
pytestmark = pytest.mark.parametrize("prepared", chroots.SUITES, indirect=True)


def order(root, kernel=X):
    return [line for line in (root / f"lib/modules/{kernel}/modules.active").read_text().splitlines()
            if line.startswith("#! keep")]


@pytest.mark.parametrize("bring", [
    f"dpkg -i /repo/1.0/{K}_1.0_amd64.deb", f"dpkg -i /repo/1.1/{K}_1.1_amd64.deb",
    f"apt-get -y install {K}",
], ids=["dpkg", "new revision", "apt"])
def test_a_forgotten_package_that_comes_back_is_forgotten_again(stock, bring):
    stock.sh(f"limopack --apply {ORDER}")
    assert order(stock) == ["#! keep-pruned apply"]
    kept = files(stock, X)
    said = stock.sh(bring)
    assert f"limopack: kernel {X}: modules are back; it is to be kept pruned\n" in said.out + said.err, said
    assert files(stock, X) == kept
    forgotten(stock, K, X)


@pytest.mark.parametrize("version", ["2.0", "2.1"])
def test_a_trimmed_package_that_brings_its_modules_again_is_trimmed_again(machine, version):  # noqa: F811
    new = image(machine, version)
    machine.sh(f"limopack --apply --keep-pruned --pkname={LINUX}")
    kept = files(machine, X)
    machine.sh(f"dpkg -i {new}")
    assert files(machine, X) == kept
    trimmed(machine)


def test_a_new_kernel_inherits_the_order(stock):
    stock.sh(f"dpkg --purge {K_SAME}; limopack --apply {ORDER}")
    stock.sh(f"dpkg -i /repo/1.0/{K_SAME}_1.0_amd64.deb")
    stock.sh(f"limopack --install --kernel={Y} --from=/lib/modules/{X}/modules.active")
    assert order(stock, Y) == ["#! keep-pruned apply"] and registry(stock, Y)
    said = stock.sh("limopack --settle")
    assert f"kernel {Y}: modules are back" in said.err, said
    assert len(files(stock, Y)) == len(files(stock, X))
    unknown(stock, K_SAME)
    sound(stock)


def test_without_dpkg_edits_only_files_go(stock):
    stock.sh(f"limopack --prune --keep-pruned -k {X}")
    assert order(stock) == ["#! keep-pruned"]
    kept = files(stock, X)
    stock.sh(f"dpkg -i /repo/1.1/{K}_1.1_amd64.deb")
    assert files(stock, X) == kept
    installed(stock, K, "1.1")


def test_what_a_prune_refuses_is_left_whole(stock):
    stock.sh(f"limopack --apply {ORDER}")
    active = stock / f"lib/modules/{X}/modules.active"
    active.write_text(active.read_text() + "no_such_module:S\n")
    said = stock.sh(f"dpkg -i /repo/1.1/{K}_1.1_amd64.deb")
    text = said.out + said.err
    assert f"warning: kernel {X} is left as it is, though it is to be kept pruned" in text, said
    assert "no_such_module" in text
    installed(stock, K, "1.1")
    assert not pending(stock)
    lines = stock.sh(f"limopack --check -k {X}", ok=(1,)).out
    assert "\tno_such_module\t" in lines and f"unpruned\t{X}\t" in lines
    active.write_text(active.read_text().replace("no_such_module:S\n", ""))
    stock.sh("limopack --settle")
    forgotten(stock, K, X)


def test_removing_the_line_ends_it(stock):
    stock.sh(f"limopack --apply {ORDER}; sed -i '/keep-pruned/d' /lib/modules/{X}/modules.active")
    kept = files(stock, X)
    stock.sh(f"dpkg -i /repo/1.1/{K}_1.1_amd64.deb")
    assert len(files(stock, X)) > len(kept)
    installed(stock, K, "1.1")


def test_in_a_maintainer_script_the_order_is_given_at_once(stock):
    deb(stock / "repo/own", "orders", scripts={"postinst": f"#!/bin/sh\nset -e\nlimopack --apply {ORDER}\n"})
    stock.sh("dpkg -i /repo/own/orders_*.deb")
    assert order(stock) == ["#! keep-pruned apply"]
    forgotten(stock, K, X)


def back(root):
    """Modules of X come back without anybody's hook, as another tool would bring them."""
    root.sh(f"rm /etc/dpkg/dpkg.cfg.d/limopack; dpkg -i /repo/1.1/{K}_1.1_amd64.deb")


def test_what_waits_in_the_queue_stays_there(stock):
    """A standing order that was refused took the request of the same package out of the queue."""
    stock.sh(f"limopack --apply {ORDER}")
    back(stock)
    active, waiting = stock / f"lib/modules/{X}/modules.active", stock / "var/lib/limopack/pending"
    active.write_text("#! keep-pruned apply\nvfat:1\n")  # no base
    waiting.write_text(f"{K} plain {X}\n")
    for call in ("limopack --settle --dry-run", "limopack --settle"):
        said = stock.sh(call, ok=(1,))
        assert waiting.read_text() == f"{K} plain {X}\n", said
    installed(stock, K)
    active.write_text("#! base\n#! keep-pruned apply\nvfat:1\nvirtio_net:S\n")
    stock.sh("limopack --settle")
    unknown(stock, K)
    assert not pending(stock)


def test_a_package_none_of_whose_modules_go_stays(stock):
    """A driver that is needed would get no update any more."""
    driver = {f"usr/lib/modules/{X}/kernel/own/lima.ko": next((stock / f"lib/modules/{X}").rglob("vfat.ko"))}
    deb(stock / "repo/own", "own-driver", files=driver)
    stock.sh(f"dpkg -i /repo/own/own-driver_*.deb; depmod {X}; limopack --install --static --use=lima -k {X}")
    stock.sh(f"limopack --apply {ORDER}; dpkg -i /repo/1.1/{K}_1.1_amd64.deb")
    unknown(stock, K)
    installed(stock, "own-driver")


def test_a_refused_request_keeps_no_order_from_being_followed(stock):
    stock.sh(f"limopack --apply {ORDER}")
    back(stock)
    active = stock / f"lib/modules/{Y}/modules.active"
    active.write_text(active.read_text() + "no_such_module:S\n")
    (stock / "var/lib/limopack/pending").write_text(f"{K_SAME}:amd64 stand-in {Y}\n")
    said = stock.sh("limopack --settle", ok=(1,))
    assert "no_such_module" in said.err
    unknown(stock, K)


def test_a_purged_kernel_is_no_failure(stock):
    stock.sh(f"limopack --apply {ORDER}; touch /lib/modules/{X}/.limopack-purged; dpkg --purge {IMAGE}")
    said = stock.sh("limopack --settle")
    assert "is left as it is" not in said.err and "no kernel" not in said.err, said


def test_a_script_that_meets_another_limopack_is_queued_and_does_not_fail(stock):
    deb(stock / "repo/own", "orders", scripts={"postinst": f"#!/bin/sh\nset -e\nlimopack --apply {ORDER}\n"})
    said = stock.sh(f"flock /lib/modules/{X} sleep 60 & sleep 1; dpkg -i /repo/own/orders_*.deb; kill %1 || :")
    assert f"{K}: queued" in said.err, said
    installed(stock, "orders")


def test_a_dry_run_says_so_and_changes_nothing(stock):
    said = stock.sh(f"limopack --apply --dry-run {ORDER}")
    assert f"keep-pruned {X}\n" in said.out and not order(stock)
