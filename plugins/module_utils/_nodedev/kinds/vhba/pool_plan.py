# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for a pool of vHBAs: a pure function of what is wished and what is there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...errors import BadInput, NodedevError
from ...host import machine
from ...host.fc_port import Port
from ...plan import Step
from ...pools import members, record, space
from ...pools.members import Change, Member
from ...pools.placement import Room
from ...pools.record import Record, Recorded
from ...pools.space import Space
from ...resource import Plan
from ...store.files import DamagedDefinition
from . import definition, steps
from .definition import Definition
from .parent import called, is_named, unfit, with_npiv
from .pool_seen import Observation, Running, members_of
from .pool_wish import KIND, Wish
from .pool_wish import kept as kept_wish

FORCE = "take the disks away all the same"


def plan(wish: Wish, seen: Observation, ceilings: Mapping[str, int] | None = None) -> Plan[Observation]:
    """The steps from what is to what is wished; raises BadInput or InUse before any of them, and writes nothing.

    ``ceilings`` is by WWPN how many new vHBAs an HBA has been found to take, where that is less than it says.
    """
    told, wish = wish, wish.filled(seen.record)
    if seen.damaged_records and wish.state != "absent":
        raise seen.damaged_records[0]
    own = members_of(seen)
    if wish.state != "absent":
        _check_damaged(seen, {member.id for member in own})
    for running in seen.active.values():
        steps.refuse_if_several(running.wwnn, running.wwpn, seen.ports)
    if wish.state == "absent":
        planned = _absent(wish, seen, own)
    else:
        planned = _Wanted(told, wish, seen, own, ceilings or {}).plan()
    if planned.then.record is not None:
        # Where a new instance is to be defined, a file may stand that cannot be understood.
        _check_damaged(seen, {one.id for one in planned.then.record.instances})
    removed = _damaged(seen, own) if wish.state == "absent" else []
    warnings = [str(damage) for damage in seen.damaged if damage not in removed]
    if wish.identity is None:
        warnings += machine.doubts(seen.machine, f"the WWNs of pool {wish.name}")
    return replace(planned, warnings=(*warnings, *planned.warnings))


def _damaged(seen: Observation, own: Sequence[Member]) -> list[DamagedDefinition]:
    """The definitions of these instances that cannot be understood."""
    ids = {member.id for member in own}
    return [damage for damage in seen.damaged if definition.wwpn_of(damage.path) in ids]


def _check_damaged(seen: Observation, wwpns: Collection[str]) -> None:
    paths = {definition.path_of(wwpn) for wwpn in wwpns}
    for damage in seen.damaged:
        if damage.path in paths:
            raise damage


def _absent(wish: Wish, seen: Observation, own: Sequence[Member]) -> Plan[Observation]:
    for member in own:
        _refuse_if_taken("wwpn", wish, seen, member)
    change = members.resized(wish.name, own, 0, wish.force, "with", FORCE)
    gone = [
        *record.forget_damaged(wish.name, seen.damaged_records),
        *(definition.undefine_damaged(definition.wwpn_of(each.path), each) for each in _damaged(seen, own)),
        *_removal(wish, seen, change.go),
        *([record.forget(seen.record)] if seen.record else []),
    ]
    warnings = record.only_damaged_knew(wish.name, seen.damaged_records)
    then = _then(seen, None, {}, _without(seen.definitions, change.go))
    return Plan(tuple(gone), then, warnings=warnings)


def _then(
    seen: Observation, kept: Record | None, active: Mapping[str, Running], definitions: Mapping[str, Definition]
) -> Observation:
    """The host with this record, these vHBAs and definitions, and with the room that they leave.

    A new vHBA has no port yet.
    """

    def used(hba: Port) -> int:
        now, then = (sum(each.parent == hba.wwpn for each in running.values()) for running in (seen.active, active))
        return max(hba.used + then - now, 0)

    gone = {running.port for wwpn, running in seen.active.items() if wwpn not in active}
    ports = [port if port.vport else replace(port, used=used(port)) for port in seen.ports if port not in gone]
    return replace(
        seen,
        ports=tuple(ports),
        record=kept,
        active=active,
        definitions=definitions,
        derived={},
        damaged_records=(),
    )


def _refuse_if_taken(option: str, wish: Wish, seen: Observation, member: Member) -> None:
    """Raise BadInput where an instance does not run, and its WWPN is that of a port with another WWNN."""
    if member.id in seen.active:
        return
    known = seen.definitions.get(member.id)
    wwnn = known.wwnn if known else wish.wwnn(seen.machine, member.index) if seen.machine else None
    if wwnn is not None:
        steps.refuse_if_taken(option, wwnn, member.id, seen.ports)


