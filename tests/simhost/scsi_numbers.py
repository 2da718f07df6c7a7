# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers of SCSI hosts: which one is next, and declared devices under other numbers after a reboot."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from simhost.devices import Device

# hostN, the ports and targets of a host, and H:C:T:L, each as a whole component of a path.
_NUMBERED = re.compile(r"/(host(?=\d+(?:/|$))|rport-|vport-|target|(?=\d+:\d+:\d+:\d+(?:/|$)))(\d+)(?=[:/]|$)")
_HOST = re.compile(r"/host(\d+)$")


def shifted(path: str, by: int) -> str:
    """The path with all numbers of SCSI hosts raised."""
    return _NUMBERED.sub(lambda match: f"/{match.group(1)}{int(match.group(2)) + by}", path)


def shifted_devices(devices: list[Device], by: int) -> list[Device]:
    """The devices with their paths and links under raised numbers."""
    return [
        replace(
            device,
            path=shifted(device.path, by),
            links={name: shifted(target, by) for name, target in device.links.items()},
        )
        for device in devices
    ]


class HostNumbers:
    """The numbers given on one boot.

    The kernel gives the lowest free one, so that a new host may have the number of one just removed. Without
    `reuse` a number is not given twice, which tells a mistaken identity from a right one.
    """

    def __init__(self, devices: Iterable[Device], reuse: bool) -> None:
        matches = (_HOST.search(device.path) for device in devices if device.bus == "scsi")
        self._taken = {int(match.group(1)) for match in matches if match}
        self._reuse = reuse
        self._next = max(self._taken, default=-1) + 1

    def take(self) -> int:
        """A number for a new host."""
        number = self._next
        if self._reuse:
            number = next(free for free in range(self._next + 1) if free not in self._taken)
        self._taken.add(number)
        self._next = max(self._next, number + 1)
        return number

    def give_back(self, number: int) -> None:
        """The host of this number is gone."""
        self._taken.discard(number)
