# SPDX-License-Identifier: GPL-3.0-or-later
"""The HBAs that a pool of vHBAs may use, and why it may not use the others. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import BadInput
from ...grammar import checked_wwn
from ...host.fc_port import Port
from ...pools import fields
from .parent import checked_host, unfit

KEYS = ("names", "wwpns", "fabric_wwn", "online")


@dataclass(frozen=True)
class Selector:
    """What an HBA must be; what is empty or None does not matter. ``names`` are libvirt's names."""

    names: tuple[str, ...] = ()
    wwpns: tuple[str, ...] = ()
    fabric_wwn: str | None = None
    online: bool = True

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> Selector:
        """A selector of the module's option or of a record; BadInput for what can be none."""
        given = {key: value for key, value in values.items() if value is not None}
        if set(given) - set(KEYS):
            raise BadInput("parents", values, f"what can be chosen by is: {', '.join(KEYS)}")
        fields.flag(given, "online", "parents.")
        for key, checked in (("names", checked_host), ("wwpns", checked_wwn)):
            listed = fields.texts(given, key, "parents.")
            if listed is not None:
                fields.refuse_if_empty(key, listed)
                given[key] = tuple(checked("parents", value) for value in listed)
        fabric = fields.text(given, "fabric_wwn", "parents.")
        if fabric is not None:
            given["fabric_wwn"] = checked_wwn("parents", fabric)
        return cls(**given)

    def document(self, hbas: Sequence[Port]) -> dict[str, Any]:
        """What was chosen by, as it is kept: HBAs by WWPN alone, since the numbers of hosts change with every boot."""
        named = {hba.wwpn for hba in hbas if hba.name in self.names}
        values: dict[str, Any] = {"wwpns": sorted({*self.wwpns, *named}), "fabric_wwn": self.fabric_wwn}
        return {**{key: value for key, value in values.items() if value}, "online": self.online}

    def lists(self, hba: Port) -> bool:
        """Whether the HBA is named, by one name or the other."""
        return hba.name in self.names or hba.wwpn in self.wwpns

    def excludes(self, hba: Port) -> str | None:
        """Why the HBA is another one than those meant; None where it is meant, or may be when its link is up."""
        if (self.names or self.wwpns) and not self.lists(hba):
            return "another one was asked for"
        if self.fabric_wwn is not None and hba.fabric_wwn not in (None, self.fabric_wwn):
            return f"it is in fabric {hba.fabric_wwn}"
        return None

    def may_take(self, wwpn: str) -> bool:
        """Whether an HBA that is not there may be one of those that are meant, by all that its WWPN tells."""
        return not (self.names or self.wwpns) or wwpn in self.wwpns

    def why_not(self, hba: Port, logged_in: bool) -> str | None:
        """Why no new vHBA of the pool goes to this HBA; None where one does as long as there is room.

        ``logged_in`` says whether a vHBA has to be logged in to the fabric before it counts as made.
        """
        reason = self.excludes(hba) or unfit(hba, self.online)
        if reason is not None or hba.fabric_wwn is not None:
            return reason
        if self.fabric_wwn is not None:
            return "it says of no fabric"
        if logged_in and not self.lists(hba):
            # Its driver may only not tell, which whoever lists it knows.
            return "it says of no fabric; list it among the parents if vHBAs can log in there all the same"
        return None
