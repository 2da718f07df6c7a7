# SPDX-License-Identifier: GPL-3.0-or-later
"""libvirt's device names, and its reading of UUIDs.

The names follow libvirt's udev backend: subsystem and kernel name, every byte that is not an ASCII letter or digit
replaced by an underscore.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from uuid import UUID as Identifier

from .text import shown

# What libvirt reads as one: its 16 bytes, each of two digits, with hyphens and blanks before any of them.
LOOSE_UUID = re.compile(r"(?:[- ]*[0-9a-fA-F]{2}){16}")
BLANKS = " \t\n\f\r"
FOREIGN = re.compile(r"[^A-Za-z0-9]")
# How many of several devices a message names.
NAMED = 3
# What the kernel's name of a parent of mediated devices tells of its subsystem.
SUBSYSTEMS = {
    "pci": re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]"),
    "css": re.compile(r"[0-9a-f]+\.[0-9a-f]\.[0-9a-f]{4}"),
    "matrix": re.compile("matrix"),
}


def device_name(subsystem: str, sysname: str) -> str:
    """libvirt's name of the device that the kernel calls ``sysname`` in ``subsystem``."""
    if subsystem == "matrix":
        return "ap_matrix"
    plain = f"{subsystem}_{sysname}"
    if plain.isascii():
        return FOREIGN.sub("_", plain)
    # One underscore for each byte, not for each character.
    return FOREIGN.sub("_", plain.encode("utf-8", "surrogateescape").decode("latin-1"))


def called(address: str) -> str:
    """A parent of mediated devices by both its names, as a message has it: pci_0000_3d_00_0 (0000:3d:00.0).

    By the kernel's alone where that does not tell the subsystem.
    """
    subsystem = next((name for name, pattern in SUBSYSTEMS.items() if pattern.fullmatch(address)), None)
    return f"{device_name(subsystem, address)} ({address})" if subsystem else shown(address)


def named(addresses: Sequence[str]) -> str:
    """Several devices by both their names, NAMED of them at most, and how many more there are."""
    more = len(addresses) - NAMED
    names = [*map(called, addresses[:NAMED])]
    return ", ".join(names) if more <= 0 else f"{', '.join(names)} and {more} more"


def may_name(name: str, address: str) -> bool:
    """Whether libvirt's name may be that of a parent that is gone, of which the kernel's name alone is left.

    That of a CCW device is not: its number is not that of its subchannel.
    """
    return not name.startswith("ccw_") and name.endswith(device_name("", address))


def mdev_name(uuid: str, parent_address: str) -> str:
    """libvirt's name of a mediated device: its UUID and the address of its parent."""
    return device_name("mdev", f"{uuid}_{parent_address}")


def libvirt_uuid(text: str) -> str | None:
    """The UUID that libvirt (its virUUIDParse) reads in a text, in the kernel's form; None where it reads none."""
    plain = text.strip(BLANKS)
    return str(Identifier(FOREIGN.sub("", plain))) if LOOSE_UUID.fullmatch(plain) else None
