"""Debian's own kernels, each suite's on a machine of that suite, from one ABI to the next: what is kept
pruned stays so, and what goes leaves nothing.

Owns the proof with the way in which apt gets a new kernel, the metapackage, and with a real initramfs.
After each step modules, registry, /boot and the package database say the same.
"""

from dataclasses import replace

import pytest

from checks import files, registry, sound
from kernels import ALL, right

LONG = [pytest.param(suite, marks=pytest.mark.long) for suite in ("trixie", "forky")]
suites = pytest.mark.parametrize("servers", ["bookworm", *LONG], indirect=True)


@pytest.fixture(scope="session")
def updated(servers, roots):
    """The machine is kept pruned, and apt has brought the next kernel; for reading only."""
    with roots.copy(servers.root) as root:
        machine = replace(servers, root=root)
        machine.apply()
        machine.sees_the_next()
        machine.said = root.sh("apt-get -y --no-install-recommends dist-upgrade")
        yield machine


@suites
def test_it_is_pruned_and_stays_so_when_its_package_is_installed_again(server):
    old = server.old
    assert len(files(server.root, old.release)) > 500
    said = server.apply()
    assert (f"{old.image}: trimmed, and not forgotten" in said.err) == (old.modules == old.image), said
    right(server, old)
    said = server.sh(f"apt-get -y --reinstall install {old.modules}")
    assert f"kernel {old.release}: modules are back" in said.out + said.err, said
    right(server, old)


@suites
def test_the_next_kernel_is_pruned_as_it_comes(updated):
    said = updated.said.out + updated.said.err
    assert f"kernel {updated.new.release}: modules are back" in said, said
    right(updated, updated.old, updated.new)


@suites
def test_the_kernel_before_leaves_nothing(updated, roots):
    """Story: on Debian 14 the stand-in kept linux-base-VERSION, so that one autoremove no longer took all
    of a kernel, and its modules stayed, which --check did not see; after the purge a note of it stayed."""
    with roots.copy(updated.root) as root:
        machine = replace(updated, root=root)
        root.sh(f"apt-get -y {ALL} autoremove")
        left = root.sh("dpkg-query -W -f '${db:Status-Abbrev} ${Package}\\n'").out.splitlines()
        assert not [line for line in left if line.startswith("ii ") and machine.old.release in line]
        # What was removed may come back, and keeps its registry until the purge.
        assert registry(root, machine.old.release) and not files(root, machine.old.release)
        sound(root)
        root.sh("apt-get -y purge '~c'")
        right(machine, machine.new)
