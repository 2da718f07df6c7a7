# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool of vGPUs that are functions: so many of one type over a choice of cards, always the same functions.

An instance is its function, and keeps it as long as that is there and nobody else has made it another's. Functions of
others, which are defined or belong to another pool, are never taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ...errors import BadInput, Missing, NodedevError
from ...host import nvidia_smi, pci, vgpu_types, vgpus
from ...host.oddities import Oddities
from ...host.vgpu_types import Type
from ...libvirt import domain
from ...names import called, device_name
from ...plan import Step
from ...pools import mixes, pool, record
from ...pools.members import Member
from ...pools.mix import Mix
from ...pools.pool import members_of, starts
from ...pools.record import Record, Recorded
from ...pools.selector import Selector
from ...pools.space import Space
from ...resource import Plan
from ...store import files
from ...store.documents import name_of
from ...store.files import DamagedDefinition
from . import pool_mix, pool_wish
from . import steps as do
from .definition import DOCUMENTS, KIND, Definition, define, undefine
from .pool_seen import Observation, Running, functions_of, observe
from .pool_wish import Wish

__all__ = [
    "PEER",
    "SUBSYSTEM",
    "Wish",
    "clear_up",
    "comes_with_guest",
    "described",
    "events",
    "locks",
    "look_again",
    "observe",
    "plan",
    "starts",
    "state",
]

# Of udev's events.
SUBSYSTEM = "pci"
PEER = None


def plan(wish: Wish, seen: Observation, ceilings: Mapping[str, int] | None = None) -> Plan[Observation]:
    """The steps from what is to what is wished; raises NodedevError before any of them, and writes nothing."""
    filled = replace(wish.filled(seen.record), force=False)
    planned = pool.plan(_Vgpus(wish, filled, seen), ceilings or {})
    return replace(planned, warnings=(*planned.warnings, *_moves(seen.record, planned.then.record)))


def _moves(former: Record | None, kept: Record | None) -> Iterator[str]:
    """The warnings that an instance is another function from now on, which its guest has to be told."""
    if former is None or kept is None:
        return
    # In a mix, an index may become that of an instance of another type.
    then = {(one.index, one.type): one.id for one in kept.instances}
    for one in former.instances:
        now = then.get((one.index, one.type), one.id)
        if now != one.id:
            yield (
                f"instance {one.index} of pool {kept.name} is {called(now)} from now on: {called(one.id)}"
                " is gone, or has become another's"
            )


