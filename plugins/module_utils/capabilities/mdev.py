# SPDX-License-Identifier: GPL-3.0-or-later
"""What a mediated device says of itself, by the kernel when it runs and by mdevctl's definition when it does not."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .. import holders, names, sysfs
from ..errors import BadInput, Dropped, Foreign
from ..names import checked_attribute_name
from ..oddities import unnumbered
from ..udev import Device, integer

TYPE = "mdev"
BUS = "/sys/bus/mdev/devices"


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


def group_number(name: str) -> int | None:
    """The number of an IOMMU group by the name of its folder; None where it is none."""
    number = integer(name, 10, signed=True)
    return None if number is None or number < 0 else number


def capability(kind: str, uuid: str, parent: str, group: int, attrs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The capability of a device from its parts; libvirt says group 0 of a device that does not run."""
    said: dict[str, Any] = {"type": TYPE, "mdev_type": {"id": kind}, "uuid": uuid, "parent_addr": parent}
    said["iommuGroup"] = {"number": group}
    listed = attributes(attrs)
    return {**said, "attr": listed} if listed else said


def attributes(attrs: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    """The elements of a device's attributes, in their order."""
    return [{"name": name, "value": value} for name, value in attrs]


@dataclass(frozen=True)
class Mdev:
    """A mediated device that the kernel has now; ``parent`` is the parent's kernel name.

    ``oddity`` says what of it makes no sense, None for nothing.
    """

    uuid: str
    parent: str
    type: str
    device_api: str | None
    iommu_group: int | None
    nodes: tuple[str, ...]
    oddity: str | None = None


def find(uuid: str) -> Mdev | None:
    """The device of this UUID; None where there is none.

    The type is empty and the group None as long as the kernel has not finished making the device.
    """
    return _found(uuid, {}, None)


def running() -> list[Mdev]:
    """All devices that the kernel has now, by their UUIDs."""
    apis: dict[str, str | None] = {}
    cdevs = holders.cdevs()
    return [device for uuid in sysfs.names(BUS) if (device := _found(uuid, apis, cdevs)) is not None]


def lacking(uuid: str) -> str | None:
    """What a device has not got while the kernel is making it, in words; None where it is complete.

    Reads nothing else, as it is asked of each device that is made.
    """
    path = sysfs.target(f"{BUS}/{uuid}")
    if path is None:
        return "its folder"
    if sysfs.link_name(f"{path}/mdev_type") is None:
        return "its type"
    if sysfs.link_name(f"{path}/iommu_group") is None and not holders.cdevs_of(path):
        return "its VFIO group (is the vfio driver loaded?)"
    return None


def own_file(uuid: str, name: str) -> str | None:
    """The path of an attribute of a device, be there one or not; None where the name is not of the device's own files.

    Links of the kernel lead from a device to its type and on to other devices, with a ``remove`` each.
    """
    try:
        checked_attribute_name(name)
    except BadInput:
        return None
    folder = f"{BUS}/{uuid}"
    return f"{folder}/{name}" if sysfs.is_direct(f"{sysfs.real(folder) or folder}/{name}") else None


def _found(uuid: str, apis: dict[str, str | None], cdevs: Mapping[str, list[str]] | None) -> Mdev | None:
    """The device of this UUID; ``apis`` keeps what each type of a parent said, as all its devices have the same.

    ``cdevs`` are the nodes of VFIO's character devices by the folder of what they belong to, None where they are to be
    looked for.
    """
    path = sysfs.target(f"{BUS}/{uuid}")
    if path is None:
        return None
    parent = os.path.dirname(path)
    kind = sysfs.link_name(f"{path}/mdev_type") or ""
    described = f"{parent}/mdev_supported_types/{kind}/device_api"
    if described not in apis:
        apis[described] = sysfs.read(described)
    group = sysfs.link_name(f"{path}/iommu_group")
    nodes = [f"{holders.VFIO}/{group}"] if group is not None else []
    nodes += holders.cdevs_of(path) if cdevs is None else cdevs.get(path, [])
    number = None if group is None else group_number(group)
    return Mdev(
        uuid=uuid,
        parent=os.path.basename(parent),
        type=kind,
        device_api=apis[described],
        iommu_group=number,
        nodes=tuple(nodes),
        oddity=unnumbered(f"{path}/iommu_group", group) if group is not None and number is None else None,
    )
