"""`--prune` on real Debian kernels, against real depmod, modprobe and busybox.

Owns the promise of a prune: exactly the keep set stays, and the indexes that
limopack writes are those that depmod would write on what is left; a refusal
changes nothing; what a prune writes is durable before the first module goes.
What is needed is the model's answer, what is right is depmod's.
"""
import functools
import itertools
import random
import re
import shutil
from pathlib import Path

import pytest

import faults
import fetch
import model
import small as small_kernel
import tools
import trees

# depmod of every release on every kernel: both .bin layouts.
TREES = [(name, release) for name in ("bookworm", "armmp", "trixie", "forky")
         for release in fetch.KMODS]
SAME_BYTES = ["modules.alias", "modules.alias.bin", "modules.softdep", "modules.weakdep",
              "modules.devname", "modules.builtin.bin", "modules.builtin.alias.bin"]
# Symbols that two modules export belong to the one that depmod saw first; when that one
# goes, depmod gives them to the other.
MAX_DUPLICATE_SYMBOLS = 4


def sample(names, count):
    return random.Random(count).sample(sorted(names), count)


def all_but_one_leaf(index):
    used = {need for module in index.path for need in index.needs([module]) - {module}}
    return set(index.path) - {min(set(index.path) - used)}


def below(index, folder):
    return [name for name, path in index.path.items() if path.startswith(folder)]


KEEP_SETS = {
    "one module": lambda index: ["dummy"],
    "ext4": lambda index: ["ext4"],
    "60 drivers": lambda index: sample(below(index, "kernel/drivers/"), 60),
    "random 200": lambda index: sample(index.path, 200),
    "network drivers": lambda index: below(index, "kernel/drivers/net/"),
    "all but one leaf": all_but_one_leaf,
}


def indexes(vdir):
    """The files that depmod writes, by name."""
    return {path.name: path.read_bytes() for path in Path(vdir).iterdir()
            if path.name.startswith("modules.") and path.name != "modules.active"}


class Pruned:
    """A pruned copy: what limopack left, then what real depmod makes of that."""

    def __init__(self, root, tree, names):
        self.tree, self.index, aliases = tree, tree.index, tree.aliases
        self.before, self.kept = indexes(self.index.vdir), self.index.stays(names)
        self.removed = sorted(set(self.index.path) - self.kept)
        tools.limopack(root, "--install", "--static", "--use=" + ",".join(names))
        self.done = tools.limopack(root, "--prune")
        self.vdir = trees.directory(root)
        self.files = trees.modules(self.vdir)
        self.empty = [path for path in (self.vdir / "kernel").rglob("*")
                      if path.is_dir() and not any(path.iterdir())]
        modprobe = tools.Modprobe(tree.release, root)
        self.ours = indexes(self.vdir)
        self.dep = self.ours["modules.dep"].decode().splitlines()
        self.dep_bin = model.read_trie(self.vdir / "modules.dep.bin")
        self.loads = modprobe.show_depends(sorted(self.kept))
        self.gone, self.found = modprobe.resolve(self.removed), modprobe.resolve(aliases)
        fetch.kmod(tree.release).depmod(root, self.vdir.name)
        self.real = indexes(self.vdir)
        self.real_gone, self.real_found = modprobe.resolve(self.removed), modprobe.resolve(aliases)


class Tree:
    """A pristine kernel, and modprobe's answers about it."""

    def __init__(self, root, index, release):
        self.root, self.index, self.release = root, index, release
        modprobe = tools.Modprobe(release, root)
        self.aliases = sorted({model.concrete(pattern) for pattern, _ in index.aliases})
        self.loads = modprobe.show_depends(sorted(index.path))
        self.found = modprobe.resolve(self.aliases)


@pytest.fixture(scope="module")
def tree_of(pristine, index_of):
    return functools.cache(lambda *which: Tree(pristine(*which), index_of(*which), which[1]))


@pytest.fixture(scope="module", params=itertools.product(TREES, KEEP_SETS),
                ids=lambda param: f"{param[0][0]}-kmod{param[0][1]}-{param[1]}")
def pruned(request, tree_of, scratch):
    which, keep = request.param
    tree = tree_of(*which)
    root = trees.copy(tree.root, scratch / "pruned")
    yield Pruned(root, tree, sorted(KEEP_SETS[keep](tree.index)))
    shutil.rmtree(root)


