# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool of mediated devices of several types: where each goes, and what is in the way where they do not fit.

Types are known by their numbers, nvidia-232 by 232. A card's parents are its virtual functions, of which each takes one
instance, or the card itself, which takes what its memory has room for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ...errors import BadInput, NodedevError, NoFit
from ...host import holders, machine, nvidia_smi, vgpu_types
from ...host.machine import pool_uuid
from ...host.oddities import Oddities
from ...host.vgpu_types import Type
from ...names import called, device_name, mdev_name
from ...pools import capacity, mixes, pool
from ...pools.capacity import Card, Fit, Instance
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
    mix = {told: _number(told, wish.known_types.get(told), names) for told in wish.types}
    seen = replace(seen, mix=mix)
    if wish.state == "absent":
        return seen
    own = [member.id for member in members_of(seen)]
    there = [uuid for uuid in own if uuid in seen.active or (not wish.runs and seen.defined(uuid))]
    wanted = counts(wish, seen)
    types = Counter(map(seen.type_of, there))
    if types == wanted and None not in mix.values():
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
class Mix:
    """What the plan for a pool asks of a mix; ``wish`` is filled with what the record has."""

    wish: Wish
    seen: Observation

    @cached_property
    def counts(self) -> Mapping[int, int]:
        """How many of each type there are to be, in the order in which they are made; BadInput for an unknown one."""
        numbers = [self._known(told, number) for told, number in self.seen.mix.items()]
        if len({*numbers}) < len(numbers):
            raise BadInput("types", dict(self.wish.types or {}), "two of these names are of one type")
        wanted = counts(self.wish, self.seen)
        return {number: wanted[number] for number in self._order(numbers)}

    def _known(self, told: str, number: int | None) -> int:
        offered = titles(self.seen)
        if number is None or (offered and number not in offered and (self.wish.types or {})[told]):
            raise mixes.unknown(told, offered)
        return number

    def _order(self, numbers: Collection[int]) -> list[int]:
        known = {id: type for card in self.cards for id, type in self._types(card).items() if id in numbers}
        first = capacity.in_order(known.values())
        return [*first, *sorted({*numbers} - {*first})]

    @cached_property
    def _titles(self) -> dict[int, str]:
        """The names of types that parents offer, and of those that the record has."""
        recorded = {type.id: type.name for type in self.wish.known_types.values()}
        return {**recorded, **titles(self.seen)}

    @property
    def waits(self) -> bool:
        return self.wish.in_use == mixes.WAIT

    @property
    def known(self) -> Wish:
        """The wish with what is known of its types."""
        found = {told: Type(id, self._titles.get(id, "")) for told, id in self.seen.mix.items() if id is not None}
        return replace(self.wish, known_types=found)

    @cached_property
    def cards(self) -> list[str]:
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

    def places(self, change: Change, ceilings: Mapping[str, int]) -> tuple[Recorded, ...]:
        """Where every instance is to be, the largest first; NoFit where there is no room.

        Those that are only defined keep their parents where there is room on these.
        """
        staying = [each for each in change.stay if each.stays(self.wish.runs)]
        waiting = [each for each in change.stay if not each.stays(self.wish.runs)]
        done = [Recorded(each.index, each.id, str(each.parent), each.type) for each in staying]
        if not waiting and not change.new:
            return tuple(self._sorted(done))
        wanted = Counter(each.type for each in waiting if each.type is not None) + Counter(change.types.values())
        gone = {each.id for each in change.go}
        cards = [self.card(each, gone, staying, ceilings) for each in self.cards]
        # As they are where something leaves them, be it later.
        loose = [self.card(each, gone, staying, ceilings, leaves=True) for each in self.cards]
        kept = self._kept(cards, waiting, gone, staying)
        pinned, loose = ([self._with(card, kept) for card in every] for every in (cards, loose))
        rest = wanted - Counter(each.type for each in kept if each.type is not None)
        found = capacity.fit(pinned, rest)
        if found.missing and kept:
            anew = capacity.fit(cards, wanted)
            found, kept = (found, kept) if anew.missing else (anew, [])
        if found.missing and self.wish.state == "inactive":
            others = self._there.keys() - {each.id for each in staying}
            emptied = (self.card(each, others, staying, {}, leaves=True) for each in self.cards)
            found, kept = capacity.fit([replace(each, closed=frozenset()) for each in emptied], wanted), []
        if found.missing:
            now = mixes.now(loose, rest, {each.id for each in change.left}) if self.waits else None
            if now is None:
                free = {card.id: {id: capacity.room(card, id) for id in self.counts} for card in pinned}
                own = {each.id for each in (*staying, *kept)}
                raise self._refusal(found, free, capacity.leaving(loose, rest, own))
            found = Fit(tuple(now))
        done += [Recorded(each.index, each.id, str(each.parent), each.type) for each in kept]
        ids = {each.id for each in kept}
        moving = [(each.index, each.id, each.type) for each in waiting if each.id not in ids]
        new = [(index, self._identity(index), type) for index, type in change.types.items()]
        done += self._assigned(found, [*moving, *new], {one.parent for one in done}, change)
        return tuple(self._sorted(done))

    def _identity(self, index: int) -> str:
        return pool_uuid(machine.needed_id(self.seen.machine), self.wish.name, index)

    def _sorted(self, placed: Sequence[Recorded]) -> list[Recorded]:
        order = [*self.counts]
        return sorted(placed, key=lambda one: (order.index(one.type) if one.type in order else 0, one.index))

    def _kept(
        self, cards: Sequence[Card], waiting: Sequence[Member], gone: Collection[str], staying: Sequence[Member]
    ) -> list[Member]:
        by_name = {card.id: card for card in cards}
        order = [*self.counts]
        kept: list[Member] = []
        for each in sorted(waiting, key=lambda one: order.index(one.type) if one.type in order else len(order)):
            parent = each.parent or ""
            card = by_name.get(self.seen.cards.get(parent, ""))
            if card is None or each.type is None or parent not in self._by_card[card.id]:
                continue
            taken = {str(one.parent) for one in (*kept, *staying)}
            if not self._is_whole(card.id) and (parent in taken or not self._is_open(parent, gone)):
                continue
            if capacity.room(self._with(card, kept), each.type):
                kept.append(each)
        return kept

    def _with(self, card: Card, kept: Sequence[Member]) -> Card:
        own = [one for one in kept if self.seen.cards.get(one.parent or "") == card.id]
        return mixes.with_instances(card, [Instance(one.id, one.type or 0) for one in own])

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
        self,
        address: str,
        gone: Collection[str],
        staying: Sequence[Member],
        ceilings: Mapping[str, int],
        leaves: bool = False,
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
        is_left = any(uuid in gone and self._card_of(each) == address for uuid, each in self.seen.active.items())
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
            if uuid in gone or self._card_of(each) != address:
                continue
            instance = Instance(uuid, vgpu_types.number(each.type) or 0, None, bool(self.seen.holders.get(uuid)))
            (carried if uuid in self.seen.active else resting).append(instance)
        for member in staying:
            if not member.active and self.seen.cards.get(member.parent or "") == address:
                resting.append(Instance(member.id, member.type or 0))
        return carried, resting

    def _card_of(self, each: Any) -> str:
        return self.seen.cards.get(each.parent, each.parent)

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

    def _assigned(
        self, found: Fit, wanted: Sequence[tuple[int, str, int | None]], taken: Collection[str], change: Change
    ) -> Iterator[Recorded]:
        gone = {each.id for each in change.go}
        free: dict[str, list[str]] = {}
        for card in self.cards:
            if not self._is_whole(card):
                rested = [each for each in self._by_card[card] if each not in taken]
                # Those that are free now come before those that become free, and those that others have come last.
                order = {each: (not self._is_open(each, gone), not self._is_open(each, ())) for each in rested}
                free[card] = sorted(rested, key=lambda each: order[each])
        left: dict[int | None, list[tuple[int, str]]] = {}
        for index, uuid, type in wanted:
            left.setdefault(type, []).append((index, uuid))
        for one in found.placed:
            index, uuid = left[one.type].pop(0)
            yield Recorded(index, uuid, free[one.card].pop(0) if one.card in free else one.card, one.type)

    def name(self, card: str) -> str:
        """libvirt's name of a card."""
        own = self._by_card[card].get(card)
        return next(iter(own.values())).name if own else device_name("pci", card)

    def free(self, address: str) -> dict[str, int]:
        """How many more of each wished type fit on a card now, by its name."""
        card = self.card(address, (), (), {})
        return {self.title(number): capacity.room(card, number) for number in self.seen.mix.values() if number}

    def title(self, number: int) -> str:
        """A type's name, or its number."""
        return self._titles.get(number) or str(number)

    def waiting(self) -> dict[str, Any]:
        """What a change still waits for, as mixes.waiting() has it."""
        if self.wish.state == "absent":
            return {"go": [], "come": {}}
        own = [replace(each, type=self.seen.type_of(each.id)) for each in members_of(self.seen)]
        wanted = {number: count for number, count in counts(self.wish, self.seen).items() if number is not None}
        return mixes.waiting(own, wanted, lambda each: mdev_name(each.id, each.parent or ""), self.title)

    def then(self, after: Observation) -> Observation:
        """The host with the room that is left on those cards that carry something else than before."""
        changed = {card for card in self.cards if _on(self.seen, card) != _on(after, card)}
        several = {card: self.is_heterogeneous(card) for card in changed}
        later = Mix(self.wish, after)
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

    def _refusal(self, found: Fit, free: Mapping[str, Mapping[int, int]], leaving: Sequence[Instance] | None) -> NoFit:
        return mixes.no_room(
            self.wish.name,
            self.wish.types or {},
            (f"{count} of {self._called(id)}" for id, count in found.missing.items()),
            {self.name(card): {self.title(id): room for id, room in each.items()} for card, each in free.items()},
            None if leaving is None else [(self._named(one), self._leaving(one)) for one in leaving],
        )

    def _called(self, number: int) -> str:
        return vgpu_types.called(number, self._titles)

    def _named(self, one: Instance) -> str:
        parent, held = self._there[one.id].parent, self.seen.holders.get(one.id, ())
        what = f"mdev {one.id} of type {self._called(one.type)} on {called(parent)}"
        return f"{what}, in use by {holders.named(held)}" if held else what

    def _leaving(self, one: Instance) -> dict[str, Any]:
        return {
            "name": mdev_name(one.id, self._there[one.id].parent),
            "uuid": one.id,
            "address": None,
            "type": self._titles.get(one.type),
            "type_id": one.type,
            "pool": self.seen.owners.get(one.id),
            "holders": [each.document() for each in self.seen.holders.get(one.id, ())],
        }


def _on(seen: Observation, card: str) -> dict[str, int | None]:
    """The numbers of the types of what runs on a card, by UUID."""
    return {
        uuid: vgpu_types.number(each.type)
        for uuid, each in seen.active.items()
        if seen.cards.get(each.parent, each.parent) == card
    }
