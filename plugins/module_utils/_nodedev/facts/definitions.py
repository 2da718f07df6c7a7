# SPDX-License-Identifier: GPL-3.0-or-later
"""The answer of definition_facts: what is defined on this host, of every kind, and the pools."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from ..errors import NodedevError
from ..host import starting
from ..kinds.registry import KINDS, Defined, Kind
from ..pools import record
from ..store.files import DamagedDefinition

POOL = record.KIND


def facts(kinds: Collection[str] | None) -> dict[str, Any]:
    """By kind what is defined, and what is damaged; of these kinds, or of all."""
    answer: dict[str, Any] = {}
    damaged: list[DamagedDefinition] = []
    warnings: list[str] = []
    records, files = _pools()
    pool_of = {(each.kind, one.id): each.name for each in records for one in each.instances}
    for name, kind in KINDS.items():
        if kinds is None or name in kinds:
            definitions, unreadable = kind.read()
            damaged += unreadable
            answer[name] = []
            domains = _domains(name, kind, definitions)
            for each in definitions:
                try:
                    facts = {**each.facts(), **({"domain": domains.get(each.id)} if kind.managed else {})}
                    answer[name].append({**facts, "pool": pool_of.get((name, each.id))})
                except NodedevError as error:
                    warnings.append(f"{each.name} is left out: {error}")
    if kinds is None or POOL in kinds:
        damaged += files
        answer[POOL] = [_pool(each) for each in records]
    answer["damaged"] = [{"path": each.path, "reason": each.reason} for each in damaged]
    return {"ansible_facts": {"nodedev_definitions": answer}, "warnings": [*(str(each) for each in damaged), *warnings]}


def _domains(name: str, kind: Kind, definitions: Iterable[Defined]) -> dict[str, str]:
    """Which domains have managed devices now, by their ids; nobody's processes are looked at where there are none."""
    ids = [each.id for each in definitions if each.managed]
    return starting.domains(name, ids, kind.managed.nodes) if kind.managed is not None and ids else {}


def _pools() -> tuple[list[record.Record], list[DamagedDefinition]]:
    """The records of pools that can be understood, wish and all, and the files that cannot."""
    found: list[record.Record] = []
    listed, damaged = record.RECORDS.all()
    for each in listed:
        kind = KINDS.get(each.kind)
        try:
            if kind is not None and kind.pools is not None:
                kind.pools.kept(each)
        except DamagedDefinition as error:
            damaged.append(error)
        else:
            found.append(each)
    return found, damaged


def _pool(pool: record.Record) -> dict[str, Any]:
    kind = KINDS.get(pool.kind)
    parent, defaults = (kind.pools.PARENT, kind.pools.DEFAULTS) if kind and kind.pools else ("parent_addr", {})
    instances = [{"index": one.index, "id": one.id, parent: one.parent} for one in pool.instances]
    return {"name": pool.name, "kind": pool.kind, **defaults, **pool.wish, "path": pool.path, "instances": instances}
