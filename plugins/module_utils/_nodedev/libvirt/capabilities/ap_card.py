# SPDX-License-Identifier: GPL-3.0-or-later
"""What an adjunct processor card, a crypto adapter of an s390x host, says of itself."""

from __future__ import annotations

from typing import Any

from ...errors import Dropped
from ...host.numbers import integer
from ...host.udev import Device

TYPE = "ap_card"


def read(device: Device) -> dict[str, Any]:
    """The number of its adapter, which is in the kernel's name of it; Dropped when there is none."""
    adapter = integer(device.sysname.removeprefix("card"), 16)
    if adapter is None:
        raise Dropped(f"its name {device.sysname!r} is not 'card' and a hexadecimal number")
    return {"type": TYPE, "ap-adapter": f"0x{adapter:02x}"}
