"""`--check` on a real kernel's tree: silent where all is well, and a line for each thing that is not.

Owns a machine on which all is well, made by limopack itself; each test breaks one thing, as it
breaks in practice, and expects the whole report.
"""
import os
import shutil

import pytest

import fetch
import model
import tools
import trees

ASKS = "asks for it, and this kernel does not know it"
REGISTRY = "btrfs:1\n#@ btrfs myapp\ne1000e:S\next4:S\n"
LOADED = "e1000e btrfs libcrc32c raid6_pq xor zstd_compress ext4 jbd2 mbcache crc16".split()
STATUS = "Package: myapp\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n\n"
NETWORK = "pci:v00008086d00005511sv00008086sd00000000bc02sc00i00"
SOUND = "pci:v00001D17d00003288sv00001D17sd00000000bc04sc03i00"
ALIASES = ("index", "modules.alias.bin", "an index and its text differ; run depmod")


class Machine:
    """A pruned kernel and what lies around it. Its parts are there for tests to change."""

    def __init__(self, root, whole):
        self.root, self.whole, self.version = root, model.Index(trees.directory(whole)), trees.version(root)
        self.vdir = trees.directory(root)
        self.write("proc/mounts", "/dev/sda1 / ext4 rw 0 0\n")
        self.loaded(*LOADED)
        self.write("sys/devices/pci0000:00/0000:00:1f.6/modalias", f"{NETWORK}\n")
        self.write("var/lib/dpkg/status", STATUS)
        self.registered(REGISTRY)
        tools.limopack(root, "--prune")

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def registered(self, text):
        (self.vdir / "modules.active").write_text(text)

    def loaded(self, *names):
        self.write("proc/modules", "".join(f"{name} 16384 0 - Live 0x0\n" for name in names))

    def path(self, module):
        return self.whole.path[module]

    def delete(self, module):
        (self.vdir / self.path(module)).unlink()

    def bring_back(self, module):
        to = self.vdir / self.path(module)
        to.parent.mkdir(parents=True, exist_ok=True)
        os.link(self.whole.vdir / self.path(module), to)

    def size(self, names):
        return sum((self.whole.vdir / self.path(name)).stat().st_size for name in names)

    def unpruned(self, names):
        return ("unpruned", "kernel", f"{len(names)} modules, {self.size(names)} bytes")

    def stale(self, module):
        return ("index", "modules.dep", f"in modules.dep, but not on disk; run depmod: 1, such as {self.path(module)}")

    def finds(self, *problems):
        """These problems, in this order, and nothing else."""
        rows = [f"{kind}\t{self.version}\t{name}\t{text}\n" for kind, name, text in problems]
        said = tools.run(tools.binary(), f"--root={self.root}", "--check", code=1 if rows else 0)
        assert said.stdout == "".join(rows)
        plural = "s" if len(rows) > 1 else ""
        assert said.stderr == (f"limopack: {len(rows)} problem{plural}\n" if rows else "")


@pytest.fixture
def machine(copy_of, pristine):
    return Machine(copy_of("bookworm"), pristine("bookworm"))


def test_where_all_is_well_nothing_is_said(machine):
    before = trees.snapshot(machine.root)
    machine.finds()
    assert trees.snapshot(machine.root) == before


def test_a_registered_module_that_the_kernel_never_had(machine):
    machine.registered(REGISTRY + "extt4:S\n")
    machine.finds(("missing", "extt4", "neither listed nor built in"))


def test_a_registered_module_that_is_built_in_is_no_problem(machine):
    assert "tcp_cubic" in machine.whole.builtin
    machine.registered(REGISTRY + "tcp_cubic:S\n")
    machine.finds()


def test_a_registered_module_that_was_deleted(machine):
    machine.delete("e1000e")
    machine.finds(("dependency", machine.path("e1000e"), f"{machine.path('e1000e')} is gone"), machine.stale("e1000e"))


@pytest.mark.parametrize("module, user", [("jbd2", "ext4"), ("blake2b_generic", "btrfs"), ("xxhash_generic", "btrfs")],
                         ids=["of modules.dep", "of a softdep", "that is hidden"])
def test_a_dependency_that_was_deleted(machine, module, user):
    machine.delete(module)
    machine.finds(("dependency", machine.path(module), f"{machine.path(module)} is gone, which {user} needs"),
                  machine.stale(module))


def test_a_module_that_came_without_a_run_of_depmod(machine):
    machine.bring_back("ftdi_sio")
    machine.finds(("index", "modules.dep",
                   f"on disk, but not in modules.dep; run depmod: 1, such as {machine.path('ftdi_sio')}"),
                  machine.unpruned(["ftdi_sio"]))


