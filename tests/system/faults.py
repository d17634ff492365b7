#!/usr/bin/python3
"""Every system call of a command fails or is its last one: one run for each.

Owns the fault engine. A `Case` is a prepared root and a command. The command
runs once undisturbed, under strace, which gives the final state and the calls;
then once for each call and fault, each time on a fresh copy. After each run:

- every file is the old one or the new one, byte for byte; files beyond these
  (temporary ones) are left only by a killed run, save a mark of unfinished work;
- the exit status is zero only in the final state; else a message says why;
- the case's own check holds (a prune: what the indexes list is there);
- the same command again exits 0 and reaches the final state, without leftovers,
  so no lock and no temporary file stayed.

    faults.py [ACTION...]   try all actions, or these; print the table
"""
import dataclasses
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import fetch
import model
import tools
import trees

FAULTS = ["EIO", "ENOSPC", "EROFS", "EACCES", "EINTR", "KILL"]
# The start of a process and its end cannot fail.
NEVER = {"execve", "exit_group", "exit"}
# The calls that a signal can interrupt; the others never give EINTR.
INTERRUPTIBLE = set("open openat openat2 read readv pread64 write writev pwrite64 flock fcntl "
                    "fsync fdatasync close ftruncate fallocate getrandom poll".split())
# A program that waits for what cannot happen would stop the whole table.
PATIENCE = 20


@dataclasses.dataclass
class Case:
    """One command on a prepared root, which is copied for each try."""
    name: str
    template: Path
    args: list
    faults: list = dataclasses.field(default_factory=lambda: FAULTS)
    check: callable = None  # (root) → raises AssertionError
    mark: str = ""  # a file that a failed run leaves on purpose, once something has changed

    def argv(self, root):
        return tools.argv(root, *self.args)


@dataclasses.dataclass(frozen=True)
class Point:
    """The nth call of `syscall` is given `fault`; `text` is the call as strace printed it."""
    syscall: str
    nth: int
    fault: str
    text: str
    own: bool  # after the C library's start: the program can tell about it

    def __str__(self):
        return f"{self.fault} at {self.syscall} #{self.nth}: {self.text}"


def strace(trace, argv, *options):
    return subprocess.run(["strace", "-f", "-qq", "-o", trace, *options, *argv], text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)


def learn(case, root, trace):
    """Run undisturbed in `root`: all points of the run."""
    done = strace(trace, case.argv(root), "-s", "200")
    assert done.returncode == 0, f"{case.name}: exit {done.returncode}\n{done.stderr}"
    counts, points, own = Counter(), [], False
    for line in trace.read_text().splitlines():
        call = re.match(r"\d+ +((\w+)\(.*)", line)
        if not call:
            continue
        text, syscall = call.groups()
        own = own or (syscall not in NEVER and str(root) in text)
        counts[syscall] += 1
        if syscall not in NEVER:
            points += [Point(syscall, counts[syscall], fault, text, own) for fault in case.faults
                       if fault != "EINTR" or syscall in INTERRUPTIBLE]
    return points


def inject(case, root, trace, point):
    """Run with the fault; the finished process."""
    how = "signal=KILL" if point.fault == "KILL" else f"error={point.fault}"
    done = strace(trace, case.argv(root), "-e", f"trace={point.syscall}",
                  "-e", f"inject={point.syscall}:{how}:when={point.nth}")
    mark = "killed by SIGKILL" if point.fault == "KILL" else "(INJECTED)"
    assert mark in trace.read_text(), "the fault was never reached"
    return done


def differs(state, old, new):
    """The files that are neither old nor new; and those that are in neither state."""
    torn = [path for path in old.keys() | new.keys()
            if state.get(path) not in (old.get(path), new.get(path))]
    return sorted(torn), sorted(state.keys() - old.keys() - new.keys())


def judge(case, root, point, old, new, trace):
    """Raise AssertionError for the first promise that the fault broke."""
    done = inject(case, root, trace, point)
    state = trees.snapshot(root)
    torn, extra = differs(state, old, new)
    assert not torn, f"neither old nor new: {torn}"
    changed = any(state.get(path) != old[path] for path in old)
    leftovers = [path for path in extra if not (changed and Path(path).name == case.mark)]
    assert not leftovers or point.fault == "KILL", f"left behind: {leftovers}"
    if case.check:
        case.check(root)
    if point.fault != "KILL":
        assert done.returncode >= 0 or not point.own, f"ended by signal {-done.returncode}"
        assert done.returncode != 0 or state == new, "exit 0, but the work is not done"
        told = re.search("^limopack: ", done.stderr, re.M) or point.text.startswith("write(2,")
        assert done.returncode == 0 or told or not point.own, f"no message: {done.stderr!r}"
        assert "panicked" not in done.stderr, done.stderr
    again = tools.run(*case.argv(root), code=None)
    assert again.returncode == 0, f"again: exit {again.returncode}: {again.stderr}"
    final = trees.snapshot(root)
    wrong = sorted(path for path in final.keys() | new.keys() if final.get(path) != new.get(path))
    assert not wrong, f"again: not the final state: {wrong}"


