"""A package that owns more than modules, as Debian 12's linux-image does, is trimmed: it stays installed,
dpkg's lists name what is left of it, and everything that brings files back brings its modules, too.
"""

import pytest

import chroots
from checks import files, installed, pending, snapshot, sound, stand_ins, unchanged
from packages import IMAGE, K, K_SAME, STATIC, X, deb

LINUX = f"linux-image-{X}"
BOOT = f"boot/vmlinuz-{X}"
INFO = "var/lib/dpkg/info"
POSTINST = f"#!/bin/sh\nset -e\nif [ \"$1\" = configure ]; then depmod {X}; fi\n"

# Their solvers differ: apt 2.6, 3.0 and 3.3.
pytestmark = pytest.mark.parametrize("prepared", chroots.SUITES, indirect=True)


def image(root, version="2.0", **fields):
    """One package with a kernel and its modules, as the kernel's own `make bindeb-pkg` makes it."""
    contents = {BOOT: f"linux {version}\n", f"usr/lib/linux-image-{X}/board.dtb": "dtb\n"}
    source = root / "kernel-tree"
    if not source.exists():
        root.sh(f"cp -a /lib/modules/{X} /kernel-tree")
    for file in source.rglob("*"):
        below = str(file.relative_to(source))
        if file.is_file() and (below.startswith("kernel/") or below in (
                "modules.order", "modules.builtin", "modules.builtin.modinfo")):
            contents[f"lib/modules/{X}/{below}"] = file
    deb(root / "repo/own", LINUX, version, contents, {"postinst": POSTINST}, Replaces=f"{IMAGE}, {K}",
        **fields)
    return f"/repo/own/{LINUX}_{version}_amd64.deb"


@pytest.fixture
def machine(stock):
    """The image is installed and nothing else brings this kernel."""
    new = image(stock)
    stock.sh(f"dpkg --purge {IMAGE} {K}; rm -rf /lib/modules/{X}; dpkg -i {new}")
    stock.sh(f"limopack --install --static --use={STATIC} -k {X}")
    sound(stock)
    return stock


def listed(root, name="list"):
    return (root / f"{INFO}/{LINUX}.{name}").read_text().splitlines()


def trimmed(root):
    """dpkg knows exactly what is on disk, has nothing to complain about, and the package is there."""
    installed(root, LINUX)
    for path in listed(root):
        assert path == "/." or (root / path[1:]).exists(), path
    modules = {f"/lib/modules/{X}/{path}" for path in files(root, X).values()}
    assert modules == {path for path in listed(root) if path.endswith(".ko")}
    assert modules == {"/" + line[34:] for line in listed(root, "md5sums") if line.endswith(".ko")}
    assert root.sh(f"dpkg -V {LINUX}").out == ""
    for path in [BOOT, *(path[1:] for path in modules)]:
        assert root.sh(f"dpkg -S /{path}").out.startswith(f"{LINUX}: "), path
    assert not stand_ins(root) and not pending(root)
    sound(root)


def test_it_stays_installed_and_its_lists_tell_the_truth(machine):
    before = len(files(machine, X))
    planned = machine.sh(f"limopack --apply --pkname={LINUX} --dry-run")
    assert f"trim {LINUX}\n" in planned.out and "forget" not in planned.out
    said = machine.sh(f"limopack --apply --pkname={LINUX}")
    assert f"limopack: {LINUX}: trimmed, and not forgotten, as it owns more than modules (/{BOOT}" in said.err, said
    assert 0 < len(files(machine, X)) < before
    trimmed(machine)
    again = snapshot(machine, INFO)
    machine.sh(f"limopack --apply --pkname={LINUX}")
    unchanged(again, snapshot(machine, INFO))


@pytest.mark.parametrize("ask", ["--install -k {X}", "--list -k {X}", "--tree -k {X}", "--why -k {X}"])
def test_the_package_of_a_missing_module_is_named(machine, ask):
    machine.sh(f"limopack --apply --pkname={LINUX}")
    said = machine.sh(f"limopack {ask.format(X=X)} --use=vfat", ok=None)
    assert said.code == (0 if "why" in ask else 1)
    brings = f"limopack: warning: kernel {X} was pruned; for more of its modules: apt-get install --reinstall {LINUX}\n"
    assert brings in said.err, said
    said = machine.sh(f"limopack {ask.format(X=X)} --use=nosuchthing", ok=None)
    assert "reinstall" not in said.err, said


