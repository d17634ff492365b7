"""Completions in real shells: what the tab key makes of a line, in bash, zsh and fish.

A program in the place of limopack prints its arguments, so that a line says what it became.
"""
import os
import pty
import select
import shutil
import signal
import subprocess
import time

import pytest

import boot
import fetch

LIMIT = 20
VERSION, OLDER = "6.1.0", "5.10.0"
# How each shell is started, given the home directory; and what it reads first.
SHELLS = {
    "bash": (["bash", "--rcfile", "{home}/start", "-i"], "PS1='READY '; source {home}/limopack.bash\n"),
    "zsh": (["zsh", "-d", "-i"], "fpath=({home} $fpath); autoload -Uz compinit; compinit -u -d {home}/dump\n"
                                 "PS1='READY '; unsetopt zle_bracketed_paste prompt_sp; setopt no_beep\n"),
    "fish": (["fish", "-i"], "function fish_prompt; echo -n 'READY '; end\n"
                             "set -g fish_greeting; set -g fish_autosuggestion_enabled 0\n"
                             "source {home}/limopack.fish\n"),
}
FILES = {"bash": "start", "zsh": ".zshrc", "fish": ".config/fish/config.fish"}
# What is typed, up to the tab, and what then is the last argument, but for a `=` that some shells take
# back. `ROOT` is a root with a kernel.
LINES = [
    ("limopack --cens", "--census"),
    ("limopack --list --bo", "--boot"),
    ("limopack --check --form", "--format"),
    ("limopack --check --format=j", "--format=json"),
    ("limopack --root=ROOT --list --use=vfa", "--use=vfat"),
    ("limopack --root=ROOT --list --use=ext4,vfa", "--use=ext4,vfat"),
    ("limopack --root=ROOT --list --use=@usb-sto", "--use=@usb-storage"),
    ("limopack --root=ROOT --list --use=ext4,@mi", "--use=ext4,@mine"),
    ("limopack --root=ROOT --list --use @mi", "@mine"),
    (f"limopack --root=ROOT --list --kernel={OLDER} --use=ext", "--use=ext3"),
    (f"limopack --root=ROOT --list -k {OLDER} --use=ext", "--use=ext3"),
    (f"limopack --root=ROOT --list -k {VERSION} --use=ext", "--use=ext4"),
    ("limopack --root=ROOT --list --kernel=6", f"--kernel={VERSION}"),
    ("limopack --root=ROOT --apply --pkname=some-pack", "--pkname=some-package"),
    ("limopack --list --from=ROOT/nam", "--from=ROOT/names"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Where the shells find the completions, and what lies in the place of limopack."""
    home = tmp_path_factory.mktemp("home")
    subprocess.run(["make", "-s", "manual"], cwd=fetch.TOP, check=True)
    for shell, (_, start) in SHELLS.items():
        name = "_limopack" if shell == "zsh" else f"limopack.{shell}"
        shutil.copy(fetch.TOP / f"target/manual/limopack.{shell}", home / name)
        (home / FILES[shell]).parent.mkdir(parents=True, exist_ok=True)
        (home / FILES[shell]).write_text(start.format(home=home))
    boot.program(home / "limopack", '#!/bin/sh\nfor last; do :; done\necho "GOT<$last>"\n')
    return home


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A root with all that is completed. Its path has no letter that a shell would escape."""
    root = tmp_path_factory.mktemp("root")
    for path, text in {
        f"lib/modules/{VERSION}/modules.dep": "kernel/fs/ext4.ko:\nkernel/fs/vfat.ko.xz: kernel/fs/ext4.ko\n",
        f"lib/modules/{OLDER}/modules.dep": "kernel/fs/ext3.ko:\n",
        "usr/lib/limopack/groups.d/usb-storage.conf": "vfat\n", "etc/limopack/groups.d/mine.conf": "vfat\n",
        "var/lib/dpkg/status": "Package: some-package\nStatus: install ok installed\n\n", "names": "ext4\n",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


class Shell:
    """A shell on a terminal of its own."""

    def __init__(self, argv, home):
        env = {"HOME": str(home), "PATH": f"{home}:/usr/bin:/bin", "TERM": "dumb", "LC_ALL": "C", "XDG_CONFIG_HOME": ""}
        self.process, self.terminal = None, None
        pid, self.terminal = pty.fork()
        if pid == 0:
            os.execvpe(argv[0], argv, env)
        self.pid = pid
        self.until("READY ")

    def until(self, wanted):
        """What the shell writes up to `wanted`."""
        text, end = "", time.monotonic() + LIMIT
        while wanted not in text:
            ready, _, _ = select.select([self.terminal], [], [], max(0, end - time.monotonic()))
            assert ready, f"no {wanted!r} within {LIMIT} s: {text!r}"
            text += os.read(self.terminal, 4096).decode(errors="replace")
        return text

    def complete(self, line):
        """The last argument of a line after the tab key."""
        os.write(self.terminal, line.encode() + b"\t")
        time.sleep(1)
        os.write(self.terminal, b"\r")
        return self.until(">").rsplit("GOT<", 1)[-1].split(">")[0].removesuffix("=")

    def close(self):
        os.close(self.terminal)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


@pytest.mark.parametrize("name", SHELLS)
def test_the_tab_key_completes_what_can_only_be_one_thing(name, home, root):
    shell = Shell([word.format(home=home) for word in SHELLS[name][0]], home)
    try:
        became = {line: shell.complete(line.replace("ROOT", str(root))).replace(str(root), "ROOT") for line, _ in LINES}
    finally:
        shell.close()
    assert became == dict(LINES)
