# SPDX-License-Identifier: GPL-3.0-or-later
"""What a SCSI target says of itself."""

from __future__ import annotations

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt.capabilities import scsi
from devices import Host

RPORT = "class/fc_remote_ports/rport-3:0-0"
TARGET = {"type": "scsi_target", "target": "target3:0:0"}


@pytest.mark.parametrize(
    ("port_name", "text"),
    [
        ("0x5006016144602198", "0x5006016144602198"),
        (b"0x5006016144602198", "0x5006016144602198"),
        (" odd <&> \n", " odd <&> \n"),
        ("", ""),
    ],
)
def test_behind_a_remote_port(host: Host, port_name: str | bytes, text: str) -> None:
    host.attributes(RPORT, {"port_name": port_name})
    device = host.make_device("scsi", "target3:0:0", below="pci0000:00/host3/rport-3:0-0")
    said = scsi.target(device)
    assert said == {**TARGET, "capability": [{"type": "fc_remote_port", "rport": "rport-3:0-0", "wwpn": text}]}
    assert list(said["capability"][0]) == ["type", "rport", "wwpn"]


@pytest.mark.parametrize(
    ("below", "attributes"),
    [
        ("pci0000:00/host3", {"port_name": "0x50"}),
        ("pci0000:00/host3/rport-3:0-1", {"port_name": "0x50"}),
        ("pci0000:00/host3/rport-3:0-0", {}),
        ("pci0000:00/host3/rport-3:0-0", {"port_name/": ""}),
    ],
    ids=["no remote port", "another remote port", "no name", "unreadable name"],
)
def test_without_a_remote_port(host: Host, below: str, attributes: dict[str, str]) -> None:
    host.attributes(RPORT, attributes)
    assert scsi.target(host.make_device("scsi", "target3:0:0", below=below)) == TARGET
