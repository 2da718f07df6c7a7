# SPDX-License-Identifier: GPL-3.0-or-later
"""What an interface of a USB device says of itself."""

from __future__ import annotations

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import Dropped
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt.capabilities import usb
from devices import Host

FILES = ("bInterfaceNumber", "bInterfaceClass", "bInterfaceSubClass", "bInterfaceProtocol")


@pytest.mark.parametrize(
    ("texts", "numbers"),
    [
        (("00", "03", "01", "02"), (0, 3, 1, 2)),
        (("10", "ff", "FF", "0a"), (16, 255, 255, 10)),
        ((" 1", "0x1f", "-1", "+2"), (1, 31, -1, 2)),
        ((None, None, "01", None), (0, 0, 1, 0)),
        ((None, None, None, None), (0, 0, 0, 0)),
    ],
)
def test_an_interface(host: Host, texts: tuple[str | None, ...], numbers: tuple[int, ...]) -> None:
    attributes = {name: text for name, text in zip(FILES, texts) if text is not None}
    said = usb.interface(host.make_device("usb", "1-1:1.0", attributes, {"DEVTYPE": "usb_interface"}))
    assert list(said.items()) == [("type", "usb"), *zip(("number", "class", "subclass", "protocol"), numbers)]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("text", ["", "zz", "1 ", "0x", "1 2", "100000000"])
def test_a_number_that_is_none_drops(host: Host, name: str, text: str) -> None:
    with pytest.raises(Dropped, match=name):
        usb.interface(host.make_device("usb", "1-1:1.0", {name: text}))