def test_exactly_the_keep_set_stays_on_disk(pruned):
    assert pruned.files == set(pruned.index.paths(pruned.kept))
    assert not pruned.empty
    assert re.search("^limopack: ", pruned.done.stderr, re.M), "no summary"


def test_no_index_is_added_or_lost(pruned):
    assert pruned.ours.keys() == pruned.before.keys()


def test_the_indexes_are_those_that_depmod_writes(pruned):
    wrong = [name for name in SAME_BYTES if pruned.ours.get(name) != pruned.real.get(name)]
    assert not wrong


def test_the_symbols_are_depmods_save_duplicate_exports(pruned):
    ours = set(pruned.ours["modules.symbols"].splitlines())
    real = set(pruned.real["modules.symbols"].splitlines())
    if ours == real:
        for name in ("modules.symbols", "modules.symbols.bin"):
            assert pruned.ours[name] == pruned.real[name], name
    assert not ours - real
    lost = [line.decode().split()[1] for line in real - ours]
    assert len(lost) <= MAX_DUPLICATE_SYMBOLS
    assert not {pruned.index.symbols[symbol] for symbol in lost} & pruned.kept


def test_modules_dep_has_depmods_lines_with_depmods_sets(pruned):
    def parse(lines):
        return [(line.split(":")[0], frozenset(line.split(":")[1].split())) for line in lines]
    assert parse(pruned.dep) == parse(pruned.real["modules.dep"].decode().splitlines())


def test_modules_dep_bin_holds_the_lines_of_modules_dep(pruned):
    expected = {model.name_of(line.split(":")[0]): [(at, line)]
                for at, line in enumerate(pruned.dep)}
    assert pruned.dep_bin == expected
    if pruned.ours["modules.dep"] == pruned.real["modules.dep"]:
        assert pruned.ours["modules.dep.bin"] == pruned.real["modules.dep.bin"]


def test_every_bin_keeps_its_layout(pruned):
    """Since kmod 34 the root is the first node, before that the last."""
    for name in ("modules.dep.bin", "modules.alias.bin", "modules.symbols.bin"):
        ours, real = pruned.ours[name], pruned.real[name]
        if len(ours) > 12 and len(real) > 12:
            at = [int.from_bytes(data[8:12], "big") & 0x0FFFFFFF for data in (ours, real)]
            assert (at[0] == 12) == (at[1] == 12), name


def test_modules_order_keeps_the_lines_of_what_stays(pruned):
    kept = [line for line in pruned.before["modules.order"].splitlines(keepends=True)
            if model.name_of(line.decode().strip()) in pruned.kept]
    assert pruned.ours["modules.order"] == b"".join(kept)
    for name in ("modules.builtin", "modules.builtin.modinfo"):
        assert pruned.ours[name] == pruned.before[name], name


def test_modprobe_loads_a_kept_module_as_before(pruned):
    wrong = {name: paths for name, paths in pruned.loads.items() if paths != pruned.tree.loads[name]}
    assert not wrong


def test_modprobe_does_not_find_a_removed_module(pruned):
    assert pruned.gone == pruned.real_gone
    names = {name for answer in pruned.gone.values() for name in answer}
    assert not names & set(pruned.removed)


def test_modprobe_finds_by_alias_what_stays(pruned):
    assert pruned.found == pruned.real_found
    wrong = {}
    for alias, before in pruned.tree.found.items():
        still = [name for name in before if name in pruned.kept]
        if still and pruned.found[alias] != still:
            wrong[alias] = (pruned.found[alias], still)
    assert not wrong


# --------------------------------------------------------------------------- busybox

def busybox_depmod(root):
    tools.run(fetch.busybox(), "depmod", "-b", root, trees.version(root))


def plain_names(vdir):
    """The texts that busybox writes."""
    return {name: (vdir / name).read_bytes()
            for name in ("modules.dep", "modules.alias", "modules.symbols")}


