# SPDX-License-Identifier: GPL-3.0-or-later
"""Who else makes mediated devices on a host, by the files that say so; they are read below a folder of the test."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import mdev_owners

NOVA, FOLDER = "etc/nova/nova.conf", "etc/nova/nova.conf.d"
TYPES = "[DEFAULT]\ndebug = true\n\n[devices]\n# ours\nenabled_mdev_types = nvidia-35, nvidia-36\n\n[pci]\n"
KUBEVIRT = "/var/run/kubevirt is KubeVirt's, which removes those that its mediatedDevicesConfiguration does not list"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which all places are looked for."""
    for name in ("NOVA", "NOVA_FOLDERS"):
        monkeypatch.setattr(mdev_owners, name, tuple(f"{tmp_path}{place}" for place in getattr(mdev_owners, name)))
    monkeypatch.setattr(mdev_owners, "KUBEVIRT", f"{tmp_path}{mdev_owners.KUBEVIRT}")
    return tmp_path


def told(root: Path) -> str:
    """The warnings without the test's folder."""
    return " | ".join(mdev_owners.warnings()).replace(f"{root}/", "/")


@pytest.mark.parametrize(
    ("path", "text", "found"),
    [
        (NOVA, TYPES, "/etc/nova/nova.conf has nova make those of type nvidia-35, nvidia-36: leave them to one"),
        ("etc/nova/nova-compute.conf", TYPES, "/etc/nova/nova-compute.conf has nova make"),
        (f"{FOLDER}/gpu.conf", "[devices]\nenabled_vgpu_types=nvidia-35", "make those of type nvidia-35: leave"),
        ("var/run/kubevirt/x", "", KUBEVIRT),
        # What only looks like it.
        (NOVA, "[devices]\nenabled_mdev_types =\n[pci]\nenabled_mdev_types = x\n", ""),
        (NOVA, "[devices]\n#enabled_mdev_types = nvidia-35\n", ""),
        (NOVA, "enabled_mdev_types = nvidia-35\n", ""),
        (f"{FOLDER}/gpu.conf.old", TYPES, ""),
        (f"{NOVA}/directory", TYPES, ""),
    ],
)
def test_who_is_named(root: Path, path: str, text: str, found: str) -> None:
    assert told(root) == ""
    (root / path).parent.mkdir(parents=True)
    (root / path).write_text(text)
    assert found in told(root)
    assert bool(found) == told(root).startswith("others make and remove mediated devices here too: ")


def test_what_is_odd_is_one_line(root: Path) -> None:
    (root / FOLDER).mkdir(parents=True)
    (root / NOVA).write_bytes(b"[devices]\nenabled_mdev_types = \xff\x1b[31m\n")
    (root / FOLDER / "loop.conf").symlink_to("loop.conf")
    assert "of type" in told(root)
    assert told(root).isprintable()
