# SPDX-License-Identifier: GPL-3.0-or-later
"""What is assigned to a mediated device on the AP matrix: adapters, usage domains and control domains.

Follows the kernel's Documentation/arch/s390/vfio-ap.rst: its queues are all domains of all adapters. A definition has
it as writes to the device's files in their order; from Linux 6.9 ap_config takes all of it at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

from ..errors import BadInput
from ..grammar import ap_mask, ap_numbers, ap_queue
from . import mdevs, sysfs
from .ap import Number
from .mdev_parents import BUS as PARENTS
from .mdev_parents import MATRIX
from .numbers import integer

# The kernel's name of the parent, and of the API of its devices.
PARENT, API = MATRIX, "vfio-ap"
CONFIG = "ap_config"
# What files of a device give and take, by the field that it is kept in here.
FILES = {"adapter": "adapters", "domain": "domains", "control_domain": "control_domains"}


@dataclass(frozen=True)
class Matrix:
    adapters: frozenset[int] = frozenset()
    domains: frozenset[int] = frozenset()
    control_domains: frozenset[int] = frozenset()

    @property
    def queues(self) -> frozenset[Number]:
        """All domains of all adapters."""
        return frozenset((adapter, domain) for adapter in self.adapters for domain in self.domains)

    def is_within(self, other: Matrix) -> bool:
        """Whether the other one has all of it."""
        return all(getattr(self, each.name) <= getattr(other, each.name) for each in fields(self))

    def config(self) -> str:
        """It as ap_config takes it: three masks, and the end of the line, without which the third is not found."""
        return ",".join(ap_mask(getattr(self, each.name)) for each in fields(self)) + "\n"


def of_attrs(attrs: Iterable[tuple[str, str]]) -> Matrix:
    """What a device has after these writes; BadInput for what is no number, of other attributes nothing."""
    found = Matrix()
    for name, value in attrs:
        if name == CONFIG:
            found = _of_config(name, value)
            continue
        verb, _sign, what = name.partition("_")
        if verb not in ("assign", "unassign") or what not in FILES:
            continue
        numbers = getattr(found, FILES[what])
        number = _number(name, value)
        found = replace(found, **{FILES[what]: numbers | {number} if verb == "assign" else numbers - {number}})
    return found


def _number(name: str, value: str) -> int:
    number = integer(value.strip(), 0, bits=16)
    if number is None or value.strip().startswith("-"):
        raise BadInput("attrs", {name: value}, "an adapter or a domain is a number, as 31 or 0x1f")
    return number


def _of_config(name: str, value: str) -> Matrix:
    masks = [ap_numbers(part) for part in value.strip().split(",")]
    found = [mask for mask in masks if mask is not None]
    if len(masks) != len(fields(Matrix)) or len(found) != len(masks):
        raise BadInput(
            "attrs", {name: value}, "it takes three masks, of adapters, domains and control domains, 0x... each"
        )
    return Matrix(*found)


def attrs_of(attrs: Iterable[tuple[str, str]]) -> Matrix | None:
    """The same of attributes of others; None where they make no sense, which whoever starts such a device hears."""
    try:
        return of_attrs(attrs)
    except BadInput:
        return None


def running() -> dict[str, Matrix]:
    """What the devices that run have, by their UUIDs."""
    return {uuid: of_device(uuid) for uuid in sorted(mdevs.below(sysfs.target(f"{PARENTS}/{PARENT}") or ""))}


def of_device(uuid: str) -> Matrix:
    """What a device that runs has; nothing of one that is gone."""
    config = sysfs.read(f"{mdevs.BUS}/{uuid}/{CONFIG}")
    if config is not None:
        return _of_config(CONFIG, config)
    control = [integer(line, 16) for line in (sysfs.read(f"{mdevs.BUS}/{uuid}/control_domains") or "").split()]
    return replace(_listed(uuid, "matrix"), control_domains=frozenset(each for each in control if each is not None))


def of_guest(uuid: str) -> Matrix | None:
    """What its guest gets of it, no adapter of which vfio_ap lacks a queue; None where the kernel does not say."""
    return _listed(uuid, "guest_matrix") if sysfs.exists(f"{mdevs.BUS}/{uuid}/guest_matrix") else None


def _listed(uuid: str, file: str) -> Matrix:
    """The queues in a file, one a line; where there are adapters or domains alone, the other half of a line lacks."""
    adapters, domains = set(), set()
    for line in (sysfs.read(f"{mdevs.BUS}/{uuid}/{file}") or "").split():
        adapter, _dot, domain = line.partition(".")
        number = ap_queue(line)
        adapters |= {number[0]} if number else {int(adapter, 16)} if adapter else set()
        domains |= {number[1]} if number else {int(domain, 16)} if domain else set()
    return Matrix(frozenset(adapters), frozenset(domains))


def can_change(uuid: str) -> bool:
    """Whether the device takes all of it at once, while it runs."""
    return sysfs.exists(f"{mdevs.BUS}/{uuid}/{CONFIG}")
