# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person may want of a pool of vHBAs, and how a record keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...errors import BadInput
from ...grammar import checked_oui, checked_wwn
from ...host.fc_port import Port
from ...host.machine import derived_wwn
from ...pools import fields, members, placement, record
from ...pools.options import checked, left_open
from ...pools.record import Record
from ...store.files import DamagedDefinition
from .device import OUI
from .hbas import Selector
from .kernel import checked_luns

KIND = "vhba"
# What holds for new instances of a pool that was not told otherwise, and what the parent of one is told as.
DEFAULTS = {"parents": {"online": True}, "placement": placement.SPREAD, "require_online": True, "oui": OUI}
PARENT = "parent_wwpn"


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
    identity: str | None = None
    persistent: bool = True
    force: bool = False
    wait_timeout: float = 30
    wait_luns: int = 0
    rescan: bool = False

    @classmethod
    def checked(cls, **options: Any) -> Wish:
        """A wish whose every part fits its grammar; raises BadInput naming the option that does not."""
        options = checked(options)
        if options.get("parents") is not None:
            options["parents"] = Selector.checked(options["parents"])
        if options.get("oui") is not None:
            options["oui"] = checked_oui(options["oui"])
        checked_luns(options.get("wait_luns", 0))
        return cls(**options)

    @property
    def runs(self) -> bool:
        return self.state == "present"

    def filled(self, former: Record | None) -> Wish:
        """The wish with what it leaves open taken from the record; DamagedDefinition where the record has nonsense.

        Raises BadInput where the pool is one of another kind, or has names of another OUI or identity.
        """
        if former is None:
            return self
        was = kept(former)
        oui = was.oui or OUI
        if (self.oui or oui) != oui:
            raise BadInput(
                "oui",
                self.oui,
                f"pool {self.name} has names with {oui}: remove it first with state: absent, or choose another name",
            )
        return replace(self, **left_open(self, was))

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
        return derived_wwn(machine, f"{self.name} {index}", "node", self.oui or OUI)

    def document(self, hbas: Sequence[Port]) -> dict[str, Any]:
        """The wish as a record keeps it: what was said, and nothing of what was left out."""
        options = {
            "count": self.count,
            "parents": None if self.parents is None else self.parents.document(hbas),
            "placement": self.placement,
            "require_online": self.require_online,
            "oui": self.oui,
            "identity": self.identity,
        }
        return {key: value for key, value in options.items() if value is not None}


def kept(recorded: Record) -> Wish:
    """The wish that a record keeps, which earlier releases filled up with defaults; DamagedDefinition for nonsense.

    Raises BadInput where the pool is one of another kind.
    """
    wish = record.wish_of(recorded, KIND)
    try:
        for one in recorded.instances:
            for option, name in (("id", one.id), ("parent", one.parent)):
                if checked_wwn(option, name) != name:
                    raise BadInput(option, name, "a record has names of 16 small hexadecimal digits")
        parents, oui = fields.mapping(wish, "parents"), fields.text(wish, "oui")
        return Wish(
            name=recorded.name,
            count=members.checked_count(wish.get("count")),
            parents=None if parents is None else Selector.checked(parents),
            placement=fields.choice(wish, "placement", placement.WAYS),
            require_online=fields.flag(wish, "require_online"),
            oui=None if oui is None else checked_oui(oui),
            identity=record.identity_of(wish),
        )
    except BadInput as error:
        raise DamagedDefinition(recorded.path, f"it is not what this module writes: {error}") from error
