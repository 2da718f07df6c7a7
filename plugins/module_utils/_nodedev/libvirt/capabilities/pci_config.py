# SPDX-License-Identifier: GPL-3.0-or-later
"""What the configuration space of a PCI function tells: a bridge or none, and its PCI Express link.

Follows the PCI Local Bus Specification 3.0, sections 6.1 and 6.7, and the PCI Express Capability structure; where a
function keeps its capabilities to itself, libvirt's guess by the length of the space.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...errors import Dropped
from ...host import sysfs

# A capability's pointer is one byte, and the PCI Express Capability is read up to byte 0x13. Not the whole space: each
# four bytes cost the kernel an access to the device.
SIZE = 0x100 + 0x14
HEADER_TYPE, STATUS, POINTER = 0x0E, 0x06, 0x34
HAS_CAPABILITIES = 0x10
EXPRESS = 0x10
# No more capabilities than this have room below 0x100; a list that is longer runs in a circle.
MOST = 48
BRIDGES = {0: (), 1: ("pci-bridge",), 2: ("cardbus-bridge",)}
# Root complex integrated endpoints and event collectors have no link.
LINKLESS = (9, 10)
# GT/s by the code in the link registers.
SPEEDS: dict[int, float] = {1: 2.5, 2: 5, 3: 8, 4: 16, 5: 32, 6: 64}


@dataclass(frozen=True)
class Config:
    """``bridge``: the nested capability of a bridge, or none. ``express``: the pci-express element, or None."""

    bridge: list[dict[str, Any]]
    express: dict[str, Any] | None


def read(path: str) -> Config:
    """The space of the function in this folder; Dropped where there is none or it belongs to no living function.

    A space that cannot be read counts as zeros, as it does for libvirt.
    """
    file = f"{path}/config"
    try:
        data = sysfs.content(file, SIZE)
    except sysfs.SysfsError:
        data = b""
    if data is None:
        raise Dropped(f"{file} is not there")
    return decode(data, lambda: sysfs.size(file))


def decode(data: bytes, length: Callable[[], int | None]) -> Config:
    """The space from its first bytes, missing ones counting as zeros; ``length`` tells how long it is altogether."""
    data = data.ljust(SIZE, b"\0")
    kind = data[HEADER_TYPE] & 0x7F
    if kind not in BRIDGES:
        raise Dropped(
            f"the header type in its configuration space is 0x{kind:02x}: the function is dead or powered off"
        )
    bridge = [{"type": name} for name in BRIDGES[kind]]
    place = _express(data)
    if place is None:
        return Config(bridge, None if length() == 0x100 else {})
    return Config(bridge, _links(data, place))


def _express(data: bytes) -> int | None:
    """Where the PCI Express Capability is."""
    if not data[STATUS] & HAS_CAPABILITIES:
        return None
    place = data[POINTER]
    for _step in range(MOST):
        if place < 0x40 or place == 0xFF:
            return None
        if data[place] == EXPRESS:
            return place
        place = data[place + 1]
    return None


def _links(data: bytes, place: int) -> dict[str, Any]:
    if (data[place + 2] & 0xF0) >> 4 in LINKLESS:
        return {}
    able = int.from_bytes(data[place + 0x0C : place + 0x10], "little")
    now = int.from_bytes(data[place + 0x12 : place + 0x14], "little")
    return {
        "link": [
            {"validity": "cap", "port": able >> 24, **_speed(able), "width": able >> 4 & 0x3F},
            {"validity": "sta", **_speed(now), "width": now >> 4 & 0x3F},
        ]
    }


def _speed(register: int) -> dict[str, float]:
    """In GT/s; nothing for a code that no generation has."""
    speed = SPEEDS.get(register & 0xF)
    return {} if speed is None else {"speed": speed}
