"""What cannot be right is refused: a clear message, and nothing changed, not even a module's file."""

import contextlib

import pytest

from checks import pending, snapshot, sound, unchanged, unknown
from chroots import mount, run, umount
from packages import IMAGE, K, X, deb

STATUS = "var/lib/dpkg/status"


def refused(root, *words, package=K, options="", code=(1,), **how):
    """Applying is refused with a message that has these words, and leaves the root as it was."""
    before = snapshot(root)
    said = root.sh(f"limopack --apply --pkname={package} {options}", ok=code, **how)
    unchanged(before, snapshot(root))
    assert said.out == "" and said.err, said
    lines = said.err.splitlines()
    assert all(line.startswith("limopack: ") for line in lines), said
    assert len(lines) < 10, said
    for word in words:
        assert word in said.err, f"no '{word}' in:\n{said}"


def spoil(root, change):
    """Rewrites status by `change` (bytes to bytes)."""
    status = root / STATUS
    old = status.read_bytes()
    new = change(old)
    assert new != old
    status.write_bytes(new)


def stanza(text, package):
    """The package's stanza in a status."""
    return next(s for s in text.split(b"\n\n") if s.startswith(b"Package: " + package.encode() + b"\n")) + b"\n\n"


def state(words):
    def change(text):
        old = stanza(text, K)
        return text.replace(old, old.replace(b"Status: install ok installed", b"Status: " + words))
    return change


