# SPDX-License-Identifier: GPL-3.0-or-later
"""Drivers of a bus as a scenario describes them, and which devices they take."""

from __future__ import annotations

import errno
import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from simhost.faults import errno_number
from simhost.tree import failure

_DRIVER_KEYS = {"ids", "module", "loaded", "builtin", "vfio", "override_only", "probe_errno"}


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


@dataclass
class Bus:
    """A bus with drivers, in the order in which they were loaded; `autoprobe` as in its drivers_autoprobe."""

    drivers: dict[str, BusDriver]
    autoprobe: bool = True

    def loaded(self) -> list[BusDriver]:
        """Those that are there."""
        return [driver for driver in self.drivers.values() if driver.loaded]


def id_glob(data: bytes, path: str) -> str:
    """The ids written to new_id or remove_id, as a glob over modalias; OSError EINVAL."""
    fields = data.decode("ascii", "replace").split()
    try:
        numbers = [int(text, 16) for text in fields[:7]]
    except ValueError:
        numbers = []
    if len(numbers) < 2:
        raise failure(errno.EINVAL, path)
    return f"pci:v{numbers[0]:08X}d{numbers[1]:08X}*"
