# SPDX-License-Identifier: GPL-3.0-or-later
"""The GPU instances that a mix of MIG-backed vGPUs needs, and what makes no mix."""

from __future__ import annotations

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import BadInput
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.vgpu_types import Type
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mig.types import checked, needed

# Two letters of one framebuffer of which an instance takes different numbers, another framebuffer of the same profile,
# one of which it is not told, and one for whole cards.
TYPES = {
    each.id: each
    for each in (
        Type(1, "NVIDIA X-1-2Q", 2048, 48, 19, 12),
        Type(2, "NVIDIA X-1-2B", 2048, 48, 19, 10),
        Type(3, "NVIDIA X-1-4Q", 4096, 24, 19, 6),
        Type(4, "NVIDIA X-3-48C", 49152, 2, 9),
        Type(5, "NVIDIA X-8Q", 8192, 12),
    )
}


@pytest.mark.parametrize(
    ("wanted", "instances"),
    [
        ({"X-1-2Q": 1}, {"19": 1}),
        ({"X-1-2Q": 12}, {"19": 1}),
        ({"NVIDIA X-1-2Q": 13}, {"19": 2}),
        ({"1": 48}, {"19": 4}),
        # The letters share an instance, of which the least counts; another framebuffer needs one of its own.
        ({"X-1-2Q": 5, "X-1-2B": 5}, {"19": 1}),
        ({"X-1-2Q": 6, "X-1-2B": 5}, {"19": 2}),
        ({"X-1-2Q": 1, "X-1-4Q": 1}, {"19": 2}),
        # One for each where it is not told, the larger profile first.
        ({"X-1-2Q": 1, "X-3-48C": 2}, {"9": 2, "19": 1}),
        ({"X-1-2Q": 0}, {}),
    ],
)
def test_what_a_mix_needs(wanted: dict[str, int], instances: dict[str, int]) -> None:
    found = needed(checked(wanted), TYPES, True)
    assert (found, [*found]) == (instances, [*instances])


@pytest.mark.parametrize(
    ("wanted", "divided", "message"),
    [
        ({"X-8Q": 1}, True, "types: 'X-8Q' cannot be used: it is a type for a whole card, without GPU instances"),
        ({"X-1-9Q": 1}, True, "the card's types for GPU instances are NVIDIA X-1-2Q (1), NVIDIA X-1-2B (2), NVIDIA"),
        ({"x-1-2q": 1}, True, "did you mean 'X-1-2Q'? the card's types"),
        ({"X-1-9Q": 1}, False, "NVIDIA X-3-48C (4); it may list more once MIG is on: set enabled alone first"),
    ],
)
def test_what_is_no_type_of_it(wanted: dict[str, int], divided: bool, message: str) -> None:
    with pytest.raises(BadInput) as error:
        needed(wanted, TYPES, divided)
    assert message in str(error.value)
    assert divided != ("once MIG is on" in str(error.value))


@pytest.mark.parametrize(
    "types", [None, {}, [], "X-1-2Q", {"X": -1}, {"X": 1.5}, {"X": True}, {"X": "many"}, {"X": 1025}, {"X": None}]
)
def test_what_is_no_mix(types: object) -> None:
    with pytest.raises(BadInput, match=r"^types: "):
        checked(types)
