# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a card's embedded switch is programmed by the host, by generic netlink's family devlink.

Follows the kernel's include/uapi/linux/netlink.h, genetlink.h and devlink.h. One question, one answer: without
NLM_F_ACK the kernel answers with either the message asked for or an error.
"""

from __future__ import annotations

import socket
import struct

NETLINK_GENERIC = 16
NLM_F_REQUEST = 1
# Where the family "devlink" is asked for: GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME and _ID.
CONTROL, GET_FAMILY, FAMILY_NAME, FAMILY_ID = 0x10, 3, 2, 1
# DEVLINK_CMD_ESWITCH_GET, DEVLINK_ATTR_BUS_NAME, _DEV_NAME and _ESWITCH_MODE.
ESWITCH_GET, BUS_NAME, DEV_NAME, ESWITCH_MODE = 29, 1, 2, 25
MODE_SWITCHDEV = 1
VERSION = 1

HEADER = struct.Struct("=IHHII")
GENERIC = struct.Struct("=BBH")
ATTRIBUTE = struct.Struct("=HH")
# The top bits of an attribute's type are flags.
TYPE_MASK = 0x3FFF
# The kernel answers at once; the limit is for a kernel that does not.
SECONDS = 5.0
# More than any answer to our two questions.
ANSWER = 1 << 16

Attributes = dict[int, bytes]


def is_switchdev(address: str) -> bool:
    """Whether the PCI function with this address has its embedded switch in the mode switchdev.

    False where nothing can be said: no devlink in this kernel, or a driver without an embedded switch.
    """
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_GENERIC) as link:
            link.settimeout(SECONDS)
            link.bind((0, 0))
            family = _number(_ask(link, CONTROL, GET_FAMILY, {FAMILY_NAME: b"devlink\0"}).get(FAMILY_ID))
            if family is None:
                return False
            question = {BUS_NAME: b"pci\0", DEV_NAME: address.encode("utf-8", "surrogateescape") + b"\0"}
            return _number(_ask(link, family, ESWITCH_GET, question).get(ESWITCH_MODE)) == MODE_SWITCHDEV
    except OSError:
        return False


def _ask(link: socket.socket, family: int, command: int, attributes: Attributes) -> Attributes:
    link.send(message(family, command, attributes))
    return answered(link.recv(ANSWER), family)


def message(family: int, command: int, attributes: Attributes) -> bytes:
    """A generic netlink request as the kernel wants it."""
    body = GENERIC.pack(command, VERSION, 0)
    for kind, value in attributes.items():
        size = ATTRIBUTE.size + len(value)
        body += ATTRIBUTE.pack(size, kind) + value + bytes(-size % 4)
    return HEADER.pack(HEADER.size + len(body), family, NLM_F_REQUEST, 0, 0) + body


def answered(data: bytes, family: int) -> Attributes:
    """The attributes of an answer by their number; none where it is an error, of another family or cut short."""
    if len(data) < HEADER.size + GENERIC.size:
        return {}
    length, kind, *_rest = HEADER.unpack_from(data)
    if kind != family or length > len(data):
        return {}
    found = {}
    start = HEADER.size + GENERIC.size
    while start + ATTRIBUTE.size <= length:
        size, number = ATTRIBUTE.unpack_from(data, start)
        if size < ATTRIBUTE.size or start + size > length:
            return {}
        found[number & TYPE_MASK] = data[start + ATTRIBUTE.size : start + size]
        start += size + -size % 4
    return found


def _number(value: bytes | None) -> int | None:
    """A 16-bit number in the machine's byte order."""
    return int(struct.unpack("=H", value)[0]) if value is not None and len(value) == 2 else None
