# SPDX-License-Identifier: GPL-3.0-or-later
"""The bindings that driverctl keeps in /etc/driverctl.d.

The format is that of driverctl 0.111 to 0.115: one file a device, named by its bus and its name there, as
pci-0000:01:00.2 or css-0.0.0013, with the name of a driver, or ``none`` for a device that is to have none, and the end
of the line. A file without content is one that driverctl loads nothing from.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from ..grammar import DRIVER
from ..plan import Step
from . import files
from .files import DamagedDefinition

STORE = "/etc/driverctl.d"
# driverctl writes its files under the normal umask.
MODE = 0o644
FILE_NAME = re.compile(r"([a-z0-9_]+)-([0-9A-Za-z][0-9A-Za-z_:.-]*)")


@dataclass(frozen=True)
class Definition:
    """The driver that a device is to have, ``none`` for no driver; the device by its bus and its name there."""

    bus: str
    address: str
    driver: str

    @property
    def path(self) -> str:
        return path_of(self.bus, self.address)


def path_of(bus: str, address: str) -> str:
    """Where the binding of a device is kept."""
    return os.path.join(STORE, f"{bus}-{address}")


def find(bus: str, address: str) -> Definition | None:
    """The binding of a device; None where there is none. Raises DamagedDefinition."""
    path = path_of(bus, address)
    text = files.read(path)
    # As bash reads it: without the ends of lines that follow.
    driver = (text or "").rstrip("\n")
    if not driver:
        return None
    if not DRIVER.fullmatch(driver):
        raise DamagedDefinition(path, "it does not hold the name of a driver")
    return Definition(bus, address, driver)


def all_defined() -> tuple[list[Definition], list[DamagedDefinition]]:
    """All bindings by bus and name, and what cannot be understood; what has another name driverctl never reads."""
    found: list[Definition] = []
    damaged: list[DamagedDefinition] = []
    for name in files.entries(STORE):
        parts = FILE_NAME.fullmatch(name)
        if parts is None:
            continue
        try:
            definition = find(parts[1], parts[2])
        except DamagedDefinition as error:
            damaged.append(error)
        else:
            found += [] if definition is None else [definition]
    return found, damaged


def device_of(damage: DamagedDefinition) -> tuple[str, str] | None:
    """The bus and the name of the device that a damaged file is of; None where it is of the folder."""
    parts = FILE_NAME.fullmatch(os.path.basename(damage.path))
    return (parts[1], parts[2]) if parts and os.path.dirname(damage.path) == STORE else None


def change(described: str, target: Definition | None, former: Definition | None) -> Step:
    """The step after which ``target`` is kept, or nothing; ``former`` is what is kept of the same device now."""
    return Step(described, lambda: _leave(target, former), lambda: _leave(former, target))


def _leave(target: Definition | None, other: Definition | None) -> None:
    if target is not None:
        files.make_folder(STORE)
        files.write(target.path, f"{target.driver}\n", MODE)
    elif other is not None:
        files.remove(other.path)
