# SPDX-License-Identifier: GPL-3.0-or-later
"""What is there of a pool of vGPUs: its record, its instances, the functions that it may use, and who uses what."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ...errors import NodedevError
from ...host import holders, nvidia_smi, pci, starting, sysfs, vfio, vgpu_readiness, vgpu_types, vgpus
from ...host.oddities import Oddities
from ...host.processes import Holder
from ...host.vgpu_cards import Mode
from ...host.vgpu_types import Type
from ...host.vgpus import Vgpu
from ...pools import members, record, selector
from ...pools.record import Record
from ...pools.selector import Chosen, Selector
from ...store.files import DamagedDefinition
from ...waiting import left, wait_for
from .definition import DOCUMENTS, KIND, Definition
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
    is the wished one, None where no card tells of it, and ``types`` are the names of all that were met. ``active`` are
    the pool's instances that run, and have the type that is recorded of them; ``owners`` the other pools by their
    instances. Where something may change, ``modes`` are by card, ``untold`` says why they are not known, and
    ``supported`` are by card all types that it knows. ``instead`` is what is there where no function is a vGPU's.
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

    def may_take(self, address: str) -> bool:
        """Whether an instance of the wished type can be made on a function now."""
        each = self.functions[address]
        return self.type is not None and not each.type and self.type.id in each.offers and not self.is_anothers(address)

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
        carried = [each.type for each in self._on(card) if each.type and each.address not in gone]
        if self.type.id not in known:
            return None
        mixed = mode.heterogeneous if mode is not None else None
        return vgpu_types.room(known[self.type.id], known, carried, self._is_mixed(card) if mixed is None else mixed)

    def _on(self, card: str) -> list[Vgpu]:
        return [each for each in self.functions.values() if each.function.physical == card]

    def _remembered(self, card: str) -> dict[int, Type]:
        """The types that were met, by their names, with how many of the wished one the card was found to take."""
        most = kept(self.record).most if self.record else {}
        if self.type is None or card not in most:
            return {}
        types = {id: Type(id, name, vgpu_types.framebuffer(name)) for id, name in self.types.items()}
        return {**types, self.type.id: replace(self.type, most=most[card])}

    def _is_mixed(self, card: str) -> bool:
        """Whether a card offers what has another framebuffer than what it carries, and so takes several."""
        carried = {vgpu_types.framebuffer(self.types.get(each.type or 0, "")) for each in self._on(card) if each.type}
        offered = {vgpu_types.framebuffer(name) for each in self._on(card) for name in each.offers.values()}
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
    end = time.monotonic() + left(wish.wait_timeout)
    while _lacks(wish.filled(seen.record), seen) and (late := vgpus.late()):
        if not wait_for(partial(_has_changed, late), end - time.monotonic()):
            break
        seen = _look(wish, is_new)
    return seen


def _has_changed(late: list[str]) -> bool:
    return vgpus.late() != late


def _lacks(wish: Wish, seen: Observation) -> bool:
    """Whether functions are wanting for what is to be made; of as many as fit, for a new pool."""
    if wish.state != "present":
        return False
    if wish.count == members.MAX:
        return seen.record is None
    there = _recorded(seen) + sum(map(seen.may_take, seen.usable))
    return isinstance(wish.count, int) and there < wish.count


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
    seen = Observation(
        record=recorded,
        functions=functions,
        usable=usable,
        chosen=replace(chosen, candidates=()),
        type=_type(wish, types),
        types=types,
        active={},
        definitions=definitions,
        damaged=tuple(damaged),
        owners=record.owners(wish.name, KIND),
        damaged_records=tuple(broken),
        instead=() if functions else tuple(oddities.attempt(vgpu_readiness.why_none) or ()),
    )
    seen = replace(seen, active=_active(wish, seen, own), oddities=tuple(oddities.warnings))
    seen = replace(seen, holders=_held(wish, seen))
    return _with_cards(wish, seen) if _changes(wish, seen) else seen


def _chosen(wish: Wish, oddities: Oddities) -> Chosen:
    """The functions that the wish chooses, of all that have the files of vGPUs."""
    paths = {each: sysfs.target(f"{pci.DEVICES}/{each}") for each in vgpus.addresses()}
    there = {address: path for address, path in paths.items() if path is not None}
    return selector.choose(wish.parents or Selector(), there, vgpus.why_not, oddities)


def functions_of(cards: Iterable[str], oddities: Oddities) -> dict[str, Vgpu]:
    """All functions of these cards, by address."""
    return {each.address: each for card in cards for each in vgpus.functions(card, oddities)}


def _type(wish: Wish, types: Mapping[int, str]) -> Type | None:
    """The wished type: as it is recorded, or as a card tells of it; its memory follows from its name."""
    found = wish.known
    if found is None and wish.type is not None:
        ids = vgpu_types.matching(wish.type, types)
        number = ids[0] if ids else vgpu_types.number(wish.type)
        found = None if number is None else Type(number, types.get(number, ""))
    return None if found is None else replace(found, framebuffer=vgpu_types.framebuffer(found.name))


def _active(wish: Wish, seen: Observation, own: Iterable[str]) -> dict[str, Running]:
    """The instances that have the type that is recorded of them; one that has another has become another's."""
    found = {}
    for address in own:
        there = seen.functions.get(address)
        kept = next(iter(seen.defined(address)), None)
        expected = kept.type if kept else wish.known.id if wish.known else None
        if there is not None and there.type and there.type == expected:
            title = seen.types.get(there.type)
            found[address] = Running(address, there.type, title, vgpus.params(there.function.path))
    return found


