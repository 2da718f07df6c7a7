# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for a pool of mediated devices: a pure function of what is wished and what is there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from ...errors import BadInput, NodedevError
from ...host import holders, machine
from ...host.mdevs import Mdev
from ...names import pool_uuid
from ...plan import Step
from ...pools import members, record, space
from ...pools.members import Change, Member
from ...pools.placement import Room
from ...pools.record import Record, Recorded
from ...pools.space import Space
from ...resource import Plan
from ...store import mdevctl
from ...store.callouts import Refused
from ...store.files import DamagedDefinition
from ...store.mdevctl import Attrs, Definition
from . import steps
from .parents import Parent, Selector
from .pool_seen import Observation, members_of
from .pool_wish import KIND, Wish
from .pool_wish import kept as kept_wish


def plan(wish: Wish, seen: Observation, ceilings: Mapping[str, int] | None = None) -> Plan[Observation]:
    """The steps from what is to what is wished; raises BadInput or InUse before any of them, and writes nothing.

    ``ceilings`` is how many new instances a card has been found to take, where that is less than its parents say.
    """
    told, wish = wish, wish.filled(seen.record)
    if seen.damaged_records and wish.state != "absent":
        raise seen.damaged_records[0]
    own = members_of(seen)
    discarded = [damage for damage in seen.damaged if wish.state == "absent" and _discarded(own, damage)]
    damaged = [damage for damage in seen.damaged if damage not in discarded]
    _check_damaged(damaged, {member.id for member in own} | {*(wish.uuids or ())})
    for leaving in seen.leaving:
        raise leaving.refusal()
    if wish.state == "absent":
        planned = _absent(wish, seen, own)
    else:
        planned = _Wanted(told, wish, seen, own, ceilings or {}).plan()
    if planned.then.record is not None:
        # Where a new instance is to be defined, a file may stand that cannot be understood.
        _check_damaged(damaged, {one.id for one in planned.then.record.instances})
    warnings = [str(damage) for damage in damaged]
    if wish.identity is None and wish.uuids is None:
        warnings += machine.doubts(seen.machine, f"the UUIDs of pool {wish.name}")
    return replace(planned, warnings=(*warnings, *planned.warnings))


def _discarded(own: Sequence[Member], damage: DamagedDefinition) -> bool:
    """Whether a file that cannot be understood is that of an instance, just where it should be, and goes with it."""
    return mdevctl.place_of(damage) in {(member.parent, member.id) for member in own}


def _check_damaged(damaged: Sequence[DamagedDefinition], uuids: Collection[str]) -> None:
    """Raise DamagedDefinition where one of these instances has a definition that cannot be understood."""
    for damage in damaged:
        if mdevctl.place_of(damage)[1] in uuids:
            raise damage


def _absent(wish: Wish, seen: Observation, own: Sequence[Member]) -> Plan[Observation]:
    change = members.resized(wish.name, own, 0, wish.force)
    gone = [
        *record.forget_damaged(wish.name, seen.damaged_records),
        *(steps.discard(damage) for damage in seen.damaged if _discarded(own, damage)),
        *_removal(wish, seen, change.go),
        *([record.forget(seen.record)] if seen.record else []),
    ]
    ids = {member.id for member in own}
    active = {uuid: device for uuid, device in seen.active.items() if uuid not in ids}
    defined = {uuid: known for uuid, known in seen.definitions.items() if uuid not in ids}
    warnings = record.only_damaged_knew(wish.name, seen.damaged_records)
    return Plan(tuple(gone), _then(seen, None, active, defined), warnings=warnings)


def _then(
    seen: Observation,
    kept: Record | None,
    active: Mapping[str, Mdev],
    definitions: Mapping[str, tuple[Definition, ...]],
) -> Observation:
    """The host with this record, these devices and definitions, and with the room that the devices leave."""

    def free(parent: Parent) -> int:
        now, then = (sum(device.parent == parent.address for device in each.values()) for each in (seen.active, active))
        return max(parent.free + now - then, 0)

    parents = tuple(replace(parent, free=free(parent)) for parent in seen.choice.parents)
    return replace(
        seen,
        choice=replace(seen.choice, parents=parents),
        record=kept,
        active=active,
        definitions=definitions,
        derived={},
        damaged_records=(),
    )


def _removal(wish: Wish, seen: Observation, go: Sequence[Member]) -> Iterator[Step]:
    """Definitions first: what runs cannot always be taken back."""
    terms = _terms(wish, seen)
    for member in go:
        for known in seen.defined(member.id):
            yield steps.undefine(known, terms)
    for member in go:
        if member.active:
            attrs = next((known.attrs for known in seen.defined(member.id) if known.parent == member.parent), ())
            yield steps.remove(seen.active[member.id], attrs, terms)


