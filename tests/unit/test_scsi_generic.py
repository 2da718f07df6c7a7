# SPDX-License-Identifier: GPL-3.0-or-later
"""What a SCSI device's generic node says of itself."""

from __future__ import annotations

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import Dropped
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt.capabilities import scsi
from devices import Host


@pytest.mark.parametrize(
    ("uevent", "node"),
    [
        ({"MAJOR": "21", "MINOR": "1", "DEVNAME": "sg1"}, "/dev/sg1"),
        ({"MAJOR": "21", "MINOR": "1", "DEVNAME": "odd<&/sg1"}, "/dev/odd<&/sg1"),
        ({"DEVNAME": "sg1"}, "/dev/sg1"),
    ],
)
def test_its_node(host: Host, uevent: dict[str, str], node: str) -> None:
    said = scsi.generic(host.make_device("scsi_generic", "sg1", {}, uevent))
    assert said == {"type": "scsi_generic", "char": node}


def test_without_a_node_it_is_dropped(host: Host) -> None:
    with pytest.raises(Dropped, match="no node"):
        scsi.generic(host.make_device("scsi_generic", "sg1", {}, {"MAJOR": "21", "MINOR": "1"}))