def _held(wish: Wish, seen: Observation) -> dict[str, tuple[Holder, ...]]:
    """Who holds which instance; no node is opened where none will be cleared, which would keep out a guest."""
    paths = {each: seen.functions[each].function for each in seen.active}
    found = vfio.nodes_of({function.path: function.group for function in paths.values()})
    nodes = {address: found[function.path] for address, function in paths.items()}
    shrinks = isinstance(wish.count, int) and wish.count < len(seen.active)
    held = holders.of_each(nodes, probe=not wish.runs or shrinks)
    awaiting = starting.awaiting(KIND, {address: own for address, own in nodes.items() if not held[address]})
    return {each: held[each] or tuple(who for who in awaiting if who.node in own) for each, own in nodes.items()}


def _changes(wish: Wish, seen: Observation) -> bool:
    """Whether vGPUs may be made, cleared or given parameters, for which the cards and their tool are asked."""
    if seen.type is None:
        return wish.state != "absent"
    if not wish.runs:
        return bool(seen.active) or (wish.state != "absent" and wish.count != _recorded(seen))
    unlike = any(wish.params not in (None, each.params or "") for each in seen.active.values())
    if wish.count == members.MAX:
        return unlike or len(seen.active) < _recorded(seen) or any(map(seen.may_take, seen.usable))
    return unlike or wish.count != len(seen.active)


def _recorded(seen: Observation) -> int:
    return len(seen.record.instances) if seen.record else 0


def _with_cards(wish: Wish, seen: Observation) -> Observation:
    """With what NVIDIA's tool tells of the cards: how they make vGPUs, and of which types."""
    oddities = Oddities()
    try:
        modes = nvidia_smi.modes() if seen.functions else {}
    except NodedevError as error:
        return replace(seen, untold=error)
    supported = oddities.attempt(nvidia_smi.supported) or {}
    names = {id: each.name for card in supported.values() for id, each in card.items()}
    types = {**names, **seen.types}
    type = _type(wish, types)
    if type is not None:
        told = next((card[type.id] for card in supported.values() if type.id in card), type)
        type = replace(type, name=type.name or told.name, framebuffer=told.framebuffer or type.framebuffer)
    warnings = (*seen.oddities, *oddities.warnings)
    return replace(seen, modes=modes, supported=supported, types=types, type=type, oddities=warnings)
