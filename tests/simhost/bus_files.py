# SPDX-License-Identifier: GPL-3.0-or-later
"""The files by which the driver of a device is changed, those of drivers and modules, and what loads them."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from simhost.bus_drivers import BusDriver, id_glob
from simhost.devices import Device
from simhost.tree import Attribute, Show, Store, failure

if TYPE_CHECKING:
    from simhost.binding import Binding
    from simhost.host import Host

_PAGE = 4096


class BusFiles:
    """The files of one boot. `new_ids` is what was written to any driver's new_id, with the driver's name."""

    def __init__(self, host: Host, binding: Binding) -> None:
        self._host = host
        self._binding = binding
        self.new_ids: list[tuple[str, str]] = []

    def add_bus(self, name: str) -> None:
        """Add the files of a bus and of those of its drivers that are loaded."""
        bus = self._binding.buses[name]
        base = f"/sys/bus/{name}"

        def set_autoprobe(data: bytes) -> None:
            bus.autoprobe = not data.startswith(b"0")

        tree = self._host.tree
        tree.directory(f"{base}/devices")
        tree.directory(f"{base}/drivers")
        tree.add(Attribute(f"{base}/drivers_autoprobe", lambda: b"%d\n" % bus.autoprobe, set_autoprobe))
        self._add_file(f"{base}/drivers_probe", lambda data: self._probe(name, data))
        for driver in bus.loaded():
            self._add_driver(driver)

    def _add_file(self, path: str, action: Callable[[bytes], None]) -> None:
        def store(data: bytes) -> None:
            self._host.insist(path, lambda: action(data))

        self._host.tree.add(Attribute(path, store=store, mode=0o200))

    def _add_driver(self, driver: BusDriver) -> None:
        tree = self._host.tree
        tree.directory(driver.path)
        self._add_file(f"{driver.path}/bind", lambda data: self._bind(driver, data))
        self._add_file(f"{driver.path}/unbind", lambda data: self._unbind(driver, data))
        if driver.bus == "pci":
            self._add_file(f"{driver.path}/new_id", lambda data: self._new_id(driver, data))
            self._add_file(f"{driver.path}/remove_id", lambda data: self._remove_id(driver, data))
        module = f"/sys/module/{driver.module}"
        if driver.builtin:
            tree.directory(module)
        else:
            self.add_module(driver.module)
        tree.link(f"{module}/drivers/{driver.bus}:{driver.name}", driver.path)
        tree.link(f"{driver.path}/module", module)

    def add_module(self, name: str) -> None:
        """Have /sys/module show the module."""
        if not self._host.tree.exists(f"/sys/module/{name}/initstate"):
            self._host.tree.add(Attribute(f"/sys/module/{name}/initstate", b"live\n"))

    def override(self, path: str) -> tuple[Show, Store]:
        """What reading and writing driver_override of the device at `path` does."""
        host = self._host

        def show() -> bytes:
            with self._binding.locks.held(path, host.interrupted):
                return f"{self._binding.overrides.get(path, '(null)')}\n".encode("utf-8", "surrogateescape")

        def write(data: bytes) -> None:
            if len(data) >= _PAGE - 1:
                raise failure(errno.EINVAL, f"{path}/driver_override")
            text = data.decode("utf-8", "surrogateescape").partition("\n")[0]
            with self._binding.locks.held(path, host.is_closed):
                if text:
                    self._binding.overrides[path] = text
                else:
                    self._binding.overrides.pop(path, None)

        return show, lambda data: host.insist(f"{path}/driver_override", lambda: write(data))

    def _named(self, bus: str, data: bytes) -> Device | None:
        """The device of that name, which may have one newline behind it."""
        name = data.decode("utf-8", "surrogateescape").removesuffix("\n")
        for function in self._binding.functions.values():
            if function.bus == bus and function.name == name:
                return function
        return None

    def _probe(self, bus: str, data: bytes) -> None:
        function = self._named(bus, data)
        if function is None:
            raise failure(errno.ENODEV, f"/sys/bus/{bus}/drivers_probe")
        if function.driver is None:
            self._binding.probe(function)

    def _bind(self, driver: BusDriver, data: bytes) -> None:
        function = self._named(driver.bus, data)
        path = f"{driver.path}/bind"
        if function is None or not self._binding.matches(driver, function):
            raise failure(errno.ENODEV, path)
        with self._binding.locked(function):
            if self._binding.functions.get(function.path) is not function:
                raise failure(errno.ENODEV, path)
            if function.driver is not None:
                raise failure(errno.EBUSY, path)
            refused = self._binding.attach(driver, function)
        if refused is not None:
            raise failure(refused, path)

    def _unbind(self, driver: BusDriver, data: bytes) -> None:
        function = self._named(driver.bus, data)
        if function is None or function.driver != driver.name:
            raise failure(errno.ENODEV, f"{driver.path}/unbind")
        self._binding.release(function)

    def _new_id(self, driver: BusDriver, data: bytes) -> None:
        self.new_ids.append((driver.name, data.decode("ascii", "replace")))
        driver.dynamic_ids.append(id_glob(data, f"{driver.path}/new_id"))
        self._offer(driver)

    def _remove_id(self, driver: BusDriver, data: bytes) -> None:
        glob = id_glob(data, f"{driver.path}/remove_id")
        if glob not in driver.dynamic_ids:
            raise failure(errno.ENODEV, f"{driver.path}/remove_id")
        driver.dynamic_ids.remove(glob)

    def of_module(self, module: str) -> list[BusDriver]:
        """The drivers that a module brings."""
        drivers = [driver for bus in self._binding.buses.values() for driver in bus.drivers.values()]
        return [driver for driver in drivers if driver.module == module]

    def load(self, module: str) -> None:
        """Load a module: its drivers are there, and are offered the devices that have none."""
        if module in self._host.scenario.modules:
            with self._host.lock:
                self.add_module(module)
            for behaviour in list(self._host.drivers):
                behaviour.module_loaded(module)
        for driver in self.of_module(module):
            if driver.loaded:
                continue
            driver.loaded = True
            bus = self._binding.buses[driver.bus]
            bus.drivers[driver.name] = bus.drivers.pop(driver.name)
            with self._host.lock:
                self._add_driver(driver)
            if bus.autoprobe:
                self._offer(driver)

    def unload(self, module: str) -> None:
        """Unload a module: its drivers let go of their devices."""
        for driver in self.of_module(module):
            for function in list(self._binding.functions.values()):
                if (function.bus, function.driver) == (driver.bus, driver.name):
                    self._binding.release(function)
            driver.loaded = False
            driver.dynamic_ids.clear()
            with self._host.lock:
                self._host.tree.remove(driver.path)
        with self._host.lock:
            self._host.tree.remove(f"/sys/module/{module}")

    def _offer(self, driver: BusDriver) -> None:
        for function in list(self._binding.functions.values()):
            if function.bus == driver.bus and function.driver is None and self._binding.matches(driver, function):
                with self._binding.locked(function):
                    if function.driver is None and self._binding.functions.get(function.path) is function:
                        self._binding.attach(driver, function)
