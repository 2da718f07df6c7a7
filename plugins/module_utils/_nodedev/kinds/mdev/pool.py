# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool of mediated devices: so many instances of one type over a choice of parents, always the same ones.

The UUIDs follow from the host, the pool's name and an index, so that every run and every controller means the same
instances; or they are listed. Instances of others are never touched.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ...errors import BadInput, Missing, NodedevError
from ...host import machine, mdev_parents, vgpu_types
from ...host.machine import pool_uuid
from ...host.mdevs import Mdev
from ...libvirt import domain
from ...names import called, mdev_name
from ...plan import Step
from ...pools import members, pool, record
from ...pools.members import Member
from ...pools.mix import Mix
from ...pools.pool import members_of, starts, state
from ...pools.record import Record, Recorded
from ...pools.selector import Selector
from ...pools.space import Space
from ...resource import Plan
from ...store import mdevctl
from ...store.files import DamagedDefinition
from ...store.mdevctl import Attrs, Definition
from ...store.scripts import Refused
from . import leaving, pool_mix, pool_seen, pool_wish, steps
from .parents import Parent
from .pool_seen import Observation, cards, chosen
from .pool_wish import Wish

__all__ = [
    "PEER",
    "SUBSYSTEM",
    "Wish",
    "clear_up",
    "comes_with_guest",
    "described",
    "locks",
    "look_again",
    "observe",
    "plan",
    "starts",
    "state",
]

# Of udev's events.
SUBSYSTEM = "mdev"
PEER = "mdevctl"


def plan(wish: Wish, seen: Observation, ceilings: Mapping[str, int] | None = None) -> Plan[Observation]:
    return pool.plan(_Mdevs(wish, wish.filled(seen.record), seen), ceilings or {})


