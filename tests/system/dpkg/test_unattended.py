"""A kernel that is kept pruned gets its update from unattended-upgrades, with needrestart as apt's hook and
grub as the kernel's, as most servers have them.
"""

import re
from dataclasses import replace

import pytest

import kernels
from checks import files, installed
from kernels import right

PROGRAMS = ("unattended-upgrades", "needrestart", "grub2-common", "grub-pc-bin")
CONF = """Unattended-Upgrade::Origins-Pattern { "origin=Lima"; };
Unattended-Upgrade::Automatic-Reboot "false";
APT::Protect-Kernels "false";
"""
# needrestart asks for the environment of every process, and some end before it looks.
# dpkg removes the directory of a kernel before limopack, which comes last, removes what it kept in there.
OTHERS = "HENV|Use of uninitialized value in unpack|while removing .*/modules/.* not empty so not removed"
DISK = 2 << 30

LONG = [pytest.param(suite, marks=pytest.mark.long) for suite in ("bookworm", "trixie")]
SUITES = pytest.mark.parametrize("servers", ["forky", *LONG], indirect=True)


@pytest.fixture(scope="session")
def updated(servers, roots):
    """The machine after that; for reading only."""
    with roots.disk(servers.root, DISK) as root:
        machine = replace(servers, root=root)
        kernels.provide(root, *PROGRAMS)
        root.sh("apt-get -qq update")
        machine.install(*PROGRAMS)
        (root / "etc/apt/apt.conf.d/52local").write_text(CONF)
        root.sh("mkdir /boot/grub; update-grub")
        machine.apply()
        machine.sees_the_next()
        machine.said = root.sh("unattended-upgrade --verbose")
        yield machine


def said(machine):
    return machine.said.out + machine.said.err


@SUITES
def test_the_update_is_installed_and_its_kernel_pruned(updated):
    new = updated.new
    assert "All upgrades installed" in said(updated)
    installed(updated.root, new.image, new.version)
    assert f"kernel {new.release}: modules are back; it is to be kept pruned" in said(updated), said(updated)
    assert len(files(updated.root, new.release)) < 200
    assert updated.sh("dpkg --audit; dpkg --verify; apt-get -qq check").out == ""
    wrong = [line for line in said(updated).splitlines()
             if re.search("(?i)error|warning|fail|unable|cannot", line) and not re.search(OTHERS, line)]
    assert not wrong, wrong


@SUITES
def test_no_package_of_the_kernel_before_stays(updated):
    """Story: on Debian 14 linux-base-VERSION stayed: when the rest of the kernel went, the stand-in still
    needed it, and unattended-upgrades removes only what has just become unused."""
    left = updated.sh("dpkg-query -W -f '${db:Status-Abbrev} ${Package}\\n'").out.splitlines()
    assert not [line for line in left if line.startswith("ii ") and updated.old.release in line]


@SUITES
def test_the_modules_of_the_kernel_before_go_with_it_or_are_known(updated):
    """Story: unattended-upgrades purges nothing, and on Debian 14 every kernel that it removed left the
    modules that limopack had kept, with their indexes; --check had no line for them."""
    old = updated.old.release
    if files(updated.root, old):
        assert f"\t{old}\t" in updated.sh("limopack --check", ok=None).out


@SUITES
def test_the_kernel_before_goes_and_leaves_nothing_when_it_is_purged(updated, roots):
    """Story: on Debian 14 a note of it stayed."""
    old, new = updated.old, updated.new
    assert re.search(f"auto-removed: .*{re.escape(old.image)}", said(updated)), said(updated)
    assert not (updated.root / f"boot/vmlinuz-{old.release}").exists()
    with roots.copy(updated.root) as root:
        root.sh("apt-get -y purge '~c'; apt-get -y autoremove")
        right(replace(updated, root=root), new)


@SUITES
def test_grub_offers_the_new_kernel_and_no_other(updated):
    menu = (updated.root / "boot/grub/grub.cfg").read_text()
    assert set(re.findall(r"^\s*(?:linux|initrd)\s+(\S+)", menu, re.M)) == {
        f"/boot/{kind}-{updated.new.release}" for kind in ("vmlinuz", "initrd.img")}


@SUITES
def test_needrestart_says_that_the_new_kernel_does_not_run(updated):
    assert "Pending kernel upgrade!" in said(updated)
    # It looks into the image; that of a kernel under another number still has its own.
    if "made" not in str(updated.new.debs[0]):
        assert f"not the expected kernel version {updated.new.release}" in said(updated), said(updated)
