# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's driver core, for the buses whose drivers the scenario names: which driver has which device, and why.

A device of such a bus has `driver_override`; its driver can be changed by the files of bus and driver. Devices below it
that are declared with `of_driver`, and behaviours with that parameter, are there while that driver has the device.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from simhost.devices import Device, link_driver, unlink_driver
from simhost.faults import errno_number
from simhost.tree import Attribute, Show, Store, failure
from simhost.vfio import CDEV_MAJOR, VfioNode, group_device

if TYPE_CHECKING:
    from simhost.host import Host

_DRIVER_KEYS = {"ids", "module", "loaded", "builtin", "vfio", "override_only", "probe_errno"}
_PAGE = 4096
_HEADER_TYPE = 0x0E
_BRIDGE = 1


@dataclass
class BusDriver:
    """A driver as the scenario describes it. `ids` are globs over the text of a device's modalias."""

    bus: str
    name: str
    module: str
    ids: list[str]
    loaded: bool = True
    builtin: bool = False
    vfio: bool = False
    override_only: bool = False
    probe_errno: Any = None
    dynamic_ids: list[str] = field(default_factory=list)

    @property
    def path(self) -> str:
        return f"/sys/bus/{self.bus}/drivers/{self.name}"

    def knows(self, modalias: str) -> bool:
        """Whether an id of the driver's own, or one written to new_id, is the device's."""
        if any(fnmatch.fnmatchcase(modalias, glob) for glob in self.dynamic_ids):
            return True
        return not self.override_only and any(fnmatch.fnmatchcase(modalias, glob) for glob in self.ids)

    def refusal(self, name: str) -> int | None:
        """The errno with which the scenario has the driver's probe of this device fail."""
        given = self.probe_errno
        if isinstance(given, Mapping):
            given = given.get(name)
        return None if given is None else errno_number(given)


def parse(bus: str, name: str, given: Mapping[str, Any]) -> BusDriver:
    """A driver from the scenario's key `drivers`; ValueError names what is unknown."""
    unknown = sorted(set(given) - _DRIVER_KEYS)
    if unknown:
        raise ValueError(f"driver {name}: unknown key {', '.join(unknown)}: use {', '.join(sorted(_DRIVER_KEYS))}")
    driver = BusDriver(
        bus,
        name,
        str(given.get("module", name.replace("-", "_"))),
        [str(glob) for glob in given.get("ids") or ()],
        bool(given.get("loaded", True)),
        bool(given.get("builtin", False)),
        bool(given.get("vfio", False)),
        bool(given.get("override_only", False)),
        given.get("probe_errno"),
    )
    if isinstance(driver.probe_errno, str):
        errno_number(driver.probe_errno)
    return driver


