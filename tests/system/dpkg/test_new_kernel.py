"""A machine gets its next kernel: Debian's own packages, and the generators that make its initramfs.

Owns the proof that the hooks for kernels, initramfs-tools and dracut do their work where they are
called for real: the registry is carried over before an initramfs is made of it.
"""

import re
import shutil
from dataclasses import dataclass, replace

import pytest

import fetch
import model
import packages
from checks import files, installed, registry, snapshot, unchanged
from packages import ARCH, CLOUD
from tools import binary, run

# What the file systems of fstab ask for.
BOOTED = ["xfs", "udf"]
OWNERS = {"overlay": "myapp", "vfat": "myapp", "wireguard": "otherapp"}


@dataclass(frozen=True)
class Upgrade:
    """From one suite's kernel to another's, and what is known to differ between them."""
    old: str
    new: str
    renamed: tuple     # a module and its heir
    built_in: str      # a module of the old, part of the new
    gone: str
    unbuilt: tuple     # parts of the old, modules of the new; not all


# By the suite of the machine: the kernel of a backport, and the suite's own.
UPGRADES = {
    "bookworm": Upgrade("bookworm", "trixie", ("diag", "tipc_diag"), "virtio_pci", "cfb",
                        ("mq_deadline", "deflate")),
    "forky": Upgrade("trixie", "forky", ("chacha_generic", "chacha"), "hv_vmbus", "libcrc32c",
                     ("ctr", "jitterentropy_rng")),
}


@dataclass(frozen=True)
class Generator:
    """Makes an initramfs, and says what is in it; our hook for it."""
    make: str
    show: str
    hook: str


GENERATORS = {
    "initramfs-tools": Generator("update-initramfs -c -k {version}", "lsinitramfs {image}",
                                 "usr/share/initramfs-tools/hooks/limopack"),
    "dracut": Generator("dracut --force --no-compress {image} {version}", "lsinitrd {image}",
                        "usr/lib/dracut/modules.d/90limopack/module-setup.sh"),
}


def image_package(suite):
    """The package of the suite's newest kernel, and all of the kernel's that come with it."""
    needed = [name for name in fetch.dependencies(suite, ARCH, CLOUD) if name.startswith("linux-")]
    return next(name for name in needed if re.match(r"linux-image-\d", name)), needed


def fill(root, out):
    """An archive with the kernels, the generators, and what they need."""
    out.mkdir(parents=True)
    present = set(root.sh("dpkg-query -W -f '${Package}\\n'").out.split())
    needed = {name for package in (*GENERATORS, "zstd") for name in fetch.dependencies(root.suite, ARCH, package)}
    for deb in fetch.debs(root.suite, ARCH, sorted(needed - present)):
        shutil.copy(deb, out)
    upgrade = UPGRADES[root.suite]
    for suite in (upgrade.old, upgrade.new):
        for name in image_package(suite)[1]:
            shutil.copy(fetch.deb(suite, ARCH, name), out)
    packages.deb(out, "no-initramfs", arch="all", Provides="linux-initramfs-tool")
    packages.index(out)
    packages.sources(root, "debian")


@dataclass
class Machine:
    """A root with two kernels, and what the second one's installation said."""
    root: object
    generator: Generator
    upgrade: Upgrade
    old: str
    new: str
    said: object = None

    @property
    def index(self):
        return model.Index(self.root / f"lib/modules/{self.new}")

    @property
    def registry(self):
        return self.root / f"lib/modules/{self.new}/modules.active"

    def kept(self):
        """What the registered modules of the new kernel need, and they themselves."""
        return self.index.stays(registry(self.root, self.new))

    def boot(self):
        """What limopack lists for the boot of the new kernel."""
        listed = self.root.sh(f"limopack --list --boot --kernel={self.new}").out
        return {model.name_of(line) for line in listed.splitlines()}

    @property
    def image(self):
        return f"/boot/initrd.img-{self.new}"

    def make_image(self, ok=(0,)):
        return self.root.sh(self.generator.make.format(image=self.image, version=self.new), ok=ok)

    def in_image(self):
        """The names of the modules in the new kernel's initramfs."""
        shown = self.root.sh(self.generator.show.format(image=self.image)).out
        return {model.name_of(word) for word in shown.split() if re.search(r"\.ko(\.[a-z]+)?$", word)}


