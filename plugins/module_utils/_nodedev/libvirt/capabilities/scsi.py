# SPDX-License-Identifier: GPL-3.0-or-later
"""What SCSI devices say of themselves: hosts, targets, their logical units, and the units' nodes for any command."""

from __future__ import annotations

import os
from typing import Any

from ...errors import Dropped, Foreign
from ...host import sysfs
from ...host.numbers import integer
from ...host.udev import Device
from . import fc_host

HOST = "scsi_host"
PREFIX = "host"
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


def host(device: Device) -> dict[str, Any]:
    """A disk controller, a Fibre Channel port or a vHBA by its number; Dropped where the kernel's name has none."""
    number = integer(device.sysname[len(PREFIX) :], 0) if device.sysname.startswith(PREFIX) else None
    if number is None:
        raise Dropped(f"its name {device.sysname!r} is not {PREFIX!r} and a number")
    capability: dict[str, Any] = {"type": HOST, "host": number}
    unique = _unique_id(number)
    if unique is not None:
        capability["unique_id"] = unique
    nested = fc_host.capabilities(number)
    return {**capability, "capability": nested} if nested else capability


def _unique_id(number: int) -> int | None:
    """The number that the driver gave it, as one of several ports of a card; None where it is none."""
    try:
        text = sysfs.read(f"{sysfs.SYS}/class/scsi_host/host{number}/unique_id")
    except sysfs.SysfsError:
        return None
    unique = None if text is None else integer(text.partition("\n")[0], 10, signed=True)
    return None if unique is None or unique < 0 else unique


def target(device: Device) -> dict[str, Any]:
    """The kernel's name, and the remote Fibre Channel port, whose name keeps its 0x, as in libvirt."""
    capability: dict[str, Any] = {"type": "scsi_target", "target": device.sysname}
    rport = os.path.basename(os.path.dirname(device.path))
    name = _port_name(rport)
    if name is not None:
        capability["capability"] = [{"type": "fc_remote_port", "rport": rport, "wwpn": name}]
    return capability


def _port_name(rport: str) -> str | None:
    try:
        return sysfs.read(f"{sysfs.SYS}/class/fc_remote_ports/{rport}/port_name")
    except sysfs.SysfsError:
        return None


def unit(device: Device) -> dict[str, Any]:
    """Its address, and <type> as ``scsi_type``; Dropped where the kernel's name is no address or the type no number."""
    numbers = [integer(part, 10) for part in device.sysname.split(":")]
    if len(numbers) != len(ADDRESS) or None in numbers:
        raise Dropped(f"its name {device.sysname!r} is not {':'.join(ADDRESS)}, four numbers of 32 bits")
    capability: dict[str, Any] = {"type": "scsi", **dict(zip(ADDRESS, numbers))}
    number = device.number("type", 0)
    if number in TYPES:
        capability["scsi_type"] = TYPES[number]
    return capability


def generic(device: Device) -> dict[str, Any]:
    """``char`` is the node, /dev/sg*; Dropped where it has none."""
    node = device.prop("DEVNAME")
    if node is None:
        raise Foreign("it has no node in /dev")
    return {"type": "scsi_generic", "char": node}
