# SPDX-License-Identifier: GPL-3.0-or-later
"""The parents of mediated devices that a pool may use: those that a selector chooses and that have its type."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from typing import Any

from ...errors import BadInput
from ...grammar import checked_address
from ...host import mdev_parents, pci, pci_ids, sysfs
from ...host.oddities import Oddities
from ...names import called, device_name
from ...pools import fields

LISTS = ("names", "addresses", "physical_function")
TEXTS = ("driver", "interface", "vendor", "product")
NUMBERS = ("numa_node", "iommu_group")
KEYS = (
    *("names", "addresses", "driver", "vendor", "product", "numa_node"),
    *("physical_function", "iommu_group", "interface"),
)


@dataclass(frozen=True)
class Candidate:
    """A registered parent that is looked at; each value is read once, and only when it is asked for.

    ``interfaces_of`` gives the network interfaces of a PCI function by its folder, which functions of one card share.
    """

    address: str
    path: str
    interfaces_of: Callable[[str], Sequence[str]]
    oddities: Oddities

    @cached_property
    def name(self) -> str:
        """libvirt's name."""
        return mdev_parents.name_of(self.path)

    @cached_property
    def card(self) -> str:
        """The address of a virtual function's physical one, else its own."""
        return mdev_parents.card_of(self.address)

    @property
    def is_function(self) -> bool:
        """Whether it is a virtual function."""
        return self.card != self.address

    @property
    def card_names(self) -> tuple[str, str]:
        """Both names of a virtual function's physical one, or of the PCI function itself."""
        return self.card, device_name("pci", self.card)

    def driver(self) -> Sequence[str]:
        """The driver that it is bound to, as a text or none."""
        return _one(sysfs.link_name(f"{self.path}/driver"))

    def numa_node(self) -> Sequence[str]:
        """The NUMA node, as a text or none."""
        return _one(sysfs.read(f"{self.path}/numa_node"))

    def iommu_group(self) -> Sequence[str]:
        """The IOMMU group's name, which is its number, as a text or none."""
        return _one(sysfs.link_name(f"{self.path}/iommu_group"))

    def interfaces(self) -> Sequence[str]:
        """The network interfaces of the parent and of its physical function."""
        own = self.interfaces_of(self.path)
        return (*own, *self.interfaces_of(f"{mdev_parents.PCI}/{self.card}")) if self.is_function else own

    @cached_property
    def identity(self) -> Mapping[str, Mapping[str, str]]:
        """The vendor and the product of a PCI function."""
        is_pci = sysfs.link_name(f"{self.path}/subsystem") == "pci"
        return pci_ids.identity(self.path, self.oddities) if is_pci else {}


def _one(text: str | None) -> Sequence[str]:
    return (text,) if text else ()


# The parts of a selector that are what a parent says, and how that is read.
READ: Mapping[str, Callable[[Candidate], Sequence[str]]] = {
    "driver": Candidate.driver,
    "numa_node": Candidate.numa_node,
    "iommu_group": Candidate.iommu_group,
    "interface": Candidate.interfaces,
}


