# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool of mediated devices: so many instances of one type over a choice of parents, always the same ones.

The UUIDs follow from the host, the pool's name and an index, so that every run and every controller means the same
instances; or they are listed. Instances of others are never touched.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...libvirt import domain
from ...names import mdev_name
from ...pools import record
from ...pools.members import Member
from ...resource import Plan
from ...store import mdevctl, restorers
from . import leaving
from .pool_plan import plan
from .pool_seen import Observation, cards, chosen, members_of, observe
from .pool_wish import Wish

__all__ = [
    "SUBSYSTEM",
    "Wish",
    "clear_up",
    "described",
    "events",
    "locks",
    "look_again",
    "observe",
    "plan",
    "state",
]

# Of udev's events.
SUBSYSTEM = "mdev"


def locks(wish: Wish, seen: Observation | None = None) -> set[str]:
    """The pool and the cards of all parents that a plan may have to do with."""
    touched = cards(wish) if seen is None else {parent.card for parent in seen.choice.parents}
    return {f"pool:{wish.name}", *touched}


def clear_up(wish: Wish, seen: Observation) -> bool:
    """Remove what killed runs have left, and wait for removals that nobody keeps to end; whether there were any."""
    record.clear_up(wish.name)
    mdevctl.clear_up(seen.cards)
    return leaving.await_end(seen.leaving, wish.wait_timeout)


def look_again(wish: Wish, before: Observation, planned: Plan[Observation]) -> Observation:
    """What is there when all steps have been taken: each has looked at what came of it, and the parents tell the room.

    What the wish leaves open stands in the record, which may be gone now.
    """
    return replace(planned.then, choice=chosen(wish.filled(before.record)))


def events(planned: Plan[Observation], after: Observation) -> tuple[str, ...]:
    """The new devices' UUIDs, which are the kernel's names of them."""
    return planned.creates


def described(wish: Wish, before: Observation, planned: Plan[Observation], after: Observation) -> dict[str, Any]:
    """The instances afterwards, and what the parents have room for."""
    former = {known for each in before.definitions.values() for known in each}
    then = planned.then
    written = {known for each in then.definitions.values() for known in each if known.autostart} - former
    unserved = restorers.warning(f"pool {then.record.name}", served_by_mdevctl=True) if written and then.record else []
    return {
        "instances": [_instance(member, after) for member in _ordered(after)],
        "capacity": _capacity(after),
        "warnings": [*before.choice.oddities, *planned.warnings, *unserved],
    }


def _ordered(seen: Observation) -> list[Member]:
    return sorted(members_of(seen), key=lambda member: member.index)


def state(seen: Observation) -> dict[str, Any]:
    """What runs and what is kept, apart, as a diff shows them."""
    runtime: dict[str, Any] = {}
    boots: dict[str, Any] = {}
    for member in _ordered(seen):
        device = seen.active.get(member.id)
        if device is not None:
            runtime[member.id] = {"type": device.type, "parent_addr": device.parent}
        for known in seen.defined(member.id):
            attrs = [{name: value} for name, value in known.attrs]
            boots[member.id] = {
                "type": known.type,
                "parent_addr": known.parent,
                "autostart": known.autostart,
                "attrs": attrs,
            }
    return {"runtime": runtime, "boot": boots}


def _instance(member: Member, seen: Observation) -> dict[str, Any]:
    device = seen.active.get(member.id)
    known = next(iter(seen.defined(member.id)), None)
    parent = next((parent for parent in seen.choice.parents if parent.address == member.parent), None)
    api = device.device_api if device else parent.device_api if parent else None
    return {
        "index": member.index,
        "uuid": member.id,
        "name": mdev_name(member.id, member.parent) if member.parent else None,
        "parent": parent.name if parent else None,
        "parent_addr": member.parent,
        "type": device.type if device else known.type if known else None,
        "active": device is not None,
        "holders": [holder.document() for holder in seen.holders.get(member.id, ())] if device else [],
        "hostdev_xml": domain.mdev(member.id, api) if api in domain.MODELS else None,
    }


def _capacity(seen: Observation) -> dict[str, dict[str, dict[str, int]]]:
    """By parent and type: what is free, and how many instances the pool and others have."""
    own = {member.id for member in members_of(seen)}
    found: dict[str, dict[str, dict[str, int]]] = {}
    for parent in seen.choice.parents:
        there = [device for device in seen.active.values() if device.parent == parent.address]
        found[parent.name] = {
            parent.type: {
                "free": parent.free,
                "pool": sum(device.uuid in own for device in there if device.type == parent.type),
                "others": sum(device.uuid not in own for device in there if device.type == parent.type),
            }
        }
    return found
