# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept of a vHBA: its names, and its HBA by that one's WWPN, since host numbers change from boot to boot."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...errors import BadInput, NodedevError
from ...names import checked_wwn
from ...plan import Step
from ...store import damaged, files
from ...store.files import DamagedDefinition

KIND = "vhba"


@dataclass(frozen=True)
class Definition:
    """One vHBA as it is kept, in /etc/nodedev.d/vhba by its WWPN. ``require_online`` is what it was made with."""

    wwpn: str
    wwnn: str
    parent_wwpn: str
    require_online: bool = True

    @property
    def parent(self) -> str:
        """What is called so of a definition of any kind."""
        return self.parent_wwpn

    @property
    def path(self) -> str:
        return path_of(self.wwpn)

    def document(self) -> dict[str, Any]:
        """The definition as it is written."""
        return {
            "wwnn": self.wwnn,
            "wwpn": self.wwpn,
            "parent_wwpn": self.parent_wwpn,
            "require_online": self.require_online,
        }


def path_of(wwpn: str) -> str:
    """Where the definition of this WWPN is kept."""
    return files.document_path(KIND, wwpn, files.STORE)


def wwpn_of(path: str) -> str:
    """The WWPN whose definition is kept there, by the name of the file."""
    return os.path.basename(path)[: -len(files.SUFFIX)]


def find(wwpn: str) -> Definition | None:
    """The definition of a WWPN; None where there is none. Raises DamagedDefinition naming the file."""
    path = path_of(wwpn)
    document = files.document(path)
    if document is None:
        return None
    return decode(wwpn, document)


def decode(wwpn: str, document: files.Document) -> Definition:
    """Understand a definition; raises DamagedDefinition naming the file and what is wrong."""
    path = path_of(wwpn)
    try:
        found = {key: _wwn(key, document.get(key)) for key in ("wwpn", "wwnn", "parent_wwpn")}
    except BadInput as error:
        raise DamagedDefinition(path, str(error)) from error
    if found["wwpn"] != wwpn:
        raise DamagedDefinition(path, f"it is of WWPN {found['wwpn']}")
    online = document.get("require_online")
    if online is not None and not isinstance(online, bool):
        raise DamagedDefinition(path, "require_online is neither true nor false")
    return Definition(require_online=online is not False, **found)


def _wwn(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise BadInput(key, str(value), "a World Wide Name is text")
    return checked_wwn(key, value)


def all_defined() -> tuple[list[Definition], list[DamagedDefinition]]:
    """All definitions by WWPN, and the files that cannot be understood."""
    found: list[Definition] = []
    damaged: list[DamagedDefinition] = []
    for name in files.document_names(KIND, files.STORE):
        try:
            definition = find(name)
        except DamagedDefinition as error:
            damaged.append(error)
        else:
            found += [] if definition is None else [definition]
    return found, damaged


def define(target: Definition, former: Definition | None) -> Step:
    """Keep the definition; ``former`` is the one that it replaces.

    Raises NodedevError where what would be written could not be read again, as of an HBA that its driver has not named.
    """
    try:
        decode(target.wwpn, target.document())
    except DamagedDefinition as error:
        raise NodedevError(
            f"vHBA {target.wwpn} cannot be defined so that it can be read again: {error.reason}"
        ) from error
    verb = "define" if former is None else "change the definition of"
    return Step(
        f"{verb} vHBA {target.wwpn} (WWNN {target.wwnn}) on the HBA with WWPN {target.parent_wwpn}",
        _write(target),
        _remove(target) if former is None else _write(former),
    )


def undefine(known: Definition) -> Step:
    """Keep the definition no longer."""
    return Step(f"undefine vHBA {known.wwpn}", _remove(known), _write(known))


def undefine_damaged(wwpn: str, error: DamagedDefinition) -> Step:
    """Remove the file of this WWPN that cannot be understood; raises it where a later release wrote it."""
    return damaged.removal(error, f"vHBA {wwpn}")


def _write(definition: Definition) -> Callable[[], None]:
    return lambda: files.write_document(definition.path, definition.document())


def _remove(definition: Definition) -> Callable[[], None]:
    return lambda: files.remove(definition.path)
