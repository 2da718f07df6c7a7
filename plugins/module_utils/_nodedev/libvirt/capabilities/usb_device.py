# SPDX-License-Identifier: GPL-3.0-or-later
"""What a USB device, a hub among them, says of itself. Names come from udev's database, else from the device."""

from __future__ import annotations

from typing import Any

from ...errors import Foreign
from ...host.udev import Device

TYPE = "usb_device"


def read(device: Device) -> dict[str, Any]:
    """``bus`` and ``device`` are its address now; Dropped where udev has not yet looked at it, as libvirt does."""
    return {
        "type": TYPE,
        "bus": _number(device, "BUSNUM", 10),
        "device": _number(device, "DEVNUM", 10),
        "product": _named(device, "ID_MODEL_ID", "ID_MODEL_FROM_DATABASE", "product"),
        "vendor": _named(device, "ID_VENDOR_ID", "ID_VENDOR_FROM_DATABASE", "manufacturer"),
    }


def _number(device: Device, key: str, base: int) -> int:
    number = device.prop_number(key, base)
    if number is None:
        raise Foreign(f"udev does not know its {key}")
    return number


def _named(device: Device, key: str, known_as: str, says: str) -> dict[str, str]:
    element = {"id": f"0x{_number(device, key, 16):04x}"}
    name = device.prop(known_as)
    if name is None:
        name = device.sysattr(says)
    return element if name is None else {**element, "name": name}
