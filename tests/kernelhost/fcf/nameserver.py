# SPDX-License-Identifier: GPL-3.0-or-later
"""The name server: common transport (CT) requests to the directory service (FC-GS)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import itemgetter

HEADER = struct.Struct(">B 3s B B B x H H x B B B")
REVISION = 1
DIRECTORY_SERVICE = 0xFC
NAME_SERVER = 0x02

REJECT = 0x8001
ACCEPT = 0x8002
# Reasons of a rejection, and explanations of the last.
UNABLE = 0x09
UNSUPPORTED = 0x0B
NO_EXPLANATION = 0x00
NO_SUCH_PORT = 0x01
NO_TYPE = 0x07

GPN_ID = 0x0112
GNN_ID = 0x0113
GSPN_ID = 0x0118
GID_PN = 0x0121
GID_FT = 0x0171
GPN_FT = 0x0172
RPN_ID = 0x0212
RNN_ID = 0x0213
RFT_ID = 0x0217
RSPN_ID = 0x0218
RFF_ID = 0x021F
RSNN_NN = 0x0239

TYPE_WORDS = 8
LAST_ENTRY = 0x80


@dataclass
class NPort:
    """A port that is logged in to the fabric, and what it has registered."""

    fc_id: int
    wwpn: bytes
    wwnn: bytes
    link: str
    # The MAC address of its host's Ethernet function, which all logins on one link share.
    enode: bytes
    types: frozenset[int] = frozenset()
    symbolic_name: bytes = b""
    wants_state_changes: bool = False


Ports = dict[int, NPort]


class Rejection(Exception):
    """The request cannot be answered."""

    def __init__(self, reason: int, explanation: int = NO_EXPLANATION) -> None:
        super().__init__(f"reason {reason:#x}, explanation {explanation:#x}")
        self.reason = reason
        self.explanation = explanation


def answer(ports: Ports, request: bytes) -> bytes:
    """The payload that answers a request's."""
    try:
        service, subtype, command = itemgetter(2, 3, 5)(HEADER.unpack_from(request))
        handler = HANDLERS.get(command)
        if (service, subtype) != (DIRECTORY_SERVICE, NAME_SERVER) or handler is None:
            raise Rejection(UNSUPPORTED)
        return _head(ACCEPT) + handler(ports, request[HEADER.size :])
    except Rejection as error:
        return _head(REJECT, error.reason, error.explanation)
    except struct.error:
        return _head(REJECT, UNABLE)


def _head(command: int, reason: int = 0, explanation: int = 0) -> bytes:
    return HEADER.pack(REVISION, bytes(3), DIRECTORY_SERVICE, NAME_SERVER, 0, command, 0, reason, explanation, 0)


def _port(ports: Ports, body: bytes) -> NPort:
    """The port whose FC_ID a request starts with."""
    (fc_id,) = struct.unpack_from(">I", body)
    port = ports.get(fc_id & 0xFFFFFF)
    if port is None:
        raise Rejection(UNABLE, NO_SUCH_PORT)
    return port


def _port_name(ports: Ports, body: bytes) -> bytes:
    return _port(ports, body).wwpn


def _node_name(ports: Ports, body: bytes) -> bytes:
    return _port(ports, body).wwnn


def _symbolic_port_name(ports: Ports, body: bytes) -> bytes:
    return _counted(_port(ports, body).symbolic_name)


def _counted(name: bytes) -> bytes:
    return bytes([len(name)]) + name


def _id_of_name(ports: Ports, body: bytes) -> bytes:
    (wwpn,) = struct.unpack_from("8s", body)
    for port in ports.values():
        if port.wwpn == wwpn:
            return port.fc_id.to_bytes(4, "big")
    raise Rejection(UNABLE, NO_SUCH_PORT)


def _ids_of_type(ports: Ports, body: bytes) -> bytes:
    return b"".join(head for head, _body in _entries(ports, body))


def _names_of_type(ports: Ports, body: bytes) -> bytes:
    return b"".join(head + bytes(4) + port.wwpn for head, port in _entries(ports, body))


def _entries(ports: Ports, body: bytes) -> Iterator[tuple[bytes, NPort]]:
    """The ports of a type, each with a control byte, which marks the last, and its FC_ID."""
    (kind,) = struct.unpack_from(">3x B", body)
    found = [port for port in ports.values() if kind in port.types]
    if not found:
        raise Rejection(UNABLE, NO_TYPE)
    for port in found:
        control = LAST_ENTRY if port is found[-1] else 0
        yield bytes([control]) + port.fc_id.to_bytes(3, "big"), port


def _register_name(ports: Ports, body: bytes) -> bytes:
    """RPN_ID, RNN_ID, RFF_ID: the login told the names, and nobody asks for the features."""
    _port(ports, body)
    return b""


def _register_types(ports: Ports, body: bytes) -> bytes:
    """A bit for each type, 32 in a word, the lowest type's the lowest bit of the first word."""
    words = struct.unpack_from(f">4x {TYPE_WORDS}I", body)
    _port(ports, body).types = frozenset(kind for kind in range(32 * TYPE_WORDS) if words[kind // 32] >> kind % 32 & 1)
    return b""


def _register_symbolic_port_name(ports: Ports, body: bytes) -> bytes:
    (size,) = struct.unpack_from(">4x B", body)
    _port(ports, body).symbolic_name = body[5 : 5 + size]
    return b""


def _register_symbolic_node_name(ports: Ports, body: bytes) -> bytes:
    return b""


HANDLERS: dict[int, Callable[[Ports, bytes], bytes]] = {
    GPN_ID: _port_name,
    GNN_ID: _node_name,
    GSPN_ID: _symbolic_port_name,
    GID_PN: _id_of_name,
    GID_FT: _ids_of_type,
    GPN_FT: _names_of_type,
    RPN_ID: _register_name,
    RNN_ID: _register_name,
    RFT_ID: _register_types,
    RSPN_ID: _register_symbolic_port_name,
    RFF_ID: _register_name,
    RSNN_NN: _register_symbolic_node_name,
}