@dataclass(frozen=True)
class _Mdevs:
    """What the plan for a pool asks of mediated devices; ``asked`` is the wish without what the record fills in."""

    asked: Wish
    wish: Wish
    seen: Observation

    KIND = pool_wish.KIND
    NOUN, NAMES = "mdev", "UUIDs"
    HELD = ("by", members.RELEASE)
    STOPPED = "are to run no longer"
    understood = staticmethod(pool_wish.kept)

    @property
    def listed(self) -> tuple[str, ...] | None:
        return self.wish.uuids

    @cached_property
    def mix(self) -> Mix[pool_mix.Cards] | None:
        return None if self.wish.types is None else Mix(pool_mix.Cards(self.wish, self.seen))

    @cached_property
    def _terms(self) -> steps.Terms:
        return steps.Terms(self.wish.wait_timeout, self.seen.callouts, self.wish.force)

    @cached_property
    def _parents(self) -> dict[str, Parent]:
        return {parent.address: parent for parent in self.seen.choice.parents}

    @cached_property
    def _own(self) -> set[str]:
        """The instances that are not to be adopted."""
        return {*record.known(self.seen.record, self.seen.derived)}

    def place_of(self, damage: DamagedDefinition) -> tuple[str | None, str | None]:
        return mdevctl.place_of(damage)

    def refuse(self, own: Sequence[Member]) -> None:
        for each in self.seen.leaving:
            raise each.refusal()

    def with_adopted(self, own: list[Member]) -> list[Member]:
        wish = self.wish
        if wish.managed and self.asked.autostart:
            told = f"pool {wish.name} is managed, and its instances start with their guests: set managed: false too"
            raise BadInput("autostart", True, told)
        if wish.managed and not wish.persistent:
            raise BadInput("persistent", False, f"pool {wish.name} is managed, and its instances made from definitions")
        if self.mix is not None:
            if None in self.seen.mix.values() and not self.seen.choice.parents:
                self._refuse_parents()
            own = [replace(member, type=self.seen.type_of(member.id)) for member in own]
            return [replace(member, rests=self._rests(member)) for member in own]
        if wish.type is None:
            if not self.seen.choice.offers:
                self._refuse_parents()
            raise Missing("type", f"pool {wish.name} is not known here; {self._offers()}")
        # What runs there already has its own, and keeps them.
        is_new = not own and not wish.adopt
        if is_new and (wish.type == mdev_parents.CRYPTO or mdev_parents.MATRIX in self._parents):
            raise BadInput(
                "type",
                wish.type,
                "each device on the matrix needs crypto queues of its own, which instances of a pool, all alike, cannot"
                " have: make each by hostdev.nodedev.mdev with attrs",
            )
        if wish.count is None and wish.uuids is None:
            raise Missing("count", f"pool {wish.name} is not known here; or list its uuids")
        return [replace(member, rests=self._rests(member)) for member in [*own, *self._adopted()]]

    def _rests(self, member: Member) -> bool:
        """Whether an instance can stay defined where it is, be its parent full, without the type, or gone."""
        defined = self.seen.defined(member.id)
        if member.parent is None or not (member.active or defined):
            return False
        if self.mix is not None and not member.active and vgpu_types.number(defined[0].type) != member.type:
            # A run that was to make another type of it was killed, and its place is still the former one's.
            return False
        if member.parent in self.seen.registered:
            return member.parent in self._parents or member.parent in self.seen.choice.offers
        # A card that is listed had other functions, of which this parent may be one.
        return bool(self.seen.choice.chosen.cards) or (self.wish.parents or Selector()).may_take(member.parent)

    def _offers(self) -> str:
        return mdev_parents.offered(self.seen.choice.offers, self.wish.type)

    def _adopted(self) -> list[Member]:
        """Listed instances that others made; an error unless they may be adopted."""
        found: list[Member] = []
        for index, uuid in enumerate(self.wish.uuids or ()):
            device, defined = self.seen.active.get(uuid), self.seen.defined(uuid)
            if uuid in self._own or (device is None and not defined):
                continue
            parent = device.parent if device else defined[0].parent
            owner = self.seen.owners.get(uuid)
            if owner is not None:
                raise NodedevError(
                    f"mdev {uuid} on {called(parent)} belongs to pool {owner}: take it out of that one first"
                )
            if not self.wish.adopt:
                raise NodedevError(
                    f"mdev {uuid} on {called(parent)} was not made for pool {self.wish.name}: set adopt: true to"
                    " take it into the pool, or list another UUID"
                )
            if len(defined) > 1:
                parents = ", ".join(called(each.parent) for each in defined)
                raise NodedevError(
                    f"mdev {uuid} is defined under several parents, {parents}:"
                    " undefine it under all but one, then adopt it"
                )
            holders = tuple(self.seen.holders_of(uuid))
            found.append(Member(index, uuid, parent, device is not None, self.seen.held_by(uuid), holders=holders))
        return found

    def _refuse_parents(self) -> None:
        wish, choice = self.wish, self.seen.choice
        registered = self.seen.registered
        for listed, why_not in choice.chosen.missing.items():
            raise BadInput("parents", listed, mdev_parents.listed(registered, (why_not, *choice.instead)))
        if self._parents:
            return
        if choice.offers:
            option, value = ("type", wish.type) if wish.types is None else ("types", dict(wish.types))
            raise BadInput(option, value, self._offers())
        refusal = choice.chosen.refusal(wish.parents or Selector())
        if refusal is not None:
            raise refusal
        raise NodedevError(f"pool {wish.name}: {mdev_parents.listed(registered, choice.instead)}")

    def refuse_change(self, stay: Sequence[Member], grows: bool) -> None:
        if grows:
            self._refuse_parents()
        if self.mix is not None:
            self.mix.cards.refuse_outside(stay)
            return
        runs, parents, own = self.wish.runs, self._parents, self._own
        for member in stay:
            parent, there = parents.get(member.parent or ""), called(str(member.parent))
            if parent is None and (member.active or (member.id not in own and (runs or not member.rests))):
                raise NodedevError(
                    f"pool {self.wish.name} has mdev {member.id} on {there}, which is not among the parents"
                    f" that are chosen and have type {self.wish.type}: choose it too, or remove the pool first with"
                    " state: absent"
                )
            device = self.seen.active.get(member.id)
            for kind in [device.type] if device else [definition.type for definition in self.seen.defined(member.id)]:
                if parent is not None and kind != parent.type:
                    raise NodedevError(
                        f"pool {self.wish.name} has mdev {member.id} with type {kind} on {there}, not with type"
                        f" {parent.type}: remove the pool first with state: absent, or choose another name"
                    )
                if parent is None and not runs and not self._may_have(member, kind):
                    raise NodedevError(
                        f"pool {self.wish.name} has mdev {member.id} with type {kind} on {there}: whether that"
                        f" is {self.wish.type} cannot be told, since the parent does not offer it now"
                    )

    def _may_have(self, member: Member, kind: str) -> bool:
        """Whether an instance whose parent does not tell its types any more has the wished one, as it had before."""
        same = self.seen.record is None or self.seen.record.wish.get("type") == self.wish.type
        return kind == self.wish.type or (same and member.id in self._own)

    def rooms(self, ever: bool) -> Iterator[tuple[str, str, int]]:
        for address, parent in self._parents.items():
            yield address, parent.card, self._most(parent) if ever else max(parent.free - self._promised(parent), 0)

    @property
    def _mine(self) -> set[str]:
        return {*self._own, *(self.wish.uuids or ())}

    def _promised(self, parent: Parent) -> int:
        """How many managed devices of others do not run there now, for which room is kept as well."""
        idle = self.seen.definitions.keys() - self.seen.active.keys() - self._mine if pool.is_lent(self.wish) else ()
        return sum(
            each.managed and (each.parent, each.type) == (parent.address, parent.type)
            for uuid in idle
            for each in self.seen.defined(uuid)
        )

    def _most(self, parent: Parent) -> int:
        """How many instances a parent can ever take, where that can be told; what others use may be given free."""
        on_card = [each for each in self.seen.active.values() if self.seen.cards[each.parent] == parent.card]
        own = sum(each.parent == parent.address and each.type == parent.type for each in on_card)
        if parent.card != parent.address:
            # A virtual function takes one, whatever it says while its card is full.
            return max(parent.free + own, 1)
        # Instances of another size may leave room for none of this one.
        is_certain = parent.free + own > 0 and all(each.type == parent.type for each in on_card)
        return parent.free + own if is_certain else members.MOST

    def limits(self, go: Sequence[Member], resting: Mapping[str | None, int]) -> dict[str, int]:
        # Of a managed pool, instances that run rest too: what they take counts once.
        apart = {*self._mine} if pool.is_lent(self.wish) else {member.id for member in go}
        limits: dict[str, int] = {}
        for parent in self._parents.values():
            if parent.most is None or parent.card in limits:
                continue
            used = sum(
                1
                for device in self.seen.active.values()
                if self.seen.cards[device.parent] == parent.card
                and device.type == parent.type
                and device.uuid not in apart
            )
            on_card = [each for each in self._parents.values() if each.card == parent.card]
            rest = sum(resting[each.address] for each in on_card)
            if pool.is_lent(self.wish):
                used += rest + sum(map(self._promised, on_card))
            limits[parent.card] = max(parent.most - (used if self.wish.state == "present" else rest), 0)
        return limits

    def no_room(self, wanted: int, here: Space) -> BadInput:
        wish = self.wish
        return BadInput(
            "count" if wish.uuids is None else "uuids",
            wish.count if wish.uuids is None else list(wish.uuids),
            f"pool {wish.name} needs {wanted} more instances of type {wish.type} and there is room for"
            f" {here.described()}",
        )

    def identity(self, index: int, parent: str) -> str:
        if self.wish.uuids is not None:
            return self.wish.uuids[index]
        return pool_uuid(machine.needed_id(self.seen.machine), self.wish.name, index)

    def moved(self, id: str, parent: str) -> str:
        return id

    def target(self, one: Recorded) -> Definition:
        uuid, parent, kind = one.id, one.parent, self._kind(one)
        # In a mix, an index may become that of an instance of another type.
        same = [each for each in self.seen.defined(uuid) if one.type is None or each.type == kind]
        definitions = sorted(same, key=lambda each: each.parent != parent)
        if uuid not in self._own and definitions and uuid not in self.seen.active and definitions[0].parent != parent:
            raise NodedevError(
                f"mdev {uuid} is defined on {called(definitions[0].parent)}, which has no room for it now: make room"
                " there, or adopt it with state: inactive"
            )
        attrs, starts, managed = self.wish.attrs or (), self.wish.autostart is not False, bool(self.wish.managed)
        if definitions:
            attrs = definitions[0].attrs if self.asked.attrs is None else attrs
            # One that is managed no longer did not start by itself for that reason alone.
            kept = self.asked.autostart is None and not definitions[0].managed
            starts = definitions[0].autostart if kept else starts
        elif self.wish.attrs is None:
            attrs = self._script_attrs(uuid)
        return Definition(uuid, parent, kind, starts and not managed, attrs, managed=managed)

    def _kind(self, one: Recorded) -> str:
        """The kernel's id of the type there; of one that stays defined on a parent that does not tell, what it has."""
        if one.type is not None:
            return f"{vgpu_types.MDEV}{one.type}"
        if one.parent in self._parents:
            return self._parents[one.parent].type
        return self.seen.defined(one.id)[0].type

    def _script_attrs(self, uuid: str) -> Attrs:
        attrs = self.seen.script_attrs.get(uuid, ())
        if isinstance(attrs, Refused):
            raise attrs
        return attrs

    def make(self, creates: Collection[str], targets: Mapping[str, Definition]) -> tuple[list[Step], tuple[str, ...]]:
        made = [step for uuid in creates for step in steps.create(targets[uuid], self._terms)]
        there = {uuid: target for uuid, target in targets.items() if uuid not in creates}
        unfinished = [target for target in there.values() if self._is_unfinished(target)]
        made += [step for each in unfinished for step in steps.set_attributes(each, self.wish.wait_timeout)]
        late = [uuid for uuid, target in there.items() if target not in unfinished and self._is_outdated(target)]
        warning = f"the new attrs take effect when these instances are started next: {', '.join(late)}"
        return made, (warning,) if late else ()

    def foretold(self, target: Definition) -> Mdev:
        api = self._parents[target.parent].device_api
        return Mdev(target.uuid, target.parent, target.type, api, None, ())

    def _is_unfinished(self, target: Definition) -> bool:
        """Whether a run that was killed has made it, and perhaps not yet given it its attributes.

        They are defined last, so those are meant that run without a definition of their type; not where a guest has one
        by now, and not those of others, who may have set what they want.
        """
        uuid, seen = target.uuid, self.seen
        idle = uuid in seen.active and uuid in self._own and not seen.held_by(uuid)
        return (
            self.wish.persistent
            and idle
            and not any(each.type == target.type for each in seen.defined(uuid))
            and target.attrs != seen.script_attrs.get(uuid, ())
        )

    def _is_outdated(self, target: Definition) -> bool:
        """Whether it runs and has other attributes than it is to have, or may have."""
        uuid, seen = target.uuid, self.seen
        unknown = seen.script_attrs.get(uuid, ()) if self.wish.persistent else target.attrs
        former = next(
            (definition.attrs for definition in seen.defined(uuid) if definition.parent == target.parent), unknown
        )
        return uuid in seen.active and former != target.attrs

    def stop(self, uuid: str) -> Iterator[Step]:
        device = self.seen.active.get(uuid)
        if device is not None:
            attrs = next(
                (definition.attrs for definition in self.seen.defined(uuid) if definition.parent == device.parent), ()
            )
            yield steps.remove(device, attrs, self._terms)

    def define(self, target: Definition) -> tuple[list[Step], tuple[Definition, ...]]:
        definitions = {definition.parent: definition for definition in self.seen.defined(target.uuid)}
        former = definitions.pop(target.parent, None)
        change = [steps.undefine(other, self._terms) for other in definitions.values()]
        if not self.wish.persistent:
            return change, () if former is None else (former,)
        return change + ([steps.define(target, former, self._terms)] if former != target else []), (target,)

    def undefine(self, definition: Definition) -> Step:
        return steps.undefine(definition, self._terms)

    def document(self) -> dict[str, Any]:
        return (self.wish if self.mix is None else self.mix.cards.filled).document()

    def then(
        self, kept: Record | None, active: Mapping[str, Mdev], definitions: Mapping[str, tuple[Definition, ...]]
    ) -> Observation:
        seen = self.seen
        more: dict[str, Any] = {"record": kept, "active": active, "definitions": definitions}
        more.update(derived={}, damaged_records=())
        if self.mix is not None:
            return self.mix.cards.then(replace(seen, **more))

        def free(parent: Parent) -> int:
            devices = (each.values() for each in (seen.active, active))
            now, then = (sum(device.parent == parent.address for device in each) for each in devices)
            return max(parent.free + now - then, 0)

        choice = replace(seen.choice, parents=tuple(replace(each, free=free(each)) for each in seen.choice.parents))
        return replace(seen, choice=choice, **more)


