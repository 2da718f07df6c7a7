# SPDX-License-Identifier: GPL-3.0-or-later
"""GPUs as cards that vGPUs may be made on, and in which of its ways a card makes them, by what is there of it.

NVIDIA's driver for hosts makes vGPUs as mediated devices, of the card or of its virtual functions, or has virtual
functions be vGPUs themselves (vendor-specific VFIO, NVIDIA's vGPU user guide). SR-IOV alone tells of neither: a T4
claims 16 virtual functions and makes none.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from . import pci, sysfs
from .oddities import Oddities

# The ways in which a card makes vGPUs, and what a parent or a function has in each.
MDEV, VFIO = "mdev", "vfio"
MEDIATED = "mdev_supported_types"
VENDORS_OWN = "nvidia/current_vgpu_type"
# NVIDIA's driver, which makes them.
DRIVER = "nvidia"
# The mode in which virtual functions are vGPUs, compared whole: the other one is called Non SR-IOV.
SRIOV = "SR-IOV"
# What there is to look at where a card is in another one.
OTHER_MODE = "is SR-IOV on in the firmware, and the driver the one for vGPU hosts?"


@dataclass(frozen=True)
class Card:
    """A GPU, which is no virtual function; ``total`` is how many of those it can have, None where it has no SR-IOV.

    ``framework`` is the way in which it makes vGPUs, None where nothing is there of either. ``itself`` says whether the
    mediated devices are on the card and not on its functions.
    """

    function: pci.Function
    total: int | None = None
    framework: str | None = None
    itself: bool = False

    @property
    def address(self) -> str:
        return self.function.address

    @property
    def is_nvidia(self) -> bool:
        return self.function.vendor == pci.NVIDIA


@dataclass(frozen=True)
class Mode:
    """How a card makes vGPUs: ``host`` is its Host VGPU Mode, as SR-IOV; what it does not tell is None.

    ``heterogeneous`` says whether vGPUs of different framebuffers may share it, ``mig`` whether it is divided by MIG.
    """

    host: str | None = None
    heterogeneous: bool | None = None
    mig: bool | None = None

    @property
    def is_shared(self) -> bool | None:
        """Whether vGPUs of different framebuffers may share the card: MIG gives each an instance of its own."""
        return True if self.mig else self.heterogeneous

    @property
    def is_sriov(self) -> bool:
        return self.host == SRIOV


def cards(oddities: Oddities) -> list[Card]:
    """All GPUs of the host, by their addresses."""
    found = []
    for address in sysfs.names(pci.DEVICES):
        path = f"{pci.DEVICES}/{address}"
        if not (oddities.text(f"{path}/class") or "").startswith(pci.DISPLAY) or sysfs.exists(f"{path}/physfn"):
            continue
        function = oddities.attempt(partial(pci.find, address))
        found += [] if function is None else [look(function, oddities)]
    return found


def look(function: pci.Function, oddities: Oddities) -> Card:
    """A GPU with what is there of its vGPUs."""
    total = oddities.number(f"{function.path}/sriov_totalvfs") or None
    if sysfs.exists(f"{function.path}/{MEDIATED}"):
        return Card(function, total, MDEV, itself=True)
    for framework, file in ((MDEV, MEDIATED), (VFIO, VENDORS_OWN)):
        if any(sysfs.exists(f"{pci.DEVICES}/{each}/{file}") for each in function.functions):
            return Card(function, total, framework)
    return Card(function, total)
