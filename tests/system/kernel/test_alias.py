"""Aliases as names, against modprobe.

Owns the promise that an alias names exactly the modules that modprobe would load for it: for
every pattern of modules.alias of every kernel, turned into a name that it matches, by the binary
index and by the text alone; and that many aliases cost little.
"""

import pytest

import fetch
import model
import tools
import trees

NEWEST = {"bookworm": "30", "cloud": "30", "armmp": "30", "trixie": "34", "forky": "34"}
# Built into every kernel here: marks where the answer to one alias ends.
SEPARATOR = f"{tools.SEPARATOR}: built into the kernel"


def answers(root, aliases, scratch):
    """alias → the modules that limopack finds for it, all in one call."""
    # A census, so that no alias is taken for a line of a registry.
    names = scratch / "aliases"
    names.write_text("# limopack census\n" + "".join(
        f"{tools.SEPARATOR}\n{alias}\n" for alias in aliases))
    said = tools.limopack(root, "--why", f"--from={names}").stdout
    parts = [part.splitlines() for part in said.split(f"{SEPARATOR}\n")[1:]]
    assert len(parts) == len(aliases)
    return {alias: {line.split(": ")[0] for line in part}
            for alias, part in zip(aliases, parts)}


@pytest.fixture(params=list(fetch.KERNELS))
def kernel(request, pristine, index_of):
    """A kernel's root, a name for every pattern of it, and modprobe's answers."""
    name, release = request.param, NEWEST[request.param]
    root, index = pristine(name, release), index_of(name, release)
    aliases = sorted({model.concrete(line.split()[1])
                      for line in model.lines(index.vdir / "modules.alias")})
    return root, aliases, tools.Modprobe(release, root).resolve(aliases)


def differences(found, expected):
    return {alias: f"{sorted(found[alias])}, modprobe: {sorted(set(modules))}"
            for alias, modules in expected.items() if found[alias] != set(modules)}


def test_every_alias_stands_for_the_modules_that_modprobe_finds(kernel, scratch):
    root, aliases, expected = kernel
    wrong = differences(answers(root, aliases, scratch), expected)
    assert not wrong, f"{len(wrong)} of {len(aliases)}: {list(wrong.items())[:5]}"


def test_the_text_alone_gives_the_same(copy_of, index_of, scratch):
    root, index = copy_of("cloud"), index_of("cloud")
    for binary in trees.directory(root).glob("modules.*.bin"):
        binary.unlink()
    aliases = sorted({model.concrete(line.split()[1])
                      for line in model.lines(index.vdir / "modules.alias")})
    expected = tools.Modprobe("30", index.vdir.parents[2]).resolve(aliases)
    wrong = differences(answers(root, aliases, scratch), expected)
    assert not wrong, f"{len(wrong)} of {len(aliases)}: {list(wrong.items())[:5]}"


def test_what_is_blacklisted_is_found_by_its_name_alone(copy_of, index_of):
    """As modprobe finds it; of other aliases, which it does not resolve either, more is kept."""
    root, index = copy_of("cloud"), index_of("cloud")
    device, module = next((model.concrete(pattern), module) for pattern, module in index.aliases
                          if pattern.startswith("pci:") and index.resolve(model.concrete(pattern)) == [module])
    configuration = root / "etc/modprobe.d"
    configuration.mkdir(parents=True)
    (configuration / "x.conf").write_text(f"blacklist xfs\nblacklist {module}\n")
    loads, found = {}, {}
    for name in [device, module, "fs-xfs", "xfs"]:
        shown = tools.run(*fetch.kmod("30").argv(
            "modprobe", "-C", configuration, "-d", root, "-S", trees.version(root), "-D", name), code=None)
        loads[name] = {model.name_of(line.split()[1]) for line in shown.stdout.splitlines()}
        said = tools.limopack(root, "--list", f"--use={name}", code=None).stdout
        found[name] = {model.name_of(path) for path in said.splitlines()}
        assert loads[name] <= found[name], name
    assert module in loads[module] and "xfs" in loads["xfs"]
    assert not loads[device] and not found[device]
    assert not loads["fs-xfs"] and "xfs" in found["fs-xfs"]
