# SPDX-License-Identifier: GPL-3.0-or-later
"""What is there of a pool of vGPUs: its record, its instances, the functions that it may use, and who uses what."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ...errors import NodedevError
from ...host import (
    holders,
    mdev_parents,
    nvidia_smi,
    nvml,
    pci,
    starting,
    sysfs,
    vfio,
    vgpu_readiness,
    vgpu_types,
    vgpus,
)
from ...host.nvml import Places
from ...host.oddities import Oddities
from ...host.processes import Holder
from ...host.vgpu_cards import Mode
from ...host.vgpu_types import Type
from ...host.vgpus import Vgpu
from ...pools import capacity, members, record, selector
from ...pools.capacity import Instance
from ...pools.record import Record
from ...pools.selector import Chosen, Selector
from ...store.files import DamagedDefinition
from ...waiting import left, wait_for
from .definition import DOCUMENTS, HIGHEST_PLACEMENT, KIND, Definition
from .pool_wish import Wish, kept


@dataclass(frozen=True)
class Running:
    """An instance that runs."""

    address: str
    type: int
    title: str | None = None
    params: str | None = None

    @property
    def parent(self) -> str:
        return self.address

    def document(self) -> dict[str, Any]:
        """It as a diff shows it."""
        found = {"type": self.type, "title": self.title, "params": self.params or None}
        return {key: value for key, value in found.items() if value is not None}


@dataclass(frozen=True)
class Observation:
    """The parts of the host that a wish touches.

    ``functions`` are by address all of the cards in question, ``usable`` those of them that the wish chooses. ``type``
    is the wished one, None where no card tells of it, in a mix ``mix`` has those by how they were told, and ``types``
    are the names of all that were met. ``active`` are
    the pool's instances that run, and have the type that is recorded of them; ``owners`` the other pools by their
    instances. Where something may change, ``modes`` are by card, ``untold`` says why they are not known, and
    ``supported`` are by card all types that it knows. ``instead`` is what is there where no function is a vGPU's.
    Where a mix changes, ``slots`` are the places of types on heterogeneous cards that tell them, and ``places`` where
    the vGPUs there are; of instances that are not defined they are known always.
    """

    record: Record | None
    functions: Mapping[str, Vgpu]
    usable: tuple[str, ...]
    chosen: Chosen
    type: Type | None
    types: Mapping[int, str]
    active: Mapping[str, Running]
    definitions: Mapping[str, tuple[Definition, ...]]
    damaged: tuple[DamagedDefinition, ...] = ()
    owners: Mapping[str, str] = field(default_factory=dict)
    holders: Mapping[str, tuple[Holder, ...]] = field(default_factory=dict)
    modes: Mapping[str, Mode] = field(default_factory=dict)
    untold: NodedevError | None = None
    supported: Mapping[str, Mapping[int, Type]] = field(default_factory=dict)
    damaged_records: tuple[DamagedDefinition, ...] = ()
    instead: tuple[str, ...] = ()
    oddities: tuple[str, ...] = ()
    mix: Mapping[str, Type | None] = field(default_factory=dict)
    others: Mapping[str, tuple[Holder, ...]] = field(default_factory=dict)
    slots: Mapping[str, Mapping[int, Places]] = field(default_factory=dict)
    places: Mapping[str, int] = field(default_factory=dict)

    # Nothing of an instance follows from the pool's name.
    machine = None
    derived: Mapping[str, int] = field(default_factory=dict)

    def defined(self, id: str) -> tuple[Definition, ...]:
        """The definition of a function, or what is recorded of it for this boot."""
        return self.definitions.get(id, ())

    def held_by(self, id: str) -> str:
        """Who uses an instance, in words."""
        return holders.named(self.holders.get(id, ()))

    def holders_of(self, id: str) -> list[dict[str, Any]]:
        """The same as data."""
        return [holder.document(function=id) for holder in self.holders.get(id, ())]

    def is_anothers(self, address: str) -> bool:
        """Whether a function is defined, or is in a pool, and is none of this one's instances."""
        own = {one.id for one in self.record.instances} if self.record else set()
        return address not in own and (address in self.definitions or address in self.owners)

    @property
    def wanted(self) -> dict[int, Type]:
        """The wished types that are known, by their ids."""
        return {each.id: each for each in (self.type, *self.mix.values()) if each is not None}

    def type_of(self, id: str) -> int | None:
        """The type of an instance of a mix: what it is, else what it is recorded to be."""
        if id in self.active:
            return self.active[id].type
        recorded = {one.id: one.type for one in self.record.instances}.get(id) if self.record else None
        return recorded or next((each.type for each in self.defined(id)), None)

    def may_take(self, address: str) -> bool:
        """Whether an instance of a wished type can be made on a function now."""
        each = self.functions[address]
        return not each.type and any(id in each.offers for id in self.wanted) and not self.is_anothers(address)

    def room(self, card: str, gone: Collection[str]) -> int | None:
        """How many more of the wished type fit on a card without those that are ``gone``; None where that is not told.

        Its tool tells, or has told before, of which the record has what counts here.
        """
        mode = self.modes.get(card)
        if self.type is None:
            return None
        if mode is not None and not mode.is_sriov:
            return 0
        known = self.supported.get(card) or self._remembered(card)
        carried = [each.type for each in self.on(card) if each.type and each.address not in gone]
        types = {
            id: capacity.Type(id, each.framebuffer, each.most or 0) for id, each in known.items() if each.framebuffer
        }
        if not types.keys() >= {self.type.id, *carried} or known[self.type.id].most is None:
            return None
        there = tuple(Instance(str(number), type) for number, type in enumerate(carried))
        mixed = mode.is_shared if mode is not None else None
        several = self.is_mixed(card) if mixed is None else mixed
        return capacity.room(capacity.Card(card, types, there, several), self.type.id)

    def on(self, card: str) -> list[Vgpu]:
        """All functions of a card."""
        return [each for each in self.functions.values() if each.function.physical == card]

    def _remembered(self, card: str) -> dict[int, Type]:
        """The types that were met, by their names, with how many of the wished one the card was found to take."""
        most = kept(self.record).most if self.record else {}
        if self.type is None or card not in most:
            return {}
        types = {id: Type(id, name, vgpu_types.framebuffer(name)) for id, name in self.types.items()}
        return {**types, self.type.id: replace(self.type, most=most[card])}

    def is_mixed(self, card: str) -> bool:
        """Whether a card offers what has another framebuffer than what it carries, and so takes several."""
        carried = {vgpu_types.framebuffer(self.types.get(each.type or 0, "")) for each in self.on(card) if each.type}
        offered = {vgpu_types.framebuffer(name) for each in self.on(card) for name in each.offers.values()}
        return bool(carried) and bool(offered - carried)

    def card_of(self, address: str) -> str:
        """The card of a function; of one that is not there, what can be told."""
        found = self.functions.get(address)
        return (found.function.physical if found else None) or pci.lineage(address)[0]


