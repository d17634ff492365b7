"""Whole systems, the way that README.md and the manual pages show: registered, parked, restored, pruned, applied,
and then upgraded, each followed by a boot.

Owns the proof that a user's machine is after each of these what it was before: no unit fails, every file system
of fstab is mounted, the network has an address, the same modules are loaded, and `--check` and `dpkg --verify`
have nothing to say. And that what is plugged in later works once its group is registered.
"""
import shutil
import tempfile

import pytest

import disk
import systems

pytestmark = pytest.mark.long

# What the scripts have in common. A command that is to be seen is in the console's text.
TOOLS = systems.FACTS.partition("\nfor ")[0] + r"""
show() { echo "[$SECONDS s] \$ $*"; "$@"; }
files() { find /lib/modules/${1:-$(uname -r)}/kernel -name '*.ko*' | wc -l; }
# What is wrong, on one line. What is parked and what hardware could use are no problems, and until a package is
# applied, its files are missing.
line() { tr '\n\t' '; ' | cut -c 1-500; }
checked() {
    fact wrong-$1 $(limopack --check --quiet 2>&1 | grep -Ev '^(parked|hardware|limopack: [0-9]+ problem)' | line)
}
audited() { checked $1; fact wrong-dpkg-$1 $({ dpkg --verify; dpkg --audit; apt-get -qq check; } 2>&1 | line); }
indexes() { (cd /lib/modules/$(uname -r); find . -name modules.active -o -name 'modules.*' -exec cksum {} +
    find . -name '*.ko*'; ls -A ..) | sort; }
sources() { echo "deb [trusted=yes] file:/repo/$1 ./" > /etc/apt/sources.list; show apt-get -q update; }
"""
PARK = """
show apt-get -y install /root/limopack.deb
limopack --census > /root/board.census
fact census $(grep -vc '^#' /root/board.census)
limopack --list > /root/list
fact list $(wc -l < /root/list)
show limopack --install
indexes > /root/before
limopack --prune --dry-run | grep modules,
show limopack --prune --park
fact parked $(files)
checked parked
show limopack --restore
indexes > /root/after
fact restored $(files) $(cmp /root/before /root/after)
show limopack --prune --park
show %(remake)s
"""
# A stick and a serial adapter are plugged in. The stick works, for the driver stays where there is USB; the adapter
# does not, and does once its group is registered. Then all else goes for good.
# Story: limopack said `udevadm trigger` of devices that wait for their drivers. udev loads drivers on "add" only.
APPLY = """
checked before
echo; echo "monitor: plug"
for _ in $(seq 120); do ! grep -qs 0403 /sys/bus/usb/devices/*/idVendor || break; sleep 1; done
for _ in $(seq 60); do [ ! -e /dev/disk/by-label/STICK ] || break; sleep 1; done
udevadm settle
mkdir -p /mnt/stick
mount -L STICK /mnt/stick
echo long > "/mnt/stick/a long name"
umount /mnt/stick
fact without $(ls /dev/ttyUSB* 2> /dev/null)
fact hardware $(limopack --check 2> /dev/null | grep usb: | line)
show limopack --why --use=usb_storage,fs-vfat
show limopack --why --use=ftdi_sio || true
limopack --install --static --use=@usb-serial 2> said; cat said
sed -n 's/.*devices that wait for them: \\(.*\\); device nodes.*/\\1/p' said > do
show sh -ex do; udevadm settle
fact with $(ls /dev/ttyUSB*)
show limopack --prune
fact pruned $(files)
checked pruned
show limopack --apply --pkname='linux-*'
fact applied $(files)
audited applied
show %(remake)s
"""
UPGRADE = """
audited before
sources revised
show apt-get -y --no-install-recommends dist-upgrade
fact back $(files)
show limopack --apply --keep-pruned --pkname='linux-*'
fact again $(files)
audited again
sources new
show apt-get -y --no-install-recommends dist-upgrade
fact next $(files %(new)s) $(files %(old)s)
audited next
"""
PURGE = """
audited before
show apt-get -y purge linux-image-%(old)s
show apt-get -y autoremove --purge
fact kernels $(ls -A /lib/modules)
fact boot $(ls /boot)
audited purged
"""
LAST = """
audited before
show apt-get -y --reinstall --no-install-recommends install %(modules)s
fact reinstalled $(files)
audited reinstalled
"""
STEPS = ("install, census, list, park, restore, reboot, stick and adapter on USB, prune, apply, reboot, new revision, "
         "apply again, new kernel, reboot, purge, reboot, reinstalled; {remake}")


