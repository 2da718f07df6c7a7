# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept of a vHBA: written, read back, damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba import definition as vhba_definition
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba.definition import Definition
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store import files as definitions
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.files import DamagedDefinition
from fibre import WWNN, WWPN, names

HBA = names(3)[1]
KEPT = Definition(WWPN, WWNN, HBA)
WRITTEN: dict[str, Any] = {"version": 1, "wwnn": WWNN, "wwpn": WWPN, "parent_wwpn": HBA, "require_online": True}
OTHER = "5001a4a0000000b2"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(definitions, "STORE", str(tmp_path))
    return tmp_path / "vhba"


def keep(store: Path, name: str, text: str | bytes) -> None:
    store.mkdir(exist_ok=True)
    (store / f"{name}.json").write_bytes(text if isinstance(text, bytes) else text.encode())


def test_none(store: Path) -> None:
    assert vhba_definition.DOCUMENTS.find(WWPN) is None
    assert vhba_definition.DOCUMENTS.all() == ([], [])


def test_it_is_written_and_read_back(store: Path) -> None:
    vhba_definition.define(KEPT, None).apply()
    assert json.loads((store / f"{WWPN}.json").read_text()) == WRITTEN
    assert ((store / f"{WWPN}.json").stat().st_mode & 0o777, KEPT.path) == (0o600, str(store / f"{WWPN}.json"))
    assert vhba_definition.DOCUMENTS.find(WWPN) == KEPT
    assert vhba_definition.DOCUMENTS.all() == ([KEPT], [])


def test_each_step_can_be_taken_back(store: Path) -> None:
    other = Definition(WWPN, WWNN, names(4)[1], require_online=False)
    for step, then, back in (
        (vhba_definition.define(KEPT, None), KEPT, None),
        (vhba_definition.define(other, KEPT), other, KEPT),
        (vhba_definition.undefine(KEPT), None, KEPT),
    ):
        step.apply()
        assert vhba_definition.DOCUMENTS.find(WWPN) == then
        assert step.undo is not None
        step.undo()
        assert vhba_definition.DOCUMENTS.find(WWPN) == back
        if back is None:
            vhba_definition.define(KEPT, None).apply()


@pytest.mark.parametrize(("value", "expected"), [(True, True), (False, False), (None, True)])
def test_whether_online(store: Path, value: bool | None, expected: bool) -> None:
    keep(store, WWPN, json.dumps({**WRITTEN, "require_online": value}))
    known = vhba_definition.DOCUMENTS.find(WWPN)
    assert known is not None
    assert known.require_online is expected


def test_names_in_another_notation(store: Path) -> None:
    text = json.dumps({**WRITTEN, "wwnn": f"0x{WWNN.upper()}", "parent_wwpn": "10:00:00:90:FA:12:34:03"})
    keep(store, WWPN, text)
    assert vhba_definition.DOCUMENTS.find(WWPN) == KEPT


DAMAGES: list[tuple[str, str | bytes, str]] = [
    ("empty", "", "no JSON"),
    ("cut off", json.dumps(WRITTEN)[:-5], "no JSON"),
    ("no text", b"\xff\xfe", "not UTF-8 text"),
    ("a list", "[]", "not a JSON object"),
    ("another WWPN", json.dumps({**WRITTEN, "wwpn": OTHER}), f"it is of WWPN {OTHER}"),
    ("a later version", json.dumps({**WRITTEN, "version": 2}), "its version is 2, and this release knows 1 only"),
    ("no version", json.dumps({**WRITTEN, "version": None}), "its version is None"),
    *[
        (f"no {key}", json.dumps({name: value for name, value in WRITTEN.items() if name != key}), f"{key}: 'None'")
        for key in ("wwnn", "wwpn", "parent_wwpn")
    ],
    ("a name that is none", json.dumps({**WRITTEN, "parent_wwpn": "scsi_host3"}), "parent_wwpn: 'scsi_host3'"),
    ("zeros", json.dumps({**WRITTEN, "wwnn": "0" * 16}), "wwnn: '0000000000000000'"),
    ("a number", json.dumps({**WRITTEN, "wwnn": 5}), "wwnn: '5'"),
]


@pytest.mark.parametrize(("text", "reason"), [case[1:] for case in DAMAGES], ids=[case[0] for case in DAMAGES])
def test_a_damaged_one_is_named_and_hides_no_other(store: Path, text: str | bytes, reason: str) -> None:
    keep(store, WWPN, text)
    keep(store, OTHER, json.dumps({**WRITTEN, "wwpn": OTHER}))
    with pytest.raises(DamagedDefinition) as damaged:
        vhba_definition.DOCUMENTS.find(WWPN)
    assert damaged.value.path == str(store / f"{WWPN}.json")
    assert reason in damaged.value.reason
    found, files = vhba_definition.DOCUMENTS.all()
    assert [definition.wwpn for definition in found] == [OTHER]
    assert [(file.path, file.reason) for file in files] == [(damaged.value.path, damaged.value.reason)]


def test_what_is_no_definition_is_left_out(store: Path) -> None:
    keep(store, WWPN, json.dumps(WRITTEN))
    (store / "README").write_text("")
    (store / f".nodedev-{OTHER}.json").write_text("{")
    assert vhba_definition.DOCUMENTS.all() == ([KEPT], [])
