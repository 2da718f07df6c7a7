# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Fibre Channel port says of itself, physical or virtual, and whether virtual ones can be made on it.

Follows libvirt's reading of /sys/class/fc_host: what cannot be read in full is not shown at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...host import sysfs
from ...host.numbers import integer
from ...host.oddities import unnumbered

# What a port, and one on which virtual ones can be made, must say.
NAMES, COUNTS = ("node_name", "port_name"), ("max_npiv_vports", "npiv_vports_inuse")


def capabilities(host: int) -> list[dict[str, Any]]:
    """``fc_host`` and ``vport_ops`` of a SCSI host, each where it has it; neither when a part of either is missing.

    Names are hexadecimal digits without 0x, as nodedev-create takes them.
    """
    port, scsi = f"{sysfs.SYS}/class/fc_host/host{host}", f"{sysfs.SYS}/class/scsi_host/host{host}"
    found: list[dict[str, Any]] = []
    if sysfs.exists(port):
        node, name = (value(port, each) for each in NAMES)
        if node is None or name is None:
            return []
        fabric = value(port, "fabric_name")
        found.append(
            {"type": "fc_host", "wwnn": node, "wwpn": name, **({} if fabric is None else {"fabric_wwn": fabric})}
        )
    if any(sysfs.exists(f"{folder}/vport_create") for folder in (port, scsi)):
        most, now = (_count(port, each) for each in COUNTS)
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


def oddities(host: int) -> list[str]:
    """Why a SCSI host that is a Fibre Channel port has none of the capabilities; nothing of any other host."""
    port = f"{sysfs.SYS}/class/fc_host/host{host}"
    if not sysfs.exists(port):
        return []
    return _odd(port, NAMES, value) or _odd(port, COUNTS, _count)


def _odd(port: str, attributes: tuple[str, ...], read: Callable[[str, str], object]) -> list[str]:
    texts = {name: value(port, name) for name in attributes if read(port, name) is None}
    return [
        f"{port}/{name} has nothing that can be read" if text is None else unnumbered(f"{port}/{name}", text)
        for name, text in texts.items()
    ]


def _count(folder: str, attribute: str) -> int | None:
    text = value(folder, attribute)
    return None if text is None else integer(text, 10, signed=True)
