# SPDX-License-Identifier: GPL-3.0-or-later
"""What nvme-cli prints of the controllers of virtual functions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import NodedevError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.nvme_functions import (
    Room,
    Secondary,
    parsed,
    rooms,
    why_unusable,
)

CAPS = {
    "cntlid": 0,
    "portid": 0,
    "crt": 3,
    "vqfrt": 8,
    "vqrfa": 0,
    "vqrfap": 8,
    "vqprt": 3,
    "vqfrsm": 2,
    "vqgran": 1,
    "vifrt": 4,
    "virfa": 0,
    "virfap": 4,
    "viprt": 6,
    "vifrsm": 1,
    "vigran": 1,
}


def entry(number: int, id: int, state: int = 0, queues: int = 0, interrupts: int = 0) -> dict[str, int]:
    return {
        "secondary-controller-identifier": id,
        "primary-controller-identifier": 0,
        "secondary-controller-state": state,
        "virtual-function-number": number,
        "num-virtual-queues": queues,
        "num-virtual-interrupts": interrupts,
    }


def test_secondary_controllers() -> None:
    # What is no virtual function's has number 0.
    listed = {"num": 3, "secondary-controllers": [entry(2, 3), entry(1, 1, 1, 2, 1), entry(0, 9)]}
    assert parsed(json.dumps(listed)) == (Secondary(1, 1, True, 2, 1), Secondary(2, 3, False, 0, 0))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"secondary-controllers": [5]}', '{"secondary-controllers": [{}]}', "[" * 100000]
)
def test_what_is_not_understood(text: str) -> None:
    with pytest.raises(NodedevError, match=r"^nvme .*printed"):
        parsed(text)


def test_rooms() -> None:
    assert rooms(json.dumps(CAPS)) == (0, Room(8, 2, 1, 8), Room(4, 1, 1, 4))


@pytest.mark.parametrize(
    ("room", "count", "share"),
    [
        (Room(8, 2, 1, 0), 4, 2),
        (Room(8, 2, 1, 0), 1, 2),
        (Room(8, 0, 1, 0), 3, 2),
        (Room(10, 5, 2, 0), 2, 4),
        (Room(2, 2, 0, 0), 3, 0),
    ],
)
def test_shares(room: Room, count: int, share: int) -> None:
    assert room.share(count) == share


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ([Secondary(1, 1, True, 2, 1)], None),
        ([Secondary(1, 1, False, 2, 1)], "its controller is offline, with 2 queues and 1 interrupts"),
        ([Secondary(1, 1, True, 1, 1)], "its controller has 1 queues and 1 interrupts only"),
        ([Secondary(2, 1, True, 2, 1)], "the card lists no secondary controller for it"),
    ],
)
def test_why_a_function_is_of_no_use(found: list[Any], reason: str | None) -> None:
    assert why_unusable(found, 0) == reason