@dataclass(frozen=True)
class _Vgpus:
    """What the plan for a pool asks of vGPUs; ``asked`` is the wish without what the record fills in."""

    asked: Wish
    wish: Wish
    seen: Observation

    KIND = KIND
    NOUN, NAMES = "the vGPU of", ""
    # The driver does not let go of a function that is open, whatever is written to it.
    HELD = ("by", "")
    STOPPED = "are to run no longer"
    listed: tuple[str, ...] | None = None
    understood = staticmethod(pool_wish.kept)

    @cached_property
    def mix(self) -> Mix[pool_mix.Cards] | None:
        return None if self.wish.types is None else Mix(pool_mix.Cards(self.wish, self.seen))

    @cached_property
    def _own(self) -> set[str]:
        return {one.id for one in self.seen.record.instances} if self.seen.record else set()

    @cached_property
    def _type(self) -> Type:
        if self.seen.type is None or (self.seen.supported and not self._is_supported(self.seen.type)):
            self._refuse_functions()
            told = vgpu_types.told(self.seen.types, vgpus.NAMED)
            question = vgpu_types.suggested(self.wish.type, self.seen.types)
            raise BadInput("type", self.wish.type, f"{question}the types of this host's cards are: {told}")
        return self.seen.type

    def _is_supported(self, type: Type) -> bool:
        return any(type.id in card for card in self.seen.supported.values()) or type.id in self.seen.types

    def place_of(self, damage: DamagedDefinition) -> tuple[str | None, str | None]:
        return None, name_of(damage.path)

    def refuse(self, own: Sequence[Member]) -> None:
        """Nothing forbids every plan."""

    def with_adopted(self, own: list[Member]) -> list[Member]:
        wish = self.wish
        if wish.managed and not wish.persistent:
            raise BadInput("persistent", False, f"pool {wish.name} is managed, and its instances made from definitions")
        if self.mix is not None:
            if None in self.seen.mix.values():
                self._refuse_functions()
            return [replace(each, rests=self._rests(each), type=self.seen.type_of(each.id)) for each in own]
        if wish.type is None:
            self._refuse_functions()
            told = vgpu_types.told(self.seen.types, vgpus.NAMED)
            raise Missing("type", f"pool {wish.name} is not known here; the types of this host's cards are: {told}")
        if wish.count is None:
            raise Missing("count", f"pool {wish.name} is not known here")
        known = pool_wish.kept(self.seen.record).known if self.seen.record else None
        if own and known is not None and self._type.id != known.id:
            raise NodedevError(
                f"pool {wish.name} has vGPUs of type {vgpu_types.called(known.id, self.seen.types)}, not of"
                f" {vgpu_types.called(self._type.id, self.seen.types)}: remove the pool first with state: absent, or"
                " choose another name"
            )
        return [replace(member, rests=self._rests(member)) for member in own]

    def _rests(self, member: Member) -> bool:
        """Whether an instance can stay defined where it is: not on a function that has become another's."""
        there = self.seen.functions.get(member.id)
        return bool(self.seen.defined(member.id)) and (there is None or not there.type or member.active)

    def _refuse_functions(self) -> None:
        wish, chosen = self.wish, self.seen.chosen
        for listed, why_not in chosen.missing.items():
            raise BadInput("parents", listed, "; ".join((why_not, *self.seen.instead)))
        if self.seen.usable:
            return
        refusal = chosen.refusal(wish.parents or Selector())
        if refusal is not None:
            raise refusal
        what = "no virtual function of this host can be a vGPU"
        raise NodedevError("; ".join((f"pool {wish.name}: {what}", *self.seen.instead)))

    def refuse_change(self, stay: Sequence[Member], grows: bool) -> None:
        if grows:
            self._refuse_functions()
        for member in stay:
            if member.active and member.id not in self.seen.usable:
                raise NodedevError(
                    f"pool {self.wish.name} has a vGPU on {called(member.id)}, which is not among the parents that are"
                    " chosen: choose it too, or remove the pool first with state: absent"
                )

    def _refuse_mode(self, address: str) -> None:
        """Raise NodedevError where its card is not known to make vGPUs of its functions."""
        nvidia_smi.refuse_other_mode(self.seen.card_of(address), self.seen.modes, self.seen.untold)

    def rooms(self, ever: bool) -> Iterator[tuple[str, str, int | None]]:
        for address in self.seen.usable:
            card = self.seen.card_of(address)
            mode = self.seen.modes.get(card)
            if self.seen.is_anothers(address) or (mode is not None and not mode.is_sriov):
                yield address, card, None
            elif ever:
                yield address, card, int(not self.seen.functions[address].type or address in self.seen.active)
            else:
                yield address, card, int(self.seen.may_take(address))

    def limits(self, go: Sequence[Member], resting: Mapping[str | None, int]) -> dict[str, int]:
        resting_on = Counter[str]()
        for address, count in resting.items():
            resting_on[self.seen.card_of(str(address))] += count
        gone = {member.id for member in go}
        if not self.wish.runs:
            # Those that run rest too: what they take counts once.
            gone |= self._own
        limits = {}
        for card in dict.fromkeys(map(self.seen.card_of, self.seen.usable)):
            room = self.seen.room(card, gone if self.wish.state == "present" else {*self.seen.functions})
            if room is not None:
                promised = self._promised(card) if pool.is_lent(self.wish) else 0
                limits[card] = max(room - resting_on[card] - promised, 0)
        return limits

    def _promised(self, card: str) -> int:
        """How many managed vGPUs of others are not there now on a card, for which room is kept as well."""
        idle = (address for address, each in self.seen.functions.items() if not each.type)
        others = [self.seen.defined(each) for each in idle if self.seen.is_anothers(each)]
        return sum(each.managed and self.seen.card_of(each.address) == card for own in others for each in own)

    def no_room(self, wanted: int, here: Space) -> BadInput:
        told = []
        for card in dict.fromkeys(room.card for room in here.rooms):
            free = sum(room.free for room in here.rooms if room.card == card)
            there = tuple(each for each in self.seen.functions.values() if self.seen.card_of(each.address) == card)
            carrying = tuple(each for each in there if each.type)
            carried = f", beside {vgpus.told(carrying, self.seen.types)}" if carrying else ""
            told.append(f"{called(card)}: {min(free, here.limits.get(card, free))}{carried}")
        kind = vgpu_types.called(self._type.id, self.seen.types)
        return BadInput(
            "count",
            self.wish.count,
            f"pool {self.wish.name} needs {wanted} more vGPUs of type {kind} and there is room for {here.capacity};"
            f" free are on {'; on '.join(told) or 'no card'}",
        )

    def identity(self, index: int, parent: str) -> str:
        return parent

    def moved(self, id: str, parent: str) -> str:
        return parent

    def target(self, one: Recorded) -> Definition:
        kind = self._type if one.type is None else self.seen.wanted[one.type]
        former = next(iter(self.seen.defined(one.id)), None) if one.id in self._own else None
        if former is not None and former.type != kind.id:
            # It was another one's, which is to go.
            former = None
        params = former.params if former is not None and self.asked.params is None else self.wish.params
        lasts = self.wish.persistent or (former is not None and former.lasts)
        managed = bool(self.wish.managed)
        root = files.STORE if lasts else files.RUNTIME
        place = former.placement if one.place is None and former is not None else one.place
        return Definition(one.id, kind.id, kind.name or None, params, place, managed, root)

    def make(self, creates: Collection[str], targets: Mapping[str, Definition]) -> tuple[list[Step], tuple[str, ...]]:
        for address in creates:
            self._refuse_mode(address)
        made = [step for address in creates for step in do.create(targets[address], self.wish.wait_timeout)]
        late = []
        for address, target in targets.items():
            running = self.seen.active.get(address)
            if running is None or address in creates or target.params in (None, running.params or ""):
                continue
            if self.seen.held_by(address):
                late.append(address)
                continue
            self._refuse_mode(address)
            made.append(do.set_params(target, target.params, running.params or "", self.wish.wait_timeout))
        warning = f"in use are {', '.join(late)}: their new params are set when this runs after that"
        return made, (warning,) if late else ()

    def foretold(self, target: Definition) -> Running:
        return Running(target.address, target.type, target.title, target.params)

    def _adjusted(self, running: Running, defined: Sequence[Definition]) -> Running:
        params = next((each.params for each in defined), None)
        return running if params is None or self.seen.held_by(running.address) else replace(running, params=params)

    def stop(self, address: str) -> Iterator[Step]:
        running = self.seen.active.get(address)
        if running is not None:
            self._refuse_mode(address)
            former = Definition(address, running.type, running.title, running.params or None)
            yield do.clear(former, self.wish.wait_timeout)

    def define(self, target: Definition) -> tuple[list[Step], tuple[Definition, ...]]:
        former = next(iter(self.seen.defined(target.address)), None)
        return ([define(target, former)] if former != target else []), (target,)

    def undefine(self, definition: Definition) -> Step:
        return undefine(definition)

    def document(self) -> dict[str, Any]:
        if self.mix is not None:
            known = {told: type for told, type in self.seen.mix.items() if type is not None}
            return replace(self.wish, known_types=known).document()
        id, supported = self._type.id, self.seen.supported.items()
        most = {card: number for card, types in supported if id in types and (number := types[id].most) is not None}
        none = {card: 0 for card, mode in self.seen.modes.items() if not mode.is_sriov}
        return replace(self.wish, known=self._type, most={**self.wish.most, **most, **none}).document()

    def then(
        self,
        kept: Record | None,
        active: Mapping[str, Running],
        definitions: Mapping[str, tuple[Definition, ...]],
    ) -> Observation:
        seen = self.seen
        functions = dict(seen.functions)
        cleared = {seen.card_of(each) for each in seen.active if each not in active} if seen.mix else set()
        for address, each in seen.functions.items():
            if address in active:
                functions[address] = replace(each, type=active[address].type, offers={})
            elif seen.wanted and (address in seen.active or (not each.type and seen.card_of(address) in cleared)):
                functions[address] = replace(each, type=vgpus.NONE, offers=vgpu_types.names(seen.wanted.values()))
        holders_then = {each: found for each, found in seen.holders.items() if each in active}
        active = {id: self._adjusted(running, definitions.get(id, ())) for id, running in active.items()}
        return replace(
            seen,
            record=kept,
            functions=functions,
            active=active,
            definitions=definitions,
            holders=holders_then,
            damaged_records=(),
            # They are those before the steps.
            slots={},
            places={},
        )


