# SPDX-License-Identifier: GPL-3.0-or-later
"""Who uses a PCI function: a guest, its mediated devices, disks and interfaces of the host, the console.

Force ends what is the user's to give up, and never what a guest has or what the host itself stands on.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ..names import called
from . import disk_users, holders, mdevs, network, pci, sysfs, vfio
from .network import Network
from .processes import Holder

VPORTS = "/sys/class/fc_vports"
# What is mounted here the host cannot run without, whatever it is asked for.
VITAL = re.compile(r"/(?:boot(?:/.*)?|efi|etc|usr|var)?")


@dataclass(frozen=True)
class Use:
    """One use of a function, in words that follow its name and a colon; ``forcible`` says whether force ends it."""

    text: str
    forcible: bool
    holder: Holder | None = None


class Users:
    """Who uses functions, for one run: the network is looked at once, and only where a function has an interface."""

    def __init__(self) -> None:
        self._network: Network | None = None

    def of(self, function: pci.Function) -> list[Use]:
        """All uses of a function, and of its virtual functions, which would go with it."""
        found = [*self._own(function)]
        if function.functions:
            found.append(Use(f"its {len(function.functions)} virtual functions would go with its driver", True))
        for address in function.functions:
            virtual = pci.find(address)
            if virtual is not None:
                found += [self._of_virtual(address, use) for use in self._own(virtual)]
        return found

    @staticmethod
    def _of_virtual(address: str, use: Use) -> Use:
        return Use(f"its virtual function {called(address)}: {use.text}", use.forcible, use.holder)

    def _own(self, function: pci.Function) -> Iterator[Use]:
        for holder in self.guests(function):
            yield Use(f"{holder}", False, holder)
        yield from _mdevs(function)
        yield from _disks(function)
        yield from _vports(function)
        yield from self._interfaces(function)
        if function.kind.startswith(pci.DISPLAY) and sysfs.read(f"{function.path}/boot_vga") == "1":
            yield Use("it is the GPU of the console", True)

    @staticmethod
    def guests(function: pci.Function) -> list[Holder]:
        """Who has it, or its IOMMU group, by VFIO."""
        nodes = vfio.cdevs_of(function.path)
        if function.group is not None:
            names = (function.group, f"noiommu-{function.group}")
            nodes += [vfio.group_node(name) for name in names if sysfs.exists(f"{vfio.GROUPS}/{name}")]
        return holders.of_nodes(nodes) if nodes else []

    def _interfaces(self, function: pci.Function) -> Iterator[Use]:
        found = pci.interfaces(function.path)
        if not found and pci.has_interface_elsewhere(function.path):
            yield Use("its interface is in another network namespace, as that of a container", True)
        for interface in found:
            if self._network is None:
                self._network = network.look()
            yield from (Use(text, True) for text in network.uses(interface, self._network))


def _mdevs(function: pci.Function) -> Iterator[Use]:
    for uuid in sorted(mdevs.below(function.path)):
        nodes = vfio.cdevs_of(f"{function.path}/{uuid}")
        group = sysfs.link_name(f"{function.path}/{uuid}/iommu_group")
        nodes += [] if group is None else [vfio.group_node(group)]
        held = holders.of_nodes(nodes)
        yield from (Use(f"its mediated device {uuid}: {holder}", False, holder) for holder in held)
        if not held:
            yield Use(f"it carries the mediated device {uuid}", True)


def _disks(function: pci.Function) -> Iterator[Use]:
    names = pci.blocks(function.path)
    for holder in disk_users.of_disks([f"/dev/{name}" for name in names]) if names else ():
        yield Use(str(holder), not _is_vital(holder), holder)


def _is_vital(holder: Holder) -> bool:
    """Whether the host itself stands on it: root, /boot, swap, an active map or array."""
    if holder.how == "mounted on":
        return VITAL.fullmatch(holder.by) is not None
    return holder.how in ("used for", "held by", "part of")


def _vports(function: pci.Function) -> Iterator[Use]:
    for path in sysfs.linked(VPORTS):
        if path.startswith(f"{function.path}/"):
            yield Use(f"it carries the vHBA {os.path.basename(path)}", True)
