# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool of vGPUs of several types: where each goes, and what is in the way where they do not fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ...errors import BadInput, NoFit
from ...host import holders, vgpu_types, vgpus
from ...host.vgpu_types import Type
from ...names import called, device_name
from ...pools import capacity, mixes
from ...pools.capacity import Card, Fit, Instance
from ...pools.members import Change, Member
from ...pools.record import Recorded
from .pool_seen import Observation, counts
from .pool_wish import Wish

# An instance that keeps its function, with where it will stand on its card.
Kept = tuple[Member, Instance]


@dataclass(frozen=True)
class Mix:
    wish: Wish
    seen: Observation

    @cached_property
    def counts(self) -> Mapping[int, int]:
        """How many of each type there are to be, in the order in which they are made; BadInput for an unknown one."""
        told = {name: self._known(name, type) for name, type in self.seen.mix.items()}
        if len({type.id for type in told.values()}) < len(told):
            raise BadInput("types", dict(self.wish.types or {}), "two of these names are of one type")
        wanted = counts(self.wish, self.seen)
        return {id: wanted[id] for id in self._order({type.id for type in told.values()})}

    def free(self, card: str) -> dict[str, int]:
        """How many more of each wished type fit on a card now, by its name."""
        if card not in self.addresses:
            return dict.fromkeys(map(self._name, self.seen.wanted), 0)
        there = self.card(card, (), (), {})
        return {self._name(id): capacity.room(there, id) for id in self.seen.wanted}

    def _known(self, told: str, type: Type | None) -> Type:
        there = {id for card in self.seen.supported.values() for id in card} | self.seen.types.keys()
        if type is None or (self.seen.supported and type.id not in there):
            raise mixes.unknown(told, self.seen.types)
        return type

    def _order(self, ids: Collection[int]) -> list[int]:
        known = {id: type for card in self.seen.supported for id, type in self._types(card).items() if id in ids}
        first = capacity.in_order(known.values())
        return [*first, *sorted({*ids} - {*first})]

    @property
    def waits(self) -> bool:
        return self.wish.in_use == mixes.WAIT

    def places(self, change: Change, ceilings: Mapping[str, int]) -> tuple[Recorded, ...]:
        """Where every instance is to be, the largest first; NoFit where there is no room.

        Those that are only defined keep their functions where there is room on these.
        """
        staying = [each for each in change.stay if each.stays(self.wish.runs)]
        waiting = [each for each in change.stay if not each.stays(self.wish.runs)]
        done = [Recorded(each.index, each.id, each.id, each.type) for each in staying]
        done = [one if self.seen.defined(one.id) else self._standing(one) for one in done]
        if not waiting and not change.new:
            return tuple(self._sorted(done))
        wanted = Counter(each.type for each in waiting if each.type is not None) + Counter(change.types.values())
        cards = self._cards(change, {each.id for each in staying}, ceilings)
        kept = self._kept(cards, waiting)
        pinned = [self._with(card, kept) for card in cards]
        rest = wanted - Counter(one.type for _each, one in kept)
        found = capacity.fit(pinned, rest)
        if found.missing and kept:
            anew = capacity.fit(cards, wanted)
            found, kept = (found, kept) if anew.missing else (anew, [])
        if found.missing and self.wish.state == "inactive":
            empty = [replace(card, carried=_only(card, staying), closed=frozenset(), open={}) for card in cards]
            found, kept = capacity.fit(empty, wanted), []
        if found.missing:
            now = mixes.now(pinned, rest, {each.id for each in change.left}) if self.waits else None
            if now is None:
                raise self._refusal(pinned, rest, found, {each.id for each in (*staying, *(own for own, _one in kept))})
            found = Fit(tuple(now))
        placed = {one.card for one in found.placed if one.place is not None}
        placed |= {self.seen.card_of(one.id) for _each, one in kept if one.place is not None}
        done = [self._standing(one) if self.seen.card_of(one.id) in placed else one for one in done]
        done += [Recorded(each.index, each.id, each.id, each.type, one.place) for each, one in kept]
        ids = {each.id for each, _one in kept}
        moving = [(each.index, each.type) for each in waiting if each.id not in ids]
        done += self._assigned(found, [*moving, *change.types.items()], {one.id for one in done}, change)
        return tuple(self._sorted(done))

    def _sorted(self, placed: Sequence[Recorded]) -> list[Recorded]:
        order = [*self.counts]
        return sorted(placed, key=lambda one: (order.index(one.type) if one.type in order else 0, one.index))

    def _kept(self, cards: Sequence[Card], waiting: Sequence[Member]) -> list[Kept]:
        """Those that can stay on their functions, at their own places where these are free, with where they stand."""
        by_name = {card.id: card for card in cards}
        order = [*self.counts]
        kept: list[Kept] = []
        ranked = sorted(waiting, key=lambda one: order.index(one.type) if one.type in order else len(order))
        for each in sorted(ranked, key=lambda one: self._defined_place(one.id) is None):
            card = by_name.get(self.seen.card_of(each.id))
            if card is not None and each.type is not None and self._is_open(each.id):
                choices, own = capacity.choices(self._with(card, kept), each.type), self._defined_place(each.id)
                if choices:
                    place = own if own in choices else choices[0]
                    kept.append((each, Instance(each.id, each.type, place)))
        return kept

    def _with(self, card: Card, kept: Sequence[Kept]) -> Card:
        return mixes.with_instances(card, [one for _each, one in kept if self.seen.card_of(one.id) == card.id])

    def _defined_place(self, address: str) -> int | None:
        """The place that its definition has for a function, on a card whose places are told."""
        slots = self.seen.slots.get(self.seen.card_of(address))
        return next((each.placement for each in self.seen.defined(address)), None) if slots else None

    def _standing(self, one: Recorded) -> Recorded:
        """An instance that stays on a card on which places are chosen: its own is written down, if it has none yet."""
        known = self._defined_place(one.id)
        return one if known is not None else replace(one, place=self.seen.places.get(one.id))

    def _is_open(self, address: str) -> bool:
        each = self.seen.functions.get(address)
        taken = each is None or each.hindrance is not None or (bool(each.type) and address not in self.seen.active)
        return address in self.seen.usable and not taken and not self.seen.is_anothers(address)

    def _cards(self, change: Change, staying: Collection[str], ceilings: Mapping[str, int]) -> list[Card]:
        gone = {each.id for each in change.go}
        return [self.card(each, gone, staying, ceilings) for each in self.addresses]

    @property
    def addresses(self) -> list[str]:
        cards = dict.fromkeys(map(self.seen.card_of, self.seen.usable))
        return [each for each in cards if (mode := self.seen.modes.get(each)) is None or mode.is_sriov]

    def card(self, address: str, gone: Collection[str], staying: Collection[str], ceilings: Mapping[str, int]) -> Card:
        """A card without what is ``gone``; of those that are ``staying`` some may not run."""
        there = [each for each in self.seen.functions.values() if self.seen.card_of(each.address) == address]
        carried = []
        for each in there:
            type = self._carried(each, gone, staying)
            if type:
                held = self.seen.holders.get(each.address) or self.seen.others.get(each.address)
                place = self.seen.places.get(each.address) if each.type else self._defined_place(each.address)
                carried.append(Instance(each.address, type, place, bool(held)))
        taken = {each.id for each in carried}
        free = [each.address for each in there if each.address not in taken and self._is_open(each.address)]
        most = min(len(free), ceilings.get(address, len(free)))
        types, mode = self._types(address), self.seen.modes.get(address)
        offered = {id for each in there if not each.type for id in each.offers}
        # What goes from the card changes what its functions offer.
        changes = any(each.address in gone for each in there)
        closed = frozenset[int]() if changes else types.keys() - offered
        slots = {} if changes else self.seen.slots.get(address, {})
        places = {id: each.creatable for id, each in slots.items()}
        told = mode.is_shared if mode is not None else None
        heterogeneous = self.seen.is_mixed(address) if told is None else told
        return Card(address, types, tuple(carried), heterogeneous, most, frozenset(closed), places)

    def _carried(self, each: vgpus.Vgpu, gone: Collection[str], staying: Collection[str]) -> int | None:
        if each.address in gone:
            return None
        if each.type:
            return each.type
        if each.address in staying:
            return self.seen.type_of(each.address)
        if self.wish.managed and self.seen.is_anothers(each.address):
            return next((own.type for own in self.seen.defined(each.address) if own.managed), None)
        return None

    def _types(self, card: str) -> dict[int, capacity.Type]:
        told = self.seen.supported.get(card, {})
        # What the record has of the wished ones; of others no more can be wished for.
        known = {id: each.most for id, each in self.seen.wanted.items()}
        functions = sum(self.seen.card_of(each) == card for each in self.seen.functions)
        slots, found = self.seen.slots.get(card, {}), {}
        for id in (*told, *self.seen.types):
            own = told.get(id, Type(id, self.seen.types.get(id, "")))
            framebuffer = own.framebuffer or vgpu_types.framebuffer(own.name)
            if framebuffer is not None and (told == {} or id in told):
                most = own.most if own.most is not None else known.get(id, 0)
                found[id] = capacity.Type(id, framebuffer, functions if most is None else most)
                if id in slots:
                    found[id] = replace(found[id], places=slots[id].supported, extent=slots[id].slots)
        return found

    def _assigned(
        self, found: Fit, wanted: Sequence[tuple[int, int | None]], taken: Collection[str], change: Change
    ) -> Iterator[Recorded]:
        left = {each.id for each in change.left}
        gone = [each.id for each in change.go]
        open_for_more = [each for each in self.seen.usable if self._is_open(each) and each not in left]
        # Those that are free now come before those that become free.
        free: dict[str, list[str]] = {}
        for each in sorted(open_for_more, key=lambda address: address in gone):
            if each not in taken:
                free.setdefault(self.seen.card_of(each), []).append(each)
        indexes: dict[int | None, list[int]] = {}
        for index, type in wanted:
            indexes.setdefault(type, []).append(index)
        for one in found.placed:
            address = free[one.card].pop(0)
            yield Recorded(indexes[one.type].pop(0), address, address, one.type, one.place)

    def _refusal(self, cards: Sequence[Card], rest: Mapping[int, int], found: Fit, own: Collection[str]) -> NoFit:
        free = {card.id: {id: capacity.room(card, id) for id in self.counts} for card in cards}
        leaving = capacity.leaving(cards, rest, own)
        return mixes.no_room(
            self.wish.name,
            self.wish.types or {},
            (f"{count} of {self._called(id)}" for id, count in found.missing.items()),
            {device_name("pci", card): {self._name(id): own[id] for id in own} for card, own in free.items()},
            None if leaving is None else [(self._named(one), self._leaving(one)) for one in leaving],
        )

    def _called(self, id: int) -> str:
        return vgpu_types.called(id, self.seen.types)

    def _name(self, id: int) -> str:
        return self.seen.types.get(id) or str(id)

    def _named(self, one: Instance) -> str:
        what, held = f"{self._called(one.type)} on {called(one.id)}", self._held(one)
        return f"{what}, in use by {holders.named(held)}" if held else what

    def _held(self, one: Instance) -> Sequence[Any]:
        return self.seen.holders.get(one.id) or self.seen.others.get(one.id) or ()

    def _leaving(self, one: Instance) -> dict[str, Any]:
        return {
            "name": device_name("pci", one.id),
            "address": one.id,
            "type": self.seen.types.get(one.type),
            "type_id": one.type,
            "pool": self.seen.owners.get(one.id),
            "holders": [each.document() for each in self._held(one)],
        }


def _only(card: Card, staying: Sequence[Member]) -> tuple[Instance, ...]:
    ids = {each.id for each in staying}
    return tuple(each for each in card.carried if each.id in ids)


def waiting(wish: Wish, seen: Observation, own: Sequence[Member]) -> dict[str, Any]:
    """What a change of a mix still waits for: instances that go once nobody has them, and by type what comes then."""
    if wish.types is None or wish.state == "absent":
        return {"go": [], "come": {}}
    typed = [replace(each, type=seen.type_of(each.id)) for each in own]
    return mixes.waiting(
        typed,
        counts(wish, seen),
        lambda each: device_name("pci", each.id),
        lambda id: seen.types.get(id) or str(id),
    )
