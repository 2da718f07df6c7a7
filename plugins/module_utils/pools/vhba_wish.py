# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person may want of a pool of vHBAs, and how a record keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..capabilities.fc_port import Port
from ..definitions import DamagedDefinition
from ..errors import BadInput
from ..names import checked_oui, checked_wwn, derived_wwn
from ..resources.vhba import OUI
from . import members, placement, record
from .hbas import Selector
from .options import checked
from .record import Record

KIND = "vhba"


@dataclass(frozen=True)
class Wish:
    """What a person wants of a pool; what is None is as it was when the pool was made."""

    name: str
    state: str = "present"
    count: int | str | None = None
    parents: Selector | None = None
    placement: str | None = None
    require_online: bool | None = None
    oui: str | None = None
    persistent: bool = True
    force: bool = False
    wait_timeout: float = 60

    @classmethod
    def checked(cls, **options: Any) -> Wish:
        """A wish whose every part fits its grammar; raises BadInput naming the option that does not."""
        options = checked(options)
        if options.get("parents") is not None:
            options["parents"] = Selector.checked(options["parents"])
        if options.get("oui") is not None:
            options["oui"] = checked_oui(options["oui"])
        return cls(**options)

    def filled(self, known: Record | None) -> Wish:
        """The wish with what it leaves open taken from the record; DamagedDefinition where the record has nonsense."""
        if known is None:
            return self
        said = record.wish_of(known, KIND)
        try:
            for one in known.instances:
                checked_wwn("id", one.id)
                checked_wwn("parent", one.parent)
            online, oui = said.get("require_online"), checked_oui(str(said.get("oui")))
            filled = replace(
                self,
                count=self.count if self.count is not None else members.checked_count(said.get("count")),
                parents=self.parents or Selector.checked(said.get("parents", {})),
                placement=self.placement or said.get("placement"),
                require_online=self.require_online if self.require_online is not None else online is not False,
                oui=self.oui or oui,
            )
        except (BadInput, AttributeError, TypeError) as error:
            raise DamagedDefinition(known.path, f"it is not what this module writes: {error}") from error
        if filled.oui != oui:
            raise BadInput(
                "oui",
                self.oui,
                f"pool {self.name} has names with {oui}: remove it first with state: absent, or choose another name",
            )
        return filled

    @property
    def selector(self) -> Selector:
        """Which HBAs are chosen: all where nothing is said."""
        return self.parents or Selector()

    @property
    def logged_in(self) -> bool:
        """Whether a vHBA has to be logged in to the fabric before it counts as made."""
        return self.require_online is not False

    def wwpn(self, machine: str, index: int) -> str:
        """The WWPN of an instance, that of a single vHBA which is named after the pool and the index."""
        return derived_wwn(machine, f"{self.name} {index}", "port", self.oui or OUI)

    def wwnn(self, machine: str, index: int) -> str:
        """The WWNN of an instance."""
        return derived_wwn(machine, f"{self.name} {index}", "node", self.oui or OUI)

    def document(self, hbas: Sequence[Port]) -> dict[str, Any]:
        """The wish as a record keeps it."""
        return {
            "count": self.count,
            "parents": self.selector.document(hbas),
            "placement": self.placement or placement.SPREAD,
            "require_online": self.logged_in,
            "oui": self.oui or OUI,
        }
