# SPDX-License-Identifier: GPL-3.0-or-later
"""The parents of mediated devices and the types they offer, as the kernel has them.

Follows the kernel's Documentation/driver-api/vfio-mediated-device.rst: a registered parent has a link in
/sys/class/mdev_bus, by the name that mdevctl calls it too, and a folder for each type in mdev_supported_types.
"""

from __future__ import annotations

import os
import re
from functools import partial
from typing import Any

from ..names import device_name
from . import pci_ids, sysfs
from .numbers import integer
from .oddities import Oddities

BUS = "/sys/class/mdev_bus"
MOST = re.compile(r"\bmax_instance=([0-9]+)\b")
# What the kernel says of a device that is near to no memory in particular.
NO_NODE = -1

Types = dict[str, dict[str, Any]]


def addresses() -> list[str]:
    """The kernel's names of all registered parents, sorted."""
    return sysfs.names(BUS)


def path_of(address: str) -> str | None:
    """The device folder of a registered parent; None where it is not registered."""
    return sysfs.target(f"{BUS}/{address}")


def device_exists(address: str) -> bool:
    """Whether the kernel has a device of this name on some bus or in some class, be it registered or not."""
    places = [f"bus/{bus}/devices" for bus in sysfs.entries(f"{sysfs.SYS}/bus")]
    places += [f"class/{name}" for name in sysfs.entries(f"{sysfs.SYS}/class")]
    return any(sysfs.exists(f"{sysfs.SYS}/{place}/{address}") for place in places)


def name_of(path: str) -> str:
    """libvirt's name of the parent in this folder."""
    return device_name(sysfs.link_name(f"{path}/subsystem") or "", os.path.basename(path))


def card_of(address: str) -> str:
    """What shares its capacity: a virtual function's physical function, else the parent itself."""
    return sysfs.link_name(f"{BUS}/{address}/physfn") or address


def kinds(path: str) -> list[str]:
    """The kernel ids of the types that the parent in this folder offers, sorted."""
    return sysfs.names(f"{path}/mdev_supported_types")


def title(path: str, kind: str) -> str | None:
    """The vendor's name of a type; None where it has none."""
    return sysfs.read(f"{path}/mdev_supported_types/{kind}/name")


def free(path: str, kind: str, oddities: Oddities) -> int | None:
    """How many more instances of a type the parent says it can take; None where it says nothing that is a number."""
    file = f"{path}/mdev_supported_types/{kind}/available_instances"
    return oddities.numbered(file, sysfs.read(file))


def most_on_card(path: str, kind: str) -> int | None:
    """How many instances of a type the whole card takes, over all its virtual functions; None where it says nothing.

    NVIDIA's description has it as max_instance. Each virtual function says 1 free until the card's memory is gone, so
    without it their sum promises too much.
    """
    match = MOST.search(sysfs.read(f"{path}/mdev_supported_types/{kind}/description") or "")
    return integer(match[1], 10) if match else None


def types_of(path: str, oddities: Oddities) -> Types:
    """The types by kernel id: name, device_api, available_instances, description, instances.

    A key is absent where the kernel has no such file, as mtty has no description, and where what it has makes no sense;
    ``instances`` is always there. ``available_instances`` is advisory: on cards whose instances share memory, another
    type's create lowers it.
    """
    return {kind: _type(f"{path}/mdev_supported_types/{kind}", oddities) for kind in kinds(path)}


def _type(folder: str, oddities: Oddities) -> dict[str, Any]:
    facts = {
        "name": oddities.text(f"{folder}/name"),
        "device_api": oddities.text(f"{folder}/device_api"),
        "available_instances": oddities.number(f"{folder}/available_instances"),
        "description": oddities.text(f"{folder}/description"),
        "instances": oddities.attempt(partial(sysfs.names, f"{folder}/devices")) or [],
    }
    return {key: value for key, value in facts.items() if value is not None}


def describe(address: str, path: str, oddities: Oddities) -> dict[str, Any]:
    """All but its types: name, address, path; and where it has them driver, vendor, product, numa_node, iommu_group."""
    facts: dict[str, Any] = {"name": name_of(path), "address": address, "path": path}
    facts["driver"] = oddities.link_name(f"{path}/driver")
    if oddities.link_name(f"{path}/subsystem") == "pci":
        facts.update(pci_ids.identity(path, oddities))
    node = oddities.number(f"{path}/numa_node", lowest=NO_NODE)
    facts["numa_node"] = None if node == NO_NODE else node
    group = oddities.link_name(f"{path}/iommu_group")
    facts["iommu_group"] = oddities.numbered(f"{path}/iommu_group", group)
    return {key: value for key, value in facts.items() if value is not None}
