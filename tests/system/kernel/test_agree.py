"""`--check` and a prune agree: on trees and registries that something happened to, a prune refuses
exactly if the audit has a line that is not `unpruned`.

Owns what can happen. Each case is one seed: a real kernel's tree, whole or pruned, and one to three
mutations of it, of its indexes or of its registry.
"""
import random
import shutil

import pytest

import fetch
import small
import tools
import trees

CASES = 40


def modules(vdir, rng, count=1):
    return rng.sample(sorted(vdir.glob("kernel/**/*.ko")), count)


def lines(path, change):
    """Replaces a text's lines by `change` of them; the file is a new one, as depmod's are."""
    text = path.read_text().splitlines(keepends=True)
    path.unlink()
    path.write_text("".join(change(text)))


def some_file_is_gone(vdir, rng):
    modules(vdir, rng)[0].unlink()


def a_file_that_depmod_has_not_seen(vdir, rng):
    shutil.copy2(modules(vdir, rng)[0], vdir / "kernel/unseen.ko")


def a_link_in_the_place_of_a_module(vdir, rng):
    module = modules(vdir, rng)[0]
    moved = module.with_name("moved.data")
    module.rename(moved)
    module.symlink_to(moved.name)


def a_line_of_modules_dep_is_gone(vdir, rng):
    lines(vdir / "modules.dep", lambda text: rng.sample(text, len(text) - 1))


def modules_dep_is_cut_off(vdir, rng):
    lines(vdir / "modules.dep", lambda text: text[:rng.randrange(len(text))])


def a_malformed_line_in_modules_dep(vdir, rng):
    lines(vdir / "modules.dep", lambda text: [*text, "kernel/odd.ko\n"])


def no_binary_indexes(vdir, _):
    for path in vdir.glob("modules.*.bin"):
        path.unlink()


def a_binary_index_of_another_tree(vdir, rng):
    lines(vdir / "modules.dep", lambda text: [line for line in text if rng.random() > 0.05] or text)


def an_alias_of_nothing(vdir, _):
    lines(vdir / "modules.alias", lambda text: [*text, "alias pci:v9* no_such_module\n"])


def a_damaged_alias(vdir, _):
    lines(vdir / "modules.alias", lambda text: [*text, "no alias at all\n"])


def a_registered_name_that_nothing_has(vdir, _):
    registry(vdir, "exta4:S\n")


def a_malformed_registry(vdir, _):
    registry(vdir, "ext4\n")


def an_empty_registry(vdir, _):
    lines(vdir / "modules.active", lambda _: [])


def no_base(vdir, _):
    lines(vdir / "modules.active", lambda _: ["vfat:1\n"])


def a_base_without_static_entries(vdir, _):
    lines(vdir / "modules.active", lambda _: ["#! base\n", "vfat:1\n"])


def one_more_is_registered(vdir, rng):
    registry(vdir, f"{modules(vdir, rng)[0].name.split('.')[0]}:2\n")


def a_module_outside_of_kernel(vdir, rng):
    (vdir / "updates").mkdir(exist_ok=True)
    shutil.copy2(modules(vdir, rng)[0], vdir / "updates/of-somebody.ko")


def a_module_outside_with_the_name_of_one_inside(vdir, rng):
    (vdir / "updates").mkdir(exist_ok=True)
    shutil.copy2(modules(vdir, rng)[0], vdir / "updates")


def a_dot_in_a_file_name(vdir, rng):
    shutil.copy2(modules(vdir, rng)[0], vdir / "kernel/r8168-8.049.02.ko")
    depmod(vdir)


def a_module_below_build(vdir, rng):
    (vdir / "build").mkdir(exist_ok=True)
    shutil.copy2(modules(vdir, rng)[0], vdir / "build/new.ko")


def a_sibling_with_more(vdir, rng):
    other = vdir.with_name("6.9.9-other")
    (other / "kernel").mkdir(parents=True, exist_ok=True)
    (other / "modules.dep").write_text("kernel/a.ko:\n")
    (other / "kernel/a.ko").touch()
    (other / "modules.active").write_text(f"{modules(vdir, rng)[0].name.split('.')[0]}:S\n")


def nothing(_, __):
    pass


def registry(vdir, more):
    lines(vdir / "modules.active", lambda text: [*text, more])


def depmod(vdir):
    fetch.kmod("30").depmod(vdir.parents[2], vdir.name)


MUTATIONS = [value for name, value in list(globals().items())
             if callable(value) and getattr(value, "__code__", None) is not None
             and value.__code__.co_argcount == 2 and value.__module__ == __name__ and name not in ("lines", "registry")]


@pytest.fixture(scope="module")
def whole(scratch):
    return small.root(scratch / "agree")


@pytest.mark.parametrize("seed", range(CASES))
def test_a_prune_refuses_exactly_if_the_audit_has_a_line(whole, scratch, seed):
    rng = random.Random(seed)
    root = trees.copy(whole, scratch / f"agree-{seed}")
    vdir = trees.directory(root)
    tools.limopack(root, "--install", "--static", f"--use={small.KEPT}")
    if rng.random() < 0.5:
        tools.limopack(root, "--prune")
    # Every mutation comes first once, so that none is left to chance.
    happened = [MUTATIONS[seed % len(MUTATIONS)], *rng.sample(MUTATIONS, rng.randrange(3))]
    for mutate in happened:
        mutate(vdir, rng)
    one = f"--kernel={vdir.name}"
    audit = tools.run(tools.binary(), f"--root={root}", one, "--check", "--quiet", code=None)
    kinds = {line.split("\t")[0] for line in audit.stdout.splitlines()}
    before = sorted(str(path) for path in root.rglob("*"))
    prune = tools.run(tools.binary(), f"--root={root}", one, "--prune", code=None)
    what = [mutate.__name__ for mutate in happened]
    assert (prune.returncode != 0) == bool(kinds - {"unpruned"}), (
        f"{what}\naudit:\n{audit.stdout}{audit.stderr}\nprune: {prune.stderr}")
    if prune.returncode:
        assert before == sorted(str(path) for path in root.rglob("*")), what
    shutil.rmtree(root)
