# SPDX-License-Identifier: GPL-3.0-or-later
"""The grammar of whatever becomes part of a path or of a name: UUIDs, World Wide Names, addresses, attributes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from .errors import BadInput
from .text import cleaned

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# A PCI function's address as people write it: in capitals, without its domain, or with eight digits of that.
PCI = re.compile(r"(?:([0-9a-f]{1,8}):)?([0-9a-f]{2}:[01][0-9a-f]\.[0-7])", re.IGNORECASE)
# libvirt's name of one, and of the other devices that can be bound.
PCI_NAME = re.compile(r"pci_([0-9a-f]{4,8})_([0-9a-f]{2})_([01][0-9a-f])_([0-7])")
CCW_NAME = re.compile(r"(css|ccw)_([0-9a-f]{1,2})_([0-9a-f])_([0-9a-f]{4})")
SUBCHANNEL = re.compile(r"[0-9a-f]{1,2}\.[0-9a-f]\.[0-9a-f]{4}")
# The number alone of a CCW device, of the channel subsystem and the subchannel set that Linux has first.
DEVICE_NUMBER = re.compile(r"[0-9a-f]{4}")
FIRST_SET = "0.0"
DRIVER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,63}")
MAC = re.compile(r"[0-9a-f]{2}([:-][0-9a-f]{2}){5}")
ADDRESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_:.-]*")
WWN = re.compile(r"[0-9a-f]{16}")
OUI = re.compile(r"[0-9a-f]{6}")
WWN_BYTES = re.compile(r"[0-9a-f]{2}([:-][0-9a-f]{2}){7}")
# Adapters and domains as lszcrypt and chzdev have them, a number or a range of them; a queue is named in hexadecimal.
AP_RANGE = re.compile(r"(0[xX][0-9a-fA-F]{1,2}|0|[1-9][0-9]{0,2})(?:-(0[xX][0-9a-fA-F]{1,2}|0|[1-9][0-9]{0,2}))?")
AP_QUEUE = re.compile(r"([0-9a-fA-F]{2})\.([0-9a-fA-F]{4})")
AP_MASK = re.compile(r"0x[0-9a-fA-F]{1,64}")
# What the kernel takes on its command line too: a mask without 0x, or numbers and ranges behind signs, as C has them.
AP_PLAIN = re.compile(r"(?:0?x)?([0-9a-fA-F]{0,64})")
AP_SIGNED = re.compile(r"([+-])(0x[0-9a-f]{1,8}|[0-9]{1,8})(?:-(0x[0-9a-f]{1,8}|[0-9]{1,8}))?,*", re.IGNORECASE)
# Bits of a mask: the highest adapter or domain is one less.
AP_BITS = 256
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


def checked_uuid(value: str, option: str = "uuid") -> str:
    """The UUID in lower case, as the kernel keeps it; BadInput when it is none."""
    uuid = value.lower()
    if not UUID.fullmatch(uuid):
        raise BadInput(option, value, "a UUID has 8-4-4-4-12 hexadecimal digits")
    return uuid


def checked_wwn(option: str, value: str) -> str:
    """A World Wide Name as the kernel wants it, 16 hexadecimal digits in lower case; BadInput when it is none.

    Taken with or without 0x, and with colons or hyphens between its bytes.
    """
    digits = value.lower().removeprefix("0x")
    if WWN_BYTES.fullmatch(digits):
        digits = digits.replace(":", "").replace("-", "")
    if not WWN.fullmatch(digits):
        # 10:00:00:00:00:12:34:56 is a number in base 60 to YAML.
        hint = "; YAML takes digits and colons alone for a number: quote them" if digits.isdecimal() else ""
        allowed = "a World Wide Name has 16 hexadecimal digits, with or without 0x and colons"
        raise BadInput(option, value, f"{allowed}{hint}")
    if set(digits) in ({"0"}, {"f"}):
        raise BadInput(option, value, "a name of zeros or of f alone stands for no port")
    return digits


def checked_oui(value: str) -> str:
    """The vendor's part of a World Wide Name as it stands there, 6 digits in lower case; BadInput when it is none."""
    digits = value.replace(":", "").lower()
    if not OUI.fullmatch(digits):
        # 001234 is a number in base 8 to YAML.
        hint = "; YAML takes digits alone for a number: quote them" if digits.isdecimal() else ""
        raise BadInput("oui", value, f"an OUI has 6 hexadecimal digits{hint}")
    return digits


def checked_address(option: str, value: str) -> str:
    """A kernel device name such as 0000:06:00.0, 0.0.0013 or matrix, fit to be part of a path; else BadInput."""
    if not ADDRESS.fullmatch(value):
        raise BadInput(option, value, "a device name or address has letters, digits and _ : . - only")
    return kernel_address(value)


def checked_device(option: str, value: str) -> tuple[str, str]:
    """The bus of a device that can be bound, and its name there, by libvirt's name or a PCI function's address."""
    channel = channels(value)
    if len(channel) == 1:
        return next(iter(channel.items()))
    if PCI_NAME.fullmatch(value) or PCI.fullmatch(value):
        return "pci", checked_function(option, value)
    if channel:
        plain = channel["css"].replace(".", "_")
        raise BadInput(option, value, f"a subchannel is named css_{plain}, and a CCW device ccw_{plain}")
    raise BadInput(option, value, "a device is named as pci_0000_3d_00_0, 0000:3d:00.0, css_0_0_0013 or ccw_0_0_1520")


