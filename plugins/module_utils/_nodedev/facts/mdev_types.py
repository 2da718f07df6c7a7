# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts about the parents of mediated devices and the types they offer."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from ..grammar import kernel_address
from ..host import mdev_parents, modules
from ..host.oddities import Oddities
from ..names import called


def facts(parent: str | None = None, driver: str | None = None, type: str | None = None) -> dict[str, Any]:
    """The answer of mdev_types_facts: the parents by libvirt's name, each with its types, and warnings.

    Narrowed to a parent by name or address, a driver, a type; what there is none of is warned of. ``hint`` is what is
    there instead on a host without any parent.
    """
    oddities = Oddities()
    parent = None if parent is None else kernel_address(parent)
    found: dict[str, dict[str, Any]] = {}
    registered = oddities.attempt(mdev_parents.addresses) or []
    for address in registered:
        parent_facts = oddities.attempt(partial(_parent, address, parent, driver, type, oddities))
        if parent_facts is not None:
            found[parent_facts["name"]] = parent_facts
    hint = [] if registered else oddities.attempt(mdev_parents.why_none) or []
    asked = {"parent": parent, "driver": driver, "type": type}
    wanted = " and ".join(f"{option} {value!r}" for option, value in asked.items() if value is not None)
    if wanted and not found:
        offers = _offers(registered, oddities) if type is not None and registered else {}
        instead = hint if parent is None or _is_among(parent, registered) else _instead(parent, hint, oddities)
        there = mdev_parents.offered(offers, type) if offers else mdev_parents.listed(registered, instead)
        there += "" if driver is None else modules.suggested(driver)
        oddities.add(f"no parent is found by {wanted}; {there}")
    answer = {"ansible_facts": {"mdev_types": found}, "warnings": oddities.warnings}
    return answer if registered else {**answer, "hint": hint}


def _is_among(parent: str, registered: Iterable[str]) -> bool:
    """Whether a name or an address is that of a registered parent."""
    return any(parent == each or called(each).startswith(f"{parent} ") for each in registered)


def _instead(parent: str, hint: list[str], oddities: Oddities) -> list[str]:
    """What a device is that is asked for and is not a parent, and what is there where no parent is."""
    why = oddities.attempt(partial(mdev_parents.why_not, parent))
    return [*([] if why is None else [why]), *hint]


def _offers(registered: Iterable[str], oddities: Oddities) -> dict[str, dict[str, str | None]]:
    paths = {address: mdev_parents.path_of(address) for address in registered}
    return {address: mdev_parents.titles(path, oddities) for address, path in paths.items() if path is not None}


def _parent(
    address: str, parent: str | None, driver: str | None, kind: str | None, oddities: Oddities
) -> dict[str, Any] | None:
    """A parent with its types; None where it is not registered any more or is none of those that are asked for."""
    path = mdev_parents.path_of(address)
    if path is None or parent not in (None, address, mdev_parents.name_of(path)):
        return None
    if driver is not None and driver != oddities.link_name(f"{path}/driver"):
        return None
    offers = oddities.attempt(partial(mdev_parents.types_of, path, oddities)) or {}
    types = {id: offer for id, offer in offers.items() if kind in (None, id, offer.get("name"))}
    return {**mdev_parents.describe(address, path, oddities), "types": types} if types or kind is None else None
