#!/usr/bin/python3
"""What limopack costs beside what others do, as one table in Markdown, for the README.

Owns the table: all its rows are from this one run, at whose end a broken limit is an error. The
binary is the one that ships (`make bench` builds it).
"""
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

import bench_forget
import bench_list
import bench_prune
import bench_start
import chroots
import tools


def main():
    if not os.path.ismount("/dev/shm"):
        sys.exit("bench.py: /dev/shm is no tmpfs")
    chroots.own_mounts()
    tools.binary()
    print(f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores of {platform.machine()}, "
          f"Linux {platform.release().split('-')[0]}:\n")
    print("| what | limopack | beside it | ratio | limit |\n|---|--:|--:|--:|--:|", flush=True)
    broken = []
    with tempfile.TemporaryDirectory(prefix="limopack-", dir="/dev/shm") as place:
        for part in (bench_list, bench_prune, bench_forget, bench_start):
            for row in part.rows(Path(place)):
                print(f"| {row.what} | {row.ours} | {row.theirs} | {row.shown} | {row.shown_limit} |", flush=True)
                if not row.held():
                    broken.append(row.what)
    sys.exit("".join(f"bench.py: over its limit: {what}\n" for what in broken) or None)


if __name__ == "__main__":
    main()
