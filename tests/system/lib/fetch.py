#!/usr/bin/python3
"""Real packages from Debian's archive, unpacked beside the host and never installed.

Owns the cache (target/system, or $LIMOPACK_CACHE): the archive's indexes, the
.deb files, the unpacked tools, and one pristine root per kernel and depmod. An
entry is built under its lock, in a `.partial` directory, and renamed when it is
complete, so an entry that exists is whole. Delete the cache to fetch anew.

Must never touch the host's sources, apt state or dpkg database; reads of the
host only the mirror that it uses, its Acquire options (proxies, certificates)
and its archive keyring.

    fetch.py                     fetch and build everything, print the paths
    fetch.py deb SUITE ARCH PKG  print the path of one package file
"""
import fcntl
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import trees

TOP = Path(__file__).resolve().parents[3]
CACHE = Path(os.environ.get("LIMOPACK_CACHE") or TOP / "target/system").absolute()
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SUITES = ["bookworm", "trixie", "forky", "sid"]

# Name: suites (the first that has it), architecture, metapackage that names the newest kernel.
KERNELS = {
    "bookworm": (["bookworm"], "amd64", "linux-image-amd64"),
    "cloud": (["bookworm"], "amd64", "linux-image-cloud-amd64"),
    "armmp": (["bookworm"], "armhf", "linux-image-armmp"),
    "trixie": (["trixie"], "amd64", "linux-image-amd64"),
    "forky": (["forky", "sid"], "amd64", "linux-image-amd64"),
}
# The same for those that only boot, in the long tests.
BOOTED = {
    "arm64": (["bookworm"], "arm64", "linux-image-arm64"),
    "686": (["bookworm"], "i386", "linux-image-686"),
    "rpi": (["bookworm"], "armel", "linux-image-rpi"),
    "riscv64": (["trixie"], "riscv64", "linux-image-riscv64"),
}
# A version, which a metapackage has not: linux-image-686.
KERNEL_PACKAGE = re.compile(r"linux-(image|modules|binary|base)-\d+\.")

# Up to kmod 33, .bin nodes are laid out in post-order, since 34 in pre-order.
KMODS = {"30": "bookworm", "34": "trixie"}


class FetchError(Exception):
    """Something required could not be had; the message tells what and why."""


