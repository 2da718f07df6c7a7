# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node of a graphics card, /dev/dri/*, says of itself."""

from __future__ import annotations

from typing import Any

from ...errors import Foreign
from ...host.udev import Device

TYPE = "drm"
# The kernel gives each type 64 minors, in this order.
TYPES = ("primary", "control", "render")
MINORS = 64


def read(device: Device) -> dict[str, Any]:
    """``drm_type``, the element <type>, by its minor; Dropped beyond the minors that libvirt knows."""
    minor = device.prop_number("MINOR", 10, signed=True)
    if minor is None:
        raise Foreign("it has no node in /dev")
    if not 0 <= minor < MINORS * len(TYPES):
        raise Foreign(f"libvirt knows no type of DRM node with minor {minor}")
    return {"type": TYPE, "drm_type": TYPES[minor // MINORS]}
