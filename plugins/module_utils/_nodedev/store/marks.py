# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of the devices whose definitions are in a format of others are managed, so that they come and go with guests.

mdevctl drops from its files what it does not know, so the mark is a document of our own beside them, named by the id of
the device. That it is there is all that it says: whatever a later release adds to it, the device is managed, and one
that was damaged still does not start by itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

from . import files


def path_of(kind: str, id: str) -> str:
    """Where the mark of a device stands."""
    return files.document_path(kind, id, files.STORE)


def is_marked(kind: str, id: str) -> bool:
    """Whether the device has a mark."""
    return os.path.lexists(path_of(kind, id))


def marked(kind: str) -> frozenset[str]:
    """The ids of all devices of a kind that have one; raises DamagedDefinition where that cannot be told."""
    return frozenset(files.document_names(kind, files.STORE))


def leave(kind: str, id: str, wanted: bool) -> Callable[[], None]:
    """Have the device marked, or not; returns what takes that back. A mark that is there is not written over."""
    path = path_of(kind, id)
    if os.path.lexists(path) == wanted:
        return _nothing
    if wanted:
        files.write_document(path, {"managed": True})
        return partial(files.remove, path)
    former = files.content(path)
    files.remove(path)
    return _nothing if former is None else partial(files.write, path, former, files.MODE)


def clear_up(kind: str, id: str) -> None:
    """Remove what a killed run left of marking this device, whose lock the caller holds."""
    files.clear_up(path_of(kind, id))


def _nothing() -> None:
    """What takes back that nothing was done."""
