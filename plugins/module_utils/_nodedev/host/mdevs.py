# SPDX-License-Identifier: GPL-3.0-or-later
"""The mediated devices that the kernel has now."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import BadInput
from ..grammar import UUID, checked_attribute_name
from . import sysfs, vfio
from .numbers import integer
from .oddities import Oddities, unnumbered

BUS = "/sys/bus/mdev/devices"


@dataclass(frozen=True)
class Mdev:
    """A mediated device that the kernel has now; ``parent`` is the parent's kernel name.

    ``oddities`` are warnings of what makes no sense.
    """

    uuid: str
    parent: str
    type: str
    device_api: str | None
    iommu_group: int | None
    nodes: tuple[str, ...]
    oddities: tuple[str, ...] = ()

    def document(self) -> dict[str, str]:
        """What is told of it beside its UUID."""
        return {"type": self.type, "parent_addr": self.parent}


def find(uuid: str) -> Mdev | None:
    """The device of this UUID; None where there is none.

    The type is empty and the group None as long as the kernel has not finished making the device.
    """
    return _found(uuid, {}, None)


def running() -> list[Mdev]:
    """All devices that the kernel has now, by their UUIDs."""
    apis: dict[str, str | None] = {}
    cdevs = vfio.cdevs()
    return [device for uuid in sysfs.names(BUS) if (device := _found(uuid, apis, cdevs)) is not None]


def below(path: str) -> list[str]:
    """The UUIDs of the devices on the parent in this folder, in the kernel's order, by their names alone."""
    return [name for name in sysfs.entries(path) if UUID.fullmatch(name)]


def lacking(uuid: str) -> str | None:
    """What a device has not got while the kernel is making it, in words; None where it is complete.

    Reads nothing else, as it is asked of each device that is made.
    """
    path = sysfs.target(f"{BUS}/{uuid}")
    if path is None:
        return "its folder"
    if sysfs.link_name(f"{path}/mdev_type") is None:
        return "its type"
    if sysfs.link_name(f"{path}/iommu_group") is None and not vfio.cdevs_of(path):
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
    oddities = Oddities()
    if described not in apis:
        apis[described] = oddities.text(described)
    group = sysfs.link_name(f"{path}/iommu_group")
    nodes = [vfio.group_node(group)] if group is not None else []
    nodes += vfio.cdevs_of(path) if cdevs is None else cdevs.get(path, [])
    number = None if group is None else group_number(group)
    if group is not None and number is None:
        oddities.add(unnumbered(f"{path}/iommu_group", group))
    return Mdev(
        uuid=uuid,
        parent=os.path.basename(parent),
        type=kind,
        device_api=apis[described],
        iommu_group=number,
        nodes=tuple(nodes),
        oddities=tuple(oddities.warnings),
    )


def group_number(name: str) -> int | None:
    """The number of an IOMMU group by the name of its folder; None where it is none."""
    number = integer(name, 10, signed=True)
    return None if number is None or number < 0 else number
