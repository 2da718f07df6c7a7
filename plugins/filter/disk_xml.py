# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The <disk> element by which a domain gets a LUN, after libvirt's formatdomain.html, "Hard drives"."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from xml.etree import ElementTree

from ansible.errors import AnsibleFilterError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import BadInput
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt import elements
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt.elements import (
    LONGEST,
    MISSHAPEN,
    quoted,
)
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.text import shown

TARGET = re.compile(r"(vd|sd|hd)[a-z]+")
# The bus that a name stands for where none is given, as libvirt has it.
BUSES = {"vd": "virtio", "sd": "scsi", "hd": "ide"}
CHOICES = {
    "bus": ("virtio", "scsi", "sata", "usb", "ide"),
    "device": ("disk", "lun"),
    "cache": ("none", "default", "writethrough", "writeback", "directsync", "unsafe"),
}


def disk_xml(
    value: object,
    target: str | None = None,
    bus: str | None = None,
    device: str = "disk",
    cache: str = "none",
    readonly: bool = False,
    shareable: bool = False,
) -> str:
    """The element's text for a LUN of the vhba module's result; AnsibleFilterError naming what is wrong."""
    try:
        flags = {"readonly": elements.flag("readonly", readonly), "shareable": elements.flag("shareable", shareable)}
        return _disk(value, target, {"bus": bus, "device": device, "cache": cache}, flags)
    except BadInput as error:
        raise AnsibleFilterError(f"disk_xml: {shown(error, LONGEST)}") from None
    except MISSHAPEN as error:
        raise AnsibleFilterError(
            f"disk_xml: this is not a LUN of hostdev.nodedev.vhba's result: {quoted(value)} ({quoted(error)})"
        ) from None


def _disk(value: object, target: object, options: Mapping[str, str | None], flags: Mapping[str, bool]) -> str:
    source = _source(value)
    if target is None:
        raise AnsibleFilterError("disk_xml: target is required: the disk's name in the guest, such as vdb")
    named = TARGET.fullmatch(target) if isinstance(target, str) else None
    if named is None:
        raise AnsibleFilterError(f"disk_xml: target is {quoted(target)}, not a name in the guest such as sda or vdb")
    chosen = {**options, "bus": BUSES[named[1]] if options["bus"] is None else options["bus"]}
    for option, choices in CHOICES.items():
        if chosen[option] not in choices:
            raise AnsibleFilterError(f"disk_xml: {option} is {quoted(chosen[option])}, not one of {', '.join(choices)}")
    if chosen["device"] == "lun" and chosen["bus"] != "scsi":
        raise AnsibleFilterError(
            f"disk_xml: device 'lun' passes SCSI commands on, for which the bus must be 'scsi' and is {chosen['bus']!r}"
        )
    return elements.text(_element(source, named[0], {key: str(each) for key, each in chosen.items()}, flags))


def _element(source: str, target: str, chosen: Mapping[str, str], flags: Mapping[str, bool]) -> elements.Element:
    disk = ElementTree.Element("disk", type="block", device=chosen["device"])
    ElementTree.SubElement(disk, "driver", name="qemu", type="raw", cache=chosen["cache"])
    ElementTree.SubElement(disk, "source", dev=source)
    ElementTree.SubElement(disk, "target", dev=target, bus=chosen["bus"])
    for flag in (name for name, wanted in flags.items() if wanted):
        ElementTree.SubElement(disk, flag)
    return disk


def _source(value: object) -> str:
    """The path of the LUN that stays the same."""
    vhba = value.get("vhba", value) if isinstance(value, Mapping) else None
    if isinstance(vhba, Mapping) and "luns" in vhba:
        raise AnsibleFilterError("disk_xml: this is a vHBA: give one of its luns, such as vhba.luns[0]")
    several = elements.several(value)
    if several is not None:
        raise AnsibleFilterError(f"disk_xml: {several}")
    if not isinstance(value, Mapping) or not {"address", "by_path"} <= set(value):
        raise AnsibleFilterError(f"disk_xml: this is not a LUN of hostdev.nodedev.vhba's result: {quoted(value)}")
    mapped = value.get("multipath")
    # A guest on one path would stop with that.
    path = (mapped.get("path") if isinstance(mapped, Mapping) else None) or value["by_path"] or value.get("by_id")
    named = value["address"] if isinstance(value["address"], str) else quoted(value["address"])
    if path is None and value.get("block") is None:
        raise AnsibleFilterError(f"disk_xml: LUN {shown(named)} is not a disk: a guest gets it by hostdev_xml")
    # Other characters have no place in XML.
    if not isinstance(path, str) or not path.isprintable() or not path.startswith("/dev/"):
        raise AnsibleFilterError(
            f"disk_xml: LUN {shown(named)} has {quoted(path)} for multipath, by_path or by_id, not a path in /dev"
        )
    return path


class FilterModule:
    def filters(self) -> dict[str, Callable[..., str]]:
        return {"disk_xml": disk_xml}