def observe(wish: Wish) -> Observation:
    """Read what the wish touches: the record, the parents, all that runs and is defined, and who uses members."""
    seen = pool_seen.observe(wish)
    return pool_mix.observed(wish.filled(seen.record), seen)


def comes_with_guest(seen: Observation) -> bool:
    return any(each.managed for uuid in record.known(seen.record, seen.derived) for each in seen.defined(uuid))


def locks(wish: Wish, seen: Observation | None = None) -> set[str]:
    """The pool and the cards of all parents that a plan may have to do with."""
    touched = cards(wish) if seen is None else {parent.card for parent in seen.choice.parents}
    return {f"pool:{wish.name}", *touched}


def clear_up(wish: Wish, seen: Observation) -> bool:
    """Remove what killed runs have left, and wait for removals that nobody keeps to end; whether there were any."""
    record.RECORDS.clear_up(wish.name)
    mdevctl.clear_up(seen.cards)
    return leaving.await_end(seen.leaving, wish.wait_timeout)


def look_again(wish: Wish, before: Observation, planned: Plan[Observation]) -> Observation:
    """What is there when all steps have been taken: each has looked at what came of it, and the parents tell the room.

    What the wish leaves open stands in the record, which may be gone now.
    """
    return replace(planned.then, choice=chosen(wish.filled(before.record)))


