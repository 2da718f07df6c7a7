# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The <hostdev> element by which a domain gets a device, after libvirt's formatdomain.html, "Host devices"."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from xml.etree import ElementTree

from ansible.errors import AnsibleFilterError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import BadInput, NodedevError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.grammar import checked_uuid
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt import domain, elements, functions
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt.elements import (
    LONGEST,
    MISSHAPEN,
    Element,
    number,
    quoted,
)
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt.releases import (
    checked_release,
    refuse_unknown,
)
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.text import shown

Device = Mapping[str, Any]
SUBCHANNEL = re.compile(r"[0-9a-f]{1,2}\.[0-3]\.[0-9a-f]{4}")
VHOST_WWPN = re.compile(r"(?:naa\.)?([0-9a-fA-F]{16})")
USB_ID = re.compile(r"(?:0x)?[0-9a-fA-F]{1,4}")
# H:C:T:L, the kernel's name of a SCSI unit.
UNIT = re.compile(r"([0-9]+):([0-9]+):([0-9]+):([0-9]+)")
BRIDGES = {"pci-bridge", "cardbus-bridge"}
BITS_32 = (1 << 32) - 1
BITS_64 = (1 << 64) - 1
NO_DEVICE = (
    "this is not a device of hostdev.nodedev.nodedev_facts, nor one of the result of hostdev.nodedev.mdev, mdev_pool,"
    " driver, sriov, vgpu or vgpu_pool, nor a LUN of hostdev.nodedev.vhba's"
)
# By kind that can be declared, as a module's result has the device: why a domain gets no such one, None where it does.
DECLARED: dict[str, str | None] = {
    "ap_mask": "these are queues: give a mediated device on the matrix, which has some of them",
    "driver": None,
    "mdev": None,
    "mig": "this is a card that MIG divides: give a vGPU or a mediated device that is made on it",
    "sriov": "these are virtual functions: give one of them, such as sriov.functions[0]",
    "vgpu": None,
    "vhba": "this is a vHBA: give one of its luns, such as vhba.luns[0]",
}
# Where that is not under its kind.
RESULT = {"driver": "device"}
USB_BY = ("product", "address", "both")
# What devices of other kinds become, or have, that a domain gets.
INSTEAD = {
    "ap_card": "it gets queues by a mediated device on ap_matrix",
    "ap_matrix": "it gets queues by a mediated device on ap_matrix",
    "ap_queue": "it gets queues by a mediated device on ap_matrix",
    "ccw": "it gets a mediated device on the subchannel, when that is bound to vfio_ccw",
    "css": "it gets a mediated device on the subchannel, when that is bound to vfio_ccw",
    "drm": "it gets the PCI function that is its parent",
    "net": "it gets the PCI function that is its parent",
    "scsi_generic": "it gets the SCSI unit that is its parent",
    "storage": "it gets the SCSI unit that is its parent, or the path of the disk",
    "usb": "it gets the USB device that is its parent",
}
# The one kind of devices that has an option.
OWNERS = {"model": "pci", "iommufd": "pci", "display": "mdev", "ramfb": "mdev"}


def hostdev_xml(
    value: object,
    managed: bool | None = None,
    usb: str = "product",
    wwpn: str | None = None,
    model: str | None = None,
    iommufd: bool | None = None,
    display: bool | None = None,
    ramfb: bool | None = None,
    libvirt_version: str | int | None = None,
) -> str:
    """The element's text for a device of nodedev_facts or of another module's result, or a LUN of the vhba module's.

    ``managed`` replaces what the device's kind asks for, ``libvirt_version`` refuses what that release does not know.
    Raises AnsibleFilterError naming the device when it cannot be given to a domain, or is none.
    """
    try:
        is_managed = None if managed is None else elements.flag("managed", managed)
        options = {
            "usb": usb,
            "wwpn": wwpn,
            "model": model,
            "iommufd": iommufd,
            "display": None if display is None else elements.flag("display", display),
            "ramfb": None if ramfb is None else elements.flag("ramfb", ramfb),
            "release": checked_release(libvirt_version),
        }
        device = _device(value)
    except NodedevError as error:
        raise AnsibleFilterError(f"hostdev_xml: {shown(error, LONGEST)}") from None
    except MISSHAPEN as error:
        raise AnsibleFilterError(f"hostdev_xml: {NO_DEVICE}: {quoted(value)} ({quoted(error)})") from None
    element = _element(device, options)
    if is_managed is not None:
        element.set("managed", functions.yes_or_no(is_managed))
    return elements.text(element)


