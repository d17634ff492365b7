"""A census of one machine names the modules of another kernel, on a third machine.

Owns the census texts in census/: what `limopack --census` said on qemu's q35 board with Debian's
6.1 cloud kernel, and on its ARMv7 board with 6.1 armmp, as test_boot.py boots them.
"""
from pathlib import Path

import pytest

import tools
import trees

CENSUS = Path(__file__).parent / "census"
# Census, kernel, kmod, and some that must be found: by an alias of the hardware, by that of a file
# system, and by the name of what was loaded.
CASES = [
    ("x86-64", "bookworm", "30", {"ahci", "i2c_i801", "psmouse", "ext4", "nft_ct"}),
    ("x86-64", "trixie", "34", {"ahci", "i2c_i801", "psmouse", "ext4", "nft_ct"}),
    ("x86-64", "forky", "34", {"ahci", "i2c_i801", "psmouse", "ext4", "nft_ct"}),
    ("armv7", "armmp", "30", {"virtio_mmio", "virtio_net", "ext4", "nft_ct"}),
]


@pytest.mark.parametrize("census, kernel, release, some", CASES, ids=[" for ".join(case[:2]) for case in CASES])
def test_a_census_registers_what_modprobe_finds_for_it(copy_of, index_of, census, kernel, release, some):
    root, index, text = copy_of(kernel, release), index_of(kernel, release), (CENSUS / census).read_text()
    names = [line.split()[0] for line in text.splitlines() if not line.startswith("#")]
    found = tools.Modprobe(release, root).resolve(names)
    expected = {module for modules in found.values() for module in modules} & index.path.keys()
    assert some <= expected

    said = tools.limopack(root, "--install", f"--from={CENSUS / census}")
    assert (said.stdout, said.stderr) == ("", "")
    vdir = trees.directory(root)
    assert (vdir / "modules.active").read_text() == "#! base\n" + "".join(f"{name}:1\n" for name in sorted(expected))

    tools.limopack(root, "--prune")
    assert trees.modules(vdir) == set(index.paths(index.stays(expected)))
    assert tools.limopack(root, "--check").stdout == ""
