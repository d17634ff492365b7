"""Real boots: a machine that limopack pruned does all that it did before.

Owns the proof on running kernels, for each processor that there is a binary for. The first boot
loads what the hardware asks for and what a user might, registers it, and prunes the root file
system that it runs from. Then it unloads modules and loads them again, with kmod's modprobe and
with busybox's, and so does the same disk when it boots again. In every run, on x86-64 and ARMv7,
there is more: before it deletes, the first boot parks, so that nothing that asks the kernel for
what is parked gets it, and gets it back. And an image of the same board that was unpacked and
pruned elsewhere, by the board's census and without having run any script, loads the same modules
when it boots for the first time.
"""
import shutil
import tempfile

import pytest

import boot
import model
import tools

# Loaded by name, beyond what the hardware asks for.
WANTED = "ext4 nf_tables nft_ct overlay loop vfat virtio_blk virtio_net"
# Nothing else needs these, so they can go, and their dependencies with them.
UNLOADED = "nft_ct overlay loop vfat"
GONE = f"{UNLOADED} nf_conntrack nf_tables fat"
MODPROBES = {"kmod": "/sbin/modprobe", "busybox": "/busybox/modprobe"}
# Shell that all boots share. $modprobe comes from the kernel's command line.
COMMON = """
out=/results/$script
# The kernel itself asks the same program.
echo $modprobe > /proc/sys/kernel/modprobe
loaded() { cut -d ' ' -f 1 /proc/modules | sort; }
is_loaded() { grep -q "^$1 " /proc/modules; }
# As udev would; what no module serves is no error.
hardware() {
    find /sys/devices -name modalias -exec cat {} + | sort -u > /tmp/aliases
    xargs $modprobe -a -b -q < /tmp/aliases || true
}
load() {
    for name; do
        $modprobe $name || { echo "boot: $name does not load"; return 1; }
    done
}
# vfat asks for character sets when it mounts, of which no index tells.
use() {
    mkdir -p /tmp/lower /tmp/upper /tmp/work /tmp/merged /tmp/fat
    echo below > /tmp/lower/file
    mount -t overlay -o lowerdir=/tmp/lower,upperdir=/tmp/upper,workdir=/tmp/work none /tmp/merged
    echo above > /tmp/merged/file
    grep -q above /tmp/upper/file
    umount /tmp/merged
    dd if=/dev/zero of=/tmp/fat.image bs=1M count=4 2> /dev/null
    mkdosfs /tmp/fat.image
    mount -t vfat -o loop /tmp/fat.image /tmp/fat
    echo long > "/tmp/fat/a long name"
    umount /tmp/fat
}
hardware
"""
REGISTER = COMMON + f"""
loaded > $out/hardware
load {WANTED}
loaded > $out/loaded
limopack --census > $out/census
limopack --install
limopack --install --static --from=$out/census
use
"""
PARK = """
limopack --prune --park
# A file system, and where there is the program for it a family of sockets: the kernel asks modprobe.
ask() { mount -t xfs $disk /tmp/fat || true; [ ! -x /bin/algorithms ] || algorithms || true; }
ask
! is_loaded xfs && ! is_loaded af_alg || { echo "boot: loaded, though it is parked"; exit 1; }
limopack --why --use=xfs 2>&1 | tee $out/why || true
limopack --restore --use=fs-xfs,net-pf-38
ask
is_loaded xfs
[ ! -x /bin/algorithms ] || is_loaded af_alg
"""
PRUNE = f"""
limopack --prune
[ ! -e /lib/modules/.parked ]
cp /lib/modules/$(uname -r)/modules.active $out/
find /lib/modules/*/kernel -name '*.ko*' > $out/files
for modprobe in {' '.join(MODPROBES.values())}; do
    echo $modprobe > /proc/sys/kernel/modprobe
    # busybox's fails, and does not say so, where a dependency is still in use.
    for name in {UNLOADED}; do $modprobe -r $name || true; done
    for name in {GONE}; do
        ! is_loaded $name || {{ echo "boot: $modprobe -r leaves $name"; exit 1; }}
    done
    load {WANTED}
    use
done
"""
AGAIN = COMMON + f"""
load {WANTED} $(cat /results/first/loaded)
loaded > $out/loaded
use
"""
IMAGE = COMMON + """
loaded > $out/loaded
find /lib/modules/*/kernel -name '*.ko*' > $out/files
"""
SCRIPTS = {"first": REGISTER + PARK + PRUNE} | {again: AGAIN for again in MODPROBES}
FEWER = {"first": REGISTER + PRUNE, "busybox": AGAIN}
# What the table of machines says of them.
STEPS = "load, install, prune; unload and load again with kmod and busybox; boot again"


