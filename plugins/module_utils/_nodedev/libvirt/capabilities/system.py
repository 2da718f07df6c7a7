# SPDX-License-Identifier: GPL-3.0-or-later
"""What the machine says of itself in its DMI tables."""

from __future__ import annotations

from typing import Any

from ...host.udev import Device
from ...names import libvirt_uuid

TYPE = "system"

# Of what the firmware says, libvirt reads so many bytes.
LENGTH = 36
NO_UUID = "00000000-0000-0000-0000-000000000000"


def name(device: Device, capability: dict[str, Any]) -> str:
    """The machine has this name everywhere."""
    return "computer"


def read(device: Device) -> dict[str, Any]:
    """The machine in libvirt's words; of a machine without DMI, as s390x has none, only that it is there."""
    capability: dict[str, Any] = {"type": TYPE} | _texts(device, product="product_name")
    hardware = _texts(device, vendor="sys_vendor", version="product_version", serial="product_serial")
    firmware = _texts(device, vendor="bios_vendor", version="bios_version", release_date="bios_date")
    return {**capability, "hardware": {**hardware, "uuid": _uuid(device)}, "firmware": firmware}


def _texts(device: Device, **attributes: str) -> dict[str, str]:
    texts = {key: device.sysattr(attribute) for key, attribute in attributes.items()}
    return {key: text for key, text in texts.items() if text is not None}


def _uuid(device: Device) -> str:
    """The firmware's UUID; zeros for what is none, in whose place libvirt makes up one at each start."""
    return libvirt_uuid((device.sysattr("product_uuid") or "")[:LENGTH]) or NO_UUID
