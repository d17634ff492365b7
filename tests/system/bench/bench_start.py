"""How large the binaries are and what it costs to start one.

Owns the rows of start and size. Sizes are of files, without the libraries that they need beside.
"""
import csv

import fetch
import measure
import tools

CALLS_LIMIT, INSTRUCTIONS_LIMIT = 12, 30_000
CROSS = fetch.TOP / "target/cross"
BOARD, PC = "armv7-unknown-linux-musleabihf", "x86_64-unknown-linux-musl"
DYNAMIC = fetch.TOP / "target/gnu/release/limopack"


def limit(target):
    """The size that a target's binary may have."""
    with open(fetch.TOP / "cross/build/targets.tsv") as table:
        return next(int(line[3]) for line in csv.reader(table, delimiter="\t") if line[0] == target)


def size(target):
    return (CROSS / target / "limopack").stat().st_size


def rows(_):
    version = [tools.binary(), "--version"]
    yield measure.amount("system calls of `--version`", len(tools.system_calls(*version)),
                         measure.count, CALLS_LIMIT)
    yield measure.amount("instructions of `--version`", tools.instructions(*version),
                         measure.count, INSTRUCTIONS_LIMIT)
    for target in (BOARD, PC):
        yield measure.amount(f"size for {target}", size(target), measure.size, limit(target))
    for what, path in (("Debian's busybox-static", fetch.busybox()),
                       ("Debian's kmod, which needs four libraries", fetch.kmod("30").root / "usr/bin/kmod"),
                       ("a dynamic build of limopack for x86_64-unknown-linux-gnu", DYNAMIC)):
        yield measure.ratio(f"size for x86-64, beside {what}", size(PC), path.stat().st_size, measure.size)
