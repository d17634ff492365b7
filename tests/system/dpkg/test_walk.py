"""The original's packaging walk, with real dpkg and apt: a kernel without modules, its modules package,
a package with a registry, software that registers its modules in postinst and releases them in prerm.

After each step the modules package looks as if it had never been installed, and nothing is broken.
"""

import pytest

from checks import forgotten, installed, modules_right, registry, sound, stand_ins, unknown
from packages import IMAGE, K, K_SAME, REGISTRY, STATIC, X, Y, sources

ALL = f"{IMAGE} {K} {REGISTRY} app-a app-b"
BOTH = {STATIC: ("S", set()), "vfat": ("1", {"app-a"}), "overlay": ("2", {"app-a", "app-b"}),
        "nf_nat": ("1", {"app-b"})}


class Dpkg:
    """Installs files, as an image builder would."""

    def __init__(self, root):
        self.root = root
        root.sh("dpkg -i /repo/debian/*kmod*.deb" if root.suite == "forky" else
                "dpkg -i /repo/debian/*.deb")  # what the modules package depends on
        root.sh("apt-mark auto kmod")

    def install(self, names, version="1.0", ok=(0,)):
        files = " ".join(f"/repo/{version}/{name}_*.deb" for name in names.split())
        return self.root.sh(f"dpkg -i {files}", ok=ok)

    upgrade = reinstall = install

    def again(self):
        self.root.sh("dpkg --configure -a")

    def remove(self, names):
        self.root.sh(f"dpkg -r {names}")

    def purge(self, names):
        self.root.sh(f"dpkg -P {names}")


class Apt:
    """Installs from an archive; modules packages come as dependencies."""

    def __init__(self, root):
        self.root = root

    def install(self, names, version="1.0", ok=(0,), how=""):
        sources(self.root, "debian", version)
        asked = " ".join(n for n in names.split() if n not in (K, K_SAME)) or names
        return self.root.sh(f"apt-get -y {how} install {asked}", ok=ok and [code * 100 for code in ok])

    upgrade = install

    def reinstall(self, names, version="1.0"):
        return self.install(names, version, how="--reinstall")

    def again(self):
        self.root.sh("dpkg --configure -a")

    def remove(self, names):
        self.root.sh(f"apt-get -y remove {names}")

    def purge(self, names):
        self.root.sh(f"apt-get -y purge {names}")


@pytest.fixture(params=[Dpkg, Apt], ids=["dpkg", "apt"])
def way(request, root):
    return request.param(root)


def right(root, version="1.0"):
    """All is installed but the modules package, which is forgotten; the registry and the files agree."""
    forgotten(root, K, X)
    for name in (IMAGE, REGISTRY, "app-a", "app-b"):
        installed(root, name, version)
    assert registry(root, X) == BOTH
    assert "overlay:2\n#@ overlay app-a app-b\n" in (root / f"lib/modules/{X}/modules.active").read_text()
    modules_right(root, X)


def test_all_of_it_in_one_run(way):
    way.install(ALL)
    right(way.root)
    assert "kmod" in way.root.sh("apt-mark showauto").out.split()


def test_an_upgrade_counts_nobody_twice(way):
    way.install(ALL)
    way.upgrade(ALL, "1.1")
    right(way.root, "1.1")


def test_a_newer_modules_package_in_the_archive_stays_there(root):
    """As one that was never installed: `upgrade` does not bring it."""
    root.sh(f"apt-get -y install {IMAGE} {REGISTRY} app-a")
    sources(root, "debian", "1.1")
    assert f"Inst {K}" not in root.sh("apt-get -s upgrade").out
    root.sh("apt-get -y upgrade; apt-get check")
    installed(root, IMAGE, "1.1")
    unknown(root, K)


def test_a_reinstallation_counts_nobody_twice(way):
    way.install(ALL)
    way.reinstall("app-a app-b")
    right(way.root)
    way.reinstall(ALL)
    right(way.root)


def test_one_after_the_other_with_the_modules_package_in_between(way):
    way.install(f"{IMAGE} {K} {REGISTRY} app-a")
    unknown(way.root, K)
    way.install(K)
    way.install("app-b")
    right(way.root)


def test_new_software_together_with_the_modules_package_it_needs_again(root):
    """The stand-in satisfies the new software, so that it may be configured before the modules package."""
    root.sh(f"apt-get -y install {IMAGE} {REGISTRY} app-a")
    root.sh(f"apt-get -y install {K} app-b", ok=(0, 100))
    root.sh("dpkg --configure -a")
    right(root)


