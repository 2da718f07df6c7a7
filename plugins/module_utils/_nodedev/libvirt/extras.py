# SPDX-License-Identifier: GPL-3.0-or-later
"""What users need to know of a device beside libvirt's words."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from ..host import holders, mdevs, sysfs, vfio
from ..host.numbers import integer
from ..host.oddities import Oddities
from ..host.udev import Device
from ..store.mdevctl import Definition
from .capabilities import mdev, mdev_types, pci

NVIDIA = "0x10de"
# Classes of functions that are given to guests, whole or in parts: network and display controllers, NVMe,
# co-processors, Fibre Channel, processing accelerators.
GIVEN = ("0x02", "0x03", "0x0108", "0x0b40", "0x0c04", "0x12")
# As the kernel's events have it.
SUBSYSTEM_ID = re.compile(r"[0-9A-F]{4}:[0-9A-F]{4}")
BRIDGES = ("pci-bridge", "cardbus-bridge")
# A virtual function; a function that has virtual ones, or mediated devices; another one that may be given.
FUNCTION, CARVED, WHOLE = "function", "carved", "whole"

Capability = dict[str, Any]


def of_mdev(device: Device, _capability: Capability, _oddities: Oddities) -> dict[str, Any]:
    """Of a mediated device that runs: ``active`` and ``device_api``."""
    api = device.value("mdev_type/device_api")
    return {"active": True} | ({} if api is None else {"device_api": api})


def of_definition(definition: Definition | None) -> dict[str, Any]:
    """Of a mediated device that is defined: ``definition`` with its type, attrs and whether it starts at boot."""
    if definition is None:
        return {}
    attrs = mdev.attributes(definition.attrs)
    return {"definition": {"type": definition.type, "autostart": definition.autostart, "attrs": attrs}}


class Functions:
    """What PCI functions lack in libvirt's words; ``capability_of`` reads a device's capability."""

    def __init__(self, capability_of: Callable[[Device], Capability | None]) -> None:
        self._capability_of = capability_of
        # By the folder of a physical function: the index of its virtual ones by their kernel names.
        self._indexes: dict[str, dict[str, int]] = {}

    def of(self, device: Device, capability: Capability, oddities: Oddities) -> dict[str, Any]:
        """``role`` and ``subsystem_id``, where it has a role; of a virtual function also ``vf_index``, its n in its
        physical function's links virtfn<n>, and on NVIDIA's cards with vendor VFIO ``current_vgpu_type``, 0 for none.
        """
        return oddities.attempt(partial(self._of, device, capability)) or {}

    def _of(self, device: Device, capability: Capability) -> dict[str, Any]:
        role = _role(device, capability)
        extra: dict[str, Any] = {}
        if role is not None:
            subsystem = SUBSYSTEM_ID.fullmatch(device.uevent.get("PCI_SUBSYS_ID", ""))
            extra = {"role": role} | ({} if subsystem is None else {"subsystem_id": subsystem[0].lower()})
        if role != FUNCTION:
            return extra
        index = self._index(device)
        extra.update({} if index is None else {"vf_index": index})
        if capability["vendor"]["id"] == NVIDIA:
            kind = integer(device.value("nvidia/current_vgpu_type") or "", 10)
            extra.update({} if kind is None else {"current_vgpu_type": kind})
        return extra

    def _index(self, device: Device) -> int | None:
        path = sysfs.target(f"{device.path}/physfn")
        if path is None:
            return None
        if path not in self._indexes:
            capability = self._capability_of(Device(path, "pci", os.path.basename(path))) or {}
            functions = (_nested(capability, "virt_functions") or {}).get("address", ())
            self._indexes[path] = {_key(address): index for index, address in enumerate(functions)}
        return self._indexes[path].get(_key(pci.address(device.sysname)))


def _role(device: Device, capability: Capability) -> str | None:
    """What a PCI function is to guests: FUNCTION, CARVED or WHOLE; None for a bridge and what is not given to them.

    By what its capability has. Only of a parent of mediated devices the folder is looked at, for those.
    """
    if _nested(capability, "phys_function") is not None:
        return FUNCTION
    if any(_nested(capability, kind) is not None for kind in BRIDGES):
        return None
    virtual = _nested(capability, "virt_functions")
    if virtual is not None and "address" in virtual:
        return CARVED
    if _nested(capability, mdev_types.TYPE) is not None and mdevs.below(device.path):
        return CARVED
    return WHOLE if virtual is not None or capability["class"].startswith(GIVEN) else None


def _nested(capability: Capability, kind: str) -> Capability | None:
    return next((nested for nested in capability.get("capability", ()) if nested["type"] == kind), None)


def _key(address: dict[str, str]) -> str:
    return " ".join(address.values())


def add_holders(devices: Iterable[dict[str, Any]]) -> None:
    """Say of each device that has a VFIO node who holds that open, by one look at all processes.

    No node is opened for it: that would keep out a guest that starts at this moment.
    """
    groups = {device["path"]: _group(device["capability"]) for device in devices if "path" in device}
    held = holders.of_each({path: own for path, own in vfio.nodes_of(groups).items() if own}, probe=False)
    for device in devices:
        if device.get("path") in held:
            own = [holder.document() for holder in held[device["path"]]]
            device.setdefault("extra", {})["holders"] = own


def _group(capability: Capability) -> str | None:
    """The name of a device's IOMMU group."""
    return str(capability["iommuGroup"]["number"]) if "iommuGroup" in capability else None
