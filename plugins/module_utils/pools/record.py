# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept of a pool: the wish that made it and the instances that belong to it.

The record is written before the first instance is made and again after the last one is gone, so that a run that is
killed in between leaves none that no later run would know. It is kept in /etc/nodedev.d/pool, or in /run where the
instances are not meant to outlast the boot either.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .. import definitions
from ..definitions import DamagedDefinition
from ..errors import BadInput
from ..plan import Step
from .members import Member

KIND = "pool"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Recorded:
    """One instance as the record has it."""

    index: int
    id: str
    parent: str


@dataclass(frozen=True)
class Record:
    """A pool as it is kept; ``kind`` is the kind of its instances, ``wish`` what its module was told of it."""

    name: str
    kind: str
    wish: dict[str, Any]
    instances: tuple[Recorded, ...]
    root: str = definitions.STORE

    @property
    def path(self) -> str:
        return definitions.document_path(KIND, self.name, self.root)

    def document(self) -> definitions.Document:
        """The record as it is written."""
        instances = [{"index": one.index, "id": one.id, "parent": one.parent} for one in self.instances]
        return {"kind": self.kind, **self.wish, "instances": instances}


def checked_name(name: str) -> str:
    """The name of a pool, fit to be a file's; else BadInput."""
    if not NAME.fullmatch(name):
        raise BadInput("name", name, "a pool's name has up to 64 letters, digits and _ . - and begins with no sign")
    return name


def find(name: str) -> Record | None:
    """The record of a pool, be it persistent or not; None where there is none. Raises DamagedDefinition."""
    for root in (definitions.STORE, definitions.RUNTIME):
        path = definitions.document_path(KIND, name, root)
        document = definitions.document(path)
        if document is not None:
            return decode(name, root, path, document)
    return None


def wish_of(record: Record, kind: str) -> dict[str, Any]:
    """What the pool was wished to be; BadInput where it is one of another kind."""
    if record.kind != kind:
        raise BadInput("name", record.name, f"the pool of this name is one of {record.kind} devices")
    return record.wish


def known(record: Record | None, derived: Mapping[str, int]) -> dict[str, tuple[int, str | None]]:
    """The index and the parent of a pool's instances by their ids: of those recorded, and of those ``derived``.

    The latter are by their indexes, and their parent is None where the record does not have them.
    """
    recorded = {one.id: (one.index, one.parent) for one in record.instances} if record else {}
    return {**{name: (index, None) for name, index in derived.items()}, **recorded}


def all_records() -> tuple[list[Record], list[DamagedDefinition]]:
    """The pools of this host by name, and the files that cannot be understood."""
    found: list[Record] = []
    damaged: list[DamagedDefinition] = []
    names = {
        name for root in (definitions.STORE, definitions.RUNTIME) for name in definitions.document_names(KIND, root)
    }
    for name in sorted(names):
        try:
            record = find(name)
        except DamagedDefinition as error:
            damaged.append(error)
        else:
            found += [record] if record is not None else []
    return found, damaged


def decode(name: str, root: str, path: str, document: definitions.Document) -> Record:
    """Understand a record; raises DamagedDefinition naming the file and what is wrong."""
    wish = dict(document)
    kind, listed = wish.pop("kind", None), wish.pop("instances", None)
    if not isinstance(kind, str) or not isinstance(listed, list):
        raise DamagedDefinition(path, "it has no kind or no list of instances")
    instances = []
    for item in listed:
        values = [item.get(key) for key in ("index", "id", "parent")] if isinstance(item, dict) else [None]
        if [type(value) for value in values] != [int, str, str]:
            raise DamagedDefinition(path, "an instance is not an index, an id and a parent")
        instances.append(Recorded(*values))
    return Record(name, kind, wish, tuple(instances), root)


def keep(record: Record, former: Record | None) -> list[Step]:
    """The step that writes the record, none where it is there already; ``former`` is what it replaces."""
    if record == former:
        return []

    verb = "record" if former is None else "change the record of"
    return [
        Step(
            f"{verb} pool {record.name} with {len(record.instances)} instances in {record.path}",
            lambda: _leave(record.name, record),
            lambda: _leave(record.name, former),
        )
    ]


def _leave(name: str, record: Record | None) -> None:
    """Have this record of the pool and no other, or none; a killed run may have left one in each place."""
    if record is not None:
        definitions.write_document(record.path, record.document())
    for path in _paths(name):
        if record is None or path != record.path:
            definitions.remove(path)


def _paths(name: str) -> list[str]:
    """Where a pool's record may stand."""
    return [definitions.document_path(KIND, name, root) for root in (definitions.STORE, definitions.RUNTIME)]


def clear_up(name: str) -> None:
    """Remove what a killed run left of writing the record, whose lock the caller holds."""
    for path in _paths(name):
        definitions.clear_up(path)


def forget(record: Record) -> Step:
    """The step that removes the record."""
    return Step(
        f"remove the record of pool {record.name}, {record.path}",
        lambda: _leave(record.name, None),
        lambda: _leave(record.name, record),
    )


def with_instances(record: Record, instances: Sequence[Recorded]) -> Record:
    """The same pool with other instances, by their indexes."""
    return replace(record, instances=tuple(sorted(instances, key=lambda one: (one.index, one.id))))


def around(steps: Sequence[Step], kept: Record, former: Record | None, go: Sequence[Member]) -> tuple[Step, ...]:
    """Steps that make and remove instances, with the record written before the first and after the last of them.

    ``kept`` is the record that is to be, ``go`` are the instances that it will not have any more.
    """
    gone = [Recorded(member.index, member.id, member.parent or "") for member in go]
    both = with_instances(kept, [*kept.instances, *gone])
    return (*keep(both, former), *steps, *keep(kept, both))


def root_for(persistent: bool, former: Record | None) -> str:
    """Where the record is to be kept; once it is to outlast the boot, it stays so until the pool is absent."""
    lasting = persistent or (former is not None and former.root == definitions.STORE)
    return definitions.STORE if lasting else definitions.RUNTIME
