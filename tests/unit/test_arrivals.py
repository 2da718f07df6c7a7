# SPDX-License-Identifier: GPL-3.0-or-later
"""What has arrived when all is restored: the unit of a parent has nothing to do, or all that it had."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.boot import arrivals, outcomes, restore
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import sysfs
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds import registry
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.registry import Damaged
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.files import DamagedDefinition
from made_up import MadeUp, a_kind

UNIT = Path(__file__).resolve().parents[2] / "roles" / "persistence" / "files" / "nodedev-restore@.service"
DAMAGE = DamagedDefinition("/etc/nodedev.d/x", "no JSON")


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """/run/nodedev, where two parents have arrived."""
    for name in ("ARRIVED", "TAKEN", "DEALT_WITH"):
        monkeypatch.setattr(arrivals, name, str(tmp_path / Path(getattr(arrivals, name)).name))
    monkeypatch.setattr(outcomes, "FOLDER", str(tmp_path / "restored"))
    monkeypatch.setattr(sysfs, "why_not_writable", lambda: None)
    arrive(tmp_path, "host3", "mtty")
    return tmp_path


def define(monkeypatch: pytest.MonkeyPatch, device: MadeUp, damaged: bool = False) -> None:
    """Have this device defined, and beside it something that cannot be understood."""
    kind = a_kind([device])
    monkeypatch.setattr(registry, "KINDS", {"x": kind})
    found = [device], [Damaged(kind, DAMAGE)] if damaged else []
    monkeypatch.setattr(registry, "defined", lambda _arrived: found)


def arrive(folder: Path, *names: str) -> None:
    (folder / "arrived").mkdir(exist_ok=True)
    for name in names:
        (folder / "arrived" / name).touch()


def names(folder: Path, kind: str) -> list[str]:
    place = folder / kind
    return sorted(each.name for each in place.iterdir()) if place.exists() else []


def a_device(folder: Path, made: Sequence[bool], arrives: Sequence[str] = ()) -> MadeUp:
    """One that each look finds to be made now, or to be there, or beyond these fails; with what arrives meanwhile."""

    def ensure(check_mode: bool) -> dict[str, Any]:
        looks = folder / "looks"
        seen = len(looks.read_text()) if looks.exists() else 0
        looks.write_text("x" * (seen + 1))
        arrive(folder, *arrives[seen : seen + 1])
        if seen >= len(made):
            raise ValueError("no")
        return {"changed": made[seen]}

    return MadeUp("device", ensure)


@pytest.mark.parametrize(
    ("made", "arrives", "damaged", "dealt_with", "said"),
    [
        ([True], [], False, True, ["restored: device"]),
        ([False], [], False, True, ["there already: device"]),
        ([], [], False, False, []),
        ([True], [], True, False, ["restored: device"]),
        # Of what is made here others hear as well: all is looked at again.
        ([True, False], ["vf1"], False, True, ["restored: device"]),
        ([True, True], ["vf1"], False, True, ["restored: device", "restored: device"]),
        ([True], ["vf1"], False, False, ["restored: device"]),
        ([True], ["vf1"], True, False, ["restored: device"]),
    ],
)
def test_what_a_run_for_all_has_dealt_with(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    made: list[bool],
    arrives: list[str],
    damaged: bool,
    dealt_with: bool,
    said: list[str],
) -> None:
    define(monkeypatch, a_device(folder, made, arrives), damaged)
    assert restore.main([]) == int(damaged or not made)
    told = [line for line in capsys.readouterr().out.splitlines() if line.endswith(": device")]
    assert told == said
    expected = sorted(["host3", "mtty", *arrives])
    assert names(folder, "dealt-with") == (expected if dealt_with else [])
    assert names(folder, "arrived") == ([] if dealt_with else expected)
    assert names(folder, "taken") == []


def test_what_arrives_last_is_a_matter_of_its_unit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All is looked at twice, and not as long as something arrives."""
    define(monkeypatch, a_device(folder, [True, True], ["vf1", "vf2"]))
    assert restore.main([]) == 0
    assert (names(folder, "dealt-with"), names(folder, "arrived")) == (["host3", "mtty", "vf1"], ["vf2"])


def test_without_time_for_another_look(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One device could take as long as there is; what had arrived before is dealt with all the same."""
    define(monkeypatch, a_device(folder, [True], ["vf1"]))
    assert restore.main(["--wait", "0"]) == 0
    assert (names(folder, "dealt-with"), names(folder, "arrived")) == (["host3", "mtty"], ["vf1"])


@pytest.mark.parametrize("arguments", [["--parent", "host3"], ["--dry-run"], ["--list"]])
def test_others_leave_it_alone(folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    define(monkeypatch, a_device(folder, [True, True]))
    restore.main(arguments)
    assert names(folder, "arrived") == ["host3", "mtty"]


def test_nobody_but_root_can_take_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is a matter of the units; as it is where the folder is another's, or none."""
    monkeypatch.setattr(arrivals, "TAKEN", str(folder / "arrived" / "host3" / "taken"))
    assert arrivals.take() == []
    monkeypatch.setattr(arrivals, "ARRIVED", str(folder / "arrived" / "host3"))
    assert arrivals.take() == []
    assert names(folder, "arrived") == ["host3", "mtty"]


@pytest.mark.parametrize(
    ("files", "runs"),
    [
        (["arrived/mtty"], True),
        (["dealt-with/mtty"], False),
        # Once more since.
        (["arrived/mtty", "dealt-with/mtty"], True),
        # By hand, or after a run for all that failed or was killed.
        ([], True),
        (["taken/mtty", "dealt-with/host3"], True),
    ],
)
def test_when_the_unit_of_a_parent_runs(tmp_path: Path, files: list[str], runs: bool) -> None:
    def command(setting: str) -> list[str]:
        (line,) = re.findall(rf"^{setting}=\+(.+)$", UNIT.read_text(), re.MULTILINE)
        return shlex.split(line.replace("$$", "$").replace("%i", "mtty").replace("/run/nodedev", str(tmp_path)))

    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    condition = subprocess.run(command("ExecCondition"), capture_output=True, text=True, check=False)
    assert (condition.returncode, condition.stderr) == (int(not runs), "")
    assert names(tmp_path, "arrived") == []
    assert "mtty" not in names(tmp_path, "dealt-with")
    # And then by hand.
    assert subprocess.run(command("ExecCondition"), check=False).returncode == 0
