"""How the cost grows with the input: that of four times as much, beside that of a quarter.

Owns the rows of growth, one for each input that may be large, and the synthetic kernels and databases
for them. Instructions are counted, so that nothing else on the machine matters; four times as many are
linear growth. What takes too long to be counted is over its limit, and the table goes on.
"""
import math
import os
import random
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import measure
import model
import tools

# A quarter of the input and all of it. A line of a transitive modules.dep has all the modules after
# it, so twice as many modules are four times the input there.
MODULES, FEWER, CHAIN = (16384, 65536), (1024, 4096), (512, 1024)
LIMIT = 5
# Processor time for one count, which takes some twenty times as long as the command itself.
SECONDS, TOO_MANY = 15, "too many to count"
VERSION = "6.6.0-lima"
ALIAS = "pci:v00001234d00005678sv00000000sd00000000bc00sc00i00"
PATTERN = "pci:v00001234d*sv*sd*bc*sc*i*"
STANZA = """Package: {name}
Status: install ok installed
Maintainer: Lima Pack <lima@example.org>
Architecture: amd64
Version: 1.0
Description: modules

"""


class Kernel:
    """A root with one kernel, whose modules are on no disk unless they are put there."""

    def __init__(self, root, count, name="m{:05}"):
        self.root = root
        self.vdir = root / "lib/modules" / VERSION
        self.names = [name.format(number) for number in range(count)]
        self.paths = [f"kernel/{number // 256:03}/{name}.ko" for number, name in enumerate(self.names)]
        self.vdir.mkdir(parents=True)
        self.index([f"{path}:" for path in self.paths])

    def index(self, lines):
        """modules.dep, as text alone."""
        self.write("modules.dep", lines)
        self.write("modules.builtin", [])
        self.write("modules.order", [])

    def write(self, name, lines):
        """A text of the version directory."""
        (self.vdir / name).write_text("".join(f"{line}\n" for line in lines))

    def binary(self):
        """modules.dep.bin, for modules that need no other."""
        model.write_trie(self.vdir / "modules.dep.bin",
                         [(name, f"{path}:") for name, path in zip(self.names, self.paths)])

    def fill(self):
        """Puts every module on the disk: links to one file, which is empty."""
        (self.root / "empty").touch()
        for path in self.paths:
            (self.vdir / path).parent.mkdir(parents=True, exist_ok=True)
            os.link(self.root / "empty", self.vdir / path)

    def register(self, names, hold):
        self.write("modules.active", [f"{name}:{hold}" for name in names])

    def file_of_names(self, names):
        """The option that names a file with these names, in no order."""
        mixed = random.Random(0).sample(names, len(names))
        (self.root / "names").write_text("".join(f"{name}\n" for name in mixed))
        return f"--from={self.root}/names"

    def argv(self, *args):
        return tools.argv(self.root, *args)


@dataclass
class Work:
    """A command line, and how many lines it prints if it does what it is measured for."""

    argv: list
    lines: int
    begin: str = ""  # with this: others do not count
    written: Path = None  # to this file, not printed
    code: int = 0

    def check(self, done):
        text = self.written.read_text() if self.written else done.stdout
        found = sum(line.startswith(self.begin) for line in text.splitlines())
        assert found == self.lines, f"{self.argv}: {found} lines, expected {self.lines}\n{done.stderr[-2000:]}"


# ------------------------------------- the inputs: each fills a root with so much

def alias_of_all(index, root, count):
    kernel = Kernel(root, count)
    if index == "binary":
        kernel.binary()
        model.write_trie(kernel.vdir / "modules.alias.bin", [(PATTERN, name) for name in kernel.names])
    kernel.write("modules.alias", [f"alias {PATTERN} {name}" for name in kernel.names])
    return Work(kernel.argv("--list", f"--use={ALIAS}"), count)


def all_registered(index, name, root, count):
    kernel = Kernel(root, count, name)
    if index == "binary":
        kernel.binary()
    kernel.register(kernel.names, "S")
    return Work(kernel.argv("--list"), count)


