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

ROUNDS, FEW_ROUNDS, ALIASES = 501, 9, 500
SCAN_LIMIT, PIPELINE_LIMIT, ALIASES_LIMIT = 1.5, 0.1, 0.015
MEMORY_LIMIT = 1 << 20
# --all, without which modprobe takes the other names for the first one's parameters.
PIPELINE = "cut -d' ' -f1 {root}/proc/modules | xargs {modprobe} --all --show-depends | sort -u"


def scan(out):
    """The C program with musl, as limopack is built."""
    musl = subprocess.run([fetch.TOP / "cross/musl.sh", "amd64"], text=True, capture_output=True,
                          check=True).stdout.strip()
    gcc = tools.run("gcc", "-print-file-name=include").stdout.strip()
    tools.run("gcc", "-O2", "-D_GNU_SOURCE", "-Wall", "-Werror", "-static", "-nostdinc", "-nostdlib",
              "-isystem", f"{musl}/../../include/x86_64-linux-musl", "-isystem", gcc,
              f"{musl}/crt1.o", f"{musl}/crti.o", fetch.TOP / "tests/system/scan.c",
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


def beside_each_alias(place, root):
    """Modules for many aliases at once, beside `modprobe -R` for each."""
    patterns = [line.split()[1] for line in (trees.directory(root) / "modules.alias").read_text().splitlines()
                if line.startswith("alias ") and "," not in line]
    names = [model.concrete(pattern) for pattern in patterns[:: len(patterns) // ALIASES][:ALIASES]]
    (place / "aliases").write_text("\n".join(names) + "\n")
    modprobe = fetch.kmod("30").argv("modprobe", "-d", root, "-S", trees.version(root), "-R")
    taken = measure.taking_turns({
        "list": [tools.argv(root, "--list", f"--from={place}/aliases")],
        "modprobe": [[*modprobe, name] for name in names],
    }, 3, lambda commands: sum(map(measure.processor_time, commands)))
    return measure.ratio(f"`--list` of {len(names)} aliases, beside `modprobe -R` for each", taken["list"],
                         taken["modprobe"], measure.milliseconds, ALIASES_LIMIT)


def rows(place):
    root = trees.copy(fetch.kernel_tree("bookworm"), place / "loaded", shutil.copy2)
    (root / "proc").mkdir()
    (root / "proc/modules").write_text(machine.proc_modules(model.Index(trees.directory(root))))

    yield beside_scan(place, root, "`--list` of 185 loaded modules, beside a C program that only scans "
                      "modules.dep for them", SCAN_LIMIT)
    yield beside_pipeline(root)
    yield measure.amount("private memory of that listing, at its peak", measure.private_memory(
        lambda: tools.argv(root, "--list")), measure.kibibytes, MEMORY_LIMIT)
    yield beside_each_alias(place, root)
    # As on a system that has only busybox's depmod: nothing to compare like with like, since limopack
    # has to read the aliases' text, too.
    for index in trees.directory(root).glob("modules.*.bin"):
        index.unlink()
    yield beside_scan(place, root, "`--list` of 185 loaded modules where depmod made no binary indexes, beside that C program", None)
