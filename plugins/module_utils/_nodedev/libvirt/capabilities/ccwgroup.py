# SPDX-License-Identifier: GPL-3.0-or-later
"""What a group of CCW devices, such as the three of a qeth network card, says of itself."""

from __future__ import annotations

import os
from typing import Any

from ... import names
from ...errors import Dropped
from ...host import sysfs
from ...host.udev import Device
from .ccw import state_and_address

TYPE = "ccwgroup"


def read(device: Device) -> dict[str, Any]:
    """Its state, address, members in the kernel's order, and what its card is; Dropped where it has no member."""
    capability = {"type": TYPE, **state_and_address(device)}
    members = []
    for entry in sysfs.entries(device.path):
        target = sysfs.real(f"{device.path}/{entry}") if entry.startswith("cdev") else None
        if target is not None:
            members.append({"ref": entry, "name": names.device_name("ccw", os.path.basename(target))})
    if not members:
        raise Dropped("it has no members")
    card: dict[str, Any] = {"type": device.uevent.get("DEVTYPE")}
    for attribute in ("card_type", "chpid"):
        value = device.sysattr(attribute)
        if value is not None:
            card[attribute] = value
    return {**capability, "members": {"ccw_device": members}, "capability": [card]}
