# SPDX-License-Identifier: GPL-3.0-or-later
"""What GPUs have room for, by what is on them: for one type more, and for a mix of types over several cards.

NVIDIA's vGPU user guide has the rules. A homogeneous card takes one framebuffer at a time, of whatever letters.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

# How many looks at a card the search takes that comes after the plain ways have found no room for all.
EFFORT = 5000
# How many vGPUs of a mix it tries to place at the most.
DEEPEST = 64
# How many mixes are tried on so many cards to find who has to leave, and how many at the least.
TRIES, FEWEST = 20000, 20
# Of a card whose functions are not counted.
UNCOUNTED = 1 << 32


@dataclass(frozen=True)
class Type:
    """A type that a card knows; ``framebuffer`` is in MiB, ``most`` how many of it an empty card takes.

    ``places`` are the placement ids at which one may begin on a heterogeneous card, and ``extent`` is how many of them
    it takes. Where they are not known, memory alone counts.
    """

    id: int
    framebuffer: int
    most: int
    places: tuple[int, ...] = ()
    extent: int = 1


@dataclass(frozen=True)
class Instance:
    """A vGPU on a card, with its placement id where it is known; ``held`` says whether somebody has it."""

    id: str
    type: int
    place: int | None = None
    held: bool = False


@dataclass(frozen=True)
class Card:
    """A card: its types by their ids, and what it carries.

    ``functions`` is how many more vGPUs it can have, whatever their types, besides what it carries; None where that is
    not bounded. A card that carries a type which it does not know takes no more. Types that are ``closed`` are offered
    by none of its functions as long as nothing leaves it; so ``open`` are by type the places that it offers, where
    that is told.
    """

    id: str
    types: Mapping[int, Type]
    carried: tuple[Instance, ...] = ()
    heterogeneous: bool = False
    functions: int | None = None
    closed: frozenset[int] = frozenset()
    open: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    @property
    def memory(self) -> int:
        """Its memory for vGPUs, in MiB: the most that any of its types takes in all."""
        return max((each.most * each.framebuffer for each in self.types.values()), default=0)


@dataclass(frozen=True)
class Outlook:
    """How many more of a type fit ``now``, without those that nobody has, without any, and by type after one more."""

    now: int
    released: int
    emptied: int
    then: Mapping[int, int]


@dataclass(frozen=True)
class Placed:
    """One vGPU of a mix, on which card, and at which place where that is known."""

    type: int
    card: str
    place: int | None = None


@dataclass(frozen=True)
class Fit:
    """A mix in the order in which it is made; ``missing`` is by type what has no room."""

    placed: tuple[Placed, ...]
    missing: Mapping[int, int] = field(default_factory=dict)


def room(card: Card, type: int) -> int:
    """How many more of a type fit on a card now."""
    return _Load(card).room(type)


def outlook(card: Card) -> dict[int, Outlook]:
    """What fits on a card, for each of its types."""
    now = _Load(card)
    released = _Load(card, {each.id for each in card.carried if not each.held})
    emptied = _Load(card, {each.id for each in card.carried})
    found = {}
    for type in card.types:
        then: dict[int, int] = {}
        if now.room(type):
            after = now.copy()
            after.take(type, 1)
            then = {each: count for each in card.types if (count := after.room(each))}
        found[type] = Outlook(now.room(type), released.room(type), emptied.room(type), then)
    return found


def in_order(types: Iterable[Type]) -> list[int]:
    """The ids of types as they are to be made: the largest first, and of one size the one of which the fewest fit."""
    return [each.id for each in sorted(types, key=lambda each: (-each.framebuffer, each.most, each.id))]


def fit(cards: Sequence[Card], mix: Mapping[int, int], gone: Collection[str] = ()) -> Fit:
    """Where so many more of each type go; what is ``gone``, by the ids of instances, is not counted.

    It is exact for what few cards can take. For many, the search ends at EFFORT, and room may be overlooked.
    """
    wanted = {type: count for type, count in mix.items() if count > 0}
    known = {type: each for card in cards for type, each in card.types.items() if type in wanted}
    order = in_order(known.values())
    loads = [_Load(card, gone) for card in cards]
    best: Fit | None = None
    for way in _WAYS:
        found = _plain([load.copy() for load in loads], order, wanted, way)
        if not found.missing:
            return found
        best = found if best is None or len(found.placed) > len(best.placed) else best
    if len(order) == len(wanted) and all(
        sum(load.room(type) for load in loads) >= count for type, count in wanted.items()
    ):
        searched = _search(loads, [type for type in order for _one in range(wanted[type])])
        if searched is not None:
            return Fit(searched)
    return best or Fit(())


def choices(card: Card, type: int) -> Sequence[int | None]:
    """Where one more of a type can stand on a card now; where places are not known, None for that there is room."""
    return _Load(card).choices(type)


def possible(cards: Iterable[Card], placed: Iterable[Placed]) -> list[Placed]:
    """Those of these that can be made now, one after the other, where they are placed."""
    loads = {card.id: _Load(card) for card in cards}
    found = []
    for one in placed:
        load = loads[one.card]
        if one.place in load.choices(one.type):
            load.add(load.card.types[one.type], 1, () if one.place is None else (one.place,))
            found.append(one)
    return found


def leaving(
    cards: Sequence[Card], mix: Mapping[int, int], staying: Collection[str] = ()
) -> tuple[Instance, ...] | None:
    """The instances that would have to leave so that the mix fits; None where it never does while some are ``staying``.

    Cards with few that are held are given up first. None is named in vain, as far as TRIES reach.
    """
    ranked = sorted(cards, key=lambda card: (sum(each.held for each in card.carried), len(card.carried)))
    concerned = [card for card in ranked if not mix.keys().isdisjoint(card.types)]
    ordered = [each for card in concerned for each in sorted(card.carried, key=lambda one: one.held)]
    every = [each for each in ordered if each.id not in staying]
    tries = max(TRIES // max(len(cards), 1), FEWEST)
    needed: list[Instance] = []

    def fits(count: int) -> bool:
        gone = {each.id for each in (*needed, *every[:count])}
        return not fit(cards, mix, gone).missing

    if not fits(len(every)):
        return None
    # The last one of the least that is enough is needed; then what is needed besides it, and so on.
    while every and tries > 0 and not fits(0):
        enough = _least(fits, len(every))
        tries -= len(every).bit_length() + 1
        needed.append(every[enough - 1])
        every = every[: enough - 1]
    return tuple(needed[::-1]) if not every or fits(0) else (*every, *needed[::-1])


def _least(fits: Callable[[int], bool], most: int) -> int:
    """The least number for which something holds that holds for all greater ones, up to ``most``."""
    least = 0
    while least < most:
        middle = (least + most) // 2
        least, most = (least, middle) if fits(middle) else (middle + 1, most)
    return least


class _Load:
    """What is on a card while vGPUs are placed on it one by one."""

    __slots__ = ("card", "closed", "counts", "functions", "memory", "open", "places", "size", "taken")

    def __init__(self, card: Card, gone: Collection[str] = ()) -> None:
        self.card = card
        freed = sum(each.id in gone for each in card.carried)
        self.functions = UNCOUNTED if card.functions is None else card.functions + freed
        self.closed = frozenset() if freed else card.closed
        self.open: Mapping[int, tuple[int, ...]] = {} if freed else card.open
        self.memory = card.memory
        # Of a homogeneous card, the framebuffer that it has taken.
        self.size: int | None = None
        self.counts: dict[int, int] = {}
        self.taken: list[tuple[int, int]] = []
        staying = [each for each in card.carried if each.id not in gone]
        # Where one stands nobody knows where, what is free between them is not known either.
        self.places = card.heterogeneous and all(each.place is not None for each in staying)
        for each in staying:
            if each.type not in card.types:
                self.functions = 0
                return
            self.add(card.types[each.type], 1, () if each.place is None else (each.place,))
            self.functions += 1

    def copy(self) -> _Load:
        other = object.__new__(_Load)
        other.card, other.functions, other.memory = self.card, self.functions, self.memory
        other.size, other.counts, other.taken = self.size, {**self.counts}, [*self.taken]
        other.places, other.closed, other.open = self.places, self.closed, self.open
        return other

    @property
    def state(self) -> tuple[object, ...]:
        types = tuple(self.card.types.values())
        own: tuple[object, ...] = (self.card.heterogeneous, self.functions, self.memory, self.size, self.places)
        own = (*own, self.closed, tuple(sorted(self.open.items())))
        return (*own, types, tuple(sorted(self.counts.items())), tuple(sorted(self.taken)))

    def room(self, type: int) -> int:
        wanted = self.card.types.get(type)
        if wanted is None or self.functions <= 0 or type in self.closed:
            return 0
        if not self.card.heterogeneous:
            fits = self.size is None or self.size == wanted.framebuffer
            found = wanted.most - sum(self.counts.values()) if fits else 0
        else:
            found = min(wanted.most - self.counts.get(type, 0), self.memory // wanted.framebuffer)
            if self.places and wanted.places and found > 0:
                found = min(found, len(self._apart(wanted)))
        return max(min(found, self.functions), 0)

    def take(self, type: int, count: int) -> list[int | None]:
        wanted = self.card.types[type]
        places = self._apart(wanted)[:count] if self.places and wanted.places else []
        self.add(wanted, count, places)
        return [*places, *([None] * (count - len(places)))]

    def choices(self, type: int) -> Sequence[int | None]:
        wanted = self.card.types.get(type)
        if wanted is None or not self.room(type):
            return ()
        return [*self._free(wanted)] if self.places and wanted.places else (None,)

    def add(self, wanted: Type, count: int, places: Iterable[int]) -> None:
        self.functions -= count
        self.memory -= count * wanted.framebuffer
        self.size = None if self.card.heterogeneous else wanted.framebuffer
        self.counts[wanted.id] = self.counts.get(wanted.id, 0) + count
        self.taken += [(place, place + wanted.extent) for place in places]

    def _free(self, wanted: Type) -> Iterator[int]:
        for place in sorted({*wanted.places} & {*self.open.get(wanted.id, wanted.places)}):
            if all(place + wanted.extent <= first or end <= place for first, end in self.taken):
                yield place

    def _apart(self, wanted: Type) -> list[int]:
        """As many of these as do not overlap, from the lowest on."""
        found: list[int] = []
        for place in self._free(wanted):
            if not found or place >= found[-1] + wanted.extent:
                found.append(place)
        return found


# Homogeneous cards that carry a framebuffer already, those that it fills, heterogeneous ones, empty ones for the rest.
_CARRYING, _WHOLE, _SEVERAL, _REST = range(4)
_WAYS = (_CARRYING, _WHOLE, _SEVERAL, _REST), (_CARRYING, _WHOLE, _REST, _SEVERAL)


def _plain(loads: Sequence[_Load], order: Sequence[int], wanted: Mapping[int, int], way: Sequence[int]) -> Fit:
    placed: list[Placed] = []
    missing = {type: count for type, count in wanted.items() if type not in order}
    for type in order:
        left = wanted[type]
        open_for_it = [(load, room) for load in loads if (room := load.room(type))]
        for stage in way:
            for load, room in _chosen(open_for_it, stage):
                count = min(left, room)
                if not count or (stage == _WHOLE and room > left):
                    continue
                left -= count
                placed += [Placed(type, load.card.id, place) for place in load.take(type, count)]
        if left:
            missing[type] = left
    return Fit(tuple(placed), missing)


def _chosen(open_for_it: Sequence[tuple[_Load, int]], stage: int) -> list[tuple[_Load, int]]:
    if stage == _SEVERAL:
        several = [each for each in open_for_it if each[0].card.heterogeneous]
        return sorted(several, key=lambda each: each[0].memory)
    single = [each for each in open_for_it if not each[0].card.heterogeneous]
    if stage == _CARRYING:
        return [each for each in single if each[0].size is not None]
    empty = [each for each in single if each[0].size is None]
    return sorted(empty, key=lambda each: -each[1] if stage == _WHOLE else each[1])


def _search(loads: Sequence[_Load], types: Sequence[int]) -> tuple[Placed, ...] | None:
    """Where each of these can go, by trying; None where there is no way, or none was found within EFFORT."""
    effort = EFFORT
    placed: list[Placed] = []
    now = [*loads]

    def place(number: int, start: tuple[int, int]) -> bool:
        nonlocal effort
        if number == len(types):
            return True
        type = types[number]
        tried: set[tuple[object, ...]] = set()
        for index in range(start[0], len(now)):
            load = now[index]
            effort -= 1
            if effort < 0:
                return False
            if not load.room(type) or (index > start[0] and load.state in tried):
                continue
            tried.add(load.state)
            for where in load.choices(type):
                if index == start[0] and where is not None and where < start[1]:
                    continue
                now[index] = load.copy()
                now[index].add(load.card.types[type], 1, () if where is None else (where,))
                placed.append(Placed(type, load.card.id, where))
                same = number + 1 < len(types) and types[number + 1] == type
                if place(number + 1, (index, where or 0) if same else (0, 0)):
                    return True
                placed.pop()
                now[index] = load
        return False

    return tuple(placed) if len(types) <= DEEPEST and place(0, (0, 0)) else None
