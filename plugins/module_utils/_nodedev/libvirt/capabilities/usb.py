# SPDX-License-Identifier: GPL-3.0-or-later
"""What an interface of a USB device says of itself."""

from __future__ import annotations

from typing import Any

from ...host.udev import Device

TYPE = "usb"


def read(device: Device) -> dict[str, Any]:
    """The four numbers of its descriptor, 0 where the kernel has none."""
    return {
        "type": TYPE,
        "number": _number(device, "bInterfaceNumber"),
        "class": _number(device, "bInterfaceClass"),
        "subclass": _number(device, "bInterfaceSubClass"),
        "protocol": _number(device, "bInterfaceProtocol"),
    }


def _number(device: Device, name: str) -> int:
    """Read without a sign and printed with one, as libvirt does."""
    number = device.number(name, 16) or 0
    return number - (1 << 32) if number >= 1 << 31 else number
