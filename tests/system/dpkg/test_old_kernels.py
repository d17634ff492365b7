"""No action needs a system call that Linux 3.2 lacks: all newer ones fail here, as there, with ENOSYS."""

import re
import shutil

import pytest

import faults
import tools
import trees
from packages import K, X
from test_faults import unpruned

# The last call that Linux 3.2 has on x86-64 (arch/x86/syscalls/syscall_64.tbl: process_vm_writev).
LAST = 311
CALLS = [
    ["--list"], ["--tree"], ["--list", "--use=vfat,fs-overlay"], ["--why", "--use=vfat"], ["--census"], ["--check"],
    ["--install", "--use=overlay,vfat", "--owner=one"], ["--install", "--static", "--detect", "--use=vfat"],
    ["--remove", "--use=virtio_net"], ["--prune", "--dry-run"], ["--prune"],
    ["--apply", f"--pkname={K}"], ["--settle"],
]


@pytest.fixture(scope="module")
def template(stocked, roots):
    return unpruned(stocked, roots.top / f"old-kernel-{stocked.suite}")


@pytest.fixture
def place(roots):
    """On the file system of the template, whose modules the copies share."""
    place = roots.top / "old-kernel"
    place.mkdir()
    yield place
    shutil.rmtree(place)


def run(root, trace, args, *options):
    kernel = [] if args[0] in ("--settle", "--census") else [f"--kernel={X}"]
    done = faults.strace(trace, [tools.binary(), f"--root={root}", *kernel, *args], "-n", *options)
    # Where the root is, is the one difference.
    return done.returncode, *(text.replace(str(root), "/root") for text in (done.stdout, done.stderr))


@pytest.mark.parametrize("args", CALLS, ids=" ".join)
def test_without_newer_calls_the_same_is_done_and_said_by(args, template, place):
    answers = []
    for options in ([], None):
        root, trace = trees.copy(template, place / f"root{len(answers)}"), place / "trace"
        if options is None:
            options = ["-e", f"inject={','.join(newer)}:error=ENOSYS"]
        answers.append((run(root, trace, args, *options), trees.snapshot(root)))
        called = re.findall(r"^\d+ +\[ *(\d+)\] (\w+)\(", trace.read_text(), re.M)
        newer = {name for number, name in called if int(number) > LAST}
    assert "openat2" in newer, f"nothing was tried: {newer}"
    assert "ENOSYS" in trace.read_text()
    assert answers[0][0][0] != 2, answers[0]
    assert answers[0] == answers[1]
