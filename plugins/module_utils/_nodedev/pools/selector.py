# SPDX-License-Identifier: GPL-3.0-or-later
"""Which parents a pool may use: those that a selector takes, and what became of the others. The same for every kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from typing import Any

from ..errors import BadInput
from ..grammar import SUBCHANNEL, channels, checked_address
from ..host import mdev_parents, pci, pci_ids, subchannels, sysfs
from ..host.oddities import Oddities
from ..names import called, device_name, may_name, named
from ..waiting import left, wait_for
from . import fields
from .placement import WAYS

LISTS = ("names", "addresses", "physical_function")
TEXTS = ("driver", "interface", "vendor", "product")
NUMBERS = ("numa_node", "iommu_group")
KEYS = (
    *("names", "addresses", "driver", "vendor", "product", "numa_node"),
    *("physical_function", "iommu_group", "interface"),
)

# The options of modules, as Ansible wants them, that plugins/doc_fragments/parents.py documents.
PARENT_OPTIONS: dict[str, Any] = {
    "parents": {
        "type": "dict",
        "options": {
            **{key: {"type": "list", "elements": "str"} for key in LISTS},
            **{key: {"type": "str"} for key in TEXTS},
            **{key: {"type": "int"} for key in NUMBERS},
        },
    },
    "placement": {"type": "str", "choices": [*WAYS]},
}


@dataclass(frozen=True)
class Candidate:
    """A parent that is looked at; each value is read once, and only when it is asked for.

    ``interfaces_of`` gives the network interfaces of a PCI function by its folder, which functions of one card share.
    """

    address: str
    path: str
    interfaces_of: Callable[[str], Sequence[str]]
    oddities: Oddities

    @cached_property
    def name(self) -> str:
        return mdev_parents.name_of(self.path)

    @cached_property
    def card(self) -> str:
        """The address of a virtual function's physical one, else its own."""
        return sysfs.link_name(f"{self.path}/physfn") or self.address

    @property
    def is_function(self) -> bool:
        return self.card != self.address

    @property
    def card_names(self) -> tuple[str, str]:
        """Both names of a virtual function's physical one, or of the PCI function itself."""
        return self.card, device_name("pci", self.card)

    def driver(self) -> Sequence[str]:
        return _one(sysfs.link_name(f"{self.path}/driver"))

    def numa_node(self) -> Sequence[str]:
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

    @property
    def asked(self) -> set[str]:
        """All names and addresses of parents or of their cards."""
        return {*self.names, *self.addresses}

    def listed(self, parent: Candidate) -> set[str]:
        """By which of its names and addresses a parent is chosen: its own, and those of its card."""
        if not self.names and not self.addresses:
            return set()
        return {parent.address, parent.name, *parent.card_names}.intersection(self.asked)

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
        if address in self.addresses or any(may_name(name, address) for name in self.names):
            return True
        # Which device was on a subchannel that is gone cannot be told any more.
        return bool(SUBCHANNEL.fullmatch(address)) and any("ccw" in channels(each) for each in self.asked)


def _means(wanted: str, identity: Mapping[str, str]) -> bool:
    plain = wanted.lower()
    return plain in (identity["id"], identity["id"].removeprefix("0x"), identity.get("name", "").lower())


@dataclass(frozen=True)
class Chosen:
    """The parents that a selector takes, and why not the others.

    ``misses`` are by part of the selector the parents that it leaves out, by what it is there; ``missing`` says of each
    that is listed and is no parent what it is. ``cards`` are cards that are listed for their functions.
    """

    candidates: tuple[Candidate, ...] = ()
    misses: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    cards: frozenset[str] = frozenset()

    def refusal(self, selector: Selector) -> BadInput | None:
        """What to raise where no parent is taken and it is the selector that leaves them out; None where it is not."""
        if not self.misses:
            return None
        told = "; ".join(f"{part} is {_listed(values)}" for part, values in self.misses.items())
        return BadInput("parents", selector.document(), f"it leaves out every parent: {told}")


def _listed(values: Mapping[str, Sequence[str]]) -> str:
    """What a part of the selector is on which parents."""
    return " and ".join(f"{value} on {named(parents)}" for value, parents in values.items())


def choose(selector: Selector, parents: Mapping[str, str], why_not: Callable[[str], str], oddities: Oddities) -> Chosen:
    """Those of the parents, which are by address their folders, that the selector takes.

    ``why_not`` says of a device that is asked for and is no parent what it is.
    """
    candidates: list[Candidate] = []
    misses: dict[str, dict[str, list[str]]] = {}
    asked = selector.asked
    every = cache(subchannels.by_device)
    meant = {each: oddities.attempt(partial(subchannels.meant, each, every)) or {} for each in asked}
    doubts = {each: text for each, own in meant.items() if (text := subchannels.doubt(own)) is not None}
    found: set[str] = set()
    cards: set[str] = set()
    # Of one card each function has the same.
    interfaces_of = cache(pci.interfaces)
    for address, path in parents.items():
        parent = Candidate(address, path, interfaces_of, oddities)
        listed = selector.listed(parent)
        listed |= {each for each, own in meant.items() if address in own.values() and each not in doubts}
        found |= listed | selector.functions_of(parent)
        if asked and not listed:
            continue
        cards |= listed - {address, parent.name}
        missed = selector.misses(parent)
        if missed is None:
            candidates.append(parent)
        else:
            part, value = missed
            misses.setdefault(part, {}).setdefault(value, []).append(address)
    return Chosen(
        candidates=tuple(candidates),
        misses=misses,
        missing={**_missing(selector, found, parents, why_not, oddities), **doubts},
        cards=frozenset({*cards, *filter(mdev_parents.may_have_functions, asked - found)}),
    )


def await_functions(selector: Selector, seconds: float) -> bool:
    """Wait for what makes vGPUs of functions that the selector takes, which comes some time after them.

    Whether there were any to be waited for. What follows has as much of the ``seconds`` as those that never come.
    """

    def are_late() -> bool:
        return takes(selector, pci.paths(mdev_parents.late()))

    late = are_late()
    if late:
        wait_for(lambda: not are_late(), left(seconds) / 2)
    return late


def takes(selector: Selector, devices: Mapping[str, str]) -> bool:
    """Whether it takes any of these devices, which are by address their folders."""
    return bool(choose(selector, devices, lambda _asked: "", Oddities()).candidates)


def _missing(
    selector: Selector, found: set[str], parents: Iterable[str], why_not: Callable[[str], str], oddities: Oddities
) -> dict[str, str]:
    """Of what is listed and was not found among the parents or their cards, what each is."""
    whys = {each: partial(_why_no_card, each, parents, why_not) for each in selector.physical_function}
    whys |= {each: partial(why_not, each) for each in (*selector.names, *selector.addresses)}
    return {each: oddities.attempt(whys[each]) or "it is not there" for each in sorted({*whys} - found)}


def _why_no_card(asked: str, parents: Iterable[str], why_not: Callable[[str], str]) -> str:
    """What a device is that is asked for as the physical function of parents, and is that of none."""
    if any(asked in (address, device_name("pci", address)) for address in parents):
        return "it is a parent itself, and not the physical function of one: choose it by names or addresses"
    return why_not(asked)