@pytest.mark.parametrize("keep", KEEP_SETS)
def test_on_a_busybox_system_the_texts_are_those_of_busybox(keep, copy_of, index_of):
    # In place, because busybox lists modules in the order of the directories' entries.
    root = copy_of("bookworm")
    vdir = trees.directory(root)
    names = sorted(KEEP_SETS[keep](index_of("bookworm")))
    for name in indexes(vdir).keys() - {"modules.order", "modules.builtin",
                                        "modules.builtin.modinfo"}:
        (vdir / name).unlink()
    busybox_depmod(root)
    kept, files = model.Index(vdir).stays(names), indexes(vdir).keys()
    tools.limopack(root, "--install", "--static", "--use=" + ",".join(names))
    tools.limopack(root, "--prune")
    assert trees.modules(vdir) == set(index_of("bookworm").paths(kept))
    assert indexes(vdir).keys() == files
    ours = plain_names(vdir)
    busybox_depmod(root)
    assert ours == plain_names(vdir)


def dep_bb(vdir, index):
    """modules.dep.bb as busybox with MODPROBE_SMALL writes it: (module, record) in order.

    A record is `path alias…`, a line of direct dependencies if there are any, and
    an empty line. Debian's busybox is built without it, so this is made here.
    """
    aliases = {}
    for pattern, module in index.aliases:
        aliases.setdefault(module, []).append(pattern)
    for symbol, module in index.symbols.items():
        aliases.setdefault(module, []).append(symbol)
    for name, path in index.path.items():
        depends = re.search(rb"\0depends=([^\0]*)\0", (vdir / path).read_bytes())[1].decode()
        words = " ".join([path, *aliases.get(name, [])])
        direct = depends.replace(",", " ").replace("-", "_")
        yield name, f"{words}\n{direct}\n\n" if direct else f"{words}\n\n"


def test_modules_dep_bb_keeps_the_records_of_what_stays(copy_of, index_of):
    root, index = copy_of("cloud"), index_of("cloud")
    vdir = trees.directory(root)
    records = list(dep_bb(vdir, index))
    (vdir / "modules.dep.bb").write_text("".join(record for _, record in records))
    tools.limopack(root, "--install", "--static", "--use=btrfs,dm_crypt,virtio_net")
    tools.limopack(root, "--prune")
    kept = index.stays(["btrfs", "dm_crypt", "virtio_net"])
    expected = "".join(record for name, record in records if name in kept)
    assert (vdir / "modules.dep.bb").read_text() == expected


# ------------------------------------------------------------------ what must not happen

@pytest.fixture
def small(scratch, tmp_path):
    """A copy of the small kernel, with `vfat` and `dm_crypt` registered."""
    template = scratch / "small"
    if not template.exists():
        small_kernel.root(template)
        tools.limopack(template, "--install", "--static", f"--use={small_kernel.KEPT}")
    root = trees.copy(template, scratch / "small-copy")
    yield root
    shutil.rmtree(root)


SPOIL = {
    "there is no registry": lambda vdir: (vdir / "modules.active").unlink(),
    "the registry is empty": lambda vdir: (vdir / "modules.active").write_text("# none\n"),
    "a registry line is malformed": lambda vdir: (vdir / "modules.active").write_text("vfat:S\nx y\n"),
    "a registered module is mistyped": lambda vdir: (vdir / "modules.active").write_text("vfta:S\n"),
    "modules.dep is missing": lambda vdir: (vdir / "modules.dep").unlink(),
    "modules.dep is empty": lambda vdir: (vdir / "modules.dep").write_text(""),
    "modules.dep lost half of its lines": lambda vdir: (vdir / "modules.dep").write_text(
        "".join((vdir / "modules.dep").read_text().splitlines(True)[::2])),
    "modules.dep is a directory": lambda vdir: ((vdir / "modules.dep").unlink(),
                                                (vdir / "modules.dep").mkdir()),
}


@pytest.mark.parametrize("spoiled", SPOIL)
def test_nothing_changes_when(spoiled, small):
    SPOIL[spoiled](trees.directory(small))
    before = trees.snapshot(small)
    done = tools.limopack(small, "--prune", code=1)
    assert trees.snapshot(small) == before
    assert done.stderr.startswith("limopack: ")


def test_a_dry_run_tells_what_would_go_and_changes_nothing(small):
    before = trees.snapshot(small)
    plan = tools.limopack(small, "--prune", "--dry-run").stdout
    assert trees.snapshot(small) == before
    tools.limopack(small, "--prune")
    gone = {path for path in before.keys() - trees.snapshot(small).keys() if path.endswith(".ko")}
    told = {line for path in gone for line in plan.splitlines() if Path(path).name in line}
    assert gone and len(told) == len(gone), plan


