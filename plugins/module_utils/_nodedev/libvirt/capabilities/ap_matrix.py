# SPDX-License-Identifier: GPL-3.0-or-later
"""What the matrix, from which an s390x host's crypto queues are assigned to guests, says of itself."""

from __future__ import annotations

from typing import Any

from ...host.udev import Device
from . import mdev_types

TYPE = "ap_matrix"


def read(device: Device) -> dict[str, Any]:
    """The types of mediated devices it offers."""
    nested = mdev_types.nested(device)
    return {"type": TYPE, "capability": nested} if nested else {"type": TYPE}
