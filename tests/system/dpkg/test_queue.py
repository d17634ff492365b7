"""What waits to be forgotten, and what happens until its time comes."""

import pytest

from checks import forgotten, installed, pending
from packages import K, STATIC, X, Y
from test_locks import BOTH, held, queue


def ask(root, words):
    """What a maintainer script asks for while dpkg runs."""
    with held(root, *BOTH):
        return root.sh(f"limopack --apply {words}", env={"DPKG_MAINTSCRIPT_PACKAGE": "some-app"}, ok=None)


def change_status(root, package, line):
    """Adds a line to a package's stanza."""
    status = root / "var/lib/dpkg/status"
    status.write_text(status.read_text().replace(f"Package: {package}\n", f"Package: {package}\n{line}\n"))


@pytest.mark.parametrize("line, why", [
    ("Conffiles:\n /etc/kernel.conf d41d8cd98f00b204e9800998ecf8427e", "configuration files"),
    ("Essential: yes", "Essential: yes"),
    ("Protected: yes", "Protected: yes"),
], ids=["conffiles", "essential", "protected"])
def test_what_would_be_refused_now_is_not_forgotten_because_it_was_queued(stock, line, why):
    queue(stock)
    change_status(stock, K, line)
    said = stock.sh("limopack --settle")
    assert f"warning: {K} has {why}" in said.err and "no longer queued" in said.err, said
    installed(stock, K)
    assert not pending(stock)
    assert why in stock.sh(f"limopack --apply --pkname={K}", ok=(1,)).err


def test_a_diversion_that_came_later_counts(stock):
    queue(stock)
    stock.sh(f"dpkg-divert --package {K} --no-rename --add /etc/somebodys")
    assert f"{K} has diversions" in stock.sh("limopack --settle").err
    installed(stock, K)


def test_all_kernels_are_queued_by_their_names(stock):
    ask(stock, f"--pkname={K} --kernel=all")
    assert pending(stock) == f"{K} stand-in {X} {Y}\n"
    stock.sh("limopack --settle")
    forgotten(stock, K, X)


def test_a_package_that_is_named_twice_is_named_once(stock):
    stock.sh(f"limopack --apply --pkname={K},{K} --dry-run")
    stock.sh(f"limopack --apply --pkname='{K},kernel-mod*'")
    forgotten(stock, K, X)


def test_a_package_that_is_asked_for_twice_waits_for_the_kernels_of_both(stock):
    ask(stock, f"--pkname={K} --kernel={X}")
    ask(stock, f"--pkname={K} --kernel={Y}")
    assert pending(stock) == f"{K} stand-in {X} {Y}\n"


def test_another_architecture_is_another_package(stock):
    said = ask(stock, f"--pkname={K}:arm64")
    assert said.code == 1 and f"{K}:arm64 is not installed" in said.err, said
    assert not pending(stock)


def test_a_package_that_was_upgraded_to_another_kernel_is_pruned_there(stock):
    queue(stock)
    new = "6.6.2-lima"
    stock.sh(f"mv /lib/modules/{X} /lib/modules/{new}\n"
             f"sed -i 's|modules/{X}|modules/{new}|' /var/lib/dpkg/info/{K}.list")
    stock.sh("limopack --settle")
    assert not pending(stock)
    forgotten(stock, K, new)


def test_a_forced_request_waits_for_a_base_and_says_so(stock):
    """Nobody is there to force it when the time comes."""
    (stock / f"lib/modules/{X}/modules.active").unlink()
    assert f"nothing says what kernel {X} has to keep" in ask(stock, f"--pkname={K} --force").err
    assert "waits" in stock.sh("limopack --settle").err
    installed(stock, K)
    stock.sh(f"limopack --install --static --use=vfat,{STATIC} && limopack --settle")
    forgotten(stock, K, X)


def test_a_malformed_file_of_needs_d_fails_no_package_and_deletes_nothing(stock):
    """The file is somebody else's; the script that asks can do nothing about it."""
    file = stock / "etc/limopack/needs.d/bad.conf"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"a\0b\n")
    said = ask(stock, f"--pkname={K}")
    assert said.code == 0 and pending(stock) == f"{K} stand-in {X}\n", said
    said = stock.sh("limopack --settle", ok=(1,))
    assert "needs.d/bad.conf:1: " in said.err, said
    assert "needs.d/bad.conf:1: " in stock.sh("limopack --check", ok=(1,)).err
    assert pending(stock)
    installed(stock, K)
    file.unlink()
    stock.sh("limopack --settle")
    forgotten(stock, K, X)
