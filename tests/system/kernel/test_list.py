"""`--list` and the registry on real Debian kernels, against kmod's own answers.

Owns the promise of the listing: for every module of every kernel it prints
what modprobe would load, and what lies beyond is explained by the model; what
a listing costs; that parallel registrations lose nothing; and that a root's
symbolic links never lead out of it.
"""
import re
import subprocess

import pytest

import fetch
import machine
import model
import tools
import trees

NEWEST = {"bookworm": "30", "cloud": "30", "armmp": "30", "trixie": "34", "forky": "34"}
# Two of the second kind are for the directories of needs.d.
SYSCALLS, SOURCE_SYSCALLS = 24, 32
# Half of it is what stays besides: what built-in modules ask for, and the boot.
INSTRUCTIONS = {"modules.dep.bin": 1_500_000, "modules.dep": 2_200_000}


def first(problems):
    """A failure's text: how many, and the first few."""
    return f"{len(problems)} problems:\n" + "\n".join(
        f"{name}: {what}" for name, what in sorted(problems.items())[:8])


@pytest.fixture(scope="module", params=list(fetch.KERNELS))
def kernel(request, pristine, index_of):
    """One kernel: its root, the model of it, kmod's answers, and what limopack lists for each name."""
    name, release = request.param, NEWEST[request.param]
    root, index = pristine(name, release), index_of(name, release)
    names = sorted(index.path)
    answers = tools.run_each([tools.argv(root, "--list", f"--use={module}") for module in names])
    failed = {module: answer for module, answer in zip(names, answers) if answer[0]}
    assert not failed, first(failed)
    return {"root": root, "index": index, "release": release, "names": names,
            "modprobe": tools.Modprobe(release, root),
            "listed": {name: out.splitlines() for name, (_, out, _) in zip(names, answers)}}


def without_softdeps(root, scratch):
    """The same kernel as if no module asked for another one softly."""
    bare, vdir = scratch / f"{root.name}-bare", trees.directory(root)
    bare_vdir = bare / "lib/modules" / vdir.name
    if not bare.exists():
        bare_vdir.mkdir(parents=True)
        for entry in vdir.iterdir():
            if entry.name not in ("modules.softdep", "modules.weakdep"):
                (bare_vdir / entry.name).symlink_to(entry)
    return bare


def test_the_model_reads_the_tree_as_modprobe_does(kernel, scratch):
    """Without this the other tests would compare limopack with a misreading."""
    index = kernel["index"]
    assert set(index.path.values()) == trees.modules(index.vdir)
    bare = tools.Modprobe(kernel["release"], without_softdeps(kernel["root"], scratch))
    loads = bare.show_depends(kernel["names"])
    wrong = {name: set(loads[name]) ^ set(index.paths(index.hard([name])))
             for name in kernel["names"]}
    assert not any(wrong.values()), first({k: v for k, v in wrong.items() if v})


def test_the_list_of_every_module_is_sorted_and_unique(kernel):
    wrong = {name: paths for name, paths in kernel["listed"].items()
             if paths != sorted(set(paths), key=str.encode)}
    assert not wrong, first(wrong)


def test_every_module_s_list_has_its_hard_dependencies(kernel):
    """And nothing that the model cannot explain."""
    index, wrong = kernel["index"], {}
    for name, paths in kernel["listed"].items():
        missing = set(index.paths(index.hard([name]))) - set(paths)
        unexplained = set(paths) - set(index.paths(index.needs([name])))
        if missing or unexplained:
            wrong[name] = f"missing {sorted(missing)}, unexplained {sorted(unexplained)}"
    assert not wrong, first(wrong)


def test_the_list_of_every_module_has_all_that_modprobe_would_load(kernel):
    loads = kernel["modprobe"].show_depends(kernel["names"])
    wrong = {name: set(paths) - set(kernel["listed"][name]) for name, paths in loads.items()}
    assert not any(wrong.values()), first({k: v for k, v in wrong.items() if v})


def test_the_list_of_every_module_is_what_the_model_says_it_needs(kernel):
    index = kernel["index"]
    wrong = {name: set(paths) ^ set(index.paths(index.needs([name])))
             for name, paths in kernel["listed"].items()}
    assert not any(wrong.values()), first({k: v for k, v in wrong.items() if v})


def test_one_alias_of_every_module_lists_what_its_matches_list(kernel):
    index, listed = kernel["index"], kernel["listed"]
    one = {module: model.concrete(pattern) for pattern, module in index.aliases}
    aliases = sorted(set(one.values()))
    answers = tools.run_each([tools.argv(kernel["root"], "--list", f"--use={alias}")
                              for alias in aliases])
    wrong = {}
    for alias, matches in kernel["modprobe"].resolve(aliases).items():
        status, out, err = answers[aliases.index(alias)]
        expected = {path for module in matches if module in listed for path in listed[module]}
        if status or set(out.splitlines()) != expected:
            wrong[alias] = f"{err}{set(out.splitlines()) ^ expected}"
    assert not wrong, first(wrong)


# ------------------------------------------------------------------ a loaded machine

