# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for a pool of several types, of whatever kind: where each instance goes, and what is in the way of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar

from ..errors import BadInput, NoFit
from ..host import holders, vgpu_types
from ..names import device_name
from . import capacity, mixes, pool
from .capacity import Card, Fit, Instance
from .members import Change, Member
from .record import Recorded

# An instance that keeps its parent, with where it will stand on its card.
Kept = tuple[Member, Instance]


class Wish(pool.Wish, Protocol):
    """What a person wants of a mix: how many of each type, as it was told, and what becomes of those in use."""

    @property
    def types(self) -> Mapping[str, int] | None: ...
    @property
    def in_use(self) -> str: ...


class Seen(pool.Seen[Any], Protocol):
    """The parts of the host that a mix touches; ``mix`` has its types by how they were told, None for unknown ones.

    ``owners`` are the other pools by their instances, and ``holders`` are by instance.
    """

    @property
    def mix(self) -> Mapping[str, Any]: ...
    @property
    def owners(self) -> Mapping[str, str]: ...
    @property
    def holders(self) -> Mapping[str, Sequence[Any]]: ...

    def type_of(self, id: str, /) -> int | None:
        """The number of an instance's type."""


W = TypeVar("W", bound=Wish)
S = TypeVar("S", bound=Seen)


