# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for a pool of vHBAs: a pure function of what is wished and what is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from .. import machine
from ..errors import BadInput, NodedevError
from ..plan import Step
from ..resources import vhba_definition as definition
from ..resources import vhba_steps as steps
from ..resources.vhba_definition import Definition
from ..resources.vhba_parent import called, with_npiv
from . import members, record, space
from .members import Change, Member
from .placement import Room
from .record import Record, Recorded
from .space import Space
from .vhba_seen import Observation, Running, members_of
from .vhba_wish import KIND, Wish

FORCE = "take the disks away all the same"


@dataclass(frozen=True)
class Plan:
    """The steps, the vHBAs that they make in that order, and what will be there: the pool and its instances."""

    steps: tuple[Step, ...]
    creates: tuple[Definition, ...]
    record: Record | None
    active: Mapping[str, Running]
    definitions: Mapping[str, Definition]
    warnings: tuple[str, ...] = ()


def plan(wish: Wish, seen: Observation, ceilings: Mapping[str, int] | None = None) -> Plan:
    """The steps from what is to what is wished; raises BadInput or InUse before any of them, and writes nothing.

    ``ceilings`` is by WWPN how many new vHBAs an HBA has been found to take, where that is less than it says.
    """
    wish = wish.filled(seen.record)
    own = members_of(seen)
    _check_damaged(seen, {member.id for member in own})
    for running in seen.active.values():
        steps.refuse_if_several(running.wwnn, running.wwpn, seen.ports)
    planned = _absent(wish, seen, own) if wish.state == "absent" else _Wanted(wish, seen, own, ceilings or {}).plan()
    if planned.record is not None:
        # Where a new instance is to be defined, a file may stand that cannot be understood.
        _check_damaged(seen, {one.id for one in planned.record.instances})
    return replace(planned, warnings=tuple(str(damage) for damage in seen.damaged))


def _check_damaged(seen: Observation, wwpns: Collection[str]) -> None:
    paths = {definition.path_of(wwpn) for wwpn in wwpns}
    for damage in seen.damaged:
        if damage.path in paths:
            raise damage


def _absent(wish: Wish, seen: Observation, own: Sequence[Member]) -> Plan:
    change = members.resized(wish.name, own, 0, wish.force, "with", FORCE)
    gone = [*_removal(wish, seen, change.go), *([record.forget(seen.record)] if seen.record else [])]
    return Plan(tuple(gone), (), None, {}, _without(seen.definitions, change.go))


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
    steps.refuse_if_used(running.port, running.uses, wish.force)
    return steps.remove(running.port, hba, running.luns, wish.wait_timeout, wish.force)


class _Wanted:
    """The plan for a pool that is to be there, running or only defined."""

    def __init__(self, wish: Wish, seen: Observation, own: Sequence[Member], ceilings: Mapping[str, int]) -> None:
        self.wish = wish
        self.seen = seen
        self.members = own
        self.ceilings = ceilings
        self.runs = wish.state == "present"
        self.hbas = {hba.wwpn: hba for hba in seen.hbas}
        self._check_options()
        reasons = {hba.wwpn: wish.selector.why_not(hba, wish.logged_in) for hba in seen.hbas}
        self.uncounted = {wwpn: reason for wwpn, reason in reasons.items() if reason is not None}

    def _check_options(self) -> None:
        wish, seen = self.wish, self.seen
        if wish.count is None:
            raise BadInput("count", None, f"pool {wish.name} is not known here, so a count is needed")
        if self.runs and wish.logged_in and not wish.selector.online:
            raise BadInput(
                "parents",
                {"online": False},
                "that goes with require_online: false, since a vHBA cannot log in where the link is down",
            )
        names = {hba.name for hba in seen.hbas}
        for name in wish.selector.scsi_hosts:
            if name not in names:
                what = "is no HBA" if seen.scsi_hosts.get(name) else "is not there"
                raise BadInput("parents", name, f"it {what}; the HBAs with NPIV are: {with_npiv(seen.hbas)}")
        if all(wish.selector.excludes(hba) for hba in seen.hbas):
            raise BadInput(
                "parents",
                wish.selector.document(seen.hbas),
                f"it takes none of the HBAs with NPIV, which are: {with_npiv(seen.hbas)}",
            )

    def plan(self) -> Plan:
        change = self._change()
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
            Record(self.wish.name, KIND, self.wish.document(self.seen.hbas), (), root),
            [*placed, *record.of_members(change.left)],
        )
        ordered = [*remove, *make, *define] if self.runs else [*define, *remove]
        definitions = _without(self.seen.definitions, change.go)
        return Plan(
            record.around(ordered, kept, self.seen.record, change.go),
            creates,
            kept,
            active,
            {**definitions, **targets} if self.wish.persistent else definitions,
        )

    def _change(self) -> Change:
        wish = self.wish
        most = space.most(self.members, self.runs, self._space((), self.members))
        if isinstance(wish.count, int):
            return members.resized(wish.name, self.members, wish.count, wish.force, "with", FORCE)
        return members.fitted(self.members, most, self.runs)

    def _check_stay(self, stay: Sequence[Member]) -> None:
        for member in stay:
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

    def _space(self, go: Sequence[Member], stay: Sequence[Member]) -> Space:
        """What the HBAs can take, with what those instances leave that go or that are placed anew."""
        leaving = space.leaving(go, stay, self.runs)
        # Those that are not to run stay defined where they are, whatever the link is like now.
        defined = Counter(() if self.runs else (member.parent for member in stay))
        rooms = []
        for wwpn, hba in self.hbas.items():
            free = hba.free + leaving[wwpn]
            if wwpn not in self.uncounted:
                rooms.append(Room(wwpn, wwpn, free))
            elif defined[wwpn] and not self.wish.selector.excludes(hba):
                rooms.append(Room(wwpn, wwpn, min(free, defined[wwpn])))
        return Space(rooms, self.ceilings)

    def _identity(self, index: int) -> str:
        return self.wish.wwpn(machine.needed_id(self.seen.machine), index)

    def _target(self, one: Recorded) -> Definition:
        there = self.seen.active.get(one.id) or self.seen.definitions.get(one.id)
        wwnn = there.wwnn if there else self.wish.wwnn(machine.needed_id(self.seen.machine), one.index)
        if one.id not in self.seen.active:
            steps.refuse_if_taken("name", wwnn, one.id, self.seen.ports)
        return Definition(one.id, wwnn, one.parent, self.wish.logged_in)

    def _create(self, target: Definition) -> Step:
        return steps.create(target, self.hbas[target.parent_wwpn], self.wish.wait_timeout)

    def _definition_steps(self, targets: Mapping[str, Definition]) -> Iterator[Step]:
        for wwpn, target in targets.items():
            former = self.seen.definitions.get(wwpn)
            if self.wish.persistent and former != target:
                yield definition.define(target, former)
