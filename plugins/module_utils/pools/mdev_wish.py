# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person may want of a pool of mediated devices, and how a record keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..definitions import DamagedDefinition
from ..errors import BadInput
from ..mdevctl import Attrs
from ..names import checked_address, checked_attrs, checked_type, checked_uuid
from . import members, placement, record
from .options import checked
from .parents import Selector
from .record import Record

KIND = "mdev"


@dataclass(frozen=True)
class Wish:
    """What a person wants of a pool; what is None is as it was when the pool was made."""

    name: str
    state: str = "present"
    type: str | None = None
    count: int | str | None = None
    uuids: tuple[str, ...] | None = None
    parents: Selector | None = None
    placement: str | None = None
    attrs: Attrs | None = None
    persistent: bool = True
    autostart: bool = True
    adopt: bool = False
    force: bool = False
    wait_timeout: float = 30

    @classmethod
    def checked(cls, **options: Any) -> Wish:
        """A wish whose every part fits its grammar; raises BadInput naming the option that does not."""
        options = checked(options)
        checked_type(options.get("type"))
        if options.get("uuids") is not None:
            options["uuids"] = tuple(checked_uuid(uuid, "uuids") for uuid in options["uuids"])
            if len(set(options["uuids"])) != len(options["uuids"]):
                raise BadInput("uuids", list(options["uuids"]), "each UUID stands once")
        if options.get("parents") is not None:
            options["parents"] = Selector.checked(options["parents"])
        if options.get("attrs") is not None:
            options["attrs"] = checked_attrs(options["attrs"])
        return cls(**options)

    def filled(self, known: Record | None) -> Wish:
        """The wish with what it leaves open taken from the record; DamagedDefinition where the record has nonsense."""
        if known is None:
            return self
        said = record.wish_of(known, KIND)
        try:
            for one in known.instances:
                # They become parts of paths.
                checked_uuid(one.id)
                checked_address("parent", one.parent)
            return replace(
                self,
                type=self.type or checked_type(said.get("type")),
                count=self.count if self.count is not None or self.uuids is not None else _known_count(said),
                uuids=self.uuids if self.uuids is not None or self.count is not None else _known_uuids(said),
                parents=self.parents or Selector.checked(said.get("parents", {})),
                placement=self.placement or said.get("placement"),
                attrs=self.attrs if self.attrs is not None else checked_attrs(said.get("attrs", [])),
            )
        except (BadInput, AttributeError, TypeError) as error:
            raise DamagedDefinition(known.path, f"it is not what this module writes: {error}") from error

    def document(self) -> dict[str, Any]:
        """The wish as a record keeps it."""
        size = {"count": self.count} if self.uuids is None else {"uuids": list(self.uuids)}
        return {
            "type": self.type,
            **size,
            "parents": (self.parents or Selector()).document(),
            "placement": self.placement or placement.SPREAD,
            "attrs": [{name: value} for name, value in self.attrs or ()],
            "autostart": self.autostart,
        }


def _known_count(said: Mapping[str, Any]) -> int | str | None:
    return None if "uuids" in said else members.checked_count(said.get("count"))


def _known_uuids(said: Mapping[str, Any]) -> tuple[str, ...] | None:
    return tuple(checked_uuid(uuid) for uuid in said["uuids"]) if "uuids" in said else None