def test_new_software_without_the_modules_package_it_needs_again(root):
    """The stand-in satisfies it, but its modules are gone: the message says what to install."""
    root.sh(f"apt-get -y install {IMAGE} {REGISTRY} app-a")
    said = root.sh("apt-get -y install app-b", ok=(100,))
    ours = [line for line in said.err.splitlines() if line.startswith("limopack: ")]
    assert any("nf_nat" in line or "nf-nat" in line for line in ours) and any(K in line for line in ours), ours
    root.sh(f"apt-get -y install {K}", ok=(0, 100))
    root.sh("dpkg --configure -a")
    right(root)


def test_a_failed_postinst_keeps_its_reference_and_runs_again(way):
    root = way.root
    way.install(ALL)
    (root / "etc/app-fail.fails").touch()
    way.install(K)
    way.install("app-fail", ok=(1,))
    assert registry(root, X) == {**BOTH, "xt_LOG": ("1", {"app-fail"})}
    for _ in range(2):
        assert "app-fail" in root.sh("dpkg --audit", ok=None).out
        root.sh("dpkg --configure -a", ok=(1,))
    (root / "etc/app-fail.fails").unlink()
    way.again()
    forgotten(root, K, X)
    assert registry(root, X) == {**BOTH, "xt_LOG": ("1", {"app-fail"})}
    modules_right(root, X)
    way.purge("app-fail")
    assert registry(root, X) == BOTH
    sound(root)


def test_a_removal_releases_what_nobody_else_uses(way):
    way.install(ALL)
    way.remove("app-b")
    forgotten(way.root, K, X)
    assert registry(way.root, X) == {STATIC: ("S", set()), "vfat": ("1", {"app-a"}), "overlay": ("1", {"app-a"})}


def test_software_all_gone_leaves_the_static_entries_and_no_litter(way):
    root = way.root
    way.install(ALL)
    way.purge(f"app-a app-b {REGISTRY}")
    unknown(root, K)
    root.sh("apt-get -y autoremove; apt-get -y autoremove")
    forgotten(root, K, X)
    assert registry(root, X) == {STATIC: ("S", set())}
    if isinstance(way, Apt):  # the modules package came by itself, and goes with all that it brought
        assert not stand_ins(root)
        assert "installed" not in root.sh("dpkg-query -W -f '${db:Status-Status}' kmod").out


def test_the_modules_package_comes_back_and_goes_again(way):
    root = way.root
    way.install(ALL)
    for _ in range(2):
        way.install(K)
        installed(root, K)
        assert not stand_ins(root)
        assert "xfs" in root.sh(f"modprobe -S {X} --show-depends xfs").out
        root.sh("dpkg --audit; apt-get check")
        root.sh(f"limopack --apply --pkname={K}")
        right(root)


def test_the_modules_package_can_leave_the_proper_way_too(way):
    root = way.root
    way.install(ALL)
    way.purge("app-a app-b " + REGISTRY)
    way.install(K)
    way.purge(K)
    root.sh("apt-get -y autoremove; apt-get -y autoremove")
    unknown(root, K)
    sound(root)


def test_an_owner_of_multi_arch_same_is_named_with_its_architecture(way):
    root = way.root
    way.install(f"{K_SAME} app-same")
    arch = root.sh("dpkg --print-architecture").out.strip()
    forgotten(root, K_SAME, Y)
    assert registry(root, Y) == {"isofs": ("1", {f"app-same:{arch}"})}
    modules_right(root, Y)
    way.reinstall("app-same")
    assert registry(root, Y) == {"isofs": ("1", {f"app-same:{arch}"})}
    way.remove("app-same")
    assert registry(root, Y) == {}
    root.sh("apt-get -y autoremove; apt-get -y autoremove")
    sound(root)


def test_two_kernels_are_pruned_each_by_its_own_registry(way):
    root = way.root
    way.install(f"{ALL} {K_SAME} app-same")
    # One kernel has to keep what the other was never told of.
    assert f"nothing keeps them here: {STATIC}" in root.sh("limopack --settle", ok=(1,)).err
    root.sh(f"limopack --install --static --use={STATIC} && limopack --settle")
    forgotten(root, K, X)
    forgotten(root, K_SAME, Y)
    assert "isofs" in registry(root, Y)
    for kernel in (X, Y):
        modules_right(root, kernel)
