# SPDX-License-Identifier: GPL-3.0-or-later
"""Observations of a pool called x, written shortly: instance 3 on parent A is '3A', and its UUID in a step is #3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.machine import pool_uuid
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.mdevs import Mdev
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.processes import Holder
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mdev.parents import Choice, Parent
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mdev.pool_seen import Observation
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mdev.pool_wish import Wish
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.names import called
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.plan import describe
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.pools.record import Record, Recorded
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.resource import Plan
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.files import STORE
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.mdevctl import Attrs, Definition

MACHINE = "0123456789abcdef0123456789abcdef"
TYPE = "nvidia-1"
PARENTS = {"A": "0000:06:00.0", "B": "0000:07:00.0", "C": "0000:08:00.0"}
IDS = [pool_uuid(MACHINE, "x", index) for index in range(12)]
# Instances that are not of the pool, by the letter that stands in the place of the index.
OTHERS = {letter: f"83b8f4f2-509f-382f-3c1e-e6bfe0fa100{number}" for number, letter in enumerate("uvwx")}
HOLDER = Holder("/dev/vfio/12", "qemu-system-x86", pid=4711, domain="desk")


def uuid(name: str) -> str:
    return OTHERS[name] if name in OTHERS else IDS[int(name)]


def runs(*places: str, kind: str = TYPE) -> list[Mdev]:
    return [Mdev(uuid(each[0]), PARENTS[each[1]], kind, "vfio-pci", 12, ("/dev/vfio/12",)) for each in places]


def defined(*places: str, kind: str = TYPE, autostart: bool = True, attrs: Attrs = ()) -> list[Definition]:
    return [Definition(uuid(each[0]), PARENTS[each[1]], kind, autostart, attrs) for each in places]


def recorded(*places: str, root: str = STORE, **wish: Any) -> Record:
    """A record as earlier releases wrote it, of a wish for as many instances as it has unless told otherwise.

    They filled it up with the defaults of what they were not told.
    """
    return told(*places, root=root, **{"parents": {}, "placement": "spread", "attrs": [], "autostart": True, **wish})


def told(*places: str, root: str = STORE, **wish: Any) -> Record:
    """A record as this module writes it: of what it was told alone."""
    size = {} if "uuids" in wish else {"count": len(places)}
    document = {"type": TYPE, **size, **wish}
    instances = tuple(
        Recorded(index if each[0] in OTHERS else int(each[0]), uuid(each[0]), PARENTS[each[1]])
        for index, each in enumerate(places)
    )
    return Record("x", "mdev", document, instances, root)


def observed(
    record: Record | None = None,
    active: Sequence[Mdev] = (),
    definitions: Sequence[Definition] = (),
    capacity: Mapping[str, int] | None = None,
    held: str = "",
    **more: Any,
) -> Observation:
    """A host whose parents take so many instances, 4 on A and on B unless told otherwise; ``held`` are in use."""
    fits = {"A": 4, "B": 4} if capacity is None else capacity
    parents = [
        Parent(
            PARENTS[letter],
            f"pci_{letter}",
            PARENTS[letter],
            TYPE,
            "vfio-pci",
            max(most - sum(device.parent == PARENTS[letter] for device in active), 0),
        )
        for letter, most in fits.items()
    ]
    by_uuid: dict[str, tuple[Definition, ...]] = {}
    for each in definitions:
        by_uuid[each.uuid] = (*by_uuid.get(each.uuid, ()), each)
    there = {*by_uuid, *(device.uuid for device in active)}
    own = {one.id for one in record.instances} if record else set()
    known: dict[str, Any] = {
        "machine": MACHINE,
        "record": record,
        "choice": Choice(tuple(parents), {}),
        "registered": tuple(parent.address for parent in parents),
        "cards": {address: address for address in PARENTS.values()},
        "active": {device.uuid: device for device in active},
        "definitions": by_uuid,
        "damaged": (),
        "owners": {},
        "derived": {each: index for index, each in enumerate(IDS) if each in there - own},
        "holders": {uuid(name): (HOLDER,) for name in held},
        "callouts": False,
    }
    return Observation(**{**known, **more})


def wished(**options: Any) -> Wish:
    """A wish for pool x; of type and size what is given, or what the record has."""
    return Wish.checked(**{"name": "x", **options})


def new(**options: Any) -> Wish:
    """A wish for a pool that is not known, of two instances unless told otherwise."""
    size = {} if "uuids" in options else {"count": 2}
    return wished(**{"type": TYPE, **size, **options})


def shortly(planned: Plan[Observation]) -> list[str]:
    """The steps with the short names of instances and parents, and without what is the same in all of them."""
    names = {value: f"#{name}" for name, value in [*enumerate(IDS), *OTHERS.items()]}
    names.update({called(value): letter for letter, value in PARENTS.items()})
    names.update({f" of type {TYPE}": "", f" with type {TYPE}": "", f"{STORE}/pool/x.json": "STORE"})
    names.update({"/run/nodedev.d/pool/x.json": "RUNTIME", ", start auto": "", "mdev ": ""})
    steps = []
    for step in describe(planned.steps):
        for value, name in names.items():
            step = step.replace(value, str(name))
        steps.append(step)
    return steps
