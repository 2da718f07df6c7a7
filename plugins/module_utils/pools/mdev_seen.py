# SPDX-License-Identifier: GPL-3.0-or-later
"""What is there of a pool of mediated devices: its record, its instances, its parents, and who uses what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .. import definitions, holders, mdevctl
from ..capabilities import mdev, mdev_types
from ..capabilities.mdev import Mdev
from ..definitions import DamagedDefinition
from ..mdevctl import Definition
from ..names import pool_uuid
from . import record
from .mdev_wish import Wish
from .members import MOST, Member
from .parents import Choice, Selector, choose
from .record import Record

MACHINE_ID = "/etc/machine-id"


@dataclass(frozen=True)
class Observation:
    """The parts of the host that a wish touches.

    ``derived`` is the index by UUID of what runs or is defined and, by its UUID, belongs to this pool; ``machine`` the
    host's machine-id, None where it has none. ``cards`` says of every parent in question which card it is on: of those
    that are registered, that have instances or that the pool was on.
    ``active`` and ``definitions`` are all of the host, by their UUIDs; ``holders`` are those of members.
    """

    machine: str | None
    record: Record | None
    choice: Choice
    registered: tuple[str, ...]
    cards: Mapping[str, str]
    active: Mapping[str, Mdev]
    definitions: Mapping[str, tuple[Definition, ...]]
    damaged: tuple[DamagedDefinition, ...]
    derived: Mapping[str, int]
    holders: Mapping[str, tuple[holders.Holder, ...]]
    callouts: bool

    def defined(self, uuid: str) -> tuple[Definition, ...]:
        """The definitions of a UUID, under whatever parents."""
        return self.definitions.get(uuid, ())


def observe(wish: Wish) -> Observation:
    """Read what the wish touches: the record, the parents, all that runs and is defined, and who uses members."""
    known = record.find(wish.name)
    wish = wish.filled(known)
    active = {device.uuid: device for device in mdev.running()}
    listed, damaged = mdevctl.all_defined()
    defined: dict[str, tuple[Definition, ...]] = {}
    for each in listed:
        defined[each.uuid] = (*defined.get(each.uuid, ()), each)
    machine = _machine_id()
    own = {one.id: one.index for one in known.instances} if known else {}
    derived = _derived(machine, wish.name, {*active, *defined} - {*own})
    chosen = choose(wish.parents or Selector(), wish.type)
    nodes = {uuid: active[uuid].nodes for uuid in {*own, *derived, *(wish.uuids or ())} if uuid in active}
    held = _held(wish, nodes, {*own, *derived})
    return Observation(
        machine=machine,
        record=known,
        choice=chosen,
        registered=tuple(mdev_types.addresses()),
        cards=_cards(known, (device.parent for device in active.values())),
        active=active,
        definitions=defined,
        damaged=tuple(damaged),
        derived=derived,
        holders={uuid: tuple(held_by for held_by in held if held_by["node"] in own) for uuid, own in nodes.items()},
        callouts=mdevctl.has_callouts(),
    )


def cards(wish: Wish) -> Mapping[str, str]:
    """The cards of all parents that a plan for the wish may have to do with, by parent; reads little else."""
    return _cards(record.find(wish.name), mdev.parents())


def _cards(known: Record | None, used: Iterable[str]) -> dict[str, str]:
    recorded = {one.parent for one in known.instances} if known else set()
    return {address: mdev_types.card_of(address) for address in {*mdev_types.addresses(), *recorded, *used}}


def _machine_id() -> str | None:
    text = (definitions.read(MACHINE_ID) or "").strip()
    return text if len(text) == 32 else None


def _derived(machine: str | None, pool: str, uuids: set[str]) -> dict[str, int]:
    """Those of the UUIDs that follow from the pool's name, with their indexes: also where its record is lost."""
    left = {uuid for uuid in uuids if uuid[14] == "5"}
    found: dict[str, int] = {}
    index = 0
    while machine is not None and left and index < MOST:
        uuid = pool_uuid(machine, pool, index)
        if uuid in left:
            found[uuid] = index
            left.remove(uuid)
        index += 1
    return found


def _held(wish: Wish, nodes: Mapping[str, Sequence[str]], known: set[str]) -> list[holders.Holder]:
    """Who holds which node; where none will be removed, without opening a node, which would keep out a guest."""
    every = [node for own in nodes.values() for node in own]
    shrinks = isinstance(wish.count, int) and wish.count < len(known)
    drops = wish.uuids is not None and not known.issubset(wish.uuids)
    look = holders.of_nodes if wish.state != "present" or shrinks or drops else holders.seen
    return look(every) if every else []


def members_of(seen: Observation) -> list[Member]:
    """The pool's instances: those of its record, and those whose UUIDs follow from its name."""
    known = {one.id: (one.index, one.parent) for one in seen.record.instances} if seen.record else {}
    found = []
    for uuid, (index, recorded) in {**{uuid: (index, None) for uuid, index in seen.derived.items()}, **known}.items():
        device, defined = seen.active.get(uuid), seen.defined(uuid)
        parent = device.parent if device else defined[0].parent if defined else recorded
        held = holders.named(seen.holders.get(uuid, ()))
        found.append(Member(index, uuid, parent, device is not None, held))
    return found
