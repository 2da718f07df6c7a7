# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for a pool of vGPUs of several types, as a pure function of what is wished and what is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import (
    BadInput,
    InUse,
    NodedevError,
    NoFit,
)
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vgpu import pool_wish
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vgpu.definition import Definition
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vgpu.pool import described, plan
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vgpu.pool_seen import Observation, Running
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vgpu.pool_wish import Wish
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.pools.record import Record, Recorded
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.files import DamagedDefinition
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_vgpu_pool import ALL, HOLDER, TYPES, seen

ONE, TWO = ALL[:4], ALL[4:]


def sized(types: Mapping[int, int]) -> dict[str, int]:
    return {f"X-{size}Q": count for size, count in types.items()}


def wished(types: Mapping[int, int] | None, **options: Any) -> Wish:
    return Wish.checked(**{"name": "x", "types": None if types is None else sized(types), **options})


def mixed(
    wish: Wish,
    own: Mapping[str, int] | None = None,
    idle: Mapping[str, int] | None = None,
    there: Mapping[str, int] | None = None,
    held: tuple[str, ...] = (),
    **more: Any,
) -> Observation:
    """A host; ``own`` are the sizes of the pool's that run, ``idle`` of those that are only defined."""
    sizes = {**(own or {}), **(idle or {})}
    host = seen(there, {each: (own or {}).get(each, 0) for each in sizes} if sizes else None, **more)
    filled = wish
    if sizes:
        instances = tuple(Recorded(at, each, each, TYPES[size].id) for at, (each, size) in enumerate(sizes.items()))
        former = [
            {"type": f"X-{size}Q", "type_id": TYPES[size].id, "count": count}
            for size, count in Counter(sizes.values()).items()
        ]
        record = Record("x", "vgpu", {"types": former}, instances)
        host = replace(host, record=record)
        filled = wish.filled(record)
    return replace(
        host,
        type=None,
        mix={told: TYPES[int(told[2:-1])] for told in filled.types or {}},
        active={each: Running(each, TYPES[size].id, TYPES[size].name) for each, size in (own or {}).items()},
        definitions={
            **host.definitions,
            **{each: (Definition(each, TYPES[size].id, TYPES[size].name),) for each, size in sizes.items()},
        },
        holders={each: (HOLDER,) for each in held if each in (own or {})},
        others={each: (HOLDER,) for each in held if each not in sizes},
    )


def steps(wish: Wish, host: Observation) -> list[str]:
    return [step.description for step in plan(wish, host).steps]


def made(wish: Wish, host: Observation) -> list[tuple[str, int]]:
    """Which vGPUs are made, by function and size, in their order."""
    words = [step.split() for step in steps(wish, host) if step.startswith("create")]
    return [(each[-1].strip("()"), int(each[6].removeprefix("X-").removesuffix("Q"))) for each in words]


PLACES: list[tuple[str, dict[int, int], dict[str, Any], list[tuple[str, int]]]] = [
    ("whole cards", {4: 3, 8: 2}, {}, [(ONE[0], 8), (ONE[1], 8), (TWO[0], 4), (TWO[1], 4), (TWO[2], 4)]),
    ("one card", {4: 2}, {}, [(ONE[0], 4), (ONE[1], 4)]),
    ("on a heterogeneous card", {4: 1, 8: 1, 2: 2}, {"heterogeneous": True}, [*zip(ONE, (8, 4, 2, 2))]),
    ("beside others", {4: 2, 8: 1}, {"there": {ONE[2]: 4}}, [(TWO[0], 8), (ONE[0], 4), (ONE[1], 4)]),
    ("grown", {4: 3, 8: 1}, {"own": {ONE[0]: 4, TWO[0]: 8}}, [(ONE[1], 4), (ONE[2], 4)]),
    ("another type", {8: 2}, {"own": dict.fromkeys(ONE, 4), "there": {TWO[0]: 2}}, [(ONE[0], 8), (ONE[1], 8)]),
    ("one for another", {4: 3, 8: 2}, {"own": {**dict.fromkeys(ONE, 4), TWO[0]: 8}}, [(TWO[1], 8)]),
    ("back on its function", {4: 1, 8: 1}, {"idle": {ONE[3]: 8, TWO[2]: 4}}, [(ONE[3], 8), (TWO[2], 4)]),
    (
        "to another card where its own has another size",
        {8: 1},
        {"idle": {ONE[3]: 8}, "there": {ONE[0]: 4}},
        [(TWO[0], 8)],
    ),
]


