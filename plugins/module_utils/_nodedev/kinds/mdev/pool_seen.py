# SPDX-License-Identifier: GPL-3.0-or-later
"""What is there of a pool of mediated devices: its record, its instances, its parents, and who uses what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ...host import holders, machine, mdev_parents, mdevs, starting, vgpu_types
from ...host.machine import pool_uuid
from ...host.mdevs import Mdev
from ...host.processes import Holder
from ...host.vgpu_cards import Mode
from ...pools import members, record
from ...pools.record import Record
from ...pools.selector import Selector, await_functions
from ...store import mdevctl
from ...store.files import DamagedDefinition
from ...store.mdevctl import Attrs, Definition
from ...store.scripts import Refused, Scripts, scripts_of_host
from . import leaving as mdev_leaving
from .leaving import Leaving
from .parents import Choice, choose, every_type
from .pool_wish import KIND, Wish, kept


@dataclass(frozen=True)
class Observation:
    """The parts of the host that a wish touches.

    ``derived`` is the index by UUID of what runs or is defined and, by its UUID, belongs to this pool; ``machine`` is
    what names follow from, the host's machine-id or what stands in for it, None where there is none. ``cards`` says of
    every parent in question which card it is on: of those that are registered, that have instances or that the pool was
    on. ``owners`` are the other pools by their instances. ``active`` and ``definitions`` are all of the host, by their
    UUIDs; ``holders`` are those of members. ``leaving`` are members that are still being removed, ``damaged_records``
    the pool's own that cannot be understood. ``callouts`` are mdevctl's scripts, None where there are none;
    ``script_attrs`` are by UUID the attributes that they tell of instances that run undefined, or why they do not. In a
    mix, ``choice`` has the parents with all their types, ``mix`` the numbers of the wished ones by how they were told,
    and ``modes`` are by card, where something changes; ``holders`` are then those of others' instances too.
    """

    machine: str | None
    record: Record | None
    choice: Choice
    registered: tuple[str, ...]
    cards: Mapping[str, str]
    active: Mapping[str, Mdev]
    definitions: Mapping[str, tuple[Definition, ...]]
    damaged: tuple[DamagedDefinition, ...]
    owners: Mapping[str, str]
    derived: Mapping[str, int]
    holders: Mapping[str, tuple[Holder, ...]]
    callouts: Scripts | None
    leaving: tuple[Leaving, ...] = ()
    damaged_records: tuple[DamagedDefinition, ...] = ()
    script_attrs: Mapping[str, Attrs | Refused] = field(default_factory=dict)
    mix: Mapping[str, int | None] = field(default_factory=dict)
    modes: Mapping[str, Mode] = field(default_factory=dict)

    def defined(self, uuid: str) -> tuple[Definition, ...]:
        """The definitions of a UUID, under whatever parents."""
        return self.definitions.get(uuid, ())

    def type_of(self, uuid: str) -> int | None:
        """The number of an instance's type: what it is, else what it is recorded to be; None where it has none."""
        if uuid in self.active:
            return vgpu_types.number(self.active[uuid].type)
        recorded = {one.id: one.type for one in self.record.instances}.get(uuid) if self.record else None
        return recorded or next((vgpu_types.number(each.type) for each in self.defined(uuid)), None)

    def held_by(self, uuid: str) -> str:
        return holders.named(self.holders.get(uuid, ()))

    def holders_of(self, uuid: str) -> list[dict[str, Any]]:
        return [holder.document(uuid=uuid) for holder in self.holders.get(uuid, ())]


def observe(wish: Wish) -> Observation:
    """Read what the wish touches: the record, the parents, all that runs and is defined, and who uses members."""
    recorded, broken = record.look(wish.name, KIND, kept)
    wish = wish.filled(recorded)
    active = {device.uuid: device for device in mdevs.running()}
    listed, damaged = mdevctl.all_defined()
    defined: dict[str, tuple[Definition, ...]] = {}
    for each in listed:
        defined[each.uuid] = (*defined.get(each.uuid, ()), each)
    host = wish.identity or machine.known_id()
    indexes = {one.id: one.index for one in recorded.instances} if recorded else {}
    owners = record.owners(wish.name, KIND)
    # Only a UUID of version 5, which its 13th digit tells, follows from a name (RFC 9562).
    others = {uuid for uuid in {*active, *defined} - {*indexes} - {*owners} if uuid[14] == "5"}
    derived = members.derived(others, partial(pool_uuid, host, wish.name)) if host else {}
    nodes = {uuid: active[uuid].nodes for uuid in {*indexes, *derived, *(wish.uuids or ())} if uuid in active}
    scripts = scripts_of_host()
    return Observation(
        machine=host,
        record=recorded,
        choice=_choice(wish, recorded),
        registered=tuple(mdev_parents.addresses()),
        cards=_cards(recorded, (device.parent for device in active.values())),
        active=active,
        definitions=defined,
        damaged=tuple(damaged),
        owners=owners,
        derived=derived,
        holders=_held(wish, nodes, {*indexes, *derived}, _becomes_managed(wish, nodes, defined)),
        callouts=scripts,
        leaving=tuple(_leaving(record.known(recorded, derived), active, defined)),
        damaged_records=tuple(broken),
        script_attrs=_script_attrs(wish, scripts, [active[uuid] for uuid in nodes], defined),
    )