def _element(device: Device, options: Mapping[str, Any]) -> Element:
    name = _name(device)
    kind = device["capability"].get("type") if "capability" in device else "mdev"
    if not isinstance(kind, str) or kind not in KINDS:
        hint = f": {INSTEAD[kind]}" if isinstance(kind, str) and kind in INSTEAD else ""
        raise AnsibleFilterError(
            f"hostdev_xml: {name} is a device of kind {quoted(kind)}; a domain gets devices of the kinds"
            f" {', '.join(KINDS)}{hint}"
        )
    if options["usb"] not in USB_BY:
        raise AnsibleFilterError(f"hostdev_xml: usb is {quoted(options['usb'])}, not one of {', '.join(USB_BY)}")
    try:
        _refuse_options_of_others(kind, options)
        return KINDS[kind](device, options)
    except BadInput as error:
        raise AnsibleFilterError(f"hostdev_xml: {name}: {shown(error, LONGEST)}") from None
    except MISSHAPEN as error:
        raise AnsibleFilterError(
            f"hostdev_xml: {name} lacks what a {kind} device has, or has it wrong: {shown(error)}"
        ) from None


def _refuse_options_of_others(kind: str, options: Mapping[str, Any]) -> None:
    """BadInput where an option is given that devices of this kind do not have."""
    for option, owner in OWNERS.items():
        if options[option] is not None and kind != owner:
            raise BadInput(option, options[option], f"it is for devices of kind {owner}, not {kind}")


def _name(device: Device) -> str:
    name = device.get("name") or device.get("uuid")
    return shown(name) if isinstance(name, str) else quoted(name)


def _device(value: object) -> Device:
    """The device in the value, which may also be the whole result of a module."""
    several = elements.several(value)
    if several is not None:
        raise AnsibleFilterError(f"hostdev_xml: {several}")
    if isinstance(value, Mapping):
        # A device of nodedev_facts says its driver too.
        of_facts = "capability" in value
        named = (kind for kind in DECLARED if not of_facts and isinstance(value.get(RESULT.get(kind, kind)), Mapping))
        kind = "vhba" if "luns" in value else next(named, None)
        if kind is not None and DECLARED[kind] is not None:
            raise AnsibleFilterError(f"hostdev_xml: {DECLARED[kind]}")
        if {"address", "by_path"} <= set(value):
            return _unit(value["address"])
        device = value if kind is None else value[RESULT.get(kind, kind)]
        function = None if of_facts else functions.of_result(device)
        if function is not None or _is_device(device):
            return device if function is None else function
    raise AnsibleFilterError(f"hostdev_xml: {NO_DEVICE}: {quoted(value)}")


def _is_device(value: Device) -> bool:
    if "capability" in value:
        return isinstance(value["capability"], Mapping)
    return {"uuid", "device_api"} <= set(value)


def _unit(address: object) -> Device:
    """A LUN of the vhba module's result as nodedev_facts has it."""
    numbers = UNIT.fullmatch(address) if isinstance(address, str) else None
    if numbers is None:
        raise AnsibleFilterError(f"hostdev_xml: a LUN's address is {quoted(address)}, not like 9:0:0:1")
    return {
        "name": address,
        "capability": {"type": "scsi", **dict(zip(("host", "bus", "target", "lun"), numbers.groups()))},
    }


