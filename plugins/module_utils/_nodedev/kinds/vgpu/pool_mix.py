# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool of vGPUs of several types: where each goes, and what is in the way where they do not fit."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...host import vgpu_types, vgpus
from ...host.vgpu_types import Type
from ...names import called, device_name
from ...pools import capacity, mixes
from ...pools.capacity import Card, Instance
from ...pools.members import Change, Member
from ...pools.record import Recorded
from .pool_seen import Observation, counts
from .pool_wish import Wish


@dataclass(frozen=True)
class Cards:
    """The cards as a mix of vGPUs sees them, of which each is the function that it is on."""

    wish: Wish
    seen: Observation

    @property
    def titles(self) -> Mapping[int, str]:
        return self.seen.types

    @property
    def wanted(self) -> Mapping[int, int]:
        return counts(self.wish, self.seen)

    def known(self, told: str) -> int:
        type = self.seen.mix[told]
        there = {id for card in self.seen.supported.values() for id in card} | self.seen.types.keys()
        if type is None or (self.seen.supported and type.id not in there):
            raise mixes.unknown(told, self.seen.types)
        return type.id

    @property
    def sizes(self) -> Mapping[int, capacity.Type]:
        return {id: type for card in self.seen.supported for id, type in self._types(card).items()}

    def emptied(self, card: Card, staying: Sequence[Member]) -> Card:
        ids = {each.id for each in staying}
        own = tuple(each for each in card.carried if each.id in ids)
        return replace(card, carried=own, closed=frozenset(), open={})

    def card_of(self, parent: str) -> str:
        return self.seen.card_of(parent)

    def parent(self, member: Member) -> str:
        return member.id

    def identity(self, index: int, former: str) -> str:
        return ""

    def can_stay(self, parent: str, taken: Collection[str], gone: Collection[str]) -> bool:
        return self._is_open(parent)

    def defined_place(self, address: str) -> int | None:
        """The place that its definition has for a function, on a card whose places are told."""
        slots = self.seen.slots.get(self.seen.card_of(address))
        return next((each.placement for each in self.seen.defined(address)), None) if slots else None

    def standing(self, one: Recorded) -> Recorded:
        """An instance that stays on a card on which places are chosen: its own is written down, if it has none yet."""
        known = self.defined_place(one.id)
        return one if known is not None else replace(one, place=self.seen.places.get(one.id))

    def _is_open(self, address: str) -> bool:
        each = self.seen.functions.get(address)
        taken = each is None or each.hindrance is not None or (bool(each.type) and address not in self.seen.active)
        return address in self.seen.usable and not taken and not self.seen.is_anothers(address)

    @property
    def addresses(self) -> list[str]:
        cards = dict.fromkeys(map(self.seen.card_of, self.seen.usable))
        return [each for each in cards if (mode := self.seen.modes.get(each)) is None or mode.is_sriov]

    def card(
        self, address: str, gone: Collection[str], staying: Sequence[Member], ceilings: Mapping[str, int], leaves: bool
    ) -> Card:
        """A card without what is ``gone``, whatever ``leaves`` it later; of ``staying`` some may not run."""
        ids = {each.id for each in staying}
        there = [each for each in self.seen.functions.values() if self.seen.card_of(each.address) == address]
        carried = []
        for each in there:
            type = self._carried(each, gone, ids)
            if type:
                place = self.seen.places.get(each.address) if each.type else self.defined_place(each.address)
                carried.append(Instance(each.address, type, place, bool(self.holders(each.address))))
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

    def free(self, taken: Collection[str], change: Change) -> dict[str, list[str]]:
        left, gone = {each.id for each in change.left}, {each.id for each in change.go}
        rested = [each for each in self.seen.usable if self._is_open(each) and each not in left and each not in taken]
        # Those that are free now come before those that become free.
        free: dict[str, list[str]] = {}
        for each in sorted(rested, key=lambda address: address in gone):
            free.setdefault(self.seen.card_of(each), []).append(each)
        return free

    def holders(self, id: str) -> Sequence[Any]:
        return self.seen.holders.get(id) or self.seen.others.get(id) or ()

    def name(self, card: str) -> str:
        return device_name("pci", card)

    def told(self, member: Member) -> str:
        return device_name("pci", member.id)

    def said(self, one: Instance) -> str:
        return f"{vgpu_types.called(one.type, self.titles)} on {called(one.id)}"

    def ids(self, one: Instance) -> dict[str, Any]:
        return {"name": device_name("pci", one.id), "address": one.id}
