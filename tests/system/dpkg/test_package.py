"""The Debian package: what is in it, that anybody builds the same bytes, and that it comes, changes and
goes without a trace or a complaint, on roots with real dpkg and apt and with its hooks at work.

Its foreign sister, for boards, is looked into and run by qemu.
"""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

import bench_start
import fetch
import tools
from checks import forgotten, installed, modules_right, pending, registry, sound, stand_ins, unknown
from conftest import take_limopack
from packages import ARCH, IMAGE, K, REGISTRY, STATIC, X, Y

BOARD, BOARD_TARGET = "armhf", "armv7-unknown-linux-musleabihf"
# Path and mode; what is below /etc belongs to the administrator.
CONFFILES = {
    "etc/apt/apt.conf.d/90limopack": "-rw-r--r--",
    "etc/dpkg/dpkg.cfg.d/limopack": "-rw-r--r--",
    "etc/kernel/postinst.d/aa-limopack": "-rwxr-xr-x",
    "etc/kernel/postrm.d/limopack": "-rwxr-xr-x",
}
FILES = {
    **CONFFILES,
    "usr/lib/dracut/modules.d/90limopack/module-setup.sh": "-rwxr-xr-x",
    **{f"usr/lib/limopack/groups.d/{file.name}": "-rw-r--r--" for file in (fetch.TOP / "cross/package/groups.d").iterdir()},
    "usr/lib/systemd/system/limopack-learn.service": "-rw-r--r--",
    "usr/lib/systemd/system/limopack-learn.timer": "-rw-r--r--",
    "usr/sbin/limopack": "-rwxr-xr-x",
    "usr/share/bash-completion/completions/limopack": "-rw-r--r--",
    "usr/share/doc/limopack/changelog.gz": "-rw-r--r--",
    "usr/share/doc/limopack/copyright": "-rw-r--r--",
    "usr/share/fish/vendor_completions.d/limopack.fish": "-rw-r--r--",
    "usr/share/initramfs-tools/hooks/limopack": "-rwxr-xr-x",
    "usr/share/lintian/overrides/limopack": "-rw-r--r--",
    "usr/share/man/man7/limopack-integration.7.gz": "-rw-r--r--",
    "usr/share/man/man8/limopack.8.gz": "-rw-r--r--",
    "usr/share/zsh/site-functions/_limopack": "-rw-r--r--",
}
# All that build packages do it in the same place.
pytestmark = pytest.mark.xdist_group("package")
# What dpkg and apt write whenever they run, and what is no part of the system.
THEIRS = {"proc", "repo", "run", "tmp", "var/cache", "var/log", "var/lib/dpkg/status-old"}


def make(tree, *goals, env=os.environ):
    return tools.run("make", "-C", tree, *goals, env={**env, "OVERSIZE": "warn"}).stdout


def made(tree, arch):
    """The package that `make deb` has left in a tree."""
    package, = (tree / "target/deb").glob(f"limopack_*_{arch}.deb")
    return package


@pytest.fixture(scope="session")
def debs():
    """Architecture → the package of this tree."""
    for arch in (ARCH, BOARD):
        make(fetch.TOP, "deb", f"ARCH={arch}")
    return {arch: made(fetch.TOP, arch) for arch in (ARCH, BOARD)}


@pytest.fixture
def bare(root):
    """A root on which limopack was never installed, and apt and dpkg have worked before."""
    take_limopack(root)
    root.sh("dpkg -i /repo/1.0/bystander_*.deb; dpkg --purge bystander")
    return root


def install(root, package):
    """Installs a package's file by dpkg; what dpkg said."""
    shutil.copy(package, root / "tmp" / package.name)
    return root.sh(f"dpkg -i /tmp/{package.name}; rm /tmp/{package.name}")


def changed(package, version, place, change=lambda tree: None):
    """The package with another version, its files changed by `change`."""
    tree = place / f"tree-{version}"
    tools.run("dpkg-deb", "-R", package, tree)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub("(?m)^Version: .*", f"Version: {version}", control.read_text()))
    change(tree)
    tools.run("dpkg-deb", "--root-owner-group", "-Znone", "-b", tree, place)
    name, _, rest = package.name.split("_")
    return place / f"{name}_{version}_{rest}"


def everything(root):
    """Every path of a root with what it holds, but for what dpkg and apt always write."""
    found = {}
    for top, folders, files in os.walk(root.path):
        here = os.path.relpath(top, root.path)
        theirs = {name for name in folders + files if os.path.normpath(f"{here}/{name}") in THEIRS}
        folders[:] = set(folders) - theirs
        for name in {*folders, *files} - theirs:
            path = Path(top, name)
            plain = path.is_file() and not path.is_symlink()
            found[os.path.normpath(f"{here}/{name}")] = (path.lstat().st_mode, path.read_bytes() if plain else None)
    return found


