# SPDX-License-Identifier: GPL-3.0-or-later
"""The definitions of cards that MIG divides: what is there of them, what is unlike, and how they are restored.

In the order that NVIDIA's driver wants: the mode; then the virtual functions, for which sriov-manage takes the card
from its driver, and GPU instances go with that; then these; then types of vGPUs.
"""

from __future__ import annotations

from typing import Any

from ...host import pci
from ...names import device_name
from ...resource import Hindrance, ensure
from ...store import files
from ...store.documents import name_of
from ...store.files import DamagedDefinition
from . import device
from .definition import DOCUMENTS, Division, division_of
from .device import Wish, look

# Seconds for it at boot, where others wait.
WAIT = 30.0


def defined(arrived: str | None) -> tuple[list[Division], list[DamagedDefinition]]:
    """All definitions by address."""
    return DOCUMENTS.all()


def summary(definition: Division) -> tuple[str, str, bool]:
    """Its address, and what a person calls it."""
    return definition.address, division_of(definition.address), True


def place(definition: Division) -> tuple[str]:
    """The card."""
    return (definition.address,)


def concerns(definition: Division, arrived: str) -> bool:
    """Whether this is the card."""
    return arrived == definition.address


def may_concern(damage: DamagedDefinition, arrived: str) -> bool:
    """Whether it is of this card."""
    return name_of(damage.path) == arrived


def wish(definition: Division) -> Wish:
    """The wish that a definition is."""
    return Wish(Division(definition.address), persistent=False, wait_timeout=WAIT)


def prepare(definition: Division) -> None:
    """Have the mode as it is defined, before functions are made; older drivers list profiles only with it."""
    if _lack(definition) is None:
        only_mode = Wish(Division(definition.address), persistent=False, wait_timeout=WAIT, mode_only=True)
        ensure(device, only_mode)


def hindrance(definition: Division) -> Hindrance | None:
    """What is in its way now."""
    lack = _lack(definition)
    if lack is None and definition.instances and _awaits_functions(definition):
        return Hindrance("its virtual functions are still to be made, with which GPU instances would go", passing=True)
    return lack


def _lack(definition: Division) -> Hindrance | None:
    function = pci.find(definition.address)
    if function is None:
        return Hindrance("the card is not there; it is divided when that arrives", passing=False)
    if function.driver is None:
        return Hindrance("the card has no driver yet", passing=True)
    return None


def _awaits_functions(definition: Division) -> bool:
    """Whether virtual functions of the card are defined and not made yet."""
    function = pci.find(definition.address)
    if function is None or function.functions:
        return False
    try:
        document = files.document(files.document_path("sriov", definition.address, files.STORE))
    except DamagedDefinition:
        return False
    return document is not None and document.get("numvfs") not in (None, 0)


def facts(definition: Division) -> dict[str, Any]:
    """What definition_facts says of it."""
    seen = look(wish(definition))
    if seen.untold is not None:
        raise seen.untold
    return {
        "name": device_name("pci", definition.address),
        "address": definition.address,
        "enabled": definition.enabled,
        "instances": None if definition.instances is None else dict(definition.instances),
        "parent_missing": seen.function is None,
        "autostart": True,
        "active": seen.modes.current is not None and seen.modes.current == definition.enabled,
        "drift": _drift(definition, seen),
    }


def _drift(definition: Division, seen: device.Observation) -> list[dict[str, Any]]:
    if not seen.modes.current:
        return []
    pairs: list[tuple[str, Any, Any]] = [("enabled", definition.enabled, True)]
    if definition.enabled and definition.instances is not None:
        known = {name: sum(each.is_of(name) for each in seen.instances) for name in definition.instances}
        others = sum(seen.counts.values()) - sum(known.values())
        pairs += [(f"GPU instances {name}", count, known[name]) for name, count in definition.instances.items()]
        pairs.append(("other GPU instances", 0, others))
    return [{"what": what, "defined": value, "running": runs} for what, value, runs in pairs if value != runs]
