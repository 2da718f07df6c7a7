# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person may want of a pool of mediated devices, and how a record keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ... import wishes
from ...errors import BadInput
from ...grammar import checked_attrs, checked_type, checked_uuid
from ...host.vgpu_types import Type
from ...pools import fields, members, mixes, placement, record
from ...pools.options import checked, left_open
from ...pools.record import Record
from ...pools.selector import Selector
from ...store.files import DamagedDefinition
from ...store.mdevctl import Attrs

KIND = "mdev"
# What holds for new instances of a pool that was not told otherwise, and what the parent of one is told as.
DEFAULTS = {"parents": {}, "placement": placement.SPREAD, "attrs": [], "autostart": True, "managed": False}
PARENT = "parent_addr"


@dataclass(frozen=True)
class Wish:
    """What a person wants of a pool; what is None is as it was when the pool was made.

    A mix has ``types`` and their counts in the place of type, count and UUIDs, as they were told, with ``known_types``.
    """

    name: str
    state: str = "present"
    type: str | None = None
    count: int | str | None = None
    uuids: tuple[str, ...] | None = None
    parents: Selector | None = None
    placement: str | None = None
    attrs: Attrs | None = None
    persistent: bool = True
    autostart: bool | None = None
    managed: bool | None = None
    identity: str | None = None
    adopt: bool = False
    force: bool = False
    wait_timeout: float = 30
    types: Mapping[str, int] | None = None
    in_use: str = mixes.REFUSE
    known_types: Mapping[str, Type] = field(default_factory=dict)

    @classmethod
    def checked(cls, **options: Any) -> Wish:
        """A wish whose every part fits its grammar; raises BadInput naming the option that does not."""
        options = checked(options)
        checked_type(options.get("type"))
        wishes.check_managed(options)
        if options.get("uuids") is not None:
            options["uuids"] = tuple(checked_uuid(uuid, "uuids") for uuid in options["uuids"])
            if len(set(options["uuids"])) != len(options["uuids"]):
                raise BadInput("uuids", list(options["uuids"]), "each UUID stands once")
            if len(options["uuids"]) > members.MOST:
                raise BadInput("uuids", len(options["uuids"]), f"a pool has up to {members.MOST} instances")
        if options.get("types") is not None:
            options["types"] = mixes.checked_types(options["types"])
        if options.get("parents") is not None:
            options["parents"] = Selector.checked(options["parents"])
        if options.get("attrs") is not None:
            options["attrs"] = checked_attrs(options["attrs"])
        return cls(**options)

    @property
    def runs(self) -> bool:
        """Whether its instances are to run now: managed ones do when guests want them."""
        return self.state == "present" and not self.managed

    def filled(self, former: Record | None) -> Wish:
        """The wish with what it leaves open taken from the record; DamagedDefinition where the record has nonsense.

        Raises BadInput where the pool is one of another kind or of another identity.
        """
        if former is None:
            return self
        was = kept(former)
        if self.types is not None or was.types is not None:
            return self._mixed(was)
        sized = self.count is not None or self.uuids is not None
        return replace(self, **left_open(self, was, *(("count", "uuids") if sized else ())))

    def _mixed(self, was: Wish) -> Wish:
        apart = ("type", "count", "uuids", "placement")
        for option in apart:
            value = getattr(self, option)
            if value is not None:
                value = [*value] if option == "uuids" else value
                raise BadInput(
                    option,
                    value,
                    f"pool {self.name} is a mix of types: say how many of each in types of hostdev.nodedev.vgpu_pool",
                )
        filled = replace(self, **left_open(self, was, *apart))
        known = {told: type for told, type in was.known_types.items() if told in (filled.types or {})}
        return replace(filled, known_types=known)

    def document(self) -> dict[str, Any]:
        """The wish as a record keeps it: what was said, and nothing of what was left out."""
        options = {
            "types": None if self.types is None else mixes.documents(self.types, self.known_types),
            "type": self.type,
            "count": self.count if self.uuids is None else None,
            "uuids": None if self.uuids is None else list(self.uuids),
            "parents": None if self.parents is None else self.parents.document(),
            "placement": self.placement,
            "attrs": None if self.attrs is None else [{name: value} for name, value in self.attrs],
            "autostart": self.autostart,
            "managed": self.managed,
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
            # They become parts of paths.
            if checked_uuid(one.id) != one.id:
                raise BadInput("id", one.id, "the kernel knows UUIDs in small letters only")
            record.checked_component("parent", one.parent)
        parents, uuids = fields.mapping(wish, "parents"), fields.texts(wish, "uuids")
        attrs, is_mix = fields.mappings(wish, "attrs"), "types" in wish
        types, known = mixes.kept(wish, _type) if is_mix else (None, {})
        for attribute in attrs or ():
            for name in attribute:
                fields.text(attribute, name, "attrs.")
        return Wish(
            name=recorded.name,
            type=None if is_mix else checked_type(fields.needed_text(wish, "type")),
            count=members.checked_count(wish.get("count")) if uuids is None and not is_mix else None,
            types=types,
            known_types=known,
            uuids=None if uuids is None else tuple(checked_uuid(uuid) for uuid in uuids),
            parents=None if parents is None else Selector.checked(parents),
            placement=fields.choice(wish, "placement", placement.WAYS),
            attrs=None if attrs is None else checked_attrs(attrs),
            autostart=fields.flag(wish, "autostart"),
            managed=fields.flag(wish, "managed"),
            identity=record.identity_of(wish),
        )
    except BadInput as error:
        raise DamagedDefinition(recorded.path, f"it is not what this module writes: {error}") from error


def _type(one: Mapping[str, Any]) -> Type | None:
    id = fields.number(one, "type_id", "types.")
    return None if id is None else Type(id, fields.text(one, "title", "types.") or "")
