# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to node devices and definitions, in the words of ``virsh nodedev-event``.

udev and the folders of definitions say only that it is time to look; what has happened is the difference between two
looks. So an event that was lost, or a message that came twice, is told rightly all the same.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..host.udev_events import Happenings
from ..libvirt.inventory import Filter
from ..store import driverctl, files, mdevctl
from . import definitions, nodedev

# Seconds between two looks at the folders of definitions, of which nobody tells.
INTERVAL = 2.0
FOLDERS = (mdevctl.STORE, driverctl.STORE, files.STORE)
# What a definition's facts say of the device, or of its parent, at this moment.
PASSING = ("active", "drift", "parent_missing", "domain")
# What of it follows from the device that is there, as a vHBA's host, and its parent by the ports of that.
FOLLOWING = ("name", "parent", "parent_addr")
# Where definition_facts has the files that cannot be understood.
DAMAGED = "damaged"

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Look:
    """The devices by libvirt's name, and the definitions and pools by kind and identity."""

    devices: Mapping[str, Facts]
    definitions: Mapping[tuple[str, str], Facts]

    def definition_of(self, device: str) -> tuple[str, str] | None:
        """The kind and identity of the definition that a device is made by, if there is one."""
        found = (key for key, facts in self.definitions.items() if key[0] != definitions.POOL)
        return next((key for key in found if self.definitions[key].get("name") == device), None)


def look() -> Look:
    """What is there and what is defined now. What cannot be read is left out."""
    devices = nodedev.gathered(Filter()).devices
    defined = definitions.facts(None)["ansible_facts"]["nodedev_definitions"]
    return Look(
        {name: {key: value for key, value in facts.items() if key != "extra"} for name, facts in devices.items()},
        {
            (kind, _identity(facts)): {key: value for key, value in facts.items() if key not in PASSING}
            for kind, listed in defined.items()
            if kind != DAMAGED
            for facts in listed
        },
    )


def _identity(facts: Facts) -> str:
    """What stays the same in a definition whether its device is there or not: a vHBA's name is that of its host.

    Crypto queues have no name, and only one definition by each of two ways.
    """
    identity: str = facts.get("wwpn") or facts.get("name") or facts["by"]
    return identity


def events(before: Look, after: Look, removed: Collection[str] = ()) -> Iterator[dict[str, Any]]:
    """What has happened between two looks, devices that have gone first; children go before and come after parents.

    ``removed`` are the folders in sysfs that udev told to have gone: a device in one of them that is there in both
    looks has been deleted and created.
    """
    again = {name for name in before.devices if name in after.devices and _path(before.devices[name]) in removed}
    gone = [name for name in before.devices if name not in after.devices or name in again]
    for name in sorted(gone, key=lambda name: _path(before.devices[name]), reverse=True):
        yield _of_device("deleted", name, before.devices[name], _still(before, after, name))
    come = [name for name in after.devices if name not in before.devices or name in again]
    for name in sorted(come, key=lambda name: _path(after.devices[name])):
        yield _of_device("created", name, after.devices[name], _still(after, after, name))
    for name, facts in after.devices.items():
        if name not in come and facts != before.devices[name]:
            yield _of_device("changed", name, facts, _still(after, after, name))
    for key in before.definitions.keys() - after.definitions.keys():
        yield _of_definition("undefined", key, before.definitions[key])
    for key, facts in after.definitions.items():
        if key not in before.definitions:
            yield _of_definition("defined", key, facts)
        elif _written(facts) != _written(before.definitions[key]):
            yield _of_definition("changed", key, facts)


def _written(facts: Facts) -> Facts:
    """What a definition itself says, be its device there or not."""
    return {key: value for key, value in facts.items() if key not in FOLLOWING}


def _path(facts: Facts) -> str:
    """Where a device is in sysfs; the computer itself is nowhere."""
    path: str = facts.get("path", "")
    return path


def _still(then: Look, now: Look, device: str) -> Facts | None:
    """The definition that a device had then, as it is now; None where it is not defined any more."""
    key = then.definition_of(device)
    return None if key is None else now.definitions.get(key)


def _of_device(event: str, name: str, facts: Facts, definition: Facts | None) -> dict[str, Any]:
    kind = facts["capability"]["type"]
    return {"event": event, "what": "device", "kind": kind, "name": name, "device": facts, "definition": definition}


def _of_definition(event: str, key: tuple[str, str], facts: Facts) -> dict[str, Any]:
    what, name = "pool" if key[0] == definitions.POOL else "definition", facts.get("name")
    return {"event": event, "what": what, "kind": key[0], "name": name, "device": None, "definition": facts}


def stream(interval: float = INTERVAL) -> Iterator[dict[str, Any] | None]:
    """Events from now on; None once it listens, and each time that nothing has happened for an interval in seconds.

    It never ends. Raises MissingLibrary where pyudev is not installed, which tells when to look.
    """
    happenings = Happenings()
    # In this order, so that what is written meanwhile is seen the next time.
    folders, seen = _signature(), look()
    yield None
    while True:
        told = happenings.wait(interval)
        changed = _signature()
        if not told and changed == folders:
            yield None
            continue
        now = look()
        host, moment = os.uname().nodename, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        removed = {path for action, path in told if action == "remove"}
        for event in events(seen, now, removed):
            yield {**event, "host": host, "time": moment}
        seen, folders = now, changed


def _signature() -> list[tuple[str, int, int]]:
    """What differs once a file below the folders of definitions has been written or removed."""
    found = []
    for top in FOLDERS:
        for folder, _folders, names in os.walk(top):
            for path in (folder, *(os.path.join(folder, name) for name in names)):
                try:
                    status = os.lstat(path)
                except OSError:
                    continue
                found.append((path, status.st_mtime_ns, status.st_ino))
    return sorted(found)
