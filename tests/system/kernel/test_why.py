"""`--why` on real kernels' trees.

Owns the promise that a reason is a true one: every step of every way that is printed is a need
that the tests' own model knows, and what has none is needed by nothing.
"""
import re

import pytest

import model
import tools
import trees

REGISTRY = """btrfs:2
#@ btrfs myapp otherapp
ext4:S
iwlwifi:1
#@ iwlwifi myapp
nokia:1
r8169:3
"""
BUILT_IN = "what is built into the kernel needs it"
KERNELS = [("bookworm", "30"), ("trixie", "34"), ("forky", "34")]


@pytest.fixture(params=KERNELS, ids=[name for name, _ in KERNELS])
def registered(request, copy_of):
    """A kernel with a registry and two loaded modules, and what is known of the kernel."""
    root = copy_of(*request.param)
    vdir = trees.directory(root)
    (vdir / "modules.active").write_text(REGISTRY)
    # No module of these kernels has one by itself.
    (vdir / "modules.weakdep").write_text("weakdep ext4 r8152\n")
    (root / "proc").mkdir()
    (root / "proc/modules").write_text("ftdi_sio 1 0 - Live 0x0\nusbserial 1 1 ftdi_sio, Live 0x0\n")
    return root, model.Index(vdir)


def why(root, *args):
    said = tools.limopack(root, "--why", *args)
    return dict(line.split(": ", 1) for line in said.stdout.splitlines())


def test_every_reason_is_a_true_one(registered, scratch):
    root, index = registered
    holds = {"btrfs": "registered (2: myapp otherapp)", "ext4": "registered (S)",
             "iwlwifi": "registered (1: myapp)", "r8169": "registered (3)",
             "ftdi_sio": "loaded", "usbserial": "loaded"}
    needed = index.stays(holds)
    edges = {"dependency": lambda user: index.dep[user],
             "soft": lambda user: [hit for target in index.soft.get(user, []) for hit in index.resolve(target)],
             "weak": lambda user: [hit for target in index.weak.get(user, []) for hit in index.resolve(target)],
             "hidden": lambda user: [hit for target in model.HIDDEN.get(user, []) for hit in index.resolve(target)]}
    names = scratch / "names"
    names.write_text("".join(f"{name}\n" for name in index.path))
    answers = why(root, f"--from={names}")
    assert answers.keys() == index.path.keys()
    kinds = set()
    for name, reason in answers.items():
        if name in holds:
            assert reason == holds[name]
        elif name not in needed:
            assert reason == "nothing needs it", name
        else:
            first, *steps = reason.split(" -> ")
            if first == BUILT_IN:
                assert name in index.asked_by_builtin and not steps
                continue
            hold, user = re.fullmatch(rf"(loaded|registered \(.*\)|{BUILT_IN}) (\w+)", first).groups()
            assert hold == holds[user] if hold != BUILT_IN else user in index.asked_by_builtin
            for step in steps:
                kind, module = step.split(" ")
                assert module in edges[kind](user), f"{name}: {reason}"
                kinds.add(kind)
                user = module
            assert user == name
    assert kinds == edges.keys()


def test_each_kind_of_answer(copy_of):
    root = copy_of("bookworm")
    (trees.directory(root) / "modules.active").write_text(REGISTRY)
    asked = {"ext4": "registered (S)", "btrfs": "registered (2: myapp otherapp)",
             "jbd2": "registered (S) ext4 -> dependency jbd2",
             "realtek": "registered (3) r8169 -> soft realtek",
             "iwlmvm": "registered (1: myapp) iwlwifi -> hidden iwlmvm",
             "mac80211": "registered (1: myapp) iwlwifi -> hidden iwldvm -> dependency mac80211",
             "ftdi_sio": "nothing needs it", "tcp_cubic": "built into the kernel",
             "nokia": "not on disk, but registered", "extt4": "not on disk"}
    assert why(root, f"--use={','.join(asked)}") == asked
    assert why(root, "--use=fs-ext4,pci:v000010ECd00008169sv0sd0bc02sc00i00") == {
        "ext4": "registered (S)", "r8169": "registered (3)"}
    tools.limopack(root, "--prune", "--force")
    gone = {name: "not on disk" for name, answer in asked.items() if answer == "nothing needs it"}
    assert why(root, f"--use={','.join(asked)}") == {**asked, **gone}
