"""What a prune costs beside the plain commands that do the same, on tmpfs.

Owns the rows of the prune. Every one is a way to get from Debian's 6.1 amd64 tree (4022 modules) to
the 185 of machine.py, each time on a fresh real copy: module pages are freed, as on a real system.
Times are user and system time of all processes, on one core. On tmpfs nothing waits for a device, so
that they are what a clock shows on a quiet machine. On a busy one the clock's ratios were between 0.9
and 1.9 where these were between 1.06 and 1.07.
"""
import shutil
import subprocess

import fetch
import machine
import measure
import model
import tools
import trees

ROUNDS = 9
MEMORY_LIMIT = 4 << 20


def rm(root, gone):
    """The same files by `xargs -0 rm`, then the emptied directories."""
    with open(gone) as names:
        subprocess.run(["xargs", "-0", "rm"], stdin=names, cwd=trees.directory(root), check=True)
    subprocess.run(["find", trees.directory(root) / "kernel", "-mindepth", "1", "-type", "d",
                    "-empty", "-delete"], check=True)


def rm_depmod(root, gone):
    rm(root, gone)
    fetch.kmod("30").depmod(root, trees.version(root))


def prune(root, _):
    tools.limopack(root, "--prune", "--quiet")


def park(root, _):
    tools.limopack(root, "--prune", "--park", "--quiet")


# What runs beside the prune, and limopack's time to its, at most.
BESIDE = {"rm + find": (rm, 0.95), "rm + find + depmod": (rm_depmod, 0.55)}


def prepare(place):
    """The pristine root with the keep set registered; the list of files to go; the files to stay."""
    root = trees.copy(fetch.kernel_tree("bookworm"), place / "pristine", shutil.copy2)
    index = model.Index(trees.directory(root))
    keep = machine.loaded(index)
    tools.limopack(root, "--install", "--static", "--use=" + ",".join(keep))
    kept = set(index.paths(keep))
    gone = sorted(set(index.path.values()) - kept)
    (place / "gone").write_text("\0".join(gone) + "\0")
    return root, place / "gone", kept


def rows(place):
    pristine, gone, kept = prepare(place)

    def seconds(way):
        root = trees.copy(pristine, place / "round", shutil.copy2)
        taken = measure.time_of_children(lambda: way(root, gone))
        left = trees.modules(trees.directory(root))
        assert left == kept, f"{way.__name__}: {len(left)} modules stay, expected {len(kept)}"
        shutil.rmtree(root)
        return taken

    def restoring(_):
        root = trees.copy(pristine, place / "round", shutil.copy2)
        before = trees.modules(trees.directory(root))
        park(root, gone)
        taken = measure.time_of_children(lambda: tools.limopack(root, "--restore", "--quiet"))
        assert trees.modules(trees.directory(root)) == before
        shutil.rmtree(root)
        return taken

    ways = {"prune": prune, "park": park, **{name: way for name, (way, _) in BESIDE.items()}}
    with measure.one_core():
        taken = measure.taking_turns(ways, ROUNDS, seconds)
        taken |= measure.taking_turns({"restore": None}, ROUNDS, restoring)
    for name, (_, limit) in BESIDE.items():
        yield measure.ratio(f"`--prune` of 4022 modules to 185 on one core, beside `{name}`", taken["prune"],
                            taken[name], measure.milliseconds, limit)

    yield measure.ratio("`--prune --park` of as many on one core, beside that `--prune`", taken["park"],
                        taken["prune"], measure.milliseconds)
    yield measure.ratio("`--restore` of all of them on one core, beside that `--prune`", taken["restore"],
                        taken["prune"], measure.milliseconds)

    def attempt():
        shutil.rmtree(place / "round", ignore_errors=True)
        return tools.argv(trees.copy(pristine, place / "round"), "--prune", "--quiet")
    yield measure.amount("private memory of that prune, at its peak", measure.private_memory(attempt),
                         measure.kibibytes, MEMORY_LIMIT)
