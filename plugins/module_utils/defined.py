# SPDX-License-Identifier: GPL-3.0-or-later
"""What is defined on this host, of every kind: for the boot engine, and as facts."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from .definitions import DamagedDefinition
from .kept import Kept
from .pools import record
from .resources import mdev_kept, vhba_kept

# By the name that users choose a kind by. Each gives its definitions and the files that cannot be understood.
KINDS: dict[str, Callable[[], tuple[list[Kept], list[DamagedDefinition]]]] = {
    mdev_kept.KIND: mdev_kept.kept,
    vhba_kept.KIND: vhba_kept.kept,
}
POOL = record.KIND
# What may be said of a pool, by the kind of its instances; its size is a count or a list of UUIDs.
WISHES = {
    mdev_kept.KIND: ("type", "parents", "placement", "attrs", "autostart", "identity"),
    vhba_kept.KIND: ("parents", "placement", "require_online", "oui", "identity"),
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
    records, files = record.all_records()
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


def _pool(pool: record.Record) -> dict[str, Any]:
    instances = [{"index": one.index, "id": one.id, "parent_addr": one.parent} for one in pool.instances]
    # What the pool was not told is null, so that each of a kind has the same keys.
    wish = {**dict.fromkeys(WISHES.get(pool.kind, ())), **pool.wish}
    return {"name": pool.name, "kind": pool.kind, **wish, "path": pool.path, "instances": instances}
