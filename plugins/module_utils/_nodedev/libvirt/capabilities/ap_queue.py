# SPDX-License-Identifier: GPL-3.0-or-later
"""What a queue, one domain of a crypto adapter of an s390x host, says of itself."""

from __future__ import annotations

from typing import Any

from ...errors import Dropped
from ...host.numbers import integer
from ...host.udev import Device

TYPE = "ap_queue"


def read(device: Device) -> dict[str, Any]:
    """Its adapter and domain, which are the kernel's name of it; Dropped when that is something else."""
    numbers = [integer(part, 16) for part in device.sysname.split(".")]
    if len(numbers) != 2 or None in numbers:
        raise Dropped(f"its name {device.sysname!r} is not two hexadecimal numbers, adapter.domain")
    adapter, domain = numbers
    return {"type": TYPE, "ap-adapter": f"0x{adapter:02x}", "ap-domain": f"0x{domain:04x}"}
