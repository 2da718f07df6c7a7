# SPDX-License-Identifier: GPL-3.0-or-later
"""What a SCSI device, a logical unit of a target, says of itself."""

from __future__ import annotations

from typing import Any

from ...errors import Dropped
from ...host.numbers import integer
from ...host.udev import Device

TYPE = "scsi"
ADDRESS = ("host", "bus", "target", "lun")
# Peripheral device types of SPC that libvirt has a word for; the others have no <type>.
TYPES = {
    0: "disk",
    1: "tape",
    3: "processor",
    4: "worm",
    5: "cdrom",
    6: "scanner",
    7: "mod",
    8: "changer",
    12: "raid",
    13: "enclosure",
}


def read(device: Device) -> dict[str, Any]:
    """Its address, and <type> as ``scsi_type``; Dropped where the kernel's name is no address or the type no number."""
    numbers = [integer(part, 10) for part in device.sysname.split(":")]
    if len(numbers) != len(ADDRESS) or None in numbers:
        raise Dropped(f"its name {device.sysname!r} is not {':'.join(ADDRESS)}, four numbers of 32 bits")
    capability: dict[str, Any] = {"type": TYPE, **dict(zip(ADDRESS, numbers))}
    number = device.number("type", 0)
    if number in TYPES:
        capability["scsi_type"] = TYPES[number]
    return capability
