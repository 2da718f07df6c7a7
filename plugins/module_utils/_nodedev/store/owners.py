# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pool an instance belongs to, by what the records of pools say; all else of them is pools/record.py's."""

from __future__ import annotations

import contextlib

from ..errors import NodedevError
from . import files

POOL = "pool"


def owner(kind: str, id: str) -> str | None:
    """The pool that has this instance of a kind, None for none; records that cannot be understood have none."""
    for root in (files.STORE, files.RUNTIME):
        with contextlib.suppress(NodedevError):
            for name in files.document_names(POOL, root):
                if _has(files.document_path(POOL, name, root), kind, id):
                    return name
    return None


def _has(path: str, kind: str, id: str) -> bool:
    """Whether the record of this path has the instance."""
    with contextlib.suppress(files.DamagedDefinition):
        document = files.document(path) or {}
        listed = document.get("instances") if document.get("kind") == kind else None
        return isinstance(listed, list) and any(isinstance(one, dict) and one.get("id") == id for one in listed)
    return False
