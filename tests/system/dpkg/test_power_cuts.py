"""Power cuts: every action that writes, with the power gone at each flush and at writes between.

A machine in qemu runs the action on a file system of its own, and what reaches the disk is recorded.
Then each state that the disk may have been in is mounted: at each flush, and at writes between, with
all that was written since, and with a part of it lost, as a disk may lose it. Owns what has to hold
then; the machine and the states are `record`'s.
"""
import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

import flash
import model
import record
import tools
import trees
from packages import K
from test_faults import listed_modules, parked, unpruned
from test_locks import queue
from test_power import mounted

# How many states between the flushes, in every run and in the long one.
FEW, MANY = 12, 50
# What may be left when the action has ended: what dpkg had noted of a package that status does not know
# any more. limopack does not sync it, as dpkg ignores it; `--apply` of the package removes it, but for a
# settle there is nothing in the queue any more.
NOTES = re.compile(rf"var/lib/dpkg/info/{re.escape(K)}\..*")
# What may be left when it has run again: a park without a module, as the next park would make it.
PARK = re.compile(r"usr/lib/modules/\.parked")
# Directories of a file system's own.
OWN = {"lost+found"}


@dataclass
class Action:
    """A tree before the action, and limopack's arguments."""
    old: Path
    arguments: list
    loses: bool = True   # whether modules go for good
    leaves: re.Pattern = PARK  # what may be left when it has run again

    def run(self, root, **options):
        return tools.run(tools.binary(), f"--root={root}", *self.arguments, **options)


def actions(stocked, roots, place):
    """Name → Action; the trees are made in `place`."""
    def tree(name, make, system=stocked):
        path = place / name
        path.mkdir(parents=True)
        return make(system, path)

    found = {
        "install": Action(tree("install", unpruned), ["--install", "--use=overlay,vfat", "--owner=one"]),
        "prune": Action(tree("prune", unpruned), ["--prune"]),
        "park": Action(tree("park", unpruned), ["--prune", "--park"], False),
        "restore": Action(parked(tree("restore", unpruned)), ["--restore"], False),
        "apply": Action(tree("apply", unpruned), ["--apply", f"--pkname={K}"]),
    }
    with roots.copy(stocked) as root:
        queue(root)
        found["settle"] = Action(tree("settle", unpruned, root), ["--settle"], leaves=NOTES)
    return found


def contents(root):
    """Path → what is there: a directory, a link's target, a file's mode and checksum."""
    found = {}
    for top, names, files in os.walk(root):
        if Path(top) == Path(root):
            names[:] = [name for name in names if name not in OWN]
        for name in names + files:
            path = os.path.join(top, name)
            what = "directory"
            if os.path.islink(path):
                what = os.readlink(path)
            elif os.path.isfile(path):
                data = Path(path).read_bytes()
                what = f"{os.stat(path).st_mode:o} {hashlib.md5(data).hexdigest()}"
            found[os.path.relpath(path, root)] = what
    return found


def audited(root):
    """What dpkg reads of the database, and what it has to say about it."""
    database = f"--admindir={root}/var/lib/dpkg"
    said = tools.run("dpkg-query", database, "-W", env={"PATH": os.environ["PATH"], "LC_ALL": "C"})
    return set(said.stderr.splitlines())


