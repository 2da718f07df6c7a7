# SPDX-License-Identifier: GPL-3.0-or-later
"""What a VFIO driver makes of the device that it has: the node of its group, and one of its own."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simhost.devices import Device
from simhost.tree import failure
from simhost.vfio import CDEV_MAJOR, VfioNode, group_device

if TYPE_CHECKING:
    from simhost.host import Host


@dataclass
class _Opened:
    """What a VFIO driver has made for a function."""

    group: int
    nodes: list[VfioNode]
    cdev: Device | None = None


class VfioFunctions:
    """The devices that VFIO drivers have."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._opened: dict[str, _Opened] = {}

    def open(self, function: Device) -> None:
        """The nodes of a function that a VFIO driver has; the group's is there as long as one of its members' is."""
        host = self._host
        group = host.group_of(function)
        companions = []
        if not host.tree.exists(f"/dev/vfio/{group}"):
            host.vfio.add_node(str(group))
            companions.append(group_device(group))
        nodes = [host.tree.nodes[f"/dev/vfio/{group}"]]
        opened = _Opened(group, [])
        if host.scenario.vfio_cdev:
            number = host.vfio.next_cdev()
            nodes.append(host.tree.nodes[host.vfio.add_node(f"devices/vfio{number}")])
            node = {"name": f"vfio/devices/vfio{number}", "major": CDEV_MAJOR, "minor": number}
            opened.cdev = Device(path=f"{function.path}/vfio-dev/vfio{number}", class_="vfio-dev", node=node)
            companions.append(opened.cdev)
        opened.nodes = [node for node in nodes if isinstance(node, VfioNode)]
        self._opened[function.path] = opened
        host.appear(companions)

    def in_use(self, function: Device) -> bool:
        """Whether a guest has the device by one of its nodes."""
        opened = self._opened.get(function.path)
        return opened is not None and any(node.guests for node in opened.nodes)

    def close(self, function: Device) -> None:
        """Take the nodes back. The cdev goes at once, the group when no guest has the device any more."""
        host = self._host
        opened = self._opened[function.path]
        if opened.cdev is not None:
            host.vanish([opened.cdev])
            host.tree.remove(opened.nodes[1].path)
        if not host.vfio.wait_released(opened.nodes, host.is_closed):
            raise failure(errno.ENODEV, function.path)
        del self._opened[function.path]
        if all(other.group != opened.group for other in self._opened.values()):
            host.vanish([group_device(opened.group)])
            host.tree.remove(opened.nodes[0].path)