def _choice(wish: Wish, recorded: Record | None) -> Choice:
    """The chosen parents; where they are not enough, functions that were made a moment before are waited for."""
    choice = chosen(wish)
    if wish.state == "present" and _lacks(wish, recorded, choice):
        return chosen(wish) if await_functions(wish.parents or Selector(), wish.wait_timeout) else choice
    return choice


def _lacks(wish: Wish, recorded: Record | None, choice: Choice) -> bool:
    """Whether there is no parent, or less room than the pool is to grow by, as far as the parents tell."""
    if not choice.parents:
        return True
    if wish.count == members.MAX:
        return recorded is None
    size = sum(wish.types.values()) if wish.types is not None else wish.count or len(wish.uuids or ())
    # In a mix a parent is listed for each of its types.
    room: dict[str, int] = {}
    for parent in choice.parents:
        room[parent.address] = max(parent.free, room.get(parent.address, 0))
    there = len(recorded.instances) if recorded else 0
    return isinstance(size, int) and there + sum(room.values()) < size


def chosen(wish: Wish) -> Choice:
    """The parents that the wish chooses, with the room that they say they have now."""
    selector = wish.parents or Selector()
    return choose(selector, wish.type) if wish.types is None else every_type(selector)


def _leaving(
    members: Mapping[str, tuple[int, str | None]],
    active: Mapping[str, Mdev],
    defined: Mapping[str, Sequence[Definition]],
) -> Iterator[Leaving]:
    """Those of the pool's instances, by their UUIDs, that are still being removed from where they were."""
    for uuid, (_index, recorded) in members.items():
        if uuid not in active:
            parents = {each.parent for each in defined.get(uuid, ())} | ({recorded} if recorded else set())
            found = mdev_leaving.find(uuid, sorted(parents))
            if found is not None:
                yield found


def _script_attrs(
    wish: Wish, scripts: Scripts | None, devices: Iterable[Mdev], defined: Mapping[str, Sequence[Definition]]
) -> dict[str, Attrs | Refused]:
    """What the scripts tell of devices that run undefined, where that is to be kept."""
    attrs: dict[str, Attrs | Refused] = {}
    if scripts is None or wish.attrs is not None or not wish.persistent or wish.state == "absent":
        return attrs
    # Here, so that only who has something to ask the scripts waits for its import.
    from ...store import callouts

    for device in devices:
        if not any(definition.parent == device.parent for definition in defined.get(device.uuid, ())):
            described = Definition(device.uuid, device.parent, device.type, False)
            try:
                attrs[device.uuid] = callouts.attributes(scripts, described, wish.wait_timeout)
            except Refused as error:
                attrs[device.uuid] = error
    return attrs


def cards(wish: Wish) -> set[str]:
    """The cards of all parents that a plan for the wish may have to do with; reads little else."""
    return {*_cards(record.look(wish.name, KIND, kept)[0]).values()}


def _cards(former: Record | None, others: Iterable[str] = ()) -> dict[str, str]:
    recorded = {one.parent for one in former.instances} if former else set()
    return {address: mdev_parents.card_of(address) for address in {*mdev_parents.addresses(), *recorded, *others}}


def _becomes_managed(wish: Wish, running: Iterable[str], defined: Mapping[str, Sequence[Definition]]) -> bool:
    """Whether there are instances that run and are not managed yet, as all are to be."""
    return bool(wish.managed) and not all(each.managed for uuid in running for each in defined.get(uuid, ()))


def _held(
    wish: Wish, nodes: Mapping[str, Sequence[str]], members: set[str], stops: bool
) -> dict[str, tuple[Holder, ...]]:
    """Who holds the nodes of which device; ``stops`` says that those that nobody holds are to run no longer.

    Where none will be removed, it is found out without opening a node, which would keep out a guest.
    """
    shrinks = isinstance(wish.count, int) and wish.count < len(members)
    drops = wish.uuids is not None and not members.issubset(wish.uuids)
    held = holders.of_each(nodes, probe=wish.state != "present" or shrinks or drops or stops)
    awaiting = starting.awaiting(KIND, {uuid: own for uuid, own in nodes.items() if not held[uuid]})
    return {uuid: held[uuid] or tuple(each for each in awaiting if each.node in own) for uuid, own in nodes.items()}
