# SPDX-License-Identifier: GPL-3.0-or-later
"""What GPUs have room for, against trying all ways of making one vGPU after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Optional

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.pools import capacity
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.pools.capacity import (
    Card,
    Instance,
    Outlook,
    Placed,
    Type,
)
from hypothesis import given, settings
from hypothesis import strategies as st

GIB = 1024
# Of a card of 12 GiB; of the A a card takes fewer than its memory has room for.
Q2, Q3, Q4, A4, Q6, Q12 = range(1, 7)
TYPES = {
    Q2: Type(Q2, 2 * GIB, 6),
    Q3: Type(Q3, 3 * GIB, 4),
    Q4: Type(Q4, 4 * GIB, 3),
    A4: Type(A4, 4 * GIB, 2),
    Q6: Type(Q6, 6 * GIB, 2),
    Q12: Type(Q12, 12 * GIB, 1),
}
# As a heterogeneous card has them, by GiB from its start; a 2Q does not stand everywhere.
PLACES = {Q2: (0, 2, 4, 6, 8), Q3: (0, 3, 6, 9), Q4: (0, 4, 8), A4: (0, 4, 8), Q6: (0, 6), Q12: (0,)}
PLACED = {id: replace(each, places=PLACES[id], extent=each.framebuffer // GIB) for id, each in TYPES.items()}
There = tuple[tuple[int, Optional[int]], ...]


def may(card: Card, there: There, type: int, place: int | None) -> bool:
    """Whether one more may be made on a card that has these, by type and place."""
    wanted = card.types[type]
    types = [card.types[each] for each, _place in there]
    if card.functions is not None and len(there) >= card.functions + len(card.carried):
        return False
    if not card.heterogeneous:
        return len(there) < wanted.most and all(each.framebuffer == wanted.framebuffer for each in types)
    if sum(each.framebuffer for each in types) + wanted.framebuffer > 12 * GIB or types.count(wanted) >= wanted.most:
        return False
    taken = [range(at, at + each.extent) for each, (_type, at) in zip(types, there) if at is not None]
    return place is None or not any({*own} & {*range(place, place + wanted.extent)} for own in taken)


def places_of(card: Card, type: int) -> Sequence[int | None]:
    if not card.heterogeneous or not card.types[type].places:
        return (None,)
    return [each for each in card.types[type].places if each in card.open.get(type, card.types[type].places)]


def ways(card: Card, there: There, type: int) -> Iterator[There]:
    """What a card may have once there is one more."""
    for place in places_of(card, type):
        if may(card, there, type, place):
            yield tuple(sorted((*there, (type, place)), key=str))


def less(left: tuple[tuple[int, int], ...], type: int) -> tuple[tuple[int, int], ...]:
    """The same counts with one less of a type."""
    return tuple(sorted((Counter(dict(left)) - Counter([type])).items()))


def has_way(cards: Sequence[Card], mix: Mapping[int, int], gone: frozenset[str] = frozenset()) -> bool:
    """Whether a mix can be made, in whatever order, on whichever cards, at whichever places."""
    # What a card offers now is no longer all once something has left it.
    cards = [replace(one, open={}) if gone & {each.id for each in one.carried} else one for one in cards]
    start = tuple(tuple((one.type, one.place) for one in card.carried if one.id not in gone) for card in cards)

    @lru_cache(None)
    def follows(loads: tuple[There, ...], left: tuple[tuple[int, int], ...]) -> bool:
        return not left or any(
            follows(
                (*loads[:at], then, *loads[at + 1 :]), tuple(sorted((Counter(dict(left)) - Counter([type])).items()))
            )
            for type, _count in left
            for at, card in enumerate(cards)
            for then in ways(card, loads[at], type)
        )

    return follows(start, tuple(sorted(mix.items())))


@st.composite
def card(draw: st.DrawFn, id: str) -> Card:
    """A card with what can have been made on it."""
    heterogeneous = draw(st.booleans())
    types = PLACED if heterogeneous and draw(st.booleans()) else TYPES
    one = Card(id, types, heterogeneous=heterogeneous, functions=draw(st.sampled_from([None, 4])))
    there: There = ()
    for type in draw(st.lists(st.sampled_from([*TYPES]), max_size=3)):
        found = [*ways(one, there, type)]
        there = draw(st.sampled_from(found)) if found else there
    held = draw(st.lists(st.booleans(), min_size=3, max_size=3))
    carried = [Instance(f"{id}{at}", type, place, held[at]) for at, (type, place) in enumerate(there)]
    left = None if one.functions is None else one.functions - len(carried)
    # At some of the places that are free the driver lets nothing begin.
    told = draw(st.dictionaries(st.sampled_from([*TYPES]), st.sets(st.sampled_from([0, 2, 4, 6, 8])), max_size=2))
    return replace(one, carried=tuple(carried), functions=left, open={id: tuple(each) for id, each in told.items()})


cards = st.integers(1, 3).flatmap(lambda count: st.tuples(*(card("abc"[at]) for at in range(count))))
mixes = st.dictionaries(st.sampled_from([*TYPES]), st.integers(1, 3), min_size=1, max_size=3).filter(
    lambda mix: sum(mix.values()) <= 5
)


@settings(max_examples=250, deadline=None)
@given(cards, mixes)
def test_a_mix_fits_where_there_is_a_way(there: tuple[Card, ...], mix: dict[int, int]) -> None:
    found = capacity.fit(there, mix)
    loads = {each.id: tuple((one.type, one.place) for one in each.carried) for each in there}
    by_name = {each.id: each for each in there}
    for one in found.placed:
        assert may(by_name[one.card], loads[one.card], one.type, one.place)
        assert one.place is None or one.place in PLACES[one.type]
        loads[one.card] = (*loads[one.card], (one.type, one.place))
    assert Counter(one.type for one in found.placed) + Counter(found.missing) == Counter(mix)
    assert (not found.missing) == has_way(there, mix)


@settings(max_examples=150, deadline=None)
@given(cards, mixes)
def test_who_has_to_leave(there: tuple[Card, ...], mix: dict[int, int]) -> None:
    """All of them are enough, and none of them could stay."""
    found = capacity.leaving(there, mix)
    every = frozenset(one.id for each in there for one in each.carried)
    if found is None:
        assert not has_way(there, mix, every)
        return
    gone = frozenset(one.id for one in found)
    assert len(gone) == len(found)
    assert has_way(there, mix, gone)
    assert not any(has_way(there, mix, gone - {one}) for one in gone)


@settings(max_examples=150, deadline=None)
@given(card("a"))
def test_the_outlook_is_what_one_type_after_the_other_would_find(one: Card) -> None:
    def most(carried: tuple[Instance, ...], type: int) -> int:
        left = None if functions is None else functions - len(carried)
        own = {} if len(carried) < len(one.carried) else one.open
        there = replace(one, carried=carried, functions=left, open=own)
        count = 0
        while has_way([there], {type: count + 1}):
            count += 1
        return count

    functions = None if one.functions is None else one.functions + len(one.carried)
    found = capacity.outlook(one)
    for type in TYPES:
        assert found[type].now == capacity.room(one, type) == most(one.carried, type)
        assert found[type].released == most(tuple(each for each in one.carried if each.held), type)
        assert found[type].emptied == most((), type)
        # What places there are for the next one is the first that is free.
        made = next(ways(one, tuple((each.type, each.place) for each in one.carried), type), ())
        carried = tuple(Instance(str(at), each, place) for at, (each, place) in enumerate(made))
        assert found[type].then == {each: count for each in TYPES if made and (count := most(carried, each))}


def carrying(*types: int, held: bool = True) -> tuple[Instance, ...]:
    return tuple(Instance(f"i{at}", type, None, held) for at, type in enumerate(types))


EMPTY = Card("a", TYPES)
OUTLOOKS = [
    ("empty", EMPTY, Q4, Outlook(3, 3, 3, {Q4: 2, A4: 1})),
    ("of its size", Card("a", TYPES, carrying(Q4)), A4, Outlook(1, 1, 2, {Q4: 1})),
    ("of another size", Card("a", TYPES, carrying(Q6)), Q4, Outlook(0, 0, 3, {})),
    ("of another size that nobody has", Card("a", TYPES, carrying(Q6, held=False)), Q4, Outlook(0, 3, 3, {})),
    ("heterogeneous", Card("a", TYPES, carrying(Q6), True), Q4, Outlook(1, 1, 3, {Q2: 1})),
    ("few functions", Card("a", TYPES, carrying(Q4), functions=1), Q4, Outlook(1, 1, 2, {})),
    ("an unknown type on it", Card("a", TYPES, carrying(99)), Q4, Outlook(0, 0, 3, {})),
]


@pytest.mark.parametrize(("name", "there", "type", "expected"), OUTLOOKS, ids=[each[0] for each in OUTLOOKS])
def test_the_outlook_of_a_type(name: str, there: Card, type: int, expected: Outlook) -> None:
    assert capacity.outlook(there)[type] == expected


def test_one_framebuffer_gets_whole_cards_and_the_rest_shares_a_heterogeneous_one() -> None:
    """The largest first."""
    there = [Card(id, TYPES, heterogeneous=id == "d") for id in "abcd"]
    found = capacity.fit(there, {Q2: 7, Q4: 3, Q6: 1, 99: 0})
    assert found.placed[:2] == (Placed(Q6, "d"), Placed(Q4, "a"))
    assert Counter((one.card, one.type) for one in found.placed) == {
        ("a", Q4): 3,
        ("b", Q2): 6,
        ("d", Q6): 1,
        ("d", Q2): 1,
    }
    assert capacity.fit(there, {99: 1}).missing == {99: 1}


def test_a_card_with_few_in_use_is_given_up_first() -> None:
    there = [
        Card("a", TYPES, tuple(Instance(f"a{at}", Q2, None, True) for at in range(3))),
        Card("b", TYPES, (Instance("b0", Q4, None, True), Instance("b1", Q4))),
        Card("c", {}, (Instance("c0", 99),)),
    ]
    assert capacity.leaving(there, {Q6: 1}) == (there[1].carried[1], there[1].carried[0])
    assert capacity.leaving(there, {Q4: 1}) == ()
    assert capacity.leaving(there, {Q12: 3}) is None
    assert len(capacity.leaving(there, {Q12: 2}) or ()) == 5


def test_a_host_of_many_cards() -> None:
    """With more to place than is tried one by one."""
    there = [
        Card(str(at), TYPES, tuple(Instance(f"{at}-{each}", Q4, None, True) for each in range(at % 3)), at % 5 == 0)
        for at in range(100)
    ]
    found = capacity.fit(there, {Q4: 100, Q2: 90, Q6: 20})
    assert (len(found.placed), found.missing) == (210, {})
    over = {Q12: 90}
    left = capacity.fit(there, over).missing
    gone = {one.id for one in capacity.leaving(there, over) or ()}
    assert left
    assert capacity.fit(there, over, gone).missing == {}


def test_places_on_a_large_card() -> None:
    """As many as a card of 48 GiB takes, at places that are multiples of their sizes, beside what is in the way."""
    sizes = (1, 2, 4, 8, 24)
    types = {size: Type(size, size * GIB, 48 // size, tuple(range(0, 49 - size, size)), size) for size in sizes}
    one = Card("a", types, (Instance("i", 2, 14), Instance("j", 4, 20)), heterogeneous=True)
    mix = {24: 1, 8: 1, 4: 1, 2: 2, 1: 2}
    found = capacity.fit([one], mix)
    assert found.missing == {}
    there = {(24, 24), (8, 0), (4, 8), (2, 12), (2, 16), (1, 18), (1, 19)}
    assert {(each.type, each.place) for each in found.placed} == there
    assert capacity.fit([one], {**mix, 8: 2}).missing == {8: 1}
    assert [each.id for each in capacity.leaving([one], {24: 2}) or ()] == ["i", "j"]
