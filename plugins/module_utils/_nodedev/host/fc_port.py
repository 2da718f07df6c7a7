# SPDX-License-Identifier: GPL-3.0-or-later
"""The Fibre Channel ports of a host as the kernel's transport class shows them: HBAs, the vHBAs on them, remote ports.

Follows the kernel's drivers/scsi/scsi_transport_fc.c. World Wide Names are 16 hexadecimal digits here, without 0x.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..names import called
from . import sysfs
from .oddities import Oddities

PORTS = "/sys/class/fc_host"
VPORTS = "/sys/class/fc_vports"
RPORTS = "/sys/class/fc_remote_ports"
SCSI_HOSTS = "/sys/class/scsi_host"
PCI = "/sys/bus/pci/devices"
# The class of Fibre Channel adapters.
ADAPTER = "0x0c04"
NO_HBA = "this host has no Fibre Channel HBA"
# As many digits as a number of the kernel's has.
HOST = re.compile(r"host([0-9]{1,10})")
ONLINE = "Online"
ACTIVE = "Active"
TARGET = "FCP Target"
# What a vport says that the fabric or the HBA has turned away, and that will not become active by waiting.
REFUSED = ("Fabric Rejected WWN", "No Fabric Support", "No Fabric Resources", "VPort Failed", "Fabric Logout")
# How many vports a port can have, and has.
ROOM = ("max_npiv_vports", "npiv_vports_inuse")
# A port without a fabric, or whose driver has not yet given it its names.
NO_NAME = ("0" * 16, "f" * 16, "0", "")


@dataclass(frozen=True)
class Port:
    """One port of this host, an HBA's or a vHBA's.

    ``vport_folder`` is where vports are made and deleted, None where none can be. ``vport`` and ``parent`` are the
    kernel's names of a vHBA's vport and of the HBA's host, None for an HBA. ``most`` and ``used`` count vports, and are
    0 where the driver says what is no number: then ``oddities`` has a warning.
    """

    host: int
    path: str
    wwnn: str
    wwpn: str
    fabric_wwn: str | None
    port_state: str | None
    port_type: str | None
    vport_folder: str | None
    most: int
    used: int
    vport: str | None
    parent: int | None
    oddities: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """libvirt's name of the port's host."""
        return f"scsi_host{self.host}"

    @property
    def sysname(self) -> str:
        """The kernel's name of the port's host."""
        return f"host{self.host}"

    @property
    def free(self) -> int:
        """How many more vports it takes."""
        return max(self.most - self.used, 0)

    @property
    def vport_state(self) -> str | None:
        """What a vHBA's vport says now, read anew each time; None for an HBA."""
        return None if self.vport is None else sysfs.read(f"{VPORTS}/{self.vport}/vport_state")


@dataclass(frozen=True)
class RemotePort:
    """A port that a port of this host sees in the fabric."""

    rport: str
    wwpn: str
    state: str | None


def ports() -> list[Port]:
    """All ports by the number of their host; one that vanishes while it is read is none."""
    numbers = [int(found[1]) for name in sysfs.entries(PORTS) if (found := HOST.fullmatch(name))]
    return [port for number in sorted(numbers) if (port := read(number)) is not None]


def why_none() -> tuple[str, ...]:
    """The adapters of a host without any port, each with why it is none; what cannot be read is left out."""
    oddities = Oddities()
    found = []
    for address in oddities.attempt(partial(sysfs.names, PCI)) or ():
        if (oddities.text(f"{PCI}/{address}/class") or "").startswith(ADAPTER):
            driver = oddities.link_name(f"{PCI}/{address}/driver")
            why = f"whose driver {driver} has made no port" if driver else "without a driver, such as lpfc or qla2xxx"
            found.append(f"{called(address)} is a Fibre Channel adapter {why}")
    return tuple(found)


def read(host: int) -> Port | None:
    """The port of this host; None where there is none, as for other SCSI hosts."""
    folder = f"{PORTS}/host{host}"
    path = _device(folder)
    wwnn, wwpn = wwn(folder, "node_name"), wwn(folder, "port_name")
    if path is None or wwnn is None or wwpn is None:
        return None
    vport, parent = _place(path)
    oddities = Oddities()
    most, used = (oddities.numbered(f"{folder}/{name}", _text(folder, name)) or 0 for name in ROOM)
    return Port(
        host=host,
        path=path,
        wwnn=wwnn,
        wwpn=wwpn,
        fabric_wwn=_fabric(wwn(folder, "fabric_name")),
        port_state=_text(folder, "port_state"),
        port_type=_text(folder, "port_type"),
        vport_folder=_vport_folder(host),
        most=most,
        used=used,
        vport=vport,
        parent=parent,
        oddities=tuple(oddities.warnings),
    )