def _without(definitions: Mapping[str, Definition], go: Sequence[Member]) -> dict[str, Definition]:
    gone = {member.id for member in go}
    return {wwpn: known for wwpn, known in definitions.items() if wwpn not in gone}


def _removal(wish: Wish, seen: Observation, go: Sequence[Member]) -> Iterator[Step]:
    """Definitions first: what runs cannot always be taken back."""
    yield from (definition.undefine(seen.definitions[member.id]) for member in go if member.id in seen.definitions)
    for member in go:
        yield from _stop(wish, seen, member.id)


def _stop(wish: Wish, seen: Observation, wwpn: str) -> list[Step]:
    """What takes a vHBA away that runs; nothing where none does."""
    running = seen.active.get(wwpn)
    hba = next((hba for hba in seen.hbas if running and hba.wwpn == running.parent), None)
    if running is None or running.port is None or hba is None:
        return []
    steps.refuse_if_used(running.port, running.held_by, wish.force)
    return steps.remove(running.port, hba, running.luns, wish.wait_timeout, wish.force)


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
        self.runs = wish.state == "present"
        self.hbas = {hba.wwpn: hba for hba in seen.hbas}
        self._check_options()
        self.members = [replace(member, rests=self._rests(member)) for member in own]
        reasons = {hba.wwpn: wish.selector.why_not(hba, wish.logged_in) for hba in seen.hbas}
        self.uncounted = {wwpn: reason for wwpn, reason in reasons.items() if reason is not None}

    def _check_options(self) -> None:
        wish = self.wish
        if wish.count is None:
            raise BadInput("count", None, f"pool {wish.name} is not known here, so a count is needed")
        if self.runs and wish.logged_in and not wish.selector.online:
            raise BadInput(
                "parents",
                {"online": False},
                "that goes with require_online: false, since a vHBA cannot log in where the link is down",
            )

    def _check_parents(self) -> None:
        """Raise BadInput where no HBA can be chosen, which is asked only where one is needed."""
        self._check_names()
        wish, hbas = self.wish, self.seen.hbas
        if all(wish.selector.excludes(hba) for hba in hbas):
            raise BadInput(
                "parents",
                wish.selector.document(hbas),
                f"it takes none of the HBAs with NPIV, which are: {with_npiv(hbas)}",
            )

    def _check_names(self) -> None:
        hbas = {hba.name: hba for hba in self.seen.hbas}
        for name in self.wish.selector.names:
            if name not in hbas:
                what = "is no HBA" if self.seen.scsi_hosts.get(name) else "is not there"
                listed = with_npiv(self.seen.hbas)
                raise BadInput("parents", name, f"it {what}; the HBAs with NPIV are: {listed}")
            if not is_named(hbas[name]):
                raise BadInput("parents", name, str(unfit(hbas[name], require_online=False)))

    def _rests(self, member: Member) -> bool:
        """Whether an instance can stay defined on its HBA, be that full, without a link, or gone."""
        if member.parent is None or not (member.active or member.id in self.seen.definitions):
            return False
        hba = self.hbas.get(member.parent)
        selector = self.wish.selector
        if hba is not None:
            return not selector.excludes(hba)
        # An HBA that is named and not there may be this one.
        named = {*selector.names} - {each.name for each in self.seen.hbas}
        return bool(named) or selector.may_take(member.parent)

    def _kept_wish(self) -> dict[str, Any]:
        """What is recorded of the wish; where HBAs are named that are not there, those that were chosen before stay."""
        try:
            self._check_names()
        except BadInput:
            if self.seen.record is None or "parents" not in self.seen.record.wish:
                raise
            return {**self.wish.document(()), "parents": self.seen.record.wish["parents"]}
        return self.wish.document(self.seen.hbas)

    def plan(self) -> Plan[Observation]:
        change = self._change()
        as_many_as_fit = self.wish.count == members.MAX and (self.runs or not self.members)
        if as_many_as_fit or space.wanted(change, self.runs):
            self._check_parents()
        self._check_stay(change.stay)
        placed = self._placed(change)
        targets = {one.id: self._target(one) for one in placed}
        define = [*self._definition_steps(targets)]
        remove = [*_removal(self.wish, self.seen, change.go)]
        active = {wwpn: running for wwpn, running in self.seen.active.items() if wwpn in targets}
        creates = tuple(target for wwpn, target in targets.items() if self.runs and wwpn not in active)
        make = [*map(self._create, creates)]
        if self.runs:
            active.update({new.wwpn: Running(new.wwnn, new.wwpn, new.parent_wwpn) for new in creates})
        else:
            which = "are to be there no longer"
            members.refuse_if_held(self.wish.name, change.stay, which, self.wish.force, "with", FORCE)
            for wwpn in active:
                remove += _stop(self.wish, self.seen, wwpn)
            active = {}
        root = record.root_for(self.wish.persistent, self.seen.record)
        kept = record.with_instances(
            Record(self.wish.name, KIND, self._kept_wish(), (), root),
            [*placed, *record.of_members(change.left)],
        )
        if kept != self.seen.record:
            record.refuse_unreadable(kept, kept_wish)
        ordered = [*remove, *make, *define] if self.runs else [*define, *remove]
        definitions = _without(self.seen.definitions, change.go)
        after = {**definitions, **targets} if self.wish.persistent else definitions
        return Plan(
            record.around(ordered, kept, self.seen.record, change.go),
            _then(self.seen, kept, active, after),
            tuple(target.wwpn for target in creates),
            {target.wwpn: target.parent_wwpn for target in creates},
        )

    def _change(self) -> Change:
        wish = self.wish
        if isinstance(wish.count, int):
            return members.resized(wish.name, self.members, wish.count, wish.force, "with", FORCE)
        most = space.most(self.members, self.runs, self._space((), self.members))
        return members.fitted(self.members, most, self.runs)

    def _check_stay(self, stay: Sequence[Member]) -> None:
        for member in stay:
            _refuse_if_taken("name", self.wish, self.seen, member)
            hba = self.hbas.get(member.parent or "")
            if member.active and hba is not None and self.wish.selector.excludes(hba):
                raise NodedevError(
                    f"pool {self.wish.name} has vHBA {member.id} on {called(hba)}, which is not among the HBAs that are"
                    " chosen: choose it too, or remove the pool first with state: absent"
                )

    def _placed(self, change: Change) -> tuple[Recorded, ...]:
        """Where every instance is to be, by index."""
        here = self._space(change.go, change.stay)
        wanted = space.wanted(change, self.runs)
        if wanted > here.capacity and not self.runs:
            here = self._space(change.go, change.stay, ever=True)
        if wanted > here.capacity:
            room = here.described(lambda wwpn: called(self.hbas[wwpn]))
            why = "; ".join(f"{self.hbas[wwpn].name}: {reason}" for wwpn, reason in self.uncounted.items())
            raise BadInput(
                "count",
                self.wish.count,
                f"pool {self.wish.name} needs {wanted} more vHBAs and there is room for {room}"
                + (f"; not counted are {why}" if why else ""),
            )
        return space.placed(change, self.runs, here, self._identity, self.wish.placement)

    def _space(self, go: Sequence[Member], stay: Sequence[Member], ever: bool = False) -> Space:
        """What the HBAs can take, with what those instances leave that go or that are placed anew.

        ``ever`` is for instances that are only defined: then it is what the HBAs can take at the most, whatever their
        links are like now and whoever has vports there.
        """
        leaving = space.leaving(go, stay, self.runs)
        resting = space.resting(stay, self.runs)
        rooms = []
        for wwpn, hba in self.hbas.items():
            free = hba.most if ever else hba.free + leaving[wwpn]
            if wwpn not in self.uncounted or (ever and self._can_be_defined_on(hba)):
                rooms.append(Room(wwpn, wwpn, max(free - resting[wwpn], 0)))
            elif resting[wwpn]:
                rooms.append(Room(wwpn, wwpn, 0))
        return Space(rooms, self.ceilings)

    def _can_be_defined_on(self, hba: Port) -> bool:
        return self.wish.selector.excludes(hba) is None and unfit(hba, require_online=False) is None

    def _identity(self, index: int) -> str:
        return self.wish.wwpn(machine.needed_id(self.seen.machine), index)

    def _target(self, one: Recorded) -> Definition:
        there = self.seen.active.get(one.id) or self.seen.definitions.get(one.id)
        wwnn = there.wwnn if there else self.wish.wwnn(machine.needed_id(self.seen.machine), one.index)
        if one.id not in self.seen.active:
            steps.refuse_if_taken("name", wwnn, one.id, self.seen.ports)
        known = self.seen.definitions.get(one.id)
        # What this run was not told stays as it is defined.
        online = self.wish.logged_in if known is None or self.told.require_online is not None else known.require_online
        return Definition(one.id, wwnn, one.parent, online)

    def _create(self, target: Definition) -> Step:
        return steps.create(target, self.hbas[target.parent_wwpn], self.wish.wait_timeout)

    def _definition_steps(self, targets: Mapping[str, Definition]) -> Iterator[Step]:
        for wwpn, target in targets.items():
            former = self.seen.definitions.get(wwpn)
            if self.wish.persistent and former != target:
                yield definition.define(target, former)
