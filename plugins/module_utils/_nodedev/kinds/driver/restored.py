# SPDX-License-Identifier: GPL-3.0-or-later
"""The definitions of bindings, those of driverctl: what is bound, what is unlike, and how one is restored."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from ... import programs
from ...errors import NodedevError
from ...host import pci, sysfs, udev_events
from ...host.binding import NONE
from ...names import called, device_name
from ...resource import Hindrance
from ...store import driverctl, restorers
from ...store.driverctl import Definition
from ...store.files import DamagedDefinition
from ...waiting import wait_for
from .device import PEER
from .seen import Wish, place_of

# Seconds for driverctl's turn with a device, on a busy host, and for systemd to say how far that is.
TURN, ANSWER = 60.0, 5.0
# What driverctl's unit is in before that and meanwhile.
COMING = {"ActiveState=inactive", "ActiveState=activating"}


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
    return Wish(definition.bus, definition.address, definition.driver, persistent=False)


def prepare(definition: Definition) -> None:
    """Let driverctl have its turn first, where its rule has systemd start it.

    It takes the device from whatever driver that has, with all that was made there since, and fails where somebody else
    does so at the same time.
    """
    if restorers.broken_rule(PEER) is None:
        wait_for(lambda: not _is_driverctls_turn(definition), TURN)


def _is_driverctls_turn(definition: Definition) -> bool:
    """Whether driverctl deals with the device, or will once udev and systemd have dealt with its arrival."""
    if not sysfs.exists(place_of(definition.bus, definition.address)):
        return False
    tags = udev_events.tags(definition.bus, definition.address)
    systemctl = programs.find("systemctl")
    if tags is None or "systemd" not in tags or systemctl is None:
        return tags is None
    unit = f"driverctl@{definition.bus}-{definition.address}.service"
    with contextlib.suppress(NodedevError):
        answer = programs.run([systemctl, "show", "--property=LoadState,ActiveState", unit], ANSWER)
        said = set(answer.output.split())
        return "LoadState=loaded" in said and not said.isdisjoint(COMING)
    return False


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