def channels(value: str) -> dict[str, str]:
    """The subchannel and the CCW device that a text may name, by their buses: css, ccw; none where it names neither.

    libvirt's names are of one bus, as css_0_0_0013. A bus ID, as 0.0.0013, may be of either. A device number, 0816, is
    that of a device.
    """
    plain = value.lower()
    found = CCW_NAME.fullmatch(plain)
    if found:
        return {found[1]: f"{found[2]}.{found[3]}.{found[4]}"}
    if DEVICE_NUMBER.fullmatch(plain):
        return {"ccw": f"{FIRST_SET}.{plain}"}
    return dict.fromkeys(("css", "ccw"), plain) if SUBCHANNEL.fullmatch(plain) else {}


def kernel_address(value: str) -> str:
    """The address of a PCI function or of a channel as the kernel writes it; whatever is not such an address, as it is.

    nvidia-smi writes 00000000:3D:00.0, lspci 3d:00.0, and the kernel 0000:3d:00.0. lscss may write 0.0.F5F0.
    """
    if SUBCHANNEL.fullmatch(value.lower()):
        return value.lower()
    found = PCI.fullmatch(value)
    return f"{int(found[1] or '0', 16):04x}:{found[2].lower()}" if found else value


def checked_function(option: str, value: object) -> str:
    """The address of a PCI function, which is named by it or by libvirt's name; else BadInput."""
    name = PCI_NAME.fullmatch(value) if isinstance(value, str) else None
    plain = f"{name[1]}:{name[2]}:{name[3]}.{name[4]}" if name else value
    if not isinstance(plain, str) or not PCI.fullmatch(plain):
        raise BadInput(option, value, "a PCI function is named like pci_0000_3b_00_0 or 0000:3b:00.0")
    return kernel_address(plain)


def checked_driver(option: str, value: object) -> str:
    """The name of a driver, fit to be part of a path; else BadInput."""
    if not isinstance(value, str) or not DRIVER.fullmatch(value):
        raise BadInput(option, value, "a driver's name has 1 to 64 letters, digits and _ . + -")
    return value


def checked_mac(option: str, value: object) -> str:
    """The MAC address of one network interface in lower case, with colons; else BadInput."""
    mac = value.lower().replace("-", ":") if isinstance(value, str) else ""
    if not MAC.fullmatch(mac):
        # 52:54:00:12:34:56 is a number in base 60 to YAML.
        hint = "; YAML takes digits and colons alone for a number: quote it"
        plain = isinstance(value, int) or str(value).isdecimal()
        raise BadInput(option, value, f"a MAC address has 6 bytes in hexadecimal digits{hint if plain else ''}")
    if int(mac[:2], 16) & 1 or not int(mac.replace(":", ""), 16):
        raise BadInput(option, value, "zeros alone, or an odd first byte, is not the address of one interface")
    return mac


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


def checked_ap_numbers(option: str, values: Iterable[object]) -> frozenset[int]:
    """Adapters or domains, 0 to 255, each as 31, '0x1f' or a range of them, as '4-0x1f'; else BadInput."""
    found: set[int] = set()
    for value in values:
        match = AP_RANGE.fullmatch(str(value))
        first, last = (int(match[1], 0), int(match[2] or match[1], 0)) if match else (1, 0)
        if not first <= last < AP_BITS:
            raise BadInput(option, value, "a number from 0 to 255, as 31 or 0x1f, or a range of them, as 4-0x1f")
        found |= {*range(first, last + 1)}
    return frozenset(found)


def checked_ap_queues(option: str, values: Iterable[object]) -> frozenset[tuple[int, int]]:
    """Queues by adapter and domain, each in hexadecimal as the kernel and lszcrypt name it, 05.0047; else BadInput."""
    found = set()
    for value in values:
        number = ap_queue(str(value))
        if number is None:
            raise BadInput(option, value, "a queue is named by its adapter and domain in hexadecimal, as 05.0047")
        found.add(number)
    return frozenset(found)


def ap_queue(name: str) -> tuple[int, int] | None:
    """Adapter and domain of a queue by the kernel's name of it, 05.0047; None where that is something else."""
    match = AP_QUEUE.fullmatch(name)
    number = (int(match[1], 16), int(match[2], 16)) if match else None
    return None if number is None or number[1] >= AP_BITS else number


def ap_mask(numbers: Iterable[int]) -> str:
    """The mask of adapters or domains as the AP bus has it: 64 digits, of which the leftmost bit is number 0."""
    return f"0x{sum(1 << (AP_BITS - 1 - number) for number in numbers):064x}"


def ap_numbers(mask: str) -> frozenset[int] | None:
    """The numbers in a mask, zeros to the right of what is written; None for what is none."""
    if not AP_MASK.fullmatch(mask):
        return None
    value = int(mask[2:].ljust(AP_BITS // 4, "0"), 16)
    return frozenset(number for number in range(AP_BITS) if value >> (AP_BITS - 1 - number) & 1)


def ap_parameter(text: str) -> frozenset[int] | None:
    """The numbers that a mask on the kernel's command line leaves to the host; None for what its ap_bus.c refuses."""
    plain = AP_PLAIN.fullmatch(text)
    if plain:
        return ap_numbers(f"0x{plain[1] or 0}")
    found: set[int] = set()
    position = 0
    while position < len(text):
        match = AP_SIGNED.match(text, position)
        first, last = (_of_c(match[2]), _of_c(match[3] or match[2])) if match else (1, 0)
        if match is None or not first <= last < AP_BITS:
            return None
        numbers = range(first, last + 1)
        found = found.union(numbers) if match[1] == "+" else found.difference(numbers)
        position = match.end()
    return frozenset(found)


def _of_c(number: str) -> int:
    """A number as C has it: octal behind a 0; one that is none is too high for all."""
    try:
        return int(number, 8 if number.isdecimal() and number[0] == "0" else 0)
    except ValueError:
        return AP_BITS