def test_a_second_prune_changes_nothing(small):
    tools.limopack(small, "--prune")
    after = trees.snapshot(small)
    tools.limopack(small, "--prune")
    assert trees.snapshot(small) == after


def test_what_lies_outside_kernel_stays_with_what_it_needs(small):
    vdir = trees.directory(small)
    (vdir / "updates").mkdir()
    (vdir / "kernel/sound/pci/hda/snd-hda-intel.ko").rename(vdir / "updates/snd-hda-intel.ko")
    fetch.kmod("30").depmod(small, vdir.name)
    index = model.Index(vdir)
    tools.limopack(small, "--prune")
    kept = index.stays(small_kernel.KEPT.split(",") + ["snd_hda_intel"])
    assert trees.modules(vdir) == set(index.paths(kept))


def test_files_that_no_index_lists_go_by_their_name(small):
    vdir = trees.directory(small)
    stray = {"kernel/fs/ext4/stray.ko", "kernel/fs/ext4/stray2.ko.zst", "kernel/stray-3.ko.gz"}
    for path in stray:
        (vdir / path).touch()
    second = "kernel/fs/ext4/vfat.ko"  # one name, two files: judged by the name
    (vdir / second).touch()
    tools.limopack(small, "--prune", "--force")
    left = trees.modules(vdir)
    assert not left & stray
    assert second in left


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_compressed_modules_are_pruned_alike(suffix, small):
    """Text indexes only: depmod cannot be asked, for the files only have the name."""
    vdir = trees.directory(small)
    index = model.Index(vdir)
    for path in trees.modules(vdir):
        (vdir / path).rename(vdir / (path + suffix))
    for name in indexes(vdir):
        if name.endswith(".bin") and "builtin" not in name:
            (vdir / name).unlink()
    dep = (vdir / "modules.dep").read_text()
    (vdir / "modules.dep").write_text(re.sub(r"\.ko\b", ".ko" + suffix, dep))
    tools.limopack(small, "--prune")
    kept = index.paths(index.stays(small_kernel.KEPT.split(",")))
    assert trees.modules(vdir) == {path + suffix for path in kept}
    assert set(model.Index(vdir).path.values()) == trees.modules(vdir)


@pytest.mark.parametrize("style", ["absolute", "dotted"])
def test_a_prune_behind_links_stays_inside_the_image(style, small, tmp_path):
    decoy, name = tmp_path / "outside", trees.version(small)
    trees.move_modules_behind_link(small, decoy, style)
    before = trees.snapshot(decoy)
    tools.run(tools.binary(), f"--root={small}", f"--kernel={name}", "--prune")
    assert trees.snapshot(decoy) == before
    inside = small / str(decoy)[1:] / "modules" / name
    index = model.Index(inside)
    assert trees.modules(inside) == set(index.path.values())
    assert "vfat" in index.path and "ext4" not in index.path


def test_links_below_kernel_are_not_followed(small, tmp_path):
    vdir, outside = trees.directory(small), tmp_path / "outside"
    outside.mkdir()
    (outside / "precious.ko").touch()
    (vdir / "kernel/linked").symlink_to(outside)
    tools.limopack(small, "--prune")
    assert (outside / "precious.ko").exists()


# ------------------------------------------------------------------------ power cuts

def test_indexes_are_durable_before_the_first_module_goes(small, tmp_path):
    trace = tmp_path / "trace"
    done = faults.strace(trace, tools.argv(small, "--prune"), "-y", "-s", "300")
    assert done.returncode == 0, done.stderr
    lines = trace.read_text().splitlines()

    def at(pattern):
        return [number for number, line in enumerate(lines) if re.search(pattern, line)]
    first = at(r' unlink(at)?\(.*\.ko"')[0]
    renames = at(r' rename(at|at2)?\(.*, "modules\.')
    syncs = at(r" (fsync|fdatasync|syncfs)\(")
    assert renames and renames[-1] < first, "an index is replaced after a module went"
    assert any(renames[-1] < sync < first for sync in syncs), "the directory is not synced"
    for rename in renames:
        source = re.search(r'"([^"]+)"', lines[rename])[1]
        assert any(source in lines[sync] or "syncfs(" in lines[sync]
                   for sync in syncs if sync < rename), f"not synced: {source}"
