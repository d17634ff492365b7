"""`--list --firmware` on Debian's kernels and firmware, against kmod's `modinfo` and a model.

Owns the promise that nothing which a module may ask for is missing from the list, in each way in which
modules and firmware are stored, and that whatever is listed besides is in the table of hidden needs.
"""
import functools
import glob
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import fetch
import tools
import trees

# Kernel: release of kmod, where its firmware is from, and packages of that.
SOURCES = {
    "bookworm": ("30", "bookworm", "amd64"),
    "armmp": ("30", "bookworm", "armhf"),
    "trixie": ("34", "trixie", "amd64"),
    "forky": ("34", "trixie", "amd64"),
}
PACKAGES = {
    "bookworm": """amd64-microcode firmware-amd-graphics firmware-atheros firmware-bnx2
        firmware-brcm80211 firmware-cavium firmware-intel-sound firmware-iwlwifi firmware-libertas
        firmware-misc-nonfree firmware-netronome firmware-qcom-soc firmware-qlogic firmware-realtek
        firmware-sof-signed firmware-ti-connectivity intel-microcode raspi-firmware""".split(),
    "trixie": """firmware-amd-graphics firmware-atheros firmware-brcm80211 firmware-intel-graphics
        firmware-intel-misc firmware-intel-sound firmware-iwlwifi firmware-mediatek
        firmware-misc-nonfree firmware-qcom-soc firmware-realtek firmware-sof-signed""".split(),
}
# Modules of Debian's 6.1 that ask for firmware and name none, and why the table need not know it.
UNNAMED = {
    "their users name it": """ath9k ath10k_core b2c2_flexcop bttv dvb_bt8xx dvb_usb dvb_usb_v2 ezusb intel_qat kvmgt
        libertas libsas mt7615_common mt76_connac_lib mt7921_common mwifiex rsi_91x rt2x00lib rtlwifi
        rtw88_core rtw89_core drm_display_helper cx88_blackbird r8723bs ipr smsusb ngene pluto2
        rmi_core""",
    "its receiver comes with dvb_core": "cx24116 drxd drxk nxt200x or51132 tda10048",
    "a program says which": """comedi dell_rbu lpfc mlx5_core be2net i40e bnxt_en pm80xx elan_i2c cyapatp
        atmel_mxt_ts nxp_nci test_firmware snd_hda_intel ptp_clockmatrix softing adf7242 vub300
        snd_soc_rt5514 snd_soc_rt5677 snd_soc_max98390 snd_soc_wm_adsp hci_nokia saa7164 speedtch
        cxacru""",
}
ON_BOOKWORM = pytest.mark.parametrize("system", ["bookworm"], indirect=True)


def table():
    """Module or pattern → names, of the rows that the program has."""
    rows = {}
    text = (fetch.TOP / "src/needs/hidden.rs").read_text()
    for modules, names in re.findall(r'^    \("([^"]*)", "([^"]*)", "', text.split("pub const FIRMWARE")[1], re.M):
        for module in modules.split():
            rows.setdefault(module, []).extend(names.split())
    assert len(rows) > 20
    return rows


@pytest.fixture(scope="module", params=list(SOURCES))
def system(request, pristine, scratch, tmp_path_factory):
    """A root with a kernel and firmware, and a `modinfo` in PATH that reads it."""
    name = request.param
    release, suite, arch = SOURCES[name]
    root = trees.copy(pristine(name, release), scratch / f"firmware-{name}")
    firmware = root / "usr/lib/firmware"
    # What is in the files does not matter.
    for package in fetch.debs(suite, arch, [p for p in PACKAGES[suite] if "microcode" not in p or arch == "amd64"]):
        listing = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE, check=True)
        subprocess.run(["tar", "-x", "-C", root, "--wildcards", "--keep-directory-symlink",
                        "--transform=s,^./lib/firmware,usr/lib/firmware,", "*/lib/firmware/*"],
                       input=listing.stdout, check=True)
    yield System(root, release, tmp_path_factory.mktemp("bin"), firmware)
    shutil.rmtree(root)


