# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person may want of a pool of vGPUs that are functions, and how a record keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ... import wishes
from ...errors import BadInput
from ...grammar import checked_function, checked_type
from ...host import vgpu_types
from ...host.vgpu_types import Type
from ...pools import fields, members, mixes, placement, record
from ...pools.options import checked, left_open
from ...pools.record import Record
from ...pools.selector import Selector
from ...store.files import DamagedDefinition
from .definition import HIGHEST_TYPE, KIND, checked_params

# What holds for new instances of a pool that was not told otherwise, and what the parent of one is told as.
DEFAULTS = {"parents": {}, "placement": placement.SPREAD, "params": "", "managed": False}
PARENT = "address"
# Whether GPU instances that MIG-backed vGPUs need are made with them.
MIG = KEEP, DERIVE = "keep", "derive"


@dataclass(frozen=True)
class Wish:
    """What a person wants of a pool; what is None is as it was when the pool was made.

    ``known`` is the type as the record has it, by id and name, and ``most`` how many of it each card was found to take.
    A mix has ``types`` and their counts instead, as they were told, with ``known_types``.
    """

    name: str
    state: str = "present"
    type: str | None = None
    count: int | str | None = None
    types: Mapping[str, int] | None = None
    in_use: str = mixes.REFUSE
    parents: Selector | None = None
    placement: str | None = None
    params: str | None = None
    persistent: bool = True
    managed: bool | None = None
    identity: str | None = None
    force: bool = False
    wait_timeout: float = 30
    known: Type | None = None
    most: Mapping[str, int] = field(default_factory=dict)
    mig: str | None = None
    known_types: Mapping[str, Type] = field(default_factory=dict)

    @classmethod
    def checked(cls, **options: Any) -> Wish:
        """A wish whose every part fits its grammar; raises BadInput naming the option that does not."""
        options = checked(options)
        checked_type(options.get("type"))
        checked_params(options.get("params"))
        wishes.check_managed(options)
        if options.get("types") is not None:
            options["types"] = mixes.checked_types(options["types"])
        if options.get("parents") is not None:
            options["parents"] = Selector.checked(options["parents"])
        return cls(**options)

    @property
    def runs(self) -> bool:
        """Whether its instances are to run now: managed ones do when guests want them."""
        return self.state == "present" and not self.managed

    def filled(self, former: Record | None) -> Wish:
        """The wish with what it leaves open taken from the record; DamagedDefinition where the record has nonsense."""
        if former is None:
            return self
        was = kept(former)
        if self.types is not None or was.types is not None:
            return self._mixed(was)
        filled = replace(self, **left_open(self, was, "known"), most=was.most)
        same = self.type in (None, was.type) or (was.known is not None and self._means(was.known))
        return replace(filled, known=was.known if same else None)

    def as_mix(self, types: Mapping[str, int] | None) -> Wish:
        """The wish as that for a mix, of these types unless it says others; BadInput where it is told of one type."""
        for option in ("type", "count"):
            value = getattr(self, option)
            if value is not None:
                raise BadInput(option, value, f"pool {self.name} is a mix of types: say how many of each in types")
        return replace(self, types=types) if self.types is None else self

    def _mixed(self, was: Wish) -> Wish:
        asked = self.as_mix(was.types)
        filled = replace(asked, **left_open(asked, was, "known", "type", "count", "placement"))
        known = {told: type for told, type in was.known_types.items() if told in (filled.types or {})}
        return replace(filled, known=was.known, known_types=known)

    @property
    def size(self) -> int | str | None:
        """How many instances it is to have in all."""
        return self.count if self.types is None else sum(self.types.values())

    def _means(self, type: Type) -> bool:
        return bool(vgpu_types.matching(str(self.type), {type.id: type.name}))

    def document(self) -> dict[str, Any]:
        """The wish as a record keeps it: what was said, and nothing of what was left out."""
        if self.types is not None:
            return self._mix_document()
        options = {
            "type": self.type,
            "type_id": self.known.id if self.known else None,
            "title": (self.known.name or None) if self.known else None,
            "count": self.count,
            "parents": None if self.parents is None else self.parents.document(),
            "placement": self.placement,
            "params": self.params,
            "managed": self.managed,
            "mig": DERIVE if self.mig == DERIVE else None,
            "most": dict(self.most) or None,
        }
        return {key: value for key, value in options.items() if value is not None}

    def _mix_document(self) -> dict[str, Any]:
        options = {
            "types": mixes.documents(self.types or {}, self.known_types),
            "parents": None if self.parents is None else self.parents.document(),
            "params": self.params,
            "managed": self.managed,
            "mig": DERIVE if self.mig == DERIVE else None,
        }
        return {key: value for key, value in options.items() if value is not None}


def kept(recorded: Record) -> Wish:
    """The wish that a record keeps; DamagedDefinition for nonsense. Raises BadInput where it is one of another kind."""
    wish = record.wish_of(recorded, KIND)
    try:
        for one in recorded.instances:
            # They become parts of paths.
            if checked_function("id", one.id) != one.id or one.parent != one.id:
                raise BadInput("id", one.id, "an instance is named by its function's address, which is its parent too")
        parents, most = fields.mapping(wish, "parents"), fields.mapping(wish, "most") or {}
        if "types" in wish:
            return _kept_mix(recorded, wish, None if parents is None else Selector.checked(parents))
        return Wish(
            name=recorded.name,
            type=checked_type(fields.needed_text(wish, "type")),
            count=members.checked_count(wish.get("count")),
            parents=None if parents is None else Selector.checked(parents),
            placement=fields.choice(wish, "placement", placement.WAYS),
            params=checked_params(fields.text(wish, "params")),
            managed=fields.flag(wish, "managed"),
            mig=fields.choice(wish, "mig", MIG),
            known=_type(wish),
            most={checked_function("most", card): fields.number(most, card, "most.") or 0 for card in most},
        )
    except BadInput as error:
        raise DamagedDefinition(recorded.path, f"it is not what this module writes: {error}") from error


def _kept_mix(recorded: Record, wish: Mapping[str, Any], parents: Selector | None) -> Wish:
    types, known = mixes.kept(wish, _type_of_mix)
    return Wish(
        name=recorded.name,
        types=types,
        parents=parents,
        params=checked_params(fields.text(wish, "params")),
        managed=fields.flag(wish, "managed"),
        mig=fields.choice(wish, "mig", MIG),
        known_types=known,
    )


def _type_of_mix(one: Mapping[str, Any]) -> Type | None:
    type = _type(one)
    return None if type is None else replace(type, most=fields.number(one, "most", "types."))


def _type(wish: Mapping[str, Any]) -> Type | None:
    id = fields.number(wish, "type_id")
    if id is None:
        return None
    if not 0 < id <= HIGHEST_TYPE:
        raise BadInput("type_id", id, f"a type's id is a number from 1 to {HIGHEST_TYPE}")
    return Type(id, fields.text(wish, "title") or "")