def state(seen: Observation) -> dict[str, Any]:
    """What runs of the pool and what is kept for the next boot, as a diff shows them."""
    lasting = {id: tuple(each for each in own if each.lasts) for id, own in seen.definitions.items()}
    return pool.state(replace(seen, definitions=lasting))


def comes_with_guest(seen: Observation) -> bool:
    """Whether an instance is defined as managed."""
    return any(each.managed for one in members_of(seen) for each in seen.defined(one.id))


def locks(wish: Wish, seen: Observation | None = None) -> set[str]:
    """The pool and the cards of all functions that a plan may have to do with."""
    if seen is not None:
        return {f"pool:{wish.name}", *map(seen.card_of, seen.functions)}
    former = record.look(wish.name, KIND, pool_wish.kept)[0]
    recorded = [one.id for one in former.instances] if former else []
    cards = {pci.lineage(each)[0] for each in recorded} | {pci.card_of(each) for each in vgpus.addresses()}
    return {f"pool:{wish.name}", *cards}


def clear_up(wish: Wish, seen: Observation) -> bool:
    """Remove what killed runs have left of writing the record and the definitions."""
    record.RECORDS.clear_up(wish.name)
    for one in seen.record.instances if seen.record else ():
        DOCUMENTS.clear_up(one.id)
    return False