def softdep_chain(root, count):
    kernel = Kernel(root, count)
    pairs = zip(kernel.names, kernel.names[1:])
    kernel.write("modules.softdep", [f"softdep {name} pre: {other}" for name, other in pairs])
    return Work(kernel.argv("--list", f"--use={kernel.names[0]}"), count)


def all_missing(root, count):
    """Half of the missing modules are needed by one module, the others by one each."""
    kernel = Kernel(root, count)
    half = count // 2
    several, single = kernel.paths[:half], kernel.paths[half:]
    users = [path.replace("/m", "/user") for path in single]
    lines = [f"{path}:" for path in kernel.paths]
    lines += [f"{user}: {path}" for user, path in zip(users, single)]
    kernel.index([*lines, "kernel/user.ko: " + " ".join(several)])
    kernel.register(["user"] + [model.name_of(user) for user in users], "S")
    for path in ["kernel/user.ko", *users]:
        (kernel.vdir / path).parent.mkdir(parents=True, exist_ok=True)
        (kernel.vdir / path).touch()
    return Work(kernel.argv("--check"), count, begin="dependency", code=1)


def install_all(root, count):
    kernel = Kernel(root, count)
    names = kernel.file_of_names(kernel.names)
    return Work(kernel.argv("--install", names), count, begin="m", written=kernel.vdir / "modules.active")


def remove_all(root, count):
    kernel = Kernel(root, count)
    kernel.register(kernel.names, 1)
    names = kernel.file_of_names(kernel.names)
    return Work(kernel.argv("--remove", names), 0, begin="m", written=kernel.vdir / "modules.active")


def configured_aliases(wild, root, count):
    kernel = Kernel(root, count)
    (root / "etc/modprobe.d").mkdir(parents=True)
    aliases = [f"card-{number:05}" for number in range(count)]
    lines = [f"alias {alias}{wild} {name}\n" for alias, name in zip(aliases, kernel.names)]
    (root / "etc/modprobe.d/cards.conf").write_text("".join(lines))
    return Work(kernel.argv("--list", kernel.file_of_names(aliases)), count)


def transitive_chain(root, count):
    """Each module needs all that come after it."""
    kernel = Kernel(root, count)
    kernel.index([" ".join([f"{path}:", *kernel.paths[number + 1:]])
                  for number, path in enumerate(kernel.paths)])
    return Work(kernel.argv("--tree", f"--use={kernel.names[0]}"), count)


def forget_all(root, count):
    """One package stays, since dpkg's status is never empty; apt has marked all the others."""
    kernel = Kernel(root, 1)
    kernel.fill()
    kernel.register(kernel.names, "S")
    admin, marks = root / "var/lib/dpkg", root / "var/lib/apt"
    for directory in (admin / "info", admin / "updates", marks):
        directory.mkdir(parents=True)
    packages = [f"modules-{number:05}" for number in range(count)]
    (admin / "status").write_text("".join(STANZA.format(name=name) for name in ["base", *packages]))
    for package in packages:
        (admin / f"info/{package}.list").write_text(f"/lib/modules/{VERSION}/kernel/{package}.ko\n")
        (admin / f"info/{package}.md5sums").touch()
    (marks / "extended_states").write_text("".join(
        f"Package: {name}\nArchitecture: amd64\nAuto-Installed: 1\n\n" for name in packages))
    return Work([tools.binary(), f"--root={root}", "--apply", "--pkname=modules-*"], 1,
                begin="Package: ", written=admin / "status")


def dry_prune(root, count):
    kernel = Kernel(root, count)
    kernel.fill()
    kernel.register(kernel.names[:1], "S")
    return Work(kernel.argv("--prune", "--dry-run"), count - 1, begin="delete ")


def dry_install(root, count):
    kernel = Kernel(root, count)
    names = kernel.file_of_names(kernel.names)
    return Work(kernel.argv("--install", "--dry-run", names), count, begin=f"{kernel.vdir}/modules.active: +m")


