# SPDX-License-Identifier: GPL-3.0-or-later
"""The ports of Fibre Channel as sysfs shows them, on files of a test's own."""

from __future__ import annotations

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import fc_port
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.fc_port import RemotePort
from devices import Host
from fibre import FABRIC, WWNN, WWPN, hba, make_hba, make_vhba, vhba


def test_an_hba_and_a_vhba(fibre: Host) -> None:
    make_hba(fibre)
    make_vhba(fibre)
    folder = f"{fibre.sys}/devices/pci0000:04/0000:04:00.0/host3"
    assert fc_port.ports() == [
        hba(3, path=folder, vport_folder=f"{fibre.sys}/class/fc_host/host3", used=1),
        vhba(8, path=f"{folder}/vport-3:0-0/host8", fabric_wwn=None),
    ]


def test_ports_by_number(fibre: Host) -> None:
    for number in (10, 9, 2):
        make_hba(fibre, number)
    fibre.attributes("class/fc_host/hostile", {})
    assert [port.name for port in fc_port.ports()] == ["scsi_host2", "scsi_host9", "scsi_host10"]


def test_no_fibre_channel(fibre: Host) -> None:
    fibre.attributes("class/scsi_host/host0", {})
    assert fc_port.ports() == []
    assert fc_port.read(0) is None
    assert (fc_port.is_scsi_host(0), fc_port.is_scsi_host(1)) == (True, False)


@pytest.mark.parametrize("missing", ["node_name", "port_name"])
def test_what_has_no_names_is_no_port(fibre: Host, missing: str) -> None:
    make_hba(fibre, 3, **{missing: None})
    make_hba(fibre, 4, unreadable=missing)
    make_hba(fibre, 5)
    assert [port.name for port in fc_port.ports()] == ["scsi_host5"]


def test_a_port_that_vanishes_is_none(fibre: Host) -> None:
    fibre.attributes("class/fc_host", {})
    (fibre.sys / "class/fc_host/host3").symlink_to("../../devices/gone")
    assert fc_port.ports() == []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("0x10000090FA1234AA", "10000090fa1234aa"),
        ("0x10000090fa1234aa ", "10000090fa1234aa"),
        ("10000090fa1234aa", "10000090fa1234aa"),
    ],
)
def test_names_are_without_0x_and_in_lower_case(fibre: Host, text: str, name: str) -> None:
    make_hba(fibre, port_name=text, node_name=text)
    (port,) = fc_port.ports()
    assert (port.wwpn, port.wwnn) == (name, name)


@pytest.mark.parametrize(
    ("text", "fabric"),
    [
        (f"0x{FABRIC.upper()}", FABRIC),
        ("0x0", None),
        ("0x0000000000000000", None),
        ("0xffffffffffffffff", None),
        ("", None),
        (None, None),
    ],
)
def test_the_fabric(fibre: Host, text: str | None, fabric: str | None) -> None:
    make_hba(fibre, fabric_name=text)
    assert [port.fabric_wwn for port in fc_port.ports()] == [fabric]


@pytest.mark.parametrize(
    ("most", "used", "expected"),
    [
        ("255", "3", (255, 3, 252)),
        ("4", "4", (4, 4, 0)),
        ("4", "5", (4, 5, 0)),
        ("many", None, (0, 0, 0)),
        (None, "1", (0, 1, 0)),
    ],
)
def test_vports(fibre: Host, most: str | None, used: str | None, expected: tuple[int, int, int]) -> None:
    make_hba(fibre, max_npiv_vports=most, npiv_vports_inuse=used)
    (port,) = fc_port.ports()
    assert (port.most, port.used, port.free) == expected


@pytest.mark.parametrize(
    ("in_port", "in_scsi", "expected"),
    [(True, False, "fc_host"), (False, True, "scsi_host"), (True, True, "fc_host"), (False, False, None)],
)
def test_where_vports_are_made(fibre: Host, in_port: bool, in_scsi: bool, expected: str | None) -> None:
    make_hba(fibre, vport_create="" if in_port else None)
    fibre.attributes("class/scsi_host/host3", {"vport_create": ""} if in_scsi else {})
    folder = None if expected is None else f"{fibre.sys}/class/{expected}/host3"
    assert [port.vport_folder for port in fc_port.ports()] == [folder]


@pytest.mark.parametrize(
    "attribute", ["fabric_name", "port_state", "port_type", "max_npiv_vports", "npiv_vports_inuse"]
)
def test_what_cannot_be_read_is_not_known_and_hides_no_port(fibre: Host, attribute: str) -> None:
    make_hba(fibre, 3, unreadable=attribute)
    make_hba(fibre, 4)
    broken, whole = fc_port.ports()
    values = {
        "fabric_name": broken.fabric_wwn,
        "port_state": broken.port_state,
        "port_type": broken.port_type,
        "max_npiv_vports": broken.most or None,
        "npiv_vports_inuse": broken.used or None,
    }
    assert [name for name, value in values.items() if value is None] == [attribute]
    assert whole.name == "scsi_host4"


def test_a_vports_state_is_read_anew(fibre: Host) -> None:
    make_hba(fibre)
    make_vhba(fibre)
    parent, port = fc_port.ports()
    assert (parent.vport_state, port.vport_state) == (None, "Active")
    fibre.attributes("class/fc_vports/vport-3:0-0", {"vport_state": "Linkdown"})
    assert port.vport_state == "Linkdown"
    (fibre.sys / "class/fc_vports/vport-3:0-0/vport_state").unlink()
    assert port.vport_state is None


def test_a_vport_below_a_deeper_hba(fibre: Host) -> None:
    folder = "devices/virtual/fcoe/ctlr_0/host2/vport-2:0-1/host11"
    attributes = {"node_name": f"0x{WWNN}", "port_name": f"0x{WWPN}"}
    fibre.attributes(f"{folder}/fc_host/host11", attributes)
    fibre.link(f"{folder}/fc_host/host11/device", folder)
    fibre.link("class/fc_host/host11", f"{folder}/fc_host/host11")
    (port,) = fc_port.ports()
    assert (port.vport, port.parent) == ("vport-2:0-1", 2)


def test_targets(fibre: Host) -> None:
    for rport, roles, state in (
        ("rport-8:0-1", "FCP Target", "Online"),
        ("rport-8:0-0", "FCP Initiator, FCP Target", "Blocked"),
        ("rport-8:0-2", "FCP Initiator", "Online"),
        ("rport-8:0-3", "Fabric Port Server", "Online"),
        ("rport-8:0-4", "unknown", "Not Present"),
        ("rport-80:0-0", "FCP Target", "Online"),
        ("rport-3:0-8", "FCP Target", "Online"),
    ):
        values = {"port_name": f"0x50060160{rport[-1] * 8}", "roles": roles, "port_state": state}
        fibre.attributes(f"class/fc_remote_ports/{rport}", values)
    fibre.attributes("class/fc_remote_ports/rport-8:0-5", {"roles": "FCP Target"})
    assert fc_port.targets(8) == [
        RemotePort("rport-8:0-0", "5006016000000000", "Blocked"),
        RemotePort("rport-8:0-1", "5006016011111111", "Online"),
    ]
    assert fc_port.targets(4) == []
