# SPDX-License-Identifier: GPL-3.0-or-later
"""The parents of mediated devices and the types they offer.

Follows the kernel's Documentation/driver-api/vfio-mediated-device.rst: a registered parent has a link in
/sys/class/mdev_bus, by the name that mdevctl calls it too, and a folder for each type in mdev_supported_types.
"""

from __future__ import annotations

import os
from typing import Any

from .. import sysfs
from ..names import device_name
from . import pci

BUS = "/sys/class/mdev_bus"

Types = dict[str, dict[str, Any]]


def addresses() -> list[str]:
    """The kernel's names of all registered parents, sorted."""
    return sysfs.names(BUS)


def path_of(address: str) -> str | None:
    """The device folder of a registered parent; None where it is not registered."""
    return sysfs.real(f"{BUS}/{address}")


def name_of(path: str) -> str:
    """libvirt's name of the parent in this folder."""
    return device_name(sysfs.link_name(f"{path}/subsystem") or "", os.path.basename(path))


def card_of(address: str) -> str:
    """What shares its capacity: a virtual function's physical function, else the parent itself."""
    return sysfs.link_name(f"{BUS}/{address}/physfn") or address


def types_of(path: str) -> Types:
    """The types by kernel id: name, device_api, available_instances, description, instances.

    A key is absent where the kernel has no such file, as mtty has no description; ``instances`` is always there.
    ``available_instances`` is advisory: on cards whose instances share memory, another type's create lowers it.
    """
    folder = f"{path}/mdev_supported_types"
    return {kind: _type(f"{folder}/{kind}") for kind in sysfs.names(folder)}


def _type(folder: str) -> dict[str, Any]:
    said = {key: sysfs.read(f"{folder}/{key}") for key in ("name", "device_api", "available_instances", "description")}
    known: dict[str, Any] = {key: value for key, value in said.items() if value is not None}
    if "available_instances" in known:
        known["available_instances"] = int(known["available_instances"])
    known["instances"] = sysfs.names(f"{folder}/devices")
    return known


def describe(address: str, path: str) -> dict[str, Any]:
    """All but its types: name, address, path; and where it has them driver, vendor, product, numa_node, iommu_group."""
    known: dict[str, Any] = {"name": name_of(path), "address": address, "path": path}
    driver = sysfs.link_name(f"{path}/driver")
    if driver is not None:
        known["driver"] = driver
    if sysfs.link_name(f"{path}/subsystem") == "pci":
        known.update(pci.identity(path))
    node = sysfs.read(f"{path}/numa_node")
    if node is not None and int(node) >= 0:
        known["numa_node"] = int(node)
    group = sysfs.link_name(f"{path}/iommu_group")
    if group is not None:
        known["iommu_group"] = int(group)
    return known


def facts(parent: str | None = None, driver: str | None = None, type: str | None = None) -> dict[str, dict[str, Any]]:
    """The parents by libvirt's name, each with its types; narrowed to a parent by name or address, a driver, a type."""
    found = {}
    for address in addresses():
        path = path_of(address)
        if path is None or parent not in (None, address, name_of(path)):
            continue
        if driver not in (None, sysfs.link_name(f"{path}/driver")):
            continue
        types = {kind: said for kind, said in types_of(path).items() if type in (None, kind, said.get("name"))}
        if types or type is None:
            known = describe(address, path)
            found[known["name"]] = {**known, "types": types}
    return found
