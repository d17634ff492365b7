"""Real boots: what a prune with --firmware leaves is what a running driver asks for.

Owns the proof on a running kernel that firmware which stays, or comes back, is loaded from where it
lies. The driver of qemu's card does not open it without its microcode. An image that was pruned
elsewhere opens the card and gets an answer over it, and does not where the firmware is gone. A
machine that parked driver and firmware takes both back, and then deletes the rest.
"""
import dataclasses
import shutil
import tempfile
from pathlib import Path

import pytest

import boot
import fetch
import tools
import trees
from test_firmware import System, all_files

MACHINE = dataclasses.replace(boot.MACHINES["x86-64"], kernel="bookworm",
                              title="Debian 12, amd64 (qemu q35, i82551)")
# qemu's own network answers at 10.0.2.2.
CARD = ("-nic", "user,model=i82551,restrict=on")
WANTED = "e100/d102e_ucode.bin"
# Of the same driver and package, for cards that are not here; of another driver.
BESIDE, OTHER = "e100/d101m_ucode.bin", "go7007/s2250-1.fw"
KEPT = "ext4,virtio_blk,virtio_pci"

COMMON = f"""
out=/results/$script
there() {{ for name; do [ -e /lib/firmware/$name ] || {{ echo "boot: no $name"; exit 1; }}; done; }}
gone() {{ for name; do [ ! -e /lib/firmware/$name ] || {{ echo "boot: there is $name"; exit 1; }}; done; }}
# Once for each boot: the driver keeps its firmware in memory, even when it goes.
opens() {{
    modprobe e100
    card=$(ls /sys/bus/pci/drivers/e100/*/net)
    ip address add 10.0.2.15/24 dev $card
    ip link set $card up && ping -c 1 -w 20 10.0.2.2
}}
"""
OPENS = COMMON + """
opens
"""
WITHOUT = COMMON + """
rm -r /lib/firmware
mkdir /lib/firmware
opens && { echo "boot: the card needs no firmware"; exit 1; }
true
"""
# Another driver's file and its own are there before, and go.
PARK = COMMON + f"""
active=/lib/modules/$(uname -r)/modules.active
there {WANTED} {BESIDE} {OTHER}
limopack --install --static --use={KEPT}
sed -i '1i #! base' $active
limopack --prune --park --firmware
gone {WANTED} {BESIDE} {OTHER}
! modprobe e100 || {{ echo "boot: e100 loads, though it is parked"; exit 1; }}
limopack --restore --use=e100
there {WANTED} {BESIDE}
gone {OTHER}
opens
"""
DELETE = COMMON + f"""
limopack --restore
there {WANTED} {BESIDE} {OTHER}
limopack --install --static --use=e100
limopack --prune --firmware
there {WANTED} {BESIDE}
gone {OTHER} .parked
opens
"""


@pytest.fixture
def place(scratch):
    path = Path(tempfile.mkdtemp(prefix="firmware-boot-", dir=scratch))
    yield path
    shutil.rmtree(path)


def put_firmware(root):
    package = fetch.unpacked(MACHINE.suite, MACHINE.arch, ["firmware-misc-nonfree"])
    trees.copy(package / "usr/lib/firmware", root / "usr/lib/firmware", shutil.copy2)


# What Debian's kernels say of each file.
FOUND, MISSED = f"firmware: direct-loading firmware {WANTED}", f"firmware: failed to load {WANTED} (-2)"


def said(installed, script):
    """Of FOUND and MISSED, what the kernel said in this boot."""
    installed.boot(script, CARD)
    log = installed.results(script)["dmesg"]
    return {words for words in (FOUND, MISSED) if words in log}


def test_a_driver_gets_its_firmware_on_a_pruned_image(place, pristine, row):
    row(MACHINE.title, "prune an image with its firmware elsewhere, boot it; boot it again without firmware")

    def prune(root):
        put_firmware(root)
        system = System(root, MACHINE.kmod, place, root / "usr/lib/firmware")
        tools.limopack(root, "--install", "--static", f"--use={KEPT},e100")
        active = system.vdir / "modules.active"
        active.write_text(f"#! base\n{active.read_text()}")
        before = all_files(system.firmware)
        system.run("--prune", "--firmware")
        left = all_files(system.firmware)
        assert {WANTED, BESIDE} <= left < before and OTHER in before - left

    image = boot.Installed(MACHINE, pristine(MACHINE.kernel, MACHINE.kmod), place,
                           {"opens": OPENS, "without": WITHOUT}, prepare=prune)
    assert said(image, "opens") == {FOUND}
    assert said(image, "without") == {MISSED}


def test_a_driver_gets_its_firmware_after_a_park(place, pristine, row):
    row(MACHINE.title, "park modules and firmware, restore a driver; restore all, prune")
    machine = boot.Installed(MACHINE, pristine(MACHINE.kernel, MACHINE.kmod), place,
                             {"park": PARK, "delete": DELETE}, prepare=put_firmware)
    assert said(machine, "park") == {FOUND}
    assert said(machine, "delete") == {FOUND}
