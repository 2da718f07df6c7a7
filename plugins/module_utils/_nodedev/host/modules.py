# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel modules that are drivers: which one libvirt would take to give a function to a guest.

Since 10.0 libvirt looks in modules.alias for the most specific of the drivers that name themselves with vfio_pci: (its
virPCIDeviceFindBestVFIOVariant), and else takes vfio-pci.
"""

from __future__ import annotations

import fnmatch
import os
import re

from . import sysfs

FOLDER = "/lib/modules"
ALIASES = "modules.alias"
# Bytes of that file that are read; Debian's has 1.4 MB.
LARGEST = 1 << 26
PLAIN, PREFIX = "vfio-pci", "vfio_pci"
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


def _aliases() -> str:
    data = sysfs.whole(f"{FOLDER}/{os.uname().release}/{ALIASES}", LARGEST)
    return (data or b"").decode("utf-8", "replace")
