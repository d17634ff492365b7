"""Packages that declare what they need in a file: built by debhelper with dh_limopack, and what becomes of
the modules when they come, change and go.
"""

import os
import re
import shutil

import pytest

import fetch
import tools
from checks import files, installed, parked, sound
from packages import ARCH, IMAGE, K, REGISTRY, X
from test_package import bare, changed, debs, install  # noqa: F401 (fixtures)

# The packages of this tree are made in one place: see test_package.
pytestmark = pytest.mark.xdist_group("package")
ADD_ON = fetch.TOP / "cross/package/debhelper"
NAME = "lima-app"
CONTROL = f"""Source: {NAME}
Section: misc
Priority: optional
Maintainer: Lima Pack <lima@example.org>
Build-Depends: debhelper-compat (= 13), dh-sequence-limopack
Standards-Version: 4.6.2

Package: {NAME}
Architecture: all
Depends: ${{misc:Depends}}, ${{limopack:Depends}}
Description: test package
 It needs modules.
"""
CHANGELOG = """{name} ({version}) unstable; urgency=medium

  * Another one.

 -- Lima Pack <lima@example.org>  Sun, 29 Nov 2026 12:00:00 +0000
"""
RULES = "#!/usr/bin/make -f\n%:\n\tdh $@\n"


def build(top, version, needs, code=0):
    """The package built from a source tree of its own: its file, or what the failed build said."""
    tree = top / f"{NAME}-{version}"
    (tree / "debian/source").mkdir(parents=True)
    sequences = top / "perl/Debian/Debhelper/Sequence"
    sequences.mkdir(parents=True, exist_ok=True)
    if not (sequences / "limopack.pm").exists():
        (sequences / "limopack.pm").symlink_to(ADD_ON / "limopack.pm")
    for name, text in {"control": CONTROL, "changelog": CHANGELOG.format(name=NAME, version=version),
                       "rules": RULES, "source/format": "3.0 (native)\n", f"{NAME}.limopack": needs}.items():
        (tree / "debian" / name).write_text(text)
    (tree / "debian/rules").chmod(0o755)
    env = {**os.environ, "PATH": f"{ADD_ON}:{os.environ['PATH']}", "PERL5LIB": str(top / "perl")}
    done = tools.run("dpkg-buildpackage", "--build=binary", "--no-sign", "--no-check-builddeps", cwd=tree, env=env,
                     code=None)
    assert (done.returncode != 0) == bool(code), done.stdout + done.stderr
    return done.stdout + done.stderr if code else top / f"{NAME}_{version}_all.deb"


@pytest.mark.parametrize("needs, wrong", [
    ("@Sticks/all\n", "1: no module's name"), ("vfat\next4.ko\n", "2: no module's name: ext4.ko"), ("kernel/fs/ext4\n", "1: no module's name"),
    ("vfat maybe\n", "1: only a ? may follow"), ("vfat", "1: no newline"), ("vfat\r\n", "1: the line ends in"),
    ("# nothing\n", "names no module"),
])
def test_a_wrong_line_fails_the_build(needs, wrong, tmp_path):
    assert f"debian/{NAME}.limopack" in (said := build(tmp_path, "1.0", needs, code=1)) and wrong in said, said


def test_the_package_has_the_file_and_the_dependency(tmp_path):
    package = build(tmp_path, "1.0", "# for sticks\nvfat\nno_such ?\n")
    assert re.search(r"-rw-r--r-- root/root .* \./usr/lib/limopack/needs\.d/lima-app\.conf\n",
                     tools.run("dpkg-deb", "-c", package).stdout)
    assert tools.run("dpkg-deb", "-f", package, "Depends").stdout == "limopack\n"
    assert not tools.run("dpkg-deb", "-I", package).stdout.count("postinst")


WAYS = {"dpkg": "dpkg -i", "apt": "apt-get -y install"}


@pytest.mark.parametrize("way, goes", [("dpkg", "dpkg --purge"), ("apt", "apt-get -y remove")], ids=WAYS)
def test_what_it_needs_comes_and_goes_with_it(debs, bare, tmp_path, way, goes):  # noqa: F811
    def install(root, package):
        shutil.copy(package, root / "tmp" / package.name)
        return root.sh(f"{WAYS[way]} /tmp/{package.name}")

    install(bare, debs[ARCH])
    bare.sh(f"apt-get -y install {IMAGE} {K} {REGISTRY}; limopack --apply --park --pkname={K}")
    assert {"vfat", "isofs"} <= parked(bare, X)

    install(bare, build(tmp_path, "1.0", "vfat\nno_such ?\n"))
    installed(bare, NAME, "1.0")
    assert "vfat" in files(bare, X) and "isofs" in parked(bare, X)
    assert f"usr/lib/limopack/needs.d/{NAME}.conf:1" in bare.sh("limopack --why --use=vfat").out
    bare.sh("limopack --prune --park")
    assert "vfat" in files(bare, X)

    # What this kernel has not got keeps nothing else from coming back.
    install(bare, build(tmp_path, "1.1", "no_such\n@optical\n"))
    assert {"vfat", "isofs"} <= set(files(bare, X))
    install(bare, build(tmp_path, "1.2", "@optical\n"))
    bare.sh("limopack --prune --park")
    assert "isofs" in files(bare, X) and "vfat" in parked(bare, X)

    bare.sh(f"{goes} {NAME}; limopack --prune --park")
    assert {"vfat", "isofs"} <= parked(bare, X)
    sound(bare)


