"""One byte of an index, a registry, a park or a file of needs.d changed, at 200 places each.

Owns what a damage may do to an action: it is refused and nothing changes, or all that the undamaged
run keeps is there, indexed, with its dependencies. Where no reader can tell the damage from what
somebody meant, `excuse` says so, by a predicate on the damaged line; what it excuses is counted.
"""
import shutil
import tempfile
from pathlib import Path

import pytest

import damage
import fetch
import model
import tools
import trees

# With what they need, the modules of the ground: every kind of index has lines of what stays and of
# what goes, and none is so long that the places miss what is asked for.
SEEDS = "ext4 vfat dm_crypt btrfs loop dummy 8139too virtio_net".split()
REGISTRY = """# the machine
#! base
dm_crypt:S
dummy:1
#@ dummy one
ext4:S
virtio_net:2
#@ virtio_net one two
"""
NEEDS = "etc/limopack/needs.d/board.conf"
# loop, the network card and vfat stay for this file alone.
BOARD = """# what the board has
loop
8139too ?
fs-vfat
crypto-xts
"""
KEPT = "dm_crypt dummy ext4 virtio_net loop 8139too vfat xts".split()
# What is named by an alias may be missing: these are insisted on.
INSISTED = "dm_crypt dummy ext4 virtio_net loop 8139too".split()
PARKED = "btrfs"
# So many processes can share the work.
GROUPS = 4
BASE = "usr/lib/modules"


@pytest.fixture(scope="module")
def whole(scratch):
    """A root with a small kernel, a registry and a file of needs.d; module files are empty, as nothing
    here reads them."""
    # Its own, whenever it is made again: between two groups of this file, a process may run other files.
    root, source = Path(tempfile.mkdtemp(prefix="damage-", dir=scratch)), trees.directory(fetch.kernel_tree("bookworm"))
    index = model.Index(source)
    trees.pick(source, root, index.paths(index.needs(SEEDS)))
    fetch.kmod("30").depmod(root, source.name)
    vdir = trees.directory(root)
    for path in trees.modules(vdir):
        (vdir / path).unlink()
        (vdir / path).touch()
    (vdir / "modules.active").write_text(REGISTRY)
    (root / NEEDS).parent.mkdir(parents=True)
    (root / NEEDS).write_text(BOARD)
    return root


class Truth:
    """What the undamaged kernel has, by the tests' own model, read before anything changes."""

    def __init__(self, root):
        self.index, self.place = model.Index(trees.directory(root)), f"{BASE}/{trees.version(root)}"
        self.park = f"{BASE}/.parked/{trees.version(root)}"
        self.all = set(self.index.path)
        self.index.needs(self.all)
        self.index.stays(KEPT)

    def kept(self, ground):
        """What a prune keeps there."""
        return self.index.stays(set(KEPT) - ({"dm_crypt"} if ground == "parked" else set()))

    def stand_for(self, text):
        """The modules that the words of a text stand for, with all that they need."""
        words = {word for part in (text, text.replace(":", " ")) for word in part.split()}
        return self.index.needs({hit for word in words for name in (word, model.name_of(word))
                                 for hit in self.index.resolve(name)})


def without_binaries(root):
    for path in trees.directory(root).glob("modules.*.bin"):
        path.unlink()


def parked(root):
    """Most of a kernel is parked, and since then dm_crypt is needed no more."""
    tools.limopack(root, "--prune", "--park")
    (trees.directory(root) / "modules.active").write_text(REGISTRY.replace("dm_crypt:S\n", ""))


def unfinished(root):
    """A prune ended after its indexes: its mark tells what it was about to delete."""
    vdir = trees.directory(root)
    old, modules = (vdir / "modules.dep").read_bytes(), trees.modules(vdir)
    tools.limopack(root, "--prune")
    for path in modules - trees.modules(vdir):
        (vdir / path).parent.mkdir(parents=True, exist_ok=True)
        (vdir / path).touch()
    (vdir / ".modules.dep.limopack-old").write_bytes(old)


# How the ground comes to be.
GROUNDS = {"indexed": lambda root: None, "text": without_binaries, "parked": parked, "unfinished": unfinished}
INDEXES = ("modules.dep modules.dep.bin modules.alias modules.softdep modules.symbols modules.symbols.bin "
           "modules.devname modules.order modules.builtin modules.builtin.bin modules.builtin.alias.bin "
           "modules.builtin.modinfo").split()
LISTED = ["modules.dep.bin", "modules.alias.bin", "modules.softdep", "modules.builtin"]
TEXTS = ["modules.dep", "modules.alias", "modules.softdep", "modules.builtin"]
PARK = ("modules.alias modules.softdep modules.symbols modules.devname modules.order modules.builtin "
        "modules.builtin.modinfo").split()
