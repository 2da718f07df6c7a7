# SPDX-License-Identifier: GPL-3.0-or-later
"""Fibre Channel on Ethernet: FCoE frames and the FCoE Initialization Protocol, FIP (FC-BB-5)."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from .fc import Frame

TYPE_FCOE = 0x8906
TYPE_FIP = 0x8914
ALL_ENODES = bytes.fromhex("011018010001")
HEADER_SIZE = 14

FCOE_HEADER = struct.Struct(">13x B")
FCOE_TRAILER = struct.Struct("<I B 3x")
FC_AT = HEADER_SIZE + FCOE_HEADER.size
# Start and end of a frame: class 3, first or further frame of a sequence, last of an exchange or not.
SOF_I3 = 0x2E
SOF_N3 = 0x36
EOF_N = 0x41
EOF_T = 0x42

FIP_HEADER = struct.Struct(">B x H x B H H")
FIP_VERSION = 0x10
# Operations, each with a subcode.
DISCOVERY = 1
SOLICITATION = 1
ADVERTISEMENT = 2
LINK_SERVICE = 2
LINK_REQUEST = 1
LINK_REPLY = 2
CONTROL = 3
CLEAR_LINKS = 2

FLAG_FABRIC_MAC = 0x8000
FLAG_AVAILABLE = 0x0004
FLAG_SOLICITED = 0x0002
FLAG_FCF = 0x0001

DESC_PRIORITY = 1
DESC_MAC = 2
DESC_NAME = 4
DESC_FABRIC = 5
DESC_SIZE = 6
DESC_FLOGI = 7
DESC_FDISC = 8
DESC_LOGO = 9
DESC_KEEP_ALIVE = 12
LINK_SERVICES = (DESC_FLOGI, DESC_FDISC, DESC_LOGO)

# A fabric gives each port the MAC address that is this prefix and the port's FC_ID.
FC_MAP = bytes.fromhex("0efc00")
PRIORITY = 128


class FormatError(Exception):
    """A frame that is not what its type says."""


def port_mac(fc_id: int) -> bytes:
    return FC_MAP + fc_id.to_bytes(3, "big")


def header(to: bytes, source: bytes, kind: int) -> bytes:
    return to + source + kind.to_bytes(2, "big")


def readdress(packet: bytes, to: bytes, source: bytes) -> bytes:
    """The same FCoE packet on another link."""
    return to + source + packet[12:]


def destination(packet: bytes) -> int:
    """D_ID of the Fibre Channel frame in an FCoE packet."""
    return int.from_bytes(packet[FC_AT + 1 : FC_AT + 4], "big")


def unwrap(packet: bytes) -> Frame:
    if len(packet) < FC_AT + 24 + FCOE_TRAILER.size:
        raise FormatError("short FCoE frame")
    return Frame.parse(packet[FC_AT : len(packet) - FCOE_TRAILER.size])


def wrap(frame: Frame, to: bytes, source: bytes) -> bytes:
    data = frame.pack()
    start = SOF_N3 if frame.seq_cnt else SOF_I3
    end = EOF_T if frame.ends_exchange else EOF_N
    return b"".join(
        [
            header(to, source, TYPE_FCOE),
            FCOE_HEADER.pack(start),
            data,
            FCOE_TRAILER.pack(zlib.crc32(data), end),
        ]
    )


@dataclass(frozen=True)
class Fip:
    """A FIP operation: its descriptors by type, without their two bytes of head."""

    operation: int
    subcode: int
    descriptors: dict[int, bytes]

    @classmethod
    def parse(cls, packet: bytes) -> Fip:
        try:
            version, operation, subcode, words, _flags = FIP_HEADER.unpack_from(packet, HEADER_SIZE)
        except struct.error as error:
            raise FormatError("short FIP frame") from error
        at = HEADER_SIZE + FIP_HEADER.size
        end = at + 4 * words
        if version != FIP_VERSION or len(packet) < end:
            raise FormatError("wrong version or length of a FIP frame")
        descriptors = {}
        while at < end:
            size = 4 * packet[at + 1]
            if size == 0 or at + size > end:
                raise FormatError("wrong length of a FIP descriptor")
            descriptors[packet[at]] = packet[at + 2 : at + size]
            at += size
        return cls(operation, subcode, descriptors)

    def pack(self, to: bytes, source: bytes, flags: int = FLAG_FABRIC_MAC) -> bytes:
        body = b"".join(bytes([kind, (len(content) + 2) // 4]) + content for kind, content in self.descriptors.items())
        head = FIP_HEADER.pack(FIP_VERSION, self.operation, self.subcode, len(body) // 4, flags)
        return header(to, source, TYPE_FIP) + head + body


def advertisement(
    to: bytes, source: bytes, switch: bytes, fabric: bytes, keep_alive_ms: int, size: int | None
) -> bytes:
    """A forwarder's advertisement; `size` is the one that a solicitation asked to see, None if nobody asked."""
    operation = Fip(
        DISCOVERY,
        ADVERTISEMENT,
        {
            DESC_PRIORITY: bytes([0, PRIORITY]),
            DESC_MAC: source,
            DESC_NAME: bytes(2) + switch,
            DESC_FABRIC: bytes(3) + FC_MAP + fabric,
            DESC_KEEP_ALIVE: struct.pack(">x x I", keep_alive_ms),
        },
    )
    flags = FLAG_FABRIC_MAC | FLAG_AVAILABLE | FLAG_FCF
    if size is None:
        return operation.pack(to, source, flags)
    # As long as the longest FCoE frame, which shows that the network lets such frames through.
    return operation.pack(to, source, flags | FLAG_SOLICITED).ljust(HEADER_SIZE + size, b"\0")


def link_reply(to: bytes, source: bytes, service: int, frame: Frame, granted: bytes | None) -> bytes:
    """The answer to a login or logout in FIP, with the MAC address that a login was granted."""
    descriptors = {service: bytes(2) + frame.pack()}
    if granted is not None:
        descriptors[DESC_MAC] = granted
    return Fip(LINK_SERVICE, LINK_REPLY, descriptors).pack(to, source)


def clear_links(to: bytes, source: bytes, switch: bytes) -> bytes:
    """Tell a host that none of its logins is valid any more."""
    return Fip(CONTROL, CLEAR_LINKS, {DESC_MAC: source, DESC_NAME: bytes(2) + switch}).pack(to, source)