def look_again(wish: Wish, before: Observation, planned: Plan[Observation]) -> Observation:
    """What is there when all steps have been taken: each has looked at what came of it, and the cards tell the room."""
    oddities = Oddities()
    cards = dict.fromkeys(map(before.card_of, before.functions))
    functions = functions_of(cards, oddities)
    return replace(planned.then, functions=functions, oddities=(*before.oddities, *oddities.warnings))


def events(planned: Plan[Observation], after: Observation) -> tuple[str, ...]:
    """None: the functions were there before."""
    return ()


def described(wish: Wish, before: Observation, planned: Plan[Observation], after: Observation) -> dict[str, Any]:
    """The instances afterwards, and what the cards have room for."""
    own = members_of(after)
    filled = wish.filled(before.record)
    mix = None if filled.types is None else Mix(pool_mix.Cards(filled, after))
    waiting: dict[str, Any] = {"go": [], "come": {}} if mix is None else mix.waiting()
    owners = do.other_owners(planned.steps, sorted({after.card_of(member.id) for member in own}))
    return {
        "instances": [_instance(member, after) for member in own],
        "capacity": {device_name("pci", card): found for card, found in _capacity(mix, after).items()},
        "waiting": waiting,
        "warnings": [*after.oddities, *planned.warnings, *mixes.told(wish.name, waiting), *owners],
    }


def _instance(member: Member, seen: Observation) -> dict[str, Any]:
    running, kept = seen.active.get(member.id), next(iter(seen.defined(member.id)), None)
    type = running.type if running else kept.type if kept else None
    card = seen.card_of(member.id)
    return {
        "index": member.index,
        "uuid": None,
        "address": member.id,
        "name": device_name("pci", member.id),
        "parent": device_name("pci", card),
        "parent_addr": card,
        "type": seen.types.get(type) if type else None,
        "type_id": type,
        "device_api": domain.VFIO_PCI,
        "active": running is not None,
        "holders": [holder.document() for holder in seen.holders.get(member.id, ())] if running else [],
        "hostdev_xml": domain.function(member.id),
    }


def _capacity(mix: Mix[pool_mix.Cards] | None, seen: Observation) -> dict[str, dict[str, Any]]:
    """By card: how many more of the type fit, or of each, and how many vGPUs the pool and others have there."""
    found: dict[str, dict[str, Any]] = {}
    for card in dict.fromkeys(map(seen.card_of, seen.usable if seen.wanted else ())):
        there = [each for each in seen.functions.values() if seen.card_of(each.address) == card]
        own = sum(each.address in seen.active for each in there)
        others = sum(bool(each.type) for each in there) - own
        if mix is not None:
            found[card] = {"free": None, "pool": own, "others": others, "types": mix.free(card)}
            continue
        free = sum(seen.may_take(each.address) for each in there if each.address in seen.usable)
        room = seen.room(card, ())
        found[card] = {"free": free if room is None else min(free, room), "pool": own, "others": others}
    return found
