# SPDX-License-Identifier: GPL-3.0-or-later
"""The definitions of vGPUs: what runs of them, what is unlike, and how one is restored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...host import pci, vgpu_types, vgpus
from ...host.oddities import Oddities
from ...names import device_name
from ...resource import Hindrance
from ...store.documents import name_of
from ...store.files import DamagedDefinition
from .definition import DOCUMENTS, Definition, vgpu_of
from .device import Wish, look

# Seconds for making one at boot.
WAIT = 30.0


def defined(arrived: str | None) -> tuple[list[Definition], list[DamagedDefinition]]:
    """All definitions, those with a place first, then the largest; records of what is not to last are none.

    The driver chooses where the others stand on a card of several sizes: at the places of those that have one, and with
    gaps otherwise.
    """
    definitions, damaged = DOCUMENTS.all()
    lasting = [each for each in definitions if each.lasts]
    return sorted(lasting, key=_order), damaged


def _order(each: Definition) -> tuple[bool, int]:
    return each.placement is None, -(vgpu_types.framebuffer(each.title or "") or 0)


def summary(definition: Definition) -> tuple[str, str, bool]:
    """Its function's address, what a person calls it, and whether it is there after a boot, as no managed one is."""
    return definition.address, f"{vgpu_of(definition.address)}, of type {definition.kind}", not definition.managed


def place(definition: Definition) -> Sequence[str]:
    """The card of the function, and the function."""
    return pci.lineage(definition.address)


def concerns(definition: Definition, arrived: str) -> bool:
    """Whether this is the function."""
    return arrived == definition.address


def may_concern(damage: DamagedDefinition, arrived: str) -> bool:
    """Whether a definition that cannot be understood is of this function: its name says so."""
    return name_of(damage.path) == arrived


def wish(definition: Definition) -> Wish:
    """The wish that a definition is."""
    return Wish(device=definition.address, wait_timeout=WAIT)


def hindrance(definition: Definition) -> Hindrance | None:
    """What is in its way now; the driver and the types of a function come some time after it."""
    function = pci.find(definition.address)
    if function is None:
        return Hindrance("its function is not there; it is restored when that arrives", passing=False)
    found = vgpus.look(function, 0, Oddities())
    if found.type is None:
        return Hindrance(str(found.hindrance), passing=True)
    if found.type == vgpus.NONE and definition.type not in found.offers:
        return Hindrance(
            f"its function does not offer type {definition.kind} now: the driver's services may still start, or its"
            " card is full or takes another framebuffer",
            passing=True,
        )
    return None


def facts(definition: Definition) -> dict[str, Any]:
    """What definition_facts says of it."""
    seen = look(wish(definition))
    return {
        "name": device_name("pci", definition.address),
        "address": definition.address,
        "parent": device_name("pci", seen.card_address),
        "parent_addr": seen.card_address,
        "type": definition.title,
        "type_id": definition.type,
        "params": definition.params or "",
        "placement_id": definition.placement,
        "managed": definition.managed,
        "parent_missing": seen.function is None,
        "autostart": not definition.managed,
        "active": seen.current == definition.type,
        "drift": _drift(definition, seen.current, seen.params, seen.placement),
    }


def _drift(definition: Definition, type: int | None, params: str | None, placement: int | None) -> list[dict[str, Any]]:
    """Where what runs is unlike its definition; nothing where nothing runs."""
    pairs: list[tuple[str, Any, Any]] = [("type", definition.type, type)]
    if type == definition.type:
        pairs += [("params", definition.params, params)] if definition.params is not None else []
        pairs += [("placement_id", definition.placement, placement)] if definition.placement is not None else []
    return [{"what": what, "defined": kept, "running": runs} for what, kept, runs in pairs if type and kept != runs]