class System:
    def __init__(self, root, release, place, firmware):
        self.root, self.firmware, self.vdir = root, firmware, trees.directory(root)
        self.kmod = fetch.kmod(release)
        words = " ".join(self.kmod.argv("modinfo"))
        (place / "modinfo").write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        (place / "modinfo").chmod(0o755)
        # A file for --from with every module.
        self.names = place / "names"
        self.names.write_text("".join(f"{Path(path).name}\n" for path in trees.modules(self.vdir)))
        self.env = dict(os.environ, PATH=f"{place}:{os.environ['PATH']}")

    def argv(self, *args, kernel=None):
        return [tools.binary(), f"--root={self.root}", f"--kernel={kernel or self.vdir.name}", *args]

    def listed(self, *args, kernel=None):
        return tools.run(*self.argv("--list", *args, kernel=kernel), env=self.env).stdout.splitlines()

    def run(self, *args, code=0):
        return tools.run(*self.argv(*args), env=self.env, code=code)

    def path_of(self, name):
        """The path of a module, if the kernel has it."""
        paths = (path for path in trees.modules(self.vdir) if Path(path).name.startswith(f"{name}.ko"))
        return next(paths, None)

    @functools.cached_property
    def named(self):
        """Module, by its path → what kmod says that it names."""
        paths = sorted(trees.modules(self.vdir))
        done = tools.run(*self.kmod.argv("modinfo", *(self.vdir / path for path in paths)))
        named = {path: [] for path in paths}
        for key, value in re.findall(r"^(filename|firmware): *(.*)$", done.stdout, re.M):
            if key == "filename":
                names = named[os.path.relpath(value, self.vdir)]
            else:
                names.append(value)
        return named

    def needed(self, names):
        """The files and links that these names mean."""
        found = set()
        for name in names:
            for suffix in ("", ".xz", ".zst"):
                for path in glob.iglob(str(self.firmware / name) + suffix):
                    self._below(Path(path), found)
        return found

    def _below(self, path, found):
        self._way(path, found)
        if path.is_dir():
            for inner in path.resolve().iterdir():
                self._below(inner, found)

    def _way(self, path, found):
        """Every link on the way to a path, and what is there."""
        at, rest = self.firmware, Path(path).relative_to(self.firmware).parts
        while rest:
            part, rest = rest[0], rest[1:]
            if part == "..":
                at = at.parent
            elif (at / part).is_symlink():
                found.add(str((at / part).relative_to(self.firmware)))
                rest = Path(os.readlink(at / part)).parts + rest
                if rest[0] == "/":
                    return
            else:
                at = at / part
        if at.is_file():
            found.add(str(at.relative_to(self.firmware)))


def test_each_module_gets_all_that_kmod_says(system):
    """Alone, so that no module hides what another one lacks."""
    rows = table()
    naming = [path for path, names in system.named.items() if names]
    assert len(naming) > 60
    wrong = {}
    for path in naming:
        name = Path(path).name.split(".ko")[0]
        closure = system.listed(f"--use={name}")
        own = [Path(module).name.split(".ko")[0].replace("-", "_") for module in closure]
        names = {name for path in closure for name in system.named[path]}
        names.update(row for module in own for row in rows.get(module, []))
        listed, needed = system.listed(f"--use={name}", "--firmware"), system.needed(names)
        assert listed == sorted(set(listed))
        if set(listed) != needed:
            wrong[name] = sorted(set(listed) ^ needed)[:5]
    assert not wrong, f"{len(wrong)}: {dict(list(wrong.items())[:8])}"


def test_files_may_be_compressed(system, scratch):
    """The same list with suffixes; links lead to what has one, as Debian's do."""
    place, other = system.firmware, scratch / "compressed"
    plain = system.listed(f"--from={system.names}", "--firmware")
    ends, moved = {}, {}
    for number, path in enumerate(sorted(place.rglob("*"))):
        if path.is_file() and not path.is_symlink():
            ends[path] = (".xz", ".zst")[number % 2]
    for path in place.rglob("*"):
        end = ends.get(path.resolve(), "")
        name = str(path.relative_to(place))
        moved[name] = name + end
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            (other / moved[name]).symlink_to(os.readlink(path) + end)
        elif path.is_file():
            (other / moved[name]).touch()
    place.rename(f"{place}.plain")
    other.rename(place)
    try:
        listed = system.listed(f"--from={system.names}", "--firmware")
        assert listed == sorted(moved[path] for path in plain)
    finally:
        shutil.rmtree(place)
        Path(f"{place}.plain").rename(place)