PRUNE, PARKS, LIST, RESTORE = ["--prune"], ["--prune", "--park"], ["--list"], ["--restore"]
SOME, BRING = ["--restore", f"--use={PARKED}"], ["--install", "--static", f"--use={PARKED}"]
ADD, RELEASE = ["--install", "--owner=two", "--use=dummy"], ["--remove", "--owner=one"]

CASES = [
    *(("indexed", name, PRUNE) for name in [*INDEXES, "modules.active", NEEDS]),
    *(("indexed", name, LIST) for name in [*LISTED, "modules.active", NEEDS]),
    *(("indexed", name, PARKS) for name in ("modules.dep", "modules.alias", "modules.alias.bin", "modules.active")),
    ("indexed", "modules.alias.bin", PRUNE),
    *(("indexed", "modules.active", args) for args in (ADD, RELEASE)),
    *(("text", name, args) for name in TEXTS for args in (PRUNE, LIST)),
    *(("unfinished", name, PRUNE) for name in (".modules.dep.limopack-old", "modules.dep")),
    *(("parked", f".parked/{name}", RESTORE) for name in PARK),
    *(("parked", f".parked/{name}", SOME) for name in PARK[1:]),
    *(("parked", name, args) for name in ("modules.dep", "modules.alias", "modules.builtin")
      for args in (RESTORE, SOME)),
    *(("parked", ".parked/modules.dep", args) for args in (RESTORE, SOME, BRING)),
    *(("parked", f".parked/{name}", args) for name in ("modules.dep", "modules.alias", "modules.builtin")
      for args in (PARKS, PRUNE)),
    ("parked", ".parked/modules.softdep", BRING),
]


@pytest.fixture(scope="module")
def grounds(whole, scratch):
    """The truth, and each ground by its name."""
    truth, made = Truth(whole), {}

    def get(name):
        if name not in made:
            root = trees.copy(whole, tempfile.mkdtemp(prefix=f"damage-{name}-", dir=scratch), shutil.copy2)
            GROUNDS[name](root)
            made[name] = damage.Ground(root)
        return truth, made[name]
    return get


def name_of_case(case):
    ground, name, args = case
    return f"{ground} {name}, {' '.join(args)}"


@pytest.mark.parametrize("case", [
    pytest.param(case, id=name_of_case(case), marks=pytest.mark.xdist_group(f"damage {number % GROUPS}"))
    for number, case in enumerate(CASES)])
def test_no_changed_byte_costs_a_module_without_a_word(case, grounds, row):
    ground, name, args = case
    truth, place = grounds(ground)
    folder = truth.park if name.startswith(".parked/") else truth.place
    file = name if name == NEEDS else f"{folder}/{name.removeprefix('.parked/')}"
    classify = {LIST[0]: listed, PRUNE[0]: pruned, RESTORE[0]: restored, BRING[0]: registered, RELEASE[0]: registered}
    counts = damage.campaign(place, file, args, lambda one: classify[args[0]](one, truth, ground, args))
    row(f"damage: {name}, {damage.PLACES} bytes", f"{ground}, {' '.join(args)}: {damage.summary(counts)}")


def names_in(state, place):
    """The modules below a place of a root."""
    return {model.name_of(path) for path in paths_in(state, place)}


def paths_in(state, place):
    return {path[len(place) + 1:] for path in state if path.startswith(f"{place}/") and path.endswith(".ko")}


# ------------------------------------------------------------------ what has to be true

def indexed(one, truth):
    """What is in place is what modules.dep lists, with all that it does not load without."""
    vdir, there = one.root / truth.place, names_in(one.after, truth.place)
    index, paths = model.Index(vdir), paths_in(one.after, truth.place)
    listed = set(index.path.values())
    assert listed == paths, f"modules.dep and the files differ: {sorted(listed ^ paths)}"
    missing = truth.index.hard(there) - there
    assert not missing, f"in place without what they need: {sorted(missing)}"
    strange = {need for needs in index.dep.values() for need in needs} - there
    assert not strange, f"modules.dep has dependencies that are gone: {strange}"
    strange = {model.underscores(module) for _, module in index.aliases} - there
    assert not strange, f"modules.alias names what is gone: {strange}"
    if (vdir / "modules.dep.bin").exists():
        lines = (vdir / "modules.dep").read_text().splitlines()
        assert model.read_trie(vdir / "modules.dep.bin") == {
            model.name_of(line.split(":")[0]): [(at, line)] for at, line in enumerate(lines)}


