"""Real boots from disks: a machine with two kernels prunes both, and both still boot.

Owns the proof that a prune costs no boot, whatever lies below the root file system. On the running
machine limopack registers what is loaded, or so little that only its own look at the machine keeps
what the boot needs; it prunes all kernels, once after it parked and restored them, and Debian's
initramfs-tools makes all initramfs images anew. What a kernel must show then is what it showed
before, see PROVE. The kernel that runs has ext4, nvme and crc32c built in, which are modules of the
other one.
"""
import re
import shutil
import tempfile
from pathlib import Path

import pytest

import disk
import model
import record
import tools

HOOK = Path(__file__).resolve().parents[3] / "cross/package/hooks/initramfs-tools/hooks/limopack"
# What is registered before a prune.
REGISTER = {
    "all that is loaded": "limopack --install",
    "the network card": "limopack --install --static --use=virtio_net,vmxnet3",
}
PRUNE = """
install -m 755 /dev/payload/limopack /usr/sbin/limopack
install -D -m 755 /dev/payload/hook /etc/initramfs-tools/hooks/limopack
%s
%s
limopack --prune
update-initramfs -u -k all
mkdir /boot/limopack
for kernel in $(ls /lib/modules); do
    (cd /lib/modules/$kernel; find kernel -name '*.ko' > /boot/limopack/$kernel)
done
"""
# A prune is tried first, and taken back; what limopack then says is done, literally.
TRIED = """
limopack --prune --park
! modprobe -n fuse
limopack --restore 2> said
cat said
modprobe -n fuse
rm -f /dev/fuse
sed -n 's/.*: \\(udevadm trigger --action=add\\); .* load them: \\(.*\\)/\\1; \\2/p' said > do
test -s do; sh -e ./do
test -c /dev/fuse; : <> /dev/fuse
grep -q '^fuse ' /proc/modules
"""
# The same, and the power goes. What the marker is written to is a file on the disk that is recorded.
CUT = """
install -m 755 /dev/payload/limopack /usr/sbin/limopack
sync
limopack --install
mark() { cp /dev/payload/marker /root/marker$1; sync -f /root/marker$1; }
mark 1
limopack --prune
mark 2
"""
# How many of the states that the disk was in are booted; each takes a minute or two.
BOOTED = 5
AGAIN = """
limopack --prune
fact checked $(limopack --check && echo yes || echo no)
fact kept $(find /lib/modules/$(uname -r)/kernel -name '*.ko' | wc -l)
"""
FILES = {"limopack": Path(tools.binary()), "hook": HOOK}
# What a wrong prune would do.
ROBBED = (PRUNE % (REGISTER["all that is loaded"], "")).replace("update-initramfs", """
rm /lib/modules/*/kernel/drivers/block/virtio_blk.ko
update-initramfs""")
TAIL = 40


@pytest.fixture
def place(scratch):
    path = tempfile.mkdtemp(prefix="disk-", dir=scratch)
    yield path
    shutil.rmtree(path)


def shortcomings(case, version, booted):
    """What a boot did not show, as lines."""
    if isinstance(booted, disk.Failed):
        yield "does not boot"
        return
    source, kind, options = booted["root"]
    if booted["kernel"] != [version]:
        yield f"the kernel is {booted['kernel']}"
    if not re.fullmatch(case.mounted, f"{source} {kind}"):
        yield f"/ is {source} {kind}, expected {case.mounted}"
    if "rw" not in options.split(",") or booted["written"] != ["yes"]:
        yield f"/ cannot be written: {options}"
    if booted["unmounted"]:
        yield f"of fstab, not mounted: {' '.join(booted['unmounted'])}"
    if " swap " in case.fstab and not booted["swap"]:
        yield "no swap"
    if not booted["cards"]:
        yield "the network card has no driver"


def tail(text):
    return "\n".join(text.splitlines()[-TAIL:])


# In every run: the plainest machine. Each of the others takes several minutes more to install.
USUAL = ("virtio",)


def case(name, *values):
    """A case's name and what else a test is given, as a parameter of it."""
    return pytest.param(name, *values, marks=() if name in USUAL else pytest.mark.long)


