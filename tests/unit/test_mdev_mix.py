# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for a pool of mediated devices of several types, on two cards of 16 GiB whose driver says what is free."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import (
    BadInput,
    InUse,
    NodedevError,
    NoFit,
)
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.mdevs import Mdev
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.vgpu_cards import Mode
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.vgpu_types import Type
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mdev import pool_wish
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mdev.parents import Choice, Parent
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mdev.pool import plan
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mdev.pool_mix import Cards
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mdev.pool_seen import Observation
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mdev.pool_wish import Wish
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.pools.mix import Mix
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.pools.record import Record, Recorded
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.resource import Plan
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.files import DamagedDefinition
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.mdevctl import Definition
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pools import HOLDER, IDS, MACHINE, OTHERS

CARDS = A, B = "0000:41:00.0", "0000:42:00.0"
SIZES, MEMORY = (1, 2, 4, 8, 16), 16
VFS = {card: [f"{card[:-1]}{number}" for number in (4, 5, 6, 7)] for card in CARDS}
U, V = OTHERS["u"], OTHERS["v"]
UUID = r"mdev (\S{36})"
STEPS = {
    "create": rf"create {UUID} of type nvidia-7(\d\d) on .*\((\S+)\)",
    "remove": rf"remove {UUID} of type nvidia-7(\d\d) from .*\((\S+)\)",
    "define": rf"(?:define|change the definition of) {UUID} with type nvidia-7(\d\d) on \S+ \((\S+)\),.*",
    "undefine": rf"undefine {UUID}() on .*\((\S+)\)",
}


def name(size: int) -> str:
    return f"NVIDIA X-{size}Q"


def sized(types: Mapping[int, int]) -> dict[str, int]:
    return {name(size): count for size, count in types.items()}


def wished(types: Mapping[int, int] | None, **options: Any) -> Wish:
    return Wish.checked(**{"name": "x", "types": None if types is None else sized(types), **options})


@dataclass
class Rig:
    """A host: by UUID the parent and the size in GiB of what runs, and by UUID and parent the size of what is defined.

    With ``functions`` each card has four that are the parents.
    """

    active: dict[str, tuple[str, int]] = field(default_factory=dict)
    defined: dict[tuple[str, str], int] = field(default_factory=dict)
    record: Record | None = None
    held: frozenset[str] = frozenset()
    heterogeneous: bool = False
    functions: bool = False
    owners: dict[str, str] = field(default_factory=dict)
    managed: frozenset[str] = frozenset()

    def with_own(self, *own: tuple[str, int], runs: bool = True, types: Mapping[int, int] | None = None) -> Rig:
        """With instances of the pool, by parent and size, in the order of their indexes."""
        listed = []
        for index, (parent, size) in enumerate(own):
            if runs:
                self.active[IDS[index]] = (parent, size)
            self.defined[IDS[index], parent] = size
            listed.append(Recorded(index, IDS[index], parent, 700 + size))
        wish = wished(types or Counter(size for _parent, size in own))
        self.record = Record("x", "mdev", wish.document(), tuple(listed))
        return self

    @property
    def parents(self) -> list[str]:
        return [each for card in CARDS for each in VFS[card]] if self.functions else [*CARDS]

    def used(self, card: str) -> list[int]:
        return [size for parent, size in self.active.values() if card_of(parent) == card]

    def available(self, parent: str, size: int) -> int:
        """What the driver says is free."""
        used = self.used(card_of(parent))
        if not self.heterogeneous and {*used} - {size}:
            return 0
        free = (MEMORY - sum(used)) // size
        return min(free, int(all(there != parent for there, _size in self.active.values()))) if self.functions else free

    def seen(self, wish: Wish) -> Observation:
        parents = [
            Parent(
                each,
                f"pci_{each[5:7]}",
                card_of(each),
                f"nvidia-7{size:02}",
                "vfio-pci",
                self.available(each, size),
                MEMORY // size,
                name(size),
                size * 1024,
            )
            for each in self.parents
            for size in SIZES
        ]
        definitions: dict[str, tuple[Definition, ...]] = {}
        for (uuid, parent), size in self.defined.items():
            each = Definition(uuid, parent, f"nvidia-7{size:02}", uuid not in self.managed)
            each = replace(each, managed=uuid in self.managed)
            definitions[uuid] = (*definitions.get(uuid, ()), each)
        recorded = {one.id for one in self.record.instances} if self.record else set()
        filled = wish.filled(self.record)
        known = {name(size): 700 + size for size in SIZES}
        return Observation(
            machine=MACHINE,
            record=self.record,
            choice=Choice(tuple(parents), {}),
            registered=tuple(self.parents),
            cards={each: card_of(each) for each in self.parents},
            active={
                uuid: Mdev(uuid, parent, f"nvidia-7{size:02}", "vfio-pci", 12, ("/dev/vfio/12",))
                for uuid, (parent, size) in self.active.items()
            },
            definitions=definitions,
            damaged=(),
            owners=self.owners,
            derived={
                each: index
                for index, each in enumerate(IDS)
                if each in {*self.active, *definitions} and each not in recorded
            },
            holders=dict.fromkeys(self.held, (HOLDER,)),
            callouts=None,
            mix={told: known.get(told) for told in filled.types or {}},
            modes=dict.fromkeys(CARDS, Mode(heterogeneous=True)) if self.heterogeneous else {},
        )

    def take(self, planned: Plan[Observation], count: int | None = None) -> Rig:
        """The host after so many of the steps, each of which has to be possible when it is taken."""
        then = planned.then.record
        rig = replace(self, active={**self.active}, defined={**self.defined})
        for number, step in enumerate([step.description for step in planned.steps][:count]):
            if "record" in step:
                # Before anything goes, it has what goes too.
                former = self.record.instances if self.record and not number and len(planned.steps) > 1 else ()
                ids = {one.id for one in then.instances} if then else set()
                more = [one for one in former if one.id not in ids]
                rig.record = then and replace(then, instances=(*then.instances, *more))
                continue
            verb, found = next((verb, found) for verb, form in STEPS.items() if (found := re.fullmatch(form, step)))
            uuid, size, parent = found[1], int(found[2] or 0), found[3]
            if verb == "create":
                assert uuid not in rig.active, step
                assert rig.available(parent, size) > 0, step
                rig.active[uuid] = (parent, size)
            elif verb == "remove":
                assert rig.active.pop(uuid) == (parent, size), step
            elif verb == "define":
                rig.defined[uuid, parent] = size
                rig.managed = rig.managed - {uuid} | ({uuid} if "start with its guest" in step else set())
            else:
                del rig.defined[uuid, parent]
        return rig


