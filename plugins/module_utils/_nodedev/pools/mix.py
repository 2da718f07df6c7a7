# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for a pool of several types, of whatever kind: where each instance goes, and what is in the way of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar

from ..errors import BadInput, NoFit
from ..host import holders, vgpu_types
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


class Cards(Protocol):
    """What a kind gives: the cards that a mix is on, and what its instances are there.

    ``wish`` is filled with what the record has. ``addresses`` are the cards on which instances can be, ``titles`` the
    names of types, ``sizes`` the types as cards tell them, and ``wanted`` how many there are to be of each, as far as
    they are known.
    """

    @property
    def wish(self) -> Wish: ...
    @property
    def seen(self) -> Seen: ...
    @property
    def addresses(self) -> Collection[str]: ...
    @property
    def titles(self) -> Mapping[int, str]: ...
    @property
    def sizes(self) -> Mapping[int, capacity.Type]: ...
    @property
    def wanted(self) -> Mapping[int, int]: ...

    def known(self, told: str, /) -> int:
        """The number of a wished type; BadInput where no card knows it."""

    def card(
        self,
        address: str,
        gone: Collection[str],
        staying: Sequence[Member],
        ceilings: Mapping[str, int],
        leaves: bool,
        /,
    ) -> Card:
        """A card without what is ``gone``, be it that something ``leaves`` it besides; of ``staying`` some may rest."""

    def emptied(self, card: Card, staying: Sequence[Member], /) -> Card:
        """A card with nothing but those that are ``staying``."""

    def name(self, card: str, /) -> str:
        """libvirt's name of a card."""

    def card_of(self, parent: str, /) -> str:
        """The card of a parent."""

    def can_stay(self, parent: str, taken: Collection[str], gone: Collection[str], /) -> bool:
        """Whether a parent can have an instance again that rests on it, beside those on parents that are ``taken``."""

    def free(self, taken: Collection[str], change: Change, /) -> dict[str, list[str]]:
        """By card the parents that take one new instance each, in their order; no card that is a parent itself."""

    def parent(self, member: Member, /) -> str:
        """The parent of an instance."""

    def identity(self, index: int, former: str, /) -> str:
        """The id of an instance that is placed anew, or new; nothing where it is that of its parent."""

    def defined_place(self, id: str, /) -> int | None:
        """The place on its card that an instance's definition has, where places are chosen."""

    def standing(self, one: Recorded, /) -> Recorded:
        """An instance that stays on a card on which places are chosen, with what is to be written down of its own."""

    def holders(self, id: str, /) -> Sequence[Any]:
        """Who has an instance."""

    def told(self, member: Member, /) -> str:
        """The name of an instance in results."""

    def said(self, one: Instance, /) -> str:
        """An instance on a card, in words."""

    def ids(self, one: Instance, /) -> dict[str, Any]:
        """By what an instance on a card is known, as data."""


C = TypeVar("C", bound=Cards)


