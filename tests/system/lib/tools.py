"""Running things: limopack itself, many processes cheaply, and kmod as the oracle.

Owns every subprocess of the tests but those that fetch. Must not decide what
is right: tests do.
"""
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import fetch
import trees

BINARY = Path(os.environ.get("LIMOPACK_BIN") or fetch.TOP / "target/release/limopack").absolute()
# A module built into every kernel here, which no alias names: marks where one answer ends.
SEPARATOR = "glob"


def binary():
    if not os.access(BINARY, os.X_OK):
        sys.exit(f"{BINARY}: not there; build it (make release) or set LIMOPACK_BIN")
    return str(BINARY)


def run(*argv, code=0, **options):
    """The finished process; fails unless it exits with `code` (None: any)."""
    done = subprocess.run([str(arg) for arg in argv], text=True, capture_output=True, **options)
    if code is not None:
        check(done, code)
    return done


def check(done, code):
    """Fails unless the process exited with `code`."""
    if done.returncode != code:
        raise AssertionError(f"{' '.join(done.args)}\nexit {done.returncode}, expected {code}\n"
                             f"stdout: {done.stdout[-2000:]}\nstderr: {done.stderr[-2000:]}")


def argv(root, *args):
    """limopack's command line for the one kernel in `root`."""
    return [binary(), f"--root={root}", f"--kernel={trees.version(root)}", *map(str, args)]


def limopack(root, *args, code=0):
    return run(*argv(root, *args), code=code)


def run_each(commands):
    """[(status, stdout, stderr)] of many short commands: one file takes all output."""
    answers = []
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        ends = [0, 0]
        actions = [(os.POSIX_SPAWN_DUP2, out.fileno(), 1), (os.POSIX_SPAWN_DUP2, err.fileno(), 2)]
        for command in commands:
            pid = os.posix_spawn(command[0], command, os.environ, file_actions=actions)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            texts = []
            for at, stream in enumerate((out, err)):
                start, ends[at] = ends[at], os.lseek(stream.fileno(), 0, os.SEEK_CUR)
                texts.append(os.pread(stream.fileno(), ends[at] - start, start).decode())
            answers.append((status, *texts))
    return answers


def system_calls(*argv):
    """The calls of a command between execve and exit, with the paths of their files."""
    with tempfile.NamedTemporaryFile("r") as trace:
        run("strace", "-f", "-y", "-o", trace.name, *argv)
        return [line for line in trace.read().splitlines()
                if re.search(r"^\d+ +\w+\(", line) and not re.search(r" (execve|exit_group)\(", line)]


def counted(*argv, code=0, seconds=600):
    """The finished process, and how many instructions it executed in user mode, all of them; None
    where counting them takes more processor time than `seconds`."""
    def limit():
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # callgrind takes four times as long, and misses the last instructions before a jump out of a block.
    done = run("valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null",
               *argv, code=None, preexec_fn=limit)
    if done.returncode == -signal.SIGXCPU:
        return done, None
    check(done, code)
    (count,) = re.findall(r"I +refs: +([\d,]+)", done.stderr)
    return done, int(count.replace(",", ""))


def instructions(*argv):
    """How many instructions a command executes, in user mode."""
    return counted(*argv)[1]


class Modprobe:
    """What kmod's modprobe answers about the kernel in `root`, without any configuration."""

    def __init__(self, release, root):
        self.kmod, self.root, self.version = fetch.kmod(release), root, trees.version(root)

    def _ask(self, flag, names, separator):
        """The answer's lines for each name; what is not found has none."""
        answers = []
        for start in range(0, len(names), 2000):
            chunk = names[start:start + 2000]
            query = [word for name in chunk for word in (SEPARATOR, name)]
            done = run(*self.kmod.argv("modprobe", "-C", "/nonexistent", "-d", self.root,
                                       "-S", self.version, "-a", flag, *query), code=None)
            parts = done.stdout.split(f"{separator}\n")[1:]
            assert len(parts) == len(chunk), done.stderr[-2000:]
            answers += [part.splitlines() for part in parts]
        return dict(zip(names, answers))

    def show_depends(self, names):
        """Name → paths that modprobe would load, in its order, relative to the version directory."""
        # Symbolic links above the version directory are not resolved, so the prefix is literal.
        prefix = f"insmod {self.root}/lib/modules/{self.version}/"
        return {name: [line[len(prefix):].strip() for line in answer if line.startswith(prefix)]
                for name, answer in self._ask("-D", names, f"builtin {SEPARATOR}").items()}

    def resolve(self, names):
        """Name or alias → module names, built-ins too, in modprobe's order."""
        return self._ask("-R", names, SEPARATOR)
