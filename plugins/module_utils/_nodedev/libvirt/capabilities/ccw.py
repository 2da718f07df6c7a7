# SPDX-License-Identifier: GPL-3.0-or-later
"""What a channel-attached device of an s390x host says of itself."""

from __future__ import annotations

from typing import Any

from ... import names
from ...errors import Dropped
from ...host import sysfs
from ...host.numbers import integer
from ...host.udev import Device

TYPE = "ccw"
STATES = {0: "offline", 1: "online"}


def read(device: Device) -> dict[str, Any]:
    """Its state and address, and the group that it belongs to."""
    capability = {"type": TYPE, **state(device), **own_address(device)}
    group = linked(device, "group_device")
    if group is None:
        return capability
    member = {"type": "ccwgroup_member", "group_device": names.device_name("ccwgroup", group)}
    return {**capability, "capability": [member]}


def state(device: Device) -> dict[str, str]:
    """``state``, if it is one that libvirt knows; Dropped where it is negative or no number."""
    online = device.number("online", 0, signed=True) or 0
    if online < 0:
        raise Dropped(f"online is {online}")
    return {"state": STATES[online]} if online in STATES else {}


def own_address(device: Device) -> dict[str, str]:
    """The parts of the address that is the device's name; Dropped where it is none."""
    parts = address(device.sysname)
    if parts is None:
        raise Dropped(f"its name {device.sysname!r} is no CCW address")
    return parts


def linked(device: Device, name: str) -> str | None:
    """The kernel's name of what a link of the device leads to; None where it is no link or leads nowhere."""
    return device.link(name) if sysfs.exists(f"{device.path}/{name}") else None


def address(text: str) -> dict[str, str] | None:
    """A CCW address such as 0.0.0815 in libvirt's parts: ``cssid``, ``ssid``, ``devno``; None where it is none."""
    parts = [integer(part, 16) for part in text.split(".")]
    if len(parts) != 3:
        return None
    cssid, ssid, devno = parts
    if cssid is None or ssid is None or devno is None:
        return None
    return {"cssid": f"0x{cssid:x}", "ssid": f"0x{ssid:x}", "devno": f"0x{devno:04x}"}
