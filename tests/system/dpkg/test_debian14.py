"""Debian 14's real kernel packages: its image depends on its modules package, version for version."""

import pytest

from checks import files, forgotten, installed, modules_right, sound, stand_ins
from packages import CLOUD

pytestmark = pytest.mark.parametrize("prepared", ["forky"], indirect=True)


@pytest.fixture
def kernel(root):
    """Installs the kernel, and says its version."""
    root.sh(f"apt-get -y --no-install-recommends install no-initramfs {CLOUD}")
    said = root.sh("dpkg-query -W -f '${Package}\\n' 'linux-modules-*'").out.split()
    assert len(said) == 1
    root.sh("limopack --install --static --use=virtio_net,vfat,xt_LOG")
    return said[0].removeprefix("linux-modules-")


def keep_indexes(root, kernel):
    root.sh(f"mkdir /whole; cp /lib/modules/{kernel}/modules.* /whole")


def indexes_are_as_kept(root, kernel):
    root.sh(f"cd /whole; for file in *; do cmp $file /lib/modules/{kernel}/$file; done")


@pytest.mark.parametrize("name", ["linux-modules-{}", "linux-modules-*"], ids=["by name", "by glob"])
def test_the_modules_package_goes_comes_back_and_goes_again(root, kernel, name):
    modules = f"linux-modules-{kernel}"
    whole = files(root, kernel)
    assert len(whole) > 500
    indexes = root / "whole"
    keep_indexes(root, kernel)
    for _ in range(2):
        root.sh(f"limopack --apply --pkname='{name.format(kernel)}'")
        forgotten(root, modules, kernel)
        assert len(stand_ins(root)) == 1
        for kin in ("image", "binary", "base"):
            installed(root, f"linux-{kin}-{kernel}")
        modules_right(root, kernel, indexes)
        assert len(files(root, kernel)) < 50

        root.sh(f"apt-get -y install {modules}")
        sound(root)
        installed(root, modules)
        assert not stand_ins(root)
        assert files(root, kernel) == whole
        assert root.sh("dpkg --verify").out == ""
        indexes_are_as_kept(root, kernel)


@pytest.mark.parametrize("park", ["", "--park"], ids=["deleted", "parked"])
def test_after_a_prune_by_hand_the_package_comes_back_as_it_was(root, kernel, park):
    """Story: modules.order belongs to linux-base. A prune filtered it, and an apply forgot the modules' package alone:
    `dpkg --verify` named the file, and when the modules came back, depmod had lost their order."""
    modules, whole = f"linux-modules-{kernel}", files(root, kernel)
    keep_indexes(root, kernel)
    root.sh(f"limopack --prune {park}")
    root.sh(f"limopack --apply --pkname={modules}")
    forgotten(root, modules, kernel)
    assert root.sh("dpkg --verify").out == ""
    root.sh(f"apt-get -y install {modules}")
    assert files(root, kernel) == whole
    indexes_are_as_kept(root, kernel)


def test_the_kernel_is_removed_whole_with_its_modules_forgotten(root, kernel):
    root.sh(f"limopack --apply --pkname=linux-modules-{kernel}")
    # by name, because apt never removes the last kernel by itself
    root.sh(f"apt-get -y purge {CLOUD} linux-image-{kernel}; apt-get -y autoremove")
    sound(root)
    assert not stand_ins(root)
    for kin in ("image", "modules", "binary", "base"):
        assert "installed" not in root.sh(f"dpkg-query -W -f '${{db:Status-Status}}' linux-{kin}-{kernel} || :").out