@pytest.mark.parametrize(("name", "types", "host", "expected"), PLACES, ids=[each[0] for each in PLACES])
def test_where_they_are_made(
    name: str, types: dict[int, int], host: dict[str, Any], expected: list[tuple[str, int]]
) -> None:
    wish = wished(types)
    assert made(wish, mixed(wish, **host)) == expected


def test_what_is_not_to_run_is_defined_where_there_is_room_at_some_time() -> None:
    full = dict.fromkeys(ALL, 4)
    wish = wished({8: 1, 2: 1}, state="inactive")
    assert sum(step.startswith("define") for step in steps(wish, mixed(wish, there=dict.fromkeys(ONE[:2], 4)))) == 2
    with pytest.raises(NoFit):
        plan(wished({8: 1}), mixed(wished({8: 1}), there=full))


REFUSALS: list[tuple[str, dict[str, Any], dict[str, Any], type[NodedevError], str]] = [
    ("none", {"types": {}}, {}, BadInput, "types: {} cannot be used: it has a type or several, each with a number"),
    ("max", {"types": {"X-4Q": "max"}}, {}, BadInput, "each with a number of instances, up to 4096 in all"),
    ("too many", {"types": {"X-4Q": 4000, "X-8Q": 97}}, {}, BadInput, "up to 4096 in all"),
    ("no number", {"types": {"X-4Q": "four"}}, {}, BadInput, "types: {'X-4Q': 'four'} cannot be used"),
    ("twice", {"types": {"X-4Q": 1, "704": 1}}, {"mix": {"X-4Q": TYPES[4], "704": TYPES[4]}}, BadInput, "of one type"),
    (
        "unknown",
        {"types": {"X-3Q": 1}},
        {"mix": {"X-3Q": None}},
        BadInput,
        "types: 'X-3Q' cannot be used: the types",
    ),
]


@pytest.mark.parametrize(("name", "options", "more", "kind", "text"), REFUSALS, ids=[each[0] for each in REFUSALS])
def test_refusal(name: str, options: dict[str, Any], more: dict[str, Any], kind: type[NodedevError], text: str) -> None:
    with pytest.raises(kind) as caught:
        plan(Wish.checked(name="x", **options), replace(seen(type=None), **more))
    assert text in str(caught.value)


@pytest.mark.parametrize("option", [{"type": "X-4Q"}, {"count": 3}])
def test_a_mix_becomes_no_pool_of_one_type(option: dict[str, Any]) -> None:
    host = mixed(wished(None), {ONE[0]: 4})
    with pytest.raises(BadInput) as caught:
        plan(Wish.checked(name="x", **option), host)
    assert str(caught.value).endswith("pool x is a mix of types: say how many of each in types")


def test_a_pool_of_one_type_becomes_a_mix() -> None:
    """Its record has no types of instances."""
    former = seen(own={ONE[0]: 4, TWO[0]: 4})
    wish = wished({4: 1, 8: 1})
    planned = plan(wish, replace(former, type=None, mix={"X-4Q": TYPES[4], "X-8Q": TYPES[8]}))
    assert planned.then.record is not None
    assert [(one.id, one.type) for one in planned.then.record.instances] == [(ONE[0], 704), (TWO[1], 708)]
    assert {each: one.type for each, one in planned.then.active.items()} == {ONE[0]: 704, TWO[1]: 708}


