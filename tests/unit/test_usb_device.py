# SPDX-License-Identifier: GPL-3.0-or-later
"""What a USB device says of itself."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import Dropped
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt.capabilities import usb
from devices import Host

UEVENT = {"MAJOR": "189", "MINOR": "1", "DEVTYPE": "usb_device", "BUSNUM": "001", "DEVNUM": "010"}
IDS = {"ID_VENDOR_ID": "046d", "ID_MODEL_ID": "c52b"}
NAMES = {"ID_VENDOR_FROM_DATABASE": "Logitech, Inc.", "ID_MODEL_FROM_DATABASE": "Unifying Receiver"}
NUMBERS = {"type": "usb_device", "bus": 1, "device": 10}


def named(product: dict[str, str], vendor: dict[str, str]) -> dict[str, Any]:
    return {**NUMBERS, "product": {"id": "0xc52b", **product}, "vendor": {"id": "0x046d", **vendor}}


@pytest.mark.parametrize(
    ("record", "attributes", "expected"),
    [
        ({**IDS, **NAMES}, {}, named({"name": "Unifying Receiver"}, {"name": "Logitech, Inc."})),
        ({**IDS, **NAMES}, {"product": "x"}, named({"name": "Unifying Receiver"}, {"name": "Logitech, Inc."})),
        (IDS, {"product": "USB <&> ", "manufacturer": "Gö"}, named({"name": "USB <&> "}, {"name": "Gö"})),
        (IDS, {"product": "a\x01b\x7f", "manufacturer": "\x02"}, named({"name": "ab\x7f"}, {})),
        (IDS, {"product": "", "manufacturer": "Acme"}, named({}, {"name": "Acme"})),
        (IDS, {}, named({}, {})),
        ({**IDS, "ID_VENDOR_FROM_DATABASE": ""}, {"manufacturer": "Acme"}, named({}, {"name": "Acme"})),
    ],
)
def test_a_device(host: Host, record: dict[str, str], attributes: dict[str, str], expected: dict[str, Any]) -> None:
    device = host.make_device("usb", "1-1", attributes, UEVENT, record=record)
    assert usb.device(device) == expected
    assert list(usb.device(device)) == ["type", "bus", "device", "product", "vendor"]


@pytest.mark.parametrize(("key", "text"), [("ID_VENDOR_ID", "1"), ("ID_VENDOR_ID", "0X0001"), ("ID_VENDOR_ID", " +1")])
def test_an_id_is_padded(host: Host, key: str, text: str) -> None:
    device = host.make_device("usb", "usb1", {}, UEVENT, record={**IDS, key: text})
    assert usb.device(device)["vendor"] == {"id": "0x0001"}


@pytest.mark.parametrize("gone", ["BUSNUM", "DEVNUM", "ID_VENDOR_ID", "ID_MODEL_ID"])
def test_a_device_without_a_number_is_dropped(host: Host, gone: str) -> None:
    uevent = {key: value for key, value in UEVENT.items() if key != gone}
    record = {key: value for key, value in IDS.items() if key != gone}
    with pytest.raises(Dropped, match=gone):
        usb.device(host.make_device("usb", "1-1", {}, uevent, record=record))


def test_a_device_that_udev_has_not_seen_is_dropped(host: Host) -> None:
    with pytest.raises(Dropped, match="udev does not know its ID_MODEL_ID"):
        usb.device(host.make_device("usb", "1-1", {}, UEVENT))


@pytest.mark.parametrize(
    ("key", "text"),
    [("BUSNUM", "1a"), ("DEVNUM", ""), ("DEVNUM", "4294967296"), ("ID_VENDOR_ID", "046g"), ("ID_MODEL_ID", "c52b ")],
)
def test_a_number_that_is_none_drops(host: Host, key: str, text: str) -> None:
    uevent = {**UEVENT, **({key: text} if key in UEVENT else {})}
    record = {**IDS, **({key: text} if key in IDS else {})}
    with pytest.raises(Dropped, match=key):
        usb.device(host.make_device("usb", "1-1", {}, uevent, record=record))
