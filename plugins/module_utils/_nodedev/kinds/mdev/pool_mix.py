# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool of mediated devices of several types: where each goes, and what is in the way where they do not fit.

Types are known by their numbers, nvidia-232 by 232. A card's parents are its virtual functions, of which each takes one
instance, or the card itself, which takes what its memory has room for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ...errors import NodedevError
from ...host import holders, machine, nvidia_smi, vgpu_types
from ...host.machine import pool_uuid
from ...host.oddities import Oddities
from ...host.vgpu_types import Type
from ...names import called, device_name, mdev_name
from ...pools import capacity, mixes, pool
from ...pools.capacity import Card, Instance
from ...pools.members import Change, Member
from ...pools.pool import members_of
from ...pools.record import Recorded
from .parents import Parent
from .pool_seen import Observation
from .pool_wish import Wish


def observed(wish: Wish, seen: Observation) -> Observation:
    """What a mix touches besides: its types, and where it changes the cards' modes and who uses what is on them."""
    if wish.types is None:
        return seen
    names = titles(seen)
    found = {told: _number(told, wish.known_types.get(told), names) for told in wish.types}
    seen = replace(seen, mix=found)
    if wish.state == "absent":
        return seen
    own = [member.id for member in members_of(seen)]
    there = [uuid for uuid in own if uuid in seen.active or (not wish.runs and seen.defined(uuid))]
    wanted = counts(wish, seen)
    types = Counter(map(seen.type_of, there))
    if types == wanted and None not in found.values():
        return seen
    oddities = Oddities()
    modes = oddities.attempt(nvidia_smi.modes) if seen.choice.parents and nvidia_smi.is_installed() else None
    choice = replace(seen.choice, oddities=(*seen.choice.oddities, *oddities.warnings))
    return replace(seen, choice=choice, modes=modes or {}, holders=_held(seen, own, bool(types - wanted)))


def titles(seen: Observation) -> dict[int, str]:
    """The names of all types that parents offer, by their numbers."""
    found = ((vgpu_types.number(each.type), each.title) for each in seen.choice.parents)
    return {number: title or "" for number, title in found if number is not None}


def _number(told: str, known: Type | None, names: Mapping[int, str]) -> int | None:
    ids = [known.id] if known is not None else vgpu_types.matching(told, names)
    return ids[0] if ids else None


def counts(wish: Wish, seen: Observation) -> Counter[int | None]:
    """How many of each type a mix is to have, as far as its types are known."""
    found = ((number, (wish.types or {}).get(told, 0)) for told, number in seen.mix.items())
    return Counter({number: count for number, count in found if number is not None and count})


def _held(seen: Observation, own: Sequence[str], stops: bool) -> dict[str, Any]:
    """Who has what is on the cards in question; of own ones, nodes are opened where some are to be removed."""
    cards = {each.card for each in seen.choice.parents}
    mine = {uuid: seen.active[uuid].nodes for uuid in own if uuid in seen.active}
    others = {
        uuid: each.nodes
        for uuid, each in seen.active.items()
        if uuid not in mine and seen.cards.get(each.parent) in cards
    }
    found = {**holders.of_each(others, probe=False)}
    held = holders.of_each(mine, probe=True) if stops else {}
    # What was seen before the types were known has those that are about to have guests.
    return {**found, **{uuid: held.get(uuid) or seen.holders.get(uuid, ()) for uuid in mine}}


