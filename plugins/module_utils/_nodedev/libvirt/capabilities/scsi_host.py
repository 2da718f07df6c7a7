# SPDX-License-Identifier: GPL-3.0-or-later
"""What a SCSI host says of itself: a disk controller, a Fibre Channel port, or a virtual one (a vHBA)."""

from __future__ import annotations

from typing import Any

from ...errors import Dropped
from ...host import sysfs
from ...host.numbers import integer
from ...host.udev import Device
from . import fc_host

TYPE = "scsi_host"
PREFIX = "host"


def read(device: Device) -> dict[str, Any]:
    """``host`` is its number; Dropped where the kernel's name has none."""
    number = integer(device.sysname[len(PREFIX) :], 0) if device.sysname.startswith(PREFIX) else None
    if number is None:
        raise Dropped(f"its name {device.sysname!r} is not {PREFIX!r} and a number")
    capability: dict[str, Any] = {"type": TYPE, "host": number}
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
