# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking a unit away, on files of a test's own: what is written where, and multipath's part in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev import programs
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import InUse, NodedevError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import processes
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.lun import Lun
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.sysfs import SysfsError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba import kernel
from devices import Host


@pytest.fixture
def unit(fibre: Host, monkeypatch: pytest.MonkeyPatch) -> Lun:
    """A unit whose disk is a path of a map."""
    fibre.attributes("class/block/sdzzx/holders/dm-900", {})
    fibre.attributes("class/block/dm-900", {"dm/name": "mpatha", "dm/uuid": "mpath-1"})
    fibre.attributes("devices/8:0:0:0", {"delete": ""})
    return Lun("8:0:0:0", f"{fibre.sys}/devices/8:0:0:0", "/dev/sdzzx", None, None, None)


@pytest.fixture
def tools(fibre: Host, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of this host's programs, and a /proc in which nobody uses anything."""
    folder = fibre.root / "bin"
    folder.mkdir()
    monkeypatch.setattr(programs, "FOLDERS", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(processes, "PROC", str(fibre.root / "proc"))
    fibre.write(fibre.root / "proc" / "1" / "comm", "init")
    for name in ("fd", "task"):
        (fibre.root / "proc" / "1" / name).mkdir()
    return folder


def multipath(folder: Path, script: str) -> None:
    """A multipath that notes what it is asked, and then does this."""
    tool = folder / "multipath"
    tool.write_text(f'#!/bin/sh\necho "$@" >> {folder}/asked\n{script}\n')
    tool.chmod(0o755)


def asked(folder: Path) -> list[str]:
    return (folder / "asked").read_text().splitlines() if (folder / "asked").exists() else []


def is_gone(unit: Lun) -> bool:
    return Path(unit.path, "delete").read_text() == "1"


def in_use(fibre: Host) -> None:
    """The map has a volume upon it."""
    fibre.attributes("class/block/dm-900/holders/dm-901", {})
    fibre.attributes("class/block/dm-901", {"dm/name": "vg-lv", "dm/uuid": "LVM-1"})


@pytest.mark.parametrize(
    "script", ["exit 1", "sleep 5; exit 0", "cat"], ids=["the map is in use", "it hangs", "it asks something"]
)
def test_whatever_multipath_does_the_unit_goes(
    unit: Lun, fibre: Host, tools: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    multipath(tools, script)
    in_use(fibre)
    monkeypatch.setattr(kernel, "PATIENCE", 0.5)
    kernel.remove_lun(unit, 5, force=True)
    assert asked(tools) == ["-f mpatha"]
    assert is_gone(unit)


def test_a_map_that_nobody_uses_goes_first(unit: Lun, fibre: Host, tools: Path) -> None:
    multipath(tools, f"cat {unit.path}/delete; rm -r {fibre.sys}/class/block/sdzzx/holders/dm-900")
    kernel.remove_lun(unit, 5)
    assert asked(tools) == ["-f mpatha"]
    assert is_gone(unit)


def test_a_map_that_is_busy_for_a_moment_is_asked_for_again(
    unit: Lun, fibre: Host, tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "PAUSE", 0.01)
    gone = f"rm -r {fibre.sys}/class/block/sdzzx/holders/dm-900"
    multipath(tools, f"test $(wc -l < {tools}/asked) -lt 3 && exit 1; {gone}")
    kernel.remove_lun(unit, 60)
    assert asked(tools) == ["-f mpatha"] * 3
    assert is_gone(unit)


@pytest.mark.parametrize("force", [False, True])
def test_a_map_that_nobody_uses_and_that_stays(
    unit: Lun, tools: Path, monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    monkeypatch.setattr(kernel, "PAUSE", 0.01)
    multipath(tools, "printf 'mpatha: queueing\\033[2J\\n' >&2; exit 1")
    if force:
        kernel.remove_lun(unit, 0.1, force=True)
    else:
        words = r"map mpatha is still there after 0.1 s of multipath -f \(mpatha: queueing\\x1b\[2J\), although nobody"
        with pytest.raises(NodedevError, match=words):
            kernel.remove_lun(unit, 0.1)
    assert is_gone(unit) == force


def test_a_map_that_has_come_into_use_meanwhile(unit: Lun, fibre: Host, tools: Path) -> None:
    multipath(tools, "exit 1")
    in_use(fibre)
    with pytest.raises(
        InUse, match=r"mpatha is in use now: /dev/dm-900 is held by the logical volume vg-lv \(dm-901\)"
    ):
        kernel.remove_lun(unit, 60)
    assert asked(tools) == ["-f mpatha"]
    assert not is_gone(unit)


@pytest.mark.parametrize("going", [(), ("/dev/sdzzx", "/dev/sdzzy")])
def test_a_map_with_other_paths_stays_with_them(unit: Lun, fibre: Host, tools: Path, going: tuple[str, ...]) -> None:
    multipath(tools, f"rm -r {fibre.sys}/class/block/sdzzx/holders/dm-900")
    for path in ("sdzzx", "sdzzy"):
        fibre.attributes(f"class/block/dm-900/slaves/{path}", {})
    # A path that was removed is none, though its link may still be there.
    (fibre.sys / "class/block/dm-900/slaves/sdzzz").symlink_to("../../gone")
    kernel.remove_lun(unit, 5, going)
    assert asked(tools) == (["-f mpatha"] if going else [])
    assert is_gone(unit)


def test_a_host_without_multipath(unit: Lun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "FOLDERS", str(tmp_path))
    kernel.remove_lun(unit, 5)
    assert Path(unit.path, "delete").read_text() == "1"


def test_a_unit_that_is_gone(unit: Lun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "FOLDERS", str(tmp_path))
    os.unlink(f"{unit.path}/delete")
    kernel.remove_lun(unit, 5)
    os.mkdir(f"{unit.path}/delete")
    with pytest.raises(SysfsError, match="EISDIR"):
        kernel.remove_lun(unit, 5)


def test_deleting_what_is_not_there(fibre: Host) -> None:
    kernel.delete("5001a4a1000000a1", "5001a4a0000000a1", 1)
    assert kernel.find("5001a4a1000000a1", "5001a4a0000000a1") is None
