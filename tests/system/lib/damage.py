"""One byte of a file changed, at many places: what a call then does, and what that is called.

Owns the places, the bytes, the ground on which a call runs again and again, and the count of what
came of it. What is right after a call is for the tests to say: their `classify` gets a `Try`.
Everything is deterministic: the same file has the same damages in every run.
"""
import os
import random
import re
import shutil
import stat
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import faults
import tools
import trees

PLACES = 200
# What a byte becomes: separators and digits of the formats, letters, bytes that no text has.
SEPARATORS = b" \n:#\t/.-_,=?@!"
DIGITS = b"0123456789S"
LETTERS = bytes(range(ord("a"), ord("z") + 1))
STRANGE = b"\0\x01\x7f\xff"


def damages(data, name):
    """[(place, the byte that is there then)]: the places spread evenly over the data."""
    rng = random.Random(name)
    found = []
    for turn in range(PLACES):
        # One place in each of as many equal parts; a short file has several damages at a place.
        at = min(int((turn + rng.random()) * len(data) / PLACES), len(data) - 1)
        # A turned bit is what memory does; a letter makes a name another one.
        choices = (SEPARATORS, DIGITS, LETTERS, STRANGE, bytes([data[at] ^ 1 << rng.randrange(8)]))
        found.append((at, rng.choice(bytes(set(rng.choice(choices)) - {data[at]}) or b"\0")))
    return found


def state(top, seen):
    """Path → (mode, content) of all that is in a directory; directories have none. `seen` has what was
    read before, by path, with the inode and the times that tell whether it is still that."""
    found, folders = {}, [""]
    while folders:
        folder = folders.pop()
        with os.scandir(os.path.join(top, folder)) as entries:
            for entry in entries:
                path, about = folder + entry.name, entry.stat(follow_symlinks=False)
                content = None
                if stat.S_ISDIR(about.st_mode):
                    folders.append(path + "/")
                elif stat.S_ISLNK(about.st_mode):
                    content = os.readlink(entry.path)
                elif stat.S_ISREG(about.st_mode):
                    which = (about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
                    if seen.get(path, (None,))[0] != which:
                        seen[path] = which, Path(entry.path).read_bytes()
                    content = seen[path][1]
                found[path] = about.st_mode, content
    return found


def put_back(root, whole, now):
    """Makes a root that is as `now` says what `whole` says."""
    for path in sorted(now.keys() | whole.keys()):
        if path in now and path not in whole or path in whole and now.get(path) != whole[path]:
            at = root / path
            if path in now and (path not in whole or not stat.S_ISDIR(now[path][0])):
                shutil.rmtree(at) if at.is_dir() and not at.is_symlink() else at.unlink(missing_ok=True)
            if path in whole:
                mode, content = whole[path]
                if stat.S_ISDIR(mode):
                    at.mkdir(exist_ok=True)
                elif stat.S_ISLNK(mode):
                    at.symlink_to(content)
                else:
                    at.write_bytes(content)
                if not stat.S_ISLNK(mode):
                    at.chmod(stat.S_IMODE(mode))


@dataclass
class Try:
    """A call on a root with a damaged file."""
    root: Path
    file: str  # relative to the root
    old: bytes
    new: bytes
    at: int
    code: int
    out: str
    err: str
    before: dict  # the root with the damage
    after: dict

    @property
    def name(self):
        """The damaged file's."""
        return os.path.basename(self.file)

    @property
    def lines(self):
        """The damaged line, as it was and as it is; several lines where a newline came or went."""
        start = min(data.rfind(b"\n", 0, self.at) + 1 for data in (self.old, self.new))
        ends = [data.find(b"\n", self.at + 1) for data in (self.old, self.new)]
        return [data[start:end if end >= 0 else None].decode(errors="backslashreplace")
                for data, end in zip((self.old, self.new), ends)]

    def __str__(self):
        old, new = self.lines
        return (f"{self.file}: byte {self.at} {self.old[self.at]:#04x} is {self.new[self.at]:#04x}\n"
                f"  line: {old[:300]!r}\n   now: {new[:300]!r}\n  exit {self.code}: {self.err.strip()}")


class Ground:
    """A root that is put back after every call."""

    def __init__(self, root):
        self.root, self.seen = Path(root), {}
        self.whole = state(self.root, self.seen)

    def call(self, args):
        """The finished call on the root as it is, and the root then."""
        done = subprocess.run([tools.binary(), f"--root={self.root}", *args], capture_output=True,
                              timeout=faults.PATIENCE, stdin=subprocess.DEVNULL)
        return done, state(self.root, self.seen)

    def tries(self, file, args):
        """Each damage of a file of the root in turn, and what the call made of it; the first one is none."""
        old = self.whole[file][1]
        for at, byte in [(0, old[0]), *damages(old, file)]:
            new = old[:at] + bytes([byte]) + old[at + 1:]
            (self.root / file).write_bytes(new)
            before = {**self.whole, file: (self.whole[file][0], new)}
            done, after = self.call(args)
            try:
                yield Try(self.root, file, old, new, at, done.returncode,
                          *(text.decode(errors="backslashreplace") for text in (done.stdout, done.stderr)),
                          before, after)
            finally:
                put_back(self.root, self.whole, after)


def refused(one):
    """A refusal: with the right code, in words that name what is wrong, and without a change."""
    assert one.code == 1, f"exit {one.code}"
    changed = sorted(path for path in one.before.keys() | one.after.keys()
                     if one.before.get(path) != one.after.get(path))
    assert not changed, f"refused, but changed: {changed}"
    assert one.err, "refused without a word"


def spoken(one):
    """Every message is one of limopack's, and printable."""
    for line in one.err.splitlines():
        assert line.startswith("limopack: "), f"no message: {line!r}"
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", one.err), "control bytes"


def campaign(ground, file, args, classify):
    """Tries all damages: how often each answer of `classify` came. It returns the name of what came of a
    success, and raises AssertionError for what must not be."""
    counts, broken, tries = Counter(), [], ground.tries(file, args)
    sound = next(tries)
    assert sound.code == 0 and classify(sound) == "harmless", f"undamaged: {sound}"
    for one in tries:
        try:
            spoken(one)
            if one.code:
                refused(one)
                counts["refused"] += 1
            else:
                counts[classify(one)] += 1
        except Exception as problem:  # the model reads nothing that is torn
            broken.append(f"{one}\n  {problem!r}")
    # What the model read may have bytes that no text has.
    shown = "\n".join(broken[:20]).encode(errors="backslashreplace").decode()
    assert not broken, f"{len(broken)} of {PLACES} damages:\n{shown}"
    return counts


def summary(counts):
    """The counts for people."""
    return ", ".join(f"{count} {what}" for what, count in counts.items())
