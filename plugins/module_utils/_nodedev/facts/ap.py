# SPDX-License-Identifier: GPL-3.0-or-later
"""What users need to know of crypto adapters, their queues and the matrix beside libvirt's words: whose they are."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from ..grammar import ap_queue
from ..host import ap, matrix
from ..host.ap import Bus, Number, Queue
from ..host.oddities import Oddities
from ..host.udev import Device
from ..libvirt.inventory import Inventory

Extra = Callable[[Device, dict[str, Any], Oddities], dict[str, Any]]
# To whom a queue belongs: it is the host's, vfio_ap's, or is to be vfio_ap's, which has not got it.
HOST, GUESTS, NOBODY = "host", "guests", "nobody"


class Queues:
    """The queues of a host, read once for all devices that something is told of."""

    def __init__(self) -> None:
        self._oddities = Oddities()

    @cached_property
    def _found(self) -> Bus | None:
        return self._oddities.attempt(lambda: ap.look(self._oddities))

    @property
    def _bus(self) -> Bus:
        return self._found or Bus()

    @cached_property
    def _having(self) -> dict[Number, str]:
        """The mediated devices by the queues that they have."""
        running = self._oddities.attempt(matrix.running) or {}
        return {number: uuid for uuid, each in running.items() for number in each.queues}

    def of_card(self, device: Device, _capability: dict[str, Any], oddities: Oddities) -> dict[str, Any]:
        """Of an adapter: its type, whether it is online, and how many of its queues are whose and free for guests."""
        adapter = int(device.sysname[len("card") :], 16)
        card = self._bus.cards.get(adapter)
        own = [each for number, each in self._bus.queues.items() if number[0] == adapter]
        self._tell(oddities)
        if card is None:
            return {}
        owners = [self._owner(each) for each in own]
        return {
            "type": card.type,
            "hwtype": card.hwtype,
            "online": card.online,
            "takes_vfio": card.takes_vfio,
            "queues": {owner: owners.count(owner) for owner in (HOST, GUESTS, NOBODY)},
            "free": [ap.name(each.number) for each in own if self._is_free(each)],
        }

    def of_queue(self, device: Device, _capability: dict[str, Any], oddities: Oddities) -> dict[str, Any]:
        """Of a queue: whose it is, its driver, whether it is online, which mediated device has it, if it is free."""
        number = ap_queue(device.sysname)
        queue = None if number is None else self._bus.queues.get(number)
        self._tell(oddities)
        if queue is None:
            return {}
        return {
            "owner": self._owner(queue),
            "driver": queue.driver,
            "online": queue.online,
            "mdev": self._having.get(queue.number),
            "free": self._is_free(queue),
        }

    def of_matrix(self, _device: Device, _capability: dict[str, Any], oddities: Oddities) -> dict[str, Any]:
        """Of the matrix: the queues that are free for guests, and those of each mediated device."""
        if not ap.is_there():
            return {}
        assigned: dict[str, list[str]] = {}
        for number, uuid in sorted(self._having.items()):
            assigned.setdefault(uuid, []).append(ap.name(number))
        self._tell(oddities)
        return {"free": self._free(), "assigned": assigned}

    def _free(self) -> list[str]:
        return [ap.name(number) for number, each in sorted(self._bus.queues.items()) if self._is_free(each)]

    def extras(self) -> dict[str, Extra]:
        """What is told of each kind of device, by the type of its capability."""
        return {"ap_card": self.of_card, "ap_queue": self.of_queue, "ap_matrix": self.of_matrix}

    def summary(self, found: Inventory) -> dict[str, Any] | None:
        """What the kernel leaves to guests by masks and by overrides, what of it is free, and how much is the host's.

        None where nothing of crypto queues was found, or the bus cannot be read.
        """
        kinds = {*self.extras()}
        if not any(each["capability"]["type"] in kinds for each in found.devices.values()):
            return None
        bus = self._found
        self._tell(found.oddities)
        if bus is None:
            return None
        overridden = [number for number, each in bus.queues.items() if each.override == ap.VFIO_AP]
        return {
            "adapters": sorted(ap.EVERY - bus.adapters),
            "domains": sorted(ap.EVERY - bus.domains),
            "queues": [ap.name(number) for number in sorted(overridden)],
            "free": self._free(),
            HOST: sum(self._owner(each) == HOST for each in bus.queues.values()),
        }

    def _owner(self, queue: Queue) -> str:
        if queue.driver == ap.VFIO_AP:
            return GUESTS
        return HOST if self._bus.is_hosts(queue.number) else NOBODY

    def _is_free(self, queue: Queue) -> bool:
        return queue.driver == ap.VFIO_AP and queue.number not in self._having

    def _tell(self, oddities: Oddities) -> None:
        for warning in self._oddities.warnings:
            oddities.add(warning)