@pytest.fixture
def place(scratch):
    # Too large for memory.
    path = tempfile.mkdtemp(prefix="systems-", dir=systems.fetch.CACHE)
    yield path
    shutil.rmtree(path)


def lost(before, after):
    """What a boot did not show any more, as lines."""
    failed = set(after["state"][1:]) - set(before["state"][1:])
    if failed:
        yield f"units failed: {' '.join(sorted(failed))}"
    if after["unmounted"]:
        yield f"of fstab, not mounted: {' '.join(after['unmounted'])}"
    for what in ("swap", "address"):
        if not after[what]:
            yield f"no {what}"
    gone = set(before["loaded"]) - set(after["loaded"])
    if gone:
        yield f"not loaded any more: {' '.join(sorted(gone))}"


def unexpected(facts):
    """What the steps should have shown, as lines; `facts` are those of all boots."""
    number = {name: int(words[0]) for name, words in facts.items() if words and words[0].isdigit()}
    whole, pruned = number["files"], number["applied"]
    for right, what in (
            (number["parked"] < whole / 10, "a park leaves most modules"),
            (facts["restored"] == [str(whole)], "a restore does not give back all, as it was"),
            (not facts["without"] and "ftdi_sio;" in facts["hardware"], "the adapter works at once, or is not found"),
            (facts["with"] == ["/dev/ttyUSB0"], "what limopack says does not load the adapter's driver"),
            (number["pruned"] == pruned, "an apply after a prune deletes modules"),
            (number["back"] == whole, "a new revision does not bring all modules"),
            (number["again"] == pruned, "the next apply keeps others"),
            (0 < number["next"] < whole / 10, "the new kernel is not pruned as it comes"),
            (number["reinstalled"] == number["next"], "modules of a new revision are back, against the order"),
            (len(facts["kernels"]) == 1, f"of the kernel before, there is left: {facts['kernels']}")):
        if not right:
            yield what


@pytest.mark.parametrize("name", systems.SYSTEMS)
def test_a_system_is_after_each_step_what_it_was_before(name, place, row, capsys):
    system = systems.SYSTEMS[name]
    row(f"{name}, systemd", STEPS.format(remake=system.remake))
    old, new = systems.releases(system)
    words = {"old": old.release, "new": new.release, "modules": new.modules, "remake": system.remake}
    machine, booted, wrong = systems.Machine(system, place), {}, []
    for step, kernel, script in (("park", old, PARK), ("apply", old, APPLY), ("upgrade", old, UPGRADE),
                                 ("purge", new, PURGE), ("last", new, LAST)):
        said = machine.boot(step, kernel.release, systems.FACTS + TOOLS + script % words)
        facts = booted[step] = disk.facts(said)
        with capsys.disabled():
            print(f"\n{name}, {step}: {machine.seconds[step]:.0f} s, {len(facts['loaded'])} modules loaded, "
                  f"{facts['files']} on disk; {' '.join(facts['state'])}")
        found = [f"the kernel is {facts['kernel']}"] if facts["kernel"] != [kernel.release] else []
        found += lost(booted["park"], facts)
        found += [f"{fact}: {' '.join(said)}" for fact, said in facts.items() if fact.startswith("wrong-") and said]
        wrong += [f"{step}: {what}" for what in found]
    # The number of files is that of the first boot.
    wrong += unexpected({fact: said for step in reversed(booted) for fact, said in booted[step].items()})
    assert not wrong, "\n".join(wrong)