@ON_BOOKWORM
def test_modules_may_be_compressed_by_zstd(system, scratch):
    """What Ubuntu's are, which Debian has no kernel with."""
    root = trees.copy(system.root, scratch / "zstd")
    vdir = trees.directory(root)
    paths = [path for path, names in system.named.items() if names]
    names = {path: system.listed(f"--use={Path(path).stem}", "--firmware") for path in paths[::8]}
    zstd = fetch.with_dependencies("bookworm", "amd64", "zstd")
    library = zstd / "usr/lib/x86_64-linux-gnu"
    for path in vdir.rglob("*.ko"):
        tools.run(library / "ld-linux-x86-64.so.2", "--library-path", library, zstd / "usr/bin/zstd", "-q", "-1",
                  path, "-o", f"{path}.zst")
        path.unlink()
    fetch.kmod("30").depmod(root, vdir.name)
    other = System(root, "30", scratch, root / "usr/lib/firmware")
    for path, listed in names.items():
        assert other.listed(f"--use={Path(path).stem}", "--firmware") == listed
    shutil.rmtree(root)


@ON_BOOKWORM
def test_busybox_reads_the_same(system, scratch):
    """Its `modinfo`, as an initramfs has it. It insists on an index of the kernel that runs."""
    root = trees.copy(system.root, scratch / "busybox")
    (root / "bin").mkdir()
    shutil.copy(fetch.busybox(), root / "bin/busybox")
    (root / "bin/modinfo").symlink_to("busybox")
    shutil.copy(tools.binary(), root / "bin/limopack")
    running = root / "lib/modules" / os.uname().release
    running.mkdir()
    (running / "modules.dep").touch()
    for name in ("iwlwifi", "r8169", "brcmfmac", "rtw88_8822ce"):
        wanted = system.listed(f"--use={name}", "--firmware")
        done = tools.run("/usr/sbin/chroot", root, "/bin/limopack", "--list", f"--use={name}", "--firmware",
                         f"--kernel={system.vdir.name}", env={"PATH": "/bin"})
        assert wanted and done.stdout.splitlines() == wanted
    # The recipe of the page, for what is registered and what stays without a module that asks; busybox's
    # tar has no -T.
    page = (fetch.TOP / "src/cli/manual/limopack-integration.7.in").read_text()
    script = re.search(r"(?s)^\.Ss Firmware of an image\n.*?^\.Bd -literal.*?\n(.*?)^\.Ed", page, re.M)[1]
    (root / "lib/modules" / system.vdir.name / "modules.active").write_text("#! base\niwlwifi:S\n")
    listing, packing = script.splitlines()
    tools.run("/usr/sbin/chroot", root, "/bin/busybox", "sh", "-ec", listing, env={"PATH": "/bin"})
    tools.run("sh", "-ec", packing.replace(" /lib", f" {root}/lib"), cwd=root)
    packed = tools.run("tar", "-tf", root / "firmware.tar").stdout.splitlines()
    assert set(system.listed("--use=iwlwifi", "--firmware")) < set(packed)
    assert any(path.startswith("intel-ucode/") for path in packed)
    assert not any(path.startswith("amdgpu/") for path in packed)
    shutil.rmtree(root)


@ON_BOOKWORM
def test_what_another_mount_has_is_left_out_with_a_warning(system):
    """Nothing says that it belongs to this system."""
    script = 'mount -t tmpfs none "$1"; touch "$1/rtl8168g-2.fw"; shift; exec "$@"'
    listed = system.listed("--use=r8169", "--firmware")
    assert listed and all(path.startswith("rtl_nic/") for path in listed)
    command = tools.argv(system.root, "--list", "--use=r8169", "--firmware")
    done = tools.run("unshare", "--mount", "sh", "-ec", script, "sh", system.firmware / "rtl_nic", *command,
                     env=system.env)
    assert done.stdout == ""
    assert "lib/firmware/rtl_nic belongs to another mount and is left alone" in done.stderr


@ON_BOOKWORM
def test_no_module_asks_for_what_nobody_knows(system):
    """Of those of Debian's 6.1, by the functions of the kernel that load firmware."""
    known = set(table()) | {name for names in UNNAMED.values() for name in names.split()}
    unknown = []
    for path, names in system.named.items():
        data = (system.vdir / path).read_bytes()
        is_asking = re.search(rb"\0(_?request_(partial_)?firmware|firmware_request_)[a-z_]*\0", data)
        if is_asking and not names:
            closure = system.listed(f"--use={Path(path).stem}")
            if not known & {Path(module).stem.replace("-", "_") for module in closure}:
                unknown.append(path)
    assert not unknown


