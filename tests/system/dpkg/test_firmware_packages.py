"""Packages of firmware: what no module asks for goes off the disk and off their lists, and everything that
brings it back is followed by the standing order.
"""

import pytest

import chroots
from checks import pending, snapshot, sound, unchanged
from packages import LIB, STATIC, X, deb
from test_trim import INFO, LINUX, image, machine, trimmed  # noqa: F401 (machine is a fixture)

FIRMWARE = "firmware-board"
ALWAYS = {"regulatory.db"}
NEEDED = {"board/a.bin", "board/b.bin"}
OTHERS = {"other/c.bin", "other/deep/d.bin", "board/e.bin", "f.bin"}
APPLY = f"limopack --apply --pkname={LINUX} --firmware"

pytestmark = pytest.mark.parametrize("prepared", chroots.SUITES, indirect=True)


def firmware(root, version="1.0"):
    place = LIB[root.suite]
    files = {f"{place}/firmware/{path}": f"{path} {version}\n" for path in ALWAYS | NEEDED | OTHERS}
    deb(root / "repo/own", FIRMWARE, version, files)
    return f"/repo/own/{FIRMWARE}_{version}_amd64.deb"


@pytest.fixture
def board(machine):  # noqa: F811
    """A kernel that keeps a module with firmware, its package and that of the firmware; one file is nobody's."""
    machine.sh(f"dpkg -i {firmware(machine)}")
    row = machine / "etc/limopack/hidden.d/board.conf"
    row.parent.mkdir(parents=True, exist_ok=True)
    row.write_text(f"{STATIC} firmware: board/a.bin board/b.*\n")
    (machine / "usr/lib/firmware/other/calibration").write_text("of this board alone\n")
    return machine


def present(root):
    place = root / "usr/lib/firmware"
    return {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()} - {"other/calibration"}


def listed(root, name="list"):
    lines = (root / f"{INFO}/{FIRMWARE}.{name}").read_text().splitlines()
    return {line.split("lib/firmware/")[1] for line in lines if "lib/firmware/" in line}


def pruned(root):
    """dpkg knows exactly what is there."""
    assert present(root) == ALWAYS | NEEDED
    assert (root / "usr/lib/firmware/other/calibration").exists()
    assert {path for path in listed(root) if "." in path} == ALWAYS | NEEDED == listed(root, "md5sums")
    assert "board" in listed(root) and "other/deep" not in listed(root)
    assert root.sh(f"dpkg -V {FIRMWARE}").out == ""
    assert root.sh("dpkg -S board/a.bin").out.startswith(f"{FIRMWARE}: ")
    assert not pending(root)
    sound(root)


def test_an_apply_with_firmware_trims_the_packages(board):
    planned = board.sh(f"{APPLY} --dry-run")
    assert f"trim {FIRMWARE}\n" in planned.out and "/usr/lib/firmware/f.bin" not in planned.out
    assert "delete /lib/firmware/f.bin " in planned.out and "total firmware removed: 4 files, " in planned.out
    assert present(board) == ALWAYS | NEEDED | OTHERS
    said = board.sh(APPLY)
    assert f"limopack: {FIRMWARE}: trimmed; an upgrade or a reinstallation brings its firmware again\n" in said.err
    assert "limopack: firmware: 1 files stay that no package has\n" in said.err
    pruned(board)
    trimmed(board)
    again = snapshot(board, INFO)
    board.sh(APPLY)
    unchanged(again, snapshot(board, INFO))


def test_a_reinstallation_brings_it_again(board):
    board.sh(APPLY)
    board.sh(f"dpkg -i /repo/own/{FIRMWARE}_1.0_amd64.deb")
    assert present(board) == ALWAYS | NEEDED | OTHERS
    assert {path for path in listed(board) if "." in path} == ALWAYS | NEEDED | OTHERS
    sound(board)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_a_standing_order_holds_for_firmware(board, version):
    board.sh(f"{APPLY} --keep-pruned")
    said = board.sh(f"dpkg -i {firmware(board, version)}")
    assert "firmware: removed 4 files" in said.out + said.err, said
    pruned(board)
    assert (board / "usr/lib/firmware/board/a.bin").read_text() == f"board/a.bin {version}\n"
    # A run of dpkg that brings nothing has nothing to say.
    said = board.sh("dpkg --configure -a; limopack --settle")
    assert said.err == "", said


def test_a_maintainer_script_may_ask_for_it(board):
    script = f"#!/bin/sh\nset -e\nif [ \"$1\" = configure ]; then {APPLY}; fi\n"
    deb(board / "repo/own", "asks", "1.0", scripts={"postinst": script})
    said = board.sh("dpkg -i /repo/own/asks_1.0_amd64.deb")
    assert "queued" in said.out + said.err
    pruned(board)
    trimmed(board)


def test_a_prune_alone_leaves_dpkg_as_it_is(board):
    before = snapshot(board, INFO)
    board.sh(f"limopack --prune -k {X} --firmware")
    assert present(board) == ALWAYS | NEEDED
    unchanged(before, snapshot(board, INFO))
    # An apply that comes later finds it gone.
    board.sh(APPLY)
    pruned(board)


def test_what_was_parked_comes_back_when_a_module_asks_for_it(board):
    board.sh(f"{APPLY} --park")
    assert present(board) == ALWAYS | NEEDED | {f".parked/firmware/{path}" for path in OTHERS}
    (board / "etc/limopack/hidden.d/more.conf").write_text(f"{STATIC} firmware: other/*\n")
    board.sh("limopack --settle")
    back = {"other/c.bin", "other/deep/d.bin"}
    assert present(board) - {f".parked/firmware/{path}" for path in OTHERS - back} == ALWAYS | NEEDED | back
    board.sh("limopack --restore")
    assert present(board) == ALWAYS | NEEDED | OTHERS
    assert not (board / "usr/lib/firmware/.parked").exists()
    sound(board)
