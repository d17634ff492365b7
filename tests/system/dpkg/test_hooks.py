"""The shipped hooks: they run when they should, and never break dpkg or apt."""

import pytest

from checks import installed, pending, sound, stand_ins, unknown
from packages import IMAGE, K, REGISTRY, other

TELL = """#!/bin/sh
echo "$* ${DPKG_HOOK_ACTION:-none} ${DPKG_ROOT:-none}" >> /run/told
"""


def replace(root, text):
    """Puts a script where limopack was."""
    (root / "usr/bin/limopack").write_text(text)


def test_dpkg_calls_settle_once(root):
    replace(root, TELL)
    root.sh("dpkg -i /repo/1.0/bystander_*.deb")
    assert (root / "run/told").read_text() == "--settle install none\n"


def test_apt_calls_settle_at_the_end(root):
    replace(root, TELL)
    root.sh("apt-get -y install bystander")
    assert (root / "run/told").read_text().splitlines()[-1] == "--settle none none"


def test_dpkg_on_another_root_says_which(root):
    replace(root, TELL)
    other(root)
    root.sh("dpkg --root=/other -i /repo/1.0/bystander_*.deb")
    assert (root / "run/told").read_text() == "--settle install /other\n"


def test_without_anything_to_settle_nothing_is_said(root):
    for command in ("dpkg -i /repo/1.0/bystander_*.deb", "apt-get -y install --reinstall bystander",
                    "limopack --settle"):
        said = root.sh(command)
        assert "limopack" not in said.out + said.err, said


@pytest.mark.parametrize("text", [None, "#!/bin/sh\nexit 1\n", "#!/bin/sh\nkill -KILL $$\n", "#!/no/such/shell\n", ""],
                         ids=["removed", "fails", "is killed", "cannot start", "is empty"])
def test_neither_dpkg_nor_apt_minds_when_limopack(root, text):
    if text is None:
        (root / "usr/bin/limopack").unlink()
    else:
        replace(root, text)
    root.sh("dpkg -i /repo/1.0/bystander_*.deb")
    root.sh("apt-get -y install --reinstall bystander")
    sound(root)


def test_a_settle_while_dpkg_works_waits_for_the_next_one(root):
    """Between two calls of dpkg in one run of apt, forgetting would break apt's plan."""
    said = root.sh(f"apt-get -y install {IMAGE} {K} {REGISTRY} app-a")
    assert "depends on" not in said.out + said.err
    unknown(root, K)
    assert stand_ins(root) and not pending(root)


def test_what_a_missing_hook_left_pending_is_settled_by_the_next_call(root):
    for hook in ("etc/dpkg/dpkg.cfg.d/limopack", "etc/apt/apt.conf.d/90limopack"):
        (root / hook).unlink()
    root.sh(f"apt-get -y install {IMAGE} {REGISTRY} app-a")
    installed(root, K)
    assert K in pending(root)
    root.sh("limopack --settle")
    unknown(root, K)
    sound(root)
    assert not pending(root)


def test_a_pending_package_that_is_not_installed_yet_stays_pending(root):
    """As when dpkg was interrupted before it had configured the package."""
    root.sh(f"apt-get -y install kmod; dpkg --unpack /repo/1.0/{K}_*.deb")
    status = root / "var/lib/dpkg/status"
    (root / "var/lib/limopack").mkdir(exist_ok=True)
    root.sh(f"echo {K} > /var/lib/limopack/pending", ok=None)
    before = status.read_bytes()
    root.sh("limopack --settle")
    assert status.read_bytes() == before and K in pending(root)
