# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking a unit away, on files of a test's own: what is written where, and multipath's part in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils import disk_users
from ansible_collections.hostdev.nodedev.plugins.module_utils.capabilities.lun import Lun
from ansible_collections.hostdev.nodedev.plugins.module_utils.resources import vhba_kernel
from ansible_collections.hostdev.nodedev.plugins.module_utils.sysfs import SysfsError
from devices import Host


@pytest.fixture
def unit(fibre: Host, monkeypatch: pytest.MonkeyPatch) -> Lun:
    """A unit whose disk is a path of a map."""
    monkeypatch.setattr(disk_users, "BLOCK", str(fibre.sys / "class" / "block"))
    fibre.attributes("class/block/sdzzx/holders/dm-900", {})
    fibre.attributes("class/block/dm-900", {"dm/name": "mpatha", "dm/uuid": "mpath-1"})
    fibre.attributes("devices/8:0:0:0", {"delete": ""})
    return Lun("8:0:0:0", f"{fibre.sys}/devices/8:0:0:0", "/dev/sdzzx", None, None, None)


def multipath(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = folder / "multipath"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setattr(vhba_kernel, "TOOLS", str(folder))


@pytest.mark.parametrize(
    "script", ["exit 1", "sleep 5; exit 0", "cat"], ids=["the map is in use", "it hangs", "it asks something"]
)
def test_whatever_multipath_does_the_unit_goes(
    unit: Lun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    multipath(tmp_path, f'echo "$@" > {tmp_path}/asked; {script}', monkeypatch)
    monkeypatch.setattr(vhba_kernel, "PATIENCE", 0.5)
    vhba_kernel.remove_lun(unit, 5)
    assert (tmp_path / "asked").read_text() == "-f mpatha\n"
    assert Path(unit.path, "delete").read_text() == "1"


def test_a_host_without_multipath(unit: Lun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vhba_kernel, "TOOLS", str(tmp_path))
    vhba_kernel.remove_lun(unit, 5)
    assert Path(unit.path, "delete").read_text() == "1"


def test_a_unit_that_is_gone(unit: Lun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vhba_kernel, "TOOLS", str(tmp_path))
    os.unlink(f"{unit.path}/delete")
    vhba_kernel.remove_lun(unit, 5)
    os.mkdir(f"{unit.path}/delete")
    with pytest.raises(SysfsError, match="EISDIR"):
        vhba_kernel.remove_lun(unit, 5)


def test_deleting_what_is_not_there(fibre: Host) -> None:
    vhba_kernel.delete("5001a4a1000000a1", "5001a4a0000000a1", 1)
    assert vhba_kernel.find("5001a4a1000000a1", "5001a4a0000000a1") is None
