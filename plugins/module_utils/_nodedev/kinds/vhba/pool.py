# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool of vHBAs: so many over a choice of HBAs, always with the same World Wide Names.

The names follow from the host, the pool's name and an index, so that zones and LUN masks that were made for them hold.
vHBAs of others are never touched.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ...errors import BadInput, Missing, NodedevError
from ...host import fc_port, machine
from ...host.fc_port import Port
from ...plan import Step
from ...pools import pool, record
from ...pools.members import Member
from ...pools.pool import members_of, starts, state
from ...pools.record import Record, Recorded
from ...pools.space import Space
from ...resource import Plan
from ...store.documents import name_of
from ...store.files import DamagedDefinition
from . import definition, device, kernel, pool_wish, steps
from .definition import Definition
from .parent import called, is_named, unfit, with_npiv
from .pool_seen import Observation, Running, observe
from .pool_wish import Wish
from .port import of_luns

__all__ = [
    "PEER",
    "SUBSYSTEM",
    "Wish",
    "clear_up",
    "described",
    "events",
    "locks",
    "look_again",
    "observe",
    "plan",
    "settled",
    "starts",
    "state",
]

# Of udev's events.
SUBSYSTEM = "scsi_host"
PEER = None


def plan(wish: Wish, seen: Observation, ceilings: Mapping[str, int] | None = None) -> Plan[Observation]:
    return pool.plan(_Vhbas(wish, wish.filled(seen.record), seen), ceilings or {})