def output(*argv, env=None, cwd=None):
    done = subprocess.run(argv, env=env, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        command = " ".join(map(str, argv))
        raise FetchError(f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


# -------------------------------------------------------------------- the cache

@contextmanager
def locked(name):
    """One process at a time builds an entry; others may be built meanwhile, those that it needs, too."""
    locks = CACHE / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with open(locks / name.replace("/", "-"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def entry(name, build):
    """The cache entry `name`; `build(directory)` makes it when it is missing."""
    path = CACHE / name
    if path.exists():
        return path
    with locked(name):
        if not path.exists():
            partial = path.with_name(path.name + ".partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            build(partial)
            partial.rename(path)
    return path


# ------------------------------------------------------------------ the archive

@functools.cache
def mirror():
    """The URI from which the host itself gets Debian's main component."""
    targets = output("apt-get", "indextargets", "--format",
                     "$(COMPONENT) $(RELEASE) $(REPO_URI)", "Created-By: Packages")
    for line in targets.splitlines():
        component, release, uri = line.split()
        if component == "main" and not re.search("-(security|updates|backports)", release):
            return uri
    raise FetchError(f"no Debian mirror in the host's apt configuration:\n{targets}")


def keys(suite):
    """Keyrings to trust for `suite`: the host's, and the one that the suite before it ships.

    An older host does not know a newer suite's keys; the archive hands them on
    in each suite's keyring package, which the older keys sign.
    """
    earlier = SUITES[:SUITES.index(suite)]
    if not earlier:
        return [KEYRING]
    package = unpacked(earlier[-1], "amd64", ["debian-archive-keyring"])
    return [KEYRING, package / "usr/share/keyrings/debian-archive-keyring.gpg"]


def archive(suite, arch):
    """The environment in which apt sees only `suite` for `arch`, with a state of its own."""
    def build(directory):
        for sub in ("etc/preferences.d", "state/lists/partial", "cache/archives/partial"):
            (directory / sub).mkdir(parents=True)
        (directory / "status").touch()
        signed_by = ",".join(map(str, keys(suite)))
        # A mirror may be weeks behind; what counts here is that the packages are Debian's.
        (directory / "etc/sources.list").write_text(
            f"deb [signed-by={signed_by} check-valid-until=no] {mirror()} {suite} main non-free-firmware\n")
        acquire = [line for line in output("apt-config", "dump").splitlines()
                   if re.match("Acquire::(?!IndexTargets|Languages)", line)]
        # Relative to Dir, which apt() gives: the entry is renamed after it is built.
        (directory / "apt.conf").write_text("\n".join(acquire + [
            f'APT::Architecture "{arch}";', f'APT::Architectures {{ "{arch}"; }};',
            'Acquire::Languages "none";', 'Dir::Etc "etc";', 'Dir::State "state";',
            'Dir::Cache "cache";', 'Dir::State::status "status";',
            'Dir::Etc::parts "/dev/null";', 'Dir::Etc::sourceparts "/dev/null";',
            'APT::Sandbox::User "root";', ""]))
        apt(directory, "apt-get", "update", "--error-on=any", "-qq")
    return entry(f"indexes/{suite}-{arch}", build)


def apt(directory, command, *args, cwd=None):
    env = dict(os.environ, APT_CONFIG=f"{directory}/apt.conf", LC_ALL="C")
    return output(command, "-o", f"Dir={directory}", *args, env=env, cwd=cwd)


def deb(suite, arch, package):
    """The .deb file of a package (a real name, not a pattern)."""
    def build(directory):
        apt(archive(suite, arch), "apt-get", "download", "-qq", package, cwd=directory)
    directory = entry(f"debs/{suite}-{arch}/{package}", build)
    return next(directory.glob("*.deb"))


def debs(suite, arch, packages):
    """The .deb files of many packages; what is missing comes in one go."""
    missing = [name for name in packages if not (CACHE / f"debs/{suite}-{arch}/{name}").exists()]
    if missing:
        with locked(f"many-{suite}-{arch}"), tempfile.TemporaryDirectory(dir=CACHE) as top:
            apt(archive(suite, arch), "apt-get", "download", "-qq", *missing, cwd=top)
            for file in Path(top).glob("*.deb"):
                entry(f"debs/{suite}-{arch}/{file.name.split('_')[0]}",
                      lambda directory: shutil.copy(file, directory))
    return [deb(suite, arch, name) for name in packages]


def unpacked(suite, arch, packages):
    """A root with the files of `packages`, merged-usr as Debian has it since 12."""
    def build(directory):
        for name in ("bin", "lib", "sbin", "lib64"):
            (directory / "usr" / name).mkdir(parents=True)
            (directory / name).symlink_to(f"usr/{name}")
        for package in debs(suite, arch, packages):
            unpack(package, directory)
    return entry(f"unpacked/{suite}-{arch}/{packages[0]}", build)


def unpack(package, directory):
    """`dpkg -x`, which would replace the link `lib` by a directory, but with links kept."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as tar:
        extract = ["tar", "-x", "--keep-directory-symlink", "-C", directory]
        if subprocess.run(extract, stdin=tar.stdout).returncode or tar.wait():
            raise FetchError(f"{package}: cannot be unpacked into {directory}")


@functools.cache
def dependencies(suite, arch, *packages):
    """The packages and all that they depend on, as apt would install them."""
    plan = apt(archive(suite, arch), "apt-get", "install", "--simulate", "-qq",
               "--no-install-recommends", *packages)
    return [line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")]


def with_dependencies(suite, arch, package):
    """A root with the package and all that it depends on."""
    needs = [name for name in dependencies(suite, arch, package) if name != package]
    return unpacked(suite, arch, [package] + needs)


def source(name):
    """Where kernel `name` is from: suites, architecture, metapackage."""
    return KERNELS.get(name) or BOOTED[name]


def kernel_packages(name):
    """(suite, arch, packages) that bring kernel `name`'s image and modules."""
    suites, arch, metapackage = source(name)
    for suite in suites:
        found = sorted(filter(KERNEL_PACKAGE.match, dependencies(suite, arch, metapackage)))
        if found and (name != "forky" or any("-modules-" in package for package in found)):
            return suite, arch, found
    raise FetchError(f"{metapackage}: no kernel packages in {suites}")


def images(suite, arch, flavour):
    """The suite's packages of one kernel, one for each ABI that it has, oldest first."""
    names = apt(archive(suite, arch), "apt-cache", "pkgnames", "linux-image-").split()
    found = [name for name in names if re.fullmatch(rf"linux-image-\d.*-{flavour}", name)]
    if not found:
        raise FetchError(f"no linux-image-*-{flavour} in {suite}")
    return sorted(found, key=lambda name: [int(number) for number in re.findall(r"\d+", name)])


# -------------------------------------------------------- what the tests ask for

class Kmod:
    """One release of kmod's tools, run with its own C library."""

    def __init__(self, release):
        suite = KMODS[release]
        self.release = release
        self.root = with_dependencies(suite, "amd64", "kmod")

    def argv(self, tool, *args):
        """The command line of `depmod`, `modprobe` or `modinfo`."""
        libraries = f"{self.root}/usr/lib/x86_64-linux-gnu"
        return [f"{libraries}/ld-linux-x86-64.so.2", "--argv0", tool, "--library-path",
                libraries, f"{self.root}/usr/bin/kmod", *map(str, args)]

    def depmod(self, root, version):
        output(*self.argv("depmod", "-b", root, version))


@functools.cache
def kmod(release):
    return Kmod(release)


def kernel_tree(name, release="30"):
    """A pristine root with kernel `name`, indexed by depmod of kmod `release`; copy it to edit."""
    def build(directory):
        (directory / "lib").symlink_to("usr/lib")
        trees.copy(unpacked_kernel(name) / "usr/lib/modules", directory / "usr/lib/modules")
        kmod(release).depmod(directory, trees.version(directory))
    return entry(f"kernels/{name}-kmod{release}", build)


def unpacked_kernel(name):
    """Debian 14 spreads a kernel's files over linux-modules and linux-base (modules.order)."""
    return unpacked(*kernel_packages(name))


def busybox(arch="amd64", suite="bookworm"):
    """A static busybox."""
    return unpacked(suite, arch, ["busybox-static"]) / "bin/busybox"


def main(args):
    if args[:1] == ["deb"]:
        print(deb(*args[1:]))
        return
    for release in KMODS:
        for name in KERNELS:
            root = kernel_tree(name, release)
            print(f"{name} {trees.version(root)} kmod {release}: {root}", flush=True)
    for package in kernel_packages("forky")[2]:
        print(deb(*kernel_packages("forky")[:2], package))
    for arch in ("amd64", "armhf"):
        print(busybox(arch))
        print(with_dependencies("bookworm", arch, "kmod"))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except FetchError as error:
        sys.exit(f"fetch.py: {error}")