def test_who_has_to_leave_is_named() -> None:
    wish = wished({8: 3})
    host = mixed(wish, there={ONE[0]: 4, TWO[0]: 4, TWO[1]: 4}, held=(ONE[0], TWO[0]), owners={ONE[0]: "other"})
    with pytest.raises(NoFit) as caught:
        plan(wish, host)
    assert "pool x has no room for 3 of NVIDIA X-8Q (708); it would fit without NVIDIA X-4Q (704) on" in str(
        caught.value
    )
    assert f"NVIDIA X-4Q (704) on pci_0000_41_00_4 ({ONE[0]}), in use by process 7 (qemu)" in str(caught.value)
    assert {each["address"]: (each["pool"], len(each["holders"])) for each in caught.value.leaving} == {
        ONE[0]: ("other", 1),
        TWO[0]: (None, 1),
        TWO[1]: (None, 0),
    }
    assert caught.value.free == {"pci_0000_41_00_0": {"NVIDIA X-8Q": 0}, "pci_0000_42_00_0": {"NVIDIA X-8Q": 0}}
    never = wished({8: 5})
    with pytest.raises(NoFit) as caught:
        plan(never, mixed(never, own={ONE[0]: 8}))
    assert "beside those of the pool that stay, these cards never have" in str(caught.value)


CHANGING = {"own": {ONE[0]: 8, ONE[1]: 8, TWO[0]: 4}, "held": (ONE[0],)}


def test_a_change_of_what_is_in_use_is_refused_or_waits() -> None:
    """What can be done is, and what needs the room of those in use waits with them."""
    refused = wished({4: 6})
    with pytest.raises(InUse) as caught:
        plan(refused, mixed(refused, **CHANGING))
    assert f"in use, {ONE[0]} (index 0) by process 7 (qemu): stop that first, or set in_use: wait" in str(caught.value)
    wish = wished({4: 6}, in_use="wait")
    host = mixed(wish, **CHANGING)
    planned = plan(wish, host)
    told = described(wish, host, planned, planned.then)
    assert made(wish, host) == [(each, 4) for each in TWO[1:]]
    assert [step for step in steps(wish, host) if step.startswith("clear")] == [
        f"clear the vGPU of type NVIDIA X-8Q (708) on pci_0000_41_00_5 ({ONE[1]})"
    ]
    assert told["waiting"] == {"go": ["pci_0000_41_00_4"], "come": {"NVIDIA X-4Q": 2}}
    assert told["warnings"][-1] == (
        "pool x is not complete: to go once nobody has them are pci_0000_41_00_4; to come then are 2 of NVIDIA X-4Q:"
        " run it again"
    )
    assert plan(wish, planned.then).steps == ()
    done = plan(wish, replace(planned.then, holders={}))
    assert Counter(each.type for each in done.then.active.values()) == {704: 6}
    assert described(wish, host, done, done.then)["waiting"] == {"go": [], "come": {}}


def test_what_others_have_is_not_waited_for() -> None:
    wish = wished({4: 6}, in_use="wait")
    host = mixed(wish, **{**CHANGING, "there": {TWO[1]: 4, TWO[2]: 4, TWO[3]: 4, ONE[2]: 8}})
    with pytest.raises(NoFit):
        plan(wish, host)


def test_what_a_killed_run_has_begun_is_known_by_its_type() -> None:
    """The record has the new type, the function the former one or the new one, and the definition still the former."""
    wish = wished({8: 1})
    host = mixed(wish, own={ONE[0]: 4})
    half = replace(
        host,
        record=Record("x", "vgpu", {"types": [{"type": "X-8Q", "count": 1}]}, (Recorded(0, ONE[0], ONE[0], 708),)),
        active={ONE[0]: Running(ONE[0], 708)},
    )
    assert [step.partition(" of")[0] for step in steps(wish, half)] == [
        "change the record",
        "change the definition",
    ]


