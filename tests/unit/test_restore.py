# SPDX-License-Identifier: GPL-3.0-or-later
"""The command nodedev-restore: its arguments, its lines, and the limits of the units that run it."""

from __future__ import annotations

import io
import math
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.boot import outcomes, restore, restoring
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds import registry
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.resource import Hindrance
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.files import DamagedDefinition
from made_up import MadeUp, a_kind

FILES = Path(__file__).resolve().parents[2] / "roles" / "persistence" / "files"


@pytest.fixture(autouse=True)
def nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is defined, unless a test defines it, and what becomes of it is kept for the test alone."""
    monkeypatch.setattr(registry, "KINDS", {})
    monkeypatch.setattr(outcomes, "FOLDER", str(tmp_path / "restored"))


@pytest.mark.parametrize("option", ["--wait", "--limit"])
@pytest.mark.parametrize("seconds", ["0", "0.5", "60", "1e2", "86400"])
def test_seconds(option: str, seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert restore.main([option, seconds]) == 0
    assert capsys.readouterr().out == "0 restored, 0 there already, 0 failed\n"


@pytest.mark.parametrize("option", ["--wait", "--limit"])
@pytest.mark.parametrize(
    "seconds",
    [
        *("inf", "-inf", "infinity", "nan", "-1", "-0.1", "-1e-300", "1e300", "86400.5", "9" * 5000, "", "soon", "1 s"),
        *("\x1b[31m", "1\n<3>forged", "\udcff"),
    ],
)
def test_seconds_that_are_none(option: str, seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        restore.main([f"{option}={seconds}"])
    assert exit.value.code == 2
    *_usage, message = capsys.readouterr().err.rstrip("\n").split("\n")
    assert message.startswith(f"nodedev-restore: error: argument {option}: '")
    assert message.endswith("cannot be used: a number of seconds, 0 to 86400")
    assert message.isprintable()
    assert len(message) < 400


@pytest.mark.parametrize("arguments", [["one\n<3>two\x1b[2J"], ["--\u202e"], ["--list", "--dry-run"], ["--wait"]])
def test_a_bad_command_line_is_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        restore.main(arguments)
    assert exit.value.code == 2
    *_usage, message = capsys.readouterr().err.rstrip("\n").split("\n")
    assert message.startswith("nodedev-restore: error: ")
    assert message.isprintable()


@pytest.mark.parametrize(
    ("kinds", "place", "waits"),
    [
        pytest.param(("made", "lacks"), ("card",), True, id="a later kind on the card"),
        pytest.param(("made", "lacks"), ("other",), True, id="a later kind"),
        pytest.param(("lacks", "made"), ("card",), True, id="an earlier kind on the card"),
        pytest.param(("lacks", "made"), ("other",), False, id="an earlier kind"),
        pytest.param(("made lacks",), ("card", "function"), True, id="a function of the card"),
        # As where the card is full.
        pytest.param(("made lacks",), ("card",), False, id="the same on the card"),
        pytest.param(("made lacks",), ("other",), False, id="the same elsewhere"),
    ],
)
def test_what_may_wait_for_others(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kinds: tuple[str, ...],
    place: tuple[str, ...],
    waits: bool,
) -> None:
    lacks = MadeUp("lacks", place=lambda: place, hindrance=lambda: Hindrance("it is not there", passing=False))
    every = {"made": definition("made"), "lacks": lacks}
    monkeypatch.setattr(registry, "KINDS", {name: a_kind([every[each] for each in name.split()]) for name in kinds})
    assert restore.main(["--dry-run"]) == int(not waits)
    told = capsys.readouterr()
    waiting = "lacks waits for what is made before it: it is not there\n" if waits else ""
    assert told.out == f"would make made\n{waiting}"
    assert told.err == ("" if waits else "lacks would fail: it is not there\n")


@pytest.mark.parametrize("parent", ["", ".", "..", "../..", "/sys", "0000:3b:00.0/x", "\x1b/"])
def test_a_parent_that_is_no_device_name(parent: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It becomes part of paths."""
    with pytest.raises(SystemExit) as exit:
        restore.main(["--parent", parent])
    assert exit.value.code == 2
    *_usage, message = capsys.readouterr().err.rstrip("\n").split("\n")
    assert message.startswith("nodedev-restore: error: argument --parent: '")
    assert message.endswith("cannot be used: a device's name in sysfs has no /")
    assert message.isprintable()


