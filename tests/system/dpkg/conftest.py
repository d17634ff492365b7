"""What every test of dpkg and apt starts from: a root of each suite, with limopack and its hooks in it."""

import os
import shutil

import pytest

import chroots
import packages

BINARY = os.environ.get("LIMOPACK_BIN", chroots.TOP / "target/release/limopack")
HOOKS = chroots.TOP / "cross/hooks"


@pytest.fixture(scope="session")
def roots(tmp_path_factory):
    chroots.own_mounts()
    return chroots.Roots(tmp_path_factory.mktemp("roots"))


@pytest.fixture(scope="session", params=chroots.SUITES)
def prepared(request, roots):
    """limopack, its hooks, and apt looking at version 1.0 of the fixtures; for reading only."""
    suite = request.param
    with roots.fresh(suite) as root:
        debs = packages.downloads(roots, suite)
        tree = roots.top / "kernel"
        if not tree.exists():
            packages.kernel_tree(packages.downloads(roots, "forky"), tree)
        shutil.copytree(debs, root / "repo/debian")
        packages.index(root / "repo/debian")
        packages.fixtures(suite, next((tree / "lib/modules").iterdir()), root / "repo")
        put_limopack(root)
        packages.sources(root, "debian", "1.0")
        yield root


def put_limopack(root):
    shutil.copy(BINARY, root / "usr/bin/limopack")
    for hook, place in (("dpkg.cfg.d/limopack", "etc/dpkg/dpkg.cfg.d/limopack"),
                        ("apt.conf.d/90limopack", "etc/apt/apt.conf.d/90limopack")):
        (root / place).parent.mkdir(exist_ok=True)
        shutil.copy(HOOKS / hook, root / place)


@pytest.fixture
def root(prepared, roots):
    """A root of the test's own: limopack is there, no package of the fixtures is."""
    with roots.copy(prepared) as root:
        yield root


@pytest.fixture(scope="session")
def stocked(prepared, roots):
    """Both modules packages installed and registered, nothing applied; for reading only."""
    with roots.copy(prepared) as root:
        root.sh(f"apt-get -qq install {packages.IMAGE} {packages.K} {packages.K_SAME}")
        root.sh(f"limopack --install --static --use={packages.STATIC}")
        yield root


@pytest.fixture
def stock(stocked, roots):
    """A root of the test's own, as `stocked`."""
    with roots.copy(stocked) as root:
        yield root
