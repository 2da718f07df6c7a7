# SPDX-License-Identifier: GPL-3.0-or-later
"""What a channel-attached device of an s390x host says of itself."""

from __future__ import annotations

import os
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
    capability = {"type": TYPE, **state_and_address(device)}
    group = sysfs.real(f"{device.path}/group_device")
    if group is None:
        return capability
    member = {"type": "ccwgroup_member", "group_device": names.device_name("ccwgroup", os.path.basename(group))}
    return {**capability, "capability": [member]}


def state_and_address(device: Device) -> dict[str, str]:
    """``state``, if it is one that libvirt knows, ``cssid``, ``ssid`` and ``devno``; Dropped where one is damaged."""
    online = device.number("online", 0, signed=True) or 0
    if online < 0:
        raise Dropped(f"online is {online}")
    parts = address(device.sysname)
    if parts is None:
        raise Dropped(f"its name {device.sysname!r} is no CCW address")
    return {**({"state": STATES[online]} if online in STATES else {}), **parts}


def address(text: str) -> dict[str, str] | None:
    """A CCW address such as 0.0.0815 in libvirt's parts: ``cssid``, ``ssid``, ``devno``; None where it is none."""
    parts = [integer(part, 16) for part in text.split(".")]
    if len(parts) != 3:
        return None
    cssid, ssid, devno = parts
    if cssid is None or ssid is None or devno is None:
        return None
    return {"cssid": f"0x{cssid:x}", "ssid": f"0x{ssid:x}", "devno": f"0x{devno:04x}"}