def owner_of_all(root, count):
    kernel = Kernel(root, count)
    kernel.write("modules.active", [line for name in kernel.names for line in (f"{name}:1", f"#@ {name} app")])
    return Work(kernel.argv("--remove", "--owner=app"), 0, begin="m", written=kernel.vdir / "modules.active")


def renamed_modules(are_gone, root, count):
    """The registry of a kernel in which each alias belonged to the module before, or to one that is gone."""
    kernel, old = Kernel(root, count), root / "old"
    old.mkdir()
    aliases = [f"alias pci:v{number:08X}d*" for number in range(count)]
    kernel.write("modules.alias", [f"{alias} {name}" for alias, name in zip(aliases, kernel.names)])
    owners = [f"old_{name}" for name in kernel.names] if are_gone else kernel.names
    heirs = zip(aliases if are_gone else aliases[1:], owners)
    (old / "modules.alias").write_text("".join(f"{alias} {name}\n" for alias, name in heirs))
    (old / "modules.active").write_text("".join(f"{name}:S\n" for name in owners))
    return Work(kernel.argv("--install", f"--from={old}/modules.active"), count,
                begin="m", written=kernel.vdir / "modules.active")


# ----------------------------------------------------------------------- the rows

TEXT = ", without .bin files"
NAMES, ALIKE = "m{:05}", "snd_soc_sof_{:05}_generic"
# What is done, with {} for the size of the input; what makes the input; the two sizes.
GROWTH = [
    ("`--list` of an alias of {} modules", partial(alias_of_all, "binary"), MODULES),
    ("`--list` of an alias of {} modules" + TEXT, partial(alias_of_all, "text"), MODULES),
    ("`--list` of all of {} modules", partial(all_registered, "binary", NAMES), MODULES),
    ("`--list` of all of {} modules" + TEXT, partial(all_registered, "text", NAMES), MODULES),
    ("`--list` of {} modules whose names begin and end alike", partial(all_registered, "binary", ALIKE), MODULES),
    ("`--list` of {} modules whose names begin and end alike" + TEXT, partial(all_registered, "text", ALIKE), MODULES),
    ("`--list` of a chain of {} softdeps", softdep_chain, MODULES),
    ("`--list` of {} aliases of modprobe.d", partial(configured_aliases, ""), MODULES),
    ("`--list` of {} names that match as many patterns of modprobe.d", partial(configured_aliases, "*"), MODULES),
    ("`--tree` of a chain of {} modules, four times the bytes of modules.dep", transitive_chain, CHAIN),
    ("`--check` with {} missing modules", all_missing, MODULES),
    ("`--install` of {} names", install_all, MODULES),
    ("`--remove` of {} names", remove_all, MODULES),
    ("`--prune --dry-run` of {} modules to one", dry_prune, MODULES),
    ("`--apply` that forgets {} packages, all but one", forget_all, FEWER),
    ("`--install --dry-run` of {} names", dry_install, MODULES),
    ("`--install` of {} modules whose aliases moved", partial(renamed_modules, False), MODULES),
    ("`--install` of {} modules that were renamed", partial(renamed_modules, True), MODULES),
    ("`--remove --owner` of {} modules", owner_of_all, MODULES),
]


def cost(prepare, root, count):
    """The instructions of one command; None if they are too many to count."""
    try:
        work = prepare(root, count)
        done, instructions = tools.counted(*work.argv, code=work.code, seconds=SECONDS)
        if instructions:
            work.check(done)
        return instructions
    finally:
        shutil.rmtree(root, ignore_errors=True)


def row(what, less, more):
    if less and more:
        return measure.ratio(what, more, less, measure.millions, LIMIT)
    shown = measure.millions(less) if less else TOO_MANY
    return measure.Row(what, TOO_MANY, shown, math.inf, "", LIMIT, str(LIMIT))


def rows(place):
    for what, prepare, (few, many) in GROWTH:
        less = cost(prepare, place / "growth", few)
        # What takes too long for the smaller input needs no second try.
        more = less and cost(prepare, place / "growth", many)
        yield row(f"instructions of {what.format(f'{many:,}')}, beside {few:,}", less, more)
