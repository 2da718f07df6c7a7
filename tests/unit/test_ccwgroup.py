# SPDX-License-Identifier: GPL-3.0-or-later
"""What a group of CCW devices says of itself."""

from __future__ import annotations

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import Dropped
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import sysfs, udev
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt.capabilities import ccw
from devices import Host

MEMBERS = {f"cdev{number}": f"devices/css0/0.0.000{number}/0.0.f50{number}" for number in range(3)}
CARD = {"card_type": "OSD_10GIG", "chpid": "1B"}


def make_group(
    host: Host, attributes: dict[str, str], kind: str = "qeth_layer2", links: dict[str, str] | None = None
) -> udev.Device:
    links = MEMBERS if links is None else links
    return host.make_device("ccwgroup", "0.0.f500", attributes, {"DEVTYPE": kind}, links)


def test_a_group(host: Host) -> None:
    device = make_group(host, {**CARD, "online": "1"})
    members = [entry for entry in sysfs.entries(device.path) if entry in MEMBERS]
    expected = {
        "type": "ccwgroup",
        "state": "online",
        "cssid": "0x0",
        "ssid": "0x0",
        "devno": "0xf500",
        "members": {"ccw_device": [{"ref": ref, "name": f"ccw_0_0_f50{ref[-1]}"} for ref in members]},
        "capability": [{"type": "qeth_layer2", **CARD}],
    }
    said = ccw.group(device)
    assert said == expected
    assert list(said) == list(expected)


@pytest.mark.parametrize("kind", ["qeth_generic", "qeth_layer2", "qeth_layer3"])
@pytest.mark.parametrize(
    ("attributes", "card"),
    [
        ({}, {}),
        ({"card_type": "n/a", "chpid": ""}, {"card_type": "n/a"}),
        ({"card_type": " <&> ", "chpid": "1\x02B"}, {"card_type": " <&> ", "chpid": "1B"}),
    ],
)
def test_its_card(host: Host, kind: str, attributes: dict[str, str], card: dict[str, str]) -> None:
    assert ccw.group(make_group(host, attributes, kind))["capability"] == [{"type": kind, **card}]


def test_only_links_that_lead_somewhere_are_members(host: Host) -> None:
    device = make_group(host, {}, links={"cdev0": MEMBERS["cdev0"], "driver": "bus/ccwgroup/drivers/qeth"})
    host.dangling_link(device, "cdev1")
    assert ccw.group(device)["members"] == {"ccw_device": [{"ref": "cdev0", "name": "ccw_0_0_f500"}]}


def test_a_group_without_members_is_dropped(host: Host) -> None:
    device = make_group(host, CARD, links={})
    host.dangling_link(device, "cdev0")
    with pytest.raises(Dropped, match="no members"):
        ccw.group(device)


def test_only_links_are_members(host: Host) -> None:
    device = make_group(host, {"cdev_count": "1", "cdev1": "0.0.f501"}, links={"cdev0": MEMBERS["cdev0"]})
    assert ccw.group(device)["members"] == {"ccw_device": [{"ref": "cdev0", "name": "ccw_0_0_f500"}]}


@pytest.mark.parametrize(
    ("online", "state"),
    [("0", "offline"), ("1", "online"), ("2", None), ("-1", "offline"), ("x", "offline"), ("", "offline")],
)
def test_its_state(host: Host, online: str, state: str | None) -> None:
    assert ccw.group(make_group(host, {"online": online})).get("state") == state


def test_a_group_without_an_address_is_dropped(host: Host) -> None:
    device = host.make_device("ccwgroup", "group", {}, {"DEVTYPE": "qeth_layer2"}, MEMBERS)
    with pytest.raises(Dropped, match="no CCW address"):
        ccw.group(device)