def attempt(job):
    """One point on a fresh copy: the problem, or None."""
    case, point, old, new, scratch = job
    with tempfile.TemporaryDirectory(dir=scratch) as place:
        root = trees.copy(case.template, Path(place) / "root")
        try:
            judge(case, root, point, old, new, Path(place) / "trace")
        except (AssertionError, subprocess.TimeoutExpired) as problem:
            return str(problem)
    return None


def campaign(case, scratch, workers=2):
    """Try all points: ({fault: [tried, held]}, [(point, problem)])."""
    old = trees.snapshot(case.template)
    with tempfile.TemporaryDirectory(dir=scratch) as place:
        root = trees.copy(case.template, Path(place) / "root")
        points = learn(case, root, Path(place) / "trace")
        new = trees.snapshot(root)
    assert new != old, f"{case.name}: changes nothing, so nothing would be tried"
    jobs = [(case, point, old, new, scratch) for point in points]
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        problems = pool.map(attempt, jobs, chunksize=8)
    table, broken = {fault: [0, 0] for fault in case.faults}, []
    for point, problem in zip(points, problems):
        table[point.fault][0] += 1
        table[point.fault][1] += problem is None
        if problem:
            broken.append((point, problem))
    return table, broken


def listed_modules_exist(root):
    """What any index names is on disk: indexes are replaced before modules go."""
    vdir = trees.directory(root)
    index, present = model.Index(vdir), {model.name_of(path) for path in trees.modules(vdir)}
    named = {"modules.dep": set(index.path),
             "modules.alias": {module for _, module in index.aliases},
             "modules.symbols": set(index.symbols.values()),
             "modules.softdep": set(index.soft), "modules.weakdep": set(index.weak),
             "modules.dep.bin": set(model.read_trie(vdir / "modules.dep.bin"))}
    for name in ("modules.alias.bin", "modules.symbols.bin"):
        named[name] = {module for values in model.read_trie(vdir / name).values()
                       for _, module in values}
    for name, modules in named.items():
        assert modules <= present, f"{name} lists what is gone: {sorted(modules - present)[:5]}"


# ---------------------------------------------------------------------- the actions

# A small but real kernel: these and what they need, of Debian's 6.1 amd64.
SMALL = "ext4 vfat e1000e dummy snd_hda_intel usb_storage loop dm_crypt".split()
KEPT = "vfat,dm_crypt"


def small_root(target):
    """A root with the small kernel, indexed by real depmod, nothing registered."""
    source = trees.directory(fetch.kernel_tree("bookworm"))
    index = model.Index(source)
    trees.pick(source, target, index.paths(index.needs(SMALL)))
    fetch.kmod("30").depmod(target, source.name)
    return target


def cases(scratch):
    """Every action that writes, each on its prepared root."""
    bare = small_root(scratch / "small")
    kept = trees.copy(bare, scratch / "small-kept")
    tools.limopack(kept, "--install", "--static", f"--use={KEPT}")
    tools.limopack(kept, "--install", "--use=dummy", "--owner=one")
    return {case.name: case for case in [
        Case("install", bare, ["--install", "--use=ext4,dummy", "--owner=one"]),
        Case("remove", kept, ["--remove", "--owner=one"]),
        # The mark tells the next run which files an unfinished prune meant to delete.
        Case("prune", kept, ["--prune"], check=listed_modules_exist,
             mark=".modules.dep.limopack-old"),
    ]}


def main(names):
    held = True
    with tempfile.TemporaryDirectory(prefix="limopack-", dir=trees.scratch_place()) as scratch:
        every = cases(Path(scratch))
        for name in names or every:
            table, broken = campaign(every[name], scratch)
            for fault, (tried, good) in table.items():
                print(f"{name:10} {fault:7} {tried:5} tried {good:5} held", flush=True)
            for point, problem in broken:
                print(f"  {point}\n      {problem}")
            held = held and not broken
    sys.exit(not held)


if __name__ == "__main__":
    tools.binary()
    main(sys.argv[1:])
