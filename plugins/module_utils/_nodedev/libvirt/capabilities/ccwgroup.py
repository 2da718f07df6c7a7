# SPDX-License-Identifier: GPL-3.0-or-later
"""What a group of CCW devices, such as the three of a qeth network card, says of itself."""

from __future__ import annotations

from typing import Any

from ... import names
from ...errors import Dropped
from ...host import sysfs
from ...host.udev import Device
from .ccw import linked, own_address, state

TYPE = "ccwgroup"


def read(device: Device) -> dict[str, Any]:
    """Its state, address, members in the kernel's order, and what its card is; Dropped where it has no member."""
    capability = {"type": TYPE, **_state(device), **own_address(device)}
    members = []
    for entry in sysfs.entries(device.path):
        member = linked(device, entry) if entry.startswith("cdev") else None
        if member is not None:
            members.append({"ref": entry, "name": names.device_name("ccw", member)})
    if not members:
        raise Dropped("it has no members")
    card: dict[str, Any] = {"type": device.uevent.get("DEVTYPE")}
    for attribute in ("card_type", "chpid"):
        value = device.sysattr(attribute)
        if value is not None:
            card[attribute] = value
    return {**capability, "members": {"ccw_device": members}, "capability": [card]}


def _state(device: Device) -> dict[str, str]:
    """The state as of a CCW device, but that libvirt takes a group for off line where that is damaged."""
    try:
        return state(device)
    except Dropped:
        return {"state": "offline"}
