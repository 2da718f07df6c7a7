# SPDX-License-Identifier: GPL-3.0-or-later
"""PCI functions from a short declaration: attributes, uevent properties and configuration space."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from typing import Any

_ADDRESS = re.compile(r"^([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])$")
_KEYS = {
    "address",
    "below",
    "vendor",
    "device",
    "subsystem_vendor",
    "subsystem_device",
    "class",
    "revision",
    "numa_node",
    "header",
    "express",
    "config_size",
    "physfn",
    "virtfns",
    "totalvfs",
}
_CAPABILITY = 0x78
_STATUS_CAPABILITIES = 0x10


def number(value: Any) -> int:
    """An integer from YAML: a number, or text in decimal or with 0x."""
    return value if isinstance(value, int) else int(str(value), 0)


def config_space(fields: Mapping[str, int], header: int, express: Mapping[str, Any] | None, size: int) -> bytes:
    """A configuration space of `size` bytes: ids, class, header type and, with `express`, the PCIe capability.

    `express` has `type` (device/port type, 0 an endpoint), `speed` and `width` (codes of the link capability),
    `current_speed`, `current_width` and `port`.
    """
    config = bytearray(size)
    struct.pack_into("<HH", config, 0x00, fields["vendor"], fields["device"])
    config[0x08] = fields["revision"]
    config[0x09:0x0C] = fields["class"].to_bytes(3, "little")
    config[0x0E] = header
    if header == 0:
        struct.pack_into("<HH", config, 0x2C, fields["subsystem_vendor"], fields["subsystem_device"])
    if express is not None:
        struct.pack_into("<H", config, 0x06, _STATUS_CAPABILITIES)
        config[0x34] = _CAPABILITY
        speed, width = number(express.get("speed", 3)), number(express.get("width", 16))
        flags = 2 | number(express.get("type", 0)) << 4
        link = speed | width << 4 | number(express.get("port", 0)) << 24
        state = number(express.get("current_speed", speed)) | number(express.get("current_width", width)) << 4
        struct.pack_into("<BBH", config, _CAPABILITY, 0x10, 0, flags)
        struct.pack_into("<I", config, _CAPABILITY + 0x0C, link)
        struct.pack_into("<H", config, _CAPABILITY + 0x12, state)
    return bytes(config)


def expand(declaration: Mapping[str, Any], places: dict[str, str]) -> dict[str, Any]:
    """The plain declaration of the PCI function that `declaration["pci"]` describes.

    `places` maps the addresses seen so far to their paths and gets this one: functions below a bridge and the
    VFs of a card find their place by it.
    """
    pci: Mapping[str, Any] = declaration["pci"]
    unknown = sorted(set(pci) - _KEYS)
    if unknown:
        raise ValueError(f"pci: unknown key {', '.join(unknown)}: use {', '.join(sorted(_KEYS))}")
    address = str(pci["address"])
    match = _ADDRESS.match(address)
    if match is None:
        raise ValueError(f"pci: address {address!r} is not of the form 0000:06:00.0")
    above = f"devices/pci{match.group(1)}:{match.group(2)}"
    if "below" in pci:
        above = _place(places, str(pci["below"]), address)
    path = f"{above}/{address}"
    places[address] = path

    fields = {
        "vendor": number(pci.get("vendor", 0x1AF4)),
        "device": number(pci.get("device", 0x1000)),
        "subsystem_vendor": number(pci.get("subsystem_vendor", pci.get("vendor", 0x1AF4))),
        "subsystem_device": number(pci.get("subsystem_device", 0)),
        "class": number(pci.get("class", 0x020000)),
        "revision": number(pci.get("revision", 0)),
    }
    header = number(pci.get("header", 0))
    express: Mapping[str, Any] | None = pci.get("express")
    size = number(pci.get("config_size", 256 if express is None else 4096))
    class_ = fields["class"]
    modalias = (
        f"pci:v{fields['vendor']:08X}d{fields['device']:08X}sv{fields['subsystem_vendor']:08X}"
        f"sd{fields['subsystem_device']:08X}bc{class_ >> 16:02X}sc{class_ >> 8 & 0xFF:02X}i{class_ & 0xFF:02X}"
    )
    attributes: dict[str, Any] = {
        "vendor": f"0x{fields['vendor']:04x}",
        "device": f"0x{fields['device']:04x}",
        "subsystem_vendor": f"0x{fields['subsystem_vendor']:04x}",
        "subsystem_device": f"0x{fields['subsystem_device']:04x}",
        "class": f"0x{class_:06x}",
        "revision": f"0x{fields['revision']:02x}",
        "numa_node": number(pci.get("numa_node", -1)),
        "modalias": modalias,
        "config": {"hex": config_space(fields, header, express, size).hex(), "mode": "0644"},
    }
    links: dict[str, str] = {}
    if "physfn" in pci:
        links["physfn"] = _place(places, str(pci["physfn"]), address)
    virtfns = [str(item) for item in pci.get("virtfns", [])]
    for index, virtfn in enumerate(virtfns):
        links[f"virtfn{index}"] = f"{path.rpartition('/')[0]}/{virtfn}"
    if "totalvfs" in pci or virtfns:
        attributes["sriov_totalvfs"] = number(pci.get("totalvfs", len(virtfns)))
        attributes["sriov_numvfs"] = len(virtfns)
    uevent = {
        "PCI_CLASS": f"{class_:X}",
        "PCI_ID": f"{fields['vendor']:04X}:{fields['device']:04X}",
        "PCI_SUBSYS_ID": f"{fields['subsystem_vendor']:04X}:{fields['subsystem_device']:04X}",
        "PCI_SLOT_NAME": address,
        "MODALIAS": modalias,
    }
    plain = {key: value for key, value in declaration.items() if key != "pci"}
    plain["path"] = path
    plain["bus"] = "pci"
    plain["attributes"] = {**attributes, **plain.get("attributes", {})}
    plain["links"] = {**links, **plain.get("links", {})}
    plain["uevent"] = {**uevent, **plain.get("uevent", {})}
    return plain


def _place(places: Mapping[str, str], address: str, by: str) -> str:
    if address not in places:
        raise ValueError(f"pci {by} refers to {address}: declare that function first")
    return places[address]
