# SPDX-License-Identifier: GPL-3.0-or-later
"""What users need to know of a Fibre Channel port beside libvirt's words: states, room, and what it sees."""

from __future__ import annotations

from functools import partial
from typing import Any

from ...grammar import WWN
from ...host import fc_port, lun
from ...host.fc_port import Port
from ...host.oddities import Oddities
from ...host.udev import Device
from . import definition
from .parent import why_not
from .port import of_port

# What libvirt's words leave out of what the vhba modules tell of a port.
OF_BOTH = ("port_state", "targets", "luns")
OF_VHBA = ("vport", "vport_state")


def extras(device: Device, capability: dict[str, Any], oddities: Oddities) -> dict[str, Any]:
    """Of an HBA or a vHBA what vhba_facts says of it and libvirt does not, of a vHBA its definition; of others nothing.

    A definition that is damaged is told in ``oddities``. Raises SysfsError for what is there and cannot be read.
    """
    port = fc_port.of_capability(device.path, capability)
    if port is None:
        return {}
    facts = of_port(port, tuple(lun.readable(port.host, oddities)))
    extra = {"port_type": port.port_type, **{key: facts[key] for key in OF_BOTH}}
    if port.vport is not None:
        return {**extra, **{key: facts[key] for key in OF_VHBA}, **_definition(port, oddities)}
    hindrance = why_not(port, require_online=True)
    return {**extra, "free_vports": port.free, "vhbas": fc_port.vhbas(port.path), "hindrance": hindrance}


def _definition(port: Port, oddities: Oddities) -> dict[str, Any]:
    # A driver may give a port any text for a name, and this becomes part of a path.
    if not WWN.fullmatch(port.wwpn):
        return {}
    found = oddities.attempt(partial(definition.DOCUMENTS.find, port.wwpn))
    if found is None or found.wwnn != port.wwnn:
        return {}
    return {"definition": {"parent_wwpn": found.parent_wwpn, "require_online": found.require_online}}
