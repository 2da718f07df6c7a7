# SPDX-License-Identifier: GPL-3.0-or-later
"""The model of one running host: its tree, devices, groups, faults and udev."""

from __future__ import annotations

import errno
import importlib
import itertools
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from simhost.binding import Binding
from simhost.devices import Device, declared_attribute, plant, uproot
from simhost.drivers import Driver
from simhost.faults import Fault, Faults
from simhost.network import Network
from simhost.nodes import Nodes
from simhost.scenario import Scenario
from simhost.scsi_numbers import HostNumbers, shifted_devices
from simhost.stacked import Stacked
from simhost.tree import Tree, failure
from simhost.uevents import Udev
from simhost.vfio import Vfio, group_device

# Devices whose nodes the host has as files of its own; those of VFIO are the FUSE file system's.
_WITH_NODE = ("block", "scsi_generic")
_POLL_SECONDS = 0.02
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


class _Deed(threading.Thread):
    """What a write asks for, in a thread of its own: the writer may be told to stop, the kernel is not."""

    def __init__(self, lock: threading.RLock, action: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._lock = lock
        self._action = action
        self.error: OSError | None = None

    def run(self) -> None:
        try:
            with self._lock:
                self._action()
        except OSError as error:
            self.error = error


class Host:
    """A booted host. Drivers change it under `lock`; `interrupted` tells whether the caller was told to stop."""

    def __init__(
        self,
        scenario: Scenario,
        udev: Udev,
        faults: Faults,
        interrupted: Callable[[], bool],
        on_remove: Callable[[str], None],
        boots: int = 0,
        forbidden: list[tuple[str, str]] | None = None,
    ) -> None:
        self.scenario = scenario
        # Writes that nobody may make: path and text. They outlive a boot.
        self.forbidden: list[tuple[str, str]] = [] if forbidden is None else forbidden
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
        self.nodes = Nodes()
        self.drivers: list[Driver] = []
        self._closed = False
        self._unseen: set[str] = set()
        self._groups: dict[str, int] = {}
        declared = shifted_devices(scenario.devices, boots if scenario.shifting_hosts else 0)
        self.binding = Binding(self, scenario.drivers)
        self.stacked = Stacked(self, [device for device in declared if device.slaves])
        self._changed = threading.Condition(self.lock)
        for directory in _BASE:
            self.tree.directory(f"/sys/{directory}")
        self.vfio = Vfio(self.tree, self.lock)
        self.devices = self.binding.boot([device for device in declared if not device.slaves])
        self.network: Network = Network(self, scenario.network)
        self.numbers = HostNumbers(self.devices, scenario.reuse_host_numbers)
        for path, value in scenario.sysfs.items():
            self.tree.add(declared_attribute(f"/sys/{path.strip('/')}", value))
        for device in self.devices:
            self._plant_roots(device)
            plant(self.tree, device, self.announce)
        # Given group numbers come first, so that an automatic one is never in their way.
        for device in sorted(self.devices, key=lambda item: item.iommu_group == "auto"):
            self._join_group(device)
        udev.start(self.devices)
        for device in self.devices:
            if device.class_ == "block":
                self.stacked.added(device)
        self.binding.started()
        for device in self.devices:
            self.start_behaviours(device, None)
            if self.binding.manages(device) and device.driver is not None:
                self.start_behaviours(device, device.driver)

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
        managed = self.binding.manages(device)
        if device.driver == "vfio-pci" and not managed and not self.tree.exists(f"/dev/vfio/{group}"):
            self.vfio.add_node(str(group))
            plant(self.tree, group_device(group), self.announce)

    def start_behaviours(self, device: Device, of_driver: str | None) -> None:
        """Attach the device's behaviours, of this driver or of none."""
        for name, parameters in device.behaviour.items():
            if parameters.get("of_driver") == of_driver:
                self._attach(device, name, {key: value for key, value in parameters.items() if key != "of_driver"})
                self.drivers[-1].of_driver = of_driver

    def stop_behaviours(self, device: Device, of_driver: str | None) -> None:
        """Detach what `start_behaviours` attached."""
        for driver in reversed(self.behaviours_of(device)):
            if driver.of_driver == of_driver:
                driver.detach()
                self.drivers.remove(driver)

    def behaviours_of(self, device: Device) -> list[Driver]:
        """The behaviours that are attached to the device now."""
        return [driver for driver in self.drivers if driver.declared is device]

    def insist(self, path: str, action: Callable[[], None]) -> None:
        """Do what a write to `path` asks for, under the host's lock, to its end; its OSError is the writer's.

        A writer that is told to stop gets away with EINTR, and the action goes on. In the kernel it cannot.
        """
        deed = _Deed(self.lock, action)
        deed.start()
        while deed.is_alive():
            deed.join(_POLL_SECONDS)
            if deed.is_alive() and self.interrupted():
                raise failure(errno.EINTR, path)
        if deed.error is not None:
            raise deed.error

    def begin(self, action: Callable[[], None], seconds: float) -> None:
        """Do something as the kernel does, in the background if it takes longer; its OSError within that time."""
        deed = _Deed(self.lock, action)
        deed.start()
        deed.join(seconds)
        if deed.error is not None:
            raise deed.error

    def pause(self) -> None:
        """Let others have the host's lock for a moment."""
        self._changed.wait(_POLL_SECONDS)

    def linger(self, seconds: float) -> None:
        """Let others have the host's lock for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self._closed:
            self.pause()

    def is_closed(self) -> bool:
        """Whether the host went down: what waits is to give up."""
        return self._closed

    def _attach(self, device: Device, name: str, parameters: Mapping[str, Any]) -> None:
        try:
            kind = importlib.import_module(f"simhost.drivers.{name}").DRIVER
        except (AttributeError, ModuleNotFoundError) as error:
            raise ValueError(f"{device.path}: no behaviour {name!r}: see the files in simhost/drivers") from error
        driver: Driver = kind(self, device, parameters)
        self.drivers.append(driver)
        driver.attach()

    def add_device(self, device: Device) -> None:
        """Make a device appear. Its add event is the caller's to send, when the device is complete."""
        plant(self.tree, device, self.announce)
        self._join_group(device)
        self.add_disk_node(device)

    def add_disk_node(self, device: Device) -> None:
        """The node in /dev of a disk or a SCSI generic device."""
        if device.node is not None and device.subsystem in _WITH_NODE:
            self.nodes.add(str(device.node["name"]), self._hidden(device))

    def remove_device(self, device: Device) -> None:
        """Make a device disappear, with its group if it was the last member."""
        if device.node is not None and device.subsystem in _WITH_NODE:
            self.nodes.remove(str(device.node["name"]))
        if self._hidden(device) > 0:
            self._unseen.add(device.path)
        if device.class_ == "net":
            self.network.lost(device)
        group = self._groups.pop(device.path, None)
        if group is not None:
            self.vfio.leave(device.path, group)
        uproot(self.tree, device)

    def appear(self, devices: list[Device]) -> None:
        """Add devices, parents first, and send their events; what is upon disks among them follows."""
        for device in devices:
            self.add_device(device)
        for device in devices:
            self.announce(device, "add")
            if device.class_ == "block":
                self.stacked.added(device)

    def vanish(self, devices: list[Device]) -> None:
        """Remove what `appear` added, children first, and send the events."""
        for device in reversed(devices):
            self.remove_device(device)
        for device in reversed(devices):
            self.announce(device, "remove")
            if device.class_ == "block":
                self.stacked.removed(device)

    def close(self) -> None:
        """The host goes down: nothing late of it may happen any more."""
        self._closed = True
        self.nodes.clear()

    def _hidden(self, device: Device) -> float:
        """Seconds until the device shows."""
        node = self.tree.nodes.get(device.path)
        return node.visible_at - time.monotonic() if node is not None and node.visible_at else 0.0

    def free_name(self, prefix: str) -> int:
        """The lowest number that gives no path of the tree when put after `prefix`."""
        return next(number for number in itertools.count() if not self.tree.exists(f"{prefix}{number}"))

    def group_of(self, device: Device) -> int:
        """The number of the device's IOMMU group; KeyError if it has none."""
        return self._groups[device.path]

    def group_or_none(self, device: Device) -> int | None:
        """The number of the device's IOMMU group, if it has one."""
        return self._groups.get(device.path)

    def announce(self, device: Device, action: str, extra: Mapping[str, str] | None = None) -> None:
        """Send a udev event, late if a lag rule covers the device's uevent file.

        A device that does not show yet has its event when it does, and none if it has gone by then.
        """
        if action == "remove" and device.path in self._unseen:
            self._unseen.discard(device.path)
            return
        hidden = self._hidden(device)
        if hidden <= 0:
            self.udev.announce(device, action, self.faults.event_lag(device.path), extra)
            return
        node = self.tree.nodes[device.path]

        def shown() -> None:
            if not self._closed and self.tree.nodes.get(device.path) is node:
                self.announce(device, action, extra)

        timer = threading.Timer(hidden, shown)
        timer.daemon = True
        timer.start()


def boot_faults(scenario: Scenario) -> Faults:
    """The rules that the scenario itself brings."""
    faults = Faults()
    for rule in scenario.faults:
        faults.add(Fault.from_mapping(rule))
    return faults
