"""Another root than /: images, dpkg --root, scripts that run outside of it. The host's own stays as it is."""

import pytest

from checks import registry, snapshot, sound, stand_ins, unchanged
from packages import IMAGE, K, REGISTRY, USES, X, deb, other

HERE = ("var/lib/dpkg/info", "var/lib/dpkg/status", "var/lib/limopack", "var/lib/apt", "usr/lib/modules")


@pytest.fixture
def here(stock):
    """A system with its own modules packages, that no work on the other one may touch."""
    stock.sh("mkdir -p /var/lib/limopack")
    yield stock
    sound(stock)


def forgotten_there(root):
    assert "is not installed" in root.sh(f"dpkg --root=/other -s {K}", ok=(1,)).err
    assert root.sh("dpkg --root=/other --audit").out == ""
    assert root.sh("cat /other/var/lib/limopack/pending || :").out == ""
    assert not list((root / f"other/lib/modules/{X}").rglob("xfs.ko*"))
    assert list((root / f"other/lib/modules/{X}").rglob("vfat.ko*"))
    assert not list((root / "other/var/lib/dpkg/info").glob(f"{K}.*"))


def test_what_is_pending_there_is_settled_there_by_the_hook_of_the_host(here):
    before = snapshot(here, *HERE)
    other(here, IMAGE, K, REGISTRY, "app-a")
    forgotten_there(here)
    unchanged(before, snapshot(here, *HERE))


def test_a_script_outside_of_the_root_works_on_it(here):
    """dpkg --force-script-chrootless: DPKG_ROOT says where, DPKG_ADMINDIR has it in it already."""
    deb(here / "repo/own", "outside", Depends=K, scripts={
        "postinst": f"#!/bin/sh\nset -e\nlimopack --install --use={USES['app-a']}\nlimopack --apply --pkname={K}\n",
        "prerm": "#!/bin/sh\nset -e\nlimopack --remove\n"})
    other(here, IMAGE, K)
    before = snapshot(here, *HERE)
    here.sh("dpkg --root=/other --force-script-chrootless -i /repo/own/outside_*.deb")
    forgotten_there(here)
    assert "vfat:1" in (here / f"other/lib/modules/{X}/modules.active").read_text()
    here.sh("dpkg --root=/other --force-script-chrootless -r outside")
    assert "vfat" not in (here / f"other/lib/modules/{X}/modules.active").read_text()
    unchanged(before, snapshot(here, *HERE))


@pytest.mark.parametrize("env", [{}, {"DPKG_ROOT": "", "DPKG_ADMINDIR": "/var/lib/dpkg"}],
                         ids=["by hand", "in a script"])
def test_an_image_is_named_on_the_command_line(here, env):
    other(here, IMAGE, K)
    before = snapshot(here, *HERE)
    here.sh("limopack --root=/other --install --static --use=vfat", env=env)
    here.sh(f"limopack --root=/other --apply --pkname={K}", env=env)
    forgotten_there(here)
    unchanged(before, snapshot(here, *HERE))
    assert registry(here, X).keys() == {"virtio_net"}


def test_an_image_with_its_own_admin_directory(here):
    """dpkg --admindir: the environment says where."""
    here.sh("mkdir -p /elsewhere; cp -a /var/lib/dpkg /elsewhere")
    before = snapshot(here, "var/lib/dpkg")
    here.sh(f"limopack --apply --pkname={K}", env={"DPKG_ADMINDIR": "/elsewhere/dpkg"})
    unchanged(before, snapshot(here, "var/lib/dpkg"))
    here.sh(f"dpkg --admindir=/elsewhere/dpkg -s {K}", ok=(1,))
    assert not stand_ins(here)
