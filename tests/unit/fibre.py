# SPDX-License-Identifier: GPL-3.0-or-later
"""Fibre Channel ports for the unit tests: as the library's own objects, and as files of a test's own host."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import disk_users, fc_port, lun
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.fc_port import Port
from devices import Host

WWNN, WWPN = "5001a4a1000000a1", "5001a4a0000000a1"
FABRIC, OTHER_FABRIC = "100000051e000001", "100000051e000002"
FC = "class/fc_host"


def names(host: int) -> tuple[str, str]:
    """The WWNN and the WWPN of the HBA with this number."""
    return f"20000090fa1234{host:02x}", f"10000090fa1234{host:02x}"


def hba(host: int = 3, **more: Any) -> Port:
    """An HBA that can take four vHBAs."""
    wwnn, wwpn = names(host)
    known: dict[str, Any] = {
        "host": host,
        "path": f"/sys/devices/pci0000:04/0000:04:00.0/host{host}",
        "wwnn": wwnn,
        "wwpn": wwpn,
        "fabric_wwn": FABRIC,
        "port_state": "Online",
        "port_type": "NPort (fabric via point-to-point)",
        "vport_folder": f"/sys/class/fc_host/host{host}",
        "most": 4,
        "used": 0,
        "vport": None,
        "parent": None,
    }
    return Port(**{**known, **more})


def vhba(host: int = 8, parent: int = 3, **more: Any) -> Port:
    """A vHBA of the names above on the HBA of this number."""
    path = f"/sys/devices/pci0000:04/0000:04:00.0/host{parent}/vport-{parent}:0-0/host{host}"
    known: dict[str, Any] = {
        "path": path,
        "wwnn": WWNN,
        "wwpn": WWPN,
        "port_type": "NPIV VPORT",
        "vport_folder": None,
        "most": 0,
        "vport": f"vport-{parent}:0-0",
        "parent": parent,
    }
    return hba(host, **{**known, **more})


def look_below(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have ports, remote ports and units looked for in the files of a test's own host."""
    for name in ("PORTS", "VPORTS", "RPORTS", "SCSI_HOSTS"):
        monkeypatch.setattr(fc_port, name, getattr(fc_port, name).replace("/sys", str(host.sys)))
    monkeypatch.setattr(lun, "DEVICES", lun.DEVICES.replace("/sys", str(host.sys)))
    monkeypatch.setattr(disk_users, "BLOCK", f"{host.sys}/class/block")


def make_hba(host: Host, number: int = 3, unreadable: str = "", **attributes: str | None) -> None:
    """The files of an HBA, without those that are given as None; ``unreadable`` names one that nobody can read."""
    wwnn, wwpn = names(number)
    known = {
        "node_name": f"0x{wwnn}",
        "port_name": f"0x{wwpn}",
        "fabric_name": f"0x{FABRIC}",
        "port_state": "Online",
        "port_type": "NPort (fabric via point-to-point)",
        "max_npiv_vports": "4",
        "npiv_vports_inuse": "1",
        "vport_create": "",
        "vport_delete": "",
    }
    given = {**known, **attributes}
    files = {name: value for name, value in given.items() if value is not None and name != unreadable}
    files.update({f"{unreadable}/": ""} if unreadable else {})
    _make_port(host, number, f"devices/pci0000:04/0000:04:00.0/host{number}", files)


def make_vhba(host: Host, number: int = 8, parent: int = 3, wwnn: str = WWNN, wwpn: str = WWPN) -> None:
    """The files of a vHBA on an HBA."""
    vport = f"vport-{parent}:0-0"
    folder = f"devices/pci0000:04/0000:04:00.0/host{parent}/{vport}"
    files = {"node_name": f"0x{wwnn}", "port_name": f"0x{wwpn}", "port_state": "Online", "port_type": "NPIV VPORT"}
    _make_port(host, number, f"{folder}/host{number}", files)
    host.attributes(f"{folder}/fc_vports/{vport}", {"vport_state": "Active"})
    host.link(f"class/fc_vports/{vport}", f"{folder}/fc_vports/{vport}")


def _make_port(host: Host, number: int, path: str, files: dict[str, str]) -> None:
    folder = f"{path}/fc_host/host{number}"
    host.attributes(folder, files)
    host.link(f"{folder}/device", path)
    host.link(f"{FC}/host{number}", folder)
