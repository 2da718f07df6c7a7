# SPDX-License-Identifier: GPL-3.0-or-later
"""What a USB device, a hub among them, and an interface of one say of themselves."""

from __future__ import annotations

from typing import Any

from ...errors import Foreign
from ...host.udev import Device


def device(device: Device) -> dict[str, Any]:
    """``bus`` and ``device`` are its address now; Dropped where udev has not yet looked at it, as libvirt does.

    Names come from udev's database, else from the device.
    """
    return {
        "type": "usb_device",
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


def interface(device: Device) -> dict[str, Any]:
    """The four numbers of its descriptor, 0 where the kernel has none."""
    return {
        "type": "usb",
        "number": _described(device, "bInterfaceNumber"),
        "class": _described(device, "bInterfaceClass"),
        "subclass": _described(device, "bInterfaceSubClass"),
        "protocol": _described(device, "bInterfaceProtocol"),
    }


def _described(device: Device, name: str) -> int:
    """Read without a sign and printed with one, as libvirt does."""
    number = device.number(name, 16) or 0
    return number - (1 << 32) if number >= 1 << 31 else number
