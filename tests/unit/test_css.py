# SPDX-License-Identifier: GPL-3.0-or-later
"""What a subchannel of an s390x host says of itself."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import Dropped
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt.capabilities import ccw
from devices import Host

OWN = {"type": "css", "cssid": "0x0", "ssid": "0x0", "devno": "0x0013"}
BEHIND = {"channel_dev_addr": {"cssid": "0x0", "ssid": "0x1", "devno": "0x0816"}}
TYPE = "mdev_supported_types/vfio_ccw-io"
OFFER = {f"{TYPE}/name": "I/O subchannel", f"{TYPE}/device_api": "vfio-ccw", f"{TYPE}/available_instances": "1"}
OFFERED = {
    "type": "mdev_types",
    "types": [{"id": "vfio_ccw-io", "name": "I/O subchannel", "deviceAPI": "vfio-ccw", "availableInstances": 1}],
}


@pytest.mark.parametrize(
    ("driver", "attributes", "more"),
    [
        ("io_subchannel", {}, {}),
        ("io_subchannel", {"dev_busid": "0.1.0816"}, BEHIND),
        ("vfio_ccw", {"dev_busid": "none"}, {}),
        ("vfio_ccw", {"dev_busid": "no address"}, {}),
        ("vfio_ccw", {"dev_busid": "0.1.0816", **OFFER}, {**BEHIND, "capability": [OFFERED]}),
    ],
)
def test_a_subchannel(host: Host, driver: str, attributes: dict[str, str], more: dict[str, Any]) -> None:
    said = ccw.subchannel(host.make_device("css", "0.0.0013", attributes, {"DRIVER": driver}))
    assert list(said.items()) == list({**OWN, **more}.items())


@pytest.mark.parametrize(
    ("name", "uevent", "reason"),
    [
        ("0.0.0013", {}, "its driver is none, not io_subchannel or vfio_ccw"),
        ("0.0.0013", {"DRIVER": "chsc_subchannel"}, "its driver is chsc_subchannel"),
        ("0.0", {"DRIVER": "vfio_ccw"}, "is no address of a channel subsystem"),
        ("defunct", {"DRIVER": "vfio_ccw"}, "is no address of a channel subsystem"),
    ],
)
def test_what_libvirt_does_not_list(host: Host, name: str, uevent: dict[str, str], reason: str) -> None:
    with pytest.raises(Dropped, match=reason):
        ccw.subchannel(host.make_device("css", name, {}, uevent))
