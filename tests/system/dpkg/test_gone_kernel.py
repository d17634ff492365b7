"""A kernel's package is purged, and limopack has forgotten the one that brought its modules: nobody owns
them, and they go if nothing speaks for the kernel any more. What cannot be known stays.
"""

import shutil

import pytest

from checks import files, installed, pending, registry, snapshot, sound, stand_ins, unchanged
from conftest import HOOKS
from packages import IMAGE, K, X, Y, deb

LINUX = f"linux-image-{X}"
# What Debian's own does: it calls the hooks whenever it is called.
POSTRM = f"""#!/bin/sh
set -e
DEB_MAINT_PARAMS="$*" run-parts --report --exit-on-error --arg={X} --arg=/boot/vmlinuz-{X} /etc/kernel/postrm.d
"""
HOOK = "etc/kernel/postrm.d/limopack"


@pytest.fixture
def machine(stock):
    """The kernel's own package depends on that of the modules, which is forgotten."""
    (stock / HOOK).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(HOOKS / "kernel/postrm.d/limopack", stock / HOOK)
    deb(stock / "repo/own", LINUX, files={f"boot/vmlinuz-{X}": "linux\n"}, scripts={"postrm": POSTRM},
        Depends=f"{K} (= 1.0)", Replaces=IMAGE)
    stock.sh(f"dpkg --purge {IMAGE}; dpkg -i /repo/own/{LINUX}_*.deb; limopack --apply --pkname={K}")
    assert stand_ins(stock)
    return stock


def whole(root):
    """The kernel has all that limopack has kept of it."""
    assert files(root, X) and registry(root, X) and (root / f"lib/modules/{X}/modules.dep").exists()


def gone(root, said):
    assert f"limopack: kernel {X} was purged: removed what was left of it\n" in said.out + said.err, said
    assert not (root / f"lib/modules/{X}").exists()
    assert files(root, Y) and not stand_ins(root) and not pending(root)
    sound(root)


@pytest.mark.parametrize("purge", [f"dpkg --purge {LINUX}", f"apt-get -y purge {LINUX}"], ids=["dpkg", "apt"])
def test_with_its_purge_the_modules_of_a_forgotten_package_go(machine, purge):
    before = snapshot(machine, f"usr/lib/modules/{Y}")
    said = machine.sh(purge)
    gone(machine, said)
    unchanged(before, snapshot(machine, f"usr/lib/modules/{Y}"))


def test_a_kernel_that_is_removed_may_come_back(machine):
    said = machine.sh(f"dpkg --remove {LINUX}")
    whole(machine)
    assert f"kernel {X}: its modules stay; no package brings them any more" in said.out + said.err, said
    machine.sh("dpkg -i /repo/1.0/bystander_*.deb")
    whole(machine)
    gone(machine, machine.sh(f"dpkg --purge {LINUX}"))


@pytest.mark.parametrize("name, contents", [
    ("more-modules", {f"usr/lib/modules/{X}/extra/more.ko": ""}),
    (f"linux-headers-{X}", {}),
], ids=["owns a file", "is named after it"])
def test_as_long_as_another_package_speaks_for_it_everything_stays(machine, name, contents):
    deb(machine / "repo/own", name, files=contents)
    machine.sh(f"dpkg -i /repo/own/{name}_*.deb")
    said = machine.sh(f"dpkg --purge {LINUX}")
    assert f"kernel {X} was purged, but {name} " in said.out + said.err, said
    whole(machine)
    said = machine.sh("dpkg -i /repo/1.0/bystander_*.deb")
    assert "limopack" not in said.out + said.err, "said once, and then when it is asked"
    assert f"but {name} " in machine.sh("limopack --settle").err
    whole(machine)
    gone(machine, machine.sh(f"dpkg --purge {name}"))


@pytest.mark.parametrize("image", [f"boot/vmlinuz-{X}.old", f"boot/initrd.img-{X}", f"lib/modules/{X}/vmlinuz",
                                   f"boot/EFI/Linux/linux-{X}.efi", f"efi/0123/{X}"])
def test_as_long_as_there_is_an_image_everything_stays(machine, image):
    (machine / image).parent.mkdir(parents=True, exist_ok=True)
    (machine / image).touch()
    said = machine.sh(f"dpkg --purge {LINUX}")
    assert f"but /{image} is there" in said.out + said.err, said
    whole(machine)
    (machine / image).unlink()
    gone(machine, machine.sh("limopack --settle"))


