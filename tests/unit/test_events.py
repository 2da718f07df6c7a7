# SPDX-License-Identifier: GPL-3.0-or-later
"""Events as the difference between two looks: in which words, in which order, with which definition."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.facts.events import Look, events

CARD = {"path": "/sys/devices/card", "capability": {"type": "pci"}}
MDEV = {"path": "/sys/devices/card/uuid", "parent": "card", "capability": {"type": "mdev"}}
DEFINED = {"name": "mdev", "autostart": True}
VHBA = {"name": "scsi_host9", "wwpn": "2101001b32a9da5e"}
HOST = {"path": "/sys/devices/hba/host9", "capability": {"type": "scsi_host"}}
KEY = ("mdev", "mdev")
# It is nowhere in sysfs.
COMPUTER = {"capability": {"type": "system"}}
FULL = Look({"computer": COMPUTER, "card": CARD, "mdev": MDEV}, {KEY: DEFINED})
EMPTY = Look({"computer": COMPUTER}, {})


def changed(look: Look, name: str, **facts: Any) -> Look:
    return Look({**look.devices, name: {**look.devices[name], **facts}}, look.definitions)


@pytest.mark.parametrize(
    ("before", "after", "removed", "told"),
    [
        pytest.param(FULL, FULL, [], [], id="nothing"),
        pytest.param(
            EMPTY,
            FULL,
            [],
            [("created", "device", "card"), ("created", "device", "mdev"), ("defined", "definition", "mdev")],
            id="parents come first",
        ),
        pytest.param(
            FULL,
            EMPTY,
            [],
            [("deleted", "device", "mdev"), ("deleted", "device", "card"), ("undefined", "definition", "mdev")],
            id="children go first",
        ),
        pytest.param(
            FULL, changed(FULL, "card", driver={"name": "nvidia"}), [], [("changed", "device", "card")], id="a driver"
        ),
        pytest.param(
            FULL,
            FULL,
            [MDEV["path"]],
            [("deleted", "device", "mdev"), ("created", "device", "mdev")],
            id="gone and back between two looks",
        ),
        pytest.param(FULL, FULL, ["/sys/devices/other"], [], id="another has gone and come"),
        pytest.param(
            FULL,
            Look(FULL.devices, {KEY: {**DEFINED, "autostart": False}}),
            [],
            [("changed", "definition", "mdev")],
            id="another definition",
        ),
        pytest.param(
            EMPTY,
            Look(EMPTY.devices, {("pool", "desks"): {"name": "desks"}}),
            [],
            [("defined", "pool", "desks")],
            id="a pool",
        ),
        pytest.param(
            EMPTY,
            Look(EMPTY.devices, {("ap_mask", "masks"): {"by": "masks"}}),
            [],
            [("defined", "definition", None)],
            id="crypto queues",
        ),
        pytest.param(
            Look({"scsi_host9": HOST}, {("vhba", VHBA["wwpn"]): VHBA}),
            Look({}, {("vhba", VHBA["wwpn"]): {**VHBA, "name": None, "parent": None}}),
            [],
            [("deleted", "device", "scsi_host9")],
            id="a vHBA, whose definition is as it was",
        ),
    ],
)
def test_what_is_told(before: Look, after: Look, removed: list[str], told: list[tuple[str, str, str | None]]) -> None:
    assert [(each["event"], each["what"], each["name"]) for each in events(before, after, removed)] == told


@pytest.mark.parametrize(
    ("before", "after", "definition"),
    [
        pytest.param(
            FULL, Look({"computer": COMPUTER, "card": CARD}, FULL.definitions), DEFINED, id="is still defined"
        ),
        pytest.param(FULL, Look({"computer": COMPUTER, "card": CARD}, {}), None, id="was undefined too"),
        pytest.param(
            Look(FULL.devices, {}), Look({"computer": COMPUTER, "card": CARD}, {}), None, id="never was defined"
        ),
        pytest.param(
            Look({"scsi_host9": HOST}, {("vhba", VHBA["wwpn"]): VHBA}),
            Look({}, {("vhba", VHBA["wwpn"]): {**VHBA, "name": "another"}}),
            {**VHBA, "name": "another"},
            id="a vHBA, whose name ends with its host",
        ),
    ],
)
def test_a_deleted_device_has_its_definition(before: Look, after: Look, definition: dict[str, Any] | None) -> None:
    assert next(events(before, after))["definition"] == definition
