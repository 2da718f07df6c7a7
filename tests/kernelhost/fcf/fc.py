# SPDX-License-Identifier: GPL-3.0-or-later
"""Fibre Channel frames, and the extended link services (ELS) that a fabric answers (FC-FS, FC-LS)."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass

# Well-known addresses.
FABRIC = 0xFFFFFE
CONTROLLER = 0xFFFFFD
DIRECTORY = 0xFFFFFC
FIRST_WELL_KNOWN = 0xFFFFF0

TYPE_ELS = 0x01
TYPE_CT = 0x20

# How a frame's information is used (R_CTL).
ELS_REQUEST = 0x22
ELS_REPLY = 0x23
CT_REPLY = 0x03

LS_RJT = 0x01
LS_ACC = 0x02
PLOGI = 0x03
FLOGI = 0x04
LOGO = 0x05
FDISC = 0x51
RSCN = 0x61
SCR = 0x62

# Frame control (F_CTL): who sends it, where in the exchange it is.
FROM_RESPONDER = 0x800000
FIRST_SEQUENCE = 0x200000
LAST_SEQUENCE = 0x100000
END_OF_SEQUENCE = 0x080000
PASS_INITIATIVE = 0x010000

NO_EXCHANGE = 0xFFFF
HEADER = struct.Struct(">I I I B B H H H I")
# Fits into a frame on a link with Ethernet's usual MTU, as all links here have.
MAX_PAYLOAD = 1024

LOGIN = struct.Struct(">B 3x B B H H H I I 8s 8s 64s 16x")
VERSION = 0x20
CREDIT = 10
# Features of a fabric's answer to a login: it is a fabric, and takes NPIV logins.
FEATURE_FABRIC = 0x1000
FEATURE_NPIV = 0x2000
# The common feature of an N_Port's login: relative offsets increase continuously.
FEATURE_OFFSETS = 0x8000
R_A_TOV_MS = 10000
E_D_TOV_MS = 2000
CLASS_3_VALID_IN_ORDER = 0x8800
# Sequences that an N_Port takes at once.
SEQUENCES = 255

# Reasons and explanations of a rejection.
LOGICAL_ERROR = 0x03
UNABLE = 0x09
UNSUPPORTED = 0x0B
INVALID_PORT_NAME = 0x0D
NO_RESOURCES = 0x29
NO_EXPLANATION = 0x00

_exchanges = itertools.cycle(range(1, NO_EXCHANGE))


@dataclass(frozen=True)
class Frame:
    """One frame without its delimiters and check sum."""

    r_ctl: int
    d_id: int
    s_id: int
    kind: int
    f_ctl: int
    seq_id: int
    seq_cnt: int
    ox_id: int
    rx_id: int
    offset: int
    payload: bytes

    @classmethod
    def parse(cls, data: bytes) -> Frame:
        to, source, control, seq_id, _df_ctl, seq_cnt, ox_id, rx_id, offset = HEADER.unpack_from(data)
        return cls(
            to >> 24,
            to & 0xFFFFFF,
            source & 0xFFFFFF,
            control >> 24,
            control & 0xFFFFFF,
            seq_id,
            seq_cnt,
            ox_id,
            rx_id,
            offset,
            data[HEADER.size :],
        )

    def pack(self) -> bytes:
        head = HEADER.pack(
            self.r_ctl << 24 | self.d_id,
            self.s_id,
            self.kind << 24 | self.f_ctl,
            self.seq_id,
            0,
            self.seq_cnt,
            self.ox_id,
            self.rx_id,
            self.offset,
        )
        return head + self.payload

    @property
    def ends_exchange(self) -> bool:
        return self.f_ctl & (LAST_SEQUENCE | END_OF_SEQUENCE) == LAST_SEQUENCE | END_OF_SEQUENCE

    def reply(self, r_ctl: int, payload: bytes, d_id: int | None = None) -> Iterator[Frame]:
        """The frames of the sequence that answers this request and ends its exchange."""
        rx_id = next(_exchanges)
        for count, offset in enumerate(range(0, len(payload), MAX_PAYLOAD)):
            part = payload[offset : offset + MAX_PAYLOAD]
            last = offset + len(part) == len(payload)
            yield Frame(
                r_ctl=r_ctl,
                d_id=self.s_id if d_id is None else d_id,
                s_id=self.d_id,
                kind=self.kind,
                f_ctl=FROM_RESPONDER | LAST_SEQUENCE | (END_OF_SEQUENCE if last else 0),
                seq_id=0,
                seq_cnt=count,
                ox_id=self.ox_id,
                rx_id=rx_id,
                offset=offset,
                payload=part,
            )


def request(d_id: int, s_id: int, payload: bytes) -> Frame:
    """An ELS request of the fabric's own."""
    control = FIRST_SEQUENCE | END_OF_SEQUENCE | PASS_INITIATIVE
    return Frame(ELS_REQUEST, d_id, s_id, TYPE_ELS, control, 0, 0, next(_exchanges), NO_EXCHANGE, 0, payload)


def names_of_login(payload: bytes) -> tuple[bytes, bytes]:
    """WWPN and WWNN in a FLOGI, FDISC or PLOGI. Raises struct.error when it is too short."""
    fields = LOGIN.unpack_from(payload)
    return fields[8], fields[9]


def accept_fabric_login(wwpn: bytes, wwnn: bytes, npiv: bool) -> bytes:
    features = FEATURE_FABRIC | (FEATURE_NPIV if npiv else 0)
    return _accept_login(features, R_A_TOV_MS, E_D_TOV_MS, wwpn, wwnn)


def accept_port_login(wwpn: bytes, wwnn: bytes) -> bytes:
    # Total concurrent sequences, and the categories of information that have relative offsets.
    return _accept_login(FEATURE_OFFSETS, SEQUENCES << 16, E_D_TOV_MS, wwpn, wwnn)


def _accept_login(features: int, first: int, second: int, wwpn: bytes, wwnn: bytes) -> bytes:
    class_3 = struct.pack(">H H H H H H H 2x", CLASS_3_VALID_IN_ORDER, 0, 0, MAX_PAYLOAD, SEQUENCES, 0, 1)
    classes = bytes(32) + class_3 + bytes(16)
    return LOGIN.pack(LS_ACC, VERSION, VERSION, CREDIT, features, MAX_PAYLOAD, first, second, wwpn, wwnn, classes)


def accept() -> bytes:
    return struct.pack(">B 3x", LS_ACC)


def reject(reason: int, explanation: int = NO_EXPLANATION) -> bytes:
    return struct.pack(">B 3x x B B x", LS_RJT, reason, explanation)


def state_change(fc_id: int) -> bytes:
    """The payload of an RSCN about one port."""
    return struct.pack(">B B H I", RSCN, 4, 8, fc_id)
