# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the instances of a pool go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.pools.placement import (
    PACK,
    SPREAD,
    Room,
    capacity,
    place,
)
from hypothesis import given
from hypothesis import strategies as st

TWO = (Room("a", "a", 4), Room("b", "b", 4))
UNEVEN = (Room("a", "a", 1), Room("b", "b", 4))
# Two virtual functions on each of two cards, which say 1 each whatever their card can take.
FUNCTIONS = (Room("a1", "a", 1), Room("a2", "a", 1), Room("b1", "b", 1), Room("b2", "b", 1))


@pytest.mark.parametrize(
    ("rooms", "limits", "expected"),
    [
        ((), {}, 0),
        (TWO, {}, 8),
        (TWO, {"a": 1}, 5),
        (TWO, {"a": 9}, 8),
        (TWO, {"a": 0, "b": 0}, 0),
        (TWO, {"c": 0}, 8),
        (FUNCTIONS, {}, 4),
        (FUNCTIONS, {"a": 1}, 3),
    ],
)
def test_capacity(rooms: Sequence[Room], limits: Mapping[str, int], expected: int) -> None:
    assert capacity(rooms, limits) == expected


NEW = None
CASES: list[tuple[str, str, Sequence[Room], Mapping[str, int], Mapping[str, int], list[str | None], list[str]]] = [
    ("nothing", SPREAD, TWO, {}, {}, [], []),
    ("spread", SPREAD, TWO, {}, {}, [NEW] * 4, ["a", "b", "a", "b"]),
    ("spread, an odd one", SPREAD, TWO, {}, {}, [NEW] * 3, ["a", "b", "a"]),
    ("spread evens out", SPREAD, TWO, {}, {"a": 2}, [NEW] * 3, ["b", "b", "a"]),
    ("spread, where there is more room", SPREAD, UNEVEN, {}, {}, [NEW], ["b"]),
    ("spread, one is full then", SPREAD, UNEVEN, {}, {}, [NEW] * 4, ["b", "a", "b", "b"]),
    ("spread, a card takes less", SPREAD, TWO, {"a": 1}, {}, [NEW] * 4, ["b", "a", "b", "b"]),
    ("spread over cards first", SPREAD, FUNCTIONS, {}, {}, [NEW] * 4, ["a1", "b1", "a2", "b2"]),
    ("spread over cards first, others' loads", SPREAD, FUNCTIONS, {}, {"a2": 1}, [NEW] * 2, ["b1", "a1"]),
    ("spread, load on parents that are not chosen", SPREAD, TWO, {}, {"c": 5}, [NEW] * 2, ["a", "b"]),
    ("pack", PACK, TWO, {}, {}, [NEW] * 5, ["a", "a", "a", "a", "b"]),
    ("pack, where the pool is", PACK, TWO, {}, {"b": 1}, [NEW] * 5, ["b", "b", "b", "b", "a"]),
    ("pack, where there is less room", PACK, UNEVEN[::-1], {}, {}, [NEW] * 2, ["a", "b"]),
    ("pack, a card takes less", PACK, TWO, {"a": 1}, {}, [NEW] * 3, ["a", "b", "b"]),
    ("pack card by card", PACK, FUNCTIONS, {}, {}, [NEW] * 3, ["a1", "a2", "b1"]),
    ("a former parent is kept", SPREAD, TWO, {}, {}, ["b", "b", NEW], ["b", "b", "a"]),
    ("a former parent that is full", SPREAD, UNEVEN, {}, {}, ["a", "a"], ["a", "b"]),
    ("a former parent that is gone", SPREAD, TWO, {}, {}, ["c"], ["a"]),
    ("a former parent whose card is full", PACK, FUNCTIONS, {"b": 1}, {}, ["b1", "b2"], ["b1", "a1"]),
    ("new ones make room for those that were there", PACK, UNEVEN, {}, {}, [NEW, "a"], ["b", "a"]),
]


@pytest.mark.parametrize(
    ("placement", "rooms", "limits", "own", "wanted", "expected"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_place(
    placement: str,
    rooms: Sequence[Room],
    limits: Mapping[str, int],
    own: Mapping[str, int],
    wanted: list[str | None],
    expected: list[str],
) -> None:
    assert place(wanted, rooms, limits, own, placement) == expected


placements = st.sampled_from([SPREAD, PACK])
rooms_of_cards = st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=3), min_size=1, max_size=5).map(
    lambda cards: [
        Room(f"{card}.{function}", str(card), free)
        for card, functions in enumerate(cards)
        for function, free in enumerate(functions)
    ]
)
card_limits = st.dictionaries(st.integers(0, 4).map(str), st.integers(0, 6))


@given(rooms_of_cards, card_limits, placements, st.data())
def test_all_are_placed_where_there_is_room(
    rooms: list[Room], limits: dict[str, int], placement: str, data: st.DataObject
) -> None:
    parents = st.sampled_from([None, "gone", *(room.parent for room in rooms)])
    wanted = data.draw(st.lists(parents, max_size=capacity(rooms, limits)))
    own = data.draw(st.dictionaries(st.sampled_from([room.parent for room in rooms]), st.integers(0, 9)))
    placed = place(wanted, rooms, limits, own, placement)
    assert len(placed) == len(wanted)
    on_parent = Counter(placed)
    assert all(on_parent[room.parent] <= room.free for room in rooms)
    card = {room.parent: room.card for room in rooms}
    on_card = Counter(card[parent] for parent in placed)
    assert all(on_card[name] <= most for name, most in limits.items())
    free = {room.parent: room.free for room in rooms}
    for former, parent in zip(wanted, placed):
        # Whoever moved had no room left where it was.
        if former in free and parent != former:
            full = on_parent[former] == free[former]
            assert full or on_card[card[former]] == limits.get(card[former])


@given(st.integers(1, 6), st.integers(1, 3), st.integers(0, 40), placements)
def test_a_spread_pool_is_even_where_the_cards_are(cards: int, functions: int, count: int, placement: str) -> None:
    each = -(-count // (cards * functions))
    rooms = [Room(f"{card}.{function}", str(card), each) for card in range(cards) for function in range(functions)]
    on_parent = Counter({room.parent: 0 for room in rooms})
    on_parent.update(place([None] * count, rooms, {}, {}, placement))
    on_card = Counter[str]()
    for parent, number in on_parent.items():
        on_card[parent.partition(".")[0]] += number
    if placement == SPREAD:
        assert max(on_card.values()) - min(on_card.values()) <= 1
        for card in map(str, range(cards)):
            numbers = [number for parent, number in on_parent.items() if parent.startswith(f"{card}.")]
            assert max(numbers) - min(numbers) <= 1
    else:
        assert sum(0 < number < each * functions for number in on_card.values()) <= 1


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.data())
def test_a_spread_pool_that_grows_levels_what_it_can(loads: list[int], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, 20))
    rooms = [Room(str(number), str(number), count) for number in range(len(loads))]
    own = {str(number): load for number, load in enumerate(loads)}
    placed = Counter(place([None] * count, rooms, {}, own, SPREAD))
    after = [own[name] + placed[name] for name in own]
    # Nothing was added above the lowest, but for the last round.
    assert all(placed[str(number)] == 0 or after[number] <= min(after) + 1 for number in range(len(loads)))
