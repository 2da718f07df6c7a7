# SPDX-License-Identifier: GPL-3.0-or-later
"""The offloads of a network interface, by the ioctls of the kernel's include/uapi/linux/ethtool.h."""

from __future__ import annotations

import array
import fcntl
import os
import socket
import struct
from collections.abc import Mapping

SIOCETHTOOL = 0x8946
# A getter that answers with a number: on, when the number is not 0.
GETTERS = {"rx": 0x14, "tx": 0x16, "sg": 0x18, "tso": 0x1E, "gso": 0x23, "gro": 0x2B}
GFLAGS = 0x25
# ETH_FLAG_*: the bits of the answer to GFLAGS.
FLAGS = {"lro": 15, "rxvlan": 8, "txvlan": 7, "ntuple": 27, "rxhash": 28}
GFEATURES = 0x3A
# struct ethtool_get_features_block: available, requested, active, never_changed; we ask for two of them.
BLOCK = struct.Struct("=4I")
BLOCKS = 2
# libvirt's bit for UDP tunnels was right once; today's kernels keep another tunnel's offload there.
TXUDPTNL = 25


def features(interface: str) -> set[str]:
    """What is on of an interface in our own network namespace; nothing where there is no such interface.

    The names are libvirt's: rx, tx, sg, tso, gso, gro, lro, rxvlan, txvlan, ntuple, rxhash, txudptnl.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as handle:
        values = {command: _value(handle, interface, command) for command in (*GETTERS.values(), GFLAGS)}
        return named(values, _active(handle, interface))


def named(values: Mapping[int, int], active: int) -> set[str]:
    """The features that answers mean: a number by command, and the first block of active features. An error is 0."""
    found = {feature for feature, command in GETTERS.items() if values[command]}
    found |= {feature for feature, bit in FLAGS.items() if values[GFLAGS] >> bit & 1}
    return found | ({"txudptnl"} if active >> TXUDPTNL & 1 else set())


def _value(handle: socket.socket, interface: str, command: int) -> int:
    answer = _ask(handle, interface, struct.pack("=II", command, 0))
    return int(struct.unpack("=II", answer)[1]) if answer else 0


def _active(handle: socket.socket, interface: str) -> int:
    answer = _ask(handle, interface, struct.pack("=II", GFEATURES, BLOCKS) + bytes(BLOCKS * BLOCK.size))
    return int(BLOCK.unpack_from(answer, 8)[2]) if answer else 0


def _ask(handle: socket.socket, interface: str, question: bytes) -> bytes | None:
    """The kernel's answer, which it writes over the question; None where the interface or its driver has none."""
    buffer = array.array("B", question)
    # struct ifreq: the name, a pointer to the question, and the rest of the union that the pointer is in.
    request = struct.pack("16sP16x", os.fsencode(interface), buffer.buffer_info()[0])
    try:
        fcntl.ioctl(handle, SIOCETHTOOL, request)
    except OSError:
        return None
    return buffer.tobytes()
