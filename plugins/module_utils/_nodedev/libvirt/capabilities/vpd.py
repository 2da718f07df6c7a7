# SPDX-License-Identifier: GPL-3.0-or-later
"""Vital product data of a PCI function: what its maker wrote on it.

Follows the PCI Local Bus Specification 2.2, appendix I, as strictly as libvirt does: data of which anything is wrong
counts as none.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ...host import sysfs

# The address register of the VPD capability has 15 bits.
SIZE = 0x8000
LARGE, END, NAME, READ_ONLY, READ_WRITE = 0x80, 0x0F, 0x82, 0x90, 0x91
CHECKSUM, FREE = b"RV", b"RW"
SPACES = b" \t\n\f\r"

VENDOR = {f"V{mark}": mark for mark in string.digits + string.ascii_uppercase}
SYSTEM = {f"Y{mark}": mark for mark in string.digits + string.ascii_uppercase if mark != "A"}
# The elements that libvirt prints, by keyword; other known keywords are read and kept to oneself.
PRINTED = {
    READ_ONLY: {"EC": "change_level", "MN": "manufacture_id", "PN": "part_number", "SN": "serial_number"},
    READ_WRITE: {"YA": "asset_tag"},
}
INDEXED = {READ_ONLY: {"vendor_field": VENDOR}, READ_WRITE: {"vendor_field": VENDOR, "system_field": SYSTEM}}
TEXTS = {*PRINTED[READ_ONLY], *PRINTED[READ_WRITE], *VENDOR, *SYSTEM}
BINARY = "CP"


def nested(path: str) -> list[dict[str, Any]]:
    """The nested capability of the function in this folder; none where it has no or no valid data."""
    try:
        data = sysfs.whole(f"{path}/vpd", SIZE)
    except sysfs.SysfsError:
        return []
    capability = decode(data) if data else None
    return [] if capability is None else [capability]


class _InvalidError(Exception):
    """The data breaks a rule; nothing of it is used."""


@dataclass
class _Reader:
    """Reads on, and keeps the sum that the checksum must cancel."""

    data: bytes
    place: int = 0
    sum: int = 0

    def take(self, count: int) -> bytes:
        taken = self.data[self.place : self.place + count]
        if len(taken) < count:
            raise _InvalidError
        self.place += count
        self.sum += sum(taken)
        return taken


@dataclass
class _Found:
    name: str | None = None
    # The texts by keyword of each section that has any field, in order of first appearance.
    sections: dict[int, dict[str, str]] = field(default_factory=dict)


def decode(data: bytes) -> dict[str, Any] | None:
    """The capability from the data; None when anything of that is wrong."""
    try:
        found = _resources(_Reader(data))
    except _InvalidError:
        return None
    capability: dict[str, Any] = {"type": "vpd"}
    if found.name is not None:
        capability["name"] = found.name
    fields = [_fields(kind, found.sections[kind]) for kind in PRINTED if kind in found.sections]
    if fields:
        capability["fields"] = fields
    return capability


def _fields(kind: int, texts: dict[str, str]) -> dict[str, Any]:
    fields: dict[str, Any] = {"access": "readonly" if kind == READ_ONLY else "readwrite"}
    fields.update((element, texts[keyword]) for keyword, element in PRINTED[kind].items() if keyword in texts)
    for element, marks in INDEXED[kind].items():
        listed = [{"index": marks[keyword], "value": text} for keyword, text in texts.items() if keyword in marks]
        if listed:
            fields[element] = listed
    return fields


def _resources(reader: _Reader) -> _Found:
    """All resources up to the end tag, which is valid after a read-only section only."""
    found = _Found()
    seen = set()
    while reader.place < SIZE:
        start = reader.place
        tag = reader.take(1)[0]
        if tag & LARGE:
            if start > SIZE - 3:
                break
            length = int.from_bytes(reader.take(2), "little")
        else:
            length = tag & 0x07
            tag >>= 3
        if tag == END and READ_ONLY in seen:
            return found
        end = reader.place + length
        if tag == END or end > SIZE:
            break
        seen.add(tag)
        if tag == NAME:
            found.name = _text(reader.take(length))
            if found.name is None:
                break
        elif tag in PRINTED:
            _section(reader, tag, end, found)
        reader.place = end
    raise _InvalidError


def _section(reader: _Reader, kind: int, end: int, found: _Found) -> None:
    """The fields of a section; it must be used up, the read-only one by its checksum at the end."""
    closed = kind == READ_WRITE
    for keyword, length in _keywords(reader, end):
        after = reader.place + length
        if keyword in (CHECKSUM, FREE):
            if (keyword == CHECKSUM) != (kind == READ_ONLY):
                raise _InvalidError
            # The sum counts up to its own byte; what follows in the field is reserved.
            if keyword == CHECKSUM and reader.take(1) and reader.sum % 0x100:
                raise _InvalidError
            closed = True
            reader.place = after
            break
        name = keyword.decode("ascii", "replace")
        # Of a keyword that is not known here, the data counts in the sum.
        data = reader.take(length)
        text = "" if name == BINARY else _text(data)
        if (name in TEXTS or name == BINARY) and text is not None:
            found.sections.setdefault(kind, {})[name] = text
    if not closed or reader.place != end:
        raise _InvalidError


def _keywords(reader: _Reader, end: int) -> Iterator[tuple[bytes, int]]:
    while reader.place + 3 <= end:
        header = reader.take(3)
        if reader.place + header[2] > end:
            raise _InvalidError
        yield header[:2], header[2]


def _text(data: bytes) -> str | None:
    """A text stripped of spaces at both ends, up to a NUL; None when it is not printable ASCII."""
    text = data.partition(b"\0")[0].strip(SPACES).decode("latin-1")
    return text if text.isascii() and text.isprintable() else None