def card_of(parent: str) -> str:
    return f"{parent[:-1]}0"


def steps(wish: Wish, rig: Rig) -> list[str]:
    return [step.description for step in plan(wish, rig.seen(wish)).steps]


def made(wish: Wish, rig: Rig) -> list[tuple[str, int]]:
    """Which instances are made, by parent and size, in their order."""
    found = [re.fullmatch(STEPS["create"], step) for step in steps(wish, rig)]
    return [(each[3], int(each[2])) for each in found if each]


FOUR, EIGHT = (A, 4), (A, 8)
PLACES: list[tuple[str, dict[int, int], Rig, list[tuple[str, int]]]] = [
    ("whole cards", {4: 3, 8: 2}, Rig(), [EIGHT, EIGHT, (B, 4), (B, 4), (B, 4)]),
    ("one card", {4: 2}, Rig(), [FOUR, FOUR]),
    ("several sizes on a card", {4: 1, 8: 1, 2: 2}, Rig(heterogeneous=True), [(A, 8), (A, 4), (A, 2), (A, 2)]),
    ("beside others", {4: 2, 8: 1}, Rig({U: (A, 4)}), [(B, 8), FOUR, FOUR]),
    ("beside others that nearly fill it", {4: 2, 8: 1}, Rig({U: (A, 4), V: (B, 8)}), [(B, 8), FOUR, FOUR]),
    ("grown", {4: 3, 8: 1}, Rig().with_own((A, 4), (B, 8)), [FOUR, FOUR]),
    ("another type", {8: 2}, Rig({U: (B, 2)}).with_own(*[FOUR] * 4), [EIGHT, EIGHT]),
    ("back on its parent", {4: 1, 8: 1}, Rig().with_own((B, 8), (A, 4), runs=False), [(B, 8), (A, 4)]),
    ("to another card, its own has another size", {8: 1}, Rig({U: (A, 4)}).with_own((A, 8), runs=False), [(B, 8)]),
    (
        "on functions",
        {4: 1, 8: 2},
        Rig(functions=True),
        [(VFS[A][0], 8), (VFS[A][1], 8), (VFS[B][0], 4)],
    ),
    (
        "on the functions that are free",
        {4: 3},
        Rig({U: (VFS[A][0], 4), V: (VFS[A][2], 4)}, functions=True),
        [(VFS[A][1], 4), (VFS[A][3], 4), (VFS[B][0], 4)],
    ),
    (
        "back on its function",
        {4: 2},
        Rig({U: (VFS[A][0], 4)}, functions=True).with_own((VFS[A][3], 4), (VFS[A][0], 4), runs=False),
        [(VFS[A][3], 4), (VFS[A][1], 4)],
    ),
]


