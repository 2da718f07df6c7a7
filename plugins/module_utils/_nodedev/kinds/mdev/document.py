# SPDX-License-Identifier: GPL-3.0-or-later
"""Wishes for a mediated device in libvirt's words: by its document, as nodedev-define takes it, and by its name."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from ... import resource
from ...errors import BadInput, Missing
from ...host import mdev_parents, mdevs
from ...host.machine import derived_uuid
from ...names import libvirt_uuid, mdev_name
from ...store import mdevctl
from . import device, leaving
from .device import Wish

CAPABILITY, PREFIX = "mdev", "mdev_"
FOREIGN = ("require_online", "identity")
# libvirt's names end with the parent's address; until 7.8 they did not.
NAME = re.compile(r"mdev_([0-9a-f]{8}_[0-9a-f]{4}_[0-9a-f]{4}_[0-9a-f]{4}_[0-9a-f]{12})(?:_([A-Za-z0-9_]+))?")
# A subsystem's name, and the kernel's name of the device in it.
PARENT = re.compile(r"[A-Za-z0-9]+_[A-Za-z0-9_]+")
ORPHAN = "computer"


def from_device(document: dict[str, Any], **options: Any) -> Wish:
    """The wish that a document means; it is all of the device, so one without attributes wants it without them.

    ``options`` are those of Wish that the document has no place for. A document without a UUID means the device whose
    UUID is derived from parent and type. BadInput, naming the option ``xml``, for one that lacks what libvirt asks for.
    """
    capability = document["capability"]
    kind = capability.get("mdev_type")
    if kind is None:
        raise Missing("xml: <type>", "a mediated device has a <type> with an id")
    if not isinstance(kind, dict) or not isinstance(kind.get("id"), str):
        raise BadInput("xml", kind, "a mediated device has a <type> with an id")
    parent = _parent(document.get("parent"), capability.get("parent_addr"))
    uuid = capability.get("uuid")
    if uuid is None:
        uuid = derived_uuid(parent, kind["id"])
    uuid = libvirt_uuid(uuid) if isinstance(uuid, str) else None
    if uuid is None:
        raise BadInput("xml", capability["uuid"], "<uuid> holds a UUID of 32 hexadecimal digits and nothing else")
    attrs = [_attribute(item) for item in capability.get("attr", ())]
    return Wish.checked(uuid=uuid, type=kind["id"], parent=parent, attrs=attrs, **options)


def _parent(name: object, address: object) -> str:
    """The parent by libvirt's name; by its address where it was away when libvirt printed the document."""
    if name == ORPHAN and isinstance(address, str):
        return address
    if isinstance(name, str) and PARENT.fullmatch(name):
        return name
    if name is None:
        raise Missing("xml: <parent>", "a mediated device has a <parent>, by libvirt's name such as pci_0000_06_00_0")
    raise BadInput("xml", name, "a mediated device has a <parent>, by libvirt's name such as pci_0000_06_00_0")


def _attribute(attr: object) -> dict[str, str]:
    if not isinstance(attr, dict) or not {"name", "value"} <= set(attr):
        raise BadInput("xml", attr, "an <attr> has a name and a value")
    return {attr["name"]: attr["value"]}


def from_name(name: str, **options: Any) -> Wish:
    """The wish for a device that runs or is defined under this name; BadInput when none is and one is wanted."""
    match = NAME.fullmatch(name)
    if match is None:
        raise BadInput("name", name, "a mediated device is named mdev_, its UUID and its parent's address, with _ only")
    uuid, parent = match[1].replace("_", "-"), match[2]
    active = mdevs.find(uuid)
    definitions, damaged = mdevctl.defined(uuid)
    parents = [active.parent] if active is not None else []
    parents += [definition.parent for definition in definitions]
    if parent is not None:
        parents = [address for address in parents if mdev_name(uuid, address) == name]
        # Where a device is still being removed it is known by its parent alone.
        leaves = leaving.find(uuid, mdev_parents.addresses())
        parents += [leaves.parent] if leaves is not None and mdev_name(uuid, leaves.parent) == name else []
    if not parents and not damaged and options.get("state") != "absent":
        raise BadInput("name", name, "no such device runs or is defined here; one that is to be made needs its xml")
    if parent is not None:
        # An address that is not known stands for no device, so that none is taken for another parent's.
        parent = parents[0] if parents else parent
    # What the kernel or a definition calls the parent has no grammar to fit.
    return replace(Wish.checked(uuid=uuid, **options), parent=parent)


def ensure(wish: Wish, check_mode: bool) -> dict[str, Any]:
    return resource.ensure(device, wish, check_mode)