# Opens a socket of the kernel's ciphers, as anybody may.
ALGORITHMS = """
#include <sys/socket.h>
int main(void) { return socket(AF_ALG, SOCK_SEQPACKET, 0) < 0; }
"""


def programs(machine, place):
    """What this host's compiler can make for the machine."""
    if machine.arch != "amd64":
        return []
    tools.run("cc", "-static", "-x", "c", "-o", f"{place}/algorithms", "-", input=ALGORITHMS)
    return [f"{place}/algorithms"]


@pytest.fixture
def place(scratch):
    path = tempfile.mkdtemp(prefix="boot-", dir=scratch)
    yield path
    shutil.rmtree(path)


def prune_image(root, census):
    """All that an image build does with limopack."""
    board = root / "etc/limopack/needs.d/board.conf"
    board.parent.mkdir(parents=True)
    board.write_text(census)
    tools.run(tools.binary(), f"--root={root}", "--prune")


class Story:
    """A machine that has registered what it loads, and pruned; `scripts` boot it again."""

    def __init__(self, machine, place, scripts, pristine, index_of):
        self.index = index_of(machine.kernel, machine.kmod)
        self.installed = boot.Installed(machine, pristine(machine.kernel, machine.kmod), place, scripts,
                                        programs(machine, place))
        self.installed.boot("first", modprobe=MODPROBES["kmod"])
        self.first = first = self.installed.results("first")
        self.loaded = set(first["loaded"].split())
        self.registered = {line.split(":")[0] for line in first["modules.active"].splitlines()
                           if not line.startswith("#")}
        self.kept = {model.name_of(path) for path in first["files"].split()}
        assert self.loaded <= self.registered <= set(self.index.path)
        assert self.kept == self.index.stays(self.registered)

    def boot_again(self, script):
        console = self.installed.boot(script, modprobe=MODPROBES[script])
        second = self.installed.results(script)
        assert self.loaded <= set(second["loaded"].split()) <= self.kept
        for text in (console, second["dmesg"]):
            assert "unknown symbol" not in text.lower(), text

    def figures(self):
        times = ", ".join(f"{script} {seconds:.0f} s" for script, seconds in self.installed.seconds.items())
        return (f"{self.installed.version}: {len(self.index.path)} modules, {len(self.loaded)} loaded, "
                f"{len(self.registered)} registered, {len(self.kept)} kept, "
                f"{len(self.index.path) - len(self.kept)} deleted; boots: {times}")


@pytest.mark.parametrize("name", boot.MACHINES)
def test_a_pruned_machine_works_as_before(name, place, pristine, index_of, row, capsys):
    machine = boot.MACHINES[name]
    row(machine.title, f"{STEPS}; park, restore; prune an image elsewhere, boot it")
    story = Story(machine, place, SCRIPTS, pristine, index_of)
    first, index = story.first, story.index
    assert "parked" in first["why"] and "limopack --restore --use=xfs" in first["why"], first["why"]
    assert {"fs-ext4", "virtio_blk"} <= set(first["census"].split())
    for again in MODPROBES:
        story.boot_again(again)

    image = boot.Installed(machine, pristine(machine.kernel), tempfile.mkdtemp(dir=place), {"image": IMAGE},
                           prepare=lambda root: prune_image(root, first["census"]))
    image.boot("image", modprobe=MODPROBES["kmod"])
    built = image.results("image")
    assert first["hardware"].split() == built["loaded"].split()
    deleted = len(index.path) - len(built["files"].split())
    assert deleted > len(index.path) / 2, deleted
    with capsys.disabled():
        print(f"\n{name}: {story.figures()}")


@pytest.mark.long
@pytest.mark.parametrize("name", boot.MORE)
def test_a_pruned_machine_of_other_kinds_works(name, place, pristine, index_of, row, capsys):
    machine = boot.MORE[name]
    row(machine.title, STEPS)
    story = Story(machine, place, FEWER, pristine, index_of)
    story.boot_again("busybox")
    with capsys.disabled():
        print(f"\n{name}: {story.figures()}")
