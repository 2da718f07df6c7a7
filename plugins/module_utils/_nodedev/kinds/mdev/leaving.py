# SPDX-License-Identifier: GPL-3.0-or-later
"""Mediated devices that are still being removed: the kernel hides one at once, but waits for its user."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...errors import InUse
from ...host import holders, mdev_parents, mdevs, sysfs, vfio
from ...host.processes import Holder
from ...names import called
from ...waiting import wait_for


@dataclass(frozen=True)
class Leaving:
    """A device whose removal has begun and has not ended; ``parent`` is the parent's kernel name."""

    uuid: str
    parent: str
    holders: tuple[Holder, ...] = ()

    def refusal(self) -> InUse:
        """The error that tells of it, and of who keeps it."""
        by = f" and held by {holders.named(self.holders)}" if self.holders else ""
        return InUse(
            f"mdev {self.uuid} is still being removed from {called(self.parent)}{by}:"
            " stop what has it open, then try again",
            [holder.document(uuid=self.uuid) for holder in self.holders],
        )


def find(uuid: str, parents: Iterable[str]) -> Leaving | None:
    """The device of this UUID that is being removed from one of these parents; None where none is.

    It has a folder below its parent then, and is in the list of all mediated devices no more.
    """
    if sysfs.exists(f"{mdevs.BUS}/{uuid}"):
        return None
    for parent in parents:
        path = f"{mdev_parents.BUS}/{parent}/{uuid}"
        if sysfs.exists(path):
            group = sysfs.link_name(f"{path}/iommu_group")
            nodes = [] if group is None else [vfio.group_node(group)]
            return Leaving(uuid, parent, tuple(holders.of_nodes(nodes)))
    return None


def await_end(leaving: Iterable[Leaving], seconds: float) -> bool:
    """Wait for the removals that nobody keeps any more to end; whether there was one to wait for."""
    moments = [each for each in leaving if not each.holders]

    def ended() -> bool:
        return all(not sysfs.exists(f"{mdev_parents.BUS}/{each.parent}/{each.uuid}") for each in moments)

    return bool(moments) and wait_for(ended, seconds)
