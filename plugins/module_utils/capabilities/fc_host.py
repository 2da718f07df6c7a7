# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Fibre Channel port says of itself, physical or virtual, and whether virtual ones can be made on it.

Follows libvirt's reading of /sys/class/fc_host: what cannot be read in full is not shown at all.
"""

from __future__ import annotations

from typing import Any

from .. import sysfs
from ..udev import integer


def capabilities(host: int) -> list[dict[str, Any]]:
    """``fc_host`` and ``vport_ops`` of a SCSI host, each where it has it; neither when a part of either is missing.

    Names are hexadecimal digits without 0x, as nodedev-create takes them.
    """
    port, scsi = f"{sysfs.SYS}/class/fc_host/host{host}", f"{sysfs.SYS}/class/scsi_host/host{host}"
    found: list[dict[str, Any]] = []
    if sysfs.exists(port):
        node, name = value(port, "node_name"), value(port, "port_name")
        if node is None or name is None:
            return []
        fabric = value(port, "fabric_name")
        found.append(
            {"type": "fc_host", "wwnn": node, "wwpn": name, **({} if fabric is None else {"fabric_wwn": fabric})}
        )
    if any(sysfs.exists(f"{folder}/vport_create") for folder in (port, scsi)):
        most, now = _count(port, "max_npiv_vports"), _count(port, "npiv_vports_inuse")
        if most is None or now is None:
            return []
        found.append({"type": "vport_ops", "max_vports": most, "vports": now})
    return found


def value(folder: str, attribute: str) -> str | None:
    """The first line of an attribute, from the first 0x on where there is one; None where it cannot be read."""
    try:
        text = sysfs.read(f"{folder}/{attribute}")
    except sysfs.SysfsError:
        return None
    if text is None:
        return None
    line = text.partition("\n")[0]
    return line.partition("0x")[2] if "0x" in line else line


def _count(folder: str, attribute: str) -> int | None:
    text = value(folder, attribute)
    return None if text is None else integer(text, 10, signed=True)
