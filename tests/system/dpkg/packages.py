"""What the tests install: small .deb files after the original's packaging walk, Debian's own kernel
packages, and the archives that apt gets them from.

Modules are real ones, a few dozen of Debian's cloud kernel, so that real depmod and modprobe agree
with what limopack says of them.
"""

import re
import shutil
import tempfile
from pathlib import Path

import fetch
import model
import trees
from tools import run

X, Y = "6.6.0-lima", "6.6.1-lima"  # two kernels
IMAGE, K, K_SAME = f"kernel-image-{X}", f"kernel-modules-{X}", f"kernel-modules-{Y}"
REGISTRY = f"kernel-registry-{X}"
ARCH = "amd64"
CLOUD = f"linux-image-cloud-{ARCH}"
LIB = {"bookworm": "lib", "trixie": "usr/lib", "forky": "usr/lib"}  # where the suite's own kernel packages put modules
SEEDS = ("vfat overlay nf_nat xt_LOG virtio_net btrfs xfs cifs isofs nfsd dm_crypt dm_thin_pool vxlan "
         "wireguard fuse loop nbd").split()
USES = {"app-a": "vfat,overlay", "app-b": "overlay,nf-nat", "app-fail": "xt_LOG", "app-same": "isofs"}
STATIC = "virtio_net"  # what the registry package asks for

POSTINST = """#!/bin/sh
set -e
if [ "$1" = configure ]; then
    limopack --install --use={uses}
    limopack --apply --pkname={modules}
    if [ -e /etc/{name}.fails ]; then exit 1; fi
fi
"""
PRERM = """#!/bin/sh
set -e
if [ "$1" = remove ]; then limopack --remove; fi
"""
DEPMOD = """#!/bin/sh
set -e
if [ "$1" = configure ]; then depmod {kernel}; fi
"""
UNDEPMOD = """#!/bin/sh
set -e
if [ "$1" = remove ]; then
    cd /lib/modules/{kernel}
    rm -f modules.dep* modules.alias* modules.symbols* modules.softdep modules.weakdep modules.devname
    rm -f modules.builtin.bin modules.builtin.alias.bin
fi
"""
REGISTERS = f"""#!/bin/sh
set -e
if [ "$1" = configure ]; then limopack --install --static --use={STATIC} --kernel={X}; fi
"""


def deb(out, name, version="1.0", files=None, scripts=None, arch=ARCH, **fields):
    """Builds a package; `files` maps paths to their text or to a file with their contents."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as top:
        tree = Path(top) / "tree"
        (tree / "DEBIAN").mkdir(parents=True)
        control = {"Package": name, "Version": version, "Architecture": arch, "Section": "kernel",
                   "Priority": "optional", "Maintainer": "Lima Pack <lima@example.org>",
                   **{key.replace("_", "-"): value for key, value in fields.items()},
                   "Description": f"test package {name}"}
        (tree / "DEBIAN/control").write_text("".join(f"{k}: {v}\n" for k, v in control.items()))
        for script, text in (scripts or {}).items():
            (tree / "DEBIAN" / script).write_text(text)
            if script in ("preinst", "postinst", "prerm", "postrm"):
                (tree / "DEBIAN" / script).chmod(0o755)
        for path, content in {f"usr/share/doc/{name}/version": f"{version}\n", **(files or {})}.items():
            at = tree / path
            at.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(content, at) if isinstance(content, Path) else at.write_text(content)
        run("dpkg-deb", "--root-owner-group", "-Znone", "-b", tree, out)
    return out / f"{name}_{version}_{arch}.deb"


def app(out, name, version, modules=K, **fields):
    """A software package that needs modules, as a packager would write it."""
    deb(out, name, version, {f"usr/bin/{name}": "#!/bin/sh\n"},
        {"postinst": POSTINST.format(uses=USES[name], modules=modules, name=name), "prerm": PRERM},
        Depends=f"{modules} (= {version})", **fields)


def index(folder):
    """Makes an apt archive of a folder."""
    (folder / "Packages").write_text(run("apt-ftparchive", "packages", ".", cwd=folder).stdout)


def sources(root, *folders):
    """Lets the root's apt see these folders below /repo, and nothing else."""
    lines = (f"deb [trusted=yes] file:/repo/{folder} ./\n" for folder in folders)
    (root / "etc/apt/sources.list").write_text("".join(lines))
    root.sh("apt-get -qq update")


def archive(root, *packages):
    """Makes packages of the test's own known to the root's apt."""
    for name, fields in packages:
        deb(root / "repo/own", name, **fields)
    index(root / "repo/own")
    sources(root, "debian", "1.0", "own")


def debian(root, out):
    """Debian's packages that the suite's tests need and the root lacks; an initramfs generator's stub,
    because making an initramfs would be slow, and is not what we test."""
    out.mkdir(parents=True)
    needed = set(fetch.dependencies(root.suite, ARCH, "kmod"))
    if root.suite == "forky":
        needed |= {n for n in fetch.dependencies(root.suite, ARCH, CLOUD) if re.match("linux-(image|modules|b)", n)}
    present = set(root.sh("dpkg-query -W -f '${Package}\\n'").out.split())
    for file in fetch.debs(root.suite, ARCH, sorted(needed - present)):
        shutil.copy(file, out)
    deb(out, "no-initramfs", arch="all", Provides="linux-initramfs-tool")
    index(out)


def other(root, *names):
    """A second system below /other, as in an image build; with these packages, if any."""
    root.sh("mkdir /other; cp -a /bin /sbin /lib /lib64 /usr /etc /var /dev /other")
    if names:
        root.sh("dpkg --root=/other -i $(ls /repo/debian/*.deb | grep -E 'kmod|libssl') "
                + " ".join(f"/repo/1.0/{name}_*.deb" for name in names))


def kernel(top):
    """The version directory with the seeds and what they need, made below `top` once."""
    if not top.exists():
        source = trees.directory(fetch.kernel_tree("cloud"))
        index_of = model.Index(source)
        trees.pick(source, top, index_of.paths(index_of.needs(SEEDS)))
        fetch.kmod("30").depmod(top, source.name)
    return trees.directory(top)


def fixtures(suite, tree, out):
    """Builds the walk's packages in two versions: archives `1.0` and `1.1` below `out`."""
    files = trees.modules(tree)
    (out / "kernel").mkdir()
    for name in tree.glob("modules.*"):  # for the model: what the whole kernel has
        shutil.copy(name, out / "kernel" / name.name)
    for version in ("1.0", "1.1"):
        to = out / version
        for release, name, fields in ((X, K, {"Provides": "lima-modules (= 3)"}), (Y, K_SAME, {"Multi_Arch": "same"})):
            base = f"{LIB[suite]}/modules/{release}"
            contents = {f"{base}/{file}": tree / file for file in
                        (*files, "modules.order", "modules.builtin", "modules.builtin.modinfo")}
            deb(to, name, version, contents, Depends="kmod", **fields,
                scripts={"postinst": DEPMOD.format(kernel=release), "prerm": UNDEPMOD.format(kernel=release)})
        deb(to, IMAGE, version, {f"boot/vmlinuz-{X}": "no modules here\n"})
        deb(to, REGISTRY, version, scripts={"postinst": REGISTERS}, Depends=K)
        for name in ("app-a", "app-b", "app-fail"):
            app(to, name, version)
        app(to, "app-same", version, modules=K_SAME, Multi_Arch="same")
        deb(to, "bystander", version)
        index(to)
