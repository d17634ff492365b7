"""What the tests install: small .deb files after the original's packaging walk, Debian's own kernel
packages, and the archives that apt gets them from.

Modules are real ones, few dozen, out of Debian 14's cloud kernel, so that real depmod and modprobe
agree with what limopack says of them.
"""

import os
import shutil
import tempfile
from pathlib import Path

from chroots import CACHE, mirror, run

X, Y = "6.6.0-lima", "6.6.1-lima"  # two kernels
IMAGE, K, K_SAME = f"kernel-image-{X}", f"kernel-modules-{X}", f"kernel-modules-{Y}"
REGISTRY = f"kernel-registry-{X}"
ARCH = run("dpkg", "--print-architecture").out.strip()
CLOUD = f"linux-image-cloud-{ARCH}"
WANTED = {"bookworm": ["kmod"], "forky": ["kmod", CLOUD, "no-initramfs"]}  # from Debian
LIB = {"bookworm": "lib", "forky": "usr/lib"}  # where the suite's own kernel packages put modules
SEEDS = ("vfat nls_cp437 nls_ascii nls_iso8859-1 overlay nf_nat xt_LOG nf_log_syslog virtio_net btrfs xfs "
         "cifs gcm ccm isofs nfsd dm-crypt dm-thin-pool vxlan wireguard 9p fuse loop nbd").split()
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
if [ "$1" = configure ]; then limopack --install --from=/usr/share/{REGISTRY} --kernel={X}; fi
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
    (folder / "Packages").write_text(run("apt-ftparchive", "packages", ".", cwd=folder).out)


def sources(root, *folders):
    """Lets the root's apt see these folders below /repo, and nothing else."""
    lines = (f"deb [trusted=yes] file:/repo/{folder} ./\n" for folder in folders)
    (root / "etc/apt/sources.list").write_text("".join(lines))
    root.sh("apt-get -qq update")


def downloads(roots, suite):
    """Debian's packages that the suite's tests need, from the cache or from the archive."""
    made = CACHE / f"{suite}.debs"
    if not made.exists():
        fresh = CACHE / f"{suite}.debs.new"
        shutil.rmtree(fresh, ignore_errors=True)
        with roots.fresh(suite) as root:
            shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
            # stands for an initramfs generator: making one would be slow, and is not what we test
            deb(root / "repo/stub", "no-initramfs", arch="all", Provides="linux-initramfs-tool")
            index(root / "repo/stub")
            sources(root, "stub")
            with open(root / "etc/apt/sources.list", "a") as lines:
                lines.write(f"deb {mirror()} {suite} main\n")
            proxies = {k: v for k, v in os.environ.items() if k.lower().endswith("_proxy")}
            root.sh("apt-get clean; apt-get -qq update; apt-get install -y -d --no-install-recommends "
                    + " ".join(WANTED[suite]), env=proxies)
            fresh.mkdir(parents=True)
            for name in (*(root / "var/cache/apt/archives").glob("*.deb"), *(root / "repo/stub").glob("*.deb")):
                shutil.copy(name, fresh)
        fresh.rename(made)
    return made


def kernel_tree(debs, top):
    """Debian 14's cloud kernel modules, unpacked below `top` and indexed: the version directory."""
    for name in ("linux-modules", "linux-base"):
        run("dpkg-deb", "-x", next(debs.glob(f"{name}-[0-9]*-cloud-*.deb")), top)
    (top / "lib").symlink_to("usr/lib")
    version = next((top / "lib/modules").iterdir())
    run("depmod", "-b", top, version.name)
    return version


def chosen(tree):
    """The seeds' files and all that they depend on, relative to the version directory."""
    wanted = {seed.replace("-", "_") for seed in SEEDS}
    files = set()
    for line in (tree / "modules.dep").read_text().splitlines():
        path, _, needs = line.partition(":")
        if Path(path).name.split(".")[0].replace("-", "_") in wanted:
            files |= {path, *needs.split()}
    return files


def fixtures(suite, tree, out):
    """Builds the walk's packages in two versions: archives `1.0` and `1.1` below `out`."""
    files = chosen(tree)
    for version in ("1.0", "1.1"):
        to = out / version
        for kernel, name, fields in ((X, K, {"Provides": "lima-modules (= 3)"}), (Y, K_SAME, {"Multi_Arch": "same"})):
            base = f"{LIB[suite]}/modules/{kernel}"
            contents = {f"{base}/{name}": tree / name for name in
                        (*files, "modules.order", "modules.builtin", "modules.builtin.modinfo")}
            deb(to, name, version, contents, Depends="kmod", **fields,
                scripts={"postinst": DEPMOD.format(kernel=kernel), "prerm": UNDEPMOD.format(kernel=kernel)})
        deb(to, IMAGE, version, {f"boot/vmlinuz-{X}": "no modules here\n"})
        deb(to, REGISTRY, version, {f"usr/share/{REGISTRY}": f"# the board needs it\n{STATIC}:S\n"},
            {"postinst": REGISTERS}, Depends=K)
        for name in ("app-a", "app-b", "app-fail"):
            app(to, name, version)
        app(to, "app-same", version, modules=K_SAME, Multi_Arch="same")
        deb(to, "bystander", version)
        index(to)