@pytest.fixture(params=list(INSTRUCTIONS))
def loaded(request, copy_of, index_of):
    """A root where 185 modules are loaded, with the index to be read; and the paths to expect."""
    root, index = copy_of("bookworm"), index_of("bookworm")
    (root / "proc").mkdir()
    (root / "proc/modules").write_text(machine.proc_modules(index))
    if request.param == "modules.dep":
        (trees.directory(root) / "modules.dep.bin").unlink()
    return root, index.paths(machine.loaded(index)), INSTRUCTIONS[request.param]


def test_185_loaded_modules_list_exactly_their_closure(loaded):
    root, expected, _ = loaded
    assert tools.limopack(root, "--list").stdout.splitlines() == expected


# What soft and weak dependencies, modprobe.d and the hidden table must open.
LATER = re.compile(r"modprobe\.d|hidden\.d|modules\.(softdep|weakdep|alias)")
# Where else something may say that a module stays; most are missing. They have a count of their own.
SOURCES = re.compile(r"/fd/|mount|fstab|crypttab|conf\.d/resume|modules-load\.d|needs\.d|etc/|osrelease|modules\.builtin"
                     r'|/modules\.dep[">]|/modules/[^/]*[">]')
# As many as the loaded modules fill.
PROC = re.compile(r" read\(\d+<[^>]*/proc/modules>")


def test_a_listing_makes_few_system_calls(loaded):
    """The C library's start is counted as the three calls that musl makes: glibc makes a dozen."""
    root, _, _ = loaded
    version = tools.argv(root, "--version")
    start = len([call for call in tools.system_calls(*version) if " write(" not in call])
    calls = [call for call in tools.system_calls(*tools.argv(root, "--list"))
             if not LATER.search(call) and not PROC.search(call)]
    sources = [call for call in calls if SOURCES.search(call)]
    assert len(sources) <= SOURCE_SYSCALLS, f"{len(sources)} system calls:\n" + "\n".join(sources)
    calls = [call for call in calls if not SOURCES.search(call)]
    count = len(calls) - start + 3
    print(f"{count} system calls of {SYSCALLS}")
    assert count <= SYSCALLS, f"{count} system calls:\n" + "\n".join(calls)


def test_a_listing_takes_few_instructions(loaded):
    """Without the C library's start, which is 37,000 of glibc's and 2,000 of musl's."""
    root, _, limit = loaded
    start = tools.instructions(*tools.argv(root, "--version"))
    count = tools.instructions(*tools.argv(root, "--list")) - start
    print(f"{count:,} instructions of {limit:,}")
    assert count <= limit


# ------------------------------------------------------------------------ the registry

def all_at_once(commands):
    started = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    failed = [process.stderr.read() for process in started if process.wait()]
    assert not failed, failed


def test_64_owners_at_once_and_64_anonymous_callers_are_all_counted(copy_of):
    root = copy_of("cloud")
    registry = trees.directory(root) / "modules.active"
    install = tools.argv(root, "--install", "--use=btrfs")
    all_at_once([install + [f"--owner=p{number}"] for number in range(64)])
    assert "btrfs:64" in registry.read_text().split()
    all_at_once([install] * 64)
    text = registry.read_text()
    assert "btrfs:128" in text.split()
    owners = re.search(r"^#@ btrfs (.*)$", text, re.M)[1].split()
    assert sorted(owners) == sorted(f"p{number}" for number in range(64))
    assert [entry.name for entry in registry.parent.iterdir() if "active" in entry.name] \
        == ["modules.active"], "temporary files left"


# ------------------------------------------------------------------------- containment

@pytest.mark.parametrize("openat2", ["as the kernel has it", "missing"])
@pytest.mark.parametrize("style", ["absolute", "dotted"])
def test_links_inside_an_image_are_resolved_inside_it(style, openat2, copy_of, scratch, tmp_path):
    """The link's target exists twice: in the image, with the kernel, and outside, as a decoy."""
    image = copy_of("cloud")
    decoy = tmp_path / "outside"
    trees.move_modules_behind_link(image, decoy, style)
    before = trees.snapshot(decoy)
    prefix = [] if openat2 != "missing" else [
        "strace", "-f", "-o", tmp_path / "trace", "-e", "trace=openat2",
        "-e", "inject=openat2:error=ENOSYS"]
    version = before and next(iter((decoy / "modules").iterdir())).name
    command = [tools.binary(), f"--root={image}", f"--kernel={version}"]

    listed = tools.run(*prefix, *command, "--list", "--use=btrfs").stdout.splitlines()
    assert "kernel/fs/btrfs/btrfs.ko" in listed
    tools.run(*prefix, *command, "--list", "--use=decoy", code=1)
    tools.run(*prefix, *command, "--install", "--use=btrfs")
    inside = image / str(decoy)[1:] / "modules" / version / "modules.active"
    assert inside.read_text().split() == ["btrfs:1"]
    assert trees.snapshot(decoy) == before, "limopack wrote outside the image"
    if prefix:
        assert "ENOSYS" in (tmp_path / "trace").read_text(), "openat2 was never tried"
