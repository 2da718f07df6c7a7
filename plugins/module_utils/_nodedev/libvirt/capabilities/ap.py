# SPDX-License-Identifier: GPL-3.0-or-later
"""What crypto adapters of an s390x host say of themselves: cards, queues, and the matrix that gives guests queues."""

from __future__ import annotations

from typing import Any

from ...errors import Dropped
from ...host.numbers import integer
from ...host.udev import Device
from . import mdev_types


def card(device: Device) -> dict[str, Any]:
    """The number of an adapter, which is in the kernel's name of it; Dropped when there is none."""
    adapter = integer(device.sysname.removeprefix("card"), 16)
    if adapter is None:
        raise Dropped(f"its name {device.sysname!r} is not 'card' and a hexadecimal number")
    return {"type": "ap_card", "ap-adapter": f"0x{adapter:02x}"}


def queue(device: Device) -> dict[str, Any]:
    """Of one domain of an adapter both, which are the kernel's name of it; Dropped when that is something else."""
    numbers = [integer(part, 16) for part in device.sysname.split(".")]
    if len(numbers) != 2 or None in numbers:
        raise Dropped(f"its name {device.sysname!r} is not two hexadecimal numbers, adapter.domain")
    adapter, domain = numbers
    return {"type": "ap_queue", "ap-adapter": f"0x{adapter:02x}", "ap-domain": f"0x{domain:04x}"}


def matrix(device: Device) -> dict[str, Any]:
    """The types of mediated devices that the matrix offers, from which queues are assigned to guests."""
    nested = mdev_types.nested(device)
    return {"type": "ap_matrix", "capability": nested} if nested else {"type": "ap_matrix"}
