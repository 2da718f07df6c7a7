# SPDX-License-Identifier: GPL-3.0-or-later
"""What a SCSI host, and the Fibre Channel port that it may be, says of itself."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import Dropped
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt.capabilities import fc_host, scsi
from devices import Host

FC = "class/fc_host/host3"
SCSI = "class/scsi_host/host3"
NAMES = {"node_name": "0x20000090fa1234aa", "port_name": "0x10000090fa1234aa"}
FABRIC = {"fabric_name": "0x2000000533abcdef"}
PORTS = {"max_npiv_vports": "255", "npiv_vports_inuse": "1"}
HBA = {"type": "fc_host", "wwnn": "20000090fa1234aa", "wwpn": "10000090fa1234aa"}
VPORTS = {"type": "vport_ops", "max_vports": 255, "vports": 1}


@pytest.mark.parametrize(("name", "number"), [("host0", 0), ("host12", 12), ("host4294967295", 4294967295)])
def test_its_number(host: Host, name: str, number: int) -> None:
    assert scsi.host(host.make_device("scsi", name)) == {"type": "scsi_host", "host": number}


@pytest.mark.parametrize("name", ["host", "hostx", "3", "host3x", "ahost3", "host4294967296", "host3 "])
def test_a_name_without_a_number_drops(host: Host, name: str) -> None:
    with pytest.raises(Dropped, match="is not 'host' and a number"):
        scsi.host(host.make_device("scsi", name))


@pytest.mark.parametrize(
    ("attributes", "unique"),
    [
        *[({"unique_id": text}, number) for text, number in (("4", 4), ("0", 0), (" 7", 7), ("1\nx", 1))],
        *[({"unique_id": text}, None) for text in ("-1", "-2", "", "4x", "4294967295", "0x10")],
        ({"unique_id/": ""}, None),
        ({}, None),
    ],
)
def test_its_unique_id(host: Host, attributes: dict[str, str], unique: int | None) -> None:
    host.attributes(SCSI, attributes)
    said = scsi.host(host.make_device("scsi", "host3"))
    assert list(said.items())[1:] == [("host", 3)] + ([] if unique is None else [("unique_id", unique)])


@pytest.mark.parametrize(
    ("fc", "own", "expected"),
    [
        ({**NAMES, **FABRIC}, {}, [{**HBA, "fabric_wwn": "2000000533abcdef"}]),
        (NAMES, {}, [HBA]),
        ({**NAMES, "fabric_name/": ""}, {}, [HBA]),
        ({**NAMES, "fabric_name": ""}, {}, [{**HBA, "fabric_wwn": ""}]),
        ({**NAMES, **PORTS, "vport_create": ""}, {}, [HBA, VPORTS]),
        ({**NAMES, **PORTS}, {"vport_create": ""}, [HBA, VPORTS]),
        ({**NAMES, **PORTS, "port_state": "Linkdown"}, {}, [HBA]),
        ({**NAMES, **PORTS, "max_npiv_vports": "0", "vport_create": ""}, {}, [HBA, {**VPORTS, "max_vports": 0}]),
        ({**NAMES, **PORTS, "max_npiv_vports": "-1", "vport_create": ""}, {}, [HBA, {**VPORTS, "max_vports": -1}]),
        # What cannot be read in full takes all of it away.
        ({"port_name": "0x1"}, {}, []),
        ({"node_name": "0x1"}, {}, []),
        ({"node_name": "0x1", "port_name/": "", **PORTS, "vport_create": ""}, {}, []),
        ({**NAMES, "vport_create": ""}, {}, []),
        ({**NAMES, "vport_create": "", "max_npiv_vports": "255"}, {}, []),
        ({**NAMES, **PORTS, "vport_create": "", "max_npiv_vports": "many"}, {}, []),
        ({**NAMES, **PORTS, "vport_create": "", "npiv_vports_inuse": "1 "}, {}, []),
        ({**NAMES, **PORTS, "vport_create": "", "npiv_vports_inuse": ""}, {}, []),
        ({**NAMES, **PORTS, "vport_create": "", "max_npiv_vports": "4294967295"}, {}, []),
        (None, {"vport_create": ""}, []),
        (None, {}, []),
    ],
)
def test_its_port(host: Host, fc: dict[str, str] | None, own: dict[str, str], expected: list[dict[str, Any]]) -> None:
    if fc is not None:
        host.attributes(FC, fc)
    host.attributes(SCSI, {"unique_id": "4", **own})
    said = scsi.host(host.make_device("scsi", "host3"))
    nested = {"capability": expected} if expected else {}
    assert said == {"type": "scsi_host", "host": 3, "unique_id": 4, **nested}
    assert [list(found) for found in said.get("capability", [])] == [list(found) for found in expected]


@pytest.mark.parametrize(
    ("text", "name"),
    [("0x20", "20"), ("20", "20"), ("x 0x20 0x30", "20 0x30"), ("0x20\n0x30", "20"), ("0X20", "0X20"), ("<&>", "<&>")],
)
def test_a_port_name(host: Host, text: str, name: str) -> None:
    host.attributes(FC, {"port_name": text})
    assert fc_host.value(str(host.sys / FC), "port_name") == name