DRIVERS = "iwlwifi i915 r8169 btusb brcmfmac hci_uart bnx2 snd-sof-pci-intel-tgl".split()
COMES_BACK, REGISTERED = "rt2800usb", "rtl8192cu"


@pytest.fixture
def machine(system, scratch):
    """A copy whose kernel keeps a few drivers."""
    def link(source, target):
        (os.link if "/lib/firmware/" in source else trees.link_modules)(source, target)
    root = trees.copy(system.root, scratch / "pruned", link)
    tools.limopack(root, "--install", "--static", f"--use={','.join(filter(system.path_of, DRIVERS))}")
    active = trees.directory(root) / "modules.active"
    active.write_text(f"#! base\n{active.read_text()}")
    place = scratch / "bin"
    place.mkdir(exist_ok=True)
    yield System(root, system.kmod.release, place, root / "usr/lib/firmware")
    shutil.rmtree(root)


def all_files(firmware):
    """Files and links, relative; what is parked is none."""
    paths = (path for path in firmware.rglob("*") if path.is_symlink() or not path.is_dir())
    return {str(path.relative_to(firmware)) for path in paths if ".parked" not in path.parts}


def test_what_stays_is_what_the_modules_that_stay_ask_for(machine):
    """By kmod's records of what is on disk after the prune; what else stays is what the list says."""
    before, listed = all_files(machine.firmware), machine.listed("--firmware")
    whole = {path for path in before if (machine.firmware / path).exists()}
    planned = machine.run("--prune", "--firmware", "--dry-run").stdout
    assert all_files(machine.firmware) == before
    machine.run("--prune", "--firmware")
    left = all_files(machine.firmware)
    assert left == set(listed) and 10 < len(left) < len(before) / 2
    assert set(re.findall(r"^delete \S*/lib/firmware/(.*) \d+$", planned, re.M)) == before - left
    assert not [path for path in left & whole if not (machine.firmware / path).exists()], "a link lost its target"
    names = {name for names in machine.named.values() for name in names}
    assert names and machine.needed(names) <= left
    assert not [path for path in machine.firmware.rglob("*") if path.is_dir() and not os.listdir(path)]
    assert "firmware: nothing to delete" in machine.run("--prune", "--firmware").stderr


def test_all_that_was_there_is_there_for_what_stays(system, machine):
    """Each name of a module that stays leads to the same files, before and after."""
    machine.run("--prune", "--firmware")
    for path in trees.modules(machine.vdir):
        assert machine.needed(system.named[path]) == system.needed(system.named[path]), path


def test_a_park_of_firmware_is_taken_back(system, machine):
    before = trees.snapshot(machine.root)
    machine.run("--prune", "--firmware", "--park")
    left = all_files(machine.firmware)
    for name, command in ((COMES_BACK, ["--restore"]), (REGISTERED, ["--install", "--owner=one"])):
        machine.run(*command, f"--use={name}")
        asked = system.needed(system.named[system.path_of(name)])
        assert asked and asked <= all_files(machine.firmware) and not asked & left
    machine.run("--remove", "--owner=one")
    machine.run("--restore")
    assert trees.snapshot(machine.root) == before
    # A prune without --park deletes what is parked, too.
    machine.run("--prune", "--firmware", "--park")
    machine.run("--prune", "--firmware")
    assert all_files(machine.firmware) == left and not (machine.firmware / ".parked").exists()


@ON_BOOKWORM
def test_another_kernel_keeps_what_its_modules_ask_for(machine, pristine):
    """One that has no base, and is not pruned, asks with all that it has."""
    other = trees.directory(pristine("cloud", "30"))
    shutil.copytree(other, machine.vdir.parent / other.name, symlinks=True)
    mine = set(machine.listed("--firmware"))
    machine.names.write_text("".join(f"{Path(path).name}\n" for path in trees.modules(other)))
    theirs = set(machine.listed(f"--from={machine.names}", "--firmware", kernel=other.name))
    assert theirs - mine
    machine.run("--prune", "--firmware")
    assert all_files(machine.firmware) == mine | theirs


