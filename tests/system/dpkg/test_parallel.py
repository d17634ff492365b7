"""Two hundred calls at once while dpkg installs and removes packages: nothing is lost, nothing torn, and
who cannot go on says so.

Each owner's calls follow each other, so that what has to be true at the end is known from what they said,
whatever the order was.
"""

import random
import re
import threading

from checks import files, forgotten, modules_right, registry
from packages import IMAGE, K, REGISTRY, X

OWNERS, CALLS = 40, 200
SEEDS = "vfat overlay nf_nat loop nbd fuse isofs xfs".split()
PACKAGES = "app-a bystander"
# Why limopack may refuse inside of a maintainer script: dpkg's lock is taken, as by another dpkg; or a prune
# came between the removal of a package, which gave its modules back, and its next installation.
REFUSALS = r"lock|limopack: no module \w+ in kernel"
# What a call may end with, and how it has to say so.
HONEST = {
    0: "",
    1: r"limopack: (.*problems?$|no module \w+ in kernel|.* is not installed$)",
    75: r"limopack: .*is locked by (process \d+|another process)",
}


def calls():
    """Shell lines that run at once. An owner's commands follow each other: it asks for two modules, for
    all three (which counts none twice), and gives one back. The other calls only disturb."""
    rand = random.Random(7)
    jobs = []
    for owner in range(OWNERS):
        names, own = rand.sample(SEEDS, 3), f"--owner=own{owner} -k {X}"
        jobs.append([f"limopack --install --use={','.join(names[:2])} {own}",
                     f"limopack --install --use={','.join(names)} {own}",
                     f"limopack --remove --use={names[0]} {own}"])
    others = ["--list", "--tree", "--check", "--census", "--why --use=vfat", "--prune", "--settle",
              f"--apply --pkname={K}", "--list --use=xfs", "--install --use=vfat --dry-run"]
    jobs += [[f"limopack {others[at % len(others)]}"] for at in range(CALLS - 3 * OWNERS)]
    rand.shuffle(jobs)
    return jobs


def expected(ended):
    """Owner → modules, from what each owner's calls said that they did."""
    kept = {}
    for command, status in ended:
        call = re.search(r"--(install|remove) --use=(\S+) --owner=(\S+)", command)
        if call and status == 0:
            names, held = set(call[2].split(",")), kept.setdefault(call[3], set())
            held |= names
            if call[1] == "remove":
                held -= names
    return kept


class Dpkg(threading.Thread):
    """Installs and removes packages until it is told to end, one of them with limopack in its scripts."""

    def __init__(self, root):
        super().__init__()
        self.root, self.turns, self.problems, self.end = root, 0, [], threading.Event()

    def run(self):
        while not self.end.is_set():
            for script in ("dpkg -i /repo/1.0/bystander_*.deb /repo/1.0/app-a_*.deb", f"dpkg -r {PACKAGES}"):
                said = self.root.sh(script, ok=None)
                if said.code and not re.search(REFUSALS, said.err):
                    self.problems.append(f"{said.command}: exit {said.code}\n{said.err}")
            self.turns += 1


def test_two_hundred_calls_lose_nothing_while_dpkg_works(root):
    """Story: an install looked its modules up and then waited for the lock that a prune held. The prune
    deleted them, the install registered them and said nothing."""
    root.sh(f"apt-get -y install {IMAGE} {K} {REGISTRY}")
    jobs, dpkg = calls(), Dpkg(root)
    dpkg.start()
    script = "\n".join(f"({line_by_line(job, at)}) &" for at, job in enumerate(jobs))
    try:
        root.sh(f"mkdir /said; cd /said; set +e\n{script}\nwait")
    finally:
        dpkg.end.set()
        dpkg.join()
    assert dpkg.turns and not dpkg.problems, "\n".join(dpkg.problems[:3])
    ended = [(command, honest(root / f"said/{at}-{number}", command))
             for at, job in enumerate(jobs) for number, command in enumerate(job)]
    assert len(ended) == CALLS

    kept, entries = expected(ended), registry(root, X)
    assert any(kept.values())
    for owner, names in kept.items():
        assert {name for name, (_, owners) in entries.items() if owner in owners} == names, owner
    for name, (count, owners) in entries.items():
        assert owners <= kept.keys() | {"app-a"}, owners
        assert count == "S" or int(count) == len(owners), f"{name}: {count} references, owners {owners}"
    assert entries.keys() <= files(root, X).keys(), "a registered module is gone"
    assert not [path for top in ("usr/lib/modules", "lib/modules", "var/lib") for path in (root / top).rglob("*-new")]

    # What dpkg was too busy for is done by a call that nobody disturbs.
    root.sh(f"dpkg -r {PACKAGES}", ok=None)
    root.sh(f"limopack --apply --pkname={K}")
    forgotten(root, K, X)
    modules_right(root, X)


def line_by_line(job, at):
    """Each command of a job by itself: its messages and its exit status are kept."""
    return " ; ".join(f"{command} > {at}-{number}.out 2> {at}-{number}.err; echo $? > {at}-{number}.code"
                      for number, command in enumerate(job))


def honest(said, command):
    """The exit status of a call, which it gave a reason for."""
    status = int(said.with_suffix(".code").read_text())
    err = said.with_suffix(".err").read_text()
    assert status in HONEST and re.search(HONEST[status], err, re.M), f"{command}\nexit {status}: {err}"
    assert all(line.startswith("limopack: ") for line in err.splitlines()), err
    return status
