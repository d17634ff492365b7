"""Patterns of --pkname mean the installed packages that own modules; a plain name means that package."""

import pytest

from checks import installed, pending, snapshot, sound, unchanged, unknown
from packages import K, K_SAME, X, Y, deb

EMPTY, GONE = "kernel-modules-extra", f"kernel-modules-{X}-old"
PATTERN = "kernel-modules-*"
POSTINST = "#!/bin/sh\nset -e\nlimopack --apply --pkname='{}'\n"


@pytest.fixture
def mixed(stock):
    """Beside the packages with modules, one without and one that is removed but not purged."""
    deb(stock / "repo/own", EMPTY, Depends="kmod")
    deb(stock / "repo/own", GONE, files={"etc/gone.conf": "kept\n", f"usr/lib/modules/{X}/kernel/gone/gone.ko": ""},
        scripts={"conffiles": "/etc/gone.conf\n"})
    stock.sh("dpkg -i /repo/own/*.deb")
    stock.sh(f"dpkg -r {GONE}")
    assert (stock / f"var/lib/dpkg/info/{GONE}.list").exists()
    return stock


def both_forgotten(root):
    unknown(root, K)
    unknown(root, K_SAME)
    installed(root, EMPTY)
    assert "config-files" in root.sh(f"dpkg-query -W -f '${{db:Status-Status}}' {GONE}").out
    sound(root)


def script(root, pattern, ok=(0,)):
    """A package whose maintainer script applies the pattern."""
    deb(root / "repo/own", "asks", scripts={"postinst": POSTINST.format(pattern)}, Depends="kmod")
    return root.sh("dpkg -i /repo/own/asks_*.deb", ok=ok)


def test_a_pattern_skips_what_is_not_installed_and_what_owns_no_module(mixed):
    said = mixed.sh(f"limopack --debug --apply --pkname='{PATTERN}'")
    both_forgotten(mixed)
    assert f"{EMPTY} owns no module" in said.err and f"{GONE} is not installed" in said.err, said


def test_so_it_does_in_a_maintainer_script(mixed):
    """Such a package failed every postinst."""
    script(mixed, PATTERN)
    both_forgotten(mixed)
    assert not pending(mixed)


def test_naming_the_kernel_does_not_widen_a_pattern(mixed):
    """linux-* would be half of the system."""
    mixed.sh(f"limopack --apply --pkname='{PATTERN}' --kernel={X} --kernel={Y}")
    both_forgotten(mixed)


@pytest.mark.parametrize("pattern", ["kernel-modules-ex*", "kernel-modules-*-old", "nothing-*"])
def test_a_pattern_that_matches_only_such_packages_is_an_error(mixed, pattern):
    before = snapshot(mixed)
    said = mixed.sh(f"limopack --apply --pkname='{pattern}'", ok=(1,))
    wanted = f"limopack: no installed package with modules matches {pattern}; these do: {K}, {K_SAME}:amd64\n"
    assert said.err == wanted, said
    unchanged(before, snapshot(mixed))
    assert wanted in script(mixed, pattern, ok=(1,)).err, pattern


@pytest.mark.parametrize("package, what", [
    (EMPTY, f"{EMPTY} owns no module"), (GONE, f"{GONE} is not installed"), ("nothing", "nothing is not installed")])
def test_a_plain_name_of_such_a_package_is_an_error(mixed, package, what):
    before = snapshot(mixed)
    assert what in mixed.sh(f"limopack --apply --pkname={package}", ok=(1,)).err
    unchanged(before, snapshot(mixed))
    assert what in script(mixed, package, ok=(1,)).err


def test_a_removed_package_that_comes_back_in_the_same_run_counts(mixed):
    """dpkg's status does not have it yet; its list has."""
    deb(mixed / "repo/own", "asks", scripts={"postinst": POSTINST.format("kernel-modules-*-old")}, Depends=GONE)
    said = mixed.sh("dpkg -i /repo/own/asks_*.deb /repo/own/kernel-modules-*-old_*.deb")
    assert f"limopack: {GONE}: queued" in said.err, said


def test_a_pattern_that_matches_what_was_forgotten_says_so(mixed):
    mixed.sh(f"limopack --apply --pkname='{PATTERN}'")
    said = mixed.sh(f"limopack --apply --pkname='{PATTERN}'")
    assert f"{K} is forgotten already" in said.err, said
    script(mixed, PATTERN)
    both_forgotten(mixed)
