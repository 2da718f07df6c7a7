# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is to say of a Fibre Channel port of this host, the same wherever it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ...host import fc_port
from ...host.fc_port import Port
from ...host.lun import Lun


def of_port(port: Port | None, luns: tuple[Lun, ...]) -> dict[str, Any]:
    """What there is to say of a port that is there, all of it None or empty where it is not."""
    targets = fc_port.targets(port.host) if port else []
    return {
        "host": port.host if port else None,
        "name": port.name if port else None,
        "fabric_wwn": port.fabric_wwn if port else None,
        "port_state": port.port_state if port else None,
        "vport": port.vport if port else None,
        "vport_state": port.vport_state if port else None,
        "targets": [{"rport": each.rport, "wwpn": each.wwpn, "state": each.state} for each in targets],
        "luns": of_luns(luns),
    }


def of_luns(luns: Sequence[Lun]) -> list[dict[str, Any]]:
    return [
        {
            "address": unit.address,
            "block": unit.block,
            "generic": unit.generic,
            "size": unit.size,
            "by_path": unit.by_path,
            "by_id": unit.by_id,
            "multipath": None if unit.multipath is None else asdict(unit.multipath),
        }
        for unit in luns
    ]
