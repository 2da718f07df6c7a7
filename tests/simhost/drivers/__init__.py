# SPDX-License-Identifier: GPL-3.0-or-later
"""Behaviours of the kernel's drivers, one module a kind; each module names its class DRIVER."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from simhost.devices import Device

if TYPE_CHECKING:
    from simhost.bus_drivers import BusDriver
    from simhost.host import Host


class Driver(ABC):
    """A behaviour attached to one declared device, with the parameters that the scenario gives."""

    KEYS: frozenset[str] = frozenset()

    def __init__(self, host: Host, device: Device, parameters: Mapping[str, Any]) -> None:
        unknown = sorted(set(parameters) - self.KEYS)
        if unknown:
            known = ", ".join(sorted(self.KEYS))
            raise ValueError(f"{device.path}: unknown parameter {', '.join(unknown)}: use {known}")
        self.host = host
        self.device = device
        self.parameters = parameters
        self.declared = device
        self.of_driver: str | None = None

    @abstractmethod
    def attach(self) -> None:
        """Add the driver's files to the device."""

    def detach(self) -> None:  # noqa: B027 - what is below the device goes with it
        """Take away what is elsewhere: the device goes, or its driver does."""

    def refusal(self, function: Device, driver: BusDriver) -> int | None:
        """The errno with which a driver's probe of one of the device's virtual functions fails, if it does."""
        return None

    def bound(self) -> None:  # noqa: B027 - few tell of it
        """A driver has taken the device, after the boot."""

    def module_loaded(self, module: str) -> None:  # noqa: B027 - few have one of their own
        """A module of the scenario's that is no driver of a bus was loaded."""

    def unbound(self) -> None:  # noqa: B027 - a behaviour that is not the driver's stays
        """The driver of the device lets go of it."""
