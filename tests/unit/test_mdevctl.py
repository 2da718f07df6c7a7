# SPDX-License-Identifier: GPL-3.0-or-later
"""mdevctl's files: understood as mdevctl does, written as mdevctl does, never lost."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils import definitions, mdevctl
from ansible_collections.hostdev.nodedev.plugins.module_utils.definitions import DamagedDefinition
from ansible_collections.hostdev.nodedev.plugins.module_utils.errors import NodedevError
from ansible_collections.hostdev.nodedev.plugins.module_utils.mdevctl import Definition
from hypothesis import given
from hypothesis import strategies as st

UUID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"
OTHER = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1002"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(mdevctl, "STORE", str(tmp_path / "mdevctl.d"))
    return tmp_path / "mdevctl.d"


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"mdev_type": "t", "start": "auto"}, ("t", True, ())),
        ({"mdev_type": "t", "start": "manual", "attrs": []}, ("t", False, ())),
        ({"mdev_type": "t", "start": "Auto", "attrs": None}, ("t", False, ())),
        (
            {"mdev_type": "t", "start": "auto", "attrs": [{"a": "1"}, {"b/c": "2"}, {"a": "3"}], "unknown": 1},
            ("t", True, (("a", "1"), ("b/c", "2"), ("a", "3"))),
        ),
    ],
)
def test_decode(document: object, expected: tuple[str, bool, mdevctl.Attrs]) -> None:
    assert mdevctl.decode(UUID, "p", json.dumps(document)) == Definition(UUID, "p", *expected)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ("[]", "not a JSON object"),
        ('{"start": "auto"}', "mdev_type"),
        ('{"mdev_type": null, "start": "auto"}', "mdev_type"),
        ('{"mdev_type": "t"}', "start is not text"),
        ('{"mdev_type": "t", "start": true}', "start is not text"),
        ('{"mdev_type": "t", "start": "auto", "attrs": {}}', "attrs is not a list"),
        ('{"mdev_type": "t", "start": "auto", "attrs": [{"a": 1}]}', "an item of attrs"),
        ('{"mdev_type": "t", "start": "auto", "attrs": [{"a": "1", "b": "2"}]}', "an item of attrs"),
        ('{"mdev_type": "t", "start": "auto", "attrs": [{}]}', "an item of attrs"),
    ],
)
def test_a_damaged_definition_is_named(text: str, reason: str) -> None:
    with pytest.raises(DamagedDefinition, match=rf"mdevctl\.d/p/{UUID} is damaged \({reason}.*left alone"):
        mdevctl.decode(UUID, "p", text)


texts = st.text(st.characters(codec="utf-8"), min_size=1)


@given(texts, st.booleans(), st.lists(st.tuples(texts, texts)))
def test_what_is_written_reads_back(kind: str, autostart: bool, attrs: list[tuple[str, str]]) -> None:
    definition = Definition(UUID, "p", kind, autostart, tuple(attrs))
    assert mdevctl.decode(UUID, "p", mdevctl.encode(definition)) == definition


def test_define_and_undefine(store: Path) -> None:
    first, second = Definition(UUID, "0000:06:00.0", "t", True), Definition(OTHER, "0000:06:00.0", "t", False)
    mdevctl.define(first)
    mdevctl.define(second)
    assert mdevctl.defined(UUID) == ([first], [])
    assert mdevctl.all_defined() == ([first, second], [])
    file = store / "0000:06:00.0" / UUID
    assert file.stat().st_mode & 0o777 == 0o644
    assert sorted(path.name for path in file.parent.iterdir()) == [UUID, OTHER]
    mdevctl.undefine(first)
    assert file.parent.is_dir()
    mdevctl.undefine(second)
    mdevctl.undefine(second)
    assert sorted(path.name for path in store.iterdir()) == ["scripts.d"]


def test_one_uuid_may_stand_under_two_parents(store: Path) -> None:
    for parent in ("matrix", "mtty"):
        mdevctl.define(Definition(UUID, parent, "t", True))
    assert [known.parent for known in mdevctl.defined(UUID)[0]] == ["matrix", "mtty"]


def test_a_damaged_file_does_not_hide_the_others(store: Path) -> None:
    good = Definition(OTHER, "mtty", "t", True)
    mdevctl.define(good)
    (store / "mtty" / UUID).write_bytes(b"\xff")
    (store / "mtty" / "notes.txt").write_text("not a definition")
    found, damaged = mdevctl.all_defined()
    assert found == [good]
    assert [os.path.basename(error.path) for error in damaged] == [UUID]
    assert mdevctl.defined(UUID)[0] == []


def test_a_failed_write_leaves_the_old_text_and_nothing_else(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = Definition(UUID, "mtty", "t", True)
    mdevctl.define(old)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NodedevError, match="could not be changed: ENOSPC"):
        mdevctl.define(Definition(UUID, "mtty", "other", True))
    monkeypatch.undo()
    monkeypatch.setattr(mdevctl, "STORE", str(store))
    assert mdevctl.all_defined() == ([old], [])
    assert [path.name for path in (store / "mtty").iterdir()] == [UUID]


def test_what_killed_runs_left_is_no_definition_and_is_cleared_up(store: Path) -> None:
    kept = Definition(UUID, "mtty", "t", True)
    mdevctl.define(kept)
    for parent in ("mtty", "matrix"):
        (store / parent).mkdir(exist_ok=True)
        (store / parent / f".nodedev-{OTHER}").write_text("{")
    assert mdevctl.all_defined() == ([kept], [])
    mdevctl.clear_up(["mtty", "0000:06:00.0"])
    assert sorted(path.name for path in (store / "mtty").iterdir()) == [UUID]
    mdevctl.clear_up(["matrix"])
    assert not (store / "matrix").exists()


def test_no_store_is_no_definition(store: Path) -> None:
    assert mdevctl.all_defined() == ([], [])
    assert not mdevctl.has_callouts()
    assert definitions.read(str(store / "gone")) is None


def test_callouts_are_executable_files(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mdevctl, "SCRIPTS", (str(tmp_path / "scripts.d"),))
    script = tmp_path / "scripts.d" / "callouts" / "check"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\n")
    script.chmod(0o644)
    assert not mdevctl.has_callouts()
    script.chmod(0o755)
    assert mdevctl.has_callouts()


@pytest.mark.parametrize(
    ("said", "attrs"),
    [
        ("[]", {}),
        (
            '[{"0000:3d:00.0": [{"u": {"mdev_type": "t", "start": "auto", "attrs": [{"a": "1"}, {"b": ""}]}},'
            ' {"v": {"mdev_type": "t", "start": "auto"}}]}]',
            {("0000:3d:00.0", "u"): (("a", "1"), ("b", ""))},
        ),
        ("", None),
        ("{}", {}),
        ('["u"]', None),
        ('[{"p": [{"u": {"attrs": "a"}}]}]', None),
        ('[{"p": [{"u": []}]}]', None),
    ],
)
def test_attributes_of_devices_that_run(
    monkeypatch: pytest.MonkeyPatch, said: str, attrs: dict[tuple[str, str], mdevctl.Attrs] | None
) -> None:
    monkeypatch.setattr(mdevctl, "_run", lambda arguments, document: said)
    if attrs is not None:
        assert mdevctl.active_attrs() == attrs
        return
    with pytest.raises(NodedevError):
        mdevctl.active_attrs()
