# SPDX-License-Identifier: GPL-3.0-or-later
"""Pools of several types, of whatever kind: what a person may say, what a record keeps, and what is made first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..errors import BadInput
from ..grammar import checked_type
from ..host import vgpu_types, vgpus
from ..host.vgpu_types import Type
from . import capacity, fields, members
from .capacity import Card, Instance, Placed

# What becomes of a change of a mix when somebody has an instance that would have to go.
REFUSE, WAIT = "refuse", "wait"
ALLOWED = f"it has a type or several, each with a number of instances, up to {members.MOST} in all"


def checked_types(value: object) -> dict[str, int]:
    """How many of each type a mix has; else BadInput."""
    found: dict[str, int] = {}
    for told, count in value.items() if isinstance(value, Mapping) else ():
        try:
            number = members.checked_count(count)
        except BadInput as error:
            raise BadInput("types", value, ALLOWED) from error
        if not isinstance(number, int):
            raise BadInput("types", value, ALLOWED)
        found[str(checked_type(str(told)))] = number
    if not found or sum(found.values()) > members.MOST:
        raise BadInput("types", value, ALLOWED)
    return found


def documents(types: Mapping[str, int], known: Mapping[str, Type]) -> list[dict[str, Any]]:
    """The types of a mix as a record keeps them: as they were told, with the ids and names that were found."""
    found = []
    for told, count in types.items():
        type = known.get(told)
        more = {"type_id": type.id, "title": type.name or None, "most": type.most} if type else {}
        found.append({"type": told, "count": count, **{key: value for key, value in more.items() if value}})
    return found


def kept(
    wish: Mapping[str, Any], read: Callable[[Mapping[str, Any]], Type | None]
) -> tuple[dict[str, int], dict[str, Type]]:
    """The same as they are read again: how many of each, and what is known of them; BadInput for nonsense."""
    types: dict[str, int] = {}
    known: dict[str, Type] = {}
    for one in fields.mappings(wish, "types") or ():
        told = str(checked_type(fields.needed_text(one, "type", "types.")))
        types[told] = fields.number(one, "count", "types.") or 0
        type = read(one)
        known.update({} if type is None else {told: type})
    return checked_types(types), known


def unknown(told: str, names: Mapping[int, str]) -> BadInput:
    """That no card of the host tells of a type; ``names`` are those of the types that they have."""
    types, question = vgpu_types.told(names, vgpus.NAMED), vgpu_types.suggested(told, names)
    return BadInput("types", told, f"{question}the types of this host's cards are: {types}")


def now(cards: Sequence[Card], rest: Mapping[int, int], left: Collection[str]) -> list[Placed] | None:
    """What can be made now without being in the way of the mix once these are gone; None where it never fits."""
    placed: list[Placed] = []
    while True:
        more = [Instance(f"+{number}", one.type, one.place) for number, one in enumerate(placed)]
        there = [with_instances(card, [own for own, one in zip(more, placed) if one.card == card.id]) for card in cards]
        found = capacity.fit(there, Counter(rest) - Counter(one.type for one in placed), left)
        now = [] if found.missing else capacity.possible(there, found.placed)
        if not now:
            return None if found.missing and not placed else placed
        placed += now


def with_instances(card: Card, own: Sequence[Instance]) -> Card:
    """A card with these besides what it carries."""
    functions = None if card.functions is None else card.functions - len(own)
    return replace(card, carried=(*card.carried, *own), functions=functions)


def told(pool: str, waiting: Mapping[str, Any]) -> Iterator[str]:
    """The warning that a change is not complete, and what it waits for."""
    if waiting["go"] or waiting["come"]:
        go = ", ".join(waiting["go"]) or "none"
        come = ", ".join(f"{count} of {name}" for name, count in waiting["come"].items()) or "none"
        yield f"pool {pool} is not complete: to go once nobody has them are {go}; to come then are {come}: run it again"
