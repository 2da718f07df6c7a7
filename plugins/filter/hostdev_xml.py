# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The <hostdev> element by which a domain gets a device, after libvirt's formatdomain.html, "Host devices"."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from xml.etree import ElementTree

from ansible.errors import AnsibleFilterError
from ansible_collections.hostdev.nodedev.plugins.module_utils import elements, hostdev
from ansible_collections.hostdev.nodedev.plugins.module_utils.elements import Element
from ansible_collections.hostdev.nodedev.plugins.module_utils.errors import BadInput

Device = Mapping[str, Any]
SUBCHANNEL = re.compile(r"[0-9a-f]{1,2}\.[0-3]\.[0-9a-f]{4}")
VHOST_WWPN = re.compile(r"(?:naa\.)?([0-9a-fA-F]{16})")
USB_ID = re.compile(r"(?:0x)?[0-9a-fA-F]{1,4}")
# H:C:T:L, the kernel's name of a SCSI unit.
UNIT = re.compile(r"([0-9]+):([0-9]+):([0-9]+):([0-9]+)")
USB_BY = ("product", "address", "both")


def hostdev_xml(value: object, managed: bool | None = None, usb: str = "product", wwpn: str | None = None) -> str:
    """The element's text for a device of nodedev_facts, of the mdev module's result, or a LUN of the vhba module's.

    ``managed`` replaces what the device's kind asks for. Raises AnsibleFilterError naming the device when it
    cannot be given to a domain, or is none.
    """
    device = _device(value)
    name = device.get("name") or device.get("uuid")
    kind = device["capability"].get("type") if "capability" in device else "mdev"
    if kind not in KINDS:
        raise AnsibleFilterError(
            f"hostdev_xml: {name} is a device of kind {kind!r}; a domain gets devices of the kinds {', '.join(KINDS)}"
        )
    if usb not in USB_BY:
        raise AnsibleFilterError(f"hostdev_xml: usb is {usb!r}, not one of {', '.join(USB_BY)}")
    try:
        element = KINDS[kind](device, {"usb": usb, "wwpn": wwpn})
    except BadInput as error:
        raise AnsibleFilterError(f"hostdev_xml: {name}: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise AnsibleFilterError(
            f"hostdev_xml: {name} lacks what a {kind} device has, or has it wrong: {error}"
        ) from error
    if managed is not None:
        element.set("managed", "yes" if managed else "no")
    return elements.text(element)


def _device(value: object) -> Device:
    """The device in the value, which may also be the whole result of a module."""
    if isinstance(value, Mapping):
        vhba = value.get("vhba", value)
        if isinstance(vhba, Mapping) and "luns" in vhba:
            raise AnsibleFilterError("hostdev_xml: this is a vHBA: give one of its luns, such as vhba.luns[0]")
        if {"address", "by_path"} <= set(value):
            return _unit(value["address"])
        device = value.get("mdev", value)
        if isinstance(device, Mapping) and (
            isinstance(device.get("capability"), Mapping) or {"uuid", "device_api"} <= set(device)
        ):
            return device
    raise AnsibleFilterError(
        "hostdev_xml: this is no device of hostdev.nodedev.nodedev_facts, no mdev of hostdev.nodedev.mdev's result and"
        f" no LUN of hostdev.nodedev.vhba's: {repr(value)[:200]}"
    )


def _unit(address: object) -> Device:
    """A LUN of the vhba module's result as nodedev_facts has it."""
    numbers = UNIT.fullmatch(address) if isinstance(address, str) else None
    if numbers is None:
        raise AnsibleFilterError(f"hostdev_xml: a LUN's address is {address!r}, not like 9:0:0:1")
    return {
        "name": address,
        "capability": {"type": "scsi", **dict(zip(("host", "bus", "target", "lun"), numbers.groups()))},
    }


def _mdev(device: Device, _options: Mapping[str, Any]) -> Element:
    said = device.get("capability", device)
    model = device.get("device_api") or device.get("extra", {}).get("device_api") or _model(str(said["parent_addr"]))
    return ElementTree.fromstring(hostdev.mdev(str(said["uuid"]), model))


def _model(parent: str) -> str:
    """The API of a device that does not run and so does not tell it: each kind of parent has one."""
    if parent == "matrix":
        return "vfio-ap"
    return "vfio-ccw" if SUBCHANNEL.fullmatch(parent) else "vfio-pci"


def _pci(device: Device, _options: Mapping[str, Any]) -> Element:
    said = device["capability"]
    nested = {inner.get("type") for inner in said.get("capability", ())}
    if nested & {"pci-bridge", "cardbus-bridge"}:
        raise AnsibleFilterError(f"hostdev_xml: {device.get('name')} is a bridge: a domain gets endpoints only")
    # A VF that carries a vGPU stays with the vendor's driver: libvirt must not bind it to another.
    vgpu = int(device.get("extra", {}).get("current_vgpu_type") or 0) != 0
    element, source = elements.hostdev("pci", managed="no" if vgpu else "yes")
    widths = {"domain": 4, "bus": 2, "slot": 2, "function": 1}
    address = {key: f"0x{int(said[key]):0{width}x}" for key, width in widths.items()}
    ElementTree.SubElement(source, "address", address)
    return element


def _usb(device: Device, options: Mapping[str, Any]) -> Element:
    said = device["capability"]
    element, source = elements.hostdev("usb")
    if options["usb"] != "address":
        for key in ("vendor", "product"):
            number = said[key]["id"]
            if not USB_ID.fullmatch(number):
                raise ValueError(f"{key} id {number!r}")
            ElementTree.SubElement(source, key, id=number)
    if options["usb"] != "product":
        ElementTree.SubElement(source, "address", bus=str(int(said["bus"])), device=str(int(said["device"])))
    return element


def _scsi(device: Device, _options: Mapping[str, Any]) -> Element:
    said = device["capability"]
    element, source = elements.hostdev("scsi")
    ElementTree.SubElement(source, "adapter", name=f"scsi_host{int(said['host'])}")
    unit = {"bus": said["bus"], "target": said["target"], "unit": said["lun"]}
    ElementTree.SubElement(source, "address", {key: str(int(value)) for key, value in unit.items()})
    return element


def _scsi_host(device: Device, options: Mapping[str, Any]) -> Element:
    if options["wwpn"] is None:
        raise AnsibleFilterError(
            "hostdev_xml: libvirt gives a domain a SCSI host by vhost-scsi only: set wwpn to the WWPN of the target"
            f" in the kernel's configfs, or give the domain the units of {device.get('name')}, such as scsi_3_0_0_1"
        )
    match = VHOST_WWPN.fullmatch(str(options["wwpn"]))
    if match is None:
        raise ValueError(f"wwpn {options['wwpn']!r}, which is not naa. and 16 hexadecimal digits")
    element, source = elements.hostdev("scsi_host")
    source.attrib.update(protocol="vhost", wwpn=f"naa.{match[1].lower()}")
    return element


KINDS: dict[str, Callable[[Device, Mapping[str, Any]], Element]] = {
    "mdev": _mdev,
    "pci": _pci,
    "usb_device": _usb,
    "scsi": _scsi,
    "scsi_host": _scsi_host,
}


class FilterModule:
    """The filter for Ansible."""

    def filters(self) -> dict[str, Callable[..., str]]:
        return {"hostdev_xml": hostdev_xml}
