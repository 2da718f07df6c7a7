# SPDX-License-Identifier: GPL-3.0-or-later
"""What a mediated device says of itself, by the kernel when it runs and by mdevctl's definition when it does not."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from ... import names
from ...errors import Dropped, Foreign
from ...host import sysfs
from ...host.mdevs import group_number
from ...host.oddities import unnumbered
from ...host.udev import Device

TYPE = "mdev"


def name(device: Device, capability: dict[str, Any]) -> str:
    """libvirt's name of it; one UUID may be defined under several parents."""
    return names.mdev_name(capability["uuid"], capability["parent_addr"])


def read(device: Device) -> dict[str, Any]:
    """A device that runs, without the attributes that only mdevctl knows; Dropped while the kernel is making it.

    To libvirt, a link that leads nowhere is none.
    """
    kind, group = device.link("mdev_type"), device.link("iommu_group")
    if kind is None or group is None:
        raise Foreign(f"it has no {'mdev_type' if kind is None else 'iommu_group'}")
    number = group_number(group)
    if number is None:
        raise Dropped(f"it has no iommu_group: {unnumbered(f'{device.path}/iommu_group', group)}")
    for name in ("mdev_type", "iommu_group"):
        if not sysfs.exists(f"{device.path}/{name}"):
            raise Dropped(f"it has no {name}: its link leads nowhere")
    return capability(kind, device.sysname, os.path.basename(os.path.dirname(device.path)), number, ())


def capability(kind: str, uuid: str, parent: str, group: int, attrs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The capability of a device from its parts; libvirt says group 0 of a device that does not run."""
    found: dict[str, Any] = {"type": TYPE, "mdev_type": {"id": kind}, "uuid": uuid, "parent_addr": parent}
    found["iommuGroup"] = {"number": group}
    listed = attributes(attrs)
    return {**found, "attr": listed} if listed else found


def attributes(attrs: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    """The elements of a device's attributes, in their order."""
    return [{"name": name, "value": value} for name, value in attrs]
