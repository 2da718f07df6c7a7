# SPDX-License-Identifier: GPL-3.0-or-later
"""The definitions of bindings, those of driverctl: what is bound, what is unlike, and how one is restored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...host import pci, sysfs
from ...host.binding import NONE
from ...host.driverctl_turn import await_turn
from ...names import called, device_name
from ...resource import Hindrance
from ...store import driverctl
from ...store.driverctl import Definition
from ...store.files import DamagedDefinition
from .seen import Wish, place_of


def defined(arrived: str | None) -> tuple[list[Definition], list[DamagedDefinition]]:
    """All bindings, driverctl's own among them."""
    found, damaged = driverctl.all_defined()
    return [each for each in found if arrived in (None, each.address)], damaged


def summary(definition: Definition) -> tuple[str, str, bool]:
    """Its bus and name, the binding as a person knows it; one that is defined is there after every boot."""
    id = f"{definition.bus}-{definition.address}"
    return id, f"driver {definition.driver} for {called(definition.address)}", True


def place(definition: Definition) -> Sequence[str]:
    """Its card, and which function of that it is."""
    return pci.lineage(definition.address) if definition.bus == "pci" else (definition.address,)


def concerns(definition: Definition, arrived: str) -> bool:
    return arrived == definition.address


def may_concern(damage: DamagedDefinition, arrived: str) -> bool:
    """Whether a file that cannot be understood may be of this device: by its name, or the folder, of each."""
    device = driverctl.device_of(damage)
    return device is None or device[1] == arrived


def wish(definition: Definition) -> Wish:
    """The wish that a definition is, whoever wrote it."""
    return Wish(definition.bus, definition.address, definition.driver, persistent=False, restoring=True)


def prepare(definition: Definition) -> None:
    """Let driverctl have its turn, after which what is made on the device stays."""
    await_turn(definition.bus, definition.address)


def hindrance(definition: Definition) -> Hindrance | None:
    if sysfs.exists(place_of(definition.bus, definition.address)):
        return None
    return Hindrance("the device is not there; it is bound when it arrives", passing=False)


def facts(definition: Definition) -> dict[str, Any]:
    path = sysfs.target(place_of(definition.bus, definition.address))
    bound = None if path is None else sysfs.link_name(f"{path}/driver") or NONE
    drift = [] if bound in (None, definition.driver) else [_unlike(definition, str(bound))]
    return {
        "name": device_name(definition.bus, definition.address),
        "address": definition.address,
        "driver": definition.driver,
        "autostart": True,
        "active": bound == definition.driver,
        "parent_missing": path is None,
        "drift": drift,
    }


def _unlike(definition: Definition, bound: str) -> dict[str, str]:
    return {"what": "driver", "defined": definition.driver, "running": bound}
