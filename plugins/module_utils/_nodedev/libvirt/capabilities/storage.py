# SPDX-License-Identifier: GPL-3.0-or-later
"""What a disk or a drive for discs says of itself: libvirt's choice of block devices, with the size they have."""

from __future__ import annotations

from typing import Any

from ... import names
from ...errors import Dropped, Foreign
from ...host.numbers import SECTOR
from ...host.udev import Device

TYPE = "storage"
# What udev calls a drive (ID_TYPE, or what this file puts in its place) and what libvirt does.
DRIVES = {"cd": "cdrom", "cd/dvd": "cdrom", "disk": "disk", "floppy": "floppy", "sd": "sd", "dasd": "dasd"}
# Where udev has no ID_TYPE: a property that says it, else the beginning of the node.
MARKS = {"ID_DRIVE_FLOPPY": "floppy", "ID_CDROM": "cd", "ID_DRIVE_FLASH_SD": "sd"}
DASD = "/dev/dasd"
NODES = {"/dev/vd": "disk", DASD: "dasd", "/dev/nvme": "disk"}
# The kernel counts a device's size in these, whatever its logical block is.
# libvirt's sizes are unsigned long long.
SIZES = 1 << 64


def name(device: Device, capability: dict[str, Any]) -> str:
    """libvirt's name: with the serial number, where there is one."""
    serial = capability.get("serial")
    return names.device_name(device.subsystem, device.sysname if serial is None else f"{device.sysname}_{serial}")


def read(device: Device) -> dict[str, Any]:
    """Sizes are bytes; Dropped where libvirt does not take the device for a drive, as loop, dm and md devices."""
    node = device.devnode
    if node is None:
        raise Foreign("it has no node in /dev")
    drive = _drive(device, node)
    serial = _uid(device) if drive == "dasd" else device.prop("ID_SERIAL")
    elements = {
        "block": node,
        "bus": device.prop("ID_BUS"),
        "drive_type": drive,
        "model": _trimmed(device, "model"),
        "vendor": _trimmed(device, "vendor"),
        "serial": serial,
    }
    capability = {"type": TYPE, **{key: value for key, value in elements.items() if value is not None}}
    return {**capability, **(_disc(device, drive) if drive in ("cdrom", "floppy") else _disk(device))}


def _drive(device: Device, node: str) -> str:
    kind = device.prop("ID_TYPE")
    if kind is None or kind == "generic":
        kind = next((kind for mark, kind in MARKS.items() if device.prop(mark) is not None), None)
        kind = kind or next((kind for begin, kind in NODES.items() if node.startswith(begin)), None)
        if kind is None:
            raise Foreign(f"libvirt cannot tell what kind of drive {node} is")
    elif kind == "disk" and node.startswith(DASD):
        kind = "dasd"
    if kind not in DRIVES:
        raise Foreign(f"libvirt does not list drives of type {kind!r}")
    return DRIVES[kind]


def _uid(device: Device) -> str:
    uid = device.sysattr("device/uid")
    if uid is None:
        raise Dropped("it is a DASD without a uid")
    return uid


def _trimmed(device: Device, attribute: str) -> str | None:
    text = device.sysattr(f"device/{attribute}")
    return None if text is None else text.rstrip(" \t\r\n")


def _disk(device: Device) -> dict[str, Any]:
    size, blocks = _size(device)
    return {"size": size, **blocks}


def _disc(device: Device, drive: str) -> dict[str, Any]:
    removable = device.number("removable", 0, signed=True) == 1
    label = device.prop("ID_FS_LABEL")
    has_media = label is not None if drive == "floppy" else bool(device.prop_number("ID_CDROM_MEDIA", 0, signed=True))
    size, blocks = _size(device) if has_media else (0, {})
    if not removable:
        return {"size": 0, **blocks}
    capability: dict[str, Any] = {"type": "removable", "media_available": int(has_media), "media_size": size}
    if has_media and label is not None:
        capability["media_label"] = label
    return {"capability": [{**capability, **blocks}]}


def _size(device: Device) -> tuple[int, dict[str, int]]:
    """Its bytes, and its blocks as elements: none where both numbers are 0, as libvirt has it.

    libvirt takes the kernel's sectors for logical blocks, so that it shows a disk with blocks of 4096 bytes as eight
    times as large; this is the size. Where the kernel does not say how large a block is, libvirt's 0 stands.
    """
    sectors = device.number("size", 0, bits=64) or 0
    block = device.number("queue/logical_block_size", 0, bits=64) or 0
    size = sectors * SECTOR % SIZES if block else 0
    count = size // block if block not in (0, SECTOR) else sectors
    return size, {"logical_block_size": block, "num_blocks": count} if block or count else {}
