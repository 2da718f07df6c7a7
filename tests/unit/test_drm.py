# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node of a graphics card says of itself."""

from __future__ import annotations

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import Dropped
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt.capabilities import drm
from devices import Host


@pytest.mark.parametrize(
    ("minor", "kind"),
    [
        *[("0", "primary"), ("63", "primary"), ("64", "control"), ("127", "control")],
        *[("128", "render"), ("191", "render")],
    ],
)
def test_its_type(host: Host, minor: str, kind: str) -> None:
    device = host.make_device("drm", "card0", {}, {"MAJOR": "226", "MINOR": minor, "DEVTYPE": "drm_minor"})
    assert list(drm.read(device).items()) == [("type", "drm"), ("drm_type", kind)]


@pytest.mark.parametrize(
    ("uevent", "reason"),
    [
        ({"MAJOR": "226", "MINOR": "192"}, "minor 192"),
        ({"MAJOR": "226", "MINOR": "-1"}, "minor -1"),
        ({"MAJOR": "226", "MINOR": "0x80"}, "MINOR is '0x80'"),
        ({"MAJOR": "226", "MINOR": ""}, "MINOR is ''"),
        ({}, "no node"),
    ],
)
def test_dropped(host: Host, uevent: dict[str, str], reason: str) -> None:
    with pytest.raises(Dropped, match=reason):
        drm.read(host.make_device("drm", "card0", {}, uevent))