def _terms(wish: Wish, seen: Observation) -> steps.Terms:
    return steps.Terms(wish.wait_timeout, seen.callouts, wish.force)


class _Wanted:
    """The plan for a pool that is to be there, running or only defined.

    ``told`` is the wish without what the record fills in: what it leaves open stays as it is of instances that have it.
    """

    def __init__(
        self, told: Wish, wish: Wish, seen: Observation, own: Sequence[Member], ceilings: Mapping[str, int]
    ) -> None:
        self.told = told
        self.wish = wish
        self.seen = seen
        self.ceilings = ceilings
        self.terms = _terms(wish, seen)
        self.parents = {parent.address: parent for parent in seen.choice.parents}
        self.runs = wish.state == "present"
        self._check_options()
        self.adopted = self._adopted(own)
        self.members = [replace(member, rests=self._rests(member)) for member in [*own, *self.adopted]]

    def _check_options(self) -> None:
        wish = self.wish
        if wish.type is None:
            raise BadInput("type", None, f"pool {wish.name} is not known here, so a type is needed; {self._offers()}")
        if wish.count is None and wish.uuids is None:
            raise BadInput("count", None, f"pool {wish.name} is not known here, so a count or uuids are needed")

    def _check_parents(self) -> None:
        """Raise BadInput where no parent can be chosen, which is asked only where one is needed."""
        wish, choice = self.wish, self.seen.choice
        listed = ", ".join(self.seen.registered) or "none"
        if choice.missing:
            raise BadInput("parents", choice.missing[0], f"the registered parents are: {listed}")
        if not self.parents and choice.offers:
            raise BadInput("type", wish.type, self._offers())
        if not self.parents:
            raise BadInput(
                "parents", (wish.parents or Selector()).document(), f"it takes none of the registered parents: {listed}"
            )

    def _rests(self, member: Member) -> bool:
        """Whether an instance can stay defined where it is, be its parent full, without the type, or gone."""
        if member.parent is None or not (member.active or self.seen.defined(member.id)):
            return False
        if member.parent in self.seen.registered:
            return member.parent in self.parents or member.parent in self.seen.choice.offers
        return (self.wish.parents or Selector()).may_take(member.parent)

    def _offers(self) -> str:
        offers = self.seen.choice.offers
        return "; ".join(f"{address} has the types: {', '.join(kinds) or 'none'}" for address, kinds in offers.items())

    def _adopted(self, own: Sequence[Member]) -> list[Member]:
        """Listed instances that others made; an error unless they may be adopted."""
        known = {member.id for member in own}
        found: list[Member] = []
        for index, uuid in enumerate(self.wish.uuids or ()):
            device, defined = self.seen.active.get(uuid), self.seen.defined(uuid)
            if uuid in known or (device is None and not defined):
                continue
            parent = device.parent if device else defined[0].parent
            owner = self.seen.owners.get(uuid)
            if owner is not None:
                raise NodedevError(f"mdev {uuid} on {parent} belongs to pool {owner}: take it out of that one first")
            if not self.wish.adopt:
                raise NodedevError(
                    f"mdev {uuid} on {parent} was not made for pool {self.wish.name}: set adopt: true to take it into"
                    " the pool, or list another UUID"
                )
            if len(defined) > 1:
                raise NodedevError(
                    f"mdev {uuid} is defined under several parents, {', '.join(each.parent for each in defined)}:"
                    " undefine it under all but one, then adopt it"
                )
            found.append(
                Member(index, uuid, parent, device is not None, holders.named(self.seen.holders.get(uuid, ())))
            )
        return found

    def plan(self) -> Plan[Observation]:
        change = self._change()
        as_many_as_fit = self.wish.count == members.MAX and (self.runs or not self.members)
        if as_many_as_fit or space.wanted(change, self.runs):
            self._check_parents()
        self._check_stay(change.stay)
        placed = self._placed(change)
        targets = {one.id: self._target(one.id, one.parent) for one in placed}
        define = list(self._definition_steps(targets))
        remove = list(_removal(self.wish, self.seen, change.go))
        go = {member.id for member in change.go}
        active = {uuid: device for uuid, device in self.seen.active.items() if uuid not in go}
        creates = tuple(target for uuid, target in targets.items() if self.runs and uuid not in active)
        if self.runs:
            make = [step for target in creates for step in steps.create(target, self.terms)]
            active.update({target.uuid: self._made(target) for target in creates})
            make += self._finish(targets)
        else:
            members.refuse_if_held(self.wish.name, change.stay, "are to run no longer", self.wish.force)
            make = []
            for uuid in [uuid for uuid in targets if uuid in active]:
                device = active.pop(uuid)
                attrs = targets[uuid].attrs
                remove.append(steps.remove(device, attrs, self.terms))
        kept = self._record([*placed, *record.of_members(change.left)])
        if kept != self.seen.record:
            record.refuse_unreadable(kept, kept_wish)
        ordered = [*remove, *make, *define] if self.runs else [*define, *remove]
        return Plan(
            record.around(ordered, kept, self.seen.record, change.go),
            _then(self.seen, kept, active, self._definitions_after(targets, go)),
            tuple(target.uuid for target in creates),
            {target.uuid: self.seen.cards[target.parent] for target in creates},
            self._outdated(targets),
        )

    def _change(self) -> Change:
        wish = self.wish
        if wish.uuids is not None:
            return members.listed(wish.name, self.members, wish.uuids, wish.force)
        if isinstance(wish.count, int):
            return members.resized(wish.name, self.members, wish.count, wish.force)
        most = space.most(self.members, self.runs, self._space((), self.members))
        return members.fitted(self.members, most, self.runs)

    def _check_stay(self, stay: Sequence[Member]) -> None:
        for member in stay:
            parent = self.parents.get(member.parent or "")
            adopted = member.id in self._adopted_ids
            if parent is None and (member.active or (adopted and (self.runs or not member.rests))):
                raise NodedevError(
                    f"pool {self.wish.name} has mdev {member.id} on {member.parent}, which is not among the parents"
                    f" that are chosen and have type {self.wish.type}: choose it too, or remove the pool first with"
                    " state: absent"
                )
            device = self.seen.active.get(member.id)
            for kind in [device.type] if device else [known.type for known in self.seen.defined(member.id)]:
                if parent is not None and kind != parent.type:
                    raise NodedevError(
                        f"pool {self.wish.name} has mdev {member.id} with type {kind} on {member.parent}, not with type"
                        f" {parent.type}: remove the pool first with state: absent, or choose another name"
                    )
                if parent is None and not self.runs and not self._may_have(member, kind):
                    raise NodedevError(
                        f"pool {self.wish.name} has mdev {member.id} with type {kind} on {member.parent}: whether that"
                        f" is {self.wish.type} cannot be told, since the parent does not offer it now"
                    )

    @property
    def _adopted_ids(self) -> set[str]:
        return {member.id for member in self.adopted}

    def _may_have(self, member: Member, kind: str) -> bool:
        """Whether an instance whose parent does not tell its types any more has the wished one, as it had before."""
        same = self.seen.record is None or self.seen.record.wish.get("type") == self.wish.type
        return kind == self.wish.type or (same and member.id not in self._adopted_ids)

    def _placed(self, change: Change) -> tuple[Recorded, ...]:
        """Where every instance is to be, by index."""
        here = self._space(change.go, change.stay)
        wanted = space.wanted(change, self.runs)
        if wanted > here.capacity and not self.runs:
            here = self._space(change.go, change.stay, ever=True)
        if wanted > here.capacity:
            raise BadInput(
                "count" if self.wish.uuids is None else "uuids",
                self.wish.count if self.wish.uuids is None else list(self.wish.uuids),
                f"pool {self.wish.name} needs {wanted} more instances of type {self.wish.type} and there is room for"
                f" {here.described()}",
            )
        placed = space.placed(change, self.runs, here, self._identity, self.wish.placement)
        self._check_adopted(placed)
        return placed

    def _check_adopted(self, placed: Sequence[Recorded]) -> None:
        """Raise NodedevError where an instance would have to be moved in the run that adopts it."""
        parents = {one.id: one.parent for one in placed}
        for member in self.adopted:
            if parents[member.id] != member.parent:
                raise NodedevError(
                    f"mdev {member.id} is defined on {member.parent}, which has no room for it now: make room there, or"
                    " adopt it with state: inactive"
                )

    def _identity(self, index: int) -> str:
        if self.wish.uuids is not None:
            return self.wish.uuids[index]
        return pool_uuid(machine.needed_id(self.seen.machine), self.wish.name, index)

    def _space(self, go: Sequence[Member], stay: Sequence[Member], ever: bool = False) -> Space:
        """What the parents can take, with what those instances leave that go or that are placed anew.

        ``ever`` is for instances that are only defined: then it is what the parents can take at the most, at any time.
        """
        leaving = space.leaving(go, stay, self.runs)
        resting = space.resting(stay, self.runs)
        rooms = []
        for address, parent in self.parents.items():
            free = self._most(parent) if ever else parent.free + leaving[address]
            rooms.append(Room(address, parent.card, max(free - resting[address], 0)))
        return Space(rooms, self._limits(go, resting))

    def _most(self, parent: Parent) -> int:
        """How many instances a parent can ever take, where that can be told; what others use may be given free."""
        on_card = [each for each in self.seen.active.values() if self.seen.cards[each.parent] == parent.card]
        own = sum(each.parent == parent.address and each.type == parent.type for each in on_card)
        if parent.card != parent.address:
            # A virtual function takes one, whatever it says while its card is full.
            return max(parent.free + own, 1)
        # Instances of another size may leave room for none of this one.
        told = parent.free + own > 0 and all(each.type == parent.type for each in on_card)
        return parent.free + own if told else members.MOST

    def _limits(self, go: Sequence[Member], resting: Mapping[str | None, int]) -> dict[str, int]:
        """What the cards can take, where they are known to take less than the sum of what their parents say."""
        gone = {member.id for member in go}
        limits = {}
        for parent in self.parents.values():
            if parent.most is None or parent.card in limits:
                continue
            used = sum(
                1
                for device in self.seen.active.values()
                if self.seen.cards[device.parent] == parent.card
                and device.type == parent.type
                and device.uuid not in gone
            )
            rest = sum(resting[each.address] for each in self.parents.values() if each.card == parent.card)
            limits[parent.card] = max(parent.most - (used if self.runs else rest), 0)
        for card, most in self.ceilings.items():
            limits[card] = min(most, limits.get(card, most))
        return limits

    def _target(self, uuid: str, parent: str) -> Definition:
        """How an instance is to be defined; what this run was not told stays as its definition has it."""
        known = sorted(self.seen.defined(uuid), key=lambda each: each.parent != parent)
        attrs, starts = self.wish.attrs or (), self.wish.autostart is not False
        if known:
            attrs = known[0].attrs if self.told.attrs is None else attrs
            starts = known[0].autostart if self.told.autostart is None else starts
        elif self.wish.attrs is None:
            attrs = self._told(uuid)
        return Definition(uuid, parent, self._kind(uuid, parent), starts, attrs)

    def _kind(self, uuid: str, parent: str) -> str:
        """The kernel's id of the type there; of one that stays defined on a parent that does not tell, what it has."""
        if parent in self.parents:
            return self.parents[parent].type
        return self.seen.defined(uuid)[0].type

    def _told(self, uuid: str) -> Attrs:
        told = self.seen.told.get(uuid, ())
        if isinstance(told, Refused):
            raise told
        return told

    def _made(self, target: Definition) -> Mdev:
        return Mdev(target.uuid, target.parent, target.type, self.parents[target.parent].device_api, None, ())

    def _definition_steps(self, targets: Mapping[str, Definition]) -> Iterator[Step]:
        for uuid, target in targets.items():
            known = {definition.parent: definition for definition in self.seen.defined(uuid)}
            former = known.pop(target.parent, None)
            for other in known.values():
                yield steps.undefine(other, self.terms)
            if self.wish.persistent and former != target:
                yield steps.define(target, former, self.terms)

    def _definitions_after(self, targets: Mapping[str, Definition], go: set[str]) -> dict[str, tuple[Definition, ...]]:
        after = {uuid: known for uuid, known in self.seen.definitions.items() if uuid not in go}
        for uuid, target in targets.items():
            here = tuple(known for known in after.get(uuid, ()) if known.parent == target.parent)
            after[uuid] = (target,) if self.wish.persistent else here
        return after

    def _unfinished(self, targets: Mapping[str, Definition]) -> list[Definition]:
        """Instances that a run which was killed has made, and perhaps not yet given their attributes.

        They are defined last, so those are meant that run without a definition; not where a guest has one by now, and
        not those of others, who may have set what they want.
        """
        if not self.wish.persistent:
            return []
        own = {member.id for member in members_of(self.seen) if member.active and not member.held_by}
        return [
            target
            for uuid, target in targets.items()
            if uuid in own and not self.seen.defined(uuid) and target.attrs != self.seen.told.get(uuid, ())
        ]

    def _finish(self, targets: Mapping[str, Definition]) -> list[Step]:
        seconds = self.wish.wait_timeout
        return [step for target in self._unfinished(targets) for step in steps.set_attributes(target, seconds)]

    def _outdated(self, targets: Mapping[str, Definition]) -> tuple[str, ...]:
        """The warning that names those that run and have other attributes than they are to have, or may have."""
        if not self.runs:
            return ()
        unfinished = {target.uuid for target in self._unfinished(targets)}
        changed = []
        for uuid, target in targets.items():
            known = next((known for known in self.seen.defined(uuid) if known.parent == target.parent), None)
            unknown = self.seen.told.get(uuid, ()) if self.wish.persistent else target.attrs
            former = known.attrs if known else unknown
            if uuid in self.seen.active and former != target.attrs and uuid not in unfinished:
                changed.append(uuid)
        if not changed:
            return ()
        return (f"the new attrs take effect when these instances are started next: {', '.join(changed)}",)

    def _record(self, instances: Sequence[Recorded]) -> Record:
        root = record.root_for(self.wish.persistent, self.seen.record)
        return record.with_instances(Record(self.wish.name, KIND, self.wish.document(), (), root), instances)
