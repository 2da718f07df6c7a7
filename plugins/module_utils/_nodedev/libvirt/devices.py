# SPDX-License-Identifier: GPL-3.0-or-later
"""The node devices that libvirt has: those that are there, and the mediated devices that mdevctl has defined."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from .. import names
from ..host import sysfs, udev
from ..store import callouts, mdevctl
from ..store.mdevctl import Definition
from ..store.scripts import Refused, scripts_of_host
from . import extras, kinds
from .capabilities import mdev
from .inventory import ROOT, Entry, Extras, Filter, Inventory, name_of

# Seconds in which the scripts that tell attributes are done, all devices together.
PATIENCE = 60.0
# Where a definition's parent may be, by its address; the first one counts.
PARENTS = ("bus/pci/devices", "bus/css/devices", "bus/matrix/devices", "class/mdev_bus", "bus/ccwgroup/devices")

Definitions = Mapping[tuple[str, str], Definition]


def gathered(wanted: Filter, more: Extras | None = None) -> Inventory:
    """What is wanted, with the devices in the shape that xml.to_xml() takes; users' own facts under ``extra``.

    What vanishes meanwhile or cannot be read is left out. ``more`` are facts beside those of this library's own.
    """
    inventory = Inventory(wanted, more or {})
    definitions = _definitions(inventory)
    if wanted.include != "inactive":
        inventory.gather()
        _tell_definitions(inventory, definitions)
    if wanted.include != "active":
        _add_inactive(inventory, definitions)
    if "mdev" in wanted.kinds:
        inventory.oddities.attempt(partial(extras.add_holders, inventory.devices.values()))
    return inventory


def _definitions(inventory: Inventory) -> Definitions:
    """mdevctl's definitions by parent and UUID, when mediated devices are asked for."""
    if "mdev" not in inventory.wanted.kinds:
        return {}
    found, damaged = inventory.oddities.attempt(mdevctl.all_defined) or ([], [])
    for error in damaged:
        inventory.oddities.add(error)
    return {(definition.parent, definition.uuid): definition for definition in found}


def _tell_definitions(inventory: Inventory, definitions: Definitions) -> None:
    """Say of devices that run whether they come back, and leave out those of the wrong persistence."""
    persistence = inventory.wanted.persistence
    active = [device for device in inventory.devices.values() if device["capability"]["type"] == mdev.TYPE]
    _tell_attributes(inventory, active)
    for device in active:
        capability = device["capability"]
        key = (capability["parent_addr"], capability["uuid"])
        device["extra"].update(extras.of_definition(definitions.get(key)))
    if persistence is not None:
        inventory.devices = {
            name: device
            for name, device in inventory.devices.items()
            if (name == ROOT or "definition" in device.get("extra", ())) == (persistence == "persistent")
        }


def _tell_attributes(inventory: Inventory, active: Iterable[dict[str, Any]]) -> None:
    """Add what mdevctl's callout scripts tell of devices that run; without scripts nobody does."""
    scripts = scripts_of_host()
    refused = []
    deadline = time.monotonic() + PATIENCE
    for device in active if scripts else ():
        capability = device["capability"]
        kind = capability["mdev_type"]["id"]
        asked = Definition(capability["uuid"], capability["parent_addr"], kind, autostart=False)
        left = deadline - time.monotonic()
        try:
            if left <= 0:
                raise Refused(f"the callout scripts took more than {PATIENCE:g} s")
            attrs = callouts.attributes(scripts, asked, left)
        except Refused as error:
            refused.append(str(error))
        else:
            capability.update({"attr": mdev.attributes(attrs)} if attrs else {})
    if refused:
        more = f" (and of {len(refused) - 1} more)" if len(refused) > 1 else ""
        inventory.oddities.add(f"the attributes of a device are not told: {refused[0]}{more}")


def _add_inactive(inventory: Inventory, definitions: Definitions) -> None:
    """Add the mediated devices that are defined and do not run."""
    wanted = inventory.wanted
    if wanted.driver is not None or wanted.persistence == "transient":
        return
    # One that runs but is not listed, as long as the kernel is making it, counts as defined only.
    entries = map(inventory.entry, inventory.of_subsystem(kinds.KINDS["mdev"].folder, mdev.TYPE))
    running = {(entry.capability["parent_addr"], entry.capability["uuid"]) for entry in entries if entry}
    for key, definition in definitions.items():
        if key in running:
            continue
        capability = mdev.capability(definition.type, definition.uuid, definition.parent, 0, definition.attrs)
        name = names.mdev_name(definition.uuid, definition.parent)
        parent = _parent_of(inventory, definition)
        line = [name, *(inventory.line(parent) if parent else [ROOT])]
        if inventory.wants(name, capability) and wanted.parent in (None, *line):
            more = {"active": False, **extras.of_definition(definition)}
            device = {"name": name, "parent": name_of(parent), "capability": capability, "extra": more}
            inventory.devices[name] = device


def _parent_of(inventory: Inventory, definition: Definition) -> Entry | None:
    for folder in PARENTS:
        path = sysfs.real(f"{sysfs.SYS}/{folder}/{definition.parent}")
        device = udev.device_at(path) if path else None
        entry = inventory.entry(device) if device else None
        if entry is not None:
            return entry
    return None
