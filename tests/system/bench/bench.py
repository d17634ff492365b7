#!/usr/bin/python3
"""What limopack costs beside what others do, as one table in Markdown, for tests/system/README.md.

Owns the table: all its rows are from this one run, at whose end a broken limit is an error. The
binary is the one that ships (`make bench` builds it, and LIMOPACK_BIN names it).

    bench.py            every row
    bench.py NAME...    the rows of these parts: list, cold, prune, forget, growth, start, upgrade
"""
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

# What the tests have in common.
sys.path[1:1] = [str(Path(__file__).parents[1] / folder) for folder in ("lib", "dpkg")]

import bench_cold
import bench_forget
import bench_growth
import bench_list
import bench_prune
import bench_start
import bench_upgrade
import chroots
import tools

PARTS = {"list": bench_list, "cold": bench_cold, "prune": bench_prune, "forget": bench_forget,
         "growth": bench_growth, "start": bench_start, "upgrade": bench_upgrade}


def parts(names):
    """The parts with these names, all where there is none."""
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        sys.exit(f"bench.py: no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return [PARTS[name] for name in names or PARTS]


def main(names):
    chosen = parts(names)
    if not os.path.ismount("/dev/shm"):
        sys.exit("bench.py: /dev/shm is no tmpfs")
    chroots.own_mounts()
    tools.binary()
    print(f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores of {platform.machine()}, "
          f"Linux {platform.release().split('-')[0]}:\n")
    print("| what | limopack | beside it | ratio | limit |\n|---|--:|--:|--:|--:|", flush=True)
    broken = []
    with tempfile.TemporaryDirectory(prefix="limopack-", dir="/dev/shm") as place:
        for part in chosen:
            for row in part.rows(Path(place)):
                print(f"| {row.what} | {row.ours} | {row.theirs} | {row.shown} | {row.shown_limit} |", flush=True)
                if not row.held():
                    broken.append(row.what)
    sys.exit("".join(f"bench.py: over its limit: {what}\n" for what in broken) or None)


if __name__ == "__main__":
    main(sys.argv[1:])