@ON_BOOKWORM
def test_nothing_is_deleted_where_something_is_not_known(machine):
    before = trees.snapshot(machine.root)
    own = machine.vdir
    prune = ["--prune", "--firmware"]

    def refused(message, *command, env=None):
        done = tools.run(*(command or machine.argv(*prune)), env=env or machine.env, code=1)
        assert message in done.stderr, done.stderr
        assert trees.snapshot(machine.root) == before

    # No modinfo.
    refused("cannot run modinfo: No such file", env={"PATH": "/nowhere"})
    # A module that stays is cut, or is another file.
    module = own / machine.path_of("iwlwifi")
    whole = module.read_bytes()
    for cut in (whole[:1000], b"", b"firmware=x\0" * 100):
        module.unlink()
        module.write_bytes(cut)
        before = trees.snapshot(machine.root)
        refused("modinfo could not read every module")
    module.unlink()
    module.write_bytes(whole)
    # A kernel that was copied there, before depmod.
    stray = own.parent / "9.9/kernel/x.ko"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(whole)
    before = trees.snapshot(machine.root)
    refused("no kernel 9.9: no modules.dep in ")
    shutil.rmtree(own.parent / "9.9")
    # Nothing says what is built in asks for.
    records = own / "modules.builtin.modinfo"
    text = records.read_bytes()
    records.unlink()
    before = trees.snapshot(machine.root)
    refused("no modules.builtin.modinfo says what it asks for; --force overrides this")
    records.write_bytes(text)
    # The firmware is elsewhere.
    before = trees.snapshot(machine.root)
    mount = ["unshare", "--mount", "sh", "-ec", 'mount -t tmpfs none "$1"; shift; exec "$@"', "sh"]
    command = machine.argv(*prune)
    refused("lib/firmware is a link or another mount, which is not pruned", *mount, machine.firmware, *command)
    machine.firmware.rename(machine.root / "firmware")
    machine.firmware.symlink_to("../../firmware")
    before = trees.snapshot(machine.root)
    refused("lib/firmware is a link or another mount, which is not pruned")
    machine.firmware.unlink()
    (machine.root / "firmware").rename(machine.firmware)
    # And all that was refused is done when nothing is in the way.
    assert "firmware: removed" in machine.run(*prune).stderr


@ON_BOOKWORM
def test_a_mount_below_is_left_alone(machine):
    place = machine.firmware / "amdgpu"
    script = 'mount -t tmpfs none "$1"; touch "$1/x"; place=$1; shift; "$@"; test -e "$place/x"'
    done = tools.run("unshare", "--mount", "sh", "-ec", script, "sh", place, *machine.argv("--prune", "--firmware"),
                     env=machine.env)
    assert "lib/firmware/amdgpu belongs to another mount and is left alone" in done.stderr
    assert place.is_dir() and os.listdir(place)


@ON_BOOKWORM
def test_why_and_check_speak_of_firmware(machine):
    name = next(path for path in machine.listed("--firmware") if path.startswith("rtl_nic/rtl8168g-2"))
    said = machine.run("--why", "--firmware", f"--use={name},amdgpu/yellow_carp_ce.bin,none.bin").stdout
    assert said == f"{name}: r8169.ko asks for it\namdgpu/yellow_carp_ce.bin: nothing asks for it\nnone.bin: not on disk\n"
    gone = sum(os.lstat(machine.firmware / path).st_size for path in
               all_files(machine.firmware) - set(machine.listed("--firmware")))
    said = machine.run("--check", "--firmware", code=1).stdout
    assert re.search(rf"^unpruned\t\tfirmware\t\d+ files, {gone} bytes$", said, re.M), said
    machine.run("--prune", "--firmware", "--park")
    said = machine.run("--check", "--firmware", code=None).stdout
    assert re.search(rf"^parked\t\tfirmware\t\d+ files, {gone} bytes; see --restore$", said, re.M), said
    assert "unpruned\t\tfirmware" not in said
    # Hardware that is there, and of which every file is missing.
    device = machine.root / "sys/devices/pci0000:00/0000:00:1c.0"
    device.mkdir(parents=True)
    (device / "uevent").write_text("MODALIAS=pci:v000010ECd00008168sv00001849sd00008168bc02sc00i00\n")
    (device / "modalias").write_text("pci:v000010ECd00008168sv00001849sd00008168bc02sc00i00\n")
    assert "firmware\t\t" not in machine.run("--check", "--firmware", code=None).stdout
    shutil.rmtree(machine.firmware / "rtl_nic")
    said = machine.run("--check", "--firmware", code=None).stdout
    assert re.search(r"^firmware\t\tr8169\tnothing is there of what it asks for, such as rtl_nic/.*\.fw$", said, re.M), said
