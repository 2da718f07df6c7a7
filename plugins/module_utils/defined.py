# SPDX-License-Identifier: GPL-3.0-or-later
"""What is defined on this host, of every kind: for the boot engine, and as facts."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

from .definitions import DamagedDefinition
from .errors import NodedevError
from .kept import Damaged, Kept
from .pools import mdev_wish, placement, record, vhba_wish
from .resources import mdev_kept, vhba, vhba_kept


@dataclass(frozen=True)
class Kind:
    """How the definitions of a kind are read, and whether a file that cannot be understood may be of this parent."""

    kept: Callable[[], tuple[list[Kept], list[DamagedDefinition]]]
    may_concern: Callable[[DamagedDefinition, str], bool]


# What names the parent of a pool's instance, for the kinds where that is not the kernel's name.
PARENTS = {vhba_kept.KIND: "parent_wwpn"}
# By the name that users choose a kind by.
KINDS = {
    mdev_kept.KIND: Kind(mdev_kept.kept, mdev_kept.may_concern),
    vhba_kept.KIND: Kind(vhba_kept.kept, vhba_kept.may_concern),
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


def kept() -> tuple[list[Kept], list[Damaged]]:
    """The definitions of all kinds, and what cannot be understood."""
    found: list[Kept] = []
    damaged: list[Damaged] = []
    for kind in KINDS.values():
        definitions, files = _read(kind)
        found += definitions
        damaged += [Damaged(each, partial(kind.may_concern, each)) for each in files]
    return found, damaged


def _read(kind: Kind) -> tuple[list[Kept], list[DamagedDefinition]]:
    """The definitions of a kind; where not even its folder can be read, that is what cannot be understood."""
    try:
        return kind.kept()
    except DamagedDefinition as error:
        return [], [error]


def facts(kinds: Collection[str] | None) -> dict[str, Any]:
    """The answer of definition_facts: by kind what is defined, and what is damaged; of these kinds, or of all."""
    said: dict[str, Any] = {}
    damaged: list[DamagedDefinition] = []
    warnings: list[str] = []
    records, files = _pools()
    pool_of = {one.id: each.name for each in records for one in each.instances}
    for name, kind in KINDS.items():
        if kinds is None or name in kinds:
            definitions, unreadable = _read(kind)
            damaged += unreadable
            said[name] = []
            for each in definitions:
                try:
                    said[name].append({**each.facts(), "pool": pool_of.get(each.id)})
                except NodedevError as error:
                    warnings.append(f"{each.name} is left out: {error}")
    if kinds is None or POOL in kinds:
        damaged += files
        said[POOL] = [_pool(each) for each in records]
    said["damaged"] = [{"path": each.path, "reason": each.reason} for each in damaged]
    return {
        "ansible_facts": {"nodedev_definitions": said},
        "warnings": [*(str(each) for each in damaged), *warnings],
    }


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
    parent = PARENTS.get(pool.kind, "parent_addr")
    instances = [{"index": one.index, "id": one.id, parent: one.parent} for one in pool.instances]
    wish = {**DEFAULTS.get(pool.kind, {}), **pool.wish}
    return {"name": pool.name, "kind": pool.kind, **wish, "path": pool.path, "instances": instances}
