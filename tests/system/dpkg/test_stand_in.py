"""Who needs a stand-in, what it looks like, and when it goes."""

import pytest

from checks import installed, registry, snapshot, sound, stand_ins, unchanged, unknown
from packages import ARCH, K, K_SAME, X, Y, archive, deb, index, sources

STAND_IN = f"limopack-stand-in-{K}"
FOREIGN = "i386" if ARCH != "i386" else "amd64"


def apply(root, package=K, *options):
    return root.sh(f"limopack --apply --pkname={package} {' '.join(options)}")


@pytest.mark.parametrize("depends", [
    f"Depends: {K}", f"Depends: {K} (= 1.0)", f"Depends: {K} (>= 0.9)", f"Depends: {K}:{ARCH} (<< 2)",
    f"Pre-Depends: {K}", f"Depends: {K} | nothing", f"Depends: nothing | {K} (= 1.0)",
    f"Depends: bystander, {K}, kmod", "Depends: lima-modules", "Depends: lima-modules (>= 2)",
    "Depends: nothing | lima-modules (= 3)", f"Recommends: {K}", f"Suggests: {K}",
    f"Depends: bystander | {K}", f"Enhances: {K}",
])
def test_dependants_stay_satisfied(stock, depends):
    """However somebody depends on the package or on a name that it provides."""
    root = stock
    kind, what = depends.split(": ")
    archive(root, ("needs-it", {kind.replace("-", "_"): what}))
    root.sh("apt-get -y install bystander needs-it; apt-get check")
    installed(root, K)
    apply(root)
    unknown(root, K)
    sound(root)
    root.sh("dpkg -i /repo/own/needs-it_*.deb")
    sound(root)
    needed = kind in ("Depends", "Pre-Depends") and "bystander |" not in what
    if needed:
        assert stand_ins(root) == [STAND_IN]
        assert "protected" in root.sh(f"dpkg -r {STAND_IN}", ok=(1,)).err
        root.sh("apt-get -y remove needs-it")
    root.sh("apt-get -y autoremove")
    sound(root)


def test_what_it_says_of_itself(stock):
    root = stock
    root.sh("apt-get -y install app-a")
    apply(root)
    said = root.sh(f"dpkg -s {STAND_IN}").out
    fields = dict(line.split(": ", 1) for line in said.splitlines() if not line.startswith(" "))
    assert fields["Status"] == "install ok installed"
    assert fields["Version"] == "1.0" and fields["Architecture"] == ARCH
    assert fields["Provides"].split(", ")[0] == f"{K} (= 1.0)"
    assert fields["Depends"] == "kmod"
    assert "does not contain any files" in root.sh(f"dpkg -L {STAND_IN}").out
    # manual: apt 3 brings the real package back when its stand-in is an automatic one
    assert STAND_IN in root.sh("apt-mark showmanual").out.split()


@pytest.mark.parametrize("purge", ["apt-get -y purge '~o'", f"apt-get -y purge {STAND_IN}", f"dpkg --purge {STAND_IN}"])
def test_whoever_purges_it_by_mistake_loses_nothing(stock, purge):
    """Story: no archive has it, so that a purge of what is obsolete took it, and the kernel that needed it."""
    root = stock
    root.sh("apt-get -y install app-a")
    apply(root)
    said = root.sh(purge, ok=None)
    assert said.code and stand_ins(root) == [STAND_IN], said
    installed(root, "app-a")
    sound(root)


def test_one_of_two_architectures_is_forgotten_and_the_other_stays(stock):
    root = stock
    deb(root / "repo/own", K_SAME, arch=FOREIGN, Depends="kmod", Multi_Arch="same")
    deb(root / "repo/own", "needs-both", Depends=f"{K_SAME}:{ARCH}, {K_SAME}:{FOREIGN}")
    index(root / "repo/own")
    root.sh(f"dpkg --add-architecture {FOREIGN}")
    sources(root, "debian", "1.0", "own")
    root.sh(f"apt-get -y install {K_SAME}:{FOREIGN} needs-both")
    before = snapshot(root)
    said = root.sh(f"limopack --apply --pkname={K_SAME}", ok=(1, 2))
    assert "ambiguous" in said.err and f":{FOREIGN}" in said.err, said
    unchanged(before, snapshot(root))

    apply(root, f"{K_SAME}:{ARCH}")
    installed(root, f"{K_SAME}:{FOREIGN}")
    sound(root)
    info = {f.name for f in (root / "var/lib/dpkg/info").glob(f"{K_SAME}*")}
    assert info and all(name.startswith(f"{K_SAME}:{FOREIGN}.") for name in info), info
    root.sh(f"apt-get -y install {K_SAME}:{ARCH}")
    installed(root, f"{K_SAME}:{ARCH}")
    sound(root)
    assert not stand_ins(root)


