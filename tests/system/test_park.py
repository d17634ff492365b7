"""`--prune --park` and `--restore` on real Debian kernels, against real depmod and modprobe.

Owns the promise of a park: what is parked cannot be loaded, the indexes in place are depmod's for
what is in place, and a restore of all leaves the tree as it was, byte for byte.
"""
import os
import shutil

import pytest

import fetch
import tools
import trees
from test_prune import KEEP_SETS, SAME_BYTES, TREES, Tree, indexes

# What stays parked while others come back, and what is in place then.
SOME = ["xfs", "wireguard", "usb_storage"]


@pytest.fixture(scope="module", params=TREES, ids=lambda param: f"{param[0]}-kmod{param[1]}")
def tree(request, pristine, index_of):
    which = request.param
    return Tree(pristine(*which), index_of(*which), which[1])


@pytest.fixture
def root(tree, scratch):
    """A copy of the tree whose drivers are registered, all else unneeded."""
    root = trees.copy(tree.root, scratch / "parked")
    names = ",".join(sorted(KEEP_SETS["60 drivers"](tree.index)))
    tools.limopack(root, "--install", "--static", f"--use={names}")
    yield root
    shutil.rmtree(root)


def park(root):
    return root / "lib/modules/.parked" / trees.version(root)


@pytest.fixture(autouse=True)
def one_version(monkeypatch):
    """The tests' own look at a root passes over the parks, as kernels do."""
    monkeypatch.setattr(trees, "version", lambda root: min(
        name for name in os.listdir(root / "lib/modules") if name != ".parked"))


def as_depmod_says(root, tree):
    """The indexes in place are those that depmod writes for what is in place."""
    ours = indexes(trees.directory(root))
    fetch.kmod(tree.release).depmod(root, trees.version(root))
    real = indexes(trees.directory(root))
    assert ours.keys() == real.keys()
    assert [name for name in SAME_BYTES if ours.get(name) != real.get(name)] == []
    # depmod may write the needs of a module in another order.
    assert words(ours["modules.dep"]) == words(real["modules.dep"])


def words(text):
    return [sorted(line.split()) for line in text.splitlines()]


def test_a_park_is_a_prune_and_a_restore_takes_it_back(tree, root):
    before = trees.snapshot(root)
    deleted = trees.copy(root, root.parent / "deleted")
    tools.limopack(deleted, "--prune")
    tools.limopack(root, "--prune", "--park")
    assert trees.modules(trees.directory(root)) == trees.modules(trees.directory(deleted))
    assert indexes(trees.directory(root)) == indexes(trees.directory(deleted))
    shutil.rmtree(deleted)
    parked = trees.modules(park(root))
    assert parked | trees.modules(trees.directory(root)) == set(tree.index.path.values())
    modprobe = tools.Modprobe(tree.release, root)
    gone = sorted(name for name, path in tree.index.path.items() if path in parked)
    assert not any(modprobe.resolve(gone).values()), "a parked module can be loaded"
    assert tools.limopack(root, "--prune", "--park").stdout == ""

    tools.limopack(root, "--restore")
    assert trees.snapshot(root) == before
    assert modprobe.resolve(tree.aliases) == tree.found


def test_one_module_comes_back_with_what_it_needs(tree, root):
    tools.limopack(root, "--prune", "--park")
    before = trees.modules(trees.directory(root))
    tools.limopack(root, "--restore", "--use=" + ",".join(SOME))
    needed = {path for name in SOME for path in tree.index.paths(tree.index.needs([name]))}
    assert trees.modules(trees.directory(root)) == before | needed
    modprobe = tools.Modprobe(tree.release, root)
    loads = modprobe.show_depends(SOME)
    assert loads == {name: tree.loads[name] for name in SOME}
    as_depmod_says(root, tree)
    # depmod in between changes nothing of what comes back.
    tools.limopack(root, "--restore")
    assert trees.modules(trees.directory(root)) == set(tree.index.path.values())
    assert modprobe.show_depends(sorted(tree.index.path)) == tree.loads
    assert not (root / "lib/modules/.parked").exists()
