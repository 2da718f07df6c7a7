# SPDX-License-Identifier: GPL-3.0-or-later
"""Which devices of the kernel are node devices of libvirt, and of what kind; the names that users choose kinds by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .. import names
from ..host.udev import Device
from .capabilities import ap, ccw, drm, mdev, mdev_types, net, pci, scsi, storage, system, usb, vdpa

Read = Callable[[Device], dict[str, Any]]
Name = Callable[[Device, dict[str, Any]], str]


@dataclass(frozen=True)
class Kind:
    """One kind of device: how it is read, the folder below /sys that lists such devices, its name if it is special."""

    read: Read
    folder: str = ""
    named: Name | None = None

    @property
    def subsystem(self) -> str:
        return self.folder.split("/")[1]

    def name(self, device: Device, capability: dict[str, Any]) -> str:
        return self.named(device, capability) if self.named else names.device_name(device.subsystem, device.sysname)


KINDS = {
    "system": Kind(system.read, named=system.name),
    "pci": Kind(pci.read, "bus/pci/devices"),
    "usb_device": Kind(usb.device, "bus/usb/devices"),
    "usb": Kind(usb.interface, "bus/usb/devices"),
    "net": Kind(net.read, "class/net", net.name),
    "scsi_host": Kind(scsi.host, "bus/scsi/devices"),
    "scsi_target": Kind(scsi.target, "bus/scsi/devices"),
    "scsi": Kind(scsi.unit, "bus/scsi/devices"),
    "storage": Kind(storage.read, "class/block", storage.name),
    "scsi_generic": Kind(scsi.generic, "class/scsi_generic"),
    "drm": Kind(drm.read, "class/drm"),
    "mdev": Kind(mdev.read, "bus/mdev/devices", mdev.name),
    "ccw": Kind(ccw.device, "bus/ccw/devices"),
    "ccwgroup": Kind(ccw.group, "bus/ccwgroup/devices"),
    "css": Kind(ccw.subchannel, "bus/css/devices"),
    "vdpa": Kind(vdpa.read, "bus/vdpa/devices"),
    "ap_card": Kind(ap.card, "bus/ap/devices"),
    "ap_queue": Kind(ap.queue, "bus/ap/devices"),
    "ap_matrix": Kind(ap.matrix, "bus/matrix/devices"),
    "mdev_types": Kind(mdev_types.read, "class/mtty"),
}

BY_DEVTYPE = {
    "usb_device": "usb_device",
    "usb_interface": "usb",
    "scsi_host": "scsi_host",
    "scsi_target": "scsi_target",
    "scsi_device": "scsi",
    "disk": "storage",
    "wlan": "net",
    "drm_minor": "drm",
    "ap_card": "ap_card",
    "ap_queue": "ap_queue",
    "qeth_generic": "ccwgroup",
    "qeth_layer2": "ccwgroup",
    "qeth_layer3": "ccwgroup",
}
BY_SUBSYSTEM = {
    "scsi_generic": "scsi_generic",
    "mdev": "mdev",
    "ccw": "ccw",
    "css": "css",
    "vdpa": "vdpa",
    "matrix": "ap_matrix",
    "mtty": "mdev_types",
}
BY_PROPERTY = {"INTERFACE": "net", "PCI_CLASS": "pci"}

# What a user may ask for, with virsh nodedev-list --cap's meaning, when it is not the kind of that name: the kinds to
# look through, and the nested capability to look for.
NESTED = {
    "fc_host": (("scsi_host",), "fc_host"),
    "vports": (("scsi_host",), "vport_ops"),
    "vpd": (("pci",), "vpd"),
    "ccwgroup_member": (("ccw",), "ccwgroup_member"),
    "mdev_types": (("mdev_types",), "mdev_types"),
}
# The kinds that may have mdev_types within, besides the one of that name.
PARENTS_OF_MDEVS = ("pci", "css", "ap_matrix")
CAPABILITIES = (*KINDS, *(name for name in NESTED if name not in KINDS))


def kind_of(device: Device) -> str | None:
    """The kind by libvirt's rules: a DEVTYPE decides alone, else the subsystem, else the properties; None for none."""
    uevent = device.uevent
    if "DEVTYPE" in uevent:
        return BY_DEVTYPE.get(uevent["DEVTYPE"])
    if device.subsystem in BY_SUBSYSTEM:
        return BY_SUBSYSTEM[device.subsystem]
    for name, kind in BY_PROPERTY.items():
        if name in uevent:
            return kind
    return None


def matches(capability: dict[str, Any], asked: str) -> bool:
    """Whether a device with this capability is what ``asked`` of CAPABILITIES stands for."""
    if capability["type"] == asked:
        return True
    if asked not in NESTED:
        return False
    return any(nested["type"] == NESTED[asked][1] for nested in capability.get("capability", ()))