def _mdev(device: Device, options: Mapping[str, Any]) -> Element:
    capability = device.get("capability", device)
    model = device.get("device_api") or _extra(device).get("device_api") or _model(str(capability["parent_addr"]))
    element, source = elements.hostdev("mdev", model=domain.checked_model(model))
    element.attrib.update(_display(str(model), options))
    ElementTree.SubElement(source, "address", uuid=checked_uuid(str(capability["uuid"])))
    return element


def _display(model: str, options: Mapping[str, Any]) -> dict[str, str]:
    """Whether QEMU shows what the device draws, and from the start of the firmware on."""
    given = {name: options[name] for name in ("display", "ramfb") if options[name] is not None}
    for option, value in given.items():
        refuse_unknown(options["release"], option, value)
        if model != domain.VFIO_PCI:
            raise BadInput(option, value, f"a device with the API {domain.VFIO_PCI} may have a display, not {model}")
    if given.get("ramfb") and not given.get("display"):
        raise BadInput("ramfb", True, "it goes with display=true")
    return {name: "on" if value else "off" for name, value in given.items()}


def _extra(device: Device) -> Mapping[str, Any]:
    """What libvirt does not say of a device."""
    more: Mapping[str, Any] = device.get("extra") or {}
    return more


def _model(parent: str) -> str:
    """The API of a device that does not run and so does not tell it: each kind of parent has one."""
    if parent == "matrix":
        return "vfio-ap"
    return "vfio-ccw" if SUBCHANNEL.fullmatch(parent) else "vfio-pci"


def _pci(device: Device, options: Mapping[str, Any]) -> Element:
    if not BRIDGES.isdisjoint(functions.nested(device)):
        raise AnsibleFilterError(f"hostdev_xml: {_name(device)} is a bridge: a domain gets endpoints only")
    element, source = elements.hostdev("pci", managed=functions.yes_or_no(functions.is_managed(device)))
    ElementTree.SubElement(source, "address", functions.address(device))
    driver = functions.driver(options["model"], options["iommufd"], options["release"])
    if driver is not None:
        element.insert(0, driver)
    return element


def _usb(device: Device, options: Mapping[str, Any]) -> Element:
    capability = device["capability"]
    element, source = elements.hostdev("usb")
    if options["usb"] != "address":
        for key in ("vendor", "product"):
            id = capability[key]["id"]
            if not USB_ID.fullmatch(id):
                raise ValueError(f"{key} id {quoted(id)}")
            ElementTree.SubElement(source, key, id=id)
    if options["usb"] != "product":
        ElementTree.SubElement(
            source, "address", {key: str(number(capability[key], BITS_32)) for key in ("bus", "device")}
        )
    return element


def _scsi(device: Device, _options: Mapping[str, Any]) -> Element:
    capability = device["capability"]
    element, source = elements.hostdev("scsi")
    ElementTree.SubElement(source, "adapter", name=f"scsi_host{number(capability['host'], BITS_32)}")
    unit = {"bus": capability["bus"], "target": capability["target"], "unit": capability["lun"]}
    ElementTree.SubElement(source, "address", {key: str(number(value, BITS_64)) for key, value in unit.items()})
    return element


def _scsi_host(device: Device, options: Mapping[str, Any]) -> Element:
    if options["wwpn"] is None:
        raise AnsibleFilterError(
            "hostdev_xml: libvirt gives a domain a SCSI host by vhost-scsi only: set wwpn to the WWPN of the target"
            f" in the kernel's configfs, or give the domain the units of {_name(device)}, such as scsi_3_0_0_1"
        )
    match = VHOST_WWPN.fullmatch(str(options["wwpn"]))
    if match is None:
        raise ValueError(f"wwpn {quoted(options['wwpn'])}, which is not naa. and 16 hexadecimal digits")
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
    def filters(self) -> dict[str, Callable[..., str]]:
        return {"hostdev_xml": hostdev_xml}
