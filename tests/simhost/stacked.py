# SPDX-License-Identifier: GPL-3.0-or-later
"""Block devices upon others: multipath maps, LVM volumes and md arrays, declared with `slaves`.

Such a device appears with the first of its slaves and goes with the last, as multipathd has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simhost.devices import Device

if TYPE_CHECKING:
    from simhost.host import Host


class Stacked:
    """The declared devices of this kind, and the slaves that each of them has now."""

    def __init__(self, host: Host, devices: list[Device]) -> None:
        self._host = host
        self._devices = devices
        self._slaves: dict[str, set[str]] = {}

    def added(self, below: Device) -> None:
        """A block device has appeared: whatever is upon it holds it from now on."""
        for device in self._devices:
            if below.name not in device.slaves:
                continue
            if device.name not in self._slaves:
                self._slaves[device.name] = set()
                # It shows no earlier than the disk that it is made of.
                visible_at = self._host.tree.nodes[below.path].visible_at
                self._host.tree.directory(device.path).visible_at = visible_at
                self._host.appear([device])
            self._slaves[device.name].add(below.name)
            self._host.tree.link(f"{below.path}/holders/{device.name}", device.path)
            self._host.tree.link(f"{device.path}/slaves/{below.name}", below.path)

    def removed(self, below: Device) -> None:
        """A block device has gone."""
        for device in self._devices:
            slaves = self._slaves.get(device.name, set())
            if below.name not in slaves:
                continue
            slaves.discard(below.name)
            self._host.tree.remove(f"{device.path}/slaves/{below.name}")
            if not slaves:
                del self._slaves[device.name]
                self._host.vanish([device])

    def unmap(self, name: str) -> None:
        """Remove a device, given by its name or its dm name, as `multipath -f` does; ValueError if it cannot be."""
        for device in self._devices:
            if device.name in self._slaves and name in (device.name, device.attributes.get("dm/name")):
                break
        else:
            raise ValueError(f"no device with slaves is called {name!r} now")
        upon = [above.name for above in self._devices if device.name in self._slaves.get(above.name, ())]
        if upon:
            raise ValueError(f"{device.name} is in use by {', '.join(upon)}: remove that first")
        for slave in self._slaves.pop(device.name):
            below = self._host.tree.resolve(f"{device.path}/slaves/{slave}")
            self._host.tree.remove(f"{below}/holders/{device.name}")
        self._host.vanish([device])
