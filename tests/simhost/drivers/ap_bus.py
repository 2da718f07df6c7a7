# SPDX-License-Identifier: GPL-3.0-or-later
"""The AP bus of s390x, on the device devices/ap: adapter cards, their queues, and whose drivers have these.

Parameters: `cards` maps adapters to `hwtype` (13) and `type`; `domains` are the usage domains, each with a queue
on every card; `host_driver` has the queues that are the host's; `overrides: true` is for kernels whose queues have
driver_override; `late` is seconds after which the queues have their drivers at boot; `counted: false` leaves
out bindings_complete_count; `busy` are queues at work, as "05.0004"; `matrix` are the parameters of the matrix device,
which is there while the module vfio_ap is loaded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from simhost.devices import Device, link_driver, unlink_driver
from simhost.drivers import Driver
from simhost.drivers.mdev_parent import kernel_number
from simhost.drivers.vfio_ap import mask, numbers_in
from simhost.faults import errno_number
from simhost.tree import Attribute, Show, Store, failure

BUS = "/sys/bus/ap"
VFIO_AP = "vfio_ap"
FIRST_OF_VFIO = 10
EVERY = frozenset(range(256))
Number = tuple[int, int]


@dataclass
class Queue:
    """A queue device, its override and whether a driver may have it yet."""

    device: Device
    hwtype: int
    override: str | None = None


class ApBus(Driver):
    """Masks or overrides decide which queues are the host's; the kernel takes each while the other is not in use."""

    KEYS = frozenset({"cards", "domains", "host_driver", "overrides", "late", "counted", "busy", "matrix"})

    def attach(self) -> None:
        """Add the bus's files, its cards and queues, and the matrix where vfio_ap is loaded."""
        parameters, host, tree = self.parameters, self.host, self.host.tree
        self.masks = {"apmask": EVERY, "aqmask": EVERY}
        self.queues: dict[Number, Queue] = {}
        self.native = str(parameters.get("host_driver", "cex4queue"))
        self.overridable = bool(parameters.get("overrides", False))
        self.complete = 0
        self.matrix: Device | None = None
        host.shared["ap_bus"] = self
        for folder in ("devices", "drivers"):
            tree.directory(f"{BUS}/{folder}")
        for name in self.masks:
            tree.add(Attribute(f"{BUS}/{name}", self._shower(name), self._masker(name)))
        if parameters.get("counted", True):
            tree.add(Attribute(f"{BUS}/bindings_complete_count", lambda: b"%d\n" % self.complete))
        tree.add(Attribute(f"{BUS}/bindings", self._bindings))
        tree.add(Attribute(f"{BUS}/drivers_probe", store=self._insisted("drivers_probe", self._probe), mode=0o200))
        for name, value in (("ap_max_adapter_id", 255), ("ap_max_domain_id", 84), ("ap_domain", 4)):
            tree.add(Attribute(f"{BUS}/{name}", b"%d\n" % value))
        self._add_driver(self.native)
        for adapter, card in sorted((parameters.get("cards") or {}).items()):
            self._add_card(int(adapter), dict(card or {}))
        if self._loaded:
            self.module_loaded(VFIO_AP)
        late = float(parameters.get("late", 0))
        if late:
            timer = threading.Timer(late, self._settle)
            timer.daemon = True
            timer.start()
        else:
            self._settle()

    def _settle(self) -> None:
        """The first scan is through: all queues have their drivers, and the bus says so."""
        with self.host.lock:
            if self.host.is_closed():
                return
            self.complete = 1
            self._revise()
            self.host.announce(self.device, "change", {"BINDINGS": "complete", "COMPLETECOUNT": "1"})

    @property
    def _loaded(self) -> bool:
        return self.host.tree.exists(f"/sys/module/{VFIO_AP}")

    # ---- cards, queues and drivers -------------------------------------------------------------------------------

    def _add_card(self, adapter: int, given: dict[str, Any]) -> None:
        hwtype = int(given.get("hwtype", 13))
        path = f"{self.device.path}/card{adapter:02x}"
        attributes = {"type": given.get("type", "CEX7C"), "hwtype": hwtype, "online": 1, "config": 1}
        uevent = {"DEVTYPE": "ap_card", "DEV_TYPE": f"{hwtype:04X}", "MODALIAS": f"ap:t{hwtype:02X}"}
        cards = [Device(path=path, bus="ap", attributes=attributes, uevent=uevent)]
        for domain in self.parameters.get("domains") or ():
            number = (adapter, int(domain))
            name = f"{adapter:02x}.{int(domain):04x}"
            busy = name in (self.parameters.get("busy") or ())
            device = Device(
                path=f"{path}/{name}",
                bus="ap",
                attributes={"online": 1, "config": 1, "load": int(busy), "requestq_count": int(busy)},
                uevent={"DEVTYPE": "ap_queue", "DEV_TYPE": f"{hwtype:04X}", "MODALIAS": f"ap:t{hwtype:02X}"},
                dynamic={"driver_override": self._override(number)} if self.overridable else {},
            )
            self.queues[number] = Queue(device, hwtype)
            cards.append(device)
        self.host.appear(cards)

    def _add_driver(self, name: str) -> None:
        place = f"{BUS}/drivers/{name}"
        self.host.tree.directory(place)
        self.host.tree.add(
            Attribute(
                f"{place}/unbind", store=self._insisted(f"drivers/{name}/unbind", self._unbinder(name)), mode=0o200
            )
        )
        self.host.tree.add(
            Attribute(f"{place}/bind", store=self._insisted(f"drivers/{name}/bind", self._binder(name)), mode=0o200)
        )

    def _insisted(self, name: str, action: Callable[[bytes], None]) -> Store:
        return lambda data: self.host.insist(f"{BUS}/{name}", lambda: action(data))

    def module_loaded(self, module: str) -> None:
        """vfio_ap has its driver and makes the matrix."""
        if module != VFIO_AP or self.matrix is not None:
            return
        with self.host.lock:
            self._add_driver(VFIO_AP)
            behaviour = {"vfio_ap": dict(self.parameters.get("matrix") or {})}
            place = "/sys/devices/vfio_ap/matrix"
            self.matrix = Device(path=place, bus="matrix", driver=VFIO_AP, behaviour=behaviour)
            self.host.appear([self.matrix])
            self.host.start_behaviours(self.matrix, None)
            self.host.announce(self.matrix, "change", {"MDEV_STATE": "registered"})
            if self.complete:
                self._revise()

    def _bindings(self) -> bytes:
        bound = sum(queue.device.driver is not None for queue in self.queues.values())
        told = " (complete)" if self.complete and bound == len(self.queues) else ""
        return f"{bound}/{len(self.queues)}{told}\n".encode()

    # ---- whose queues are ----------------------------------------------------------------------------------------

    def is_hosts(self, number: Number) -> bool:
        """Whether the default drivers alone may have this queue, be it there or not."""
        queue = self.queues.get(number)
        if queue is not None and queue.override is not None:
            return queue.override != VFIO_AP
        return number[0] in self.masks["apmask"] and number[1] in self.masks["aqmask"]

    def has_vfio(self, number: Number) -> bool:
        """Whether the queue is there and vfio_ap has it."""
        return number in self.queues and self.queues[number].device.driver == VFIO_AP

    def _wanted(self, number: Number) -> str | None:
        queue = self.queues[number]
        if queue.override is not None and queue.override not in (VFIO_AP, self.native):
            return None
        if self.is_hosts(number):
            return self.native
        return VFIO_AP if self.host.tree.exists(f"{BUS}/drivers/{VFIO_AP}") and queue.hwtype >= FIRST_OF_VFIO else None

    def _revise(self) -> None:
        """As after a change of the masks: who has what is not his lets go of it, and the drivers are asked again."""
        for number in self.queues:
            if self._driver(number) != self._wanted(number):
                self._release(number)
                self._offer(number)

    def _driver(self, number: Number) -> str | None:
        return self.queues[number].device.driver

    def _release(self, number: Number) -> None:
        device = self.queues[number].device
        if device.driver is not None:
            unlink_driver(self.host.tree, device)
            device.driver = None
            self.host.announce(device, "unbind")

    def _offer(self, number: Number) -> None:
        device, driver = self.queues[number].device, self._wanted(number)
        if device.driver is None and driver is not None:
            effect = self.host.faults.hit("write", f"{BUS}/drivers/{driver}/{device.name}")
            if effect.errno is not None:
                return
            device.driver = driver
            link_driver(self.host.tree, device, driver)
            self.host.announce(device, "bind")

    def _named(self, data: bytes, path: str) -> Number:
        name = data.decode("ascii", "replace").strip()
        for number, queue in self.queues.items():
            if queue.device.name == name:
                return number
        raise failure(errno_number("ENODEV"), path)

    def _probe(self, data: bytes) -> None:
        self._offer(self._named(data, f"{BUS}/drivers_probe"))

    def _unbinder(self, driver: str) -> Callable[[bytes], None]:
        def unbind(data: bytes) -> None:
            path = f"{BUS}/drivers/{driver}/unbind"
            number = self._named(data, path)
            if self._driver(number) != driver:
                raise failure(errno_number("ENODEV"), path)
            self._release(number)

        return unbind

    def _binder(self, driver: str) -> Callable[[bytes], None]:
        def bind(data: bytes) -> None:
            path = f"{BUS}/drivers/{driver}/bind"
            number = self._named(data, path)
            if self._wanted(number) != driver:
                raise failure(errno_number("ENODEV"), path)
            self._offer(number)

        return bind

    # ---- overrides and masks -------------------------------------------------------------------------------------

    def _override(self, number: Number) -> tuple[Show, Store]:
        def show() -> bytes:
            return f"{self.queues[number].override or ''}\n".encode()

        def store(data: bytes) -> None:
            queue = self.queues[number]
            if any(each != EVERY for each in self.masks.values()):
                raise failure(errno_number("EINVAL"), f"{queue.device.path}/driver_override")
            queue.override = data.decode("ascii", "replace").strip() or None

        return show, store

    def _shower(self, name: str) -> Show:
        def show() -> bytes:
            return f"{mask(set(self.masks[name]))}\n".encode()

        return show

    def _masker(self, name: str) -> Store:
        path = f"{BUS}/{name}"

        def change(data: bytes) -> None:
            if any(queue.override is not None for queue in self.queues.values()):
                raise failure(errno_number("EINVAL"), path)
            new = {**self.masks, name: frozenset(_changed(data, set(self.masks[name]), path))}
            taken = {
                (adapter, domain)
                for adapter, domain in self.host.shared.get("ap_assigned", set)()
                if adapter in new["apmask"] and domain in new["aqmask"] and not self.is_hosts((adapter, domain))
            }
            if taken:
                raise failure(errno_number("EBUSY"), path)
            self.masks = new
            self._revise()
            key = "APMASK" if name == "apmask" else "AQMASK"
            self.host.announce(self.device, "change", {key: mask(set(new[name]))})

        return self._insisted(name, change)


def _changed(data: bytes, former: set[int], path: str) -> set[int]:
    """The numbers of a mask after a write: a whole mask, or a list of bits to set and to clear."""
    text = data.decode("ascii", "replace").removesuffix("\n")
    if text.startswith("0x"):
        return numbers_in(text, path)
    for part in text.split(","):
        sign, number = part[:1], kernel_number(part[1:].encode(), path)
        if sign not in ("+", "-") or number not in EVERY:
            raise failure(errno_number("EINVAL"), path)
        former = former | {number} if sign == "+" else former - {number}
    return former


DRIVER = ApBus
