"""`--prune --park` and `--restore` on real Debian kernels, against real depmod and modprobe.

Owns the promise of a park: what is parked cannot be loaded, the indexes in place are depmod's for
what is in place, a restore of all leaves the tree as it was, byte for byte, and from a park that is
damaged, or not this kernel's, nothing is mixed in.
"""
import os
import shutil

import pytest

import fetch
import model
import small as small_kernel
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
    parked = trees.modules(trees.park(root))
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


# ---------------------------------------------------------------- parks that are damaged or mean harm

@pytest.fixture(scope="module")
def template(scratch):
    """A root with the small kernel, most of it parked, and a directory outside with modules of the same names."""
    top = scratch / "parked-small"
    root = small_kernel.root(top / "root")
    tools.limopack(root, "--install", "--static", f"--use={small_kernel.KEPT}")
    shutil.copytree(trees.directory(root) / "kernel", top / "outside/kernel")
    tools.limopack(root, "--prune", "--park")
    return top


@pytest.fixture
def small(template, scratch, tmp_path):
    """Such a root of the test's own, which has the outside beside it."""
    top = trees.copy(template, scratch / tmp_path.name)
    yield top / "root"
    shutil.rmtree(top)


def outside(root):
    return root.parent / "outside"


def lead_out(path, root):
    """The path becomes a link to the outside; what was there lies beside the root."""
    path.rename(root.parent / "aside")
    path.symlink_to(outside(root))


# What a park can be, and what a restore then does: its exit code, and words of its message.
HOSTILE = {
    "all parks are a link out": (lambda root: lead_out(root / "lib/modules/.parked", root), 0, "nothing is parked"),
    "a link out": (lambda root: lead_out(trees.park(root), root), 0, "nothing is parked"),
    "modules behind a link out": (lambda root: lead_out(trees.park(root) / "kernel", root), 1, "kernel: Not a directory"),
    "no modules.dep": (lambda root: (trees.park(root) / "modules.dep").unlink(), 1, "modules.dep is missing"),
    "no modules.builtin": (lambda root: (trees.park(root) / "modules.builtin").unlink(), 1, "modules.builtin is missing"),
    "another build": (lambda root: rewritten(trees.directory(root) / "modules.builtin"), 0, "nothing is parked"),
    "a cut modules.dep": (lambda root: rewritten(trees.park(root) / "modules.dep", "kernel/fs/ext4"), 1, "modules.dep"),
    "modules.dep is a directory": (lambda root: as_directory(trees.park(root) / "modules.dep"), 1, "modules.dep"),
    "modules.dep is a FIFO": (lambda root: as_fifo(trees.park(root) / "modules.dep"), 1, "modules.dep"),
}


def rewritten(path, text="kernel/other.ko\n"):
    path.unlink()
    path.write_text(text)


def as_directory(path):
    path.unlink()
    path.mkdir()


