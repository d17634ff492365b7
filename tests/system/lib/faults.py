"""Every system call of a command fails or is its last one: one run for each.

Owns the fault engine. A `Case` is a prepared root and a command. The command
runs once undisturbed, under strace, which gives the final state and the calls;
then once for each call and fault, each time on a fresh copy. After each run:

- every file is the old one or the new one, byte for byte; files beyond these
  (temporary ones) are left only by a killed run, save a mark of unfinished work;
- the exit status is zero only in the final state; else it is that of a failure,
  and a message names what was tried and the fault, or why nothing could begin;
- the case's own checks hold (a prune: what the indexes list is there);
- the same command again exits 0 and reaches the final state, without leftovers,
  so no lock and no temporary file stayed.

What the cases are is `dpkg/test_faults.py`'s; `make faults` runs them.
"""
import dataclasses
import errno
import multiprocessing
import os
import re
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

import tools
import trees

FAULTS = ["EIO", "ENOSPC", "EACCES", "EINTR", "KILL"]
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
    checks: tuple = ()  # (root) → raises AssertionError
    mark: str = ""  # a file that a failed run leaves on purpose, once something has changed
    harmless: str = ""  # a directory that may be left empty, of which the same command knows nothing

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


def strace(trace, argv, *options, follow=("-f",)):
    return subprocess.run(["strace", *follow, "-qq", "-o", trace, *options, *argv], text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)


def learn(case, root, trace):
    """Run undisturbed in `root`: all points of the run."""
    # The programs that it starts are left alone: their faults are theirs to tell.
    done = strace(trace, case.argv(root), "-s", "200", follow=())
    assert done.returncode == 0, f"{case.name}: exit {done.returncode}\n{done.stderr}"
    counts, points, own = Counter(), [], False
    for line in trace.read_text().splitlines():
        call = re.match(r"((\w+)\(.*)", line)
        if not call:
            continue
        text, syscall = call.groups()
        own = own or (syscall not in NEVER and str(root) in text)
        counts[syscall] += 1
        points += [Point(syscall, counts[syscall], fault, text, own) for fault in case.faults
                   if is_possible(syscall, fault)]
    return points


def is_possible(syscall, fault):
    if syscall == "close":
        # An error that strace injects leaves the file open, and locked; a real close never does.
        return fault == "KILL"
    return syscall not in NEVER and (fault != "EINTR" or syscall in INTERRUPTIBLE)


def inject(case, root, trace, point):
    """Run with the fault; the finished process."""
    how = "signal=KILL" if point.fault == "KILL" else f"error={point.fault}"
    done = strace(trace, case.argv(root), "-e", f"trace={point.syscall}",
                  "-e", f"inject={point.syscall}:{how}:when={point.nth}", follow=())
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
    for check in case.checks:
        check(root)
    if point.fault != "KILL":
        assert done.returncode >= 0 or not point.own, f"ended by signal {-done.returncode}"
        assert done.returncode != 0 or state == new, "exit 0, but the work is not done"
        assert done.returncode in (0, 1, 75) or not point.own, f"exit {done.returncode}"
        told = said(done.stderr, point) or point.text.startswith("write(2,")
        assert done.returncode == 0 or told or not point.own, f"no message: {done.stderr!r}"
        assert "panicked" not in done.stderr, done.stderr
    again = tools.run(*case.argv(root), code=None)
    assert again.returncode == 0, f"again: exit {again.returncode}: {again.stderr}"
    final = trees.snapshot(root)
    wrong = sorted(path for path in final.keys() | new.keys()
                   if final.get(path) != new.get(path) and path != case.harmless)
    assert not wrong, f"again: not the final state: {wrong}"


def said(stderr, point):
    """Whether a message names the fault, or, where a lock could not be had, who has it."""
    # The heap knows one reason why there is no memory.
    fault = "ENOMEM" if point.syscall == "mmap" else point.fault
    words = f"{os.strerror(getattr(errno, point.fault))}|{os.strerror(getattr(errno, fault))}"
    return re.search(f"^limopack: .*({words}|is locked by)", stderr, re.M)


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


def lines(table):
    """The table of a campaign for people."""
    return [f"{fault:7} {tried:5} tried {good:5} held" for fault, (tried, good) in table.items()]