@pytest.mark.parametrize(("case", "types", "rig", "expected"), PLACES, ids=[each[0] for each in PLACES])
def test_where_they_are_made(case: str, types: dict[int, int], rig: Rig, expected: list[tuple[str, int]]) -> None:
    assert made(wished(types), rig) == expected


def test_what_the_driver_says_is_free_counts() -> None:
    """Something that is not seen has some of the memory, or all of it for a type."""
    wish = wished({4: 5})
    seen = Rig().seen(wish)
    low = [replace(each, free=min(each.free, 1)) if each.card == A else each for each in seen.choice.parents]
    planned = plan(wish, replace(seen, choice=Choice(tuple(low), {})))
    assert Counter(each.parent for each in planned.then.active.values()) == {A: 1, B: 4}
    none = [replace(each, free=0) if each.card == A else each for each in seen.choice.parents]
    with pytest.raises(NoFit) as caught:
        plan(wish, replace(seen, choice=Choice(tuple(none), {})))
    assert caught.value.free == {"pci_41": {name(4): 0}, "pci_42": {name(4): 4}}


def test_a_card_is_planned_again_with_what_was_learnt_of_it() -> None:
    wish = wished({4: 3})
    assert Counter(each.parent for each in plan(wish, Rig().seen(wish), {A: 2}).then.active.values()) == {A: 2, B: 1}
    with pytest.raises(NoFit):
        plan(wish, Rig().seen(wish), {A: 2, B: 0})


def test_types_that_do_not_tell_how_many_a_card_takes() -> None:
    wish = wished({4: 5, 8: 1})
    rig = Rig({U: (A, 4)})
    seen = rig.seen(wished({4: 3, 8: 1}))
    untold = tuple(replace(each, most=None) for each in seen.choice.parents)
    planned = plan(wished({4: 3, 8: 1}), replace(seen, choice=Choice(untold, {})))
    assert Counter((each.parent, each.type) for each in planned.then.active.values()) == {
        (A, "nvidia-704"): 4,
        (B, "nvidia-708"): 1,
    }
    with pytest.raises(NoFit):
        plan(wish, replace(seen, choice=Choice(untold, {}), mix={name(4): 704, name(8): 708}))


REFUSALS: list[tuple[str, dict[str, Any], Rig, type[NodedevError], str]] = [
    ("unknown", {"types": {"X-3Q": 1}}, Rig(), BadInput, "types: 'X-3Q' cannot be used: the types of this host's"),
    ("a type for a mix", {"type": name(4)}, Rig().with_own(FOUR), BadInput, "say how many of each in types of hostdev"),
    ("a count for a mix", {"count": 3}, Rig().with_own(FOUR), BadInput, "count: 3 cannot be used: pool x is a mix of"),
    ("UUIDs for a mix", {"uuids": [U]}, Rig().with_own(FOUR), BadInput, f"uuids: ['{U}'] cannot be used: pool x is"),
    ("a placement", {"placement": "pack"}, Rig().with_own(FOUR), BadInput, "placement: 'pack' cannot be used"),
    ("never", {"types": sized({16: 3})}, Rig(), NoFit, "no room for 1 of NVIDIA X-16Q (716); beside those of the pool"),
    (
        "others in the way",
        {"types": sized({16: 2})},
        Rig({U: (A, 4)}),
        NoFit,
        f"it would fit without mdev {U} of type NVIDIA X-4Q (704) on pci_0000_41_00_0 ({A})",
    ),
    (
        "in use",
        {"types": sized({4: 1})},
        Rig(held=frozenset(IDS[:2])).with_own(FOUR, FOUR),
        InUse,
        f"in use, {IDS[1]} (index 1) by process 4711 (qemu-system-x86) of domain desk: stop that first, or set force:"
        " true to have the kernel ask for their release, which takes them from guests that run, or set in_use: wait",
    ),
    (
        "not chosen",
        {},
        Rig().with_own(("0000:43:00.0", 4)),
        NodedevError,
        f"pool x has mdev {IDS[0]} on pci_0000_43_00_0 (0000:43:00.0), which is not among the parents that are chosen:",
    ),
    (
        "managed and gone with the boot",
        {"types": sized({4: 1}), "managed": True, "persistent": False},
        Rig(),
        BadInput,
        "",
    ),
]