def observe(wish: Wish, is_new: bool = False) -> Observation:
    """Read what the wish touches: the record, the functions, their definitions, and who uses the instances.

    ``is_new`` says that a record of that name is another kind's, and not looked at. What makes vGPUs of functions comes
    some time after these: it is waited for where there is not enough without.
    """
    seen = _look(wish, is_new)
    # Some never get it, and what follows has as much time.
    end = time.monotonic() + left(wish.wait_timeout) / 2
    while _lacks(wish.filled(seen.record), seen) and (late := mdev_parents.late()):
        if not wait_for(partial(_has_changed, late), end - time.monotonic()):
            break
        seen = _look(wish, is_new)
    return seen


def _has_changed(late: list[str]) -> bool:
    return mdev_parents.late() != late


def _lacks(wish: Wish, seen: Observation) -> bool:
    if wish.state != "present":
        return False
    if wish.count == members.MAX:
        return seen.record is None
    there = _recorded(seen) + sum(map(seen.may_take, seen.usable))
    return isinstance(wish.size, int) and there < wish.size


def _look(wish: Wish, is_new: bool) -> Observation:
    recorded, broken = (None, []) if is_new else record.look(wish.name, KIND, kept)
    wish = wish.filled(recorded)
    oddities = Oddities()
    listed, damaged = DOCUMENTS.all()
    definitions = {each.address: (each,) for each in listed}
    own = {one.id for one in recorded.instances} if recorded else set()
    chosen = _chosen(wish, oddities)
    usable = tuple(each.address for each in chosen.candidates)
    cards = dict.fromkeys(pci.card_of(each) for each in sorted({*usable, *own}))
    functions = functions_of(cards, oddities)
    types = {id: name for each in functions.values() for id, name in each.offers.items()}
    types.update({each.type: each.title for each in listed if each.title})
    types.update({each.id: each.name for each in (wish.known, *wish.known_types.values()) if each and each.name})
    seen = Observation(
        record=recorded,
        functions=functions,
        usable=usable,
        chosen=replace(chosen, candidates=()),
        type=_type(wish, types),
        mix=_mix(wish, types),
        types=types,
        active={},
        definitions=definitions,
        damaged=tuple(damaged),
        owners=record.owners(wish.name, KIND),
        damaged_records=tuple(broken),
        instead=() if functions else tuple(oddities.attempt(vgpu_readiness.why_none) or ()),
    )
    seen = replace(seen, active=_active(wish, seen, own, oddities))
    # What a killed run has made stands where it was planned, of which nothing but the driver knows.
    made = [each for each in seen.active if wish.types is not None and not seen.defined(each)]
    places = {each: oddities.attempt(partial(vgpus.placement, seen.functions[each].function.path)) for each in made}
    known = {each: place for each, place in places.items() if place is not None and place <= HIGHEST_PLACEMENT}
    seen = replace(seen, places=known, oddities=tuple(oddities.warnings))
    seen = replace(seen, holders=_held(wish, seen))
    if not _changes(wish, seen):
        return seen
    return with_cards(wish, seen if wish.types is None else replace(seen, others=_others_held(seen)))


