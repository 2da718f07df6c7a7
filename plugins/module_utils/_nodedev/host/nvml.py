# SPDX-License-Identifier: GPL-3.0-or-later
"""Where vGPUs may stand on heterogeneous cards, as NVIDIA's library NVML tells, which is part of the vGPU manager.

No file of the driver's tells it, and no tool. The library is asked by a child that is this Python with nvml_child.py
for its program: a driver that blocks is left behind, and a library that crashes takes nothing with it.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .. import programs
from ..errors import NodedevError
from ..names import called, named
from ..programs import Answer
from ..text import is_number, shown
from ..waiting import left
from . import nvml_child
from .oddities import Oddities

# Seconds for the answer about all cards: the library wakes each of them first.
PATIENCE = 60.0
# The highest place that there can be.
HIGHEST = 65534
# How many places a type may have, more than cards have functions, and how many of odd ones a message names.
MOST, NAMED = 256, 4


@dataclass(frozen=True)
class Places:
    """A type on a card: how many ``slots`` one takes, and the placement ids at which one may begin.

    ``supported`` are those of an empty card, ``creatable`` those that are free now.
    """

    slots: int
    supported: tuple[int, ...]
    creatable: tuple[int, ...]


def places(cards: Mapping[str, Collection[int]], oddities: Oddities) -> dict[str, dict[int, Places]]:
    """The places of these types, by id, on heterogeneous cards, by address; what is not told is warned of."""
    if not cards:
        return {}
    question = {card: sorted(types) for card, types in cards.items()}
    # Its source is found in the archive that Ansible sends, too.
    text = f"{inspect.getsource(nvml_child)}\nmain({question!r})\n"
    try:
        # Without the settings of whoever runs it, and nothing but what belongs to Python itself. What comes after it
        # has as much time.
        answer = programs.run([sys.executable or "", "-I", "-S", "-"], left(PATIENCE) / 2, text)
    except NodedevError as error:
        oddities.add(_warning(named([*cards]), error))
        return {card: {} for card in cards}
    return understood(answer, cards, oddities)


def understood(
    answer: Answer, cards: Mapping[str, Collection[int]], oddities: Oddities
) -> dict[str, dict[int, Places]]:
    """The places of which the child tells by card and type; what can be none is warned of and left out."""
    try:
        told = _told(answer)
    except NodedevError as error:
        oddities.add(_warning(named([*cards]), error))
        return {card: {} for card in cards}
    return {card: dict(_of_card(card, types, told.get(card), oddities)) for card, types in cards.items()}


def _warning(where: str, why: NodedevError) -> str:
    return f"the places of vGPUs on {where} are not known, and the driver chooses them: {why}"


def _told(answer: Answer) -> Mapping[str, Any]:
    """What the child says of the cards; NodedevError where it says nothing that can be understood."""
    line = answer.output.strip().rpartition("\n")[2]
    if answer.status != 0:
        said = answer.errors.strip().rpartition("\n")[2]
        raise NodedevError(f"asking {nvml_child.LIBRARY} ended with status {answer.status}: {shown(said or 'nothing')}")
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise NodedevError(f"what was asked of {nvml_child.LIBRARY} is not understood: {shown(line or 'nothing')}")
    if "lacking" in found:
        raise NodedevError(f"there is no library to ask: {shown(found['lacking'])}")
    _refuse(found)
    told = found.get("cards")
    return told if isinstance(told, dict) else {}


def _refuse(told: Mapping[str, Any]) -> None:
    """Raise NodedevError where a function of the library did not succeed."""
    if "refused" not in told:
        return
    name, code, words = told["refused"]
    if code is None:
        raise NodedevError(f"{nvml_child.LIBRARY} has no {name}: it is older than driver 570")
    if code == nvml_child.OTHER_VERSION:
        raise NodedevError(f"{name} knows no lists of places of version 2: it is older than driver 570")
    raise NodedevError(f"{name} returned {code}: {shown(words or 'nothing')}")


def _of_card(
    card: str, types: Collection[int], told: Mapping[str, Any] | None, oddities: Oddities
) -> Iterator[tuple[int, Places]]:
    own = told or {}
    try:
        _refuse(own)
    except NodedevError as error:
        oddities.add(_warning(called(card), error))
        return
    for id in sorted(types):
        try:
            yield id, _places(own.get("types", {}).get(str(id)))
        except NodedevError as error:
            oddities.add(_warning(f"{called(card)} of type {id}", error))


def _places(told: Any) -> Places:
    """The places of a type; NodedevError for what can be none."""
    if isinstance(told, Mapping):
        _refuse(told)
    if not isinstance(told, list) or len(told) != 2:
        raise NodedevError("nothing is told of it")
    (slots, _count, _ids), (others, free, _free) = told
    supported, creatable = (_ids_of(*each) for each in told)
    if not 0 < slots <= HIGHEST or not supported or (free and others != slots) or not {*creatable} <= {*supported}:
        raise NodedevError(
            f"it tells of {slots} slots at {shown(supported)}, and now of {others} at {shown(creatable)}"
        )
    return Places(slots, supported, creatable)


def _ids_of(slots: int, count: int, ids: list[int]) -> tuple[int, ...]:
    if count != len(ids) or count > MOST or not all(is_number(each) and 0 <= each <= HIGHEST for each in ids):
        raise NodedevError(f"{count} places are told, the first of which are {shown(ids[:NAMED])}")
    return tuple(sorted({*ids}))
