# SPDX-License-Identifier: GPL-3.0-or-later
"""The parents of mediated devices and the types they offer; among them the kernel's sample driver, mtty.

Follows the kernel's Documentation/driver-api/vfio-mediated-device.rst: a registered parent has a link in
/sys/class/mdev_bus, by the name that mdevctl calls it too, and a folder for each type in mdev_supported_types.
"""

from __future__ import annotations

import os
import re
from functools import partial
from typing import Any

from .. import pci_ids, sysfs
from ..errors import Dropped, Foreign
from ..names import device_name
from ..oddities import Oddities, unnumbered
from ..text import shown
from ..udev import Device, integer

TYPE = "mdev_types"
BUS = "/sys/class/mdev_bus"
MOST = re.compile(r"\bmax_instance=([0-9]+)\b")
# What the kernel says of a device that is near to no memory in particular.
NO_NODE = -1

Types = dict[str, dict[str, Any]]


def read(device: Device) -> dict[str, Any]:
    """The device of the sample driver in libvirt's words, which is its types; Dropped where it is not registered.

    libvirt repeats the capability within itself; the types stand in the first one here.
    """
    if all(sysfs.real(f"{BUS}/{address}") != device.path for address in sysfs.names(BUS)):
        raise Foreign(f"{BUS} has no link to it")
    return {"type": TYPE, "types": offered(device)}


def nested(device: Device) -> list[dict[str, Any]]:
    """The nested capability of any other parent; none where it offers no types."""
    types = offered(device)
    return [{"type": TYPE, "types": types}] if types else []


def offered(device: Device) -> list[dict[str, Any]]:
    """The types in libvirt's words and the kernel's order; Dropped where one lacks what each must have."""
    try:
        kinds = sysfs.entries(f"{device.path}/mdev_supported_types")
    except sysfs.SysfsError as error:
        raise Dropped(str(error)) from error
    return [_offered(device, kind) for kind in kinds]


def _offered(device: Device, kind: str) -> dict[str, Any]:
    folder = f"mdev_supported_types/{kind}"
    name, api = device.value(f"{folder}/name"), device.value(f"{folder}/device_api")
    left = device.value(f"{folder}/available_instances")
    if api is None or left is None:
        missing = "device_api" if api is None else "available_instances"
        raise Dropped(f"{shown(folder)}/{missing} has nothing that can be read")
    free = integer(left, 10)
    if free is None:
        raise Dropped(unnumbered(f"{device.path}/{folder}/available_instances", left))
    if name is None and sysfs.exists(f"{device.path}/{folder}/name"):
        # A type may have none, but libvirt gives up where it is there and cannot be read.
        raise Dropped(f"{shown(folder)}/name has nothing that can be read")
    return {"id": kind} | ({} if name is None else {"name": name}) | {"deviceAPI": api, "availableInstances": free}


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
    said = MOST.search(sysfs.read(f"{path}/mdev_supported_types/{kind}/description") or "")
    return integer(said[1], 10) if said else None


def types_of(path: str, oddities: Oddities) -> Types:
    """The types by kernel id: name, device_api, available_instances, description, instances.

    A key is absent where the kernel has no such file, as mtty has no description, and where what it has makes no sense;
    ``instances`` is always there. ``available_instances`` is advisory: on cards whose instances share memory, another
    type's create lowers it.
    """
    return {kind: _type(f"{path}/mdev_supported_types/{kind}", oddities) for kind in kinds(path)}


def _type(folder: str, oddities: Oddities) -> dict[str, Any]:
    known = {
        "name": oddities.text(f"{folder}/name"),
        "device_api": oddities.text(f"{folder}/device_api"),
        "available_instances": oddities.number(f"{folder}/available_instances"),
        "description": oddities.text(f"{folder}/description"),
        "instances": oddities.attempt(partial(sysfs.names, f"{folder}/devices")) or [],
    }
    return {key: value for key, value in known.items() if value is not None}


def describe(address: str, path: str, oddities: Oddities) -> dict[str, Any]:
    """All but its types: name, address, path; and where it has them driver, vendor, product, numa_node, iommu_group."""
    known: dict[str, Any] = {"name": name_of(path), "address": address, "path": path}
    known["driver"] = oddities.link_name(f"{path}/driver")
    if oddities.link_name(f"{path}/subsystem") == "pci":
        known.update(pci_ids.identity(path, oddities))
    node = oddities.number(f"{path}/numa_node", lowest=NO_NODE)
    known["numa_node"] = None if node == NO_NODE else node
    group = oddities.link_name(f"{path}/iommu_group")
    known["iommu_group"] = oddities.numbered(f"{path}/iommu_group", group)
    return {key: value for key, value in known.items() if value is not None}


def facts(parent: str | None = None, driver: str | None = None, type: str | None = None) -> dict[str, Any]:
    """The answer of mdev_types_facts: the parents by libvirt's name, each with its types, and warnings.

    Narrowed to a parent by name or address, a driver, a type.
    """
    oddities = Oddities()
    found: dict[str, dict[str, Any]] = {}
    for address in oddities.attempt(addresses) or []:
        known = oddities.attempt(partial(_parent, address, parent, driver, type, oddities))
        if known is not None:
            found[known["name"]] = known
    return {"ansible_facts": {"mdev_types": found}, "warnings": oddities.warnings}


def _parent(
    address: str, parent: str | None, driver: str | None, kind: str | None, oddities: Oddities
) -> dict[str, Any] | None:
    """A parent with its types; None where it is not registered any more or is none of those that are asked for."""
    path = path_of(address)
    if path is None or parent not in (None, address, name_of(path)):
        return None
    if driver is not None and driver != oddities.link_name(f"{path}/driver"):
        return None
    offers = oddities.attempt(partial(types_of, path, oddities)) or {}
    types = {id: said for id, said in offers.items() if kind in (None, id, said.get("name"))}
    return {**describe(address, path, oddities), "types": types} if types or kind is None else None
