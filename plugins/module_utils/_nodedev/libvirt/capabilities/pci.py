# SPDX-License-Identifier: GPL-3.0-or-later
"""What a PCI function says of itself."""

from __future__ import annotations

import functools
import os
import re
from typing import Any

from ...errors import Dropped
from ...host import pci_ids, sysfs
from ...host.numbers import integer
from ...host.oddities import unnumbered
from ...host.udev import Device
from . import mdev_types, pci_config, vpd

TYPE = "pci"

LEADING_NUMBER = re.compile(r"[ \t\n\v\f\r]*[+-]?[0-9]+")
ADDRESS = re.compile(r"([0-9a-f]+):([0-9a-f]+):([0-9a-f]+)\.([0-9a-f]+)", re.ASCII | re.IGNORECASE)


def read(device: Device) -> dict[str, Any]:
    """The function in libvirt's words; a dead one, whose configuration space reads as ones, is not listed."""
    domain, bus, slot, function = _numbers(os.path.basename(device.path))
    vendor, product = _id(device, "vendor"), _id(device, "device")
    config = pci_config.read(device.path)
    capability: dict[str, Any] = {
        "type": TYPE,
        "class": f"0x{device.prop_number('PCI_CLASS', 16, 0):06x}",
        "domain": domain,
        "bus": bus,
        "slot": slot,
        "function": function,
        **pci_ids.described(vendor, product),
    }
    nested = [*_functions(device), *config.bridge, *mdev_types.nested(device), *vpd.nested(device.path)]
    if nested:
        capability["capability"] = nested
    group = device.link("iommu_group")
    if group is not None:
        capability["iommuGroup"] = _group(device.path, group)
    node = device.number("numa_node", 10, -1, signed=True)
    if node is not None and node >= 0:
        capability["numa"] = {"node": node}
    if config.express is not None:
        capability["pci-express"] = config.express
    return capability


@functools.cache
def _numbers(address: str) -> tuple[int, int, int, int]:
    parts = ADDRESS.fullmatch(address)
    if parts is None:
        raise Dropped(f"{address} is not the address of a PCI function")
    domain, bus, slot, function = (int(part, 16) for part in parts.groups())
    return domain, bus, slot, function


def _id(device: Device, name: str) -> int:
    text = device.sysattr(name) or ""
    number = integer(text, 16)
    if number is None or not text.startswith("0x"):
        raise Dropped(f"{name} is {text!r}, which is no number that begins with 0x")
    return number


def address(name: str) -> dict[str, str]:
    """An address element of libvirt from a function's name in the kernel; Dropped when that is no address."""
    domain, bus, slot, function = _numbers(name)
    return {"domain": f"0x{domain:04x}", "bus": f"0x{bus:02x}", "slot": f"0x{slot:02x}", "function": f"0x{function}"}


def _functions(device: Device) -> list[dict[str, Any]]:
    """The nested capabilities of SR-IOV: a virtual function's physical one, a physical one's virtual ones."""
    found: list[dict[str, Any]] = []
    physical = device.link("physfn")
    # To libvirt, a function of what has no address is none.
    if physical is not None and ADDRESS.fullmatch(physical) and sysfs.exists(f"{device.path}/physfn"):
        found.append({"type": "phys_function", "address": address(physical)})
    total = _total(device)
    functions = [address(name) for name in virtual_functions(device)]
    if total or functions:
        found.append(
            {"type": "virt_functions"}
            | ({"maxCount": total} if total else {})
            | ({"address": functions} if functions else {})
        )
    return found


def _total(device: Device) -> int:
    if not sysfs.exists(f"{device.path}/sriov_totalvfs"):
        return 0
    # libvirt reads the number that the text begins with, and minds only if there is none.
    begins = LEADING_NUMBER.match(device.value("sriov_totalvfs") or "")
    total = integer(begins.group(), 10) if begins else None
    if total is None:
        raise Dropped("sriov_totalvfs does not begin with a number")
    return total


def virtual_functions(device: Device) -> list[str]:
    """The kernel's names of a function's virtual functions by their index, up to the first gap."""
    found: list[str] = []
    while (name := device.link(f"virtfn{len(found)}")) and sysfs.exists(f"{device.path}/virtfn{len(found)}"):
        found.append(name)
    return found


def _group(path: str, name: str) -> dict[str, Any]:
    """The element of an IOMMU group, its members in the kernel's order; Dropped where its link leads nowhere."""
    number = integer(name, 10, signed=True)
    if number is None or number < 0:
        raise Dropped(unnumbered(f"{path}/iommu_group", name))
    if not sysfs.exists(f"{path}/iommu_group"):
        raise Dropped(f"its IOMMU group {number} is not there")
    try:
        members = sysfs.entries(f"{path}/iommu_group/devices")
    except sysfs.SysfsError as error:
        raise Dropped(f"its IOMMU group {number} cannot be read: {error}") from error
    return {"number": number, "address": [address(member) for member in members]}
