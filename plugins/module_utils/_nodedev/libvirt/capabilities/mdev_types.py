# SPDX-License-Identifier: GPL-3.0-or-later
"""The types of mediated devices that a parent offers, in libvirt's words; the sample driver's parent is a device."""

from __future__ import annotations

from typing import Any

from ...errors import Dropped, Foreign
from ...host import mdev_parents, sysfs
from ...host.numbers import integer
from ...host.oddities import unnumbered
from ...host.udev import Device
from ...text import shown

TYPE = "mdev_types"


def read(device: Device) -> dict[str, Any]:
    """The device of the sample driver in libvirt's words, which is its types; Dropped where it is not registered.

    libvirt repeats the capability within itself; the types stand in the first one here.
    """
    if all(sysfs.real(f"{mdev_parents.BUS}/{address}") != device.path for address in mdev_parents.addresses()):
        raise Foreign(f"{mdev_parents.BUS} has no link to it")
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
