# SPDX-License-Identifier: GPL-3.0-or-later
"""The definitions of functions: what runs of them, what is unlike, and how they are restored."""

from __future__ import annotations

from typing import Any

from ...host import binding, pci, udev_events, vf_settings
from ...names import device_name
from ...resource import Hindrance
from ...store.documents import name_of
from ...store.files import DamagedDefinition
from .declared import DOCUMENTS, Declared, functions_of
from .seen import Observation, Wish, look


def defined(arrived: str | None) -> tuple[list[Declared], list[DamagedDefinition]]:
    return DOCUMENTS.all()


def summary(definition: Declared) -> tuple[str, str, bool]:
    """Its address, and what a person calls it; what is defined is there after every boot."""
    return definition.address, functions_of(definition.address), True


def place(definition: Declared) -> tuple[str]:
    return (definition.address,)


def concerns(definition: Declared, arrived: str) -> bool:
    return arrived == definition.address


def may_concern(damage: DamagedDefinition, arrived: str) -> bool:
    """Whether a definition that cannot be understood is of this physical function: its name says so."""
    return name_of(damage.path) == arrived


def wish(definition: Declared) -> Wish:
    return Wish(Declared(definition.address), persistent=False)


def hindrance(definition: Declared) -> Hindrance | None:
    function = pci.find(definition.address)
    if function is None:
        return Hindrance("its physical function is not there; it is restored when that arrives", passing=False)
    if function.driver is None and definition.number != "0":
        return Hindrance("its physical function has no driver yet", passing=True)
    if definition.vfs and function.is_network and not _is_reached(function):
        return Hindrance("its physical function has no network interface yet", passing=True)
    return None


def _is_reached(function: pci.Function) -> bool:
    """Whether the interface by which functions are set is there, and has the name that it keeps.

    A function has its driver before that is through with making the interface.
    """
    interface = vf_settings.interface_of(function)
    return interface is not None and udev_events.has_named(interface)


def facts(definition: Declared) -> dict[str, Any]:
    seen = look(wish(definition))
    count = definition.count(seen.capability.total if seen.capability else None)
    return {
        "name": device_name("pci", definition.address),
        "address": definition.address,
        "numvfs": str(definition.number),
        "autoprobe": definition.autoprobe,
        "driver": definition.driver,
        "vfs": definition.document().get("vfs", []),
        "parent_missing": seen.function is None,
        "autostart": True,
        "active": seen.function is not None and seen.count == count,
        "drift": _drift(seen, count),
    }


def _drift(seen: Observation, count: int | None) -> list[dict[str, Any]]:
    """Where what runs is unlike its definition; nothing where nothing runs."""
    if not seen.count:
        return []
    pairs: list[tuple[str, Any, Any]] = [("numvfs", count, seen.count)]
    wanted = [(each, seen.driver_of(each.address)) for each in seen.functions]
    pairs += [(f"driver of {each.index}", driver, each.driver or binding.NONE) for each, driver in wanted if driver]
    for index, values in seen.declared.vfs or ():
        actual = seen.settings.get(index, {})
        pairs += [(f"{key} of {index}", value, actual.get(key)) for key, value in values]
    return [{"what": what, "defined": value, "running": runs} for what, value, runs in pairs if value != runs]
