# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers as libvirt reads them in texts of the kernel."""

from __future__ import annotations

import re

# Bytes in which the kernel counts the size of a disk, whatever its blocks are.
SECTOR = 512
INTEGER = re.compile(r"[ \t\n\v\f\r]*([+-]?)(0[xX])?(?!0[xXoO])([0-9a-zA-Z]+)")


def integer(text: str, base: int, bits: int = 32, signed: bool = False) -> int | None:
    """A number as C's strtol reads it and libvirt checks it: all of the text, within ``bits``; else None.

    ``base`` is 10, 16 or 0 (0x for hexadecimal, 0 for octal). A negative unsigned number wraps, as in libvirt.
    """
    sign, prefix, digits = None, None, text
    if not base or not (text.isalnum() and text.isascii()):
        # Rarer than a plain number, which Python itself reads as strtol does.
        parts = INTEGER.fullmatch(text)
        if parts is None:
            return None
        sign, prefix, digits = parts.groups()
    if base == 0:
        base = 16 if prefix else 8 if digits.startswith("0") else 10
    elif prefix and base != 16:
        return None
    try:
        value = int(digits, base)
    except ValueError:
        return None
    if sign == "-":
        value = -value
    if signed:
        return value if -(1 << bits - 1) <= value < 1 << bits - 1 else None
    return value % (1 << bits) if abs(value) < 1 << bits else None
