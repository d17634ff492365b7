"""What a listing costs beside the least that it can cost, and beside the usual pipeline.

Owns the rows of the listing. 185 modules of Debian's 6.1 amd64 kernel are loaded, as machine.py has
them, in a root of its own. Times are user and system time of the whole process, its start included.
"""
import shutil
import subprocess

import fetch
import machine
import measure
import model
import tools
import trees

ROUNDS, FEW_ROUNDS, ALIASES, DEVICES = 501, 9, 500, 1000
SCAN_LIMIT, PIPELINE_LIMIT, ALIASES_LIMIT = 1.5, 0.1, 0.015
# Of instructions, where there are no binary indexes.
TEXT_LIMIT, TEXT_DEVICES_LIMIT = 7_000_000, 40_000_000
MEMORY_LIMIT = 1 << 20
# --all, without which modprobe takes the other names for the first one's parameters.
PIPELINE = "cut -d' ' -f1 {root}/proc/modules | xargs {modprobe} --all --show-depends | sort -u"


def scan(out):
    """The C program with musl, as limopack is built."""
    musl = subprocess.run([fetch.TOP / "cross/build/musl.sh", "amd64"], text=True, capture_output=True,
                          check=True).stdout.strip()
    gcc = tools.run("gcc", "-print-file-name=include").stdout.strip()
    tools.run("gcc", "-O2", "-D_GNU_SOURCE", "-Wall", "-Werror", "-static", "-nostdinc", "-nostdlib",
              "-isystem", f"{musl}/../../include/x86_64-linux-musl", "-isystem", gcc,
              f"{musl}/crt1.o", f"{musl}/crti.o", fetch.TOP / "tests/system/bench/scan.c",
              f"{musl}/libc.a", "-lgcc", f"{musl}/crtn.o", "-o", out)
    return str(out)


def beside_scan(place, root, what, limit):
    version = trees.version(root)
    commands = {"list": [tools.binary(), f"--root={root}", "--list"],
                "scan": [scan(place / "scan"), str(root), version]}
    listed, scanned = (sorted(tools.run(*command).stdout.splitlines()) for command in commands.values())
    assert listed == scanned and len(listed) == machine.COUNT, "they list different modules"
    taken = measure.taking_turns(commands, ROUNDS)
    return measure.ratio(what, taken["list"], taken["scan"], measure.milliseconds, limit)


def beside_pipeline(root):
    modprobe = fetch.kmod("30").argv("modprobe", "-C", "/nonexistent", "-d", root, "-S", trees.version(root))
    pipeline = PIPELINE.format(root=root, modprobe=" ".join(map(str, modprobe)))
    commands = {"list": tools.argv(root, "--list"), "pipeline": ["sh", "-ec", pipeline]}
    shown = tools.run(*commands["pipeline"]).stdout.splitlines()
    assert len(shown) == machine.COUNT, f"{len(shown)} lines:\n" + "\n".join(shown[:5])
    taken = measure.taking_turns(commands, FEW_ROUNDS)
    return measure.ratio("the same, beside `cut`, `xargs modprobe --show-depends` and `sort -u`", taken["list"],
                         taken["pipeline"], measure.milliseconds, PIPELINE_LIMIT)


def alias_names(root, count, is_meant):
    """Names that match aliases of the kernel's modules, from all over the file."""
    patterns = [line.split()[1] for line in (trees.directory(root) / "modules.alias").read_text().splitlines()
                if line.startswith("alias ") and is_meant(line)]
    return [model.concrete(pattern) for pattern in patterns[:: len(patterns) // count][:count]]


def file_of_names(place, names):
    (place / "aliases").write_text("\n".join(names) + "\n")
    return f"--from={place}/aliases"


def beside_each_alias(place, root):
    """Modules for many aliases at once, beside `modprobe -R` for each."""
    names = alias_names(root, ALIASES, lambda line: "," not in line)
    modprobe = fetch.kmod("30").argv("modprobe", "-d", root, "-S", trees.version(root), "-R")
    taken = measure.taking_turns({
        "list": [tools.argv(root, "--list", file_of_names(place, names))],
        "modprobe": [[*modprobe, name] for name in names],
    }, 3, lambda commands: sum(map(measure.processor_time, commands)))
    return measure.ratio(f"`--list` of {len(names)} aliases, beside `modprobe -R` for each", taken["list"],
                         taken["modprobe"], measure.milliseconds, ALIASES_LIMIT)


def by_text(place, root):
    """As on a system that has only busybox's depmod. Nothing else does the same work, so instructions count."""
    for index in trees.directory(root).glob("modules.*.bin"):
        index.unlink()
    names = alias_names(root, DEVICES, lambda line: ":" in line)
    for what, words, limit in ((f"{machine.COUNT} loaded modules", [], TEXT_LIMIT),
                               (f"{len(names):,} device aliases", [file_of_names(place, names)], TEXT_DEVICES_LIMIT)):
        yield measure.amount(f"instructions of `--list` of {what} without .bin files",
                             tools.instructions(*tools.argv(root, "--list", *words)), measure.count, limit)


def loaded_root(place):
    """Debian's 6.1 with the modules of machine.py loaded."""
    root = trees.copy(fetch.kernel_tree("bookworm"), place, shutil.copy2)
    (root / "proc").mkdir()
    (root / "proc/modules").write_text(machine.proc_modules(model.Index(trees.directory(root))))
    return root


def rows(place):
    root = loaded_root(place / "loaded")
    yield beside_scan(place, root, "`--list` of 185 loaded modules, beside a C program that only scans "
                      "modules.dep for them", SCAN_LIMIT)
    yield beside_pipeline(root)
    yield measure.amount("private memory of that listing, at its peak", measure.private_memory(
        lambda: tools.argv(root, "--list")), measure.kibibytes, MEMORY_LIMIT)
    yield beside_each_alias(place, root)
    yield from by_text(place, root)
