# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts about the parents of mediated devices and the types they offer."""

from __future__ import annotations

from functools import partial
from typing import Any

from ..grammar import kernel_address
from ..host import mdev_parents
from ..host.oddities import Oddities


def facts(parent: str | None = None, driver: str | None = None, type: str | None = None) -> dict[str, Any]:
    """The answer of mdev_types_facts: the parents by libvirt's name, each with its types, and warnings.

    Narrowed to a parent by name or address, a driver, a type.
    """
    oddities = Oddities()
    parent = None if parent is None else kernel_address(parent)
    found: dict[str, dict[str, Any]] = {}
    for address in oddities.attempt(mdev_parents.addresses) or []:
        parent_facts = oddities.attempt(partial(_parent, address, parent, driver, type, oddities))
        if parent_facts is not None:
            found[parent_facts["name"]] = parent_facts
    return {"ansible_facts": {"mdev_types": found}, "warnings": oddities.warnings}


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
