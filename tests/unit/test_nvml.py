# SPDX-License-Identifier: GPL-3.0-or-later
"""What NVIDIA's library tells of places, as the child that asks it hands it on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import nvml, nvml_child
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.nvml import Places
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.oddities import Oddities
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.programs import Answer

CARD, OTHER = "0000:41:00.0", "0000:42:00.0"
NAME = "pci_0000_41_00_0 (0000:41:00.0)"
KNOWN = {7: Places(4, (0, 4, 8), (0, 8))}


def of_type(told: object) -> dict[str, Any]:
    return {"cards": {CARD: {"types": {"7": told}}}}


def places(*lists: tuple[int, int, list[int]]) -> dict[str, Any]:
    return of_type([*lists])


SUPPORTED, CREATABLE = (4, 3, [0, 4, 8]), (4, 2, [8, 0])
OF_TYPE = f"the places of vGPUs on {NAME} of type 7 are not known, and the driver chooses them: "
OF_CARD = f"the places of vGPUs on {NAME} are not known, and the driver chooses them: "
ANSWERS: list[tuple[str, Any, dict[int, Places], str]] = [
    ("places", places(SUPPORTED, CREATABLE), KNOWN, ""),
    ("a full card", places(SUPPORTED, (0, 0, [])), {7: Places(4, (0, 4, 8), ())}, ""),
    ("more told than given", places((4, 9000000, [0, 4]), CREATABLE), {}, "9000000 places are told, the first of"),
    ("too many", places((1, 257, [*range(257)]), CREATABLE), {}, "257 places are told, the first of which are [0, 1,"),
    ("no place", places((4, 1, [65535]), CREATABLE), {}, "1 places are told, the first of which are [65535]"),
    ("no size", places((0, 1, [0]), (0, 1, [0])), {}, "it tells of 0 slots at (0,), and now of 0 at (0,)"),
    ("two sizes", places((4, 1, [0]), (2, 1, [0])), {}, "it tells of 4 slots at (0,), and now of 2 at (0,)"),
    ("free and not there", places((4, 1, [0]), (4, 1, [2])), {}, "it tells of 4 slots at (0,), and now of 4 at (2,)"),
    ("no place at all", places((4, 0, []), (0, 0, [])), {}, "it tells of 4 slots at (), and now of 0 at ()"),
    ("refused", of_type({"refused": ["f", 3, "Not Supported"]}), {}, "f returned 3: Not Supported"),
    ("without words", of_type({"refused": ["f", 999, ""]}), {}, "f returned 999: nothing"),
    ("no type", {"cards": {CARD: {"types": {}}}}, {}, "nothing is told of it"),
    ("no card", {"cards": {}}, {}, "nothing is told of it"),
]
OF_ALL: list[tuple[str, Any, str]] = [
    ("no card of that name", {"cards": {CARD: {"refused": ["f", 6, "Not Found"]}}}, "f returned 6: Not Found"),
    ("no library", {"lacking": "no such file\x1b"}, "there is no library to ask: no such file\\x1b"),
    ("not begun", {"refused": ["nvmlInit_v2", 9, "Driver Not Loaded"]}, "nvmlInit_v2 returned 9: Driver Not Loaded"),
    ("older", {"refused": ["g", None, ""]}, "libnvidia-ml.so.1 has no g: it is older than driver 570"),
    (
        "of version 1",
        {"refused": ["g", 25, ""]},
        "g knows no lists of places of version 2: it is older than driver 570",
    ),
]


def asked(answer: Answer) -> tuple[dict[str, dict[int, Places]], list[str]]:
    oddities = Oddities()
    return nvml.understood(answer, {CARD: [7]}, oddities), [*oddities.warnings]


@pytest.mark.parametrize(("name", "told", "expected", "why"), ANSWERS, ids=[each[0] for each in ANSWERS])
def test_of_a_type(name: str, told: Any, expected: dict[int, Places], why: str) -> None:
    found, warnings = asked(Answer(0, f"says the library\n{json.dumps(told)}\n", ""))
    assert found == {CARD: expected}
    assert [each[: len(OF_TYPE + why)] for each in warnings] == ([f"{OF_TYPE}{why}"] if why else [])


@pytest.mark.parametrize(("name", "told", "why"), OF_ALL, ids=[each[0] for each in OF_ALL])
def test_of_nothing(name: str, told: Any, why: str) -> None:
    found, warnings = asked(Answer(0, json.dumps(told), ""))
    assert (found, [each[: len(OF_CARD + why)] for each in warnings]) == ({CARD: {}}, [f"{OF_CARD}{why}"])


@pytest.mark.parametrize("said", ["", "3", "[1]", "{", "[" * 100000])
def test_what_is_no_answer(said: str) -> None:
    found, warnings = asked(Answer(0, said, ""))
    assert found == {CARD: {}}
    assert warnings[0].startswith(f"{OF_CARD}what was asked of libnvidia-ml.so.1 is not understood: ")
    assert len(warnings[0]) < 400


def test_a_child_that_dies() -> None:
    why = "asking libnvidia-ml.so.1 ended with status -6: no memory"
    assert asked(Answer(-6, "", "Traceback\nno memory\n")) == ({CARD: {}}, [f"{OF_CARD}{why}"])


def test_nothing_is_asked_of_no_card() -> None:
    assert nvml.places({}, Oddities()) == {}


def test_the_structure_is_the_one_of_the_header() -> None:
    """NVML_STRUCT_VERSION(VgpuPlacementList, 2) on a machine of 64 bits."""
    assert nvml_child.VERSION == 0x02000020
    assert [getattr(nvml_child.PlacementList, name).offset for name in ("size", "count", "ids", "mode")] == [
        4,
        8,
        16,
        24,
    ]