@dataclass(frozen=True)
class _Vhbas:
    """What the plan for a pool asks of vHBAs; ``asked`` is the wish without what the record fills in."""

    asked: Wish
    wish: Wish
    seen: Observation

    KIND = pool_wish.KIND
    NOUN, NAMES = "vHBA", "WWNs"
    HELD = ("with", device.TAKEN)
    STOPPED = "are to be there no longer"
    mix = None
    understood = staticmethod(pool_wish.kept)
    # Their names follow from the pool's.
    listed = None

    @cached_property
    def _hbas(self) -> dict[str, Port]:
        return {hba.wwpn: hba for hba in self.seen.hbas}

    def place_of(self, damage: DamagedDefinition) -> tuple[str | None, str | None]:
        return None, name_of(damage.path)

    def refuse(self, own: Sequence[Member]) -> None:
        for running in self.seen.active.values():
            device.refuse_if_several(running.wwnn, running.wwpn, self.seen.ports)
        if self.wish.state == "absent":
            for member in own:
                self._refuse_if_taken("wwpn", member)

    def _refuse_if_taken(self, option: str, member: Member) -> None:
        """Raise BadInput where an instance does not run, and its WWPN is that of a port with another WWNN."""
        seen = self.seen
        if member.id in seen.active:
            return
        definition = seen.definitions.get(member.id)
        wwnn = definition.wwnn if definition else self.wish.wwnn(seen.machine, member.index) if seen.machine else None
        if wwnn is not None:
            device.refuse_if_taken(option, wwnn, member.id, seen.ports)

    def with_adopted(self, own: list[Member]) -> list[Member]:
        wish = self.wish
        if wish.count is None:
            raise Missing("count", f"pool {wish.name} is not known here")
        if wish.state == "present" and wish.logged_in and not wish.selector.online:
            raise BadInput(
                "parents",
                {"online": False},
                "that goes with require_online: false, since a vHBA cannot log in where the link is down",
            )
        return [replace(member, rests=self._rests(member)) for member in own]

    def _rests(self, member: Member) -> bool:
        """Whether an instance can stay defined on its HBA, be that full, without a link, or gone."""
        if member.parent is None or not (member.active or member.id in self.seen.definitions):
            return False
        hba = self._hbas.get(member.parent)
        selector = self.wish.selector
        if hba is not None:
            return not selector.excludes(hba)
        # An HBA that is named and not there may be this one.
        named = {*selector.names} - {each.name for each in self.seen.hbas}
        return bool(named) or selector.may_take(member.parent)

    def _refuse_parents(self) -> None:
        self._check_names()
        wish, hbas = self.wish, self.seen.hbas
        if not hbas:
            raise NodedevError("; ".join((f"pool {wish.name}: {fc_port.NO_HBA}", *self.seen.adapters)))
        reasons = {called(hba): wish.selector.excludes(hba) for hba in hbas}
        if all(reasons.values()):
            told = "; ".join(f"{hba}: {reason}" for hba, reason in reasons.items())
            raise BadInput("parents", wish.selector.document(hbas), f"it leaves out every HBA: {told}")

    def _check_names(self) -> None:
        hbas = {hba.name: hba for hba in self.seen.hbas}
        for name in self.wish.selector.names:
            if name not in hbas:
                what = "is no HBA" if self.seen.scsi_hosts.get(name) else "is not there"
                listed = with_npiv(self.seen.hbas)
                raise BadInput("parents", name, f"it {what}; the HBAs with NPIV are: {listed}")
            if not is_named(hbas[name]):
                raise BadInput("parents", name, str(unfit(hbas[name], require_online=False)))

    def refuse_change(self, stay: Sequence[Member], grows: bool) -> None:
        if grows:
            self._refuse_parents()
        for member in stay:
            self._refuse_if_taken("name", member)
            hba = self._hbas.get(member.parent or "")
            if member.active and hba is not None and self.wish.selector.excludes(hba):
                raise NodedevError(
                    f"pool {self.wish.name} has vHBA {member.id} on {called(hba)}, which is not among the HBAs that are"
                    " chosen: choose it too, or remove the pool first with state: absent"
                )

    def rooms(self, ever: bool) -> Iterator[tuple[str, str, int | None]]:
        for wwpn, hba in self._hbas.items():
            if ever:
                counts = self.wish.selector.excludes(hba) is None and unfit(hba, require_online=False) is None
            else:
                counts = self._hindrance(hba) is None
            yield wwpn, wwpn, None if not counts else hba.most if ever else hba.free

    def _hindrance(self, hba: Port) -> str | None:
        return self.wish.selector.why_not(hba, self.wish.logged_in)

    def limits(self, go: Sequence[Member], resting: Mapping[str | None, int]) -> dict[str, int]:
        return {}

    def no_room(self, wanted: int, here: Space) -> BadInput:
        hindrances = {hba.name: self._hindrance(hba) for hba in self.seen.hbas}
        uncounted = "; ".join(f"{name}: {reason}" for name, reason in hindrances.items() if reason is not None)
        return BadInput(
            "count",
            self.wish.count,
            f"pool {self.wish.name} needs {wanted} more vHBAs and there is room for"
            f" {here.described(lambda wwpn: called(self._hbas[wwpn]))}"
            + (f"; not counted are {uncounted}" if uncounted else ""),
        )

    def identity(self, index: int, parent: str) -> str:
        return self.wish.wwpn(machine.needed_id(self.seen.machine), index)

    def moved(self, id: str, parent: str) -> str:
        return id

    def target(self, one: Recorded) -> Definition:
        existing = self.seen.active.get(one.id) or self.seen.definitions.get(one.id)
        wwnn = existing.wwnn if existing else self.wish.wwnn(machine.needed_id(self.seen.machine), one.index)
        if one.id not in self.seen.active:
            device.refuse_if_taken("name", wwnn, one.id, self.seen.ports)
        definition = self.seen.definitions.get(one.id)
        # What this run was not told stays as it is defined.
        online = self.wish.logged_in
        if definition is not None and self.asked.require_online is None:
            online = definition.require_online
        return Definition(one.id, wwnn, one.parent, online)

    def make(self, creates: Collection[str], targets: Mapping[str, Definition]) -> tuple[list[Step], tuple[str, ...]]:
        hbas, seconds = self._hbas, self.wish.wait_timeout
        return [steps.create(targets[wwpn], hbas[targets[wwpn].parent_wwpn], seconds) for wwpn in creates], ()

    def foretold(self, target: Definition) -> Running:
        return Running(target.wwnn, target.wwpn, target.parent_wwpn)

    def stop(self, wwpn: str) -> Iterable[Step]:
        running = self.seen.active.get(wwpn)
        hba = self._hbas.get(running.parent) if running else None
        if running is None or running.port is None or hba is None:
            return []
        device.refuse_if_used(running.port, running.held_by, self.seen.holders_of(wwpn), self.wish.force)
        return steps.remove(running.port, hba, running.luns, self.wish.wait_timeout, self.wish.force)

    def define(self, target: Definition) -> tuple[list[Step], tuple[Definition, ...]]:
        former = self.seen.definitions.get(target.wwpn)
        if not self.wish.persistent:
            return [], self.seen.defined(target.wwpn)
        return [definition.define(target, former)] if former != target else [], (target,)

    def undefine(self, target: Definition) -> Step:
        return definition.undefine(target)

    def document(self) -> dict[str, Any]:
        try:
            self._check_names()
        except BadInput:
            if self.seen.record is None or "parents" not in self.seen.record.wish:
                raise
            return {**self.wish.document(()), "parents": self.seen.record.wish["parents"]}
        return self.wish.document(self.seen.hbas)

    def then(
        self, kept: Record | None, active: Mapping[str, Running], definitions: Mapping[str, tuple[Definition, ...]]
    ) -> Observation:
        # A new vHBA has no port yet.
        seen = self.seen

        def used(hba: Port) -> int:
            running = (each.values() for each in (seen.active, active))
            now, then = (sum(vhba.parent == hba.wwpn for vhba in each) for each in running)
            return max(hba.used + then - now, 0)

        gone = {running.port for wwpn, running in seen.active.items() if wwpn not in active}
        ports = (port if port.vport else replace(port, used=used(port)) for port in seen.ports if port not in gone)
        defined = {wwpn: definition for wwpn, each in definitions.items() for definition in each}
        more: dict[str, Any] = {"definitions": defined, "derived": {}, "damaged_records": ()}
        return replace(seen, ports=tuple(ports), record=kept, active=active, **more)


