# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool of mediated devices: so many instances of one type over a choice of parents, always the same ones.

The UUIDs follow from the host, the pool's name and an index, so that every run and every controller means the same
instances; or they are listed. Instances of others are never touched.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from .. import boot, hostdev, mdevctl, sysfs, udev_events
from ..errors import NodedevError
from ..names import mdev_name
from ..plan import StepFailed, apply, describe
from ..resources import mdev_leaving
from .attempts import Ceilings, alone
from .mdev_plan import Plan, plan
from .mdev_seen import Observation, cards, chosen, members_of, observe
from .mdev_wish import Wish
from .members import Member
from .parents import Parent


def ensure(wish: Wish, check_mode: bool = False) -> dict[str, Any]:
    """Make the pool as wished, or in check mode only say what would be done; the result in Ansible's shape."""
    hindrance = sysfs.why_not_writable()
    if check_mode or hindrance:
        before = observe(wish)
        planned = plan(wish, before)
        if planned.steps and not check_mode:
            raise NodedevError(hindrance)
        return _result(before, planned, _predicted(before, planned))
    return _result(*alone(wish.name, wish.wait_timeout, partial(cards, wish), partial(_applied, wish)))


def _applied(wish: Wish, locked: set[str]) -> tuple[Observation, Plan, Observation] | None:
    """What was there, the plan that was carried out, and what is there then; None where there are other cards."""
    ceilings = Ceilings()
    while True:
        before = observe(wish)
        if mdev_leaving.await_end(before.leaving, wish.wait_timeout):
            before = observe(wish)
        if not locked.issuperset(parent.card for parent in before.choice.parents):
            return None
        mdevctl.clear_up(before.cards)
        planned = plan(wish, before, ceilings.found)
        watch = udev_events.Watch("mdev") if planned.creates else None
        try:
            apply(planned.steps)
        except StepFailed as error:
            ceilings.learn(error, [(target.uuid, before.cards[target.parent]) for target in planned.creates])
            continue
        mdevctl.clear_up(before.cards)
        if watch is not None:
            late = watch.wait_added([target.uuid for target in planned.creates], wish.wait_timeout)
            planned = replace(planned, warnings=(*planned.warnings, *late))
        return before, planned, _after(wish, before, planned) if planned.steps else before


def _after(wish: Wish, before: Observation, planned: Plan) -> Observation:
    """What is there when all steps have been taken: each has looked at what came of it, and the parents tell the room.

    What the wish leaves open stands in the record, which may be gone now.
    """
    return replace(_predicted(before, planned), choice=chosen(wish.filled(before.record)))


def _predicted(before: Observation, planned: Plan) -> Observation:
    def free(parent: Parent) -> int:
        now, then = (
            sum(device.parent == parent.address for device in each.active.values()) for each in (before, planned)
        )
        return max(parent.free + now - then, 0)

    parents = tuple(replace(parent, free=free(parent)) for parent in before.choice.parents)
    return replace(
        before,
        choice=replace(before.choice, parents=parents),
        record=planned.record,
        active=planned.active,
        definitions=planned.definitions,
        derived={},
        damaged_records=(),
    )


def _result(before: Observation, planned: Plan, after: Observation) -> dict[str, Any]:
    former = {known for each in before.definitions.values() for known in each}
    written = {known for each in planned.definitions.values() for known in each if known.autostart} - former
    unserved = boot.warning(f"pool {planned.record.name}", served_by_mdevctl=True) if written and planned.record else []
    return {
        "changed": bool(planned.steps),
        "plan": describe(planned.steps),
        "diff": {"before": _state(before), "after": _state(after)},
        "instances": [_instance(member, after) for member in _ordered(after)],
        "capacity": _capacity(after),
        "warnings": [*before.choice.oddities, *planned.warnings, *unserved],
    }


def _ordered(seen: Observation) -> list[Member]:
    return sorted(members_of(seen), key=lambda member: member.index)


def _state(seen: Observation) -> dict[str, Any]:
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
        "hostdev_xml": hostdev.mdev(member.id, api) if api in hostdev.MODELS else None,
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
