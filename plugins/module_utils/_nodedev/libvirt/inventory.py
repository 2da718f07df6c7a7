# SPDX-License-Identifier: GPL-3.0-or-later
"""The devices of the kernel that libvirt lists, by the names and with the parents that it gives them.

A subset reads the folders of its own kinds and, for the parents' names, the ancestors of what it found there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from .. import names
from ..errors import Foreign, NodedevError
from ..host import mdev_parents, sysfs, udev
from ..host.oddities import Oddities
from ..host.udev import Device
from ..text import shown
from . import extras, kinds
from .capabilities import mdev, pci

ROOT = "computer"
# Characters of the reason why a device is not listed.
LONGEST = 400


@dataclass(frozen=True)
class Filter:
    """Which devices are asked for; None, or no names, asks for all of them.

    ``capabilities`` are names of kinds.CAPABILITIES. ``parent`` is a node device's name and stands for itself and all
    below it. ``include`` is active, inactive or all; ``persistence`` is persistent or transient.
    """

    capabilities: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    parent: str | None = None
    driver: str | None = None
    include: str = "active"
    persistence: str | None = None

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds to look through for these capabilities."""
        if not self.capabilities:
            return frozenset(kinds.KINDS)
        return frozenset(kind for name in self.capabilities for kind in kinds.NESTED.get(name, ((name,), ""))[0])


@dataclass(frozen=True)
class Entry:
    device: Device
    name: str
    capability: dict[str, Any]


# What else users need to know of devices, by the type of their capability. What cannot be told is an oddity.
Extras = Mapping[str, Callable[[Device, dict[str, Any], Oddities], dict[str, Any]]]


