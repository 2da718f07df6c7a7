# SPDX-License-Identifier: GPL-3.0-or-later
"""What the ethtool ioctls' answers mean, and that the kernel answers ours."""

from __future__ import annotations

import fcntl
import struct

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import ethtool

NOTHING = dict.fromkeys((0x14, 0x16, 0x18, 0x1E, 0x23, 0x2B, 0x25), 0)
GETTERS = [("rx", 0x14), ("tx", 0x16), ("sg", 0x18), ("tso", 0x1E), ("gso", 0x23), ("gro", 0x2B)]
FLAGS = [("lro", 15), ("rxvlan", 8), ("txvlan", 7), ("ntuple", 27), ("rxhash", 28)]


@pytest.mark.parametrize(
    ("values", "active", "features"),
    [
        ({}, 0, set()),
        *[({command: value}, 0, {name}) for name, command in GETTERS for value in (1, 0xFFFFFFFF)],
        *[({0x25: 1 << bit}, 0, {name}) for name, bit in FLAGS],
        *[({0x25: 1 << bit}, 0, set()) for bit in (0, 6, 9, 14, 16, 26, 29, 31)],
        ({0x25: 1 << 7 | 1 << 28, 0x18: 1}, 0, {"txvlan", "rxhash", "sg"}),
        ({}, 1 << 25, {"txudptnl"}),
        ({}, ~(1 << 25) & 0xFFFFFFFF, set()),
        (dict.fromkeys(NOTHING, 0xFFFFFFFF), 0xFFFFFFFF, {name for name, _number in GETTERS + FLAGS} | {"txudptnl"}),
    ],
)
def test_features_that_answers_mean(values: dict[int, int], active: int, features: set[str]) -> None:
    assert ethtool.named({**NOTHING, **values}, active) == features


@pytest.mark.parametrize("interface", ["nosuch0", "", "é", "0123456789abcdef"])
def test_an_interface_that_is_not_here_has_no_features(interface: str) -> None:
    assert ethtool.features(interface) == set()


def test_an_ioctl_that_fails_is_a_feature_that_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object) -> int:
        raise OSError

    monkeypatch.setattr(fcntl, "ioctl", fail)
    assert ethtool.features("lo") == set()


def test_what_is_asked_of_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def note(_handle: object, request: int, argument: bytes) -> int:
        asked.append((request, len(argument), argument[:16].rstrip(b"\0")))
        return 0

    monkeypatch.setattr(fcntl, "ioctl", note)
    assert ethtool.features("eth0") == set()
    # The size of struct ifreq.
    size = 16 + struct.calcsize("P") * 3
    assert asked == [(0x8946, size, b"eth0")] * (len(NOTHING) + 1)


def test_the_loopback_interface() -> None:
    # The kernel's drivers/net/loopback.c: these are always on, and it has no VLAN, LRO or hash of its own.
    found = ethtool.features("lo")
    assert {"rx", "tx", "sg", "tso", "gso"} <= found
    assert not found & {"lro", "rxvlan", "txvlan", "ntuple", "rxhash"}