@dataclass(frozen=True)
class Selector:
    """What a parent must be; what is None, or a list without any, does not matter.

    ``vendor`` and ``product`` are ids or names of pci.ids. ``physical_function`` are the names or addresses of cards of
    one of which the parent is a virtual function, ``interface`` is one of its own or of its physical function.
    """

    names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    driver: str | None = None
    vendor: str | None = None
    product: str | None = None
    numa_node: int | None = None
    physical_function: tuple[str, ...] = ()
    iommu_group: int | None = None
    interface: str | None = None

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> Selector:
        """A selector of the module's option or of a record; BadInput for what can be none."""
        given = {key: value for key, value in values.items() if value is not None}
        if set(given) - set(KEYS):
            raise BadInput("parents", values, f"what can be chosen by is: {', '.join(KEYS)}")
        for key in LISTS:
            listed = fields.texts(given, key, "parents.")
            if listed is not None:
                fields.refuse_if_empty(key, listed)
                given[key] = tuple(checked_address("parents", value) for value in listed)
        for key in TEXTS:
            fields.text(given, key, "parents.")
        for key in NUMBERS:
            fields.number(given, key, "parents.")
        return cls(**given)

    def document(self) -> dict[str, Any]:
        """What was chosen by, as it is kept."""
        values = {key: getattr(self, key) for key in KEYS}
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in values.items()
            if value not in (None, ())
        }

    def listed(self, parent: Candidate) -> set[str]:
        """By which of its names and addresses a parent is chosen: its own, and those of its card."""
        if not self.names and not self.addresses:
            return set()
        return {parent.address, parent.name, *parent.card_names}.intersection((*self.names, *self.addresses))

    def functions_of(self, parent: Candidate) -> set[str]:
        """Of which of the physical functions that are listed a parent is a virtual function, as they are listed."""
        if not self.physical_function or not parent.is_function:
            return set()
        return set(parent.card_names).intersection(self.physical_function)

    def misses(self, parent: Candidate) -> tuple[str, str] | None:
        """The first part that leaves a parent out, with what it is there; None where it is chosen.

        Reads what is asked for and nothing else; names and addresses are listed()'s.
        """
        for key, read in READ.items():
            wanted = getattr(self, key)
            if wanted is not None and str(wanted) not in (there := read(parent)):
                return key, ", ".join(there) or "none"
        if self.physical_function and not self.functions_of(parent):
            return "physical_function", called(parent.card) if parent.is_function else "none"
        for key, wanted in (("vendor", self.vendor), ("product", self.product)):
            if wanted is not None and (key not in parent.identity or not _means(wanted, parent.identity[key])):
                return key, " ".join(parent.identity.get(key, {"id": "none"}).values())
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
    # Of one card each function has the same.
    interfaces_of = cache(pci.interfaces)
    registered = mdev_parents.addresses()
    for address in registered:
        path = mdev_parents.path_of(address)
        if path is None:
            continue
        parent = Candidate(address, path, interfaces_of, oddities)
        listed = selector.listed(parent)
        found |= listed | selector.functions_of(parent)
        if asked and not listed:
            continue
        cards |= listed - {address, parent.name}
        missed = selector.misses(parent)
        if missed is not None:
            part, value = missed
            misses.setdefault(part, {}).setdefault(value, []).append(address)
            continue
        kinds = mdev_parents.kinds(path)
        kind = wanted if wanted in kinds else _called(wanted, address, path, kinds, titles)
        if kind is None:
            offers[address] = {kind: titles.get(kind) for kind in kinds}
            continue
        parents.append(_parent(parent, kind))
    return Choice(
        parents=tuple(parents),
        offers=offers,
        missing=_missing(selector, found, registered, oddities),
        misses=misses,
        cards=frozenset({*cards, *filter(mdev_parents.may_have_functions, asked - found)}),
        instead=() if registered else tuple(oddities.attempt(mdev_parents.why_none) or ()),
        oddities=tuple(oddities.warnings),
    )


def _missing(selector: Selector, found: set[str], registered: Sequence[str], oddities: Oddities) -> dict[str, str]:
    """Of what is listed and was not found among the parents or their cards, what each is."""
    whys = {each: partial(_why_no_card, each, registered) for each in selector.physical_function}
    whys |= {each: partial(mdev_parents.why_not, each) for each in (*selector.names, *selector.addresses)}
    return {each: oddities.attempt(whys[each]) or "it is not there" for each in sorted({*whys} - found)}


def _why_no_card(asked: str, registered: Iterable[str]) -> str:
    """What a device is that is asked for as the physical function of parents, and is that of none."""
    if any(asked in (address, device_name("pci", address)) for address in registered):
        return "it is a parent itself, and not the physical function of one: choose it by names or addresses"
    return mdev_parents.why_not(asked)


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


def _parent(candidate: Candidate, kind: str) -> Parent:
    address, path, card = candidate.address, candidate.path, candidate.card
    return Parent(
        address=address,
        name=candidate.name,
        card=card,
        type=kind,
        device_api=sysfs.read(f"{path}/mdev_supported_types/{kind}/device_api"),
        free=mdev_parents.free(path, kind, candidate.oddities) or 0,
        # A parent that is its own card knows what is free.
        most=mdev_parents.most_on_card(path, kind) if candidate.is_function else None,
    )
