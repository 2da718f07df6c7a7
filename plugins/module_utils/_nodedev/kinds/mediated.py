# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool of mediated devices, told of as one of vGPUs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..host import mdev_parents, vgpu_types, vgpus
from ..host.oddities import Oddities
from ..names import device_name
from ..pools import mixes, record
from ..pools.mix import Mix
from ..pools.pool import members_of
from ..resource import Plan
from ..store import mdevctl
from .mdev import pool
from .mdev.pool_mix import Cards
from .mdev.pool_seen import Observation
from .mdev.pool_wish import KIND, Wish, kept
from .vgpu import pool_wish as function_wish

SUBSYSTEM, PEER = pool.SUBSYSTEM, pool.PEER
locks, observe, plan, look_again = pool.locks, pool.observe, pool.plan, pool.look_again
state, starts, clear_up, comes_with_guest = pool.state, pool.starts, pool.clear_up, pool.comes_with_guest


def wish_of(wish: function_wish.Wish, options: Mapping[str, Any]) -> Wish:
    """The wish for a pool of vGPUs, with its options as they were given, as one for mediated devices."""
    attrs = None if wish.params is None else [{vgpus.PARAMS: wish.params}] if wish.params else []
    type = None if wish.type is None else _type(wish.name, wish.type)
    more = {"type": type, "attrs": attrs, "types": wish.types, "in_use": wish.in_use}
    return Wish.checked(**{**options, **more})


def _type(pool: str, wanted: str) -> str:
    """The type as mediated devices have it, by its id or name: the last word of a name, or its number, is enough.

    Where no parent tells, it may be the one that the pool has.
    """
    number = vgpu_types.number(wanted)
    for address in mdev_parents.addresses():
        path = mdev_parents.path_of(address)
        for id, title in mdev_parents.titles(path, Oddities()).items() if path else ():
            if wanted in (id, title) or (title is not None and wanted == vgpu_types.short(title)):
                return id if wanted == id else title or id
            if number is not None and vgpu_types.number(id) == number:
                return id
    recorded, _damaged = record.look(pool, KIND, kept)
    was = kept(recorded).type if recorded is not None else None
    if recorded is None or was is None:
        return wanted
    defined = (each for one in recorded.instances for each in mdevctl.defined(one.id)[0])
    numbers = {vgpu_types.number(type) for type in (was, *(each.type for each in defined))}
    return was if wanted == vgpu_types.short(was) or (number is not None and number in numbers) else wanted


def described(wish: Wish, before: Observation, planned: Plan[Observation], after: Observation) -> dict[str, Any]:
    """The instances afterwards, and what the cards have room for."""
    found = pool.described(wish, before, planned, after)
    oddities = Oddities()
    titles = _titles(after, oddities)
    instances = [_instance(each, titles) for each in found["instances"]]
    filled = wish.filled(before.record)
    mix = None if filled.types is None else Mix(Cards(filled, after))
    waiting: dict[str, Any] = {"go": [], "come": {}} if mix is None else mix.waiting()
    warnings = [*dict.fromkeys([*found["warnings"], *oddities.warnings]), *mixes.told(wish.name, waiting)]
    return {"instances": instances, "capacity": _capacity(after, mix), "waiting": waiting, "warnings": warnings}


def _titles(seen: Observation, oddities: Oddities) -> dict[str, str | None]:
    paths = {parent.type: mdev_parents.path_of(parent.address) for parent in seen.choice.parents}
    return {type: mdev_parents.title(path, type, oddities) for type, path in paths.items() if path is not None}


def _instance(told: Mapping[str, Any], titles: Mapping[str, str | None]) -> dict[str, Any]:
    type = told["type"]
    types = {"type": titles.get(type) if type else None, "type_id": vgpu_types.number(type) if type else None}
    return {**told, **types, "address": None}


def _capacity(seen: Observation, mix: Mix[Cards] | None) -> dict[str, dict[str, Any]]:
    """By card: how many more of the type fit, or of each, and how many vGPUs the pool and others have there."""
    own = {member.id for member in members_of(seen)}
    found: dict[str, dict[str, Any]] = {}
    for card in dict.fromkeys(parent.card for parent in seen.choice.parents):
        parents = [parent for parent in seen.choice.parents if parent.card == card]
        there = [each for each in seen.active.values() if mdev_parents.card_of(each.parent) == card]
        mine = sum(each.uuid in own for each in there)
        if mix is not None:
            counted = {"free": None, "pool": mine, "others": len(there) - mine}
            found[mix.cards.name(card)] = {**counted, "types": mix.free(card)}
            continue
        free = sum(parent.free for parent in parents)
        most = parents[0].most
        same = sum(each.type == parents[0].type for each in there)
        left = free if most is None else min(free, max(most - same, 0))
        path = mdev_parents.path_of(parents[0].address)
        name = mdev_parents.name_of(path) if path and parents[0].address == card else device_name("pci", card)
        found[name] = {"free": left, "pool": mine, "others": len(there) - mine}
    return found