@pytest.fixture(scope="session", params=UPGRADES)
def first(request, roots):
    """One kernel and its registry, limopack as `make install` puts it; for reading only."""
    with roots.fresh(request.param) as root:
        fill(root, root / "repo/debian")
        upgrade = UPGRADES[root.suite]
        old = image_package(upgrade.old)[0]
        root.sh(f"apt-get -y install no-initramfs {old}")
        run("make", "-C", fetch.TOP, "install", f"BIN={binary()}", "PREFIX=/usr", f"DESTDIR={root.path}")
        root.sh(f"limopack --install --static --use=nf_tables,{upgrade.built_in},{upgrade.gone}\n"
                f"limopack --install --use={upgrade.renamed[0]} --owner=otherapp\n"
                + "\n".join(f"limopack --install --use={name} --owner={owner}" for name, owner in OWNERS.items()))
        (root / "etc/fstab").write_text("UUID=1 /srv xfs defaults 0 2\nUUID=2 /data udf iocharset=utf8 0 2\n")
        # Without it dracut takes the drivers of every machine, those of the boot among them.
        (root / "etc/dracut.conf.d").mkdir()
        (root / "etc/dracut.conf.d/host.conf").write_text("hostonly=yes\n")
        yield root


@pytest.fixture(scope="session", params=GENERATORS)
def upgraded(request, first, roots):
    """The same with a generator, and the second kernel installed; for reading only."""
    upgrade = UPGRADES[first.suite]
    old, new = (image_package(suite)[0].removeprefix("linux-image-") for suite in (upgrade.old, upgrade.new))
    with roots.copy(first) as root:
        root.sh(f"apt-get -y --no-install-recommends install {request.param} zstd")
        machine = Machine(root, GENERATORS[request.param], upgrade, old, new)
        machine.said = root.sh(f"apt-get -y --no-install-recommends install linux-image-{new}")
        yield machine


@pytest.fixture(scope="session")
def unaided(upgraded, roots):
    """The modules of an initramfs that the generator makes by its own rules alone."""
    with roots.copy(upgraded.root) as root:
        machine = replace(upgraded, root=root)
        (root / machine.generator.hook).unlink()
        machine.make_image()
        return machine.in_image()


@pytest.fixture
def machine(upgraded, roots):
    """A machine of the test's own."""
    with roots.copy(upgraded.root) as root:
        yield replace(upgraded, root=root)


def test_the_registry_goes_over_by_name_and_by_alias(upgraded):
    upgrade, carried = upgraded.upgrade, registry(upgraded.root, upgraded.new)
    owned = {**OWNERS, upgrade.renamed[1]: "otherapp"}
    assert {name: carried.pop(name) for name in owned} == {name: ("1", {owner}) for name, owner in owned.items()}
    assert carried.pop("nf_tables") == ("S", set())
    # What was part of the old kernel and is a module now had always been there.
    old = model.Index(upgraded.root / f"lib/modules/{upgraded.old}")
    assert carried == {name: ("S", set()) for name in old.builtin & upgraded.index.path.keys()}
    assert {*upgrade.unbuilt} <= carried.keys()


def test_what_went_over_in_another_way_or_not_at_all_is_reported(upgraded):
    upgrade, said = upgraded.upgrade, upgraded.said.out + upgraded.said.err
    new = re.escape(upgraded.new)
    assert f"limopack: {upgrade.renamed[1]} has aliases of {upgrade.renamed[0]} in kernel {upgraded.new}\n" in said
    for line in (rf"limopack: built into kernel {new}, not registered: .*\b{upgrade.built_in}\b",
                 rf"limopack: warning: not in kernel {new}, not registered: .*\b{upgrade.gone}\b",
                 rf"limopack: no longer built in with kernel {new}: "):
        assert re.search(line, said), said


def version_of(root):
    """The one kernel of a root."""
    version, = (path.name for path in (root / "lib/modules").iterdir())
    return version