@pytest.mark.parametrize(("case", "options", "rig", "kind", "text"), REFUSALS, ids=[each[0] for each in REFUSALS])
def test_refusal(case: str, options: dict[str, Any], rig: Rig, kind: type[NodedevError], text: str) -> None:
    with pytest.raises(kind) as caught:
        plan(wish := Wish.checked(name="x", **options), rig.seen(wish))
    assert text in str(caught.value)


def test_two_names_of_one_type() -> None:
    wish = Wish.checked(name="x", types={name(4): 1, "704": 1})
    with pytest.raises(BadInput, match="two of these names are of one type"):
        plan(wish, replace(Rig().seen(wish), mix={name(4): 704, "704": 704}))


def test_who_has_to_leave_is_told_as_data() -> None:
    wish = wished({16: 2})
    with pytest.raises(NoFit) as caught:
        plan(wish, Rig({U: (A, 4), V: (A, 4)}, held=frozenset({U}), owners={U: "other"}).seen(wish))
    told = [(each["uuid"], each["address"], each["pool"], len(each["holders"])) for each in caught.value.leaving]
    assert told == [(V, None, None, 0), (U, None, "other", 1)]


def test_a_pool_of_one_type_becomes_a_mix_and_keeps_its_uuids() -> None:
    former = Record("x", "mdev", {"type": name(4), "count": 2}, tuple(Recorded(n, IDS[n], A) for n in range(2)))
    rig = Rig({IDS[0]: FOUR, IDS[1]: FOUR}, {(IDS[0], A): 4, (IDS[1], A): 4}, former)
    planned = plan(wish := wished({4: 1, 8: 1}), rig.seen(wish))
    assert planned.then.record is not None
    assert [(one.id, one.parent, one.type) for one in planned.then.record.instances] == [
        (IDS[0], A, 704),
        (IDS[1], B, 708),
    ]
    assert "nvidia-708" in rig.take(planned).seen(wish).defined(IDS[1])[0].type


def test_what_a_killed_run_has_made_gets_its_attributes() -> None:
    """The definition under its UUID is still that of another type, which had the same ones."""
    rig = Rig().with_own((A, 8))
    rig.defined = {(IDS[0], A): 4}
    wish = wished(None, attrs=[{"b": "2"}])
    assert [each.partition(" mdev")[0] for each in steps(wish, rig)][1:] == ["set b=2 on", "change the definition of"]


def test_a_lost_record_is_made_up_for() -> None:
    """By the UUIDs, and what runs and is defined under them."""
    rig = Rig().with_own((A, 8), (B, 4))
    rig.record = None
    wish = wished({4: 1, 8: 1})
    assert [step.partition(" pool")[0] for step in steps(wish, rig)] == ["record"]


def test_a_change_that_waits() -> None:
    rig = Rig(held=frozenset({IDS[0]})).with_own((A, 8), (A, 8), (B, 4))
    wish = wished({4: 6}, in_use="wait")
    planned = plan(wish, rig.seen(wish))
    after = rig.take(planned)
    told = Mix(Cards(wish.filled(after.record), after.seen(wish))).waiting()
    assert told == {"go": [f"mdev_{IDS[0].replace('-', '_')}_0000_41_00_0"], "come": {name(4): 2}}
    assert plan(wish, after.seen(wish)).steps == ()
    done = after.take(plan(wish, replace(after, held=frozenset()).seen(wish)))
    assert sorted(done.active.values()) == [FOUR] * 2 + [(B, 4)] * 4
    forced = wished({4: 6}, force=True)
    assert len(rig.take(plan(forced, rig.seen(forced))).active) == 6


def test_room_is_kept_for_managed_ones() -> None:
    """For all of the pool's, and for those of others that do not run."""
    wish = wished({8: 2, 4: 2}, managed=True)
    rig = Rig(defined={(U, A): 4}, managed=frozenset({U}))
    seen = rig.seen(wish)
    too_many = wished({8: 2, 4: 4}, managed=True)
    with pytest.raises(NoFit):
        plan(too_many, rig.seen(too_many))
    planned = plan(wish, seen)
    assert Counter(own[0].parent for uuid, own in planned.then.definitions.items() if uuid != U) == {A: 2, B: 2}