@dataclass(frozen=True)
class Mix(ABC, Generic[W, S]):
    """What the plan for a pool asks of a mix; ``wish`` is filled with what the record has.

    Of its kind it has the ``cards`` on which instances can be, the ``titles`` of types, the ``_sizes`` that cards tell,
    and how many of each type are ``_wanted``, as far as they are known.
    """

    wish: W
    seen: S

    @property
    @abstractmethod
    def cards(self) -> Collection[str]: ...
    @property
    @abstractmethod
    def titles(self) -> Mapping[int, str]: ...
    @property
    @abstractmethod
    def _sizes(self) -> Mapping[int, capacity.Type]: ...
    @property
    @abstractmethod
    def _wanted(self) -> Mapping[int, int]: ...
    @abstractmethod
    def _known(self, told: str) -> int:
        """The number of a wished type; BadInput where no card knows it."""

    @abstractmethod
    def card(
        self, address: str, gone: Collection[str], staying: Sequence[Member], ceilings: Mapping[str, int], leaves: bool
    ) -> Card:
        """A card without what is ``gone``, be it that something ``leaves`` it besides; of ``staying`` some may rest."""

    @abstractmethod
    def _emptied(self, card: Card, staying: Sequence[Member]) -> Card:
        """A card with nothing but those that are ``staying``."""

    @abstractmethod
    def card_of(self, parent: str) -> str:
        """The card of a parent."""

    @abstractmethod
    def _can_stay(self, parent: str, taken: Collection[str], gone: Collection[str]) -> bool:
        """Whether a parent can have an instance again that rests on it, beside those on parents that are ``taken``."""

    @abstractmethod
    def _free(self, taken: Collection[str], change: Change) -> dict[str, list[str]]:
        """By card the parents that take one new instance each, in their order; no card that is a parent itself."""

    @abstractmethod
    def _identity(self, index: int, former: str = "") -> str:
        """The id of an instance that is placed anew, or new; nothing where it is that of its parent."""

    @abstractmethod
    def _name(self, member: Member) -> str:
        """The name of an instance in results."""

    @abstractmethod
    def _said(self, one: Instance) -> str:
        """An instance on a card, in words."""

    @abstractmethod
    def _ids(self, one: Instance) -> dict[str, Any]:
        """By what an instance on a card is known, as data."""

    def _parent(self, member: Member) -> str:
        return member.parent or ""

    def _holders(self, id: str) -> Sequence[Any]:
        return self.seen.holders.get(id, ())

    def _defined_place(self, id: str) -> int | None:
        """The place on its card that an instance's definition has, where places are chosen."""
        return None

    def _standing(self, one: Recorded) -> Recorded:
        """An instance that stays on a card on which places are chosen, with what is to be written down of its own."""
        return one

    def name(self, card: str) -> str:
        """libvirt's name of a card."""
        return device_name("pci", card)

    def title(self, number: int) -> str:
        """A type's name, or its number."""
        return self.titles.get(number) or str(number)

    def _called(self, number: int) -> str:
        return vgpu_types.called(number, self.titles)

    @property
    def waits(self) -> bool:
        return self.wish.in_use == mixes.WAIT

    @cached_property
    def counts(self) -> Mapping[int, int]:
        """How many of each type there are to be, in the order in which they are made; BadInput for an unknown one."""
        numbers = [self._known(told) for told in self.seen.mix]
        if len({*numbers}) < len(numbers):
            raise BadInput("types", dict(self.wish.types or {}), "two of these names are of one type")
        first = capacity.in_order(type for id, type in self._sizes.items() if id in numbers)
        return {id: self._wanted.get(id, 0) for id in (*first, *sorted({*numbers} - {*first}))}

    def places(self, change: Change, ceilings: Mapping[str, int]) -> tuple[Recorded, ...]:
        """Where every instance is to be, the largest first; NoFit where there is no room.

        Those that are only defined keep their parents where there is room on these.
        """
        staying = [each for each in change.stay if each.stays(self.wish.runs)]
        waiting = [each for each in change.stay if not each.stays(self.wish.runs)]
        done = [Recorded(each.index, each.id, self._parent(each), each.type) for each in staying]
        done = [one if self.seen.defined(one.id) else self._standing(one) for one in done]
        if not waiting and not change.new:
            return self._sorted(done)
        wanted = Counter(each.type for each in waiting if each.type is not None) + Counter(change.types.values())
        gone = {each.id for each in change.go}
        cards = [self.card(each, gone, staying, ceilings, False) for each in self.cards]
        kept = keeping = self._kept(cards, waiting, {self._parent(each) for each in staying}, gone)
        pinned = [self._with(card, keeping) for card in cards]
        rest = wanted - Counter(one.type for _each, one in keeping)
        found = capacity.fit(pinned, rest)
        if found.missing and kept:
            anew = capacity.fit(cards, wanted)
            found, kept = (found, kept) if anew.missing else (anew, [])
        if found.missing and self.wish.state == "inactive":
            found, kept = capacity.fit([self._emptied(card, staying) for card in cards], wanted), []
        if found.missing:
            # As they are where something leaves them, be it later.
            loose = [self._with(self.card(each, gone, staying, ceilings, True), keeping) for each in self.cards]
            now = mixes.now(loose, rest, {each.id for each in change.left}) if self.waits else None
            if now is None:
                own = {each.id for each in (*staying, *(each for each, _one in kept))}
                raise self._refusal(found, pinned, capacity.leaving(loose, rest, own))
            found = Fit(tuple(now))
        placed = {one.card for one in found.placed if one.place is not None}
        placed |= {self.card_of(self._parent(each)) for each, one in kept if one.place is not None}
        done = [self._standing(one) if self.card_of(one.parent) in placed else one for one in done]
        done += [Recorded(each.index, each.id, self._parent(each), each.type, one.place) for each, one in kept]
        ids = {each.id for each, _one in kept}
        rested = [each for each in waiting if each.id not in ids]
        moving = [(each.index, self._identity(each.index, each.id), each.type) for each in rested]
        new = [(index, self._identity(index), type) for index, type in change.types.items()]
        done += self._assigned(found, [*moving, *new], self._free({one.parent for one in done}, change))
        return self._sorted(done)

    def _sorted(self, placed: Sequence[Recorded]) -> tuple[Recorded, ...]:
        order = [*self.counts]
        return tuple(sorted(placed, key=lambda one: (order.index(one.type) if one.type in order else 0, one.index)))

    def _kept(
        self, cards: Sequence[Card], waiting: Sequence[Member], taken: Collection[str], gone: Collection[str]
    ) -> list[Kept]:
        """Those that can stay on their parents, at their own places where these are free, with where they stand."""
        by_name = {card.id: card for card in cards}
        order = [*self.counts]
        kept: list[Kept] = []
        ranked = sorted(waiting, key=lambda one: order.index(one.type) if one.type in order else len(order))
        for each in sorted(ranked, key=lambda one: self._defined_place(one.id) is None):
            parent = self._parent(each)
            card = by_name.get(self.card_of(parent))
            beside = {*taken, *(self._parent(one) for one, _there in kept)}
            if card is not None and each.type is not None and self._can_stay(parent, beside, gone):
                choices, own = capacity.choices(self._with(card, kept), each.type), self._defined_place(each.id)
                if choices:
                    kept.append((each, Instance(each.id, each.type, own if own in choices else choices[0])))
        return kept

    def _with(self, card: Card, kept: Sequence[Kept]) -> Card:
        own = [one for each, one in kept if self.card_of(self._parent(each)) == card.id]
        return mixes.with_instances(card, own)

    def _assigned(
        self, found: Fit, wanted: Sequence[tuple[int, str, int | None]], free: Mapping[str, list[str]]
    ) -> Iterator[Recorded]:
        left: dict[int | None, list[tuple[int, str]]] = {}
        for index, id, type in wanted:
            left.setdefault(type, []).append((index, id))
        for one in found.placed:
            index, id = left[one.type].pop(0)
            parent = free[one.card].pop(0) if one.card in free else one.card
            yield Recorded(index, id or parent, parent, one.type, one.place)

    def _refusal(self, found: Fit, cards: Sequence[Card], leaving: Sequence[Instance] | None) -> NoFit:
        """That the mix does not fit, and who would have to leave; None for that it never does."""
        if leaving is None:
            way = "beside those of the pool that stay, these cards never have"
        else:
            way = f"it would fit without {', '.join(map(self._named, leaving))}"
        missing = ", ".join(f"{count} of {self._called(id)}" for id, count in found.missing.items())
        told = f"pool {self.wish.name} has no room for {missing}; {way}"
        free = {self.name(card.id): {self.title(id): capacity.room(card, id) for id in self.counts} for card in cards}
        return NoFit("types", dict(self.wish.types or {}), told, free, [*map(self._leaving, leaving or ())])

    def _named(self, one: Instance) -> str:
        what, held = self._said(one), self._holders(one.id)
        return f"{what}, in use by {holders.named(held)}" if held else what

    def _leaving(self, one: Instance) -> dict[str, Any]:
        return {
            **self._ids(one),
            "type": self.titles.get(one.type),
            "type_id": one.type,
            "pool": self.seen.owners.get(one.id),
            "holders": [each.document() for each in self._holders(one.id)],
        }

    def free(self, card: str) -> dict[str, int]:
        """How many more of each wished type fit on a card now, by its name."""
        there = self.card(card, (), (), {}, False) if card in self.cards else Card(card, {})
        return {self.title(id): capacity.room(there, id) for id in self._wanted}

    def waiting(self) -> dict[str, Any]:
        """What a change still waits for: instances that go once nobody has them, and by type what comes then."""
        if self.wish.state == "absent":
            return {"go": [], "come": {}}
        own = [replace(each, type=self.seen.type_of(each.id)) for each in pool.members_of(self.seen)]
        there, wanted = Counter(each.type for each in own if each.type is not None), Counter(self._wanted)
        surplus = there - wanted
        go = []
        for each in sorted(own, key=lambda one: (not one.held_by, -one.index)):
            if each.type is not None and surplus[each.type] > 0:
                surplus[each.type] -= 1
                go.append(self._name(each))
        return {"go": go, "come": {self.title(id): count for id, count in (wanted - there).items()}}
