# SPDX-License-Identifier: GPL-3.0-or-later
"""Pools over virtual functions, which say what they take themselves and not what their card takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import BadInput
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mdev.parents import Choice, Parent
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mdev.pool import plan
from pools import PARENTS, TYPE, new, observed, runs, shortly


def functions(**free: int) -> Choice:
    """Virtual functions of cards A and B, called A1, A2 and so on, and how many each says that it takes."""
    return Choice(
        tuple(
            Parent(f"{PARENTS[name[0]]}.{name[1]}", f"pci_{name}", PARENTS[name[0]], TYPE, "vfio-pci", count, 3)
            for name, count in free.items()
        ),
        {},
    )


CARDS = {f"{PARENTS[letter]}.{number}": PARENTS[letter] for letter in "AB" for number in (1, 2, 3, 4)}


@pytest.mark.parametrize(
    ("ceilings", "count", "places"),
    [
        ({}, "max", ["A.1", "B.1", "A.2", "B.2"]),
        ({"A": 1}, "max", ["B.1", "A.1", "B.2"]),
        ({"A": 0, "B": 1}, "max", ["B.1"]),
        ({"A": 9}, "max", ["A.1", "B.1", "A.2", "B.2"]),
        ({"A": 0}, 2, ["B.1", "B.2"]),
    ],
)
def test_a_card_that_was_found_to_take_less(ceilings: Mapping[str, int], count: str | int, places: list[str]) -> None:
    seen = observed(choice=functions(A1=1, A2=1, B1=1, B2=1), cards=CARDS)
    planned = plan(new(count=count), seen, {PARENTS[letter]: most for letter, most in ceilings.items()})
    assert [planned.then.active[uuid].parent for uuid in planned.creates] == [
        f"{PARENTS[place[0]]}{place[1:]}" for place in places
    ]


def test_what_a_card_says_it_takes_and_what_was_found_are_told_when_it_is_too_little() -> None:
    seen = observed(choice=functions(A1=1, A2=1, A3=1, A4=1, B1=1), cards=CARDS)
    with pytest.raises(
        BadInput, match=r"needs 5 more .* room for 4; free are all of .*06:00.0\): 3, all of pci_0000_07"
    ):
        plan(new(count=5), seen)
    with pytest.raises(BadInput, match=r"room for 2; free are all of .*06:00.0\): 1, all of .*07:00.0\): 3"):
        plan(new(count=5), seen, {PARENTS["A"]: 1})


def test_others_on_the_card_count_against_what_it_takes() -> None:
    others = [replace(device, parent=f"{device.parent}.1") for device in runs("uA", "vA")]
    seen = observed(active=others, choice=functions(A2=1, A3=1, A4=1), cards=CARDS)
    with pytest.raises(BadInput, match=r"room for 1; free are all of .*\(0000:06:00.0\): 1"):
        plan(new(count=2), seen)
    # Only to be defined, the pool has the card to itself.
    assert len(shortly(plan(new(count=3, state="inactive"), seen))) == 4