class Reference:
    """What an action is to do: the tree before, and after."""

    def __init__(self, action, place):
        self.action = action
        new = place / "new"
        tools.run("cp", "-a", action.old, new)
        action.run(new)
        self.old, self.new = contents(action.old), contents(new)
        self.complaints = audited(action.old) | audited(new)
        # An index is one of the two, and names what is in the tree.
        self.listed = {}
        for tree, files in ((action.old, self.old), (new, self.new)):
            vdir = trees.directory(tree).relative_to(tree)
            for name, modules in listed_modules(tree).items():
                path = str(Path(os.path.realpath(tree / vdir)).relative_to(os.path.realpath(tree)) / name)
                if path in files:
                    self.listed.setdefault(path, {})[files[path]] = modules
        shutil.rmtree(new)

    def problems(self, found, has_ended):
        """What is wrong with the state that a power cut left."""
        if has_ended and (paths := self.differs(found, NOTES)):
            yield f"ended, and not done: {self.shown(found, paths)}"
        for path in self.old.keys() | self.new.keys():
            expected = {self.old.get(path), self.new.get(path)}
            if found.get(path) not in expected:
                yield f"{path}: {found.get(path)}, expected one of {expected}"
        present = {model.name_of(path) for path in self.modules(found)}
        installed = {model.name_of(path) for path in self.modules(found) if "/.parked/" not in path}
        for path, versions in self.listed.items():
            if missing := versions.get(found.get(path), set()) - installed:
                yield f"{path} lists what is gone: {sorted(missing)[:5]}"
        if not self.action.loses:
            if lost := {model.name_of(path) for path in self.modules(self.old)} - present:
                yield f"lost: {sorted(lost)[:5]}"

    @staticmethod
    def modules(found):
        return [path for path in found if path.endswith((".ko", ".ko.xz", ".ko.zst", ".ko.gz"))]

    def after(self, found, code):
        """What is wrong after the same command has run again."""
        paths = self.differs(found, self.action.leaves)
        if code or paths:
            yield f"the same command again: exit {code}, {self.shown(found, paths)}"

    def differs(self, found, harmless):
        """The paths that are not as they are to be."""
        paths = found.keys() | self.new.keys()
        return sorted(path for path in paths
                      if found.get(path) != self.new.get(path) and not harmless.fullmatch(path))

    def shown(self, found, paths):
        return ", ".join(f"{path}: {found.get(path)}, expected {self.new.get(path)}" for path in paths[:4])


def found_here(kind, action, images, place):
    """As `record.recover`, by this machine's kernel; dpkg reads the database of each."""
    for what, image in images:
        with mounted(image, place / "disk") as disk:
            before, complaints = contents(disk), audited(disk)
            done = action.run(disk, code=None)
            after = contents(disk)
        yield what, before, after, done.returncode, done.stderr, image, complaints


def problems(kind, name, log, reference, between, place):
    """What is wrong with the states of one log, as lines; the last one is how many were tried."""
    images = log.images(log.states(between), place)
    if kind.mounts_here:
        found = found_here(kind, reference.action, images, place)
    else:
        found = ((*state, set()) for state in record.recover(kind, reference.action.arguments, images, place))
    tried = 0
    for what, before, after, code, said, image, complaints in found:
        tried += 1
        here = [*reference.problems(before, what == "end"), *reference.after(after, code)]
        here += [f"dpkg: {line}" for line in complaints - reference.complaints]
        try:
            kind.sound(image)
        except AssertionError as error:
            here.append(f"not sound: {error}")
        yield from (f"{name}, {what}: {problem}; {said}" for problem in here)
    yield tried


@pytest.mark.long
@pytest.mark.parametrize("prepared", ["bookworm"], indirect=True)
def test_what_a_power_cut_leaves_on_raw_flash_is_sound(stocked, roots, row, tmp_path):
    report, tried = [], []
    for name, made in actions(stocked, roots, tmp_path / "trees").items():
        reference, count = Reference(made, tmp_path), 0
        for what, before, after, code, said in flash.states(made.old, made.arguments, MANY, tmp_path):
            count += 1
            here = [*reference.problems(before, what == "end"), *reference.after(after, code)]
            report += [f"{name}, {what}: {problem}; {said}" for problem in here]
        tried.append(f"{name} {count}")
        row("power cuts on ubifs, NAND flash", f"states tried: {', '.join(tried)}")
    assert not report, f"{len(report)} problems\n" + "\n".join(report[:20])


def case(name, between):
    """In every run few states of ext4; the rest takes long."""
    return pytest.param(name, between, marks=[] if (name, between) == ("ext4", FEW) else pytest.mark.long)


@pytest.mark.parametrize("prepared", ["bookworm"], indirect=True)
@pytest.mark.parametrize("name, between", [case("ext4", FEW), *(case(name, MANY) for name in record.FILE_SYSTEMS)])
def test_what_a_power_cut_leaves_is_sound(stocked, roots, row, tmp_path, name, between):
    kind = record.FILE_SYSTEMS[name]
    table = actions(stocked, roots, tmp_path / "trees")
    logs = record.record(kind, [(action.old, action.arguments) for action in table.values()], tmp_path)
    report, tried = [], []
    for (action, made), log in zip(table.items(), logs):
        *here, count = problems(kind, action, log, Reference(made, tmp_path), between, tmp_path)
        report += here
        tried.append(f"{action} {count}")
        row(f"power cuts on {name}", f"states tried: {', '.join(tried)}")
    assert not report, f"{len(report)} problems\n" + "\n".join(report[:20])
