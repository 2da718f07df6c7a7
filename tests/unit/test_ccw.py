# SPDX-License-Identifier: GPL-3.0-or-later
"""What a channel-attached device of an s390x host says of itself."""

from __future__ import annotations

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import Dropped
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt.capabilities import ccw
from devices import Host

ADDRESS = [("cssid", "0x0"), ("ssid", "0x0"), ("devno", "0x0815")]


@pytest.mark.parametrize(
    ("attributes", "state"),
    [
        ({"online": "1"}, [("state", "online")]),
        ({"online": "0"}, [("state", "offline")]),
        ({"online": "0x1"}, [("state", "online")]),
        ({}, [("state", "offline")]),
        ({"online": "2"}, []),
    ],
)
def test_its_state(host: Host, attributes: dict[str, str], state: list[tuple[str, str]]) -> None:
    said = ccw.device(host.make_device("ccw", "0.0.0815", attributes))
    assert list(said.items()) == [("type", "ccw"), *state, *ADDRESS]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("0.0.0815", ("0x0", "0x0", "0x0815")),
        ("fe.3.ffff", ("0xfe", "0x3", "0xffff")),
        ("A.0.1", ("0xa", "0x0", "0x0001")),
        ("0.0.12345", ("0x0", "0x0", "0x12345")),
    ],
)
def test_an_address(name: str, parts: tuple[str, ...]) -> None:
    assert ccw.address(name) == dict(zip(("cssid", "ssid", "devno"), parts))


@pytest.mark.parametrize("name", ["0.0", "0.0.", "0.0.0815.1", "0.0.g815", "css0", "", "none", "0..1", "0.0.fffffffff"])
def test_no_address(host: Host, name: str) -> None:
    assert ccw.address(name) is None
    with pytest.raises(Dropped, match="no CCW address"):
        ccw.device(host.make_device("ccw", name or "-", {"online": "1"}))


@pytest.mark.parametrize("online", ["", "-1", "yes", "1 ", "08"])
def test_a_damaged_state_drops(host: Host, online: str) -> None:
    with pytest.raises(Dropped, match="online is"):
        ccw.device(host.make_device("ccw", "0.0.0815", {"online": online}))


def test_its_group(host: Host) -> None:
    links = {"group_device": "devices/qeth/0.0.f500"}
    said = ccw.device(host.make_device("ccw", "0.0.f501", {"online": "1"}, links=links))
    assert list(said)[-1] == "capability"
    assert said["capability"] == [{"type": "ccwgroup_member", "group_device": "ccwgroup_0_0_f500"}]


def test_a_group_that_is_gone(host: Host) -> None:
    device = host.make_device("ccw", "0.0.0815", {"online": "1"})
    host.dangling_link(device, "group_device")
    assert "capability" not in ccw.device(device)


def test_a_group_that_is_no_link(host: Host) -> None:
    assert "capability" not in ccw.device(host.make_device("ccw", "0.0.0815", {"online": "1", "group_device": "x"}))