def test_the_registry_is_that_of_the_running_and_the_newest_kernel(first, roots):
    """A purged kernel had left its registry, the newest of all, and it alone was carried over."""
    with roots.copy(first) as root:
        old, new, gone, running = version_of(root), "99.0-new", "98.0-gone", root.sh("uname -r").out.strip()
        root.sh(f"cd /lib/modules; cp -a {old} {new}; rm {new}/modules.active; mkdir {gone} {running}\n"
                f"echo dummy:S > {gone}/modules.active; printf 'tun:1\\n#@ tun late\\n' > {running}/modules.active")
        root.sh(f"run-parts --exit-on-error --arg={new} /etc/kernel/postinst.d")
        assert registry(root, new) == {**registry(root, old), "tun": ("1", {"late"})}
        (root / f"lib/modules/{running}/modules.active").write_text("damaged\0\n")
        (root / f"lib/modules/{new}/modules.active").unlink()
        said = root.sh(f"run-parts --exit-on-error --arg={new} /etc/kernel/postinst.d")
        assert f"the registry of {running} was not carried over" in said.err, said
        assert registry(root, new) == registry(root, old)


def test_a_new_kernel_beside_a_pruned_one_is_said_to_be_whole(first, roots):
    """A point release brought four thousand modules back, and nobody noticed."""
    with roots.copy(first) as root:
        old, new = version_of(root), "99.0-new"
        root.sh(f"cd /lib/modules; cp -a {old} {new}")
        hint = f"limopack: kernel {new} is not pruned, unlike {old}: limopack --prune --kernel={new} does it"
        for prune, is_said in (("true", False), (f"limopack --prune --kernel={old}", True),
                               (f"limopack --prune --keep-pruned --kernel={old}", False)):
            said = root.sh(f"{prune}; rm /lib/modules/{new}/modules.active\n"
                           f"run-parts --exit-on-error --arg={new} /etc/kernel/postinst.d")
            assert (hint in said.out) == is_said, said


@pytest.mark.parametrize("prune", [False, True], ids=["whole", "pruned"])
def test_a_purged_kernel_leaves_nothing(first, roots, prune):
    with roots.copy(first) as root:
        old = version_of(root)
        if prune:
            root.sh(f"limopack --prune --kernel={old} --force")
        (root / f"lib/modules/{old}/.modules.dep.limopack-old").touch()
        root.sh(f"apt-get -y remove linux-image-{old}")
        assert registry(root, old), "it may come back"
        said = root.sh(f"apt-get -y purge linux-image-{old}")
        assert not (root / f"lib/modules/{old}").exists(), said


def test_a_purged_kernel_whose_modules_were_forgotten_leaves_nothing(upgraded, roots):
    """Debian 14 has a package of its own for them, and another for what lies beside them."""
    new, modules = upgraded.new, f"linux-modules-{upgraded.new}"
    with roots.copy(upgraded.root) as root:
        if root.suite != "forky":
            assert modules not in root.sh("dpkg-query -W -f '${Package}\\n'").out.split()
            modules = f"linux-image-{new}"
        root.sh(f"limopack --apply --pkname={modules} --force")
        root.sh(f"apt-get -y purge linux-image-{new}; apt-get -y --purge autoremove", ok=None)
        # What only limopack knows of has no owner whose purge could tell.
        assert (root / f"lib/modules/{new}").exists() == (root.suite != "forky")
        assert root.sh("dpkg --audit").out == ""


def test_neither_kernel_loses_anything(upgraded, first):
    kernel = f"usr/lib/modules/{upgraded.old}"
    unchanged(snapshot(first, kernel), snapshot(upgraded.root, kernel))
    assert upgraded.root.sh("dpkg --verify; dpkg --audit").out == ""
    assert len(files(upgraded.root, upgraded.new)) > 500
    installed(upgraded.root, f"linux-image-{upgraded.new}")


def test_the_new_initramfs_has_what_the_boot_needs(upgraded, unaided):
    """And what the generator adds."""
    boot = upgraded.boot()
    assert upgraded.index.needs(BOOTED) <= boot
    assert boot - unaided, "nothing to be seen of the hook"
    assert upgraded.in_image() == boot | unaided
    # What is registered for later is not for the initramfs.
    assert upgraded.kept() - upgraded.in_image()