def difference(before, after):
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


# ------------------------------------------------------------------------- the file itself

@pytest.mark.parametrize("arch", [ARCH, BOARD])
def test_the_package_holds_the_program_and_all_that_goes_with_it(debs, arch):
    listed = [line.split() for line in tools.run("dpkg-deb", "-c", debs[arch]).stdout.splitlines()]
    assert {words[1] for words in listed} == {"root/root"}
    assert {words[5][2:]: words[0] for words in listed if words[0][0] != "d"} == FILES
    conffiles = tools.run("dpkg-deb", "-I", debs[arch], "conffiles").stdout.split()
    assert conffiles == [f"/{path}" for path in CONFFILES]
    assert tools.run("dpkg-deb", "-f", debs[arch], "Architecture").stdout.strip() == arch


@pytest.mark.parametrize("arch", [ARCH, BOARD])
def test_lintian_finds_nothing_and_one_override_is_needed(debs, arch):
    said = tools.run("lintian", "--allow-root", "--fail-on", "none", "--show-overrides", debs[arch])
    tags = [line for line in said.stdout.splitlines() if not line.startswith("N:")]
    assert tags == ["O: limopack: statically-linked-binary [usr/sbin/limopack]"]


def test_the_board_s_program_lists_what_this_machine_s_does(debs, pristine, tmp_path):
    tools.run("dpkg-deb", "-x", debs[BOARD], tmp_path)
    root = pristine("cloud")
    _, *arguments = tools.argv(root, "--list", "--use=ext4,virtio_net")
    board = tools.run("qemu-arm", "-cpu", "cortex-a8", tmp_path / "usr/sbin/limopack", *arguments)
    assert board.stdout == tools.limopack(root, "--list", "--use=ext4,virtio_net").stdout != ""


def test_the_program_starts_in_few_steps_and_leaves_signals_to_the_kernel(debs, pristine, tmp_path):
    tools.run("dpkg-deb", "-x", debs[ARCH], tmp_path)
    program = tmp_path / "usr/sbin/limopack"
    calls = tools.system_calls(program, "--version")
    assert len(calls) <= bench_start.CALLS_LIMIT, calls
    assert tools.instructions(program, "--version") <= bench_start.INSTRUCTIONS_LIMIT
    listing = [program, f"--root={pristine('cloud')}", "--list", "--use=ext4,virtio_net"]
    assert not [call for call in tools.system_calls(*listing) if " rt_sig" in call]
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        assert subprocess.run(listing, stdout=closed).returncode == -signal.SIGPIPE


@pytest.mark.long  # a second build of everything
def test_another_place_time_and_umask_build_the_same_bytes(debs, tmp_path):
    """Package and tarball; the copy is no git repository, and its files are older."""
    make(fetch.TOP, f"dist-{BOARD_TARGET}")
    files = tools.run("git", "-C", fetch.TOP, "ls-files", "-co", "--exclude-standard").stdout.splitlines()
    copy = tmp_path / "a place with another name"
    for name in files:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(fetch.TOP / name, copy / name)
        os.utime(copy / name, (10**9, 10**9))
    tools.run("chmod", "-R", "go=", copy)
    cargo = tmp_path / "cargo"
    cargo.mkdir()
    real = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    (cargo / "registry").symlink_to(real / "registry")
    epoch = tools.run("git", "-C", fetch.TOP, "log", "-1", "--format=%ct").stdout.strip()
    other = {**os.environ, "CARGO_HOME": str(cargo), "TZ": "Pacific/Kiritimati", "LC_ALL": "C.UTF-8",
             "SOURCE_DATE_EPOCH": epoch}
    before = os.umask(0o077)
    try:
        make(copy, "deb", f"ARCH={BOARD}", f"dist-{BOARD_TARGET}", env=other)
    finally:
        os.umask(before)
    assert made(copy, BOARD).name == debs[BOARD].name
    assert made(copy, BOARD).read_bytes() == debs[BOARD].read_bytes()
    tarball, = (copy / "target/dist").glob("*.tar.gz")
    assert tarball.read_bytes() == (fetch.TOP / "target/dist" / tarball.name).read_bytes()


# ------------------------------------------------------------------------- its life on a root

def test_installed_it_forgets_by_its_own_hooks(debs, bare):
    install(bare, debs[ARCH])
    assert bare.sh("limopack --version").out.startswith("limopack ")
    assert bare.sh("dpkg --verify limopack").out == ""
    bare.sh(f"apt-get -y install {IMAGE} {K} {REGISTRY} app-a")
    forgotten(bare, K, X)
    modules_right(bare, X)