SPOILT = {
    "empty": lambda text: b"",
    "cut in a stanza": lambda text: text[:len(text) // 2],
    "cut in its last line": lambda text: text[:-5],
    "without its final newline": lambda text: text.rstrip(b"\n"),
    "with CRLF": lambda text: text.replace(b"\n", b"\r\n"),
    "with a NUL": lambda text: text.replace(b"Section: kernel", b"Section: ker\0nel", 1),
    "with NULs at its end": lambda text: text + bytes(512),
    "with the stanza twice": lambda text: text + stanza(text, K),
    "with another stanza twice": lambda text: text + stanza(text, "dpkg"),
    "with a field twice": lambda text: text.replace(stanza(text, K), stanza(text, K)[:-1] + b"Version: 2\n\n"),
    "with a stanza without a name": lambda text: text + b"Status: install ok installed\nVersion: 1\n\n",
    "with a line that is no field": lambda text: text.replace(b"Section: kernel\n", b"kernel\n", 1),
    "of another file": lambda text: b"\x7fELF" + bytes(range(256)) * 8,
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_status(stock, how):
    spoil(stock, SPOILT[how])
    refused(stock, "status")


def test_a_missing_status(stock):
    (stock / STATUS).unlink()
    refused(stock, "status")


@pytest.mark.parametrize("words", [
    b"install ok half-configured", b"install ok unpacked", b"install reinstreq half-installed",
    b"install ok triggers-awaited", b"deinstall ok config-files", b"nonsense"])
def test_a_package_that_is(stock, words):
    spoil(stock, state(words))
    refused(stock, K)


@pytest.mark.parametrize("package", [
    "no-such-package", f"{K},no-such-package", f"{K}:sparc", "'no-such-*'", f"{K},'no-such-*'", "''", "'[a-'",
    "Capital", "'../../etc'", "'a b'"])
def test_a_name_that_nothing_has(stock, package):
    refused(stock, package=package, code=(1, 2))


def test_limopack_itself(stock):
    deb(stock / "repo/own", "limopack")
    stock.sh("dpkg -i /repo/own/limopack_*.deb")
    refused(stock, "limopack", package="limopack", options=f"--kernel={X}", code=(1, 2))
    refused(stock, "limopack", package="'l*'", options=f"--kernel={X}", code=(1, 2))


def test_the_package_whose_script_is_running(root):
    for name, pattern in (("selfish", "selfish"), ("selfish-too", "'self*'")):
        deb(root / "repo/own", name, scripts={
            "postinst": f"#!/bin/sh\nset -e\nlimopack --apply --pkname={pattern} --kernel={X}\n"})
    root.sh(f"apt-get -y install {K}; limopack --install --static --use=vfat")
    # A pattern means packages that own modules, which this one does not.
    for name, named in (("selfish", "selfish"), ("selfish-too", "self*")):
        before = snapshot(root, "usr/lib/modules", "var/lib/limopack")
        said = root.sh(f"dpkg -i /repo/own/{name}_*.deb", ok=(1,))
        assert any(line.startswith("limopack: ") and named in line for line in said.err.splitlines()), said
        unchanged(before, snapshot(root, "usr/lib/modules", "var/lib/limopack"))
        assert not pending(root)
        root.sh(f"dpkg -P {name}")


def test_a_package_with_conffiles(stock):
    deb(stock / "repo/own", "settings", files={"etc/settings": "1\n"}, scripts={"conffiles": "/etc/settings\n"})
    stock.sh("dpkg -i /repo/own/settings_*.deb")
    refused(stock, "settings", package="settings", options=f"--kernel={X}")


def test_a_package_with_a_diversion(stock):
    stock.sh(f"dpkg-divert --package {K} --divert /etc/motd.real --rename /etc/motd")
    refused(stock, K, "divert")


@pytest.mark.parametrize("names", [["0000"], ["0000", "0001"], ["0123", "tmp.i"]])
def test_a_database_that_was_interrupted(stock, names):
    for name in names:
        (stock / "var/lib/dpkg/updates" / name).write_bytes(stanza((stock / STATUS).read_bytes(), K))
    refused(stock, "interrupted", "dpkg --configure -a")


def test_what_dpkg_left_that_is_no_journal_is_no_matter(stock):
    (stock / "var/lib/dpkg/updates/tmp.i").write_bytes(b"#padding\n" * 100)
    stock.sh(f"limopack --apply --pkname={K}")
    unknown(stock, K)


def test_nobody_may(stock):
    refused(stock, "ermission", user=65534)


def test_a_kernel_without_a_registry(root):
    root.sh(f"apt-get -y install {IMAGE} {K}; rm /lib/modules/{X}/modules.active")
    refused(root, X)
    (root / f"lib/modules/{X}/modules.active").write_text("# nothing yet\n")
    refused(root, X)


def test_a_malformed_registry(stock):
    (stock / f"lib/modules/{X}/modules.active").write_text("vfat:1\nnonsense\n")
    refused(stock, "modules.active:2")


def test_a_package_without_modules_needs_a_kernel(stock):
    stock.sh("dpkg -i /repo/1.0/bystander_*.deb")
    refused(stock, "bystander", package="bystander", code=(1, 2))


@contextlib.contextmanager
def mounted(*args, at):
    mount(*args, at)
    try:
        yield
    finally:
        umount(at)


@contextlib.contextmanager
def read_only(place):
    with mounted("--bind", place, at=place):
        mount("-o", "remount,bind,ro", place)
        yield


@pytest.mark.parametrize("place", ["var/lib/dpkg", "usr/lib/modules", "var/lib/apt", "var", ""])
def test_a_read_only(stock, place):
    stock.sh(f"apt-mark auto {K}")  # apt's file would change too
    with read_only(stock / place):
        refused(stock, "ead-only")


@contextlib.contextmanager
def full(root, place):
    """Puts the folder on a disk of its own, and fills that up."""
    copy, top = root.place / "copy", root / place
    copy.mkdir()
    with mounted("-t", "tmpfs", "-o", "size=64m", "none", at=copy):
        run("sh", "-ec", f"cp -a {top}/. {copy}/")
        with mounted("--bind", copy, at=top):
            run("sh", "-ec", f"cat /dev/zero > {top}/zeros 2> /dev/null || :")
            yield


@pytest.mark.parametrize("place", ["var/lib/dpkg", "usr/lib/modules"])
def test_a_full_disk_below(stock, place):
    with full(stock, place):
        refused(stock, "No space left")


def test_after_a_refusal_the_right_thing_works(stock):
    refused(stock, package="no-such-package")
    stock.sh(f"limopack --apply --pkname={K}")
    unknown(stock, K)
    sound(stock)
