"""One byte of the package database, of limopack's queue or of its notes changed, at 200 places each.

Owns what a damage may do to an apply and to a settle: it is refused and nothing changes, or every
other package's stanza and files are what they were, real dpkg reads of the database what it read
before, what was asked for is done, still queued, or spoken of, and no module is gone that stays
without the damage. What no reader can tell from what somebody meant is named, and counted.
"""
import os
import re
import shutil
import tempfile
from pathlib import Path

import pytest

import damage
import model
import tools

# So many processes can share the work.
GROUPS = 4
SAMPLE = Path(__file__).resolve().parents[2] / "sample.sh"
VERSION, OTHER = "6.1.0-sample", "6.1.0-twin"
MODULES, TWIN = f"linux-modules-{VERSION}", f"linux-modules-{OTHER}"
LIB, DPKG, OWN = "lib/modules", "var/lib/dpkg", "var/lib/limopack"
REGISTRY = "#! base\next4:S\nbtrfs:1\n#@ btrfs app\ne1000e:S\n"
KEPT = ["ext4", "btrfs", "e1000e"]
PENDING = f"{MODULES} stand-in {VERSION}\n{TWIN} plain {OTHER}\n"
APP = """Package: app
Status: install ok installed
Priority: optional
Maintainer: Sample <sample@localhost>
Architecture: amd64
Version: 2.0
Depends: kmod (>= 30), libc6
Conffiles:
 /etc/app.conf d41d8cd98f00b204e9800998ecf8427e
Description: needs btrfs
 A line of the description.

"""
STATES = f"""Package: kmod
Architecture: amd64
Auto-Installed: 1

Package: {MODULES}
Architecture: amd64
Auto-Installed: 1

"""
SUM = "d41d8cd98f00b204e9800998ecf8427e"


def sample(root):
    """The sample's root, with a registry, a package beside the kernel's, and what dpkg and apt leave."""
    tools.run("sh", SAMPLE, root)
    shutil.rmtree(root / "proc")
    vdir = root / LIB / VERSION
    for path in vdir.rglob("*.ko"):
        path.write_bytes(b"")
    (vdir / "modules.active").write_text(REGISTRY)
    dpkg = root / DPKG
    for name in ("lock", "lock-frontend", "triggers/Lock", "info/app.md5sums"):
        (dpkg / name).parent.mkdir(exist_ok=True)
        (dpkg / name).touch()
    (dpkg / "info/format").write_text("1\n")
    (dpkg / "info/app.list").write_text("/.\n/etc\n/etc/app.conf\n")
    with open(dpkg / "status", "a") as status:
        status.write(APP)
    (root / "var/lib/apt").mkdir()
    (root / "var/lib/apt/extended_states").write_text(STATES)
    (root / OWN).mkdir()
    info = dpkg / f"info/{MODULES}"
    folders = {f"/{folder}" for path in vdir.rglob("*.ko") for folder in path.relative_to(root).parents}
    listed = sorted(folders | {f"/{path.relative_to(root)}" for path in vdir.rglob("*.ko")})
    info.with_name(f"{MODULES}.list").write_text("".join(f"{path}\n" for path in listed))
    info.with_name(f"{MODULES}.md5sums").write_text(
        "".join(f"{SUM}  {path[1:]}\n" for path in listed if path.endswith(".ko")))


def trimmed(root):
    """The package of the modules has the kernel, too, as in Debian 12."""
    (root / "boot").mkdir()
    (root / f"boot/vmlinuz-{VERSION}").touch()
    info = root / DPKG / "info"
    with open(info / f"{MODULES}.list", "a") as text:
        text.write(f"/boot\n/boot/vmlinuz-{VERSION}\n")
    with open(info / f"{MODULES}.md5sums", "a") as text:
        text.write(f"{SUM}  boot/vmlinuz-{VERSION}\n")


