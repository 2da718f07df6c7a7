# SPDX-License-Identifier: GPL-3.0-or-later
"""Managed mediated devices: which of them a domain names, and how one is made for it and removed after it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from ... import locks, resource
from ...errors import InUse, NodedevError
from ...host import holders, mdev_parents, mdevs, starting
from ...libvirt.domain_document import Hostdev
from ...names import called
from ...plan import apply
from ...store import marks, mdevctl
from ...store.mdevctl import Definition
from ...store.scripts import scripts_of_host
from . import device, restored, steps
from .device import KIND, Wish


def named(devices: Iterable[Hostdev]) -> list[str]:
    """The UUIDs of the mediated devices among those of a domain, each once."""
    found = [each.address.get("uuid", "").lower() for each in devices if each.type == "mdev"]
    return [*dict.fromkeys(filter(None, found))]


def managed(uuid: str) -> Definition | None:
    if mdevctl.uuid_of(uuid) != uuid or not marks.is_marked(KIND, uuid):
        return None
    definitions, damaged = mdevctl.defined(uuid)
    if len(definitions) > 1:
        parents = ", ".join(called(each.parent) for each in definitions)
        raise NodedevError(f"mdev {uuid} is managed and defined under several parents: {parents}")
    if definitions:
        return definitions[0]
    if damaged:
        raise damaged[0]
    raise NodedevError(
        f"mdev {uuid} is managed, but its definition is gone: define it again, or have the task say state: absent"
    )


def is_there(uuid: str) -> bool:
    return mdevs.find(uuid) is not None


def make(definition: Definition, seconds: float) -> bool:
    """Make the device with its attributes, and wait until it is complete; whether it was not there before.

    What is in its way for a moment is waited for, so many seconds.
    """
    hindrance = resource.lasting(partial(restored.hindrance, definition), seconds)
    if hindrance is not None:
        raise NodedevError(f"mdev {definition.uuid} cannot be made: {hindrance.reason}")
    wish = Wish(
        definition.uuid,
        type=definition.type,
        parent=definition.parent,
        attrs=definition.attrs,
        persistent=False,
        wait_timeout=seconds,
    )
    return bool(resource.ensure(device, wish)["changed"])


def unmake(uuid: str, seconds: float) -> None:
    found = mdevs.find(uuid)
    if found is None:
        return
    with locks.held([mdev_parents.card_of(found.parent)], seconds):
        found = mdevs.find(uuid)
        if found is None:
            return
        held = starting.still_held(found.nodes, seconds)
        if held:
            raise InUse(f"mdev {uuid} is in use by {holders.named(held)}", [each.document(uuid=uuid) for each in held])
        apply([steps.remove(found, (), steps.Terms(seconds, scripts_of_host()))])


def nodes(uuid: str) -> tuple[str, ...]:
    found = mdevs.find(uuid)
    return found.nodes if found is not None else ()
