# SPDX-License-Identifier: GPL-3.0-or-later
"""The nodes by which VFIO gives devices to guests: one of each group, and on newer kernels one of each device."""

from __future__ import annotations

import os
from collections.abc import Mapping

from . import sysfs

VFIO = "/dev/vfio"
# The groups of VFIO and the character devices of its own that devices have on newer kernels, by their names.
GROUPS = "/sys/class/vfio"
CDEVS = "/sys/class/vfio-dev"


def group_node(name: str) -> str:
    """The node of a group, by its name: its number, or noiommu- and that where there is no IOMMU."""
    return f"{VFIO}/{name}"


def cdevs_of(path: str) -> list[str]:
    """The nodes of a device's own character devices, by its folder in sysfs.

    A kernel without them has their folders all the same: only what has a number is one.
    """
    folders = [f"{path}/vfio-dev/{name}" for name in sysfs.names(f"{path}/vfio-dev")]
    return [_cdev(folder) for folder in folders if _is_cdev(folder)]


def cdevs() -> dict[str, list[str]]:
    """The same of all devices of the host that have any, by their folders."""
    found: dict[str, list[str]] = {}
    for folder in sorted(sysfs.linked(CDEVS)):
        if _is_cdev(folder):
            found.setdefault(os.path.dirname(os.path.dirname(folder)), []).append(_cdev(folder))
    return found


def nodes_of(devices: Mapping[str, str | None]) -> dict[str, list[str]]:
    """The nodes of devices by their folders in sysfs, by one look at all there are; each is given with its group.

    A group has a node only while a VFIO driver has a device of it, and on some kernels none. Without an IOMMU the
    node's name tells so.
    """
    groups, own = set(sysfs.names(GROUPS)), cdevs()
    return {
        path: [*(group_node(name) for name in (group, f"noiommu-{group}") if name in groups), *own.get(path, ())]
        for path, group in devices.items()
    }


def _is_cdev(folder: str) -> bool:
    return sysfs.exists(f"{folder}/dev")


def _cdev(folder: str) -> str:
    return f"{VFIO}/devices/{os.path.basename(folder)}"
