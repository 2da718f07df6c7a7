# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for a pool of vGPUs that are functions, as a pure function of what is wished and what is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import BadInput, InUse, NodedevError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.pci import Function
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.processes import Holder
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.vgpu_cards import Mode
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.vgpu_types import Type
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.vgpus import Vgpu
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vgpu.definition import Definition
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vgpu.pool import described, plan, state
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vgpu.pool_seen import Observation, Running
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vgpu.pool_wish import Wish
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.pools.record import Record, Recorded
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.pools.selector import Chosen
from hypothesis import given, settings
from hypothesis import strategies as st

CARDS = ("0000:41:00.0", "0000:42:00.0")
FUNCTIONS = {card: [f"{card[:-1]}{number}" for number in (4, 5, 6, 7)] for card in CARDS}
ALL = [each for own in FUNCTIONS.values() for each in own]
# Of a card of 16 GiB, by framebuffer in GiB.
TYPES = {size: Type(700 + size, f"NVIDIA X-{size}Q", size * 1024, 16 // size) for size in (2, 4, 8, 16)}
NAMES = {each.id: each.name for each in TYPES.values()}
FOUR = TYPES[4]
HOLDER = Holder("/dev/vfio/7", "qemu", pid=7)


def offers(carried: list[int], heterogeneous: bool) -> dict[int, str]:
    """What a function without a vGPU offers on a card that carries these sizes."""
    if heterogeneous:
        return {each.id: each.name for size, each in TYPES.items() if sum(carried) + size <= 16}
    fits = [each for size, each in TYPES.items() if not set(carried) - {size} and len(carried) * size + size <= 16]
    return {each.id: each.name for each in fits}


def seen(
    there: Mapping[str, int] | None = None,
    own: Mapping[str, int] | None = None,
    heterogeneous: bool = False,
    held: tuple[str, ...] = (),
    wish: Mapping[str, Any] | None = None,
    asked: bool = True,
    **more: Any,
) -> Observation:
    """A host; ``there`` is the size that functions of others have, ``own`` that of the pool's, which are defined."""
    sizes = {**(there or {}), **(own or {})}
    functions = {}
    for card, addresses in FUNCTIONS.items():
        carried = [sizes[each] for each in addresses if sizes.get(each)]
        for index, address in enumerate(addresses):
            size = sizes.get(address, 0)
            found = {} if size else offers(carried, heterogeneous)
            function = Function(address, f"/sys/{address}", "0x030200", "0x10de", "nvidia", physical=card)
            functions[address] = Vgpu(function, index, TYPES[size].id if size else 0, None, found)
    record = None
    if own is not None:
        instances = tuple(Recorded(index, address, address) for index, address in enumerate(own))
        kept = {"type": "X-4Q", "type_id": FOUR.id, "title": FOUR.name, "count": len(own), **(wish or {})}
        record = Record("x", "vgpu", kept, instances)
    supported = {card: {each.id: each for each in TYPES.values()} for card in CARDS} if asked else {}
    values: dict[str, Any] = {
        "record": record,
        "functions": functions,
        "usable": tuple(ALL),
        "chosen": Chosen(),
        "type": FOUR,
        "types": NAMES,
        "active": {each: Running(each, FOUR.id, FOUR.name) for each, size in (own or {}).items() if size},
        "definitions": {each: (Definition(each, FOUR.id, FOUR.name),) for each in own or ()},
        "holders": dict.fromkeys(held, (HOLDER,)),
        "modes": dict.fromkeys(CARDS, Mode("SR-IOV", heterogeneous, False)) if asked else {},
        "supported": supported,
    }
    return Observation(**{**values, **more})


def wished(**options: Any) -> Wish:
    return Wish.checked(**{"name": "x", "type": "X-4Q", **options})


def made(wish: Wish, host: Observation) -> list[str]:
    """The functions on which vGPUs are made, by the plan's words."""
    steps = [step.description for step in plan(wish, host).steps]
    return [step.rpartition("(")[2].rstrip(")") for step in steps if step.startswith("create")]


PLACES: list[tuple[str, dict[str, Any], Observation, list[str]]] = [
    ("spread", {"count": 3}, seen(), [ALL[0], ALL[4], ALL[1]]),
    ("packed", {"count": 3, "placement": "pack"}, seen(), ALL[:3]),
    ("as many as fit", {"count": "max"}, seen(), [ALL[0], ALL[4], ALL[1], ALL[5], ALL[2], ALL[6], ALL[3], ALL[7]]),
    ("another size is there", {"count": 2}, seen({ALL[0]: 8}), ALL[4:6]),
    (
        "another size on a card that takes several",
        {"count": 5},
        seen({ALL[0]: 8}, heterogeneous=True),
        [*ALL[1:3], *ALL[4:7]],
    ),
    (
        "others of the size",
        {"count": 2, "placement": "pack"},
        seen({ALL[0]: 4, ALL[1]: 4, ALL[2]: 4}),
        [ALL[3], ALL[4]],
    ),
    ("grown", {"count": 3}, seen(own={ALL[0]: 4}), [ALL[4], ALL[1]]),
    ("a member that does not run keeps its function", {"count": 1}, seen(own={ALL[2]: 0}), [ALL[2]]),
    (
        "defined by others",
        {"count": 1},
        seen(definitions={ALL[0]: (Definition(ALL[0], FOUR.id),), ALL[4]: (Definition(ALL[4], FOUR.id),)}),
        [ALL[1]],
    ),
    ("in another pool", {"count": 1, "placement": "pack"}, seen(owners={ALL[0]: "other"}), [ALL[1]]),
    (
        "a card in another mode",
        {"count": 1},
        seen(modes={CARDS[1]: Mode("SR-IOV"), CARDS[0]: Mode("Non SR-IOV")}),
        [ALL[4]],
    ),
]


@pytest.mark.parametrize(("name", "wish", "host", "places"), PLACES, ids=[each[0] for each in PLACES])
def test_where_they_are_made(name: str, wish: dict[str, Any], host: Observation, places: list[str]) -> None:
    assert sorted(made(wished(**wish), host)) == sorted(places)


FULL = "NVIDIA X-8Q (708) on pci_0000_41_00_4 (0000:41:00.4)"
REFUSALS: list[tuple[str, dict[str, Any], Observation, type[NodedevError], str]] = [
    (
        "too many",
        {"count": 9},
        seen(),
        BadInput,
        "needs 9 more vGPUs of type NVIDIA X-4Q (704) and there is room for 8",
    ),
    (
        "one framebuffer at a time",
        {"count": 5},
        seen({ALL[0]: 8}),
        BadInput,
        f"(0000:41:00.0): 0, beside {FULL}; on pci_",
    ),
    (
        "no type",
        {"type": None, "count": 1},
        seen(),
        BadInput,
        "type is required: pool x is not known here; the types of",
    ),
    ("no count", {}, seen(), BadInput, "count is required"),
    ("another type", {"count": 1}, seen(own={ALL[0]: 4}, type=TYPES[8]), NodedevError, "not of NVIDIA X-8Q (708)"),
    (
        "no such type",
        {"type": "X-3Q", "count": 1},
        seen(type=None),
        BadInput,
        "the types of this host's cards are: NVIDIA",
    ),
    ("in use", {"count": 0}, seen(own={ALL[0]: 4}, held=(ALL[0],)), InUse, "process 7 (qemu): stop that first"),
    ("gone, and in use", {"state": "absent"}, seen(own={ALL[0]: 4}, held=(ALL[0],)), InUse, "(index 0) by process 7"),
    (
        "not chosen",
        {"count": 1},
        seen(own={ALL[0]: 4}, usable=tuple(ALL[4:])),
        NodedevError,
        "is not among the parents",
    ),
    (
        "modes that are not told",
        {"count": 1},
        seen(untold=NodedevError("x y"), modes={}),
        NodedevError,
        "nothing is written: x y",
    ),
    ("another mode to be cleared", {"count": 0}, seen(own={ALL[0]: 4}, modes={}), NodedevError, "Mode is not told"),
    ("nothing there", {"count": 1}, seen(usable=(), instead=("x",)), NodedevError, "of this host can be a vGPU; x"),
]


@pytest.mark.parametrize(("name", "wish", "host", "kind", "text"), REFUSALS, ids=[each[0] for each in REFUSALS])
def test_refusal(name: str, wish: dict[str, Any], host: Observation, kind: type[NodedevError], text: str) -> None:
    with pytest.raises(kind) as caught:
        plan(wished(**wish), host)
    assert text in str(caught.value)


def test_what_a_card_was_found_to_take_is_remembered() -> None:
    """Else each idle run would ask the tool of the cards."""
    kept = plan(wished(count=1), seen()).then.record
    assert kept is not None
    assert kept.wish["most"] == dict.fromkeys(CARDS, 4)
    own = {ALL[0]: 4, ALL[1]: 4, ALL[2]: 4, ALL[3]: 4}
    host = seen(own=own, wish={"most": dict.fromkeys(CARDS, 4)}, asked=False)
    planned = plan(wished(), host)
    assert planned.steps == ()
    told = described(wished(), host, planned, planned.then)
    assert told["capacity"]["pci_0000_41_00_0"] == {"free": 0, "pool": 4, "others": 0}
    assert told["capacity"]["pci_0000_42_00_0"] == {"free": 4, "pool": 0, "others": 0}


@pytest.mark.parametrize(
    ("type", "there", "room"),
    [
        pytest.param(FOUR, {}, 4, id="told"),
        pytest.param(FOUR, {ALL[0]: 8}, 0, id="another-framebuffer"),
        pytest.param(replace(FOUR, most=None), {}, None, id="how-many"),
        pytest.param(replace(FOUR, framebuffer=None), {}, None, id="framebuffer"),
        pytest.param(replace(FOUR, id=99), {}, None, id="type"),
        pytest.param(FOUR, {ALL[0]: 2}, None, id="what-is-there"),
    ],
)
def test_room_is_told_where_it_is_known(type: Type, there: dict[str, int], room: int | None) -> None:
    known = {each.id: each for each in (type, TYPES[8])}
    host = seen(there, type=replace(type, id=FOUR.id) if type.id != 99 else FOUR)
    supported = dict.fromkeys(CARDS, known)
    assert replace(host, supported=supported).room(CARDS[0], ()) == room


def test_a_card_in_another_mode_has_no_room() -> None:
    """It is remembered too, since its functions go on offering types."""
    modes = dict(zip(CARDS, (Mode("Non SR-IOV"), Mode("SR-IOV"))))
    planned = plan(wished(count=1), seen(modes=modes))
    told = described(wished(), seen(), planned, planned.then)
    assert [each["free"] for each in told["capacity"].values()] == [0, 3]
    assert planned.then.record is not None
    idle = seen(own={ALL[4]: 4}, wish={"most": planned.then.record.wish["most"]}, asked=False)
    again = plan(wished(), idle)
    told = described(wished(), idle, again, again.then)
    assert ([each["free"] for each in told["capacity"].values()], again.steps) == ([0, 3], ())


def test_what_is_said_of_one_function_stays() -> None:
    """A pool says nothing of places on a card, which the vgpu module may have said."""
    host = seen(own={ALL[0]: 4})
    kept = Definition(ALL[0], FOUR.id, FOUR.name, placement=8)
    assert plan(wished(count=1), replace(host, definitions={ALL[0]: (kept,)})).then.definitions[ALL[0]] == (kept,)


def test_a_function_that_is_anothers_is_left_and_said() -> None:
    host = seen({ALL[0]: 4}, own={ALL[1]: 4})
    record = Record("x", "vgpu", host.record.wish if host.record else {}, (Recorded(0, ALL[0], ALL[0]),))
    taken = replace(host, record=record, active={}, definitions={ALL[0]: (Definition(ALL[0], TYPES[8].id),)})
    planned = plan(wished(count=1), replace(taken, functions=seen({ALL[0]: 8}).functions))
    steps = [step.description for step in planned.steps]
    assert not any(step.startswith("clear") for step in steps)
    assert any(step.startswith(f"undefine the vGPU of pci_0000_41_00_4 ({ALL[0]})") for step in steps)
    assert f"instance 0 of pool x is pci_0000_42_00_4 ({ALL[4]}) from now on" in planned.warnings[0]


def test_what_is_not_to_last_is_not_kept_for_the_boot() -> None:
    planned = plan(wished(count=2, persistent=False), seen())
    assert {each.root for own in planned.then.definitions.values() for each in own} == {"/run/nodedev.d"}
    assert state(planned.then)["boot"] == {}
    assert len(state(planned.then)["runtime"]) == 2


sizes = st.dictionaries(st.sampled_from(ALL), st.sampled_from([4, 8]), max_size=6)
counts = st.one_of(st.integers(0, 8), st.just("max"))
wishes = st.fixed_dictionaries(
    {
        "count": counts,
        "placement": st.sampled_from(["spread", "pack", None]),
        "params": st.sampled_from([None, "", "a=1"]),
        "persistent": st.booleans(),
        "managed": st.sampled_from([None, False, True]),
        "state": st.sampled_from(["present", "inactive", "absent"]),
    }
)


@settings(max_examples=500, deadline=None)
@given(wishes, sizes, st.sets(st.sampled_from(ALL)), st.sets(st.sampled_from(ALL)), st.booleans())
def test_nothing_is_left_to_do(
    options: dict[str, Any], there: dict[str, int], mine: set[str], idle: set[str], heterogeneous: bool
) -> None:
    if options["managed"] and not options["persistent"]:
        return
    others = {each: size for each, size in there.items() if each not in mine}
    own = {each: 0 if each in idle else 4 for each in sorted(mine)}
    host = seen(others, own or None, heterogeneous)
    if any(sum({**others, **own}.get(each, 0) for each in addresses) > 16 for addresses in FUNCTIONS.values()):
        return
    try:
        wish = wished(**options)
        planned = plan(wish, host)
    except NodedevError:
        return
    again = plan(wish, planned.then)
    assert [step.description for step in again.steps] == []
    assert {each: planned.then.functions[each].type for each in others} == {
        each: TYPES[size].id for each, size in others.items()
    }
    on_card = Counter(planned.then.card_of(each) for each in planned.then.active)
    assert all(count <= 4 for count in on_card.values())