def definition(name: str, concerned: object = True, autostart: bool = True) -> MadeUp:
    """One that is there; ``concerned`` is raised where it is an error."""

    def concerns(_arrived: str) -> bool:
        if isinstance(concerned, Exception):
            raise concerned
        return bool(concerned)

    return MadeUp(name, concerns=concerns, autostart=autostart)


def test_only_what_starts_by_itself_is_restored(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = [definition("auto"), definition("manual", autostart=False)]
    monkeypatch.setattr(registry, "KINDS", {"x": a_kind(kept)})
    assert restore.main(["--dry-run"]) == 0
    assert capsys.readouterr().out == "would make auto\n"


@pytest.mark.parametrize("concerned", [True, False])
def test_one_parent(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], concerned: bool) -> None:
    """What does not say whether it concerns the parent is taken for its own; a damaged file is if it may be."""
    kept = [definition("mine"), definition("other", concerned=False), definition("odd", concerned=KeyError("x"))]
    damage = DamagedDefinition("/etc/nodedev.d/x", "no JSON")
    monkeypatch.setattr(registry, "KINDS", {"x": a_kind(kept, [damage], concerned)})
    assert restore.main(["--list", "--parent", "host3"]) == int(concerned)
    told = capsys.readouterr()
    assert told.out == "mine: active, auto\nodd: active, auto\n"
    assert told.err == (f"{damage}\n" if concerned else "")


def test_a_kind_that_cannot_be_read_hides_no_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    damage = DamagedDefinition("/etc/nodedev.d/bad", "Too many levels of symbolic links")

    class Unreadable:
        def defined(self, _arrived: str | None) -> NoReturn:
            raise damage

    kinds = {"bad": replace(a_kind([]), restorable=Unreadable()), "good": a_kind([definition("good")])}
    monkeypatch.setattr(registry, "KINDS", kinds)
    assert restore.main(["--list"]) == 1
    told = capsys.readouterr()
    assert (told.out, told.err) == ("good: active, auto\n", f"{damage}\n")
    (found,) = registry.defined()[1]
    assert found.error is damage


def test_lines_are_printed_in_any_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    data = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(data, encoding="ascii", write_through=True))
    monkeypatch.setattr(registry, "KINDS", {"x": a_kind([definition("\u00e4\udcff\x1b\n<3>x")])})
    assert restore.main(["--list"]) == 0
    assert data.getvalue() == b"\\xe4\\udcff\\x1b\\n<3>x: active, auto\n"


def setting(unit: str, name: str) -> float:
    """A setting of a unit of the role, in seconds."""
    (value,) = re.findall(rf"^{name}=(\S+)$", (FILES / unit).read_text(), re.MULTILINE)
    return math.inf if value == "infinity" else float(value)


@pytest.mark.parametrize(
    ("unit", "name"), [("nodedev-restore.service", "TimeoutStartSec"), ("nodedev-restore@.service", "RuntimeMaxSec")]
)
def test_systemd_waits_until_all_has_been_told(unit: str, name: str) -> None:
    """The look at the parent that has arrived has the limit of a device too; Python starts, children end."""
    longest = restoring.longest(restore.WAIT, restore.LIMIT)
    parents = restore.LIMIT if "@" in unit else 0
    assert setting(unit, name) >= longest + parents + 30


def test_a_device_has_its_limit_within_that_of_all() -> None:
    """One that becomes ready last has its whole time too."""
    assert restoring.longest(restore.WAIT, restore.LIMIT) >= restore.WAIT + restore.LIMIT
    assert restore.LIMIT > restoring.PATIENCE


def test_no_event_is_lost_to_a_limit() -> None:
    text = (FILES / "nodedev-restore@.service").read_text()
    assert re.search(r"^StartLimitIntervalSec=0$", text, re.MULTILINE)


def test_both_units_have_the_same_sandbox() -> None:
    boxes = set()
    for unit in ("nodedev-restore.service", "nodedev-restore@.service"):
        box = (FILES / unit).read_text().partition("# A sandbox")[2].partition("\n[Install]")[0]
        assert "SystemCallFilter=@system-service @module\n" in box
        boxes.add(box.rstrip("\n"))
    assert len(boxes) == 1
