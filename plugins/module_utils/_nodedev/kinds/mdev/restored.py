# SPDX-License-Identifier: GPL-3.0-or-later
"""The definitions of mediated devices, those of mdevctl: what runs of them, what is unlike, and how one is restored."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from ...host import mdev_parents, mdevs, pci, sysfs, vgpu_types
from ...host.mdevs import Mdev
from ...host.oddities import Oddities
from ...names import called, mdev_name
from ...resource import Hindrance
from ...store import mdevctl
from ...store.files import DamagedDefinition
from ...store.mdevctl import Definition
from .seen import Wish


def defined(arrived: str | None) -> tuple[list[Definition], list[DamagedDefinition]]:
    """The definitions by parent and UUID: of all parents, or of the one that has arrived; the largest vGPUs first.

    The driver chooses where these stand on a card of several sizes, and would leave gaps otherwise.
    """
    definitions, damaged = mdevctl.all_defined(_folder_of(arrived))
    vgpus = [each for each in definitions if each.type.startswith(vgpu_types.MDEV)]
    memory: dict[str, int] = {}
    for each in vgpus if len({each.type for each in vgpus}) > 1 else ():
        memory[each.type] = memory.get(each.type) or _memory(each.parent, each.type)
    return sorted(definitions, key=lambda each: -memory.get(each.type, 0)), damaged


def _memory(parent: str, kind: str) -> int:
    """The memory that a vGPU of a type takes, in MiB, 0 where its parent does not tell: it is not made then either."""
    path = mdev_parents.path_of(parent)
    title = mdev_parents.title(path, kind, Oddities()) if path is not None else None
    return vgpu_types.framebuffer(title or "") or 0


def _folder_of(arrived: str | None) -> str | None:
    """The parent of what is defined for something that has arrived: that of the AP bus is the matrix."""
    return mdev_parents.MATRIX if arrived == mdev_parents.AP else arrived


def summary(definition: Definition) -> tuple[str, str, bool]:
    """Its UUID, the device as a person knows it, and whether it is to start with its parent, as no managed one is."""
    name = f"mdev {definition.uuid} of type {definition.type} on {called(definition.parent)}"
    return definition.uuid, name, definition.autostart and not definition.managed


def place(definition: Definition) -> Sequence[str]:
    """The card of its parent, and the parent where it is a virtual function of that."""
    return pci.lineage(definition.parent)


def concerns(definition: Definition, arrived: str) -> bool:
    return _folder_of(arrived) == definition.parent


def may_concern(damage: DamagedDefinition, arrived: str) -> bool:
    """Whether what cannot be understood may be of a device on this parent: its folder, a file in it, or all folders."""
    folder = os.path.relpath(damage.path, mdevctl.STORE).partition("/")[0]
    return folder in (_folder_of(arrived), ".")


def wish(definition: Definition) -> Wish:
    """The wish that a definition is, whoever wrote it.

    It was checked when it was read: the kernel's names may be others than a person would give. The names of attributes
    are checked where they are written.
    """
    return Wish(
        definition.uuid,
        type=definition.type,
        parent=definition.parent,
        attrs=definition.attrs,
        autostart=definition.autostart,
    )


def facts(definition: Definition) -> dict[str, Any]:
    device = _running(definition.uuid)
    path = mdev_parents.path_of(definition.parent)
    return {
        "uuid": definition.uuid,
        "name": mdev_name(definition.uuid, definition.parent),
        "parent": mdev_parents.name_of(path) if path else None,
        "parent_missing": path is None,
        **definition.document(),
        "managed": definition.managed,
        "active": device is not None and device.parent == definition.parent,
        "drift": list(_drift(definition, device)) if device else [],
    }


def _running(uuid: str) -> Mdev | None:
    """The device of this UUID, and None where it cannot be read: whoever restores it hears why."""
    try:
        return mdevs.find(uuid)
    except sysfs.SysfsError:
        return None


def _drift(definition: Definition, device: Mdev) -> Iterator[dict[str, str]]:
    """Where the device that runs under the UUID is unlike its definition; of attributes, those that can be read."""
    pairs = (("parent", definition.parent, device.parent), ("type", definition.type, device.type))
    yield from (
        {"what": what, "defined": defined, "running": running} for what, defined, running in pairs if defined != running
    )
    names = [name for name, _value in definition.attrs]
    for name, value in definition.attrs:
        running = _attribute(device.uuid, name)
        # An attribute that is written several times, as assign_adapter, does not tell the sum of it.
        if running is not None and names.count(name) == 1 and running.strip() != value.strip():
            yield {"what": f"attribute {name}", "defined": value, "running": running}
    if definition.parent == mdev_parents.MATRIX:
        # Here, as below: only who has to do with the matrix waits for its import.
        from . import matrix

        yield from matrix.drift(definition)


def _attribute(uuid: str, name: str) -> str | None:
    path = mdevs.own_file(uuid, name)
    try:
        return None if path is None else sysfs.read(path)
    except sysfs.SysfsError:
        # It can only be written.
        return None


def hindrance(definition: Definition) -> Hindrance | None:
    address, kind = definition.parent, definition.type
    path = mdev_parents.path_of(address)
    if path is None and not mdev_parents.device_exists(address):
        return Hindrance(
            f"its parent {called(address)} is not there; it is restored when the parent arrives", passing=False
        )
    if path is None:
        return Hindrance(
            f"its parent {called(address)} is not registered for mediated devices: is its driver bound?", passing=True
        )
    kinds = mdev_parents.kinds(path)
    if kind not in kinds:
        return Hindrance(
            f"its parent {called(address)} does not have type {kind}, only {', '.join(kinds) or 'none'}", passing=True
        )
    if address != mdev_parents.MATRIX:
        return None
    from . import matrix

    return matrix.hindrance()