def test_an_upgrade_keeps_registry_stand_in_and_the_administrator_s_hook(debs, bare, tmp_path):
    hook = "etc/apt/apt.conf.d/90limopack"

    def older(tree):
        (tree / "etc/kernel/postinst.d/aa-limopack").write_text("#!/bin/sh\n# as it was once\n")
        (tree / "usr/sbin/gone-since").touch()
    install(bare, changed(debs[ARCH], "1.9", tmp_path, older))
    bare.sh(f"apt-get -y install {IMAGE} {K} {REGISTRY} app-a; echo '// mine' >> /{hook}")
    held, names = registry(bare, X), stand_ins(bare)
    said = install(bare, debs[ARCH])
    assert "(1.9)" in said.out and "limopack:" not in said.err
    assert (registry(bare, X), stand_ins(bare)) == (held, names) and held and names
    assert (bare / hook).read_text().endswith("// mine\n")
    assert "as it was once" not in (bare / "etc/kernel/postinst.d/aa-limopack").read_text()
    assert not (bare / "usr/sbin/gone-since").exists()
    assert [line.split()[-1] for line in bare.sh("dpkg --verify limopack").out.splitlines()] == [f"/{hook}"]
    forgotten(bare, K, X)


def test_a_downgrade_works_as_well(debs, bare, tmp_path):
    install(bare, debs[ARCH])
    install(bare, changed(debs[ARCH], "1.9", tmp_path))
    installed(bare, "limopack", "1.9")
    sound(bare)


def test_installed_and_purged_it_leaves_every_file_as_it_was(debs, bare):
    before = everything(bare)
    install(bare, debs[ARCH])
    assert difference(before, everything(bare)), "nothing was seen to change"
    assert bare.sh("dpkg --purge limopack").err == ""
    assert difference(before, everything(bare)) == []


def test_removed_but_not_purged_its_hooks_are_silent_and_nothing_fails(debs, bare):
    install(bare, debs[ARCH])
    bare.sh("dpkg --remove limopack")
    assert all((bare / hook).exists() for hook in CONFFILES) and not (bare / "usr/sbin/limopack").exists()
    for command in ("dpkg -i /repo/1.0/bystander_*.deb", "apt-get -y install --reinstall bystander",
                    f"apt-get -y install {IMAGE} {K}", "apt-get -y purge bystander",
                    f"run-parts --exit-on-error --arg={X} /etc/kernel/postinst.d"):
        said = bare.sh(command)
        assert "limopack" not in said.out + said.err, said
    sound(bare)


def test_purged_it_leaves_only_what_the_system_needs(debs, bare):
    """A registry belongs to its kernel; a stand-in is what dependants of the forgotten package have."""
    install(bare, debs[ARCH])
    bare.sh(f"apt-get -y install {IMAGE} {K} {REGISTRY} app-a")
    stand_in, = stand_ins(bare)
    bare.sh("dpkg --purge limopack")
    left = {path for path in everything(bare) if "limopack" in path or path.endswith("modules.active")}
    info = f"var/lib/dpkg/info/{stand_in}"
    assert left == {*(f"usr/lib/modules/{version}/modules.active" for version in (X, Y)), f"{info}.list", f"{info}.md5sums"}
    sound(bare)
    modules_right(bare, X)


def test_after_a_purge_the_forgotten_package_can_come_back(debs, bare):
    """And its stand-in can go then."""
    install(bare, debs[ARCH])
    bare.sh(f"apt-get -y install {IMAGE} {K} {REGISTRY} app-a; dpkg --purge limopack")
    bare.sh(f"apt-get -y install {K}")
    # It is protected, for as long as somebody may depend on it.
    bare.sh("dpkg --force-remove-protected --purge " + " ".join(stand_ins(bare)))
    installed(bare, K)
    assert not stand_ins(bare)
    sound(bare)


def test_purged_while_a_package_waits_to_be_forgotten_the_package_stays(debs, bare):
    install(bare, debs[ARCH])
    for hook in ("etc/dpkg/dpkg.cfg.d/limopack", "etc/apt/apt.conf.d/90limopack"):
        (bare / hook).unlink()
    bare.sh(f"apt-get -y install {IMAGE} {K} {REGISTRY} app-a")
    assert K in pending(bare)
    bare.sh("dpkg --purge limopack")
    assert not (bare / "var/lib/limopack").exists()
    installed(bare, K)
    sound(bare)


def test_installed_again_after_a_purge_it_goes_on(debs, bare):
    install(bare, debs[ARCH])
    bare.sh(f"apt-get -y install {IMAGE} {K} {REGISTRY} app-a; dpkg --purge limopack")
    install(bare, debs[ARCH])
    bare.sh(f"apt-get -y install {K}; limopack --apply --pkname={K}")
    unknown(bare, K)
    assert registry(bare, X)[STATIC] == ("S", set())
    sound(bare)