@dataclass(frozen=True)
class Mix(Generic[C]):
    """What the plan for a pool asks of a mix."""

    cards: C

    def title(self, number: int) -> str:
        """A type's name, or its number."""
        return self.cards.titles.get(number) or str(number)

    @property
    def waits(self) -> bool:
        return self.cards.wish.in_use == mixes.WAIT

    @cached_property
    def counts(self) -> Mapping[int, int]:
        """How many of each type there are to be, in the order in which they are made; BadInput for an unknown one."""
        numbers = [self.cards.known(told) for told in self.cards.seen.mix]
        if len({*numbers}) < len(numbers):
            raise BadInput("types", dict(self.cards.wish.types or {}), "two of these names are of one type")
        first = capacity.in_order(type for id, type in self.cards.sizes.items() if id in numbers)
        return {id: self.cards.wanted.get(id, 0) for id in (*first, *sorted({*numbers} - {*first}))}

    def places(self, change: Change, ceilings: Mapping[str, int]) -> tuple[Recorded, ...]:
        """Where every instance is to be, the largest first; NoFit where there is no room.

        Those that are only defined keep their parents where there is room on these.
        """
        staying = [each for each in change.stay if each.stays(self.cards.wish.runs)]
        waiting = [each for each in change.stay if not each.stays(self.cards.wish.runs)]
        done = [Recorded(each.index, each.id, self.cards.parent(each), each.type) for each in staying]
        done = [one if self.cards.seen.defined(one.id) else self.cards.standing(one) for one in done]
        if not waiting and not change.new:
            return self._sorted(done)
        wanted = Counter(each.type for each in waiting if each.type is not None) + Counter(change.types.values())
        gone = {each.id for each in change.go}
        cards = [self.cards.card(each, gone, staying, ceilings, False) for each in self.cards.addresses]
        kept = keeping = self._kept(cards, waiting, {self.cards.parent(each) for each in staying}, gone)
        pinned = [self._with(card, keeping) for card in cards]
        rest = wanted - Counter(one.type for _each, one in keeping)
        found = capacity.fit(pinned, rest)
        if found.missing and kept:
            anew = capacity.fit(cards, wanted)
            found, kept = (found, kept) if anew.missing else (anew, [])
        if found.missing and self.cards.wish.state == "inactive":
            found, kept = capacity.fit([self.cards.emptied(card, staying) for card in cards], wanted), []
        if found.missing:
            # As they are where something leaves them, be it later.
            loose = [
                self._with(self.cards.card(each, gone, staying, ceilings, True), keeping)
                for each in self.cards.addresses
            ]
            now = mixes.now(loose, rest, {each.id for each in change.left}) if self.waits else None
            if now is None:
                own = {each.id for each in (*staying, *(each for each, _one in kept))}
                raise self._refusal(found, pinned, capacity.leaving(loose, rest, own))
            found = Fit(tuple(now))
        placed = {one.card for one in found.placed if one.place is not None}
        placed |= {self.cards.card_of(self.cards.parent(each)) for each, one in kept if one.place is not None}
        done = [self.cards.standing(one) if self.cards.card_of(one.parent) in placed else one for one in done]
        done += [Recorded(each.index, each.id, self.cards.parent(each), each.type, one.place) for each, one in kept]
        ids = {each.id for each, _one in kept}
        rested = [each for each in waiting if each.id not in ids]
        moving = [(each.index, self.cards.identity(each.index, each.id), each.type) for each in rested]
        new = [(index, self.cards.identity(index, ""), type) for index, type in change.types.items()]
        done += self._assigned(found, [*moving, *new], self.cards.free({one.parent for one in done}, change))
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
        for each in sorted(ranked, key=lambda one: self.cards.defined_place(one.id) is None):
            parent = self.cards.parent(each)
            card = by_name.get(self.cards.card_of(parent))
            beside = {*taken, *(self.cards.parent(one) for one, _there in kept)}
            if card is not None and each.type is not None and self.cards.can_stay(parent, beside, gone):
                choices, own = capacity.choices(self._with(card, kept), each.type), self.cards.defined_place(each.id)
                if choices:
                    kept.append((each, Instance(each.id, each.type, own if own in choices else choices[0])))
        return kept

    def _with(self, card: Card, kept: Sequence[Kept]) -> Card:
        own = [one for each, one in kept if self.cards.card_of(self.cards.parent(each)) == card.id]
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
        titles = self.cards.titles
        missing = ", ".join(f"{count} of {vgpu_types.called(id, titles)}" for id, count in found.missing.items())
        told = f"pool {self.cards.wish.name} has no room for {missing}; {way}"
        free = {}
        for card in cards:
            free[self.cards.name(card.id)] = {self.title(id): capacity.room(card, id) for id in self.counts}
        return NoFit("types", dict(self.cards.wish.types or {}), told, free, [*map(self._leaving, leaving or ())])

    def _named(self, one: Instance) -> str:
        what, held = self.cards.said(one), self.cards.holders(one.id)
        return f"{what}, in use by {holders.named(held)}" if held else what

    def _leaving(self, one: Instance) -> dict[str, Any]:
        return {
            **self.cards.ids(one),
            "type": self.cards.titles.get(one.type),
            "type_id": one.type,
            "pool": self.cards.seen.owners.get(one.id),
            "holders": [each.document() for each in self.cards.holders(one.id)],
        }

    def free(self, card: str) -> dict[str, int]:
        """How many more of each wished type fit on a card now, by its name."""
        there = self.cards.card(card, (), (), {}, False) if card in self.cards.addresses else Card(card, {})
        return {self.title(id): capacity.room(there, id) for id in self.cards.wanted}

    def waiting(self) -> dict[str, Any]:
        """What a change still waits for: instances that go once nobody has them, and by type what comes then."""
        if self.cards.wish.state == "absent":
            return {"go": [], "come": {}}
        own = [replace(each, type=self.cards.seen.type_of(each.id)) for each in pool.members_of(self.cards.seen)]
        there, wanted = Counter(each.type for each in own if each.type is not None), Counter(self.cards.wanted)
        surplus = there - wanted
        go = []
        for each in sorted(own, key=lambda one: (not one.held_by, -one.index)):
            if each.type is not None and surplus[each.type] > 0:
                surplus[each.type] -= 1
                go.append(self.cards.told(each))
        return {"go": go, "come": {self.title(id): count for id, count in (wanted - there).items()}}
