# SPDX-License-Identifier: GPL-3.0-or-later
"""Where on heterogeneous cards a mix of vGPUs is made, as a pure function of what NVIDIA's library tells of places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import NoFit
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.nvml import Places
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vgpu.pool import plan
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vgpu.pool_seen import Observation
from test_vgpu_mix import mixed, wished
from test_vgpu_pool import ALL, CARDS, TYPES

ONE, TWO = ALL[:4], ALL[4:]


def told(there: Mapping[str, tuple[int, int]]) -> dict[int, Places]:
    """By type, the places on a card of 16 slots that carries these sizes at these places."""
    taken = {slot for size, place in there.values() for slot in range(place, place + size)}
    found = {}
    for size, type in TYPES.items():
        supported = tuple(range(0, 17 - size, size))
        free = tuple(each for each in supported if not taken & {*range(each, each + size)})
        found[type.id] = Places(size, supported, free)
    return found


def host(
    wish: Any,
    own: Mapping[str, tuple[int, int | None]] | None = None,
    idle: Mapping[str, tuple[int, int | None]] | None = None,
    there: Mapping[str, tuple[int, int]] | None = None,
    defined: Mapping[str, int] | None = None,
    known: tuple[str, ...] = CARDS,
    unplaced: tuple[str, ...] = (),
) -> Observation:
    """Heterogeneous cards with what runs at its places; ``defined`` are places of definitions, by function."""
    sizes = [{each: size for each, (size, _place) in (some or {}).items()} for some in (own, idle, there)]
    seen = mixed(wish, *sizes, heterogeneous=True)
    running = {**(own or {}), **(there or {})}
    by_card = {card: {each: at for each, at in running.items() if each[:-1] == card[:-1]} for card in CARDS}
    places = {**(defined or {}), **{each: place for each, (_size, place) in (idle or {}).items()}}
    definitions = {
        each: tuple(replace(one, placement=places.get(each)) for one in own) for each, own in seen.definitions.items()
    }
    return replace(
        seen,
        slots={card: told(by_card[card]) for card in known},
        places={each: place for each, (_size, place) in running.items() if each not in unplaced},
        definitions=definitions,
    )


def kept(wish: Any, seen: Observation) -> dict[str, tuple[int, int | None]]:
    """The sizes and places that are defined then, by function."""
    then = plan(wish, seen).then
    return {id: (each.type - 700, each.placement) for id, own in then.definitions.items() for each in own}


FOUND: list[tuple[str, dict[int, int], dict[str, Any], dict[str, tuple[int, int | None]]]] = [
    ("empty", {2: 2, 8: 1, 4: 1}, {}, dict(zip(ONE, [(8, 0), (4, 8), (2, 12), (2, 14)]))),
    ("full", {8: 3}, {}, dict(zip([*ONE[:2], TWO[0]], [(8, 0), (8, 8), (8, 0)]))),
    ("beside another's", {8: 1, 4: 1}, {"there": {ONE[3]: (2, 2)}}, {ONE[0]: (8, 8), ONE[1]: (4, 4)}),
    # Memory alone would have the larger one there.
    ("a gap", {8: 1}, {"there": {ONE[3]: (2, 6), ONE[2]: (2, 12)}}, {TWO[0]: (8, 0)}),
    (
        "what another's stands at is not told",
        {8: 1},
        {"there": {ONE[3]: (2, 6), ONE[2]: (2, 12)}, "unplaced": (ONE[3],)},
        {ONE[0]: (8, None)},
    ),
    ("no card tells", {8: 1, 4: 1}, {"known": ()}, {ONE[0]: (8, None), ONE[1]: (4, None)}),
    ("one card tells", {8: 2, 16: 1}, {"known": CARDS[1:]}, {ONE[0]: (16, None), TWO[0]: (8, 0), TWO[1]: (8, 8)}),
    (
        "grown: where the others stand is written down",
        {4: 2},
        {"own": {ONE[1]: (4, 8)}},
        {ONE[1]: (4, 8), ONE[0]: (4, 0)},
    ),
    (
        "grown: what is defined of the others stays",
        {4: 2},
        {"own": {ONE[1]: (4, 8)}, "defined": {ONE[1]: 12}},
        {ONE[1]: (4, 12), ONE[0]: (4, 0)},
    ),
    ("back at its place", {8: 1, 4: 1}, {"idle": {ONE[3]: (8, 8), ONE[0]: (4, 4)}}, {ONE[3]: (8, 8), ONE[0]: (4, 4)}),
    (
        "back, and no place chosen before",
        {8: 1, 4: 1},
        {"idle": {ONE[3]: (8, None), ONE[0]: (4, 0)}},
        {
            ONE[3]: (8, 8),
            ONE[0]: (4, 0),
        },
    ),
    (
        "back, and its place is taken",
        {8: 1},
        {"idle": {ONE[3]: (8, 8)}, "there": {ONE[0]: (2, 14)}},
        {ONE[3]: (8, 0)},
    ),
    (
        "back where there is no place left",
        {8: 1},
        {"idle": {ONE[3]: (8, 8)}, "there": {ONE[0]: (2, 14), ONE[1]: (2, 0)}},
        {TWO[0]: (8, 0)},
    ),
    (
        "one for another",
        {8: 1, 16: 0},
        {"own": {ONE[0]: (4, 0), ONE[1]: (4, 4)}, "there": {ONE[2]: (4, 12)}},
        {ONE[3]: (8, 0)},
    ),
    ("less", {4: 1}, {"own": {ONE[0]: (4, 8), ONE[1]: (4, 0)}}, {ONE[0]: (4, None)}),
]


@pytest.mark.parametrize(("name", "types", "there", "expected"), FOUND, ids=[each[0] for each in FOUND])
def test_where_they_stand(
    name: str, types: dict[int, int], there: dict[str, Any], expected: dict[str, tuple[int, int | None]]
) -> None:
    wish = wished({size: count for size, count in types.items() if count})
    seen = host(wish, **there)
    assert kept(wish, seen) == expected
    # When it is asked for again, no card is asked.
    after = replace(plan(wish, seen).then, slots={}, places={})
    assert plan(wish, after).steps == ()


@pytest.mark.parametrize("options", [{"managed": True}, {"state": "inactive"}, {"persistent": False}], ids=str)
def test_what_is_only_defined_has_a_place_too(options: dict[str, Any]) -> None:
    wish = wished({8: 1, 4: 1}, **options)
    assert kept(wish, host(wish, there={ONE[3]: (4, 12)})) == {ONE[0]: (8, 0), ONE[1]: (4, 8)}


def test_what_a_killed_run_has_made_is_defined_where_it_stands() -> None:
    """No card is asked for it."""
    wish = wished({4: 1})
    seen = host(wish, own={ONE[0]: (4, 8)}, known=())
    assert kept(wish, replace(seen, definitions={})) == {ONE[0]: (4, 8)}
    assert kept(wish, seen) == {ONE[0]: (4, None)}


def test_the_steps_say_the_place() -> None:
    wish = wished({8: 1})
    steps = [step.description for step in plan(wish, host(wish, there={ONE[3]: (4, 0)})).steps]
    assert steps[1:] == [
        "create a vGPU of type NVIDIA X-8Q (708) on pci_0000_41_00_4 (0000:41:00.4) at placement 8",
        "define the vGPU of pci_0000_41_00_4 (0000:41:00.4) with type NVIDIA X-8Q (708), placement_id 8",
    ]


def test_a_place_that_the_driver_does_not_offer_is_not_chosen() -> None:
    wish = wished({8: 1})
    seen = host(wish)
    slots = {card: {**own, 708: replace(own[708], creatable=(8,))} for card, own in seen.slots.items()}
    assert kept(wish, replace(seen, slots=slots)) == {ONE[0]: (8, 8)}
    slots = {card: {**own, 708: replace(own[708], creatable=())} for card, own in seen.slots.items()}
    with pytest.raises(NoFit, match="has no room for 1 of NVIDIA X-8Q"):
        plan(wish, replace(seen, slots=slots))


def test_what_waits_comes_where_it_was_planned() -> None:
    """The one in use holds a place; what fits beside it now is not put where the rest has to go."""
    wish = wished({8: 2}, in_use="wait")
    seen = host(wish, own={ONE[0]: (4, 4), ONE[1]: (4, 8)})
    one_card = replace(seen, usable=tuple(ONE))
    held = replace(one_card, holders={ONE[0]: mixed(wish, {ONE[0]: 4}, held=(ONE[0],)).holders[ONE[0]]})
    assert kept(wish, held) == {ONE[0]: (4, None), ONE[2]: (8, 8)}
