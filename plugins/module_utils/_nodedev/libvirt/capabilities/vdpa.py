# SPDX-License-Identifier: GPL-3.0-or-later
"""What a vDPA device says of itself."""

from __future__ import annotations

import os
from typing import Any

from ...errors import Foreign
from ...host import sysfs
from ...host.udev import Device

TYPE = "vdpa"
NODES = "/dev"
PREFIX = "vhost-vdpa"


def read(device: Device) -> dict[str, Any]:
    """``chardev`` is its node where vhost_vdpa drives it; Dropped when that node is not there (yet)."""
    entry = next((entry for entry in sysfs.entries(device.path) if entry.startswith(PREFIX)), None)
    if entry is None:
        return {"type": TYPE}
    node = f"{NODES}/{entry}"
    if not os.path.exists(node):
        raise Foreign(f"its node {node} does not exist")
    return {"type": TYPE, "chardev": node}
