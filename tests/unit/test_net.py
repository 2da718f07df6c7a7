# SPDX-License-Identifier: GPL-3.0-or-later
"""What a network interface says of itself."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import Dropped
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import devlink, ethtool, sysfs, udev
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt.capabilities import net
from devices import Host

PCI = "devices/pci0000:00/0000:03:00.1"
UP = {"operstate": "up", "speed": "10000"}


@pytest.fixture(autouse=True)
def offloads(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """What the kernel says is on; a test adds to it."""
    found: set[str] = set()
    monkeypatch.setattr(ethtool, "features", lambda _interface: set(found))
    monkeypatch.setattr(devlink, "is_switchdev", lambda _address: pytest.fail("devlink was asked"))
    return found


def make_net(
    host: Host,
    attributes: dict[str, Any],
    name: str = "eth0",
    uevent: dict[str, str] | None = None,
    record: dict[str, str] | None = None,
) -> udev.Device:
    known = {"INTERFACE": name, "IFINDEX": "2"} if uevent is None else uevent
    device = host.make_device("net", name, attributes, known, record=record, below="pci0000:00/0000:03:00.1/net")
    host.link(f"class/net/{name}", os.path.relpath(device.path, host.sys))
    return device


def test_all_of_an_interface(host: Host, offloads: set[str]) -> None:
    offloads.update(("gro", "sg", "tx", "rx"))
    device = make_net(host, {**UP, "address": "02:fc:00:00:00:01", "addr_len": "6"})
    expected = {
        "type": "net",
        "interface": "eth0",
        "address": "02:fc:00:00:00:01",
        "link": {"speed": 10000, "state": "up"},
        "feature": [{"name": "rx"}, {"name": "tx"}, {"name": "sg"}, {"name": "gro"}],
        "capability": [{"type": "80203"}],
    }
    said = net.read(device)
    assert said == expected
    assert list(said) == list(expected)
    assert net.name(device, said) == "net_eth0_02_fc_00_00_00_01"


@pytest.mark.parametrize("attributes", [UP, {**UP, "address": ""}, {**UP, "address": "\x01"}])
def test_without_an_address(host: Host, attributes: dict[str, str]) -> None:
    device = make_net(host, attributes, "tün0")
    said = net.read(device)
    assert "address" not in said
    assert net.name(device, said) == "net_t__n0"


def test_its_name_has_its_own_subsystem(host: Host) -> None:
    host.attributes("class/net/odd", {"operstate": "down"})
    device = host.make_device("platform", "odd", {}, {"INTERFACE": "odd"})
    assert net.name(device, net.read(device)) == "platform_odd"


@pytest.mark.parametrize(
    ("uevent", "record", "kind"),
    [
        ({"INTERFACE": "wlan0", "IFINDEX": "3", "DEVTYPE": "wlan"}, None, "80211"),
        ({"INTERFACE": "wlan0", "IFINDEX": "3"}, None, "80203"),
        ({"INTERFACE": "wlan0", "IFINDEX": "3"}, {"DEVTYPE": "bridge"}, "80203"),
        ({"IFINDEX": "3", "DEVTYPE": "wlan"}, {"INTERFACE": "wlan0"}, "80211"),
    ],
)
def test_its_kind(host: Host, uevent: dict[str, str], record: dict[str, str] | None, kind: str) -> None:
    assert net.read(make_net(host, UP, "wlan0", uevent, record))["capability"] == [{"type": kind}]


@pytest.mark.parametrize(
    ("attributes", "link"),
    [
        *[
            ({"operstate": state, "speed": "1000"}, {"state": state})
            for state in ("unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant")
        ],
        ({"operstate": "down", "speed": "damaged"}, {"state": "down"}),
        ({"operstate": "down"}, {"state": "down"}),
        ({"operstate": "up", "speed": "1000"}, {"speed": 1000, "state": "up"}),
        ({"operstate": "up", "speed": "-1"}, {"speed": 4294967295, "state": "up"}),
        ({"operstate": "up", "speed": "0"}, {"state": "up"}),
        ({"operstate": "up", "speed": " 10"}, {"speed": 10, "state": "up"}),
        ({"operstate": b"up\nmore", "speed": "10"}, {"speed": 10, "state": "up"}),
    ],
)
def test_its_link(host: Host, attributes: dict[str, Any], link: dict[str, Any]) -> None:
    said = net.read(make_net(host, attributes))["link"]
    assert list(said.items()) == list(link.items())


@pytest.mark.parametrize(("number", "link"), [(errno.EINVAL, {"state": "up"}), (errno.EIO, None), (errno.EACCES, None)])
def test_a_speed_that_cannot_be_read(
    host: Host, monkeypatch: pytest.MonkeyPatch, number: int, link: dict[str, Any] | None
) -> None:
    content = sysfs.content

    def refuse(path: str, size: int = sysfs.PAGE) -> bytes | None:
        if path.endswith("/speed"):
            raise sysfs.SysfsError("reading", path, number)
        return content(path, size)

    device = make_net(host, UP)
    monkeypatch.setattr(sysfs, "content", refuse)
    if link is not None:
        assert net.read(device)["link"] == link
    else:
        with pytest.raises(Dropped, match=r"speed failed with E"):
            net.read(device)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"speed": "1000"}, "no operstate"),
        ({"operstate": b"up", "speed": "1000"}, "operstate is 'up'"),
        ({"operstate": b""}, "operstate is ''"),
        ({"operstate": "sideways"}, "operstate is 'sideways'"),
        ({"operstate": "UP"}, "operstate is 'UP'"),
        ({"operstate": " up"}, "operstate is ' up'"),
        ({"operstate": "up"}, "no speed"),
        ({"operstate": "up", "speed": "fast"}, "speed is 'fast"),
        ({"operstate": "up", "speed": b"1000"}, "speed is '1000'"),
        ({"operstate": "up", "speed": "1000 "}, "speed is '1000 "),
        ({"operstate": "up", "speed": "4294967296"}, "speed is '4294967296"),
        ({"operstate": "up", "speed": ""}, "speed is "),
        ({**UP, "addr_len": "six"}, "addr_len is 'six'"),
        ({**UP, "addr_len": "6 "}, "addr_len is '6 '"),
    ],
)
def test_dropped(host: Host, attributes: dict[str, Any], reason: str) -> None:
    with pytest.raises(Dropped, match=reason):
        net.read(make_net(host, attributes))


def test_without_an_interface_name_it_is_dropped(host: Host) -> None:
    with pytest.raises(Dropped, match="no interface name"):
        net.read(make_net(host, UP, uevent={"DEVTYPE": "wlan"}))


@pytest.mark.parametrize(("name", "fits"), [("0123456789abcde", True), ("0123456789abcdef", False), ("é" * 8, False)])
def test_a_name_that_the_kernel_cannot_have(host: Host, name: str, fits: bool) -> None:
    device = make_net(host, UP, name)
    if fits:
        assert net.read(device)["interface"] == name
    else:
        with pytest.raises(Dropped, match="more than 15 bytes"):
            net.read(device)


@pytest.mark.parametrize(
    ("own", "others", "rdma"),
    [
        (b"0x0 0x1\n", {"mlx5_0": b"0x0 0x1\n"}, True),
        (b"0x0 0x1\n", {"mlx5_0": b"0x2 0x3\n", "mlx5_1": b"0x0 0x1\n"}, True),
        (b"0x0 0x1\n", {"mlx5_0": b"0x0 0x1"}, False),
        (b"0x0 0x1\n", {"mlx5_0": None}, False),
        (b"0x0 0x1\n", {}, False),
        (None, {"mlx5_0": b"0x0 0x1\n"}, False),
        (None, {"mlx5_0": None}, False),
    ],
)
def test_rdma(host: Host, offloads: set[str], own: bytes | None, others: dict[str, bytes | None], rdma: bool) -> None:
    device = make_net(host, {**UP, **({} if own is None else {"device/resource": own})})
    for name, resource in others.items():
        host.attributes(f"class/infiniband/{name}/device", {} if resource is None else {"resource": resource})
    offloads.update(("rxhash", "txudptnl"))
    expected = ["rxhash", "rdma", "txudptnl"] if rdma else ["rxhash", "txudptnl"]
    assert [feature["name"] for feature in net.read(device)["feature"]] == expected


@pytest.mark.parametrize(
    ("subsystem", "physical", "asked"),
    [
        ("pci", None, "0000:03:00.1"),
        ("pci", "0000:03:00.0", "0000:03:00.0"),
        ("pci_express", None, "0000:03:00.1"),
        ("virtio", None, None),
        ("usb", None, None),
        (None, None, None),
    ],
)
@pytest.mark.parametrize("switchdev", [True, False])
def test_switchdev(
    host: Host,
    monkeypatch: pytest.MonkeyPatch,
    offloads: set[str],
    subsystem: str | None,
    physical: str | None,
    asked: str | None,
    switchdev: bool,
) -> None:
    offloads.add("txudptnl")
    questions: list[str] = []

    def note(address: str) -> bool:
        questions.append(address)
        return switchdev

    monkeypatch.setattr(devlink, "is_switchdev", note)
    device = make_net(host, UP)
    host.link(f"{os.path.relpath(device.path, host.sys)}/device", PCI)
    if subsystem is not None:
        host.link(f"{PCI}/subsystem", f"bus/{subsystem}")
    if physical is not None:
        host.link(f"{PCI}/physfn", f"devices/pci0000:00/{physical}")
    expected = ["txudptnl", "switchdev"] if switchdev and asked else ["txudptnl"]
    assert [feature["name"] for feature in net.read(device)["feature"]] == expected
    assert questions == ([] if asked is None else [asked])
