# SPDX-License-Identifier: GPL-3.0-or-later
"""The parents of mediated devices that a pool may use: those that a selector chooses and that have its type."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ...errors import BadInput
from ...grammar import checked_address
from ...host import mdev_parents, pci_ids, sysfs
from ...host.oddities import Oddities
from ...names import called, device_name
from ...pools import fields

KEYS = ("names", "addresses", "driver", "vendor", "product", "numa_node")


@dataclass(frozen=True)
class Selector:
    """What a parent must be; what is None does not matter. ``vendor`` and ``product`` are ids or names of pci.ids."""

    names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    driver: str | None = None
    vendor: str | None = None
    product: str | None = None
    numa_node: int | None = None

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> Selector:
        """A selector of the module's option or of a record; BadInput for what can be none."""
        given = {key: value for key, value in values.items() if value is not None}
        if set(given) - set(KEYS):
            raise BadInput("parents", values, f"what can be chosen by is: {', '.join(KEYS)}")
        for key in ("names", "addresses"):
            listed = fields.texts(given, key, "parents.")
            if listed is not None:
                fields.refuse_if_empty(key, listed)
                given[key] = tuple(checked_address("parents", value) for value in listed)
        for key in ("driver", "vendor", "product"):
            fields.text(given, key, "parents.")
        fields.number(given, "numa_node", "parents.")
        return cls(**given)

    def document(self) -> dict[str, Any]:
        """What was chosen by, as it is kept."""
        values = {key: getattr(self, key) for key in KEYS}
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in values.items()
            if value not in (None, ())
        }

    def listed(self, address: str, path: str) -> set[str]:
        """By which of its names and addresses the parent in this folder is chosen: its own, and those of its card."""
        if not self.names and not self.addresses:
            return set()
        card = mdev_parents.card_of(address)
        known = {address, mdev_parents.name_of(path), card, device_name("pci", card)}
        return known.intersection((*self.names, *self.addresses))

    def misses(self, path: str, oddities: Oddities) -> tuple[str, str] | None:
        """The first part that leaves the parent in this folder out, with what it is there; None where it is chosen.

        Reads what is asked for and nothing else; names and addresses are listed()'s.
        """
        if self.driver is not None and (driver := sysfs.link_name(f"{path}/driver")) != self.driver:
            return "driver", driver or "none"
        if self.numa_node is not None and (node := sysfs.read(f"{path}/numa_node")) != str(self.numa_node):
            return "numa_node", node or "none"
        if self.vendor is None and self.product is None:
            return None
        identity = pci_ids.identity(path, oddities) if sysfs.link_name(f"{path}/subsystem") == "pci" else {}
        for key, wanted in (("vendor", self.vendor), ("product", self.product)):
            if wanted is not None and (key not in identity or not _means(wanted, identity[key])):
                return key, " ".join(identity.get(key, {"id": "none"}).values())
        return None

    def may_take(self, address: str) -> bool:
        """Whether a parent that is not there may be one of those that are chosen, by all that its address tells."""
        if not self.names and not self.addresses:
            return True
        return address in self.addresses or any(name.endswith(device_name("", address)) for name in self.names)


def _means(wanted: str, identity: Mapping[str, str]) -> bool:
    plain = wanted.lower()
    return plain in (identity["id"], identity["id"].removeprefix("0x"), identity.get("name", "").lower())


@dataclass(frozen=True)
class Parent:
    """A parent that can be used; ``type`` is the kernel's id there of the type that is wished.

    ``free`` is what it says it can take now, ``most`` what its whole card can take, None where that is not told.
    """

    address: str
    name: str
    card: str
    type: str
    device_api: str | None
    free: int
    most: int | None = None


@dataclass(frozen=True)
class Choice:
    """The parents that have the type, and of those that are chosen but lack it what they offer instead.

    ``offers`` are the vendors' names of their types by id; ``misses`` are by part of the selector the parents that it
    leaves out, by what it is there; ``missing`` says of each that is listed and is no parent what it is. ``cards`` are
    cards that are listed for their functions. ``instead`` is what is there where no parent is. ``oddities`` are
    warnings of what parents say that makes no sense.
    """

    parents: tuple[Parent, ...]
    offers: Mapping[str, Mapping[str, str | None]]
    missing: Mapping[str, str] = field(default_factory=dict)
    misses: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    cards: frozenset[str] = frozenset()
    instead: tuple[str, ...] = ()
    oddities: tuple[str, ...] = ()


def choose(selector: Selector, wanted: str | None) -> Choice:
    """The registered parents that the selector takes and that have the wished type, by its id or its vendor's name.

    Raises BadInput where several types of a parent have the name.
    """
    parents: list[Parent] = []
    offers: dict[str, dict[str, str | None]] = {}
    misses: dict[str, dict[str, list[str]]] = {}
    titles: dict[str, str | None] = {}
    asked = {*selector.names, *selector.addresses}
    found: set[str] = set()
    cards: set[str] = set()
    oddities = Oddities()
    registered = mdev_parents.addresses()
    for address in registered:
        path = mdev_parents.path_of(address)
        listed = selector.listed(address, path) if path else set()
        if path is None or (asked and not listed):
            continue
        name = mdev_parents.name_of(path)
        found |= listed
        cards |= listed - {address, name}
        missed = selector.misses(path, oddities)
        if missed is not None:
            part, value = missed
            misses.setdefault(part, {}).setdefault(value, []).append(address)
            continue
        kinds = mdev_parents.kinds(path)
        kind = wanted if wanted in kinds else _called(wanted, address, path, kinds, titles)
        if kind is None:
            offers[address] = {kind: titles.get(kind) for kind in kinds}
            continue
        parents.append(_parent(address, name, path, kind, oddities))
    return Choice(
        parents=tuple(parents),
        offers=offers,
        missing={
            each: oddities.attempt(partial(mdev_parents.why_not, each)) or "it is not there"
            for each in sorted(asked - found)
        },
        misses=misses,
        cards=frozenset({*cards, *filter(mdev_parents.may_have_functions, asked - found)}),
        instead=() if registered else tuple(oddities.attempt(mdev_parents.why_none) or ()),
        oddities=tuple(oddities.warnings),
    )


def _called(
    wanted: str | None, address: str, path: str, kinds: Iterable[str], titles: dict[str, str | None]
) -> str | None:
    """The type of this name; ``titles`` keeps the names that were read, since cards of one kind have the same."""
    for kind in kinds:
        if kind not in titles:
            titles[kind] = mdev_parents.title(path, kind)
    ids = [kind for kind in kinds if wanted is not None and titles[kind] == wanted]
    if len(ids) > 1:
        raise BadInput("type", wanted, f"{called(address)} has several types of that name, use an id: {', '.join(ids)}")
    return ids[0] if ids else None


def _parent(address: str, name: str, path: str, kind: str, oddities: Oddities) -> Parent:
    card = mdev_parents.card_of(address)
    return Parent(
        address=address,
        name=name,
        card=card,
        type=kind,
        device_api=sysfs.read(f"{path}/mdev_supported_types/{kind}/device_api"),
        free=mdev_parents.free(path, kind, oddities) or 0,
        # A parent that is its own card knows what is free.
        most=None if card == address else mdev_parents.most_on_card(path, kind),
    )
