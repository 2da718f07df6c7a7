# SPDX-License-Identifier: GPL-3.0-or-later
"""Who uses a PCI function: the processes that have its VFIO nodes open."""

from __future__ import annotations

from dataclasses import dataclass

from . import holders, pci, vfio
from .processes import Holder


@dataclass(frozen=True)
class Use:
    """A use in words; ``forcible`` says whether ``force`` goes on all the same, ``holder`` who it is, if a process."""

    text: str
    forcible: bool
    holder: Holder | None = None


def of(function: pci.Function) -> list[Use]:
    """The uses of a function."""
    nodes = vfio.cdevs_of(function.path)
    if function.group is not None:
        nodes = [vfio.group_node(function.group), *nodes]
    return [Use(str(holder), False, holder) for holder in holders.of_nodes(nodes)]
