# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of vHBAs share."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from conftest import Host
from simhost.testing import PORTS, VPORTS, names, values

# The WWPN of each HBA of the scenario fc, by host number.
HBAS = {
    3: "10000090fa1234a0",
    4: "10000090fa1234a1",
    5: "10000090fa1234b0",
    6: "10000090fa1234b1",
    7: "10000000c9000001",
}
WWNN, WWPN = "5001a4a1000000a1", "5001a4a0000000a1"
DEFINITION = f"/etc/nodedev.d/vhba/{WWPN}.json"
CREATE = f"create vHBA {WWPN} (WWNN {WWNN}) on scsi_host3 (WWPN {HBAS[3]})"
DEFINE = f"define vHBA {WWPN} (WWNN {WWNN}) on the HBA with WWPN {HBAS[3]}"
UNDEFINE = f"undefine vHBA {WWPN}"
DELETE = f"delete vHBA {WWPN} (WWNN {WWNN}) from scsi_host3 (WWPN {HBAS[3]})"


def vports(host: Host) -> list[str]:
    """Each vport with its HBA, its WWPN's last two digits and its state."""
    found = []
    for vport in names(host, VPORTS):
        name, state = values(host, f"{VPORTS}/{vport}", "port_name", "vport_state")
        found.append(f"host{vport[6:].split(':')[0]} {name[-2:]} {state}")
    return sorted(found)


def kept(host: Host) -> list[str]:
    """The last two digits of the WWPN of each definition."""
    return [name[14:16] for name in names(host, "/etc/nodedev.d/vhba")]


def document(host: Host, path: str = DEFINITION) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(host.read(path))
    return found


def disks(host: Host) -> list[str]:
    return [name for name in names(host, "/sys/block") if name not in ("sda", "sdh")]


def made_by_hand(host: Host, end: str, hba: int = 3) -> None:
    host.write(f"{PORTS}/host{hba}/vport_create", f"5001a4a0000000{end}:5001a4a1000000{end}")


@contextlib.contextmanager
def no_write(host: Host) -> Iterator[None]:
    """Nothing is written to any file for vports, not even what the HBA then refuses."""
    host.fault("vport_*", op="write", errno="EIO", nth=1000)
    before = sum(fault["seen"] for fault in host.faults())
    yield
    assert sum(fault["seen"] for fault in host.faults()) == before
