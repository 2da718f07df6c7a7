# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the instances of a pool go: over all cards evenly, or card by card. Pure functions, the same for every kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WAYS = SPREAD, PACK = "spread", "pack"


@dataclass(frozen=True)
class Room:
    """How many instances a parent can still take; those of one ``card``, as virtual functions of a GPU, share that."""

    parent: str
    card: str
    free: int


def capacity(rooms: Sequence[Room], limits: Mapping[str, int]) -> int:
    """How many instances all parents can take together; ``limits`` are those of cards that take less than the sum."""
    free = Counter[str]()
    for room in rooms:
        free[room.card] += room.free
    return sum(min(count, limits.get(card, count)) for card, count in free.items())


def keep(wanted: Sequence[str | None], rooms: Sequence[Room], limits: Mapping[str, int]) -> list[bool]:
    """Of the parents that instances had before, in their order, which of them can be had again by place()."""
    free = {room.parent: room.free for room in rooms}
    cards = {room.parent: room.card for room in rooms}
    left = {card: capacity([room for room in rooms if room.card == card], limits) for card in set(cards.values())}
    kept = []
    for parent in wanted:
        has_room = parent is not None and free.get(parent, 0) > 0 and left[cards[parent]] > 0
        kept.append(has_room)
        if parent is not None and has_room:
            free[parent] -= 1
            left[cards[parent]] -= 1
    return kept


def place(
    wanted: Sequence[str | None],
    rooms: Sequence[Room],
    limits: Mapping[str, int],
    own: Mapping[str, int],
    placement: str,
) -> list[str]:
    """A parent for each wanted instance, of which capacity() has room for all.

    ``wanted`` holds the parent that an instance had before, which it keeps where there is room, or None. ``own`` is how
    many instances of the pool each parent has already. With ``spread`` the next instance goes to the card that has the
    fewest of the pool, with ``pack`` to the one that has the most, and likewise to the parent on it; among equals,
    ``spread`` takes the one with more room and ``pack`` the one with less.
    """
    free = {room.parent: room.free for room in rooms}
    cards = {room.parent: room.card for room in rooms}
    left = {card: capacity([room for room in rooms if room.card == card], limits) for card in set(cards.values())}
    load = Counter(own)
    card_load = Counter[str]()
    for parent, count in own.items():
        card_load[cards.get(parent, parent)] += count
    order = {room.parent: number for number, room in enumerate(rooms)}
    sign = 1 if placement == SPREAD else -1

    def open_for_more(parent: str) -> bool:
        return free[parent] > 0 and left[cards[parent]] > 0

    def rank(parent: str) -> tuple[int, ...]:
        card = cards[parent]
        return (sign * card_load[card], -sign * left[card], sign * load[parent], -sign * free[parent], order[parent])

    def take(parent: str) -> str:
        free[parent] -= 1
        left[cards[parent]] -= 1
        load[parent] += 1
        card_load[cards[parent]] += 1
        return parent

    again = zip(wanted, keep(wanted, rooms, limits))
    places = [take(parent) if parent is not None and keeps else None for parent, keeps in again]
    return [parent or take(min(filter(open_for_more, free), key=rank)) for parent in places]