@pytest.mark.parametrize("bring", [
    f"dpkg -i /repo/own/{LINUX}_2.0_amd64.deb", f"dpkg -i /repo/own/{LINUX}_2.1_amd64.deb",
    f"dpkg -i /repo/own/{LINUX}_1.9_amd64.deb",
], ids=["reinstallation", "upgrade", "downgrade"])
def test_whatever_brings_files_back_brings_all_modules(machine, bring):
    for version in ("2.1", "1.9"):
        image(machine, version)
    modules, lists = files(machine, X), listed(machine)
    machine.sh(f"limopack --apply --pkname={LINUX}")
    machine.sh(bring)
    assert files(machine, X) == modules and sorted(listed(machine)) == sorted(lists)
    assert machine.sh(f"dpkg -V {LINUX}").out == ""
    sound(machine)
    machine.sh(f"limopack --apply --pkname={LINUX}")
    trimmed(machine)


def test_a_purge_cleans_up_as_ever(machine):
    machine.sh(f"limopack --apply --pkname={LINUX}")
    machine.sh(f"apt-get -y purge {LINUX}")
    assert not (machine / BOOT).exists() and not files(machine, X)
    assert not list((machine / INFO).glob(f"{LINUX}.*"))
    sound(machine)


def test_in_a_maintainer_script_it_is_queued(machine):
    deb(machine / "repo/own", "needs-it", scripts={
        "postinst": f"#!/bin/sh\nset -e\nlimopack --apply --pkname='linux-image-*'\n"})
    before = snapshot(machine, INFO)
    said = machine.sh("dpkg -i /repo/own/needs-it_*.deb")
    assert "trimmed" in said.err and before
    trimmed(machine)


def test_force_forgets_it_all_the_same_and_says_what_nobody_owns(machine):
    said = machine.sh(f"limopack --apply --force --pkname={LINUX}")
    what = f"/{BOOT}, /usr/lib/linux-image-{X}/board.dtb"
    assert f"limopack: warning: forced: no package owns any more what {LINUX} brought: {what}\n" in said.err, said
    assert (machine / BOOT).exists() and machine.sh(f"dpkg -s {LINUX}", ok=(1,))


@pytest.mark.parametrize("change, message", [
    (f"echo relative >> {INFO}/{LINUX}.list", "not a path"),
    (f"printf /boot/x >> {INFO}/{LINUX}.list", "no newline at its end"),
    (f"echo 'not a sum' >> {INFO}/{LINUX}.md5sums", "not a checksum"),
    (f"dpkg-divert --add --rename /lib/modules/{X}/$(cd /lib/modules/{X}; find kernel -name vfat.ko)",
     "has files with a changed mode or place"),
    (f"rm {INFO}/{LINUX}.list", f"{LINUX} owns no module"),
], ids=["list", "newline", "md5sums", "diverted", "no list"])
def test_what_cannot_be_read_changes_nothing(machine, change, message):
    machine.sh(f"cd /; {change}")
    before = snapshot(machine, INFO, f"usr/lib/modules/{X}")
    said = machine.sh(f"limopack --apply --pkname={LINUX}", ok=(1,))
    assert message in said.err, said
    unchanged(before, snapshot(machine, INFO, f"usr/lib/modules/{X}"))


def test_without_checksums_the_list_is_trimmed(machine):
    machine.sh(f"rm /{INFO}/{LINUX}.md5sums; limopack --apply --pkname={LINUX}")
    assert not (machine / f"{INFO}/{LINUX}.md5sums").exists()
    assert all((machine / path[1:]).exists() for path in listed(machine))


def test_a_package_that_must_stay_is_trimmed_and_never_forgotten(machine):
    machine.sh(f"dpkg -i {image(machine, '3.0', Protected='yes')}")
    said = machine.sh(f"limopack --apply --force --pkname={LINUX}", ok=(1,))
    assert f"{LINUX} has Protected: yes" in said.err
    machine.sh(f"limopack --apply --pkname={LINUX}")
    trimmed(machine)


@pytest.mark.parametrize("name", [IMAGE, "linux-modules-*"])
def test_who_owns_the_modules_is_said_to_those_who_name_another_package(stock, name):
    said = stock.sh(f"limopack --apply --pkname='{name}'", ok=(1,))
    assert f"; these do: {K}, {K_SAME}:amd64" in said.err, said