def test_an_index_that_was_not_made_with_the_text(machine):
    """As busybox's depmod leaves it: the text is new, the binary file is the old one."""
    fetch.kmod("30").depmod(machine.root, machine.version)
    old = (machine.vdir / "modules.dep.bin").read_bytes()
    machine.bring_back("ftdi_sio")
    fetch.kmod("30").depmod(machine.root, machine.version)
    machine.finds(machine.unpruned(["ftdi_sio"]))
    (machine.vdir / "modules.dep.bin").write_bytes(old)
    machine.finds(("index", "modules.dep.bin", "modules.dep and modules.dep.bin differ; run depmod: 1,"
                   f" such as {machine.path('ftdi_sio')}"), machine.unpruned(["ftdi_sio"]))


def test_aliases_of_modules_that_are_gone(machine):
    shutil.copy(machine.whole.vdir / "modules.alias", machine.vdir)
    kept = model.Index(machine.vdir)
    strange = [module for _, module in machine.whole.aliases if module not in kept.path]
    # A module's aliases are one after the other.
    machine.finds(("index", "modules.alias", "in modules.alias, but not in modules.dep; run depmod:"
                   f" {len(set(strange))}, such as {strange[-1]}"), ALIASES)


def test_aliases_whose_text_and_index_differ(machine):
    """Story: a byte of modules.alias.bin changed, and a prune deleted what was needed by that alias; where it was in
    modules.alias, a prune made an index without the alias of the damaged one. In a text, one that depmod leaves out
    of the index is no difference, nor is another order of the lines."""
    text = machine.vdir / "modules.alias"
    header, *lines = text.read_text().splitlines(keepends=True)
    text.write_text(header + "".join(reversed(lines)) + "alias usb:[ ext4\n")
    machine.finds()
    text.write_text(header + "".join(lines[1:]))
    machine.finds(ALIASES)
    text.unlink()
    machine.finds(ALIASES, ("damaged", "kernel", f"{machine.vdir}/modules.alias.bin has no text file to be made from; run depmod"))


def test_a_tree_that_was_not_pruned(copy_of, pristine):
    machine = Machine(copy_of("bookworm"), pristine("bookworm"))
    trees.copy(machine.whole.vdir / "kernel", machine.vdir / "kernel", lambda source, target: (
        os.path.exists(target) or os.link(source, target)))
    fetch.kmod("30").depmod(machine.root, machine.version)
    kept = machine.whole.stays(["ext4", "e1000e", "btrfs"])
    machine.finds(machine.unpruned(machine.whole.path.keys() - kept))


def test_what_is_loaded_and_not_registered(machine):
    machine.registered(REGISTRY.replace("e1000e:S\n", ""))
    machine.finds(("loaded", "e1000e", "loaded, but nothing registered keeps it"),
                  ("hardware", "e1000e", f"{NETWORK} asks for it, and nothing keeps it"), machine.unpruned(["e1000e"]))


def test_an_owner_that_is_no_longer_installed(machine):
    machine.write("var/lib/dpkg/status", STATUS.replace("install ok installed", "deinstall ok config-files"))
    machine.finds(("owner", "btrfs", "myapp is not installed"))


def test_an_owner_of_which_there_is_no_package_database_to_ask(machine):
    shutil.rmtree(machine.root / "var/lib/dpkg")
    machine.finds()


@pytest.mark.parametrize("mounts, fstab", [("/dev/sda1 / ext4 rw 0 0\n", ""),
                                           (None, "# <device> <at>\nUUID=1 / ext4 defaults 0 1\n")],
                         ids=["as it is mounted", "as it will be"])
def test_a_root_file_system_stays_though_nothing_is_registered_for_it(machine, mounts, fstab):
    (machine.root / "proc/mounts").unlink()
    if mounts:
        machine.write("proc/mounts", mounts)
    machine.write("etc/fstab", fstab)
    machine.registered("btrfs:1\n#@ btrfs myapp\ne1000e:S\n")
    machine.finds()


def test_a_root_file_system_that_the_kernel_does_not_know(machine):
    (machine.root / "proc/mounts").unlink()
    machine.write("etc/fstab", "tank/root / zfs defaults 0 0\n/dev/x /srv reiser4 defaults 0 0\n")
    machine.finds(("root", "fs-zfs zfs", f"the root file system {ASKS}"), ("boot", "fs-reiser4 reiser4", f"/etc/fstab {ASKS}"))
    assert "unknown to this kernel" in tools.limopack(machine.root, "--prune", code=1).stderr


def test_a_package_that_waits_to_be_forgotten(machine):
    machine.write("var/lib/limopack/pending", f"myapp stand-in {machine.version}\n")
    machine.finds(("pending", "myapp", "see --settle"))


def test_hardware_that_only_another_kernel_can_serve(machine, pristine):
    """A card that was put in after the prune; nobody has a driver for the other two."""
    for at, alias in enumerate((SOUND, "pci:v0000FFFFd0000FFFFsv0sd0bcFFscFFiFF", "acpi:NOBODY:")):
        machine.write(f"sys/devices/pci0000:00/{at}/modalias", f"{alias}\n")
    machine.finds()
    sibling = pristine("trixie", "34")
    trees.copy(trees.directory(sibling), machine.root / f"lib/modules/{trees.version(sibling)}")
    machine.finds(("alias", SOUND, f"kernel {trees.version(sibling)} has snd_hda_intel"))