def test_an_initramfs_of_a_pruned_kernel_has_what_the_boot_needs(machine):
    boot = machine.boot()
    machine.root.sh(f"limopack --prune --kernel={machine.new}")
    machine.make_image()
    assert boot <= machine.in_image() <= files(machine.root, machine.new).keys()


def test_a_missing_module_takes_no_other_out_of_the_initramfs(machine, unaided):
    """One that is registered, and missing."""
    with open(machine.registry, "a") as text:
        text.write("nokia:S\n#@ nokia myapp\n")
    machine.make_image()
    assert machine.in_image() == machine.boot() | unaided


def test_without_an_answer_of_limopack_the_generator_goes_by_its_own_rules(machine, unaided):
    (machine.root / "usr/sbin/limopack").write_text("#!/bin/sh\nkill -KILL $$\n")
    said = machine.make_image()
    assert f"the initramfs is made without what the boot of {machine.new} needs" in said.err, said
    assert machine.in_image() == unaided


@pytest.mark.parametrize("upgraded", ["initramfs-tools"], indirect=True)
def test_an_initramfs_of_listed_modules_has_those_of_the_boot(machine):
    """MODULES=list: without limopack there would be none in it, and nothing that boots."""
    machine.root.sh("echo MODULES=list > /etc/initramfs-tools/conf.d/modules")
    machine.make_image()
    # That one is wanted by a hook of initramfs-tools itself.
    assert machine.in_image() - {"fan"} == machine.boot()
    image = machine.root / machine.image
    before = image.read_bytes()
    (machine.root / "usr/sbin/limopack").write_text("#!/bin/sh\nkill -KILL $$\n")
    said = machine.make_image(ok=(1,))
    assert f"the initramfs is made without what the boot of {machine.new} needs" in said.err, said
    assert image.read_bytes() == before


def modules_truthful(root, version):
    """dpkg's lists name the modules on disk and no others, and nothing is missing or changed."""
    listed = set()
    for file in (root / "var/lib/dpkg/info").glob("*.list"):
        listed |= {path.removeprefix("/usr") for path in file.read_text().splitlines()
                   if f"/lib/modules/{version}/kernel/" in path and path.endswith((".ko", ".ko.xz"))}
    on_disk = {f"/lib/modules/{version}/{path}" for path in files(root, version).values()}
    assert listed in (on_disk, set()), "those of a package that was forgotten belong to nobody"
    assert root.sh("dpkg --verify; dpkg --audit; apt-get -qq check").out == ""
    assert 0 < len(on_disk) < 400, len(on_disk)


def test_a_machine_that_is_kept_pruned_stays_so(first, roots):
    """Debian's linux-image owns the kernel and, until Debian 13, the modules: it was forgotten with both."""
    upgrade = UPGRADES[first.suite]
    old, new = (image_package(suite)[0].removeprefix("linux-image-") for suite in (upgrade.old, upgrade.new))
    with roots.copy(first) as root:
        said = root.sh("limopack --apply --keep-pruned --pkname='linux-image-*'")
        assert f"linux-image-{old}: trimmed, and not forgotten" in said.err, said
        modules_truthful(root, old)
        kept = files(root, old)

        said = root.sh(f"dpkg -i /repo/debian/linux-image-{old}_*.deb")
        assert f"kernel {old}: modules are back" in said.out + said.err, said
        assert files(root, old) == kept
        modules_truthful(root, old)

        said = root.sh(f"apt-get -y --no-install-recommends install linux-image-{new}")
        assert f"kernel {new}: modules are back" in said.out + said.err, said
        modules_truthful(root, new)
        modules_truthful(root, old)
        installed(root, f"linux-image-{new}")

        root.sh(f"apt-get -y purge linux-image-{old}")
        assert not (root / f"lib/modules/{old}").exists()
        assert not [path for path in (root / "boot").iterdir() if path.name.endswith(old)]
        modules_truthful(root, new)

        root.sh(f"apt-get -y purge linux-image-{new}; apt-get -y --purge autoremove")
        left = root.sh("find /lib/modules -mindepth 1", ok=None).out
        assert not left, left
        assert root.sh("dpkg --audit; apt-get -qq check").out == ""
