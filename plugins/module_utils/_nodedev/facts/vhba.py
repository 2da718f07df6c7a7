# SPDX-License-Identifier: GPL-3.0-or-later
"""The answer of vhba_facts: this host's HBAs and the vHBAs on them."""

from __future__ import annotations

from functools import partial
from typing import Any

from ..host import fc_port, lun
from ..host.fc_port import Port
from ..host.oddities import Oddities
from ..kinds.vhba import definition as vhba_definition
from ..kinds.vhba.parent import host_name, why_not, with_npiv
from ..kinds.vhba.port import of_port


def facts(parent: str | None = None) -> dict[str, Any]:
    """HBAs and vHBAs by libvirt's names; with ``parent`` that HBA and its vHBAs alone. And warnings.

    ``hint`` is what is there on a host without any.
    """
    oddities = Oddities()
    every = oddities.attempt(fc_port.ports) or []
    if parent is not None:
        parent = host_name(parent) or parent
        if parent not in {port.name for port in every if port.vport is None}:
            oddities.add(f"parent: no HBA is called {parent}; the HBAs with NPIV are: {with_npiv(every)}")
    hint = {} if every else {"hint": [fc_port.NO_HBA, *fc_port.why_none()]}
    ports = [port for port in every if parent in (None, port.name, f"scsi_host{port.parent}")]
    definitions, damaged = oddities.attempt(vhba_definition.DOCUMENTS.all) or ([], [])
    defined = {(definition.wwnn, definition.wwpn) for definition in definitions}
    for oddity in (*(text for port in ports for text in port.oddities), *damaged):
        oddities.add(oddity)
    hbas = {port.name: _hba(port, ports, oddities) for port in ports if port.vport is None}
    vhbas = {
        port.name: {
            **_said(port, oddities),
            **_names_of_parent(port, ports),
            "persistent": (port.wwnn, port.wwpn) in defined,
        }
        for port in ports
        if port.vport is not None
    }
    return {"ansible_facts": {"vhba": {"hbas": hbas, "vhbas": vhbas}}, **hint, "warnings": oddities.warnings}


def _hba(port: Port, ports: list[Port], oddities: Oddities) -> dict[str, Any]:
    facts = _said(port, oddities)
    for key in ("vport", "vport_state", "parent", "parent_addr"):
        del facts[key]
    return {
        **facts,
        "npiv": port.vport_folder is not None,
        "max_vports": port.most,
        "vports": port.used,
        "free_vports": port.free,
        "hindrance": why_not(port, require_online=True),
        "vhbas": [each.name for each in ports if each.parent == port.host],
    }


def _names_of_parent(port: Port, ports: list[Port]) -> dict[str, str | None]:
    hba = next((each for each in ports if each.host == port.parent), None)
    return {"parent_wwnn": hba.wwnn if hba else None, "parent_wwpn": hba.wwpn if hba else None}


def _said(port: Port, oddities: Oddities) -> dict[str, Any]:
    """What there is to say of a port; what it sees is left out where that cannot be read."""
    parent = None if port.parent is None else f"scsi_host{port.parent}"
    luns = tuple(lun.readable(port.host, oddities))
    facts = oddities.attempt(partial(of_port, port, luns))
    names = {"host": port.host, "name": port.name, "vport": port.vport}
    names.update({"fabric_wwn": port.fabric_wwn, "port_state": port.port_state})
    own = {"wwnn": port.wwnn, "wwpn": port.wwpn, "port_type": port.port_type, "parent": parent}
    own["parent_addr"] = None if port.parent is None else f"host{port.parent}"
    return {**own, **(facts if facts is not None else {**of_port(None, luns), **names})}
