"""How the benchmarks measure, and what a row of their table is.

Owns the units and the way to a comparison: both sides take turns in one run, medians are compared,
and a ratio counts, not a time.
"""
import os
import resource
import statistics
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Row:
    """One line of the table: a figure of limopack, what it is held against, and the limit."""

    what: str
    ours: str
    theirs: str
    value: float  # what the limit is for, in the limit's unit
    shown: str
    limit: float = None
    shown_limit: str = ""

    def held(self):
        return self.limit is None or self.value <= self.limit


def ratio(what, ours, theirs, show, limit=None):
    """limopack's figure divided by the other one."""
    value = ours / theirs
    digits = 2 if value >= 0.1 else 4
    return Row(what, show(ours), show(theirs), value, f"{value:.{digits}f}", limit,
               f"{limit:g}" if limit else "")


def beside(what, ours, theirs, show, limit):
    """limopack's figure, which has the limit, and another one to compare it with."""
    return Row(what, show(ours), show(theirs), ours, f"{ours / theirs:.2f}", limit, show(limit))


def amount(what, value, show, limit=None):
    """A figure of limopack's own."""
    return Row(what, show(value), "", value, "", limit, show(limit) if limit else "")


def milliseconds(seconds):
    return f"{seconds * 1000:.2f} ms" if seconds < 0.01 else f"{seconds * 1000:.0f} ms"


def kibibytes(count):
    return f"{count / 1024:,.0f} KiB"


def size(count):
    return f"{count:,} bytes"


def count(number):
    return f"{number:,}"


def millions(number):
    return f"{number / 1e6:,.1f} million"


def processor_time(argv):
    """User and system time of one short process and of those that it waited for; the output is lost."""
    silent = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_WRONLY, 0) for stream in (1, 2)]
    pid = os.posix_spawnp(argv[0], argv, os.environ, file_actions=silent)
    _, status, used = os.wait4(pid, 0)
    assert status == 0, f"{str(argv)[:200]}: exit {os.waitstatus_to_exitcode(status)}"
    return used.ru_utime + used.ru_stime


def time_of_children(work):
    """User and system time of the processes that a function waits for, and of those for which they do."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@contextmanager
def one_core():
    """A single core for this process and those that it starts: where they would run is chance otherwise."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def taking_turns(commands, rounds, measure=processor_time):
    """Name → the median of what `measure` says of its command; each round has another order."""
    taken, names = {name: [] for name in commands}, list(commands)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            taken[name].append(measure(commands[name]))
    return {name: statistics.median(values) for name, values in taken.items()}


def private_memory(attempt):
    """The smallest RLIMIT_DATA, to 4 KiB, with which a command succeeds. `attempt` gives its
    command line, for one more run.

    That limit counts all private writable memory (heap, anonymous and private writable maps) and no
    read-only map of a file. So it is the peak beyond the mapped files, exactly, without sampling and
    without what merely was in the page cache.
    """
    def succeeds(limit):
        return subprocess.run(attempt(), capture_output=True, preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_DATA, (limit, limit))).returncode == 0
    low, high = 0, 256 << 20
    assert succeeds(high), "fails even with 256 MiB"
    while high - low > 4 << 10:
        middle = (low + high) // 2
        low, high = (low, middle) if succeeds(middle) else (middle, high)
    return high
