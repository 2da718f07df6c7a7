# SPDX-License-Identifier: GPL-3.0-or-later
"""The model of one running host: its tree, devices, groups, faults and udev."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from simhost.devices import Device, declared_attribute, plant, uproot
from simhost.drivers import Driver
from simhost.faults import Fault, Faults
from simhost.scenario import Scenario
from simhost.tree import Tree
from simhost.uevents import Udev
from simhost.vfio import Vfio

_BASE = (
    "block",
    "bus",
    "class",
    "dev/block",
    "dev/char",
    "devices/system/cpu",
    "devices/system/node",
    "devices/virtual",
    "firmware",
    "fs/cgroup",
    "kernel/iommu_groups",
    "module",
    "power",
)


@dataclass
class Card:
    """What several parents share: `units` of capacity, taken by instances of any of them."""

    units: int
    homogeneous: bool = False
    used: dict[str, int] = field(default_factory=dict)

    @property
    def free(self) -> int:
        return self.units - sum(self.used.values())


class Host:
    """A booted host. Drivers change it under `lock`; `interrupted` tells whether the caller was told to stop."""

    def __init__(
        self,
        scenario: Scenario,
        udev: Udev,
        faults: Faults,
        interrupted: Callable[[], bool],
        on_remove: Callable[[str], None],
    ) -> None:
        self.scenario = scenario
        self.udev = udev
        self.faults = faults
        self.interrupted = interrupted
        self.lock = threading.RLock()
        self.tree = Tree()
        self.tree.on_add = faults.new_node
        self.tree.on_remove = on_remove
        self.cards = {
            name: Card(int(card["units"]), bool(card.get("homogeneous", False)))
            for name, card in scenario.cards.items()
        }
        self.shared: dict[str, Any] = {}
        self._groups: dict[str, int] = {}
        for directory in _BASE:
            self.tree.directory(f"/sys/{directory}")
        self.vfio = Vfio(self.tree, self.lock)
        for path, value in scenario.sysfs.items():
            self.tree.add(declared_attribute(f"/sys/{path.strip('/')}", value))
        for device in scenario.devices:
            self._plant_roots(device)
            plant(self.tree, device, self.announce)
        # Given group numbers come first, so that an automatic one is never in their way.
        for device in sorted(scenario.devices, key=lambda item: item.iommu_group == "auto"):
            self._join_group(device)
        udev.start(scenario.devices)
        for device in scenario.devices:
            for name, parameters in device.behaviour.items():
                self._attach(device, name, parameters)

    def _plant_roots(self, device: Device) -> None:
        """Give a PCI root its uevent file, which makes it a device without a subsystem."""
        root = "/".join(device.path.split("/")[:4])
        if device.bus == "pci" and not self.tree.exists(root):
            plant(self.tree, Device(path=root), self.announce)

    def _join_group(self, device: Device) -> None:
        if device.iommu_group is None:
            return
        wanted = None if device.iommu_group == "auto" else int(device.iommu_group)
        group = self.vfio.join(device.path, wanted)
        self._groups[device.path] = group
        if device.driver == "vfio-pci" and not self.tree.exists(f"/dev/vfio/{group}"):
            self.vfio.add_node(str(group))

    def _attach(self, device: Device, name: str, parameters: Mapping[str, Any]) -> None:
        try:
            module = importlib.import_module(f"simhost.drivers.{name}")
        except ModuleNotFoundError as error:
            raise ValueError(f"{device.path}: no behaviour {name!r}: see the files in simhost/drivers") from error
        driver: Driver = module.DRIVER(self, device, parameters)
        driver.attach()

    def add_device(self, device: Device) -> None:
        """Make a device appear. Its add event is the caller's to send, when the device is complete."""
        plant(self.tree, device, self.announce)
        self._join_group(device)

    def remove_device(self, device: Device) -> None:
        """Make a device disappear, with its group if it was the last member."""
        group = self._groups.pop(device.path, None)
        if group is not None:
            self.vfio.leave(device.path, group)
        uproot(self.tree, device)

    def group_of(self, device: Device) -> int:
        """The number of the device's IOMMU group; KeyError if it has none."""
        return self._groups[device.path]

    def announce(self, device: Device, action: str, extra: Mapping[str, str] | None = None) -> None:
        """Send a udev event, late if a lag rule covers the device's uevent file."""
        self.udev.announce(device, action, self.faults.event_lag(device.path), extra)


def boot_faults(scenario: Scenario) -> Faults:
    """The rules that the scenario itself brings."""
    faults = Faults()
    for rule in scenario.faults:
        faults.add(Fault.from_mapping(rule))
    return faults