def test_settle_brings_back_what_was_parked_where_nothing_is_triggered(debs, bare):  # noqa: F811
    """opkg, rpm and the administrator's editor trigger nothing."""
    install(bare, debs[ARCH])
    bare.sh(f"apt-get -y install {IMAGE} {K} {REGISTRY}; limopack --apply --park --pkname={K}")
    bare.sh("mkdir -p /etc/limopack/needs.d; echo vfat > /etc/limopack/needs.d/mine.conf")
    assert "/vfat.ko" in bare.sh("limopack --settle --dry-run").out and "vfat" in parked(bare, X)
    bare.sh("limopack --settle")
    assert "vfat" in files(bare, X) and "isofs" in parked(bare, X)
    assert bare.sh("limopack --settle").err == ""
    # Somebody's malformed file fails no other package's script, and is an error by hand.
    bare.sh("echo '#@' > /etc/limopack/needs.d/bad.conf")
    said = bare.sh("limopack --settle", env={"DPKG_MAINTSCRIPT_PACKAGE": "app", "DPKG_RUNNING_VERSION": "1.21"})
    assert "bad.conf:1: " in said.err and "bad.conf:1: " in bare.sh("limopack --settle", ok=(1,)).err


@pytest.mark.parametrize("how", ["forgotten", "trimmed"])
def test_what_was_deleted_comes_back_with_the_package_that_brings_it(debs, bare, tmp_path, how):  # noqa: F811
    install(bare, debs[ARCH])
    bare.sh(f"apt-get -y install {IMAGE} {K} {REGISTRY}")
    whole = bare / f"repo/1.0/{K}_1.0_{ARCH}.deb"
    if how == "trimmed":
        def add_more(tree):
            (tree / "boot").mkdir(exist_ok=True)
            (tree / f"boot/config-{X}").touch()
        whole = changed(whole, "1.5", tmp_path, add_more)
        install(bare, whole)
    bare.sh(f"limopack --apply --pkname={K}")
    assert ("ii" in bare.sh(f"dpkg -l {K}", ok=None).out) == (how == "trimmed")
    said = install(bare, build(tmp_path, "1.0", "vfat\n"))
    assert f"kernel {X} has no module vfat" in said.out + said.err
    assert "vfat" in bare.sh("limopack --prune", ok=(1,)).err

    install(bare, whole)
    assert {"vfat", "isofs"} <= set(files(bare, X))
    bare.sh("limopack --prune")
    assert "vfat" in files(bare, X) and "isofs" not in files(bare, X)
    bare.sh(f"dpkg --purge {NAME}; limopack --prune")
    assert "vfat" not in files(bare, X)
    sound(bare)


def test_a_file_that_no_package_has_any_more_is_a_line_of_check(debs, bare, tmp_path):  # noqa: F811
    install(bare, debs[ARCH])
    bare.sh(f"apt-get -y install {IMAGE} {K} {REGISTRY}")
    install(bare, build(tmp_path, "1.0", "vfat\n"))
    line = f"owner\t\tusr/lib/limopack/needs.d/{NAME}.conf\t"
    assert line not in bare.sh("limopack --check", ok=None).out
    bare.sh(f"cd /usr/lib/limopack/needs.d; cp {NAME}.conf kept; dpkg --purge {NAME}; mv kept {NAME}.conf")
    assert line in bare.sh("limopack --check", ok=(1,)).out


def test_a_module_that_no_kernel_has_is_said_and_fails_nothing(debs, bare, tmp_path):  # noqa: F811
    install(bare, debs[ARCH])
    bare.sh(f"apt-get -y install {IMAGE} {K} {REGISTRY}")
    said = install(bare, build(tmp_path, "1.0", "vfat\nno_such\n"))
    place = f"usr/lib/limopack/needs.d/{NAME}.conf:2"
    assert re.search(f"limopack: warning: kernel {re.escape(X)} has no module no_such: {place}", said.out + said.err), said
    installed(bare, NAME, "1.0")
    sound(bare)
    refused = bare.sh("limopack --prune", ok=(1,))
    assert "no_such" in refused.err
