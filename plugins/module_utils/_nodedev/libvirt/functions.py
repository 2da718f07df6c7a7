# SPDX-License-Identifier: GPL-3.0-or-later
"""PCI functions as a domain gets them: what the results of modules tell of one, and the parts of its element."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..errors import BadInput, NodedevError
from ..grammar import checked_device
from ..names import device_name
from ..text import shown
from . import domain
from .elements import Element, flag, number, quoted
from .releases import Release, is_known, refuse_unknown

Device = Mapping[str, Any]
# By what a device of the driver module's result is told from other values, one of the functions of sriov's, and the
# vGPU of the vgpu module's.
BOUND, VIRTUAL, VGPU = {"address", "override"}, {"address", "vgpu_type"}, {"address", "type_id"}
# The digits and the largest number of each part of an address.
PARTS = {"domain": (4, 0xFFFFFFFF), "bus": (2, 0xFF), "slot": (2, 0x1F), "function": (1, 7)}
PCI = re.compile(r"([0-9a-f]+):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])")
# libvirt's grammar of a driver's name.
MODEL = re.compile(r"[a-zA-Z0-9_+-]{1,64}")
PHYSICAL = "phys_function"
BITS_32 = (1 << 32) - 1


def of_result(value: Mapping[str, Any]) -> Device | None:
    """What the driver or the vgpu module returns, or one of the functions of the sriov module, as nodedev_facts has it.

    None for another value; NodedevError for one that no domain can get.
    """
    keys = set(value)
    if not any(keys >= each for each in (BOUND, VIRTUAL, VGPU)) or value.get("uuid") is not None:
        # A vGPU of a pool that is a mediated device has a UUID instead of an address.
        return None
    if value["address"] is None:
        raise NodedevError(f"virtual function {quoted(value.get('index'))} is only foretold, and has no address yet")
    bus, address = checked_device("name", _text(value.get("name")))
    name = device_name(bus, address)
    capability: dict[str, Any] = {"type": bus}
    place = PCI.fullmatch(address)
    if place is not None:
        capability.update((part, int(digits, 16)) for part, digits in zip(PARTS, place.groups()))
    found: dict[str, Any] = {"name": name, "capability": capability, "driver": {"name": value.get("driver")}}
    if keys >= VIRTUAL or keys >= VGPU:
        kind = _vendors_type(name, value["vgpu_type"]) if keys >= VIRTUAL else _type_of_vgpu(name, value["type_id"])
        capability["capability"] = [{"type": PHYSICAL}]
        found["extra"] = {"current_vgpu_type": kind}
    return found


def _text(value: object) -> str:
    """The name of a device, which is text; ValueError for what is none."""
    if not isinstance(value, str):
        raise ValueError(f"name {quoted(value)}")
    return value


def _vendors_type(name: str, kind: object) -> object:
    """The type of a vGPU, which its driver counts; one of a mediated device is a name, and a domain gets that."""
    if isinstance(kind, str) and not kind.isdecimal():
        raise NodedevError(
            f"{name} carries a mediated device of type {shown(kind)}, and a domain gets that: give the mdev of"
            " hostdev.nodedev.mdev's result"
        )
    return kind


def _type_of_vgpu(name: str, id: object) -> object:
    """The type of a vGPU that runs or is defined: what is its function stays with the vendor's driver all the time."""
    if id is None:
        raise NodedevError(f"{name} is not a vGPU, and not defined to be one")
    return id


def nested(device: Device) -> list[Any]:
    """The types of the capabilities within that of a device."""
    return [inner.get("type") for inner in device["capability"].get("capability") or ()]


def is_managed(device: Device) -> bool:
    """Whether libvirt is to take a function from its driver when a domain starts, and to give it back at the end.

    Not where a driver for guests has it already, for whoever has bound it there keeps it there; nor where it carries
    a vGPU, since that stays with the vendor's driver.
    """
    extra = device.get("extra") or {}
    if number(extra.get("current_vgpu_type") or 0, BITS_32) != 0:
        return False
    driver = device.get("driver")
    name = driver.get("name") if isinstance(driver, Mapping) else None
    return not (isinstance(name, str) and domain.is_vfio(name))


def address(device: Device) -> dict[str, str]:
    """The attributes of an <address> by which the element names the function; ValueError where it has none."""
    capability = device["capability"]
    return {part: f"0x{number(capability[part], most):0{width}x}" for part, (width, most) in PARTS.items()}


def driver(model: object, iommufd: object, release: Release | None) -> Element | None:
    """The <driver> of the element, None where nothing is said; BadInput where this release does not know it.

    A release that does not know IOMMUFD does without it anyway.
    """
    attributes = {}
    if model is not None:
        if not isinstance(model, str) or not MODEL.fullmatch(model):
            raise BadInput("model", model, "a driver's name has 1 to 64 letters, digits and _ + -")
        refuse_unknown(release, "model", model)
        attributes["model"] = model
    if iommufd is not None:
        wanted = flag("iommufd", iommufd)
        if wanted:
            refuse_unknown(release, "iommufd", iommufd)
        if is_known(release, "iommufd"):
            attributes["iommufd"] = yes_or_no(wanted)
    return Element("driver", attributes) if attributes else None


def yes_or_no(value: bool) -> str:
    """A flag as libvirt writes most of them."""
    return "yes" if value else "no"
