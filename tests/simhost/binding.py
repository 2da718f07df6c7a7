# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's driver core, for the buses whose drivers the scenario names: which driver has which device, and why.

A device of such a bus has `driver_override`; its driver can be changed by the files of bus and driver. Devices below it
that are declared with `of_driver`, and behaviours with that parameter, are there while that driver has the device.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from simhost.bus_drivers import Bus, BusDriver, parse
from simhost.bus_files import BusFiles
from simhost.device_locks import DeviceLocks
from simhost.devices import Device, link_driver, unlink_driver
from simhost.vfio_functions import VfioFunctions

if TYPE_CHECKING:
    from simhost.host import Host

_HEADER_TYPE = 0x0E
_BRIDGE = 1


@dataclass(frozen=True)
class VirtualFunction:
    """Whose virtual function it is, which one, and whether `sriov_drivers_autoprobe` lets drivers have it now."""

    physical: Device
    index: int
    may_probe: Callable[[], bool]


class Binding:
    """The buses that the scenario gives drivers for, their devices and what each driver has made of them."""

    def __init__(self, host: Host, declared: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
        self._host = host
        self.locks = DeviceLocks(host)
        self.functions: dict[str, Device] = {}
        self.files = BusFiles(host, self)
        self.vfio = VfioFunctions(host)
        self.vfs: dict[str, VirtualFunction] = {}
        self._declared: list[Device] = []
        self.overrides: dict[str, str] = {}
        self._children: dict[str, list[Device]] = {}
        self._present: dict[str, list[Device]] = {}
        self.buses: dict[str, Bus] = {}
        for bus, drivers in declared.items():
            parsed = {name: parse(bus, name, given or {}) for name, given in drivers.items()}
            # The order of loading is that of matching.
            self.buses[bus] = Bus({name: d for name, d in parsed.items() if d.loaded} | parsed)

    # ---- at boot -------------------------------------------------------------------------------------------------

    def manages(self, device: Device) -> bool:
        """Whether the device is of a bus with drivers."""
        return device.bus in self.buses

    def boot(self, devices: list[Device]) -> list[Device]:
        """Find each device its driver; those of `devices` that are there then, in their order."""
        for bus in self.buses:
            self.files.add_bus(bus)
        for module, loaded in self._host.scenario.modules.items():
            if loaded:
                self.files.add_module(module)
        self._declared = [replace(device) for device in devices]
        for device in devices:
            if self.manages(device):
                self._adopt(device)
        owners = self.owned(devices)
        for device in devices:
            if self.manages(device):
                device.driver = self._driver_at_boot(device)
        here = []
        for device in devices:
            function = owners.get(device.path)
            if function is None:
                here.append(device)
            elif device.of_driver == function.driver:
                self._present.setdefault(function.path, []).append(device)
                here.append(device)
        return here

    def started(self) -> None:
        """After the devices of the boot are there: the nodes of disks, and of those that VFIO drivers have."""
        for children in list(self._present.values()):
            for child in children:
                self._host.add_disk_node(child)
                self._host.announce(child, "add")
        for function in list(self.functions.values()):
            driver = self.driver_of(function)
            if driver is not None and driver.vfio:
                self.vfio.open(function)

    def owned(self, devices: list[Device]) -> dict[str, Device]:
        """Note which of `devices` belong to a driver of the function above them; path to function.

        What is below a device with `of_driver` goes and comes with it.
        """
        result: dict[str, Device] = {}
        for device in devices:
            above = device.parent
            while above and above not in self.functions:
                if device.of_driver is None and above in result:
                    device.of_driver = next(
                        child.of_driver for child in self._children[result[above].path] if child.path == above
                    )
                above = above.rpartition("/")[0]
            if device.of_driver is None or self.manages(device):
                continue
            if not above:
                raise ValueError(f"{device.path}: of_driver is for devices below one of a bus with drivers")
            result[device.path] = self.functions[above]
            self._children.setdefault(above, []).append(device)
        return result

    def _driver_at_boot(self, function: Device) -> str | None:
        bus = self._bus(function)
        if function.driver is not None:
            if function.driver not in bus.drivers:
                raise ValueError(f"{function.path}: driver {function.driver} is not in the scenario's drivers")
            if not bus.drivers[function.driver].loaded:
                raise ValueError(f"{function.path}: driver {function.driver} is not loaded")
            return function.driver
        for driver in bus.loaded():
            if self.matches(driver, function) and driver.refusal(function.name) is None:
                return driver.name
        return None

    def _adopt(self, function: Device) -> None:
        """Make the device one of the bus, with the files that every device of it has."""
        path = function.path
        self.functions[path] = function
        attributes = dict(function.attributes)
        given = attributes.pop("driver_override", None)
        if given not in (None, "(null)"):
            self.overrides[path] = str(given)
        function.attributes = attributes
        show, store = self.files.override(path)
        function.dynamic = {**function.dynamic, "driver_override": (show, store)}

    # ---- the core ------------------------------------------------------------------------------------------------

    def _bus(self, function: Device) -> Bus:
        return self.buses[str(function.bus)]

    def driver_of(self, function: Device) -> BusDriver | None:
        """The driver that the device has now."""
        return None if function.driver is None else self._bus(function).drivers[function.driver]

    def function_above(self, path: str) -> Device | None:
        """The device of a bus with drivers that `path` is below of."""
        while path and path not in self.functions:
            path = path.rpartition("/")[0]
        return self.functions.get(path)

    def locked(self, function: Device) -> AbstractContextManager[None]:
        """The lock of the device, for something that is done to its end."""
        return self.locks.held(function.path, self._host.is_closed)

    def matches(self, driver: BusDriver, function: Device) -> bool:
        """Whether the driver would take the device. A name in driver_override shuts out all others."""
        override = self.overrides.get(function.path)
        modalias = str(function.attributes.get("modalias", function.uevent.get("MODALIAS", "")))
        if override is None:
            return driver.knows(modalias)
        # The bus of the channel subsystem compares the type of the subchannel as well, PCI nothing else.
        return override == driver.name and (function.bus == "pci" or driver.knows(modalias))

    def probe(self, function: Device) -> None:
        """Offer the device to the loaded drivers, one after the other, until one takes it."""
        with self.locked(function):
            if function.driver is not None or self.functions.get(function.path) is not function:
                return
            for driver in self._bus(function).loaded():
                if self.matches(driver, function) and self.attach(driver, function) is None:
                    return

    def _refusal(self, driver: BusDriver, function: Device) -> int | None:
        """The errno with which the driver's probe fails, if it does."""
        path = function.path
        vf = self.vfs.get(path)
        if vf is not None and not vf.may_probe() and path not in self.overrides:
            return errno.ENODEV
        given = driver.refusal(function.name)
        if given is None and vf is not None:
            answers = (behaviour.refusal(function, driver) for behaviour in self._host.behaviours_of(vf.physical))
            given = next((answer for answer in answers if answer is not None), None)
        if given is not None:
            return given
        group = self._host.group_or_none(function)
        if not driver.vfio:
            # A native driver keeps out while a guest owns the group.
            return errno.EBUSY if group is not None and self._host.vfio.in_use([f"/dev/vfio/{group}"]) else None
        if group is None or _header_type(function) == _BRIDGE:
            return errno.EINVAL
        return errno.EBUSY if self._host.tree.exists(f"{path}/virtfn0") else None

    def attach(self, driver: BusDriver, function: Device) -> int | None:
        """Bind the device, which is locked and has no driver; the errno of the probe if that fails."""
        host = self._host
        effect = host.faults.hit("write", f"{driver.path}/{function.name}")
        host.linger(effect.delay)
        refused = effect.errno if effect.errno is not None else self._refusal(driver, function)
        if refused is not None:
            return refused
        function.driver = driver.name
        link_driver(host.tree, function, driver.name)
        if driver.vfio:
            self.vfio.open(function)
        declared = [child for child in self._children.get(function.path, ()) if child.of_driver == driver.name]
        children = [host.network.as_set(function, replace(child)) for child in declared]
        self._present[function.path] = children
        host.appear(children)
        for child in children:
            host.start_behaviours(child, None)
        host.start_behaviours(function, driver.name)
        for behaviour in host.behaviours_of(function):
            behaviour.bound()
        host.announce(function, "bind")
        return None

    def release(self, function: Device) -> None:
        """Unbind the device from whatever driver it has. Waits while a guest has it."""
        with self.locked(function):
            driver = self.driver_of(function)
            if driver is None:
                return
            host = self._host
            unlink_driver(host.tree, function)
            for behaviour in host.behaviours_of(function):
                behaviour.unbound()
            if driver.vfio:
                self.vfio.close(function)
            children = self._present.pop(function.path, [])
            for child in reversed(children):
                host.stop_behaviours(child, None)
            host.stop_behaviours(function, driver.name)
            host.vanish(children)
            function.driver = None
            host.announce(function, "unbind")

    # ---- devices that come and go --------------------------------------------------------------------------------

    def arrive(self, function: Device, children: list[Device]) -> None:
        """Make a device of a bus with drivers appear, without a driver yet; `children` are those with `of_driver`."""
        self._adopt(function)
        self.owned(children)
        self._host.appear([function])
        self._host.start_behaviours(function, None)

    def depart(self, function: Device) -> None:
        """Make it disappear: its driver lets go of it first."""
        with self.locked(function):
            self.release(function)
            self._host.stop_behaviours(function, None)
            for known in (self.functions, self.overrides, self._children, self.vfs):
                known.pop(function.path, None)
            self._host.vanish([function])

    def discover(self, function: Device) -> None:
        """Offer a new device to the drivers, if the bus does so by itself."""
        if self._bus(function).autoprobe:
            self.probe(function)

    def unplug(self, name: str) -> Callable[[], None]:
        """What takes the device of this name away with all below it, which may wait; ValueError if it is not there."""
        function = next((found for found in self.functions.values() if found.name == name), None)
        if function is None:
            raise ValueError(f"no device of a bus with drivers is called {name!r}")
        return lambda: self._unplug(function)

    def _unplug(self, function: Device) -> None:
        inside = [found for found in self.functions.values() if found.path.startswith(f"{function.path}/")]
        for found in (*reversed(inside), function):
            with self.locked(found):
                self.release(found)
                below = [d for d in self._host.devices if d.path.startswith(f"{found.path}/") and not self.manages(d)]
                plain = [device for device in below if device.of_driver is None]
                for device in reversed(plain):
                    self._host.stop_behaviours(device, None)
                self._host.vanish(plain)
                self.depart(found)
                self._host.devices = [d for d in self._host.devices if d is not found and d not in below]

    def plug(self, name: str) -> None:
        """Bring back what `unplug` took, as the scenario declares it; ValueError if it is not that."""
        root = next((device.path for device in self._declared if device.name == name and self.manages(device)), None)
        if root is None or root in self.functions:
            raise ValueError(f"no device of the scenario that was taken away is called {name!r}")
        devices = [replace(d) for d in self._declared if d.path == root or d.path.startswith(f"{root}/")]
        functions = [device for device in devices if self.manages(device)]
        for function in functions:
            function.driver = None
            self._adopt(function)
        owners = self.owned(devices)
        plain = [device for device in devices if device.path not in owners]
        self._host.devices += plain
        self._host.appear(plain)
        for device in plain:
            self._host.start_behaviours(device, None)
        for function in functions:
            self.discover(function)


def _header_type(function: Device) -> int:
    config = function.attributes.get("config")
    if not isinstance(config, Mapping):
        return 0
    return bytes.fromhex(str(config["hex"]))[_HEADER_TYPE] & 0x7F
