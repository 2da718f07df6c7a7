# SPDX-License-Identifier: GPL-3.0-or-later
"""The answer of nodedev_facts: the inventory, its tree, its XML."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..errors import NodedevError
from ..grammar import PCI, kernel_address
from ..host import modules
from ..host.oddities import Oddities
from ..host.udev import Device
from ..libvirt import devices
from ..libvirt.capabilities import fc_host, scsi
from ..libvirt.inventory import Filter, Inventory
from ..names import device_name
from . import channels
from .ap import Queues


def facts(options: dict[str, Any]) -> dict[str, Any]:
    """The answer of nodedev_facts to its options: ansible_facts.nodedev, the tree as a message, and warnings."""
    wanted = Filter(
        capabilities=frozenset(options["capabilities"] or ()),
        names=frozenset(map(_name, options["names"] or ())),
        parent=None if options["parent"] is None else _name(options["parent"]),
        **{key: options[key] for key in ("driver", "include", "persistence")},
    )
    queues = Queues()
    found = gathered(wanted, queues)
    for oddity in _absent(wanted, found):
        found.oddities.add(oddity)
    answer: dict[str, Any] = {"devices": found.devices} if options["devices"] else {}
    for key, told in (("channels", channels.tell(found)), ("crypto", queues.summary(found))):
        if told is not None:
            answer[key] = told
    message = {}
    if options["tree"]:
        answer["tree"] = tree(found.devices)
        message["msg"] = "\n".join(answer["tree"])
    if options["unlisted"]:
        answer["unlisted"] = found.unlisted
    if options["xml"]:
        # Here, since importing lxml takes longer than reading many a host.
        from ..libvirt import xml

        for device in found.devices.values():
            device["xml"] = xml.to_xml(device)
    return {"ansible_facts": {"nodedev": answer}, **message, "warnings": found.warnings}


def _name(device: str) -> str:
    """libvirt's name of a device, which a PCI function's address gives too."""
    return device_name("pci", kernel_address(device)) if PCI.fullmatch(device) else device


def _absent(wanted: Filter, found: Inventory) -> Iterator[str]:
    """What is asked for by name and is not there."""
    for name in sorted(wanted.names - {*found.devices}):
        yield f"names: no device that is asked for is called {name}"
    if wanted.parent is not None and not found.devices:
        yield f"parent: no device that is asked for is {wanted.parent} or below it"
    if wanted.driver is not None and not found.devices:
        yield f"driver: no device that is asked for has the driver {wanted.driver}{modules.suggested(wanted.driver)}"


def gathered(wanted: Filter, queues: Queues | None = None) -> Inventory:
    """The inventory with what users need to know of SCSI hosts that are Fibre Channel ports, and of crypto queues.

    ``queues`` are read with it, for who asks for more of them.
    """
    return devices.gathered(wanted, {scsi.HOST: _of_scsi_host, **(queues or Queues()).extras()})


def _of_scsi_host(device: Device, capability: dict[str, Any], oddities: Oddities) -> dict[str, Any]:
    name = f"scsi_host{capability['host']}"
    if "capability" not in capability:
        for oddity in fc_host.oddities(capability["host"]):
            oddities.add(f"of {name}, nothing of Fibre Channel is told: {oddity}")
        return {}
    # Here, so that a host without Fibre Channel does not wait for its import.
    from ..kinds.vhba import extra

    try:
        return extra.extras(device, capability, oddities)
    except NodedevError as error:
        oddities.add(f"of {name}, not all is told: {error}")
        return {}


def tree(devices: dict[str, dict[str, Any]]) -> list[str]:
    """The lines of ``virsh nodedev-list --tree``; a device whose parent is not among them is a root of its own."""
    children: dict[str | None, list[str]] = {}
    for name in sorted(devices, key=str.lower):
        parent = devices[name].get("parent")
        children.setdefault(parent if parent in devices else None, []).append(name)
    return [line for root in children.get(None, ()) for line in _branch(root, children, "", True, True)]


def _branch(
    name: str, children: dict[str | None, list[str]], indent: str, is_root: bool, is_last: bool
) -> Iterator[str]:
    yield indent + ("" if is_root else "+- ") + name
    below = children.get(name, [])
    inner = indent if is_root else indent + ("  " if is_last else "| ")
    if below:
        yield f"{inner}  |"
    for child in below:
        yield from _branch(child, children, f"{inner}  ", False, child == below[-1])
    if not below and is_last:
        yield inner