def described(wish: Wish, before: Observation, planned: Plan[Observation], after: Observation) -> dict[str, Any]:
    return {
        "instances": [_instance(member, after) for member in members_of(after)],
        "capacity": _capacity(after),
        "warnings": [*before.choice.oddities, *planned.warnings, *steps.other_owners(planned.steps)],
    }


def _instance(member: Member, seen: Observation) -> dict[str, Any]:
    device = seen.active.get(member.id)
    definition = next(iter(seen.defined(member.id)), None)
    parent = next((parent for parent in seen.choice.parents if parent.address == member.parent), None)
    api = device.device_api if device else parent.device_api if parent else None
    return {
        "index": member.index,
        "uuid": member.id,
        "name": mdev_name(member.id, member.parent) if member.parent else None,
        "parent": parent.name if parent else None,
        "parent_addr": member.parent,
        "type": device.type if device else definition.type if definition else None,
        "device_api": api,
        "active": device is not None,
        "holders": [holder.document() for holder in seen.holders.get(member.id, ())] if device else [],
        "hostdev_xml": domain.mdev(member.id, api) if api in domain.MODELS else None,
    }


def _capacity(seen: Observation) -> dict[str, dict[str, dict[str, int]]]:
    """By parent and type: what is free, and how many instances the pool and others have."""
    own = {member.id for member in members_of(seen)}
    found: dict[str, dict[str, dict[str, int]]] = {}
    for parent in seen.choice.parents:
        devices = [device for device in seen.active.values() if device.parent == parent.address]
        found.setdefault(parent.name, {})[parent.type] = {
            "free": parent.free,
            "pool": sum(device.uuid in own for device in devices if device.type == parent.type),
            "others": sum(device.uuid not in own for device in devices if device.type == parent.type),
        }
    return found