def locks(wish: Wish, seen: Observation | None = None) -> set[str]:
    """The pool and all HBAs, as for a single vHBA, which may go to any of them."""
    ports = fc_port.ports() if seen is None else seen.ports
    return {f"pool:{wish.name}", *(f"fc:{port.wwpn}" for port in ports if port.vport is None)}


def clear_up(wish: Wish, seen: Observation) -> bool:
    """Remove what a killed run has left of the pool's record."""
    record.RECORDS.clear_up(wish.name)
    return False


def look_again(wish: Wish, before: Observation, planned: Plan[Observation]) -> Observation:
    """What is there of the pool. What the wish leaves open stands in the record, which may be gone now."""
    return observe(wish.filled(before.record))


def settled(wish: Wish, before: Observation, after: Observation) -> Observation:
    ports = {wwpn: each.port for wwpn, each in after.active.items() if each.port is not None}
    if wish.state != "present" or not (wish.wait_luns or wish.rescan):
        return after
    luns = kernel.awaited_luns([*ports.values()], wish.wait_luns, wish.rescan, wish.wait_timeout)
    return replace(after, active={wwpn: replace(after.active[wwpn], luns=each) for wwpn, each in zip(ports, luns)})


def events(planned: Plan[Observation], after: Observation) -> list[str]:
    """The kernel's names of the new SCSI hosts."""
    return [port.sysname for port in after.ports if port.vport and port.wwpn in planned.creates]


def described(wish: Wish, before: Observation, planned: Plan[Observation], after: Observation) -> dict[str, Any]:
    had, has = (
        {(wwpn, unit.address) for wwpn, running in seen.active.items() for unit in running.luns}
        for seen in (before, after)
    )
    return {
        **({"changed": True} if has - had and wish.rescan else {}),
        "instances": [_instance(member, after) for member in members_of(after)],
        "capacity": _capacity(wish.filled(before.record), after),
        "warnings": [*planned.warnings],
    }


def _instance(member: Member, seen: Observation) -> dict[str, Any]:
    running = seen.active.get(member.id)
    names = running or seen.definitions.get(member.id)
    port = running.port if running else None
    hba = fc_port.hba_of(seen.ports, member.parent)
    return {
        "index": member.index,
        "wwnn": names.wwnn if names else None,
        "wwpn": member.id,
        "active": running is not None,
        "host": port.host if port else None,
        "name": port.name if port else None,
        "parent": hba.name if hba else None,
        "parent_addr": hba.sysname if hba else None,
        "parent_wwnn": hba.wwnn if hba else None,
        "parent_wwpn": member.parent,
        "vport_state": port.vport_state if port else None,
        "luns": of_luns(running.luns) if running else [],
        "holders": [use.document(lun=lun) for lun, use in running.uses] if running else [],
    }


def _capacity(wish: Wish, seen: Observation) -> dict[str, dict[str, Any]]:
    """By HBA that is chosen: what is free, how many vHBAs the pool and others have, and why it is not counted."""
    found = {}
    for hba in seen.hbas:
        if wish.selector.excludes(hba):
            continue
        own = sum(running.parent == hba.wwpn for running in seen.active.values())
        found[hba.name] = {
            "free": hba.free,
            "pool": own,
            "others": max(hba.used - own, 0),
            "hindrance": wish.selector.why_not(hba, wish.logged_in),
        }
    return found
