# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints all that a libvirtd knows of its node devices, as JSON. Runs beside that daemon, on the system's Python.

`python3 libvirt_dump.py URI`: the keys are `version` (as libvirt counts), `devices` (name to `xml`, `parent`,
`active`, `persistent`), `capabilities` (a name of `nodedev-list --cap` to device names), `tree`, `tree_all`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import libvirt

PREFIX = "VIR_CONNECT_LIST_NODE_DEVICES_CAP_"
# The filters' names are those of virsh but for these.
NAMES = {"pci_dev": "pci", "usb_dev": "usb_device", "usb_interface": "usb", "ccw_dev": "ccw", "css_dev": "css"}
NAMES["ccwgroup_dev"] = "ccwgroup"


def capabilities(connection: Any) -> dict[str, list[str]]:
    """The device names, active or not, that each filter of `nodedev-list --cap` gives."""
    found = {}
    for constant in dir(libvirt):
        name = constant[len(PREFIX) :].lower()
        if constant.startswith(PREFIX) and name:
            devices = connection.listAllDevices(getattr(libvirt, constant))
            found[NAMES.get(name, name)] = sorted(device.name() for device in devices)
    return found


def tree(uri: str, *options: str) -> str:
    command = ["virsh", "-c", uri, "nodedev-list", "--tree", *options]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode("utf-8", "surrogateescape")


def main(uri: str) -> None:
    """Print the dump of the daemon at `uri`."""
    connection = libvirt.open(uri)
    devices = {
        device.name(): {
            "xml": device.XMLDesc(0),
            "parent": device.parent(),
            "active": bool(device.isActive()),
            "persistent": bool(device.isPersistent()),
        }
        for device in connection.listAllDevices(0)
    }
    dump = {
        "version": connection.getLibVersion(),
        "devices": devices,
        "capabilities": capabilities(connection),
        "tree": tree(uri),
        "tree_all": tree(uri, "--all"),
    }
    json.dump(dump, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
