# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel modules that are drivers: which one libvirt would take to give a function to a guest, and which one is meant.

Since 10.0 libvirt looks in modules.alias for the most specific of the drivers that name themselves with vfio_pci: (its
virPCIDeviceFindBestVFIOVariant), and else takes vfio-pci.
"""

from __future__ import annotations

import fnmatch
import os
import re
from difflib import get_close_matches

from . import sysfs

FOLDER = "/lib/modules"
ALIASES = "modules.alias"
# Bytes of that file that are read; Debian's has 1.4 MB.
LARGEST = 1 << 26
PLAIN, PREFIX = "vfio-pci", "vfio_pci"
# By bus, the driver for guests, which is loaded only when it is wanted.
GUESTS = {"pci": (PLAIN,), "css": ("vfio_ccw",)}
# From how much on two names are alike.
ALIKE = 0.7
ALIAS = re.compile(r"^alias (vfio_pci:\S+) (\S+)$", re.MULTILINE)


def vfio_driver(modalias: str | None) -> str:
    """The driver that gives a function with this modalias to guests, vfio-pci where none is more specific."""
    wanted = f"{PREFIX}:{(modalias or '').partition(':')[2]}"
    matching = [
        (pattern.count("*"), module)
        for pattern, module in ALIAS.findall(_aliases())
        if fnmatch.fnmatchcase(wanted, pattern)
    ]
    module = min(matching)[1] if matching else PREFIX
    # All but this one are called as their modules are.
    return PLAIN if module == PREFIX else module


def spelled(bus: str, name: str) -> str | None:
    """The driver for a bus that differs from this name by signs or capitals alone, as vfio-pci from its module's."""
    found = _by_letters(bus).get(_letters(name))
    return None if found == name else found


def suggested(name: str, bus: str | None = None) -> str:
    """The question whether a driver is meant whose name is like this one; nothing where none is, for any bus or one."""
    buses = sysfs.names(f"{sysfs.SYS}/bus") if bus is None else [bus]
    drivers = {letters: driver for each in buses for letters, driver in _by_letters(each).items()}
    found = [drivers[each] for each in get_close_matches(_letters(name), drivers, 1, ALIKE)]
    return f"; did you mean {found[0]!r}?" if found and found != [name] else ""


def _by_letters(bus: str) -> dict[str, str]:
    """The drivers for a bus that are there, and the one that gives its devices to guests, by what differs in names."""
    drivers = [*sysfs.names(f"{sysfs.SYS}/bus/{bus}/drivers"), *GUESTS.get(bus, ())]
    return {_letters(driver): driver for driver in drivers}


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name)).lower()


def _aliases() -> str:
    data = sysfs.whole(f"{FOLDER}/{os.uname().release}/{ALIASES}", LARGEST)
    return (data or b"").decode("utf-8", "replace")
