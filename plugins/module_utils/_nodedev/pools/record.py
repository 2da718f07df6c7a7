# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept of a pool: the wish that made it and the instances that belong to it.

The record is written before the first instance is made and again after the last one is gone, so that a run that is
killed in between leaves none that no later run would know. It is kept in /etc/nodedev.d/pool, or in /run where the
instances are not meant to outlast the boot either.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .. import wishes
from ..errors import BadInput
from ..plan import Step
from ..store import files
from ..store.documents import Documents, name_of
from ..store.files import DamagedDefinition
from ..text import shown
from .members import MOST, Member

KIND = "pool"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Recorded:
    """One instance as the record has it; ``type`` is the number of its type in a pool of several.

    ``place`` is where on its card it is to be made, of which no record knows.
    """

    index: int
    id: str
    parent: str
    type: int | None = None
    place: int | None = field(default=None, compare=False)

    def document(self) -> files.Document:
        """It as it is written."""
        found: files.Document = {"index": self.index, "id": self.id, "parent": self.parent}
        return found if self.type is None else {**found, "type": self.type}


@dataclass(frozen=True)
class Record:
    """A pool as it is kept; ``kind`` is the kind of its instances, ``wish`` what its module was told of it.

    What the module was not told is not in the wish, so that a default is never taken for one.
    """

    name: str
    kind: str
    wish: dict[str, Any]
    instances: tuple[Recorded, ...]
    root: str = files.STORE

    @property
    def path(self) -> str:
        return files.document_path(KIND, self.name, self.root)

    def document(self) -> files.Document:
        return {"kind": self.kind, **self.wish, "instances": [one.document() for one in self.instances]}


def checked_name(name: str) -> str:
    """The name of a pool, fit to be a file's; else BadInput."""
    if not NAME.fullmatch(name):
        raise BadInput("name", name, "a pool's name has up to 64 letters, digits and _ . - and begins with no sign")
    return name


def look(name: str, kind: str, understood: Callable[[Record], object]) -> tuple[Record | None, list[DamagedDefinition]]:
    """The record of a pool of this kind, and its files that cannot be understood, in whichever place they stand.

    ``understood`` raises DamagedDefinition for a record of the kind whose wish has nonsense. Raises BadInput where the
    pool is one of another kind, also if only its damaged record says so.
    """
    found: list[Record] = []
    broken: list[DamagedDefinition] = []
    for path in RECORDS.paths(name):
        try:
            record = RECORDS.read(path)
            if record is not None:
                wish_of(record, kind)
                understood(record)
                found.append(record)
        except DamagedDefinition as error:
            refuse_other_kind(name, kind_said(error.path), kind)
            broken.append(error)
    return (found[0] if found else None), broken


def kind_said(path: str) -> object:
    """The kind that a record tells, be it damaged, None where it tells none."""
    with contextlib.suppress(DamagedDefinition):
        text = files.read(path)
        return files.from_json(path, text).get("kind") if text is not None else None
    return None


def refuse_other_kind(name: str, other: object, kind: str) -> None:
    """Raise BadInput where the pool of this name is one of another kind than it is meant to be."""
    if isinstance(other, str) and other != kind:
        raise BadInput("name", name, f"the pool of this name is one of {shown(other)} devices")


def wish_of(record: Record, kind: str) -> dict[str, Any]:
    """What the pool was wished to be; BadInput where it is one of another kind."""
    refuse_other_kind(record.name, record.kind, kind)
    return record.wish


def identity_of(wish: Mapping[str, Any]) -> str | None:
    """What stands in for the machine-id in the names of a pool's instances, None where nothing does; else BadInput."""
    identity = wish.get("identity")
    return None if identity is None else wishes.checked_identity(identity)


def refuse_other_identity(name: str, wanted: str | None, former: str | None) -> None:
    """Raise BadInput where a pool that has names is to have those of another identity."""
    if wanted is None or wanted == former:
        return
    source = f"the identity {former}" if former is not None else "the host's machine-id"
    raise BadInput(
        "identity",
        wanted,
        f"pool {name} has names that follow from {source}: leave it so, or remove the pool first with state: absent, or"
        " choose another name",
    )


def known(record: Record | None, derived: Mapping[str, int]) -> dict[str, tuple[int, str | None]]:
    """The index and the parent of a pool's instances by their ids: of those recorded, and of those ``derived``.

    The latter are by their indexes, and their parent is None where the record does not have them.
    """
    recorded = {one.id: (one.index, one.parent) for one in record.instances} if record else {}
    return {**{name: (index, None) for name, index in derived.items()}, **recorded}