def queued(root):
    """A second kernel with its package, and both packages in the queue."""
    shutil.copytree(root / LIB / VERSION, root / LIB / OTHER)
    dpkg = root / DPKG
    for suffix in ("list", "md5sums"):
        text = (dpkg / f"info/{MODULES}.{suffix}").read_text()
        (dpkg / f"info/{TWIN}.{suffix}").write_text(text.replace(VERSION, OTHER))
    text = (dpkg / "status").read_text()
    stanza = next(part for part in text.split("\n\n") if part.startswith(f"Package: {MODULES}\n"))
    (dpkg / "status").write_text(text + stanza.replace(VERSION, OTHER) + "\n\n")
    (root / OWN / "pending").write_text(PENDING)


def forgotten(root):
    """The package is forgotten already, by hand, and its script asks again."""
    tools.run(tools.binary(), f"--root={root}", "--apply", f"--pkname={MODULES}")


GROUNDS = {"forget": lambda root: None, "trim": trimmed, "queue": queued, "forgotten": forgotten}
APPLY, SETTLE = ["--apply", f"--pkname={MODULES}"], ["--settle"]
STATUS, LIST, SUMS = f"{DPKG}/status", f"{DPKG}/info/{MODULES}.list", f"{DPKG}/info/{MODULES}.md5sums"
MARKS = "var/lib/apt/extended_states"
ACTIVE = f"{LIB}/{VERSION}/modules.active"
CASES = [
    *((ground, file, APPLY) for ground in ("forget", "trim") for file in (STATUS, LIST, SUMS, MARKS, ACTIVE)),
    *(("queue", file, SETTLE) for file in (f"{OWN}/pending", STATUS, LIST, ACTIVE)),
    *(("forgotten", f"{OWN}/forgotten", args) for args in (APPLY, SETTLE)),
    *(("forgotten", STATUS, args) for args in (APPLY, SETTLE)),
]


@pytest.fixture(scope="module")
def ground(tmp_path_factory, scratch):
    made = {}

    def get(name):
        if name not in made:
            root = Path(tempfile.mkdtemp(prefix=f"damage-dpkg-{name}-", dir=scratch))
            sample(root)
            GROUNDS[name](root)
            made[name] = damage.Ground(root), model.Index(root / LIB / VERSION)
        return made[name]
    return get


def stanzas(text):
    """The stanzas of a status, without the empty lines between them."""
    return [part for part in re.split(rb"\n\n+", text.strip(b"\n")) if part]


def package(stanza):
    found = re.search(rb"^package:[ \t]*(.*?)[ \t]*$", stanza, re.I | re.M)
    return found[1].decode(errors="backslashreplace") if found else ""


def database_sound(one, wanted):
    """Of the packages asked for some are gone; all else is what it was. They are returned."""
    old, new = (stanzas(root[STATUS][1]) for root in (one.before, one.after))
    gone = [stanza for stanza in old if stanza not in new]
    come = [stanza for stanza in new if stanza not in old]
    names = [package(stanza) for stanza in gone]
    assert set(names) <= wanted | {f"limopack-stand-in-{name}" for name in wanted}, f"stanzas lost: {names}"
    strange = [package(stanza) for stanza in come if package(stanza)[:18] != "limopack-stand-in-"]
    assert not strange, f"stanzas changed: {strange}"
    assert [stanza for stanza in new if stanza in old] == [stanza for stanza in old if stanza in new], "another order"
    for path in one.before:
        if path.startswith(f"{DPKG}/info/") and path in one.after and one.after[path] != one.before[path]:
            shorter(one, path)
        own = any(path.startswith(f"{DPKG}/info/{end}{name}.") for name in wanted for end in ("", "limopack-stand-in-"))
        assert path in one.after or own or not path.startswith(DPKG), f"lost: {path}"
    marks = [[stanza for stanza in stanzas(root[MARKS][1]) if package(stanza) not in wanted]
             for root in (one.before, one.after)]
    assert marks[0] == marks[1], "marks of others changed"
    return set(names), readable(one, set(names), {package(stanza) for stanza in come})


def query(admin):
    """What dpkg reads: its exit code and the packages."""
    done = tools.run("dpkg-query", f"--admindir={admin}", "-W", "-f", "${Package}\\n", code=None, errors="backslashreplace")
    return done.returncode, set(done.stdout.split())