class DeviceLocks:
    """The kernel's lock of each device: probe, removal and the files that take it wait for each other."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._owners: dict[str, list[threading.Thread]] = {}

    @contextlib.contextmanager
    def held(self, path: str, stop: Callable[[], bool]) -> Iterator[None]:
        """Hold the lock of the device at `path`, which this thread may have already. The host's lock is held too.

        While it waits it lets go of the host's lock; OSError EINTR when `stop` says so before it has it.
        """
        owner = threading.current_thread()
        with self._host.lock:
            owners = self._owners.setdefault(path, [])
            while owners and owners[0] is not owner:
                if stop():
                    raise failure(errno.EINTR, path)
                self._host.pause()
            owners.append(owner)
            try:
                yield
            finally:
                owners.pop()


@dataclass(frozen=True)
class VirtualFunction:
    """Whose virtual function it is, which one, and whether `sriov_drivers_autoprobe` lets drivers have it now."""

    physical: Device
    index: int
    may_probe: Callable[[], bool]


@dataclass
class _Opened:
    """What a VFIO driver has made for a function."""

    group: int
    nodes: list[VfioNode]
    cdev: Device | None = None


@dataclass
class _Bus:
    drivers: dict[str, BusDriver]
    autoprobe: bool = True

    def loaded(self) -> list[BusDriver]:
        return [driver for driver in self.drivers.values() if driver.loaded]


class Binding:
    """The buses that the scenario gives drivers for, their devices and what each driver has made of them."""

    def __init__(self, host: Host, declared: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
        self._host = host
        self.locks = DeviceLocks(host)
        self.functions: dict[str, Device] = {}
        self.new_ids: list[tuple[str, str]] = []
        self.vfs: dict[str, VirtualFunction] = {}
        self._declared: list[Device] = []
        self._overrides: dict[str, str] = {}
        self._children: dict[str, list[Device]] = {}
        self._present: dict[str, list[Device]] = {}
        self._opened: dict[str, _Opened] = {}
        self._buses: dict[str, _Bus] = {}
        for bus, drivers in declared.items():
            parsed = {name: parse(bus, name, given or {}) for name, given in drivers.items()}
            # The order of loading is that of matching.
            self._buses[bus] = _Bus({name: d for name, d in parsed.items() if d.loaded} | parsed)

    # ---- at boot -------------------------------------------------------------------------------------------------

    def manages(self, device: Device) -> bool:
        """Whether the device is of a bus with drivers."""
        return device.bus in self._buses

    def boot(self, devices: list[Device]) -> list[Device]:
        """Find each device its driver; those of `devices` that are there then, in their order."""
        for bus in self._buses:
            self._add_bus(bus)
        for module, loaded in self._host.scenario.modules.items():
            if loaded:
                self._add_module(module)
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
                self._open(function)

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
            return function.driver
        for driver in bus.loaded():
            if self._matches(driver, function) and driver.refusal(function.name) is None:
                return driver.name
        return None

    def _adopt(self, function: Device) -> None:
        """Make the device one of the bus, with the files that every device of it has."""
        path = function.path
        self.functions[path] = function
        attributes = dict(function.attributes)
        given = attributes.pop("driver_override", None)
        if given not in (None, "(null)"):
            self._overrides[path] = str(given)
        function.attributes = attributes
        show, store = self._override_files(path)
        function.dynamic = {**function.dynamic, "driver_override": (show, store)}

    # ---- files ---------------------------------------------------------------------------------------------------

    def _add_bus(self, name: str) -> None:
        bus = self._buses[name]
        base = f"/sys/bus/{name}"

        def set_autoprobe(data: bytes) -> None:
            bus.autoprobe = not data.startswith(b"0")

        tree = self._host.tree
        tree.directory(f"{base}/devices")
        tree.directory(f"{base}/drivers")
        tree.add(Attribute(f"{base}/drivers_autoprobe", lambda: b"%d\n" % bus.autoprobe, set_autoprobe))
        self._add_file(f"{base}/drivers_probe", lambda data: self._probe_by_name(name, data))
        for driver in bus.loaded():
            self._add_driver(driver)

    def _add_file(self, path: str, action: Callable[[bytes], None]) -> None:
        def store(data: bytes) -> None:
            self._host.insist(path, lambda: action(data))

        self._host.tree.add(Attribute(path, store=store, mode=0o200))

    def _add_driver(self, driver: BusDriver) -> None:
        tree = self._host.tree
        tree.directory(driver.path)
        self._add_file(f"{driver.path}/bind", lambda data: self._bind_by_name(driver, data))
        self._add_file(f"{driver.path}/unbind", lambda data: self._unbind_by_name(driver, data))
        if driver.bus == "pci":
            self._add_file(f"{driver.path}/new_id", lambda data: self._new_id(driver, data))
            self._add_file(f"{driver.path}/remove_id", lambda data: self._remove_id(driver, data))
        module = f"/sys/module/{driver.module}"
        if driver.builtin:
            tree.directory(module)
        else:
            self._add_module(driver.module)
        tree.link(f"{module}/drivers/{driver.bus}:{driver.name}", driver.path)
        tree.link(f"{driver.path}/module", module)

    def _add_module(self, name: str) -> None:
        if not self._host.tree.exists(f"/sys/module/{name}/initstate"):
            self._host.tree.add(Attribute(f"/sys/module/{name}/initstate", b"live\n"))

    def _override_files(self, path: str) -> tuple[Show, Store]:
        host = self._host

        def show() -> bytes:
            with self.locks.held(path, host.interrupted):
                return f"{self._overrides.get(path, '(null)')}\n".encode("utf-8", "surrogateescape")

        def write(data: bytes) -> None:
            if len(data) >= _PAGE - 1:
                raise failure(errno.EINVAL, f"{path}/driver_override")
            text = data.decode("utf-8", "surrogateescape").partition("\n")[0]
            with self.locks.held(path, host.is_closed):
                if text:
                    self._overrides[path] = text
                else:
                    self._overrides.pop(path, None)

        return show, lambda data: host.insist(f"{path}/driver_override", lambda: write(data))

    def _named(self, bus: str, data: bytes) -> Device | None:
        """The device of that name, which may have one newline behind it."""
        name = data.decode("utf-8", "surrogateescape").removesuffix("\n")
        for function in self.functions.values():
            if function.bus == bus and function.name == name:
                return function
        return None

    def _probe_by_name(self, bus: str, data: bytes) -> None:
        function = self._named(bus, data)
        if function is None:
            raise failure(errno.ENODEV, f"/sys/bus/{bus}/drivers_probe")
        if function.driver is None:
            self.probe(function)

    def _bind_by_name(self, driver: BusDriver, data: bytes) -> None:
        function = self._named(driver.bus, data)
        path = f"{driver.path}/bind"
        if function is None or not self._matches(driver, function):
            raise failure(errno.ENODEV, path)
        with self._locked(function):
            if self.functions.get(function.path) is not function:
                raise failure(errno.ENODEV, path)
            if function.driver is not None:
                raise failure(errno.EBUSY, path)
            refused = self._attach(driver, function)
        if refused is not None:
            raise failure(refused, path)

    def _unbind_by_name(self, driver: BusDriver, data: bytes) -> None:
        function = self._named(driver.bus, data)
        if function is None or function.driver != driver.name:
            raise failure(errno.ENODEV, f"{driver.path}/unbind")
        self.release(function)

    def _new_id(self, driver: BusDriver, data: bytes) -> None:
        self.new_ids.append((driver.name, data.decode("ascii", "replace")))
        driver.dynamic_ids.append(_glob(data, f"{driver.path}/new_id"))
        self._offer(driver)

    def _remove_id(self, driver: BusDriver, data: bytes) -> None:
        glob = _glob(data, f"{driver.path}/remove_id")
        if glob not in driver.dynamic_ids:
            raise failure(errno.ENODEV, f"{driver.path}/remove_id")
        driver.dynamic_ids.remove(glob)

    # ---- modules -------------------------------------------------------------------------------------------------

    def of_module(self, module: str) -> list[BusDriver]:
        """The drivers that a module brings."""
        drivers = [driver for bus in self._buses.values() for driver in bus.drivers.values()]
        return [driver for driver in drivers if driver.module == module]

    def load(self, module: str) -> None:
        """Load a module: its drivers are there, and are offered the devices that have none."""
        if module in self._host.scenario.modules:
            with self._host.lock:
                self._add_module(module)
        for driver in self.of_module(module):
            if driver.loaded:
                continue
            driver.loaded = True
            bus = self._buses[driver.bus]
            bus.drivers[driver.name] = bus.drivers.pop(driver.name)
            with self._host.lock:
                self._add_driver(driver)
            if bus.autoprobe:
                self._offer(driver)

    def unload(self, module: str) -> None:
        """Unload a module: its drivers let go of their devices."""
        for driver in self.of_module(module):
            for function in [f for f in self.functions.values() if f.driver == driver.name and f.bus == driver.bus]:
                self.release(function)
            driver.loaded = False
            driver.dynamic_ids.clear()
            with self._host.lock:
                self._host.tree.remove(driver.path)
        with self._host.lock:
            self._host.tree.remove(f"/sys/module/{module}")

    def _offer(self, driver: BusDriver) -> None:
        for function in list(self.functions.values()):
            if function.bus == driver.bus and function.driver is None and self._matches(driver, function):
                with self._locked(function):
                    if function.driver is None and self.functions.get(function.path) is function:
                        self._attach(driver, function)

    # ---- the core ------------------------------------------------------------------------------------------------

    def _bus(self, function: Device) -> _Bus:
        return self._buses[str(function.bus)]

    def driver_of(self, function: Device) -> BusDriver | None:
        """The driver that the device has now."""
        return None if function.driver is None else self._bus(function).drivers[function.driver]

    def function_above(self, path: str) -> Device | None:
        """The device of a bus with drivers that `path` is below of."""
        while path and path not in self.functions:
            path = path.rpartition("/")[0]
        return self.functions.get(path)

    def _locked(self, function: Device) -> contextlib.AbstractContextManager[None]:
        return self.locks.held(function.path, self._host.is_closed)

    def _matches(self, driver: BusDriver, function: Device) -> bool:
        """Whether the driver would take the device. A name in driver_override shuts out all others."""
        override = self._overrides.get(function.path)
        modalias = str(function.attributes.get("modalias", function.uevent.get("MODALIAS", "")))
        if override is None:
            return driver.knows(modalias)
        # The bus of the channel subsystem compares the type of the subchannel as well, PCI nothing else.
        return override == driver.name and (function.bus == "pci" or driver.knows(modalias))

    def probe(self, function: Device) -> None:
        """Offer the device to the loaded drivers, one after the other, until one takes it."""
        with self._locked(function):
            if function.driver is not None or self.functions.get(function.path) is not function:
                return
            for driver in self._bus(function).loaded():
                if self._matches(driver, function) and self._attach(driver, function) is None:
                    return

    def _refusal(self, driver: BusDriver, function: Device) -> int | None:
        """The errno with which the driver's probe fails, if it does."""
        path = function.path
        vf = self.vfs.get(path)
        if vf is not None and not vf.may_probe() and path not in self._overrides:
            return errno.ENODEV
        given = driver.refusal(function.name)
        if given is not None:
            return given
        group = self._host.group_or_none(function)
        if not driver.vfio:
            # A native driver keeps out while a guest owns the group.
            return errno.EBUSY if group is not None and self._host.vfio.in_use([f"/dev/vfio/{group}"]) else None
        if group is None or _header_type(function) == _BRIDGE:
            return errno.EINVAL
        return errno.EBUSY if self._host.tree.exists(f"{path}/virtfn0") else None

    def _attach(self, driver: BusDriver, function: Device) -> int | None:
        """Bind the device, which is locked and has no driver; the errno of the probe if that fails."""
        refused = self._refusal(driver, function)
        if refused is not None:
            return refused
        host = self._host
        function.driver = driver.name
        link_driver(host.tree, function, driver.name)
        if driver.vfio:
            self._open(function)
        declared = [child for child in self._children.get(function.path, ()) if child.of_driver == driver.name]
        children = [host.network.as_set(function, replace(child)) for child in declared]
        self._present[function.path] = children
        host.appear(children)
        for child in children:
            host.start_behaviours(child, None)
        host.start_behaviours(function, driver.name)
        host.announce(function, "bind")
        return None

    def release(self, function: Device) -> None:
        """Unbind the device from whatever driver it has. Waits while a guest has it."""
        with self._locked(function):
            driver = self.driver_of(function)
            if driver is None:
                return
            host = self._host
            unlink_driver(host.tree, function)
            for behaviour in host.behaviours_of(function):
                behaviour.unbound()
            if driver.vfio:
                self._close(function)
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
        with self._locked(function):
            self.release(function)
            self._host.stop_behaviours(function, None)
            for known in (self.functions, self._overrides, self._children, self.vfs):
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
            with self._locked(found):
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

    # ---- VFIO ----------------------------------------------------------------------------------------------------

    def _open(self, function: Device) -> None:
        """The nodes of a function that a VFIO driver has; the group's is there as long as one of its members' is."""
        host = self._host
        group = host.group_of(function)
        companions = []
        if not host.tree.exists(f"/dev/vfio/{group}"):
            host.vfio.add_node(str(group))
            companions.append(group_device(group))
        nodes = [host.tree.nodes[f"/dev/vfio/{group}"]]
        opened = _Opened(group, [])
        if host.scenario.vfio_cdev:
            number = host.vfio.next_cdev()
            nodes.append(host.tree.nodes[host.vfio.add_node(f"devices/vfio{number}")])
            node = {"name": f"vfio/devices/vfio{number}", "major": CDEV_MAJOR, "minor": number}
            opened.cdev = Device(path=f"{function.path}/vfio-dev/vfio{number}", class_="vfio-dev", node=node)
            companions.append(opened.cdev)
        opened.nodes = [node for node in nodes if isinstance(node, VfioNode)]
        self._opened[function.path] = opened
        host.appear(companions)

    def _close(self, function: Device) -> None:
        """Take the nodes back. The cdev goes at once, the group when no guest has the device any more."""
        host = self._host
        opened = self._opened[function.path]
        if opened.cdev is not None:
            host.vanish([opened.cdev])
            host.tree.remove(opened.nodes[1].path)
        if not host.vfio.wait_released(opened.nodes, host.is_closed):
            raise failure(errno.ENODEV, function.path)
        del self._opened[function.path]
        if all(other.group != opened.group for other in self._opened.values()):
            host.vanish([group_device(opened.group)])
            host.tree.remove(opened.nodes[0].path)


def _glob(data: bytes, path: str) -> str:
    """The ids written to new_id or remove_id, as a glob over modalias; OSError EINVAL."""
    fields = data.decode("ascii", "replace").split()
    try:
        numbers = [int(text, 16) for text in fields[:7]]
    except ValueError:
        numbers = []
    if len(numbers) < 2:
        raise failure(errno.EINVAL, path)
    return f"pci:v{numbers[0]:08X}d{numbers[1]:08X}*"


def _header_type(function: Device) -> int:
    config = function.attributes.get("config")
    if not isinstance(config, Mapping):
        return 0
    return bytes.fromhex(str(config["hex"]))[_HEADER_TYPE] & 0x7F
