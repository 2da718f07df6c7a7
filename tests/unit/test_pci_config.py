# SPDX-License-Identifier: GPL-3.0-or-later
"""Configuration space of PCI functions: what is read from it, and that no bytes of it do harm."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import Dropped
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt.capabilities import pci_config
from devices import Host
from hypothesis import given
from hypothesis import strategies as st


def space(header: int = 0, chain: dict[int, tuple[int, int]] | None = None, first: int = 0x40, **express: int) -> bytes:
    """A space with capabilities: place to id and next place; those of PCI Express have registers."""
    data = bytearray(256)
    data[0x0E] = header
    if chain:
        data[0x06], data[0x34] = 0x10, first
    for place, (kind, following) in (chain or {}).items():
        data[place : place + 2] = bytes((kind, following))
        if kind == 0x10 and place <= 0xEC:
            data[place + 2 : place + 4] = (express.get("type", 0) << 4 | 2).to_bytes(2, "little")
            able = express.get("port", 0) << 24 | express.get("width", 0) << 4 | express.get("speed", 0)
            data[place + 0x0C : place + 0x10] = able.to_bytes(4, "little")
            now = express.get("now_width", 0) << 4 | express.get("now_speed", 0)
            data[place + 0x12 : place + 0x14] = now.to_bytes(2, "little")
    return bytes(data)


@pytest.mark.parametrize(
    ("header", "bridge"), [(0, []), (0x80, []), (1, ["pci-bridge"]), (0x81, ["pci-bridge"]), (2, ["cardbus-bridge"])]
)
def test_bridges(header: int, bridge: list[str]) -> None:
    assert pci_config.decode(space(header), lambda: 256).bridge == [{"type": name} for name in bridge]


@pytest.mark.parametrize("header", [3, 0x7F, 0xFF])
def test_a_dead_function_drops(header: int) -> None:
    with pytest.raises(Dropped, match="dead or powered off"):
        pci_config.decode(space(header), lambda: 256)


def link(**values: Any) -> dict[str, Any]:
    return {"link": [{"validity": "cap", "port": 0, **values, "width": 0}, {"validity": "sta", **values, "width": 0}]}


@pytest.mark.parametrize(
    ("data", "length", "express"),
    [
        (space(), 256, None),
        (space(), 4096, {}),
        (space(), 64, {}),
        (space(), None, {}),
        (b"", 0, {}),
        (space(chain={0x40: (0x01, 0)}), 256, None),
        (space(chain={0x40: (0x01, 0x50), 0x50: (0x10, 0)}), 256, link()),
        # Its low bits are part of a pointer, as libvirt has it.
        (space(chain={0x41: (0x10, 0)}, first=0x41), 256, link()),
        # A pointer into the header, or of all ones, ends the list.
        (space(chain={0x40: (0x01, 0x3F), 0x3F: (0x10, 0)}), 256, None),
        (space(chain={0x40: (0x01, 0xFF)}), 256, None),
        # A circle.
        (space(chain={0x40: (0x01, 0x50), 0x50: (0x05, 0x40)}), 4096, {}),
        # Up to the last byte, where the registers lie beyond the space.
        (space(chain={0x40: (0x01, 0xFE), 0xFE: (0x10, 0)}), 256, link()),
        (space(chain={0x40: (0x10, 0)}, type=9), 4096, {}),
        (space(chain={0x40: (0x10, 0)}, type=10), 4096, {}),
        (
            space(chain={0x40: (0x10, 0)}, type=4, port=255, speed=4, width=63, now_speed=1, now_width=8),
            4096,
            {
                "link": [
                    {"validity": "cap", "port": 255, "speed": 16, "width": 63},
                    {"validity": "sta", "speed": 2.5, "width": 8},
                ]
            },
        ),
    ],
)
def test_express(data: bytes, length: int | None, express: dict[str, Any] | None) -> None:
    assert pci_config.decode(data, lambda: length).express == express


@pytest.mark.parametrize("code", range(16))
def test_speeds(code: int) -> None:
    speeds = {1: 2.5, 2: 5, 3: 8, 4: 16, 5: 32, 6: 64}
    said = pci_config.decode(space(chain={0x40: (0x10, 0)}, speed=code, now_speed=code), lambda: 256).express
    assert said == (link(speed=speeds[code]) if code in speeds else link())


def test_the_file(host: Host) -> None:
    device = host.make_device("pci", "0000:00:01.0", {"config": bytes(4096)})
    assert pci_config.read(device.path) == pci_config.Config([], {})
    # A folder cannot be read, as configuration space sometimes cannot; libvirt goes on as if it were zeros.
    unreadable = host.make_device("pci", "0000:00:02.0", {"config/x": ""})
    assert pci_config.read(unreadable.path).bridge == []
    with pytest.raises(Dropped, match="config is not there"):
        pci_config.read(host.make_device("pci", "0000:00:03.0").path)


@given(
    st.binary(max_size=300).flatmap(lambda data: st.sampled_from((data, data[:6] + b"\x10" + data[7:]))),
    st.sampled_from((None, 0, 64, 256, 4096)),
)
def test_no_bytes_do_harm(data: bytes, length: int | None) -> None:
    try:
        said = pci_config.decode(data, lambda: length)
    except Dropped:
        return
    assert said.bridge in ([], [{"type": "pci-bridge"}], [{"type": "cardbus-bridge"}])
    assert said.express is None or set(said.express) <= {"link"}
