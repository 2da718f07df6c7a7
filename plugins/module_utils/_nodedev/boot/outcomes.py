# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of each definition when it was restored last in this boot, kept for whoever asks later.

Every run keeps its own file, one for all definitions and one for each parent, so that runs side by side need no lock.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from ..store import files
from ..store.files import DamagedDefinition
from ..text import is_number

FOLDER = "/run/nodedev/restored"
# The file of a run for all definitions; a parent has a name of its own.
WHOLE = "whole"
PARENT = "parent-"

# A definition by its kind and its id there.
Key = tuple[str, str]


@dataclass(frozen=True)
class Outcome:
    """One run: when it ended, in seconds since 1970, what it was to make, and what of that failed."""

    time: float
    tried: frozenset[Key]
    failed: frozenset[Key]


def keep(parent: str | None, outcome: Outcome) -> None:
    """Keep what became of a run, for all or for one parent, by its name there; NodedevError where that cannot be."""
    path = os.path.join(FOLDER, f"{WHOLE if parent is None else PARENT + parent}{files.SUFFIX}")
    values = {"time": outcome.time, "tried": sorted(outcome.tried), "failed": sorted(outcome.failed)}
    files.write_document(path, values)


def kept() -> list[Outcome]:
    """The runs of this boot, the earliest first; what cannot be understood is left out."""
    names = [name for name in files.entries(FOLDER) if name.endswith(files.SUFFIX)]
    found = [_read(os.path.join(FOLDER, name)) for name in names if not name.startswith(files.TEMPORARY)]
    return sorted((each for each in found if each is not None), key=lambda each: each.time)


def _read(path: str) -> Outcome | None:
    try:
        values = files.document(path)
    except DamagedDefinition:
        return None
    time = values.get("time") if values is not None else None
    if values is None or not (is_number(time) or isinstance(time, float)):
        return None
    return Outcome(float(str(time)), _keys(values.get("tried")), _keys(values.get("failed")))


def _keys(value: object) -> frozenset[Key]:
    listed = value if isinstance(value, list) else []
    return frozenset((str(each[0]), str(each[1])) for each in listed if isinstance(each, list) and len(each) == 2)


def failing(outcomes: Iterable[Outcome], there: Collection[Key]) -> set[Key]:
    """What failed when it was tried last, and is not ``there`` since by other means; ``outcomes`` by their times."""
    found: set[Key] = set()
    for each in outcomes:
        found = (found - each.tried) | each.failed
    return found - set(there)
