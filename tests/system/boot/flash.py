"""What a power cut leaves on raw flash: ubifs on UBI on the kernel's simulator of NAND chips.

Owns the machine: it runs limopack on a tree and notes what is on the flash after each system call that may have
changed it, which is all that a power cut leaves. Then it puts states back, one after the other, mounts each, and
runs limopack again. Must not decide what is right of a state.
"""
import shutil
from pathlib import Path

import disk
import record
import tools

# A chip of 128 MiB with pages of 2 KiB and blocks of 128 KiB, of which so many are used.
CHIP, BLOCKS = "0x20,0xa1,0x00,0x15", 320
MODULES = ("ext4", "nandsim", "ubi", "lzo", "lzo_rle", "deflate", "zstd", "ubifs")
# The tree is on the first disk, limopack's arguments are in /arguments. The driver of the chips has been
# loaded as it is.
SCRIPT = f"""
mkdir /trees
mount -o ro -t ext4 /dev/vda /trees
mount -t ext4 /dev/vdb /results
rmmod nandsim
insmod /modules/*-nandsim.ko id_bytes={CHIP} parts={BLOCKS}
mounted() {{ mount -t ubifs -o compr=none ubi0:root /mnt; }}
read -r most arguments < /arguments
flash attach
flash volume
mounted
cp -a /trees/. /mnt; rmdir /mnt/lost+found
umount /mnt
mounted
code=0
flash trace /results/log /bin/limopack --root=/mnt $arguments || code=$?
echo "cut: exit $code"
umount /mnt
flash detach
{record.RECOVERED}
for number in $(flash states /results/log $most); do
    mkdir /results/$number
    flash load /results/log $number || exit 1
    dmesg -c > /dev/null
    flash attach || exit 1
    if mounted; then
        recovered /results/$number
        umount /mnt || exit 1
    fi
    dmesg | grep -i "ubi.*error" > /results/$number/damage
    flash detach || exit 1
done
rm /results/log
umount /results
"""


def states(tree, arguments, most, place):
    """Runs limopack on a tree; for each of at most so many states that the flash was in, (what it is, contents before
    and after limopack has run again, its exit status, its messages). The last one, "end", is what the flash held when
    limopack had ended."""
    trees, results, program = place / "trees.disk", place / "results", place / "flash"
    tools.run("cc", "-O1", "-static", "-o", program, Path(__file__).with_suffix(".c"))
    for file, size, content in ((trees, "256M", ("-d", tree)), (results, "512M", ())):
        file.unlink(missing_ok=True)
        tools.run("/sbin/mke2fs", "-q", "-t", "ext4", *content, file, size)
    devices = [word for file in (trees, results) for word in disk.drive(file.name, file, "virtio-blk-pci", "off")]
    files = {"arguments": f"{most} {' '.join(arguments)}\n", "bin/flash": program}
    text = record.run(place, MODULES, SCRIPT, files, [*devices, "-m", "1024"], record.LIMIT + 30 * most)
    assert "cut: exit 0" in text, text
    out = place / "found"
    out.mkdir()
    tools.run("/sbin/debugfs", "-R", f"rdump / {out}", results)
    numbers = sorted(int(path.name) for path in out.iterdir() if path.name.isdigit())
    for number in numbers:
        told, what = out / str(number), "end" if number == numbers[-1] else f"state {number}"
        assert (told / "after").exists() and not (told / "damage").read_text(), \
            f"{what}: does not mount, or is damaged: {(told / 'damage').read_text()}"
        yield (what, record.contents_of(told / "before"), record.contents_of(told / "after"),
               int((told / "code").read_text()), (told / "said").read_text())
    shutil.rmtree(out)
