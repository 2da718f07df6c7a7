# SPDX-License-Identifier: GPL-3.0-or-later
"""What the machine says of itself, and the small kinds of s390x."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import Dropped
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt.capabilities import ap, ccw, system
from devices import Host

UUID = "4c4c4544-0031-3010-8052-b4c04f4b3132"
TYPE = {"mdev_supported_types/t/device_api": "vfio-ap", "mdev_supported_types/t/available_instances": "3"}
TYPES = [{"type": "mdev_types", "types": [{"id": "t", "deviceAPI": "vfio-ap", "availableInstances": 3}]}]


@pytest.mark.parametrize(
    ("text", "uuid"),
    [
        (UUID, UUID),
        (UUID.upper(), UUID),
        (f"{UUID}-and more", UUID),
        (UUID.replace("-", " "), UUID),
        (f" {UUID}", system.NO_UUID),
        (None, system.NO_UUID),
        ("Not Settable", system.NO_UUID),
        # Not much of a UUID, but libvirt's.
        ("03030303-0303-0303-0303-030303030303", "03030303-0303-0303-0303-030303030303"),
    ],
)
def test_uuid(host: Host, text: str | None, uuid: str) -> None:
    device = host.make_device("dmi", "id", {} if text is None else {"product_uuid": text})
    assert system.read(device) == {"type": "system", "hardware": {"uuid": uuid}, "firmware": {}}


def test_system(host: Host) -> None:
    known = {"product_name": "Model", "sys_vendor": "A", "product_version": "1 ", "product_serial": "S"}
    device = host.make_device(
        "dmi", "id", {**known, "bios_vendor": "B", "bios_version": "2", "bios_date": "01/02/2020"}
    )
    said = system.read(device)
    assert said == {
        "type": "system",
        "product": "Model",
        "hardware": {"vendor": "A", "version": "1 ", "serial": "S", "uuid": system.NO_UUID},
        "firmware": {"vendor": "B", "version": "2", "release_date": "01/02/2020"},
    }
    assert list(said) == ["type", "product", "hardware", "firmware"]
    assert system.name(device, said) == "computer"


@pytest.mark.parametrize(
    ("sysname", "attributes", "more"),
    [
        ("0.0.0012", {}, {}),
        ("0.0.0012", {"dev_busid": "none"}, {}),
        ("0.0.0012", {"dev_busid": "elsewhere"}, {}),
        (
            "0.0.0012",
            {"dev_busid": "0.1.0815"},
            {"channel_dev_addr": {"cssid": "0x0", "ssid": "0x1", "devno": "0x0815"}},
        ),
        ("0.0.0012", TYPE, {"capability": TYPES}),
    ],
)
@pytest.mark.parametrize("driver", ["io_subchannel", "vfio_ccw"])
def test_css(host: Host, driver: str, sysname: str, attributes: dict[str, str], more: dict[str, Any]) -> None:
    said = ccw.subchannel(host.make_device("css", sysname, attributes, {"DRIVER": driver}))
    assert said == {"type": "css", "cssid": "0x0", "ssid": "0x0", "devno": "0x0012", **more}


@pytest.mark.parametrize(
    ("sysname", "uevent", "reason"),
    [
        ("0.0.0012", {}, "its driver is none"),
        ("0.0.0012", {"DRIVER": "chsc_subchannel"}, "its driver is chsc_subchannel"),
        ("defunct", {"DRIVER": "io_subchannel"}, "no address"),
    ],
)
def test_css_that_is_not_listed(host: Host, sysname: str, uevent: dict[str, str], reason: str) -> None:
    with pytest.raises(Dropped, match=reason):
        ccw.subchannel(host.make_device("css", sysname, uevent=uevent))


@pytest.mark.parametrize(("sysname", "adapter"), [("card0a", "0x0a"), ("card00", "0x00"), ("cardff", "0xff")])
def test_ap_card(host: Host, sysname: str, adapter: str) -> None:
    assert ap.card(host.make_device("ap", sysname)) == {"type": "ap_card", "ap-adapter": adapter}


@pytest.mark.parametrize(
    ("sysname", "adapter", "domain"), [("0a.0003", "0x0a", "0x0003"), ("ff.00ff", "0xff", "0x00ff")]
)
def test_ap_queue(host: Host, sysname: str, adapter: str, domain: str) -> None:
    said = ap.queue(host.make_device("ap", sysname))
    assert said == {"type": "ap_queue", "ap-adapter": adapter, "ap-domain": domain}


@pytest.mark.parametrize(
    ("kind", "sysname"),
    [(ap.card, "card"), (ap.card, "cardzz"), (ap.queue, "0a"), (ap.queue, "0a.0b.0c"), (ap.queue, "0a.zz")],
)
def test_ap_names_that_are_none(host: Host, kind: Any, sysname: str) -> None:
    with pytest.raises(Dropped, match="its name"):
        kind(host.make_device("ap", sysname))


@pytest.mark.parametrize(("attributes", "more"), [({}, {}), (TYPE, {"capability": TYPES})])
def test_ap_matrix(host: Host, attributes: dict[str, str], more: dict[str, Any]) -> None:
    assert ap.matrix(host.make_device("matrix", "matrix", attributes)) == {"type": "ap_matrix", **more}
