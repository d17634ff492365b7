"""What every test of dpkg and apt starts from: a root of each suite, with limopack and its hooks in it."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

pytest.register_assert_rewrite("checks", "kernels")

import chroots
import kernels
import packages
import tools

HOOKS = Path(__file__).resolve().parents[3] / "cross/package/hooks"


@pytest.fixture(scope="session")
def roots(tmp_path_factory):
    chroots.own_mounts()
    return chroots.Roots(tmp_path_factory.mktemp("roots"))


@pytest.fixture(scope="session", params=chroots.USUAL)
def prepared(request, roots):
    """limopack, its hooks, and apt looking at version 1.0 of the fixtures; for reading only."""
    suite = request.param
    with roots.fresh(suite) as root:
        packages.debian(root, root / "repo/debian")
        packages.fixtures(suite, packages.kernel(roots.top / "kernel"), root / "repo")
        put_limopack(root)
        packages.sources(root, "debian", "1.0")
        # The machine boots without any of these modules, which somebody has said before packages come.
        for version in (packages.X, packages.Y):
            base = root / f"{packages.LIB[suite]}/modules/{version}/modules.active"
            base.parent.mkdir(parents=True)
            base.write_text("#! base\n")
        yield root


# What `make install` has and where, as far as these tests need it.
PLACES = {
    HOOKS / "dpkg.cfg.d/limopack": "etc/dpkg/dpkg.cfg.d/limopack",
    HOOKS / "apt.conf.d/90limopack": "etc/apt/apt.conf.d/90limopack",
    Path(tools.binary()): "usr/bin/limopack",
}


def put_limopack(root):
    for file, place in PLACES.items():
        (root / place).parent.mkdir(exist_ok=True)
        shutil.copy(file, root / place)


def take_limopack(root):
    for place in PLACES.values():
        (root / place).unlink()


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


@pytest.fixture(scope="session", params=chroots.SUITES)
def servers(request, roots):
    """A machine with the older of its suite's last two kernels, whole; for reading only."""
    with roots.fresh(request.param) as root:
        yield kernels.bought(root)


@pytest.fixture
def server(servers, roots):
    """Such a machine of the test's own."""
    with roots.copy(servers.root) as root:
        yield replace(servers, root=root)