def as_fifo(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("how", HOSTILE)
def test_from_a_park_that_is_none_nothing_comes(how, small):
    damage, code, words = HOSTILE[how]
    damage(small)
    before, beside = trees.snapshot(small), trees.snapshot(outside(small))
    said = tools.limopack(small, "--restore", code=code)
    assert words in said.stderr, said.stderr
    if code:
        assert trees.snapshot(small) == before
    assert trees.snapshot(outside(small)) == beside
    # A prune that deletes is the way out, but of what limopack never makes.
    tools.limopack(small, "--prune", code=int("director" in how or "behind" in how))
    assert trees.snapshot(outside(small)) == beside


def test_a_prune_parks_through_no_link(small):
    tools.limopack(small, "--restore")
    (small / "lib/modules/.parked").symlink_to(outside(small))
    before, beside = trees.snapshot(small), trees.snapshot(outside(small))
    said = tools.limopack(small, "--prune", "--park", code=1)
    assert ".parked" in said.stderr
    assert (trees.snapshot(small), trees.snapshot(outside(small))) == (before, beside)


def test_what_is_foreign_in_a_park_stays_there(small):
    park = trees.park(small)
    foreign = {"notes": "mine\n", "kernel/readme": "mine\n"}
    for name, text in foreign.items():
        (park / name).write_text(text)
    os.mkfifo(park / "kernel/fifo.ko")
    everything = trees.modules(trees.directory(small)) | trees.modules(park) - {"kernel/fifo.ko"}
    tools.limopack(small, "--restore")
    assert trees.modules(trees.directory(small)) == everything
    assert {name: (park / name).read_text() for name in foreign} == foreign
    assert (park / "kernel/fifo.ko").is_fifo()


def test_a_new_build_is_never_mixed_with_the_park_of_the_old_one(small):
    """The kernel's package is upgraded under the same version: all modules are back, and are other ones."""
    vdir, park = trees.directory(small), trees.park(small)
    parked = trees.modules(park)
    for path in parked:
        (vdir / path).parent.mkdir(parents=True, exist_ok=True)
        (vdir / path).write_bytes((park / path).read_bytes() + b"new")
    rewritten(vdir / "modules.builtin", "kernel/new.ko\n")
    fetch.kmod("30").depmod(small, vdir.name)
    new = {path: (vdir / path).read_bytes() for path in trees.modules(vdir)}
    assert "nothing is parked" in tools.limopack(small, "--restore").stderr
    assert {path: (vdir / path).read_bytes() for path in trees.modules(vdir)} == new
    tools.limopack(small, "--prune", "--park")
    assert trees.modules(park) == parked
    tools.limopack(small, "--restore")
    assert {path: (vdir / path).read_bytes() for path in trees.modules(vdir)} == new


def test_a_module_that_was_built_since_stays_listed(small):
    """DKMS builds a module on the pruned machine, and its script runs depmod; later the kernel's come back."""
    vdir = trees.directory(small)
    index = model.Index(vdir)
    (vdir / "updates/dkms").mkdir(parents=True)
    shutil.copy(vdir / index.path["vfat"], vdir / "updates/dkms/vfat_new.ko")
    fetch.kmod("30").depmod(small, vdir.name)
    for args in (["--restore", "--use=e1000e"], ["--prune", "--park"], ["--restore"]):
        tools.limopack(small, *args)
        # depmod names it after its file.
        assert model.Index(vdir).path["vfat_new"] == "updates/dkms/vfat_new.ko"
        ours = indexes(vdir)
        fetch.kmod("30").depmod(small, vdir.name)
        real = indexes(vdir)
        assert words(ours["modules.dep"]) == words(real["modules.dep"]), args
        assert sorted(ours["modules.alias"].splitlines()) == sorted(real["modules.alias"].splitlines()), args
    assert not trees.park(small).exists()


@pytest.mark.parametrize("place", ["in the park", "in place"])
@pytest.mark.parametrize("damage", ["path", "dependency"])
def test_damaged_lines_of_modules_dep_are_reported_and_depmod_mends_them(damage, place, small):
    """Story: one byte of the park's modules.dep had changed, or of the one in place. A restore trusted it: a module
    came back under a path that was not its own, or needed what there was not, and nothing said so."""
    vdir, park = trees.directory(small), trees.park(small)
    whole = trees.modules(vdir) | trees.modules(park)
    folder = park if place == "in the park" else vdir
    dep, there = folder / "modules.dep", trees.modules(folder)
    lines = dep.read_text().splitlines(keepends=True)
    at = next(at for at, line in enumerate(lines) if line.count(".ko") == 2 and line.split(":")[0] in there)
    user, path = lines[at].replace(":", "").split()
    if damage == "path":
        path = user
    wrong = path.replace("kernel/", "kernek/")
    lines[at] = lines[at].replace(path, wrong, 1)
    dep.write_text("".join(lines))
    said = tools.limopack(small, "--restore").stderr
    if (place, damage) != ("in place", "dependency"):  # of that, the park has the line
        assert "modules.dep and the files differ; run depmod" in said and wrong in said
    assert trees.modules(vdir) == whole
    fetch.kmod("30").depmod(small, vdir.name)
    assert tools.limopack(small, "--list", "--use=" + model.name_of(path)).stdout
    assert set(model.Index(vdir).path.values()) == whole


def test_what_is_registered_comes_back(small):
    for names in (["e1000e"], ["snd_hda_intel", "dummy"]):
        said = tools.limopack(small, "--install", "--static", "--use=" + ",".join(names))
        assert "restored" in said.stderr
        assert set(names) <= set(model.Index(trees.directory(small)).path)
    parked = trees.modules(trees.park(small))
    tools.limopack(small, "--prune", "--park")
    assert trees.modules(trees.park(small)) == parked, "what is registered stays"


def test_nothing_comes_back_for_a_call_that_is_refused(small):
    before = trees.snapshot(small)
    said = tools.limopack(small, "--install", "--static", "--use=e1000e,no_such_module", code=1)
    assert "no_such_module" in said.stderr
    tools.limopack(small, "--restore", "--use=e1000e,no_such_module", code=1)
    tools.limopack(small, "--restore", "--dry-run")
    tools.limopack(small, "--install", "--static", "--use=e1000e", "--dry-run")
    assert trees.snapshot(small) == before


def test_who_asks_for_a_parked_module_is_told(small):
    version = trees.version(small)
    way = f"parked in kernel {version}; this brings it back: limopack --restore --use=e1000e"
    for action in ("--list", "--tree", "--why"):
        assert way in tools.limopack(small, action, "--use=e1000e", code=None).stderr, action
    lines = tools.limopack(small, "--check", code=None).stdout.splitlines()
    line, = [line.split("\t") for line in lines if line.startswith("parked")]
    modules = trees.modules(trees.park(small))
    size = sum((trees.park(small) / path).stat().st_size for path in modules)
    assert line == ["parked", version, "kernel", f"{len(modules)} modules, {size} bytes; see --restore"]


def test_a_prune_without_park_frees_the_space(small):
    modules = len(trees.modules(trees.park(small)))
    kept = trees.modules(trees.directory(small))
    said = tools.limopack(small, "--prune")
    assert f"removed {modules} modules" in said.stderr and "were parked" in said.stderr, said.stderr
    assert not (small / "lib/modules/.parked").exists()
    assert trees.modules(trees.directory(small)) == kept


@pytest.mark.parametrize("args", [["--prune", "--park"], ["--restore"]])
def test_a_kernel_on_a_file_system_of_its_own_is_refused(args, small):
    vdir = trees.directory(small)
    (small.parent / "copy").mkdir()
    mount = (f"cp -a {vdir}/. {small.parent}/copy; mount -t tmpfs none {vdir}; cp -a {small.parent}/copy/. {vdir}; "
             f'set +e; "$@"; code=$?; find {vdir}/kernel -name "*.ko" | wc -l; exit $code')
    argv = ["unshare", "-m", "sh", "-ec", mount, "sh", *tools.argv(small, *args)]
    before = trees.snapshot(small)
    done = tools.run(*argv, code=1)
    assert "different mounts" in done.stderr or "Invalid cross-device link" in done.stderr, done.stderr
    assert int(done.stdout) == len(trees.modules(vdir))
    assert trees.snapshot(small) == before