def _device(folder: str) -> str | None:
    """The folder of the SCSI host; a port that does not tell it is as one that is not there, and hides no other."""
    try:
        return sysfs.real(f"{folder}/device")
    except sysfs.SysfsError:
        return None


def of_capability(path: str, capability: Mapping[str, Any]) -> Port | None:
    """The port of the SCSI host in this folder by its capability, so that only the rest is read; None where it is none.

    Raises SysfsError for states that are there and cannot be read.
    """
    nested = {each["type"]: each for each in capability.get("capability", ())}
    if "fc_host" not in nested:
        return None
    port, room = nested["fc_host"], nested.get("vport_ops")
    host = capability["host"]
    vport, parent = _place(path)
    return Port(
        host=host,
        path=path,
        wwnn=port["wwnn"].lower(),
        wwpn=port["wwpn"].lower(),
        fabric_wwn=_fabric(port.get("fabric_wwn")),
        port_state=sysfs.read(f"{PORTS}/host{host}/port_state"),
        port_type=sysfs.read(f"{PORTS}/host{host}/port_type"),
        vport_folder=_vport_folder(host) if room else None,
        most=room["max_vports"] if room else 0,
        used=room["vports"] if room else 0,
        vport=vport,
        parent=parent,
    )


def hba_of(ports: Iterable[Port], wwpn: str | None) -> Port | None:
    """The HBA with this WWPN among ports; None where it is not there."""
    return next((port for port in ports if port.vport is None and port.wwpn == wwpn), None)


def vhbas(path: str) -> list[str]:
    """libvirt's names of the vHBAs on the HBA in this folder, by their numbers."""
    vports = [name for name in sysfs.entries(path) if name.startswith("vport-")]
    numbers = [
        int(found[1])
        for vport in vports
        for name in sysfs.entries(f"{path}/{vport}")
        if (found := HOST.fullmatch(name))
    ]
    return [f"scsi_host{number}" for number in sorted(numbers)]


def _place(path: str) -> tuple[str | None, int | None]:
    """The vport that a port is on and the number of the HBA that this is on; neither of an HBA."""
    above = path.split("/")[:-1]
    if not above or not above[-1].startswith("vport-"):
        return None, None
    parent = HOST.fullmatch(above[-2])
    return above[-1], int(parent[1]) if parent else None


def _fabric(name: str | None) -> str | None:
    return None if name in (None, *NO_NAME) else name


def _vport_folder(host: int) -> str | None:
    # Old kernels have the files in the SCSI host's folder.
    folders = (f"{PORTS}/host{host}", f"{SCSI_HOSTS}/host{host}")
    return next((folder for folder in folders if sysfs.exists(f"{folder}/vport_create")), None)


def wwn(folder: str, attribute: str) -> str | None:
    """A World Wide Name from its attribute; None where there is no such attribute or it cannot be read."""
    text = _text(folder, attribute)
    return None if text is None else text.strip().lower().removeprefix("0x")


def _text(folder: str, attribute: str) -> str | None:
    """The value of an attribute; one that cannot be read is as one that is not there, and hides no other port."""
    try:
        return sysfs.read(f"{folder}/{attribute}")
    except sysfs.SysfsError:
        return None


def is_scsi_host(host: int) -> bool:
    """Whether the kernel has a SCSI host of this number, of whatever kind."""
    return sysfs.exists(f"{SCSI_HOSTS}/host{host}")


def targets(host: int) -> list[RemotePort]:
    """The remote ports with storage that the port of this host sees, by their kernel names.

    A port of a fabric sees its switch's servers and other initiators too.
    """
    found = []
    for name in sysfs.names(RPORTS):
        if not name.startswith(f"rport-{host}:"):
            continue
        folder = f"{RPORTS}/{name}"
        port = wwn(folder, "port_name")
        if port is not None and TARGET in (_text(folder, "roles") or ""):
            found.append(RemotePort(name, port, _text(folder, "port_state")))
    return found