@pytest.mark.parametrize(
    "document",
    [
        {"types": [{"type": "X-4Q"}, {"count": 3}]},
        {"types": []},
        {"types": [{"type": "X-4Q", "count": -1}]},
        {"types": [{"type": "X-4Q", "count": 1, "type_id": "four"}]},
        {"types": {"X-4Q": 1}},
    ],
)
def test_a_record_with_nonsense(document: dict[str, Any]) -> None:
    with pytest.raises(DamagedDefinition):
        pool_wish.kept(Record("x", "mdev", document, ()))


def test_a_record_is_read_as_it_was_written() -> None:
    wish = replace(wished({4: 1, 8: 0}, attrs=[{"a": "1"}]), known_types={name(4): Type(704, name(4))})
    assert pool_wish.kept(Record("x", "mdev", wish.document(), ())) == wish


WHICH = ("others", "own", "idle")
places = st.lists(st.tuples(st.sampled_from(range(8)), st.sampled_from([2, 4, 8]), st.sampled_from(WHICH)), max_size=6)


def hosted(there: list[tuple[int, int, str]], held: set[int], heterogeneous: bool, functions: bool) -> Rig | None:
    """Such a host; None where its cards could not carry that."""
    rig = Rig(heterogeneous=heterogeneous, functions=functions)
    own: list[tuple[str, int, bool]] = []
    for number, (place, size, what) in enumerate(there):
        parent = rig.parents[place % len(rig.parents)]
        if what != "idle":
            if not rig.available(parent, size):
                return None
            rig.active[str(number)] = (parent, size)
        if what != "others":
            own.append((parent, size, what == "own"))
    running = {each for each in rig.active if there[int(each)][2] == "others"}
    others = [rig.active[each] for each in sorted(running)]
    rig.active = {f"83b8f4f2-509f-382f-3c1e-e6bfe0fa20{index:02}": each for index, each in enumerate(others)}
    if own:
        rig.with_own(*[(parent, size) for parent, size, _runs in own], runs=False)
        rig.active.update({IDS[index]: (parent, size) for index, (parent, size, runs) in enumerate(own) if runs})
    return replace(rig, held=frozenset(each for index, each in enumerate(sorted(rig.active)) if index in held))


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(st.sampled_from([2, 4, 8]), st.integers(0, 4), min_size=1),
    places,
    st.sets(st.integers(0, 5)),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["refuse", "wait"]),
    st.sampled_from([{}, {}, {"state": "inactive"}, {"managed": True}, {"persistent": False}]),
)
@example({8: 2, 4: 2}, [(0, 4, "own")] * 4, set(), False, False, "refuse", {})
@example({2: 1, 8: 1}, [(0, 8, "others"), (4, 4, "idle")], set(), False, True, "refuse", {"managed": True})
def test_wherever_it_is_killed_the_next_run_ends_in_the_wish(
    types: dict[int, int],
    there: list[tuple[int, int, str]],
    held: set[int],
    heterogeneous: bool,
    functions: bool,
    in_use: str,
    options: dict[str, Any],
) -> None:
    rig = hosted(there, held, heterogeneous, functions)
    if rig is None:
        return
    wish = wished(types, in_use=in_use, **options)
    try:
        planned = plan(wish, rig.seen(wish))
    except (NoFit, InUse):
        return
    assert plan(wish, planned.then).steps == ()
    whole = rig.take(planned)
    assert plan(wish, whole.seen(wish)).steps == ()
    own = {one.id: one for one in whole.record.instances} if whole.record else {}
    others = {each: place for each, place in rig.active.items() if each not in IDS}
    for number in range(len(planned.steps)):
        half = rig.take(planned, number)
        # Whatever is there of the pool is known by its record, or by its UUID.
        done = half.take(plan(wish, half.seen(wish)))
        assert plan(wish, done.seen(wish)).steps == (), number
        assert {each: place for each, place in done.active.items() if each not in IDS} == others
        assert all(done.active[each] == rig.active[each] for each in rig.held if each in whole.active)
        assert done.record is not None
        if not (in_use == "wait" and rig.held):
            assert Counter(one.type for one in done.record.instances) == Counter(one.type for one in own.values())
        assert len({one.index for one in done.record.instances}) == len(done.record.instances)
