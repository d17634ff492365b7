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

    def listed(self, *args):
        return tools.run(*tools.argv(self.root, "--list", *args), env=self.env).stdout.splitlines()

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
