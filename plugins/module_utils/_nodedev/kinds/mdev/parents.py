# SPDX-License-Identifier: GPL-3.0-or-later
"""The parents of mediated devices that a pool may use: those that a selector chooses and that have its type."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import BadInput
from ...grammar import checked_address
from ...host import mdev_parents, pci_ids, sysfs
from ...host.oddities import Oddities
from ...names import device_name
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

    def takes(self, address: str, path: str, oddities: Oddities) -> bool:
        """Whether the parent in this folder is chosen; reads what is asked for and nothing else."""
        listed = address in self.addresses or (self.names and mdev_parents.name_of(path) in self.names)
        if (self.names or self.addresses) and not listed:
            return False
        if self.driver is not None and sysfs.link_name(f"{path}/driver") != self.driver:
            return False
        if self.numa_node is not None and sysfs.read(f"{path}/numa_node") != str(self.numa_node):
            return False
        return (self.vendor is None and self.product is None) or self._is_made_by(path, oddities)

    def may_take(self, address: str) -> bool:
        """Whether a parent that is not there may be one of those that are chosen, by all that its address tells."""
        if not self.names and not self.addresses:
            return True
        return address in self.addresses or any(name.endswith(device_name("", address)) for name in self.names)

    def _is_made_by(self, path: str, oddities: Oddities) -> bool:
        identity = pci_ids.identity(path, oddities) if sysfs.link_name(f"{path}/subsystem") == "pci" else {}
        return all(
            wanted is None or (key in identity and _means(wanted, identity[key]))
            for key, wanted in (("vendor", self.vendor), ("product", self.product))
        )


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

    ``oddities`` are warnings of what parents say that makes no sense.
    """

    parents: tuple[Parent, ...]
    offers: Mapping[str, tuple[str, ...]]
    missing: tuple[str, ...]
    oddities: tuple[str, ...] = ()


def choose(selector: Selector, wanted: str | None) -> Choice:
    """The registered parents that the selector takes and that have the wished type, by its id or its vendor's name.

    ``missing`` are parents that are chosen by name or address and are not registered. Raises BadInput where several
    types of a parent have the name.
    """
    parents: list[Parent] = []
    offers: dict[str, tuple[str, ...]] = {}
    titles: dict[str, str | None] = {}
    seen: set[str] = set()
    oddities = Oddities()
    for address in mdev_parents.addresses():
        path = mdev_parents.path_of(address)
        if path is None or not selector.takes(address, path, oddities):
            continue
        name = mdev_parents.name_of(path)
        seen.update((address, name))
        kinds = mdev_parents.kinds(path)
        kind = wanted if wanted in kinds else _called(wanted, address, path, kinds, titles)
        if kind is None:
            offers[address] = tuple(f"{kind} ({titles[kind]})" if titles.get(kind) else kind for kind in kinds)
            continue
        parents.append(_parent(address, name, path, kind, oddities))
    missing = tuple(name for name in (*selector.names, *selector.addresses) if name not in seen)
    return Choice(tuple(parents), offers, missing, tuple(oddities.warnings))


def _called(
    wanted: str | None, address: str, path: str, kinds: Iterable[str], titles: dict[str, str | None]
) -> str | None:
    """The type of this name; ``titles`` keeps the names that were read, since cards of one kind have the same."""
    for kind in kinds:
        if kind not in titles:
            titles[kind] = mdev_parents.title(path, kind)
    called = [kind for kind in kinds if wanted is not None and titles[kind] == wanted]
    if len(called) > 1:
        raise BadInput("type", wanted, f"{address} has several types of that name, use an id: {', '.join(called)}")
    return called[0] if called else None


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
