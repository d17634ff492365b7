#!/usr/bin/python3
"""What a prune costs beside the plain commands that do the same, in one run on tmpfs.

Owns the benchmark's table; ratios count, not milliseconds. Every row is a way
to get from Debian's 6.1 amd64 tree (4022 modules) to the 185 of machine.py.
Runs alternate, each on a fresh real copy (module pages are freed, as on a real
system), and medians are compared.

Memory is the smallest RLIMIT_DATA with which the prune still succeeds: that
limit counts all private writable memory (heap, anonymous and private writable
maps) and no read-only file map. So it is the peak beyond the mapped files,
exactly, without sampling and without what merely was in the page cache.

    bench.py [ROUNDS]   print the table; exit 1 if a limit is exceeded
"""
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import fetch
import machine
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


# Row: (name, what to run).
ROWS = {"limopack --prune": prune, "rm + find": rm, "rm + find + depmod": rm_depmod}
# Of limopack's time to that of the other row, at most.
LIMITS = {"rm + find": 1.0, "rm + find + depmod": 0.55}


def prepare(place):
    """The pristine root with the keep set registered; and the list of files that have to go."""
    root = trees.copy(fetch.kernel_tree("bookworm"), place / "pristine", shutil.copy2)
    index = model.Index(trees.directory(root))
    keep = machine.loaded(index)
    tools.limopack(root, "--install", "--static", "--use=" + ",".join(keep))
    gone = sorted(set(index.path.values()) - set(index.paths(keep)))
    (place / "gone").write_text("\0".join(gone) + "\0")
    print(f"kernel {index.vdir.name}: {len(gone)} of {len(index.path)} modules go")
    return root, place / "gone", set(index.paths(keep))


def timed(place, pristine, gone, kept):
    """Row → seconds of each round."""
    times = {name: [] for name in ROWS}
    for number in range(int(sys.argv[1]) if sys.argv[1:] else ROUNDS):
        # Another order in each round: none always runs on the caches that another left.
        names = list(ROWS)[number % len(ROWS):] + list(ROWS)[:number % len(ROWS)]
        for name in names:
            root = trees.copy(pristine, place / "round", shutil.copy2)
            start = time.perf_counter()
            ROWS[name](root, gone)
            times[name].append(time.perf_counter() - start)
            left = trees.modules(trees.directory(root))
            assert left == kept, f"{name}: {len(left)} modules stay, expected {len(kept)}"
            shutil.rmtree(root)
    return times


def memory(place, pristine):
    """Peak private writable memory of a prune, to 16 KiB."""
    def succeeds(limit):
        root = trees.copy(pristine, place / "memory")
        done = subprocess.run(tools.argv(root, "--prune", "--quiet"), capture_output=True,
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)))
        shutil.rmtree(root)
        return done.returncode == 0
    low, high = 0, 256 << 20
    assert succeeds(high), "the prune fails even with 256 MiB"
    while high - low > 16 << 10:
        middle = (low + high) // 2
        low, high = (low, middle) if succeeds(middle) else (middle, high)
    return high


def report(times, peak):
    """The table; whether all limits hold."""
    held = peak <= MEMORY_LIMIT
    ours = statistics.median(times["limopack --prune"])
    print(f"{'':24}{'median':>10}{'fastest':>10}{'ratio':>8}{'limit':>8}")
    for name, seconds in times.items():
        median = statistics.median(seconds)
        ratio, limit = ours / median, LIMITS.get(name)
        held = held and (limit is None or ratio <= limit)
        print(f"{name:24}{median * 1000:7.1f} ms{min(seconds) * 1000:7.1f} ms"
              + (f"{ratio:8.2f}{limit:8.2f}" if limit else ""))
    print(f"peak memory beyond the mapped files: {peak / 1024:,.0f} KiB of {MEMORY_LIMIT >> 10:,}")
    return held


def aliases(root, count=500):
    """Modules for many aliases at once, beside `modprobe -R` for each; whether it is worth it."""
    patterns = [line.split()[1] for line in (trees.directory(root) / "modules.alias").read_text().splitlines()
                if line.startswith("alias ") and "," not in line]
    names = [model.concrete(pattern) for pattern in patterns[:: len(patterns) // count][:count]]
    ours = [tools.argv(root, "--list", "--use=" + ",".join(names))]
    modprobe = fetch.kmod("30").argv("modprobe", "-d", root, "-S", trees.version(root), "-R")
    theirs = [[*modprobe, name] for name in names]

    def seconds(commands):
        start = time.perf_counter()
        for command in commands:
            subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        return time.perf_counter() - start
    fast, slow = (min(seconds(commands) for _ in range(3)) for commands in (ours, theirs))
    print(f"{len(names)} aliases of {len(patterns)} patterns: {fast * 1000:.1f} ms; modprobe -R for each: "
          f"{slow * 1000:.0f} ms; ratio {fast / slow:.4f}, limit 0.0150")
    return fast <= slow * 0.015


def main():
    if not os.path.ismount("/dev/shm"):
        sys.exit("bench.py: /dev/shm is no tmpfs")
    with tempfile.TemporaryDirectory(prefix="limopack-", dir="/dev/shm") as place:
        place = Path(place)
        pristine, gone, kept = prepare(place)
        held = aliases(pristine)
        held &= report(timed(place, pristine, gone, kept), memory(place, pristine))
    sys.exit(not held)


if __name__ == "__main__":
    tools.binary()
    main()