def _chosen(wish: Wish, oddities: Oddities) -> Chosen:
    return selector.choose(wish.parents or Selector(), pci.paths(vgpus.addresses()), vgpus.why_not, oddities)


def functions_of(cards: Iterable[str], oddities: Oddities) -> dict[str, Vgpu]:
    """All functions of these cards, by address."""
    return {each.address: each for card in cards for each in vgpus.functions(card, oddities)}


def _type(wish: Wish, types: Mapping[int, str]) -> Type | None:
    """The wished type: as it is recorded, or as a card tells of it; its memory follows from its name."""
    return None if wish.types is not None else _named(wish.type, wish.known, types)


def _mix(wish: Wish, types: Mapping[int, str]) -> dict[str, Type | None]:
    return {told: _named(told, wish.known_types.get(told), types) for told in wish.types or ()}


def _named(told: str | None, known: Type | None, types: Mapping[int, str]) -> Type | None:
    found = known
    if found is None and told is not None:
        ids = vgpu_types.matching(told, types)
        number = ids[0] if ids else vgpu_types.number(told)
        found = None if number is None else Type(number, types.get(number, ""))
    return None if found is None else replace(found, framebuffer=vgpu_types.framebuffer(found.name))


def _active(wish: Wish, seen: Observation, own: Iterable[str], oddities: Oddities) -> dict[str, Running]:
    """The instances that have the type that is recorded of them; one that has another has become another's."""
    found = {}
    # A run that was killed may have made what its record has, and the definition not yet.
    recorded = {one.id: one.type for one in seen.record.instances} if seen.record else {}
    for address in own:
        there = seen.functions.get(address)
        kept = next(iter(seen.defined(address)), None)
        expected = kept.type if kept else wish.known.id if wish.known else None
        if there is not None and there.type and there.type in (expected, recorded.get(address)):
            title = seen.types.get(there.type)
            params = vgpus.params_or(there.function.path, kept.params if kept else wish.params, oddities)
            found[address] = Running(address, there.type, title, params)
    return found


def _held(wish: Wish, seen: Observation) -> dict[str, tuple[Holder, ...]]:
    """Who holds which instance; no node is opened where none will be cleared, which would keep out a guest."""
    paths = {each: seen.functions[each].function for each in seen.active}
    found = vfio.nodes_of({function.path: function.group for function in paths.values()})
    nodes = {address: found[function.path] for address, function in paths.items()}
    shrinks = isinstance(wish.size, int) and wish.size < len(seen.active)
    shrinks |= any(each for each in _surplus(wish, seen).values())
    held = holders.of_each(nodes, probe=not wish.runs or shrinks)
    awaiting = starting.awaiting(KIND, {address: own for address, own in nodes.items() if not held[address]})
    return {each: held[each] or tuple(who for who in awaiting if who.node in own) for each, own in nodes.items()}


def _others_held(seen: Observation) -> dict[str, tuple[Holder, ...]]:
    """Who is seen to hold the vGPUs of others on these cards, that those can be named who are in the way."""
    there = {each: one.function for each, one in seen.functions.items() if one.type and each not in seen.active}
    nodes = vfio.nodes_of({function.path: function.group for function in there.values()})
    return holders.of_each({address: nodes[function.path] for address, function in there.items()}, probe=False)


