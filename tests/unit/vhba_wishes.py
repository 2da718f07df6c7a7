# SPDX-License-Identifier: GPL-3.0-or-later
"""Wishes and observations of one vHBA, for the tests of its plan."""

from __future__ import annotations

from typing import Any

from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.fc_port import Port
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.lun import Lun
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.processes import Holder
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba.definition import Definition
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba.device import Observation, Wish
from fibre import WWNN, WWPN, hba, names, vhba

OTHER = "5001a4a1000000b2"
HBA, HBA4 = names(3)[1], names(4)[1]
DISK = Lun("8:0:0:0", "/sys/devices/x/8:0:0:0", "/dev/sdb", "/dev/sg2", 1 << 30, None)
MOUNT = Holder("/dev/sdb", "/srv", "mounted on")
OFFLINE = hba(5, port_state="Linkdown", fabric_wwn=None)


def wished(**options: Any) -> Wish:
    return Wish.checked(**{"wwnn": WWNN, "wwpn": WWPN, **options})


def defined(parent: int = 3, **more: Any) -> Definition:
    return Definition(**{"wwpn": WWPN, "wwnn": WWNN, "parent_wwpn": names(parent)[1], **more})


def observed(*ports: Port, definition: Definition | None = None, **more: Any) -> Observation:
    """A host with these ports, of which the one with the names is the vHBA; with two HBAs unless any are given."""
    known: dict[str, Any] = {
        "wwnn": WWNN,
        "wwpn": WWPN,
        "ports": ports or (hba(3), hba(4, used=1)),
        "active": next((port for port in ports if port.vport and (port.wwnn, port.wwpn) == (WWNN, WWPN)), None),
        "definition": definition,
        "damaged": None,
        "luns": (),
        "uses": (),
        "scsi_hosts": {},
    }
    return Observation(**{**known, **more})


def there(definition: Definition | None = None, **more: Any) -> Observation:
    """The vHBA is on host3."""
    return observed(hba(3, used=1), hba(4), vhba(), definition=definition, **more)