@pytest.mark.parametrize("name", map(case, disk.CASES))
def test_both_kernels_boot_before_a_prune(name, place):
    machine = disk.Machine.installed(name, place)
    for version in machine.versions:
        console = machine.console(f"control-{version}")
        found = list(shortcomings(machine.case, version, disk.facts(console)))
        assert not found, f"{version}: {found}\n{tail(console)}"


def combinations():
    """Every case with everything registered, and with next to nothing, which is harder."""
    for registered in REGISTER:
        for name in disk.CASES:
            yield case(name, registered)


@pytest.mark.parametrize("name, registered", combinations())
def test_both_kernels_boot_after_a_prune(name, registered, place, capsys):
    machine = disk.Machine.installed(name, place)
    running = machine.versions[0]
    tried = TRIED if registered == "all that is loaded" else ""
    said = machine.boot("prune", running, PRUNE % (REGISTER[registered], tried), FILES)

    report, sizes = [], []
    for version in machine.versions:
        booted = machine.prove("pruned", version)
        left = (machine.place / f"boot/limopack/{version}").read_text().split()
        kept = {model.name_of(path) for path in left}
        lost = set(disk.facts(machine.console(f"control-{version}"))["loaded"]) - kept
        sizes.append(f"{version} {len(kept)}")
        found = list(shortcomings(machine.case, version, booted))
        # What another kernel loads may have no counterpart in the running one.
        if lost and (found or version == running and registered == "all that is loaded"):
            found.append(f"loaded before the prune, and deleted: {' '.join(sorted(lost))}")
        if found:
            report.append(f"{version}: {'; '.join(found)}\n"
                          f"  the console's end:\n{tail(machine.console(f'pruned-{version}'))}")
    times = ", ".join(f"{boot} {seconds:.0f} s" for boot, seconds in machine.seconds.items())
    with capsys.disabled():
        print(f"\n{name}, registered {registered}: kept: {', '.join(sizes)}; boots: {times}")
    limopack = "\n".join(line for line in said.splitlines() if line.startswith("limopack: "))
    assert not report, "\n\n".join([limopack, *report])


def test_a_kernel_without_the_driver_of_its_disk_does_not_boot(place):
    machine = disk.Machine.installed("virtio", place)
    version = machine.versions[0]
    machine.boot("robbed", version, ROBBED, FILES)
    booted = machine.prove("robbed", version)
    assert list(shortcomings(machine.case, version, booted)) == ["does not boot"]
    assert "LABEL=root does not exist" in str(booted), booted


@pytest.mark.long
def test_a_machine_whose_power_goes_in_a_prune_boots(place, row, capsys):
    machine = disk.Machine.installed("virtio", place)
    version, original = machine.versions[0], machine.place / "disk0"
    base = machine.place / "base"
    shutil.copyfile(original, base)
    log = record.Log(base, machine.place / "log")
    # Sectors of the disk that hold the marker: it is longer than what a file system may keep elsewhere.
    marker = (record.MARKER + "\n") * 200
    machine.boot("cut", version, CUT, {**FILES, "marker": marker}, log.file)
    states = list(log.states(BOOTED))
    chosen = {at * (len(states) - 1) // (BOOTED - 1) for at in range(BOOTED)}
    loaded = set(disk.facts(machine.console(f"control-{version}"))["loaded"])
    report, kept = [], []
    for at, (what, image) in enumerate(log.images(states, machine.place)):
        if at not in chosen:
            continue
        shutil.copyfile(image, original)
        booted = machine.prove("cut", version, AGAIN)
        found = list(shortcomings(machine.case, version, booted))
        if not found:
            kept += booted["kept"]
            if lost := loaded - set(booted["loaded"]):
                found.append(f"not loaded any more: {' '.join(sorted(lost))}")
            if booted["checked"] != ["yes"]:
                found.append("--check has problems")
        if found:
            report.append(f"{what}: {'; '.join(found)}\n{tail(machine.console(f'cut-{version}'))}")
    row("Debian 12, x86-64, disk", f"prune, power cut at {len(chosen)} of {len(states)} states, boot, prune again")
    with capsys.disabled():
        print(f"\n{len(states)} states, {len(chosen)} booted; kept then: {' '.join(kept)}")
    assert len(set(kept)) == 1 and not report, "\n\n".join([f"kept: {kept}", *report])
