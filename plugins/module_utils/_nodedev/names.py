# SPDX-License-Identifier: GPL-3.0-or-later
"""libvirt's device names, and the grammar of whatever becomes part of a path.

The names follow libvirt's udev backend: subsystem and kernel name, every byte that is not an ASCII letter or digit
replaced by an underscore.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from uuid import UUID as Identifier
from uuid import uuid5

from .errors import BadInput
from .text import cleaned

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# What libvirt reads as one: its 16 bytes, each of two digits, with hyphens and blanks before any of them.
LOOSE_UUID = re.compile(r"(?:[- ]*[0-9a-fA-F]{2}){16}")
BLANKS = " \t\n\f\r"
FOREIGN = re.compile(r"[^A-Za-z0-9]")
ADDRESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_:.-]*")
# Of no meaning but that it never changes: the UUIDs that are derived in this collection are version 5 below it.
NAMESPACE = Identifier("5f8f3c0e-5b0e-5c53-9d0c-2a7f4f0b6a11")
WWN = re.compile(r"[0-9a-f]{16}")
OUI = re.compile(r"[0-9a-f]{6}")
WWN_BYTES = re.compile(r"[0-9a-f]{2}([:-][0-9a-f]{2}){7}")
ATTRIBUTE = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
# Files and folders that the kernel itself gives a device, or its type; the rest is its driver's.
KERNELS_OWN = frozenset(
    (
        *("remove", "uevent", "create", "power", "driver", "driver_override", "subsystem", "device"),
        *("mdev_type", "mdev_supported_types", "iommu", "iommu_group", "vfio-dev", "of_node", "firmware_node"),
    )
)
# Bytes that the kernel takes of an attribute at most, with the end of the line (sysfs: one page less a NUL).
PAGE = 4094


def device_name(subsystem: str, sysname: str) -> str:
    """libvirt's name of the device that the kernel calls ``sysname`` in ``subsystem``."""
    if subsystem == "matrix":
        return "ap_matrix"
    plain = f"{subsystem}_{sysname}"
    if plain.isascii():
        return FOREIGN.sub("_", plain)
    # One underscore for each byte, not for each character.
    return FOREIGN.sub("_", plain.encode("utf-8", "surrogateescape").decode("latin-1"))


def mdev_name(uuid: str, parent_address: str) -> str:
    """libvirt's name of a mediated device: its UUID and the address of its parent."""
    return device_name("mdev", f"{uuid}_{parent_address}")


def derived_uuid(parent: str, kind: str, index: int = 0) -> str:
    """The UUID of the mediated device that was given none: always the same for parent, type and count among them."""
    return str(uuid5(NAMESPACE, f"{parent} {kind} {index}"))


def pool_uuid(machine: str, pool: str, index: int) -> str:
    """The UUID of a pool's instance: the same in every run and from every controller, another on every host.

    ``machine`` is the host's machine-id (machine-id(5)), which cannot be told from the UUID.
    """
    return str(uuid5(NAMESPACE, f"{machine} {pool} {index}"))


def checked_uuid(value: str, option: str = "uuid") -> str:
    """The UUID in lower case, as the kernel keeps it; BadInput when it is none."""
    uuid = value.lower()
    if not UUID.fullmatch(uuid):
        raise BadInput(option, value, "a UUID has 8-4-4-4-12 hexadecimal digits")
    return uuid


def libvirt_uuid(text: str) -> str | None:
    """The UUID that libvirt (its virUUIDParse) reads in a text, in the kernel's form; None where it reads none."""
    plain = text.strip(BLANKS)
    return str(Identifier(FOREIGN.sub("", plain))) if LOOSE_UUID.fullmatch(plain) else None


def checked_wwn(option: str, value: str) -> str:
    """A World Wide Name as the kernel wants it, 16 hexadecimal digits in lower case; BadInput when it is none.

    Taken with or without 0x, and with colons or hyphens between its bytes.
    """
    digits = value.lower().removeprefix("0x")
    if WWN_BYTES.fullmatch(digits):
        digits = digits.replace(":", "").replace("-", "")
    if not WWN.fullmatch(digits):
        raise BadInput(option, value, "a World Wide Name has 16 hexadecimal digits, with or without 0x and colons")
    if set(digits) in ({"0"}, {"f"}):
        raise BadInput(option, value, "a name of zeros or of f alone stands for no port")
    return digits


def checked_oui(value: str) -> str:
    """The vendor's part of a World Wide Name as it stands there, 6 digits in lower case; BadInput when it is none."""
    digits = value.replace(":", "").lower()
    if not OUI.fullmatch(digits):
        raise BadInput("oui", value, "an OUI has 6 hexadecimal digits")
    return digits


def derived_wwn(machine: str, name: str, role: str, oui: str) -> str:
    """The WWN of a vHBA that has a name instead: always the same for host, name and role (node or port).

    Of NAA 5 (FC-FS): the digit 5, 6 digits of the OUI, and 9 that follow from the rest, the shape of those that
    libvirt makes up at random. ``machine`` is the host's machine-id.
    """
    return f"5{oui}{uuid5(NAMESPACE, f'{machine} {name} {role}').int & 0xFFFFFFFFF:09x}"


def checked_address(option: str, value: str) -> str:
    """A kernel device name such as 0000:06:00.0, 0.0.0013 or matrix, fit to be part of a path; else BadInput."""
    if not ADDRESS.fullmatch(value):
        raise BadInput(option, value, "a device name or address has letters, digits and _ : . - only")
    return value


def checked_type(value: str | None) -> str | None:
    """A type of mediated devices, by the kernel's id or the vendor's name, if one is given; else BadInput.

    A vendor's name may have slashes, as 'I/O subchannel (Non-QDIO)' has. It never becomes part of a path: that is the
    id, which the kernel lists. Nevertheless it is none that would lead elsewhere.
    """
    if value is not None and ("\0" in value or any(part in ("", ".", "..") for part in value.split("/"))):
        raise BadInput("type", value, "a type is named by its kernel id or its vendor's name")
    return value


def checked_attrs(attrs: Iterable[dict[str, Any]]) -> tuple[tuple[str, str], ...]:
    """The attributes of a device in the order in which they are written, each given as one name with its value."""
    found = []
    for item in attrs:
        if not isinstance(item, dict) or len(item) != 1:
            raise BadInput("attrs", item, "each item is a mapping of one name to one value")
        for name, value in item.items():
            found.append((checked_attribute_name(str(name)), _checked_attribute_value(name, value)))
    return tuple(found)


def checked_attribute_name(name: str) -> str:
    """The name of a device's attribute, a path below the device; BadInput when it would lead elsewhere.

    Nor may it be one of the kernel's own files, through which a device is removed or bound, and others with it.
    """
    parts = name.split("/")
    if not ATTRIBUTE.fullmatch(name) or any(set(part) == {"."} for part in parts):
        raise BadInput(
            "attrs", name, "an attribute is named by its path below the device, without '..' or a leading '/'"
        )
    own = next((part for part in parts if part in KERNELS_OWN), None)
    if own is not None:
        raise BadInput("attrs", name, f"{own!r} belongs to the kernel: an attribute is a file of the device's driver")
    return name


def _checked_attribute_value(name: object, value: object) -> str:
    # YAML's true and null are no texts that any driver would know.
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise BadInput("attrs", {name: value}, "an attribute's value is text or a whole number: quote it")
    text = str(value)
    if not text or "\0" in text or text != cleaned(text) or len(text.encode()) > PAGE:
        raise BadInput("attrs", {name: value}, f"an attribute's value is text of 1 to {PAGE} bytes without NUL")
    return text
