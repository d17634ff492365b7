"""Real boots: a machine that limopack pruned does all that it did before.

Owns the proof on running kernels, x86-64 and ARMv7. The first boot loads what the hardware
asks for and what a user might, registers it, and prunes the root file system that it runs
from: first it parks, so that nothing that asks the kernel for what is parked gets it, and gets
it back; then it deletes. The same disk boots again, once with kmod's modprobe and once with
busybox's, and loads and does the same. And an image of the same board that was unpacked and pruned
elsewhere, by the board's census and without having run any script, loads the same modules when it
boots for the first time.
"""
import shutil
import tempfile

import pytest

import boot
import model
import tools

# Loaded by name, beyond what the hardware asks for.
WANTED = "ext4 nf_tables nft_ct overlay loop vfat virtio_blk virtio_net"
# Shell that all boots share. $modprobe comes from the kernel's command line.
COMMON = """
out=/results/$script
# The kernel itself asks the same program.
echo $modprobe > /proc/sys/kernel/modprobe
loaded() { cut -d ' ' -f 1 /proc/modules | sort; }
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
    mkdir /tmp/lower /tmp/upper /tmp/work /tmp/merged /tmp/fat
    echo below > /tmp/lower/file
    mount -t overlay -o lowerdir=/tmp/lower,upperdir=/tmp/upper,workdir=/tmp/work none /tmp/merged
    echo above > /tmp/merged/file
    grep -q above /tmp/upper/file
    dd if=/dev/zero of=/tmp/fat.image bs=1M count=4 2> /dev/null
    mkdosfs /tmp/fat.image
    mount -t vfat -o loop /tmp/fat.image /tmp/fat
    echo long > "/tmp/fat/a long name"
    umount /tmp/fat
}
hardware
"""
FIRST = COMMON + f"""
loaded > $out/hardware
load {WANTED}
loaded > $out/loaded
limopack --census > $out/census
limopack --install
limopack --install --static --from=$out/census
use
limopack --prune --park
# A file system, and where there is the program for it a family of sockets: the kernel asks modprobe.
ask() {{ mount -t xfs /dev/vda /tmp/fat || true; [ ! -x /bin/algorithms ] || algorithms || true; }}
is_loaded() {{ grep -q "^$1 " /proc/modules; }}
ask
! is_loaded xfs && ! is_loaded af_alg || {{ echo "boot: loaded, though it is parked"; exit 1; }}
limopack --why --use=xfs 2>&1 | tee $out/why || true
limopack --restore --use=fs-xfs,net-pf-38
ask
is_loaded xfs
[ ! -x /bin/algorithms ] || is_loaded af_alg
limopack --prune
[ ! -e /lib/modules/.parked ]
cp /lib/modules/$(uname -r)/modules.active $out/
find /lib/modules/*/kernel -name '*.ko*' > $out/files
"""
AGAIN = COMMON + f"""
load {WANTED} $(cat /results/first/loaded)
loaded > $out/loaded
use
"""
MODPROBES = {"kmod": "/sbin/modprobe", "busybox": "/busybox/modprobe"}
IMAGE = COMMON + """
loaded > $out/loaded
find /lib/modules/*/kernel -name '*.ko*' > $out/files
"""
SCRIPTS = {"first": FIRST} | {again: AGAIN for again in MODPROBES}


# Opens a socket of the kernel's ciphers, as anybody may.
ALGORITHMS = """
#include <sys/socket.h>
int main(void) { return socket(AF_ALG, SOCK_SEQPACKET, 0) < 0; }
"""


def programs(machine, place):
    """What this host's compiler can make for the machine."""
    if machine.console != "ttyS0":
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


@pytest.mark.parametrize("name", boot.MACHINES)
def test_a_pruned_machine_works_as_before(name, place, pristine, index_of, capsys):
    machine = boot.MACHINES[name]
    index = index_of(machine.kernel)
    installed = boot.Installed(machine, pristine(machine.kernel), place, SCRIPTS, programs(machine, place))

    installed.boot("first", modprobe=MODPROBES["kmod"])
    first = installed.results("first")
    assert "parked" in first["why"] and "limopack --restore --use=xfs" in first["why"], first["why"]
    loaded = set(first["loaded"].split())
    registered = {line.split(":")[0] for line in first["modules.active"].splitlines()
                  if not line.startswith("#")}
    assert loaded <= registered
    assert registered <= set(index.path)
    kept = {model.name_of(path) for path in first["files"].split()}
    assert kept == index.stays(registered)
    assert {"fs-ext4", "virtio_blk"} <= set(first["census"].split())

    for again, modprobe in MODPROBES.items():
        console = installed.boot(again, modprobe=modprobe)
        second = installed.results(again)
        assert loaded <= set(second["loaded"].split()) <= kept
        for text in (console, second["dmesg"]):
            assert "unknown symbol" not in text.lower(), text

    image = boot.Installed(machine, pristine(machine.kernel), tempfile.mkdtemp(dir=place), {"image": IMAGE},
                           prepare=lambda root: prune_image(root, first["census"]))
    image.boot("image", modprobe=MODPROBES["kmod"])
    built = image.results("image")
    assert first["hardware"].split() == built["loaded"].split()
    deleted = len(index.path) - len(built["files"].split())
    assert deleted > len(index.path) / 2, deleted

    times = ", ".join(f"{script} {seconds:.0f} s" for script, seconds in installed.seconds.items())
    with capsys.disabled():
        print(f"\n{name}: {len(index.path)} modules, {len(loaded)} loaded, "
              f"{len(registered)} registered, {len(kept)} kept, "
              f"{len(index.path) - len(kept)} deleted; boots: {times}")