@pytest.mark.parametrize(
    "document",
    [
        {"types": [{"type": "X-4Q"}, {"count": 3}]},
        {"types": []},
        {"types": [{"type": "X-4Q", "count": -1}]},
        {"types": [{"type": "X-4Q", "count": 1, "type_id": 0}]},
        {"types": {"X-4Q": 1}},
        {"types": [{"type": "X-4Q", "count": 1, "type_id": 704, "most": "four"}]},
    ],
)
def test_a_record_with_nonsense(document: dict[str, Any]) -> None:
    with pytest.raises(DamagedDefinition):
        pool_wish.kept(Record("x", "vgpu", document, ()))


def test_a_record_is_read_as_it_was_written() -> None:
    wish = replace(wished({4: 1, 8: 0}), known_types={"X-4Q": TYPES[4]}, params="a=1")
    kept = pool_wish.kept(Record("x", "vgpu", wish.document(), ()))
    assert kept == replace(wish, known_types={"X-4Q": replace(TYPES[4], framebuffer=None)})


sizes = st.sampled_from([2, 4, 8])
WHICH = ("there", "own", "idle")
functions = st.dictionaries(st.sampled_from(ALL), st.tuples(sizes, st.sampled_from(WHICH)), max_size=6)


def is_possible(there: Mapping[str, int], heterogeneous: bool) -> bool:
    """Whether cards of 16 GiB may carry these."""
    for own in (ONE, TWO):
        found = [there[each] for each in own if each in there]
        if sum(found) > 16 or (len({*found}) > 1 and not heterogeneous):
            return False
    return True


@settings(max_examples=400, deadline=None)
@given(
    st.dictionaries(sizes, st.integers(0, 4), min_size=1),
    functions,
    st.sets(st.sampled_from(ALL)),
    st.booleans(),
    st.sampled_from(["refuse", "wait"]),
    st.sampled_from([{}, {"state": "inactive"}, {"managed": True}, {"persistent": False}, {"params": "a=1"}]),
)
# What is made first must not be in the way of what is to come when those in use are gone.
@example(
    {2: 3, 8: 3},
    {ONE[0]: (2, "own"), ONE[1]: (4, "own"), ONE[2]: (2, "own"), TWO[1]: (4, "own")},
    {ONE[0], ONE[1], TWO[1]},
    True,
    "wait",
    {},
)
def test_nothing_is_left_to_do(
    types: dict[int, int],
    there: dict[str, tuple[int, str]],
    held: set[str],
    heterogeneous: bool,
    in_use: str,
    options: dict[str, Any],
) -> None:
    others, own, idle = ({each: size for each, (size, what) in there.items() if what == which} for which in WHICH)
    if not is_possible({**others, **own}, heterogeneous):
        return
    wish = wished(types, in_use=in_use, **options)
    host = mixed(wish, own, idle, others, tuple(held), heterogeneous=heterogeneous)
    try:
        planned = plan(wish, host)
    except (NoFit, InUse):
        return
    after = planned.then
    assert [step.description for step in plan(wish, after).steps] == []
    then = {each: function.type for each, function in after.functions.items() if function.type}
    assert {each: then[each] for each in others} == {each: TYPES[size].id for each, size in others.items()}
    assert all(then.get(each) == TYPES[size].id for each, size in own.items() if each in held)
    assert is_possible({each: (type or 700) - 700 for each, type in then.items()}, heterogeneous)
    if not planned.warnings and not described(wish, host, planned, after)["waiting"]["go"] and after.record:
        wanted = Counter({TYPES[size].id: count for size, count in types.items()})
        assert Counter(one.type for one in after.record.instances) == +wanted
    # No function is two instances.
    assert after.record is not None
    assert len({one.id for one in after.record.instances}) == len(after.record.instances)
    assert len({one.index for one in after.record.instances}) == len(after.record.instances)