def test_what_others_put_there_stays(machine):
    place = machine / f"lib/modules/{X}/updates/dkms"
    place.mkdir(parents=True)
    (place / "own.ko").touch()
    said = machine.sh(f"dpkg --purge {LINUX}")
    assert f"/lib/modules/{X}/ stays, others have files in it" in said.out + said.err, said
    assert not (machine / f"lib/modules/{X}/kernel").exists()
    assert (place / "own.ko").exists() and registry(machine, X)
    said = machine.sh("limopack --settle; dpkg -i /repo/1.0/bystander_*.deb")
    assert "limopack" not in said.out + said.err, said


def test_what_no_module_is_stays_and_the_rest_counts_as_no_kernel(machine):
    """An index without its modules would be a kernel that every prune refuses."""
    (machine / f"lib/modules/{X}/kernel/README").touch()
    machine.sh(f"dpkg --purge {LINUX}")
    assert (machine / f"lib/modules/{X}/kernel/README").exists() and not files(machine, X)
    machine.sh("limopack --prune")


def test_modules_that_were_installed_by_hand_since_stay(machine):
    """The kernel's own build has the version of one that was purged."""
    deb(machine / "repo/own", f"linux-headers-{X}")
    machine.sh(f"dpkg -i /repo/own/linux-headers-{X}_*.deb; dpkg --purge {LINUX}")
    machine.sh(f"cp /lib/modules/{X}/modules.dep /tmp/dep; mv /tmp/dep /lib/modules/{X}/modules.dep")
    machine.sh(f"dpkg --purge linux-headers-{X}; limopack --settle")
    whole(machine)


def test_a_directory_to_which_another_kernel_leads_stays(machine):
    (machine / "lib/modules/own").symlink_to(X)
    said = machine.sh(f"dpkg --purge {LINUX}; limopack --settle")
    assert f"kernel {X} was purged, but /lib/modules/own leads to it" in said.err, said
    whole(machine)


def test_a_dry_run_says_it_and_does_nothing(machine):
    (machine / f"boot/initrd.img-{X}").touch()
    machine.sh(f"dpkg --purge {LINUX}; rm /boot/initrd.img-{X}")
    before = snapshot(machine)
    assert machine.sh("limopack --settle --dry-run").out == f"remove kernel {X}\n"
    unchanged(before, snapshot(machine))


def test_without_the_hook_nobody_knows_that_it_was_purged(machine):
    """A board's kernel may never have been a package; so it looks then."""
    (machine / HOOK).write_text("#!/bin/sh\n")
    machine.sh(f"dpkg --purge {LINUX}; limopack --settle")
    whole(machine)
    sound(machine)


def test_the_kernel_that_runs_stays(machine):
    version = machine.sh("uname -r").out.strip()
    top = machine / f"lib/modules/{version}"
    (top / "kernel").mkdir(parents=True)
    for name in ("kernel/vfat.ko", ".limopack-purged"):
        (top / name).touch()
    (machine / "var/lib/limopack/forgotten").write_text(f"linux-modules-{version} manual {version}\n")
    said = machine.sh("limopack --settle")
    assert said.err == f"limopack: kernel {version} was purged, but it runs; its modules stay\n"
    assert (top / "kernel/vfat.ko").exists()


def test_modules_that_a_package_owns_are_none_of_ours(stock):
    """Nothing was forgotten: they go with their own package, and the registry with the purge."""
    (stock / HOOK).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(HOOKS / "kernel/postrm.d/limopack", stock / HOOK)
    deb(stock / "repo/own", LINUX, scripts={"postrm": POSTRM}, Depends=K)
    stock.sh(f"dpkg -i /repo/own/{LINUX}_*.deb")
    before = snapshot(stock, f"usr/lib/modules/{X}")
    stock.sh(f"dpkg --purge {LINUX}")
    unchanged(before, snapshot(stock, f"usr/lib/modules/{X}"))
    installed(stock, K)
    stock.sh(f"dpkg -i /repo/own/{LINUX}_*.deb; dpkg --remove {LINUX} {K}")
    assert registry(stock, X)
    stock.sh(f"dpkg --purge {LINUX} {K}")
    assert not (stock / f"lib/modules/{X}").exists()
