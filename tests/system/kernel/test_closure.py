"""The closure of every module, against modprobe.

Owns the promise that `--list` names what modprobe would load for a module, and beyond that only
what weakdeps and hidden needs bring in: a fixpoint computed from modprobe's own answers, without
the model's reading of modules.dep, softdeps and aliases.
"""
import pytest

import fetch
import model
import tools
import trees

NEWEST = {"bookworm": "30", "cloud": "30", "armmp": "30", "trixie": "34", "forky": "34"}


def closures(index, modprobe):
    """Module → the paths that must stay for it."""
    names = sorted(index.path)
    loads = modprobe.show_depends(names)
    extra = {name: index.weak.get(name, []) + model.HIDDEN.get(name, []) for name in names}
    targets = sorted({target for some in extra.values() for target in some})
    modules = modprobe.resolve(targets)
    direct = {name: set(loads[name]) for name in names}
    for name in names:
        for target in extra[name]:
            direct[name] |= {index.path[module] for module in modules[target]
                             if module in index.path}
    found = {}
    for name in names:
        todo, seen = [index.path[name]], set()
        while todo:
            path = todo.pop()
            if path not in seen:
                seen.add(path)
                todo += direct[model.name_of(path)]
        found[name] = sorted(seen)
    return found


@pytest.mark.parametrize("name", list(fetch.KERNELS))
def test_every_closure_is_what_modprobe_loads_and_weak_and_hidden_needs(name, pristine, index_of):
    root, index = pristine(name, NEWEST[name]), index_of(name, NEWEST[name])
    expected = closures(index, tools.Modprobe(NEWEST[name], root))
    names = sorted(expected)
    listed = tools.run_each([tools.argv(root, "--list", f"--use={module}") for module in names])
    wrong = {}
    for module, (status, out, err) in zip(names, listed):
        if status or out.splitlines() != expected[module]:
            wrong[module] = err or sorted(set(out.splitlines()) ^ set(expected[module]))
    assert not wrong, f"{len(wrong)} of {len(names)}: {list(wrong.items())[:5]}"


def test_an_administrators_configuration_counts(copy_of):
    """Softdeps, weakdeps and aliases of modprobe.d, masked and sorted as modprobe does it."""
    root = copy_of("cloud")

    def write(path, text):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)

    write("etc/modprobe.d/a.conf", "softdep overlay pre: \\\n loop\nsoftdep overlay pre: bonding\n")
    write("usr/lib/modprobe.d/a.conf", "softdep tun pre: bonding\n")  # masked by the one above
    write("run/modprobe.d/b.conf", "weakdep tun dm-mod\nalias my-disk nbd\n")
    write("usr/local/lib/modprobe.d/null.conf", "softdep veth pre: loop\n")
    (root / "etc/modprobe.d/null.conf").symlink_to("/dev/null")
    write("etc/limopack/hidden.d/x.conf", "# mine\nveth my-disk # for a test\n")

    def names(module):
        out = tools.limopack(root, "--list", f"--use={module}").stdout
        return {model.name_of(path) for path in out.splitlines()}

    assert "loop" in names("overlay") and "bonding" not in names("overlay")
    assert "dm_mod" in names("tun") and "bonding" not in names("tun")
    assert "nbd" in names("veth") and "loop" not in names("veth")
    assert "nbd" in names("my-disk")
    assert "veth -> hidden nbd" in tools.limopack(root, "--why", "--use=nbd").stdout \
        or tools.limopack(root, "--install", "--use=veth").returncode == 0
    assert "registered (1) veth -> hidden nbd" in \
        tools.limopack(root, "--why", "--use=nbd").stdout
    assert trees.modules(trees.directory(root))
