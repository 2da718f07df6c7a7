# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept of a vHBA: its names, and its HBA by that one's WWPN, since host numbers change from boot to boot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...errors import BadInput
from ...grammar import checked_wwn
from ...plan import Step
from ...store.documents import Documents, name_of
from ...store.files import DamagedDefinition, Document

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
        return self.parent_wwpn

    @property
    def autostart(self) -> bool:
        """Whether it is there after a boot, as a definition of any kind says: each vHBA is."""
        return True

    @property
    def managed(self) -> bool:
        """Whether it comes and goes with a guest, as no vHBA does."""
        return False

    @property
    def path(self) -> str:
        return DOCUMENTS.paths(self.wwpn)[0]

    def document(self) -> dict[str, Any]:
        return {
            "wwnn": self.wwnn,
            "wwpn": self.wwpn,
            "parent_wwpn": self.parent_wwpn,
            "require_online": self.require_online,
        }


def decode(path: str, document: Document) -> Definition:
    try:
        found = {key: _wwn(key, document.get(key)) for key in ("wwpn", "wwnn", "parent_wwpn")}
    except BadInput as error:
        raise DamagedDefinition(path, str(error)) from error
    if found["wwpn"] != name_of(path):
        raise DamagedDefinition(path, f"it is of WWPN {found['wwpn']}")
    online = document.get("require_online")
    if online is not None and not isinstance(online, bool):
        raise DamagedDefinition(path, "require_online is neither true nor false")
    return Definition(require_online=online is not False, **found)


def _wwn(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise BadInput(key, str(value), "a World Wide Name is text")
    return checked_wwn(key, value)


DOCUMENTS = Documents(KIND, decode)


def define(target: Definition, former: Definition | None) -> Step:
    """Keep the definition; ``former`` is the one that it replaces.

    Raises NodedevError where what would be written could not be read again, as of an HBA that its driver has not named.
    """
    DOCUMENTS.check(target, f"vHBA {target.wwpn} cannot be defined")
    verb = "define" if former is None else "change the definition of"
    described = f"{verb} vHBA {target.wwpn} (WWNN {target.wwnn}) on the HBA with WWPN {target.parent_wwpn}"
    return DOCUMENTS.change(described, target.wwpn, target, former)


def undefine(definition: Definition) -> Step:
    return DOCUMENTS.change(f"undefine vHBA {definition.wwpn}", definition.wwpn, None, definition)
