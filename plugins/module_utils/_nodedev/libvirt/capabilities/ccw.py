# SPDX-License-Identifier: GPL-3.0-or-later
"""What the channels of an s390x host say of themselves: CCW devices, groups of them, and subchannels."""

from __future__ import annotations

from typing import Any

from ... import names
from ...errors import Dropped, Foreign
from ...host import sysfs
from ...host.numbers import integer
from ...host.udev import Device
from . import mdev_types

DEVICE, GROUP, SUBCHANNEL = "ccw", "ccwgroup", "css"
STATES = {0: "offline", 1: "online"}
# Of subchannels whose devices a guest may get; chsc, eadm and message subchannels are left out.
DRIVERS = ("io_subchannel", "vfio_ccw")


def device(device: Device) -> dict[str, Any]:
    """Its state and address, and the group that it belongs to."""
    capability = {"type": DEVICE, **_state(device), **_own_address(device)}
    grouped = _linked(device, "group_device")
    if grouped is None:
        return capability
    member = {"type": "ccwgroup_member", "group_device": names.device_name(GROUP, grouped)}
    return {**capability, "capability": [member]}


def _state(device: Device) -> dict[str, str]:
    """``state``, if it is one that libvirt knows; Dropped where it is negative or no number."""
    online = device.number("online", 0, signed=True) or 0
    if online < 0:
        raise Dropped(f"online is {online}")
    return {"state": STATES[online]} if online in STATES else {}


def _own_address(device: Device) -> dict[str, str]:
    """The parts of the address that is the device's name; Dropped where it is none."""
    parts = address(device.sysname)
    if parts is None:
        raise Dropped(f"its name {device.sysname!r} is no CCW address")
    return parts


def _linked(device: Device, name: str) -> str | None:
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


def group(device: Device) -> dict[str, Any]:
    """Its state, address, members in the kernel's order, and what its card is; Dropped where it has no member.

    The three devices of a qeth network card are such a group.
    """
    capability = {"type": GROUP, **_group_state(device), **_own_address(device)}
    members = []
    for entry in sysfs.entries(device.path):
        member = _linked(device, entry) if entry.startswith("cdev") else None
        if member is not None:
            members.append({"ref": entry, "name": names.device_name(DEVICE, member)})
    if not members:
        raise Dropped("it has no members")
    card: dict[str, Any] = {"type": device.uevent.get("DEVTYPE")}
    for attribute in ("card_type", "chpid"):
        value = device.sysattr(attribute)
        if value is not None:
            card[attribute] = value
    return {**capability, "members": {"ccw_device": members}, "capability": [card]}


def _group_state(device: Device) -> dict[str, str]:
    """The state as of a CCW device, but that libvirt takes a group for off line where that is damaged."""
    try:
        return _state(device)
    except Dropped:
        return {"state": "offline"}


def subchannel(device: Device) -> dict[str, Any]:
    """Its number, the device behind it and the types it offers; Dropped with another driver than libvirt's two."""
    driver = device.prop("DRIVER")
    if driver not in DRIVERS:
        raise Foreign(f"its driver is {driver or 'none'}, not {' or '.join(DRIVERS)}")
    own = address(device.sysname)
    if own is None:
        raise Dropped(f"its name {device.sysname!r} is no address of a channel subsystem")
    capability: dict[str, Any] = {"type": SUBCHANNEL, **own}
    behind = address(device.sysattr("dev_busid") or "none")
    if behind is not None:
        capability["channel_dev_addr"] = behind
    nested = mdev_types.nested(device)
    return {**capability, "capability": nested} if nested else capability
