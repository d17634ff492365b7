"""Fixtures of the system tests: the binary, pristine kernels, copies of them to change.

Owns the scratch directory of a run, which goes when the tests end. Nothing
here ever skips: what cannot be had is a failure.
"""
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

# A folder's tests find their own modules and those of the others.
sys.path[1:1] = [str(Path(__file__).parent / folder) for folder in ("lib", "kernel", "boot", "dpkg", "bench")]

import fetch
import model
import tools
import trees


# Fixtures that take long to set up, and are set up anew for each value.
COSTLY = ("prepared", "servers", "first")


def pytest_configure(config):
    config.addinivalue_line("markers", "long: only in `make test-machines`")
    config.addinivalue_line("markers", "xdist_group(name): tests that one process runs")


def pytest_collection_modifyitems(items):
    """What shares a costly fixture runs in one process; what has none, by file."""
    for item in items:
        if not item.get_closest_marker("xdist_group"):
            values = item.callspec.params if hasattr(item, "callspec") else {}
            shared = [f"{name} {values[name]}" for name in COSTLY if name in values]
            item.add_marker(pytest.mark.xdist_group(*shared or [item.path.stem]))
    # The largest groups first: the small ones then fill what is left of the time.
    items.sort(key=lambda item: item.path.parent.name != "dpkg")


def pytest_runtest_logreport(report):
    """Says what failed when it fails: whoever ends a run early knows of it, too."""
    if report.failed:
        print(f"\n{report.nodeid}\n{report.longreprtext}", flush=True)


def pytest_sessionstart(session):
    tools.binary()


@pytest.fixture
def row(record_property):
    """Adds a line to the table of machines that ends the run: `row(machine, steps)`. It says "held" if
    the test passes, with what `row` was last called with."""
    return lambda machine, steps: record_property("row", (machine, steps))


def pytest_terminal_summary(terminalreporter):
    """The table of machines: what was done on each, and whether it held."""
    lines = {}
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            said = dict(report.user_properties)
            if report.when == "call" and "row" in said:
                machine, steps = said["row"]
                held = "yes" if outcome == "passed" else "NO"
                lines[report.nodeid] = f"| {machine} | {steps} | {held} | {report.duration:.0f} s |"
    if lines:
        terminalreporter.section("machines")
        for line in ("| machine | steps | held | time |", "|---|---|---|--:|",
                     *(lines[name] for name in sorted(lines))):
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def scratch():
    """An empty directory of this run."""
    path = tempfile.mkdtemp(prefix="limopack-", dir=trees.scratch_place())
    yield Path(path)
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def pristine(scratch):
    """(kernel, kmod release) → a root on the scratch file system that nobody may change."""
    made = {}

    def get(name, release="30"):
        if (name, release) not in made:
            source = fetch.kernel_tree(name, release)
            made[name, release] = trees.copy(source, scratch / f"{name}-{release}", shutil.copy2)
        return made[name, release]
    return get


@pytest.fixture
def copy_of(pristine, scratch):
    """(kernel, kmod release) → a copy that the test may change; gone when the test ends."""
    copies = []

    def get(name, release="30"):
        copies.append(Path(tempfile.mkdtemp(prefix=f"{name}-{release}.", dir=scratch)))
        return trees.copy(pristine(name, release), copies[-1])
    yield get
    for copy in copies:
        shutil.rmtree(copy)


@pytest.fixture(scope="session")
def index_of(pristine):
    """(kernel, kmod release) → the pristine tree's files, read by the tests' own model."""
    made = {}

    def get(name, release="30"):
        if (name, release) not in made:
            made[name, release] = model.Index(trees.directory(pristine(name, release)))
        return made[name, release]
    return get
