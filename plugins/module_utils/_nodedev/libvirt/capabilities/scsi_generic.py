# SPDX-License-Identifier: GPL-3.0-or-later
"""What a SCSI device's node for any command, /dev/sg*, says of itself."""

from __future__ import annotations

from typing import Any

from ...errors import Foreign
from ...host.udev import Device

TYPE = "scsi_generic"


def read(device: Device) -> dict[str, Any]:
    """``char`` is the node; Dropped where it has none."""
    node = device.prop("DEVNAME")
    if node is None:
        raise Foreign("it has no node in /dev")
    return {"type": TYPE, "char": node}
