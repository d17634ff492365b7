"""A small but real kernel, for tests that need many copies of one.

Owns what is in it. Must not change a root that was made.
"""
import fetch
import model
import trees

# These and what they need, of Debian's 6.1 amd64.
SMALL = "ext4 vfat e1000e dummy snd_hda_intel usb_storage loop dm_crypt".split()
# What tests register of them.
KEPT = "vfat,dm_crypt"


def root(target):
    """A root with the small kernel, indexed by real depmod, nothing registered."""
    source = trees.directory(fetch.kernel_tree("bookworm"))
    index = model.Index(source)
    trees.pick(source, target, index.paths(index.needs(SMALL)))
    fetch.kmod("30").depmod(target, source.name)
    return target
