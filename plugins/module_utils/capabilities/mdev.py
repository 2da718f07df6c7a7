# SPDX-License-Identifier: GPL-3.0-or-later
"""What a mediated device that runs says of itself."""

from __future__ import annotations

import os
from dataclasses import dataclass

from .. import sysfs

BUS = "/sys/bus/mdev/devices"


@dataclass(frozen=True)
class Mdev:
    """A mediated device that the kernel has now; ``parent`` is the parent's kernel name."""

    uuid: str
    parent: str
    type: str
    device_api: str | None
    iommu_group: int | None
    nodes: tuple[str, ...]


def read(uuid: str) -> Mdev | None:
    """The device of this UUID; None where there is none.

    The type is empty and the group None as long as the kernel has not finished making the device.
    """
    path = sysfs.real(f"{BUS}/{uuid}")
    if path is None:
        return None
    group = sysfs.link_name(f"{path}/iommu_group")
    nodes = [f"/dev/vfio/{group}"] if group is not None else []
    nodes += [f"/dev/vfio/devices/{name}" for name in sysfs.names(f"{path}/vfio-dev")]
    return Mdev(
        uuid=uuid,
        parent=os.path.basename(os.path.dirname(path)),
        type=sysfs.link_name(f"{path}/mdev_type") or "",
        device_api=sysfs.read(f"{path}/mdev_type/device_api"),
        iommu_group=int(group) if group is not None else None,
        nodes=tuple(nodes),
    )