@dataclass(frozen=True)
class Cards:
    """The cards as a mix of mediated devices sees them; which these are follows from the pool's name."""

    wish: Wish
    seen: Observation

    @property
    def wanted(self) -> Mapping[int, int]:
        told = self.wish.types or {}
        return {number: told.get(each, 0) for each, number in self.seen.mix.items() if number is not None}

    def known(self, told: str) -> int:
        number, offered = self.seen.mix[told], titles(self.seen)
        if number is None or (offered and number not in offered and (self.wish.types or {})[told]):
            raise mixes.unknown(told, offered)
        return number

    @property
    def sizes(self) -> Mapping[int, capacity.Type]:
        return {id: type for card in self.addresses for id, type in self._types(card).items()}

    @cached_property
    def titles(self) -> Mapping[int, str]:
        """The names of types that parents offer, and of those that the record has."""
        recorded = {type.id: type.name for type in self.wish.known_types.values()}
        return {**recorded, **titles(self.seen)}

    @property
    def filled(self) -> Wish:
        """The wish with what is known of its types."""
        found = {told: Type(id, self.titles.get(id, "")) for told, id in self.seen.mix.items() if id is not None}
        return replace(self.wish, known_types=found)

    @cached_property
    def addresses(self) -> list[str]:
        """The cards of the chosen parents."""
        return [*dict.fromkeys(each.card for each in self.seen.choice.parents)]

    @cached_property
    def _by_card(self) -> dict[str, dict[str, dict[int, Parent]]]:
        """By card and parent the types that it offers."""
        found: dict[str, dict[str, dict[int, Parent]]] = {}
        for each in self.seen.choice.parents:
            found.setdefault(each.card, {}).setdefault(each.address, {})[vgpu_types.number(each.type) or 0] = each
        return found

    def _is_whole(self, card: str) -> bool:
        return card in self._by_card[card]

    def refuse_outside(self, stay: Sequence[Member]) -> None:
        """Raise NodedevError for an instance that runs on a parent that is not chosen."""
        chosen = {each.address for each in self.seen.choice.parents}
        for member in stay:
            if member.active and member.parent not in chosen:
                raise NodedevError(
                    f"pool {self.wish.name} has mdev {member.id} on {called(str(member.parent))}, which is not among"
                    " the parents that are chosen: choose it too, or remove the pool first with state: absent"
                )

    def emptied(self, card: Card, staying: Sequence[Member]) -> Card:
        others = self._there.keys() - {each.id for each in staying}
        return replace(self.card(card.id, others, staying, {}, True), closed=frozenset())

    def identity(self, index: int, former: str) -> str:
        return former or pool_uuid(machine.needed_id(self.seen.machine), self.wish.name, index)

    def can_stay(self, parent: str, taken: Collection[str], gone: Collection[str]) -> bool:
        card = self.card_of(parent)
        if parent not in self._by_card[card]:
            return False
        return self._is_whole(card) or (parent not in taken and self._is_open(parent, gone))

    def _is_open(self, parent: str, gone: Collection[str]) -> bool:
        """Whether nothing is on a virtual function but what goes."""
        return self._on_parents.get(parent, set()).issubset(gone)

    @cached_property
    def _on_parents(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for uuid, each in self._there.items():
            found.setdefault(each.parent, set()).add(uuid)
        return found

    @cached_property
    def _there(self) -> dict[str, Any]:
        """By UUID what runs, and what is promised to guests of others where room is kept for those of the pool."""
        return {**self._promised, **self.seen.active}

    @cached_property
    def _promised(self) -> dict[str, Any]:
        if not pool.is_lent(self.wish):
            return {}
        idle = self.seen.definitions.keys() - {member.id for member in members_of(self.seen)}
        return {each.uuid: each for uuid in idle for each in self.seen.defined(uuid) if each.managed}

    def card(
        self, address: str, gone: Collection[str], staying: Sequence[Member], ceilings: Mapping[str, int], leaves: bool
    ) -> Card:
        """A card without what is ``gone``; of those that are ``staying`` some may not run.

        Where nothing ``leaves`` it besides, it takes no more than what its parents say is free.
        """
        parents = self._by_card[address]
        carried, resting = self._carried(address, gone, staying)
        there = [*carried, *resting]
        types = self._types(address)
        free = {number: sum(own[number].free for own in parents.values() if number in own) for number in types}
        functions: int | None = None
        if not self._is_whole(address):
            taken = {str(each.parent) for each in staying}
            functions = sum(self._is_open(each, gone) and each not in taken for each in parents)
        closed = frozenset[int]()
        heterogeneous = self.is_heterogeneous(address)
        is_left = any(uuid in gone and self.card_of(each.parent) == address for uuid, each in self.seen.active.items())
        if not is_left:
            closed = frozenset(number for number, count in free.items() if not count)
        if not is_left and not leaves and not heterogeneous:
            # Those that are only defined have no room yet of what is free.
            most = {number: min(type.most, len(carried) + free[number]) for number, type in types.items()}
            types = {number: replace(type, most=most[number]) for number, type in types.items()}
        elif not is_left and not leaves and functions is None:
            wished = [free[number] for number in counts(self.wish, self.seen) if number in free]
            functions = max(max(wished, default=0) - len(resting), 0)
        if address in ceilings:
            functions = ceilings[address] if functions is None else min(functions, ceilings[address])
        return Card(address, types, tuple(there), heterogeneous, functions, closed)

    def _carried(
        self, address: str, gone: Collection[str], staying: Sequence[Member]
    ) -> tuple[list[Instance], list[Instance]]:
        """What runs on a card, and what else has its place there."""
        carried: list[Instance] = []
        resting: list[Instance] = []
        for uuid, each in self._there.items():
            if uuid in gone or self.card_of(each.parent) != address:
                continue
            instance = Instance(uuid, vgpu_types.number(each.type) or 0, None, bool(self.seen.holders.get(uuid)))
            (carried if uuid in self.seen.active else resting).append(instance)
        for member in staying:
            if not member.active and self.seen.cards.get(member.parent or "") == address:
                resting.append(Instance(member.id, member.type or 0))
        return carried, resting

    def card_of(self, parent: str) -> str:
        return self.seen.cards.get(parent, parent)

    def is_heterogeneous(self, address: str) -> bool:
        """Whether a card takes several framebuffers: its tool says so, or it offers others than it carries."""
        mode = self.seen.modes.get(address)
        told = mode.is_shared if mode is not None else None
        if told is not None:
            return told
        types = self._types(address)
        carried = {types[number].framebuffer for number in _on(self.seen, address).values() if number in types}
        offered = {
            types[number].framebuffer
            for own in self._by_card[address].values()
            for number, parent in own.items()
            if number in types and parent.free
        }
        return len(carried) > 1 or (bool(carried) and bool(offered - carried))

    def _types(self, address: str) -> dict[int, capacity.Type]:
        """The types of a card; how many it takes follows from its memory where they do not tell."""
        there: dict[int, Parent] = {}
        room = Counter(_on(self.seen, address).values())
        for own in self._by_card[address].values():
            for number, parent in own.items():
                there.setdefault(number, parent)
                room[number] += parent.free
        sizes = {number: each.framebuffer for number, each in there.items() if each.framebuffer}
        told = max(((there[number].most or 0) * size for number, size in sizes.items()), default=0)
        memory = told or max((room[number] * size for number, size in sizes.items()), default=0)
        found = {}
        for number, size in sizes.items():
            most = there[number].most
            found[number] = capacity.Type(number, size, memory // size if most is None else most)
        return found

    def free(self, taken: Collection[str], change: Change) -> dict[str, list[str]]:
        gone = {each.id for each in change.go}
        free: dict[str, list[str]] = {}
        for card in self.addresses:
            if not self._is_whole(card):
                rested = [each for each in self._by_card[card] if each not in taken]
                # Those that are free now come before those that become free, and those that others have come last.
                order = {each: (not self._is_open(each, gone), not self._is_open(each, ())) for each in rested}
                free[card] = sorted(rested, key=lambda each: order[each])
        return free

    def name(self, card: str) -> str:
        """libvirt's name of a card."""
        own = self._by_card[card].get(card)
        return next(iter(own.values())).name if own else device_name("pci", card)

    def then(self, after: Observation) -> Observation:
        """The host with the room that is left on those cards that carry something else than before."""
        changed = {card for card in self.addresses if _on(self.seen, card) != _on(after, card)}
        several = {card: self.is_heterogeneous(card) for card in changed}
        later = Cards(self.wish, after)
        parents = []
        for each in after.choice.parents:
            if each.card in changed:
                there = [Instance(uuid, number or 0) for uuid, number in _on(after, each.card).items()]
                card = Card(each.card, self._types(each.card), tuple(there), several[each.card])
                room = capacity.room(card, vgpu_types.number(each.type) or 0)
                if each.address != each.card:
                    room = min(room, int(later._is_open(each.address, ())))
                each = replace(each, free=room)
            parents.append(each)
        return replace(after, choice=replace(after.choice, parents=tuple(parents)))

    def parent(self, member: Member) -> str:
        return member.parent or ""

    def defined_place(self, id: str) -> int | None:
        return None

    def standing(self, one: Recorded) -> Recorded:
        return one

    def holders(self, id: str) -> Sequence[Any]:
        return self.seen.holders.get(id, ())

    def told(self, member: Member) -> str:
        return mdev_name(member.id, member.parent or "")

    def said(self, one: Instance) -> str:
        what = vgpu_types.called(one.type, self.titles)
        return f"mdev {one.id} of type {what} on {called(self._there[one.id].parent)}"

    def ids(self, one: Instance) -> dict[str, Any]:
        return {"name": mdev_name(one.id, self._there[one.id].parent), "uuid": one.id, "address": None}


def _on(seen: Observation, card: str) -> dict[str, int | None]:
    """The numbers of the types of what runs on a card, by UUID."""
    return {
        uuid: vgpu_types.number(each.type)
        for uuid, each in seen.active.items()
        if seen.cards.get(each.parent, each.parent) == card
    }
