# SPDX-License-Identifier: GPL-3.0-or-later
"""What a SCSI target says of itself, and the remote Fibre Channel port that it is reached by."""

from __future__ import annotations

import os
from typing import Any

from ...host import sysfs
from ...host.udev import Device

TYPE = "scsi_target"


def read(device: Device) -> dict[str, Any]:
    """``target`` is the kernel's name. The remote port's name keeps its 0x, as in libvirt."""
    capability: dict[str, Any] = {"type": TYPE, "target": device.sysname}
    rport = os.path.basename(os.path.dirname(device.path))
    name = _port_name(rport)
    if name is not None:
        capability["capability"] = [{"type": "fc_remote_port", "rport": rport, "wwpn": name}]
    return capability


def _port_name(rport: str) -> str | None:
    try:
        return sysfs.read(f"{sysfs.SYS}/class/fc_remote_ports/{rport}/port_name")
    except sysfs.SysfsError:
        return None