def pruned(one, truth, ground, args):
    indexed(one, truth)
    there, aside = names_in(one.after, truth.place), names_in(one.after, truth.park)
    if args == PARKS:
        gone = truth.all - there - aside
        # The park of another build goes with the next prune, which says so.
        assert not gone or "were parked" in one.err, f"gone from the park without a word: {sorted(gone)}"
        if gone:
            return build(one, gone)
    # Both say what modprobe finds under an alias, and only one of them is damaged.
    if (one.root / truth.place / "modules.alias.bin").exists():
        keys = model.read_trie(one.root / truth.place / "modules.alias.bin")
        found = {(key, model.underscores(module)) for key, values in keys.items() for _, module in values}
        lost = {(alias, module) for alias, module in truth.index.aliases if module in there} - found
        assert not lost, f"aliases lost without a word: {sorted(lost)[:3]}"
    return accounted(one, truth, truth.kept(ground) - there)


def listed(one, truth, ground, args):
    assert one.before == one.after, "a listing changed something"
    lost = truth.kept(ground) - set(map(model.name_of, one.out.split()))
    is_index = one.name.startswith("modules.") and one.name != "modules.active"
    # It reads the lines that it is asked for, looks at no directory, and deletes nothing. A soft
    # dependency that a kernel lacks is none, so that only what does not load without is insisted on.
    if lost and is_index and not lost & truth.index.hard(INSISTED):
        return "listed without a soft dependency"
    return accounted(one, truth, lost)


def restored(one, truth, ground, args):
    # With a warning the files come back all the same: depmod makes its files from them.
    is_warned = "modules.dep and the files differ; run depmod" in one.err
    if not is_warned:
        indexed(one, truth)
    there, aside = names_in(one.after, truth.place), names_in(one.after, truth.park)
    assert there | aside == truth.all, f"gone: {sorted(truth.all - there - aside)}"
    lost = (truth.all if args == RESTORE else truth.index.needs([PARKED])) - there
    if lost and "nothing is parked" in one.err:
        return build(one, lost)
    return "reported" if is_warned and not lost else accounted(one, truth, lost)


def build(one, lost):
    """These files tell one build of a kernel from another, and a park is never mixed with another's."""
    assert one.name in ("modules.builtin", "modules.builtin.modinfo"), f"not back: {sorted(lost)}"
    return "another build"


def registered(one, truth, ground, args):
    """The registry has every line that it had, but for the one that the call is about."""
    if args == BRING:
        return restored(one, truth, ground, args)
    active = f"{truth.place}/modules.active"
    old, new = (set(root[active][1].split(b"\n")) for root in (one.before, one.after))
    about = {line for line in old if b"dummy" in line} | {b""}
    assert old - about <= new | {b" ".join(line.split()) for line in old}, f"lines lost: {old - new}"
    return "harmless"


def accounted(one, truth, lost):
    """What came of it; AssertionError for a loss without a word."""
    if not lost:
        return "harmless"
    named = {name for name in truth.all if name in model.underscores(one.err)}
    old, new = (set(line.replace(":", " ").split()) for line in one.lines)
    quoted = any(word in one.err for word in new - old if len(word) > 2)
    if one.name in one.err or lost <= truth.index.needs(named) or quoted and lost <= truth.stand_for(one.lines[0]):
        return "reported"
    excused = excuse(one, truth, lost)
    assert excused, f"lost without a word: {sorted(lost)}"
    return excused


# ------------------------------------------------------------------ what no reader can know

def excuse(one, truth, lost):
    """What the damaged line says now, by the rules of its format; nothing if a reader could tell."""
    old, new = one.lines
    # Of two aliases of one name both are lost where one line was about both.
    if not lost <= truth.stand_for(old) | truth.stand_for(new):
        return None
    if one.name in ("modules.active", "board.conf"):
        return listed_otherwise(one, truth, old.split("\n"), new.split("\n"))
    if one.name == "modules.alias":
        return aliased_otherwise(one, truth, old, new, lost)
    return None


def listed_otherwise(one, truth, old, new):
    """Lines of a registry or of needs.d."""
    for line in set(new) - set(old):
        words = line.split()
        # Whoever wants a line out of the way for a while writes this.
        if line.startswith("#") or one.name == "board.conf" and line.startswith(";"):
            return "made a comment"
        if words and truth.index.resolve(words[0].split(":")[0]):
            return "another module's name"
        # An alias may be that of hardware which other machines have; so may what has a `?`.
        if words and one.name == "board.conf" and (words[1:2] == ["?"] or model.is_alias(words[0])):
            return "a name that may be missing"
    return None


def aliased_otherwise(one, truth, old, new, lost):
    """A line of modules.alias, of which the kernel has no other copy. What is needed by an alias is needed
    softly: a kernel may lack it."""
    if lost & truth.index.hard(INSISTED):
        return None
    if new.startswith("#"):
        return "made a comment"
    if "\n" in old and new.startswith("alias ") and len(new.split(" ")) > 3:
        return "two aliases made one"  # a pattern may have spaces
    words, before = new.split(" "), old.split(" ")
    if len(words) == 3 and words[0] == "alias" and (words[2] == before[2] or words[2] in truth.all):
        return "another alias"
    return None