def _surplus(wish: Wish, seen: Observation) -> Counter[int]:
    """How many instances of each type of a mix run that are to go; nothing of a pool of one type."""
    if wish.types is None:
        return Counter()
    return Counter(each.type for each in seen.active.values()) - counts(wish, seen)


def counts(wish: Wish, seen: Observation) -> Counter[int]:
    """How many of each type a mix is to have, as far as its types are known."""
    found = ((type, wish.types[told]) for told, type in seen.mix.items() if wish.types is not None)
    return Counter({type.id: count for type, count in found if type is not None})


def _changes(wish: Wish, seen: Observation) -> bool:
    """Whether vGPUs may be made, cleared or given parameters, for which the cards and their tool are asked."""
    if (seen.type is None and wish.types is None) or None in seen.mix.values():
        return wish.state != "absent"
    if wish.types is not None and wish.state != "absent":
        own = [one.id for one in seen.record.instances] if seen.record else []
        there = seen.active if wish.runs else own
        if Counter(map(seen.type_of, there)) != counts(wish, seen):
            return True
    if not wish.runs:
        return bool(seen.active) or (wish.state != "absent" and wish.size != _recorded(seen))
    unlike = any(wish.params not in (None, each.params or "") for each in seen.active.values())
    if wish.count == members.MAX:
        return unlike or len(seen.active) < _recorded(seen) or any(map(seen.may_take, seen.usable))
    return unlike or wish.size != len(seen.active)


def _recorded(seen: Observation) -> int:
    return len(seen.record.instances) if seen.record else 0


def with_cards(wish: Wish, seen: Observation) -> Observation:
    """The same with what the cards and their tool tell of modes and types."""
    oddities = Oddities()
    try:
        modes = nvidia_smi.modes() if seen.functions else {}
    except NodedevError as error:
        return replace(seen, untold=error)
    supported = oddities.attempt(nvidia_smi.supported) or {}
    names = {id: each.name for card in supported.values() for id, each in card.items()}
    types = {**names, **seen.types}
    type = _told(_type(wish, types), supported)
    mix = {told: _told(each, supported) for told, each in _mix(wish, types).items()}
    warnings = (*seen.oddities, *oddities.warnings)
    found = replace(seen, modes=modes, supported=supported, types=types, type=type, mix=mix, oddities=warnings)
    return found if wish.types is None or wish.state == "absent" else _with_places(found)


def _with_places(seen: Observation) -> Observation:
    """The same with what is told of places on those heterogeneous cards on which more of the mix may be made."""
    asked = {}
    for card in dict.fromkeys(map(seen.card_of, seen.usable)):
        mode, there = seen.modes.get(card, Mode()), seen.on(card)
        if not (mode.is_sriov and mode.heterogeneous) or mode.mig or not all(map(_has_places, there)):
            continue
        defined = [each.type for one in there for each in seen.defined(one.address)]
        types = {*seen.wanted, *defined, *(each.type for each in there if each.type)}
        asked[card] = types & seen.supported.get(card, {}).keys()
    oddities = Oddities()
    told = nvml.places({card: types for card, types in asked.items() if types & seen.wanted.keys()}, oddities)
    # Beside what stands nobody knows where, no place is known to be free.
    slots = {card: types for card, types in told.items() if types.keys() == asked[card]}
    places = {**seen.places}
    for card, own in slots.items():
        for each in seen.on(card):
            place = oddities.attempt(partial(vgpus.placement, each.function.path)) if each.type else None
            if place is not None and each.type in own and place in own[each.type].supported:
                places[each.address] = place
    return replace(seen, slots=slots, places=places, oddities=(*seen.oddities, *oddities.warnings))


def _has_places(each: Vgpu) -> bool:
    return each.hindrance is not None or sysfs.exists(f"{each.function.path}/{vgpus.PLACEMENT}")


def _told(type: Type | None, supported: Mapping[str, Mapping[int, Type]]) -> Type | None:
    if type is None:
        return None
    told = next((card[type.id] for card in supported.values() if type.id in card), type)
    framebuffer, most = told.framebuffer or type.framebuffer, told.most or type.most
    return replace(type, name=type.name or told.name, framebuffer=framebuffer, most=most)