def test_a_dependant_of_another_architecture_stays_satisfied(stock):
    root = stock
    deb(root / "repo/own", "modules-for-all", Multi_Arch="foreign", Depends="kmod")
    deb(root / "repo/own", "needs-it", arch=FOREIGN, Depends="modules-for-all (= 1.0)")
    root.sh(f"dpkg --add-architecture {FOREIGN}; dpkg -i /repo/own/*.deb; apt-get check")
    apply(root, "modules-for-all", f"--kernel={X}")
    unknown(root, "modules-for-all")
    sound(root)
    assert stand_ins(root) == ["limopack-stand-in-modules-for-all"]
    root.sh("dpkg -i /repo/own/needs-it_*.deb")


def test_without_one_dependants_are_named_and_left_broken(stock):
    root = stock
    archive(root, ("needs-it", {"Depends": K}))
    root.sh("apt-get -y install needs-it")
    said = apply(root, K, "--no-stand-in")
    assert "limopack: warning: " in said.err and "needs-it" in said.err, said
    assert not stand_ins(root)
    unknown(root, K)
    said = root.sh("apt-get check", ok=(100,))
    assert f"needs-it : Depends: {K}" in said.out + said.err
    root.sh("apt-get -y -f install")  # apt's own way out: the real package comes back
    installed(root, K)
    sound(root)


def test_nobody_depends_on_it_and_it_depends_on_nothing_then_there_is_none(stock):
    root = stock
    root.sh(f"sed -i '/^Package: {K}$/,/^$/{{/^Depends:/d}}' /var/lib/dpkg/status")
    apply(root)
    assert not stand_ins(root)
    unknown(root, K)


def test_what_only_the_package_needed_is_not_offered_for_removal(stock):
    """Nobody depends on the modules package, but it was installed on purpose and brought kmod."""
    root = stock
    assert "kmod" in root.sh("apt-mark showauto").out.split()
    apply(root, f"{K},{K_SAME}")
    unknown(root, K)
    unknown(root, K_SAME)
    sound(root)


def test_a_package_that_came_by_itself_goes_with_its_last_dependant(root):
    root.sh("apt-get -y install app-a")
    unknown(root, K)
    root.sh("apt-get -y purge app-a")
    assert not stand_ins(root)


def test_it_never_falls_under_a_glob(stock):
    root = stock
    root.sh("apt-get -y install app-a")
    apply(root, "'kernel-modules-*'")
    assert stand_ins(root)
    before = snapshot(root)
    for glob in ("'limopack-*'", "'*modules*'"):
        root.sh(f"limopack --apply --pkname={glob} --kernel={X}", ok=None)
        unchanged(before, snapshot(root))


def test_two_packages_are_forgotten_in_one_go(stock):
    root = stock
    inode = (root / "var/lib/dpkg/status").stat().st_ino
    apply(root, f"{K},{K_SAME}")
    old = (root / "var/lib/dpkg/status-old").stat().st_ino
    assert old == inode, "status was replaced more than once"
    for package in (K, K_SAME):
        unknown(root, package)
    sound(root)


def test_every_other_stanza_keeps_its_bytes(stock):
    root = stock
    status = root / "var/lib/dpkg/status"
    before = status.read_bytes().split(b"\n\n")
    apply(root)
    after = status.read_bytes().split(b"\n\n")
    gone = [s for s in before if s not in after]
    new = [s for s in after if s not in before]
    assert [s.split(b"\n")[0] for s in gone] == [b"Package: " + K.encode()]
    assert all(b"limopack-stand-in-" in s for s in new) and len(new) <= 1
    assert [s for s in after if s in before] == [s for s in before if s in after], "order"
    about = status.stat()
    assert (about.st_mode & 0o777, about.st_uid, about.st_gid) == (0o644, 0, 0)


def test_triggers_of_the_package_do_no_harm_later(stock):
    root = stock
    deb(root / "repo/own", "listens", scripts={"triggers": "interest-noawait /usr/share/heard\n"}, Depends="kmod")
    deb(root / "repo/own", "speaks", files={"usr/share/heard/it": ""})
    root.sh("dpkg -i /repo/own/listens_*.deb")
    root.sh(f"limopack --apply --pkname=listens --kernel={X}")
    root.sh("dpkg -i /repo/own/speaks_*.deb")
    sound(root)


def test_the_registry_does_not_mind(stock):
    before = registry(stock, X), registry(stock, Y)
    apply(stock, f"{K},{K_SAME}")
    assert (registry(stock, X), registry(stock, Y)) == before
