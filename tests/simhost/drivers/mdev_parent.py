# SPDX-License-Identifier: GPL-3.0-or-later
"""A parent of mediated devices, as the kernel's mdev core and the vendors' drivers present one.

Parameters: `types` maps type ids to `name`, `description`, `device_api`, `units` (default 1) and `max`
(instances on this parent, no limit by default); `card` names an entry of the scenario's `cards`, or `units` gives
this parent a capacity of its own; `max_instances` limits the parent (1 for a VF); `driver` is the driver of the
instances; `full_errno` is what a create without room gives; `attributes` are files of each instance, in the
grammar of device attributes; `in_use` is `block` (remove waits, the default) or an errno.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from typing import Any

from simhost.devices import Device
from simhost.drivers import Driver
from simhost.faults import errno_number
from simhost.host import Card
from simhost.tree import Attribute, Show, Store, failure
from simhost.vfio import CDEV_MAJOR, group_device

_UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_UUID_LENGTH = 36


@dataclass
class Instance:
    """One mediated device with what belongs to it elsewhere in the tree."""

    uuid: str
    type_id: str
    device: Device
    companions: list[Device]
    nodes: list[str]


def kernel_number(data: bytes, path: str) -> int:
    """An unsigned number as the kernel parses one, in decimal, octal or hex; OSError EINVAL."""
    text = data.decode("ascii", "replace").removesuffix("\n").removeprefix("+")
    base = 16 if text.lower().startswith("0x") else 8 if len(text) > 1 and text.startswith("0") else 10
    digits = text[2:] if base == 16 else text
    if not re.fullmatch(r"[0-9a-fA-F]+", digits):
        raise failure(errno_number("EINVAL"), path)
    try:
        return int(digits, base)
    except ValueError:
        raise failure(errno_number("EINVAL"), path) from None


class MdevParent(Driver):
    """The parent's type directories, `create`, and the `remove` of each instance."""

    KEYS = frozenset(
        {"types", "card", "units", "max_instances", "driver", "full_errno", "attributes", "in_use"},
    )

    def attach(self) -> None:
        """Add mdev_supported_types and the link in /sys/class/mdev_bus."""
        parameters = self.parameters
        host = self.host
        self.types: dict[str, dict[str, Any]] = {str(k): dict(v or {}) for k, v in parameters["types"].items()}
        self.instances: dict[str, Instance] = {}
        self._closing = False
        self.card = self._card()
        self.full_errno = errno_number(parameters.get("full_errno", "ENOSPC"))
        # UUIDs are unique over all parents of the host.
        self.all_uuids: set[str] = host.shared.setdefault("mdev_uuids", set())
        tree = host.tree
        tree.directory("/sys/bus/mdev/devices")
        tree.directory("/sys/bus/mdev/drivers")
        tree.link(f"/sys/class/mdev_bus/{self.device.name}", self.device.path)
        for type_id, type_ in self.types.items():
            base = self.type_path(type_id)
            tree.directory(f"{base}/devices")
            tree.add(Attribute(f"{base}/create", store=self._creator(type_id), mode=0o200))
            tree.add(Attribute(f"{base}/available_instances", self._counter(type_id)))
            tree.add(Attribute(f"{base}/device_api", f"{type_.get('device_api', 'vfio-pci')}\n".encode()))
            for name in ("name", "description"):
                if name in type_:
                    tree.add(Attribute(f"{base}/{name}", f"{type_[name]}\n".encode()))

    def bound(self) -> None:
        """Tell that the device has become a parent."""
        if self.of_driver == self.device.driver:
            self.host.announce(self.device, "change", {"MDEV_STATE": "registered"})

    def detach(self) -> None:
        """The driver is no parent any more: its instances go first, each when its guest has ended."""
        host = self.host
        self._closing = True
        host.tree.remove(f"/sys/class/mdev_bus/{self.device.name}")
        for instance in list(self.instances.values()):
            if host.tree.exists(f"{instance.device.path}/remove"):
                self._unlist(instance)
            host.vfio.wait_free(instance.nodes, host.is_closed)
            if instance.uuid in self.instances:
                self._finish(instance)
        host.tree.remove(f"{self.device.path}/mdev_supported_types")
        host.announce(self.device, "change", {"MDEV_STATE": "unregistered"})

    def type_path(self, type_id: str) -> str:
        return f"{self.device.path}/mdev_supported_types/{type_id}"

    def _card(self) -> Card:
        if "card" in self.parameters:
            name = str(self.parameters["card"])
            if name not in self.host.cards:
                raise ValueError(f"{self.device.path}: card {name!r} is not in the scenario's cards: add it there")
            return self.host.cards[name]
        unlimited = 1 << 30
        return Card(int(self.parameters.get("units", unlimited)))

    def _units(self, type_id: str) -> int:
        return int(self.types[type_id].get("units", 1))

    def available(self, type_id: str) -> int:
        """How many more instances of the type this parent can take now."""
        units = self._units(type_id)
        if self.card.homogeneous and any(used != units for used in self.card.used.values()):
            return 0
        result = self.card.free // units
        if "max" in self.types[type_id]:
            same = sum(1 for instance in self.instances.values() if instance.type_id == type_id)
            result = min(result, int(self.types[type_id]["max"]) - same)
        if "max_instances" in self.parameters:
            result = min(result, int(self.parameters["max_instances"]) - len(self.instances))
        return max(result, 0)

    def _counter(self, type_id: str) -> Show:
        def show() -> bytes:
            with self.host.lock:
                return f"{self.available(type_id)}\n".encode()

        return show

    def _creator(self, type_id: str) -> Store:
        def store(data: bytes) -> None:
            path = f"{self.type_path(type_id)}/create"
            if not _UUID_LENGTH <= len(data) <= _UUID_LENGTH + 1 or not _UUID.match(data):
                raise failure(errno_number("EINVAL"), path)
            uuid = data[:_UUID_LENGTH].decode().lower()
            with self.host.lock:
                if self._closing:
                    raise failure(errno_number("ENODEV"), path)
                if uuid in self.all_uuids:
                    raise failure(errno_number("EEXIST"), path)
                if self.available(type_id) < 1:
                    raise failure(self.full_errno, path)
                self._create(uuid, type_id)

        return store

    def instance_attributes(self, uuid: str) -> dict[str, tuple[Show | None, Store | None]]:
        """Files with a behaviour that each instance has; kinds of parents with such files override this."""
        return {}

    def forget(self, uuid: str) -> None:
        """Called when the instance has gone; kinds of parents with a state for each instance override this."""

    def _create(self, uuid: str, type_id: str) -> None:
        host = self.host
        path = f"{self.device.path}/{uuid}"
        device = Device(
            path=path,
            bus="mdev",
            driver=str(self.parameters.get("driver", "vfio_mdev")),
            iommu_group="auto",
            attributes=dict(self.parameters.get("attributes") or {}),
            dynamic=self.instance_attributes(uuid),
            links={"mdev_type": self.type_path(type_id)},
        )
        instance = Instance(uuid, type_id, device, [], [])
        self.instances[uuid] = instance
        self.all_uuids.add(uuid)
        self.card.used[uuid] = self._units(type_id)
        host.add_device(device)
        host.tree.add(Attribute(f"{path}/remove", store=self._remover(instance), mode=0o200))
        host.tree.link(f"{self.type_path(type_id)}/devices/{uuid}", path)
        group = host.group_of(device)
        instance.nodes.append(host.vfio.add_node(str(group)))
        instance.companions.append(group_device(group))
        if host.scenario.vfio_cdev:
            number = host.vfio.next_cdev()
            instance.nodes.append(host.vfio.add_node(f"devices/vfio{number}"))
            node = {"name": f"vfio/devices/vfio{number}", "major": CDEV_MAJOR, "minor": number}
            cdev = Device(path=f"{path}/vfio-dev/vfio{number}", class_="vfio-dev", node=node)
            instance.companions.append(cdev)
        for companion in instance.companions:
            host.add_device(companion)
        for added in (device, *instance.companions):
            host.announce(added, "add")

    def _remover(self, instance: Instance) -> Store:
        path = f"{instance.device.path}/remove"

        def store(data: bytes) -> None:
            if not kernel_number(data, path):
                return
            in_use = self.parameters.get("in_use", "block")
            with self.host.lock:
                if not self.host.tree.exists(path):
                    raise failure(errno_number("ENODEV"), path)
                if in_use != "block" and self.host.vfio.in_use(instance.nodes):
                    raise failure(errno_number(in_use), path)
                self._unlist(instance)
                if self.host.vfio.wait_free(instance.nodes, self.host.interrupted):
                    self._finish(instance)
                    return
            # As in the kernel, the removal goes on when the writer is told to stop; only the writer gets away here.
            threading.Thread(target=self._finish_later, args=(instance,), daemon=True).start()
            raise failure(errno_number("EINTR"), path)

        return store

    def _unlist(self, instance: Instance) -> None:
        """Take away what the kernel removes before it waits for the user of the device."""
        tree = self.host.tree
        path = instance.device.path
        tree.remove(f"{self.type_path(instance.type_id)}/devices/{instance.uuid}")
        for name in ("remove", "mdev_type", "power", "uevent", "subsystem"):
            tree.remove(f"{path}/{name}")
        tree.remove(instance.device.index_path)

    def _finish_later(self, instance: Instance) -> None:
        with self.host.lock:
            self.host.vfio.wait_free(instance.nodes, lambda: False)
            self._finish(instance)

    def _finish(self, instance: Instance) -> None:
        host = self.host
        for companion in reversed(instance.companions):
            host.remove_device(companion)
        host.remove_device(instance.device)
        for node in instance.nodes:
            host.tree.remove(node)
        del self.instances[instance.uuid]
        del self.card.used[instance.uuid]
        self.all_uuids.discard(instance.uuid)
        self.forget(instance.uuid)
        for removed in (*reversed(instance.companions), instance.device):
            host.announce(removed, "remove")


DRIVER = MdevParent