def readable(one, gone, come):
    """Real dpkg reads what it read before, less what is gone."""
    admin = one.root / DPKG
    code, packages = query(admin)
    if code == 0 and packages == set(map(package, stanzas(one.after[STATUS][1]))):
        audit = tools.run("dpkg", f"--admindir={admin}", "--audit", code=None, errors="backslashreplace")
        assert audit.returncode in (0, 1) and "error" not in audit.stderr, audit.stderr
        return "harmless"
    with tempfile.TemporaryDirectory(dir=one.root.parent) as before:
        for folder in ("info", "updates"):
            os.mkdir(f"{before}/{folder}")
        Path(before, "status").write_bytes(one.before[STATUS][1])
        old, known = query(before)
    # What dpkg dislikes about somebody else's stanza is still there for its owner to see.
    assert one.file == STATUS and code == old, f"dpkg no longer reads it: {old}, now {code}"
    assert code or packages == known - gone | come, f"dpkg reads other packages: {packages ^ known}"
    return "unreadable for dpkg before and after" if code else "a stanza that dpkg takes for another before and after"


def shorter(one, path):
    """A list or checksums lost only lines of files below a kernel that are not there."""
    old, new = (root[path][1].split(b"\n") for root in (one.before, one.after))
    assert [line for line in old if line in new] == new, f"{path} has new lines"
    for line in set(old) - set(new):
        file = line[34:] if path.endswith(".md5sums") else line[1:]
        assert re.match(rb"(usr/)?lib/modules/", file), f"{path}: lost {line!r}"
        is_there = os.path.exists(os.path.join(os.fsencode(one.root), file))
        is_index = path.endswith(".md5sums") and b"/modules." in file
        assert is_index or not is_there, f"{path}: lost {line!r}, which is there"


def modules_of(state, version):
    return {model.name_of(path) for path in state if path.startswith(f"{LIB}/{version}/") and path.endswith(".ko")}


def classify(one, index, args):
    wanted = {MODULES, TWIN} if args == SETTLE else {MODULES}
    gone, came = database_sound(one, wanted)
    for version in (VERSION, OTHER):
        lost = index.stays(KEPT) - modules_of(one.after, version)
        if lost and modules_of(one.before, version):
            assert registered_otherwise(one, index), f"lost without a word: {sorted(lost)}"
            return "another registry"
    # What was asked for is done, or waits, or is spoken of: by its name, or by what that is now.
    queue = one.after.get(f"{OWN}/pending", (0, b""))[1].decode(errors="backslashreplace")
    for name in wanted if args == APPLY or f"{OWN}/pending" in one.before else ():
        was_there = any(package(stanza) == name for stanza in stanzas(one.before[STATUS][1]))
        if name in gone or not was_there or name in queue or name in one.err:
            continue
        assert one.name == "pending", f"{name}: neither done nor queued nor spoken of"
        return dropped(one)
    return came


def dropped(one):
    """A line of the queue that names another package now: it is said that there is none."""
    old, new = one.lines
    for line in new.split("\n"):
        # As in every message, what is no text is shown as something else.
        shown = re.escape((line.split() or [""])[0])
        if re.search("limopack: .* is not installed", one.err) or re.search(shown, one.err):
            return "reported"
    raise AssertionError("a request is dropped without a word")


def registered_otherwise(one, index):
    """Lines of a registry: a comment, or another module's name."""
    lines = set(one.lines[1].split("\n")) - set(one.lines[0].split("\n"))
    return one.name == "modules.active" and any(
        line.startswith("#") or index.resolve(line.split(":")[0]) for line in lines)


@pytest.mark.parametrize("case", [
    pytest.param(case, id=f"{case[0]} {os.path.basename(case[1])}, {case[2][0]}",
                 marks=pytest.mark.xdist_group(f"damage {number % GROUPS}"))
    for number, case in enumerate(CASES)])
def test_no_changed_byte_costs_a_stanza_without_a_word(case, ground, row):
    name, file, args = case
    place, index = ground(name)
    counts = damage.campaign(place, file, args, lambda one: classify(one, index, args))
    row(f"damage: {os.path.basename(file)}, {damage.PLACES} bytes", f"{name}, {args[0]}: {damage.summary(counts)}")
