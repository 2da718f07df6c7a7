# SPDX-License-Identifier: GPL-3.0-or-later
"""What is defined on this host, of every kind: for the boot engine, and as facts."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from .definitions import DamagedDefinition
from .kept import Kept
from .pools import mdev_wish, placement, record, vhba_wish
from .resources import mdev_kept, vhba, vhba_kept

# By the name that users choose a kind by. Each gives its definitions and the files that cannot be understood.
KINDS: dict[str, Callable[[], tuple[list[Kept], list[DamagedDefinition]]]] = {
    mdev_kept.KIND: mdev_kept.kept,
    vhba_kept.KIND: vhba_kept.kept,
}
POOL = record.KIND
# What understands the wish in a pool's record, by the kind of its instances.
WISHES: dict[str, Callable[[record.Record], object]] = {
    mdev_wish.KIND: mdev_wish.kept,
    vhba_wish.KIND: vhba_wish.kept,
}
# What holds for new instances of a pool that was not told otherwise, by their kind.
DEFAULTS: dict[str, dict[str, Any]] = {
    mdev_kept.KIND: {"parents": {}, "placement": placement.SPREAD, "attrs": [], "autostart": True},
    vhba_kept.KIND: {
        "parents": {"online": True},
        "placement": placement.SPREAD,
        "require_online": True,
        "oui": vhba.OUI,
    },
}


def kept() -> tuple[list[Kept], list[DamagedDefinition]]:
    """The definitions of all kinds, and the files that cannot be understood."""
    found: list[Kept] = []
    damaged: list[DamagedDefinition] = []
    for read in KINDS.values():
        definitions, files = read()
        found += definitions
        damaged += files
    return found, damaged


def facts(kinds: Collection[str] | None) -> dict[str, Any]:
    """The answer of definition_facts: by kind what is defined, and what is damaged; of these kinds, or of all."""
    said: dict[str, Any] = {}
    damaged: list[DamagedDefinition] = []
    records, files = _pools()
    pool_of = {one.id: each.name for each in records for one in each.instances}
    for kind, read in KINDS.items():
        if kinds is None or kind in kinds:
            definitions, unreadable = read()
            damaged += unreadable
            said[kind] = [{**each.facts, "pool": pool_of.get(each.id)} for each in definitions]
    if kinds is None or POOL in kinds:
        damaged += files
        said[POOL] = [_pool(each) for each in records]
    said["damaged"] = [{"path": each.path, "reason": each.reason} for each in damaged]
    return {"ansible_facts": {"nodedev_definitions": said}, "warnings": [str(each) for each in damaged]}


def _pools() -> tuple[list[record.Record], list[DamagedDefinition]]:
    """The records of pools that can be understood, wish and all, and the files that cannot."""
    found: list[record.Record] = []
    listed, damaged = record.all_records()
    for each in listed:
        understood = WISHES.get(each.kind)
        try:
            if understood is not None:
                understood(each)
        except DamagedDefinition as error:
            damaged.append(error)
        else:
            found.append(each)
    return found, damaged


def _pool(pool: record.Record) -> dict[str, Any]:
    instances = [{"index": one.index, "id": one.id, "parent_addr": one.parent} for one in pool.instances]
    wish = {**DEFAULTS.get(pool.kind, {}), **pool.wish}
    return {"name": pool.name, "kind": pool.kind, **wish, "path": pool.path, "instances": instances}