def decode(path: str, document: files.Document) -> Record:
    """Understand a record; raises DamagedDefinition naming the file and what is wrong."""
    wish = dict(document)
    kind, listed = wish.pop("kind", None), wish.pop("instances", None)
    if not isinstance(kind, str) or not isinstance(listed, list):
        raise DamagedDefinition(path, "it has no kind or no list of instances")
    instances = tuple(_instance(path, item) for item in listed)
    return Record(name_of(path), kind, wish, instances, os.path.dirname(os.path.dirname(path)))


def _instance(path: str, item: object) -> Recorded:
    fields: files.Document = item if isinstance(item, dict) else {}
    values = [fields.get(key) for key in ("index", "id", "parent")]
    kind = fields.get("type")
    if [type(value) for value in values] != [int, str, str] or type(kind) not in (int, type(None)):
        raise DamagedDefinition(path, "an instance is not an index, an id and a parent")
    one = Recorded(fields["index"], fields["id"], fields["parent"], kind)
    if not 0 <= one.index < MOST:
        raise DamagedDefinition(path, f"an instance has an index that is not from 0 to {MOST - 1}")
    return one


# Of all pools of this host, be they persistent or not.
RECORDS = Documents(KIND, decode, runtime=True)


def checked_component(option: str, value: str) -> str:
    """The kernel's name of a device, whatever characters it has, as long as it is one part of a path; else BadInput."""
    if value in ("", ".", "..") or "/" in value or "\0" in value:
        raise BadInput(option, value, "it is not the name of a device")
    return value


def keep(record: Record, former: Record | None) -> list[Step]:
    """The step that writes the record, none where it is there already; ``former`` is what it replaces."""
    if record == former:
        return []
    verb = "record" if former is None else "change the record of"
    described = f"{verb} pool {record.name} with {len(record.instances)} instances in {record.path}"
    return [RECORDS.change(described, record.name, record, former)]


def forget(record: Record) -> Step:
    return RECORDS.change(f"remove the record of pool {record.name}, {record.path}", record.name, None, record)


def forget_damaged(name: str, broken: Sequence[DamagedDefinition]) -> list[Step]:
    """The steps that remove the damaged records of this pool; raises DamagedDefinition for those of a later release."""
    return [files.removal(error, f"pool {name}") for error in broken]


def only_damaged_knew(name: str, broken: Sequence[DamagedDefinition]) -> tuple[str, ...]:
    """The warning that some instances may have gone unnoticed, where a record of the pool was damaged."""
    if not broken:
        return ()
    return (
        f"the record of pool {name} was damaged ({shown(broken[0].reason)}): of its instances those were removed whose"
        " names follow from the pool's; what it had listed or adopted besides is left as it is",
    )


def with_instances(record: Record, instances: Sequence[Recorded]) -> Record:
    """The same pool with other instances, by their indexes."""
    return replace(record, instances=tuple(sorted(instances, key=lambda one: (one.index, one.id))))


def of_members(members: Sequence[Member]) -> list[Recorded]:
    return [Recorded(member.index, member.id, member.parent or "", member.type) for member in members]


def owners(name: str, kind: str) -> dict[str, str]:
    """Which other pool of the kind an instance belongs to, by its id; one that cannot be understood says of none."""
    others = (each for each in RECORDS.all()[0] if each.name != name and each.kind == kind)
    return {one.id: each.name for each in others for one in each.instances}


def around(steps: Sequence[Step], kept: Record, former: Record | None, go: Sequence[Member]) -> tuple[Step, ...]:
    """Steps that make and remove instances, with the record written before the first and after the last of them.

    ``kept`` is the record that is to be, ``go`` are the instances that it will not have any more, but for those whose
    ids others get.
    """
    ids = {one.id for one in kept.instances}
    both = with_instances(kept, [*kept.instances, *of_members([each for each in go if each.id not in ids])])
    return (*keep(both, former), *steps, *keep(kept, both))


def root_for(persistent: bool, former: Record | None) -> str:
    """Where the record is to be kept; once it is to outlast the boot, it stays so until the pool is absent."""
    lasting = persistent or (former is not None and former.root == files.STORE)
    return files.STORE if lasting else files.RUNTIME
