"""Stories in which a prune cost a boot, with the kernels of Debian with which they happened.

Owns roots with several real kernels. The stories that need no real kernel are in tests/cli/stories.rs,
those of dpkg and apt in dpkg/.
"""
import re
import shutil

import pytest

import machine
import model
import tools
import trees


def add(root, source):
    """A kernel more in a root; its version."""
    version = trees.version(source)
    trees.copy(trees.directory(source), root / "lib/modules" / version)
    return version


def run(root, *args, code=0):
    return tools.run(tools.binary(), f"--root={root}", *args, code=code)


def names(text):
    return {line.split(":")[0] for line in text.splitlines() if re.match(r"[^#].*:", line)}


@pytest.fixture
def root(scratch):
    path = scratch / "stories"
    (path / "proc/sys/kernel").mkdir(parents=True)
    yield path
    shutil.rmtree(path)


def test_the_other_kernel_keeps_what_is_built_into_the_running_one(root, pristine):
    """The cloud kernel has ext4 and nvme built in; `-i` and a prune left 9 modules of the other."""
    cloud, amd64 = add(root, pristine("cloud")), add(root, pristine("bookworm"))
    (root / "proc/sys/kernel/osrelease").write_text(f"{cloud}\n")
    (root / "proc/modules").write_text("virtio_net 16384 0 - Live 0x0\n")
    run(root, "-i")
    run(root, "--prune")
    whole, left = model.Index(trees.directory(pristine("bookworm"))), root / "lib/modules" / amd64
    kept = {path.name.split(".")[0].replace("-", "_") for path in left.glob("kernel/**/*.ko")}
    assert whole.needs(["ext4", "nvme", "virtio_net"]) <= kept
    assert len(kept) < 100
    audit = run(root, "--check", "--quiet", code=None).stdout
    assert audit == "", audit


def test_a_registry_of_a_pruned_kernel_does_not_grow_from_copy_to_copy(root, pristine):
    """Ten entries became 24 over four copies of one kernel."""
    source = pristine("bookworm")
    version = trees.version(source)
    for number in range(4):
        trees.copy(trees.directory(source), root / f"lib/modules/{version}.{number}")
    first = "usb_storage,e1000e,snd_hda_intel,hid_generic,option,i915,ext4,nvme,iwlwifi,btusb"
    run(root, "-is", f"--use={first}", f"-k{version}.0")
    registry = (root / f"lib/modules/{version}.0/modules.active").read_text()
    for number in range(1, 4):
        old = root / f"lib/modules/{version}.{number - 1}"
        run(root, "--prune", f"-k{version}.{number - 1}", "--force")
        run(root, "-i", f"-k{version}.{number}", f"--from={old}/modules.active")
        assert names((root / f"lib/modules/{version}.{number}/modules.active").read_text()) == names(registry)


@pytest.mark.parametrize("is_pruned", [False, True])
def test_an_upgrade_carries_the_same_from_a_pruned_kernel(root, pristine, is_pruned):
    """The same as from a whole one."""
    old, new = add(root, pristine("bookworm")), add(root, pristine("trixie"))
    loaded = machine.loaded(model.Index(root / "lib/modules" / old))
    run(root, "-is", f"--use={','.join(loaded)}", f"-k{old}")
    run(root, "-i", f"-k{new}", f"--from={root}/lib/modules/{old}/modules.active")
    wanted = names((root / f"lib/modules/{new}/modules.active").read_text())
    (root / f"lib/modules/{new}/modules.active").unlink()
    if is_pruned:
        run(root, "--prune", f"-k{old}")
    run(root, "-i", f"-k{new}", f"--from={root}/lib/modules/{old}/modules.active")
    assert names((root / f"lib/modules/{new}/modules.active").read_text()) == wanted