class Inventory:
    """What was found: the devices by name, what libvirt does not list and why, and what the user should know."""

    def __init__(self, wanted: Filter, more: Extras) -> None:
        self.wanted = wanted
        self.devices: dict[str, dict[str, Any]] = {}
        self.unlisted: list[dict[str, str]] = []
        self.oddities = Oddities()
        # By folder: the device in it, and the nearest one above it.
        self._entries: dict[str, Entry | None] = {}
        self._parents: dict[str, Entry | None] = {}
        functions = extras.Functions(self._capability)
        self._more: Extras = {mdev.TYPE: extras.of_mdev, pci.TYPE: functions.of, **more}

    @property
    def warnings(self) -> list[str]:
        return self.oddities.warnings

    def gather(self) -> None:
        """Find all that is there and wanted; what vanishes meanwhile or cannot be read is left out."""
        self._system()
        for device in self._candidates():
            self._consider(device)

    def _candidates(self) -> list[Device]:
        """The devices in the folders of the kinds asked for, each once, in the order in which libvirt adds them."""
        wanted = [kinds.KINDS[kind] for kind in self.wanted.kinds]
        folders = {kind.folder: kind.subsystem for kind in wanted if kind.folder}
        found = [device for folder, subsystem in folders.items() for device in self.of_subsystem(folder, subsystem)]
        if "mdev_types" in self.wanted.capabilities:
            # Of the many devices that might offer types, only those that do are registered.
            paths = self.oddities.attempt(partial(sysfs.linked, mdev_parents.BUS)) or []
            found += [device for path in paths if (device := udev.device_at(path)) is not None]
        return sorted({device.path: device for device in found}.values(), key=lambda device: device.path.split("/"))

    def of_subsystem(self, folder: str, subsystem: str) -> list[Device]:
        """The devices of a subsystem that are linked in a folder of /sys."""
        return self.oddities.attempt(partial(udev.of_subsystem, f"{sysfs.SYS}/{folder}", subsystem)) or []

    def _consider(self, device: Device) -> None:
        """Add a device if it is wanted, by what costs least first."""
        wanted = self.wanted
        if wanted.driver is not None and device.driver != wanted.driver:
            return
        kind = kinds.kind_of(device)
        if kind is None:
            self._leave_out(device.path, _unknown(device))
            return
        # Most names are known before anything is read.
        name = None if kinds.KINDS[kind].named else names.device_name(device.subsystem, device.sysname)
        if kind not in wanted.kinds and not ("mdev_types" in wanted.capabilities and kind in kinds.PARENTS_OF_MDEVS):
            if name in self.devices and self.entry(device):
                self._overwrite(name, device.path)
            return
        if wanted.names and name is not None and name not in wanted.names:
            return
        entry = self.entry(device)
        if entry is None or not self.wants(entry.name, entry.capability):
            return
        if wanted.parent is not None and wanted.parent not in self.line(entry):
            return
        if entry.name in self.devices:
            self._overwrite(entry.name, device.path)
        self.devices[entry.name] = self._described(entry)

    def _overwrite(self, name: str, path: str) -> None:
        """Take out the device whose name another one has, too: the later one in libvirt's order is listed."""
        self._leave_out(self.devices.pop(name)["path"], f"libvirt gives its name, {name}, to {path}")

    def wants(self, name: str, capability: dict[str, Any]) -> bool:
        """Whether a device of this name and capability is asked for."""
        asked = self.wanted.capabilities
        if self.wanted.names and name not in self.wanted.names:
            return False
        return not asked or any(kinds.matches(capability, one) for one in asked)

    def entry(self, device: Device) -> Entry | None:
        """What libvirt lists of a device; None where it does not list it. Each device is read once."""
        if device.path not in self._entries:
            kind = kinds.kind_of(device)
            self._entries[device.path] = self._read(device, kind) if kind else None
        return self._entries[device.path]

    def _read(self, device: Device, kind: str) -> Entry | None:
        try:
            capability = kinds.KINDS[kind].read(device)
        except (NodedevError, OSError) as error:
            self._leave_out(device.path, shown(error, LONGEST))
            # One that has vanished meanwhile is no oddity.
            if not isinstance(error, Foreign) and sysfs.exists(device.path):
                self.oddities.add(f"{device.path} is not listed: {shown(error, LONGEST)}")
            return None
        return Entry(device, kinds.KINDS[kind].name(device, capability), capability)

    def _leave_out(self, path: str, reason: str) -> None:
        self.unlisted.append({"path": path, "reason": reason})

    def parent(self, path: str) -> Entry | None:
        """The nearest device above a folder that libvirt lists; None where that is the computer itself."""
        folder = os.path.dirname(path)
        if folder not in self._parents:
            self._parents[folder] = self._at(folder)
        return self._parents[folder]

    def _at(self, folder: str) -> Entry | None:
        if len(folder) <= len(f"{sysfs.SYS}/devices"):
            return None
        device = udev.device_at(folder)
        return (self.entry(device) if device else None) or self.parent(folder)

    def line(self, entry: Entry) -> Iterator[str]:
        """The names of a device and of all above it."""
        above: Entry | None = entry
        while above is not None:
            yield above.name
            above = self.parent(above.device.path)
        yield ROOT

    def _described(self, entry: Entry) -> dict[str, Any]:
        device = entry.device
        described: dict[str, Any] = {"name": entry.name, "path": device.path}
        nodes = _nodes(device)
        if nodes:
            described["devnode"] = nodes
        described["parent"] = name_of(self.parent(device.path))
        driver = device.driver
        if driver is not None:
            described["driver"] = {"name": driver}
        described["capability"] = entry.capability
        more = self._extras(entry)
        return {**described, "extra": more} if more else described

    def _extras(self, entry: Entry) -> dict[str, Any]:
        more = self._more.get(entry.capability["type"])
        return more(entry.device, entry.capability, self.oddities) if more is not None else {}

    def _capability(self, device: Device) -> dict[str, Any] | None:
        entry = self.entry(device)
        return entry.capability if entry else None

    def _system(self) -> None:
        """The computer, which is no device of the kernel."""
        wanted = self.wanted
        if "system" in wanted.kinds and wanted.driver is None and wanted.parent in (None, ROOT):
            system = kinds.KINDS["system"]
            dmi = Device(f"{sysfs.SYS}/devices/virtual/dmi/id", "dmi", "id")
            # libvirt counts it as persistent.
            if wanted.persistence != "transient" and (not wanted.names or ROOT in wanted.names):
                self.devices[ROOT] = {"name": ROOT, "capability": system.read(dmi)}


def name_of(entry: Entry | None) -> str:
    """The name of a device that is listed, the computer's where none is."""
    return ROOT if entry is None else entry.name


def _nodes(device: Device) -> list[dict[str, str]]:
    """The device's node and links in /dev. PCI functions have none, and of their many udev's record is not opened."""
    own = [] if device.devnode is None else [{"type": "dev", "path": device.devnode}]
    links = [] if device.subsystem == "pci" else device.links
    return [*own, *({"type": "link", "path": link} for link in links)]


def _unknown(device: Device) -> str:
    kind = device.uevent.get("DEVTYPE")
    what = f"subsystem {device.subsystem}" if kind is None else f"DEVTYPE {kind}"
    return f"libvirt has no kind of device for {what}"
