# SPDX-License-Identifier: GPL-3.0-or-later
"""Who uses a PCI function: a guest, its mediated devices, disks and interfaces of the host, the console.

Force ends what is the user's to give up, and never what a guest has or what the host itself stands on.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache

from ..names import called
from . import holders, mdevs, network, pci, sysfs, vfio
from .network import Network
from .processes import Holder

ELSEWHERE = "its interface is in another network namespace, as that of a container"
VPORTS = "/sys/class/fc_vports"
# How a function is used that nobody has open.
IN_USE = "in use"
OFF_NETWORK, OFF_DISK = "ends what runs over its interface", "takes its disk from who uses it"
DARK, CARRIED = "leaves the console dark", "removes what it carries"
# What is mounted here the host cannot run without, whatever it is asked for.
VITAL = re.compile(r"/(?:boot(?:/.*)?|efi|etc|usr|var)?")


@dataclass(frozen=True)
class Use:
    """One use of a function, in words that follow its name and a colon; ``forcible`` says whether force ends it.

    ``cost`` is what force does then, in words that follow 'which', where the text does not say it.
    """

    text: str
    forcible: bool
    holder: Holder | None = None
    cost: str = ""

    def document(self, **whose: str) -> dict[str, str | int | None]:
        """The same as data; ``whose`` says of which function it is, where that does not follow."""
        if self.holder is not None:
            return self.holder.document(**whose)
        return {"node": None, "how": IN_USE, "by": self.text, "pid": None, "domain": None, **whose}


def of(functions: Collection[pci.Function]) -> dict[str, list[Use]]:
    """All uses of functions, and of their virtual functions, which would go with them, by their addresses.

    For whoever would take them away: nodes and disks are opened for a moment, as of held() with ``probe``.
    """
    virtual = {each.address: [*filter(None, map(pci.find, each.functions))] for each in functions}
    every = {each.address: each for own in ([*functions], *virtual.values()) for each in own}
    found = held([*every.values()], probe=True)
    vports, interfaces, look = sysfs.linked(VPORTS), sysfs.linked(network.CLASS), cache(network.look)
    for address, each in every.items():
        found[address] += [*_vports(each, vports), *_interfaces(each, interfaces, look), *_console(each)]
    for each in functions:
        if each.functions:
            found[each.address].append(
                Use(f"its {len(each.functions)} virtual functions would go with its driver", True)
            )
        for one in virtual[each.address]:
            found[each.address] += [_of_virtual(one.address, use) for use in found[one.address]]
    return found


def _of_virtual(address: str, use: Use) -> Use:
    return replace(use, text=f"its virtual function {called(address)}: {use.text}")


def costs(uses: Iterable[Use]) -> str:
    """What force does to those who have functions so, in words that follow what it does to these."""
    found = dict.fromkeys(use.cost for use in uses if use.cost)
    return f", which {' and '.join(found)}" if found else ""


def held(functions: Collection[pci.Function], probe: bool = False) -> dict[str, list[Use]]:
    """Who has functions by VFIO, by mediated devices and by disks, by their addresses.

    Whatever their number, the processes are looked at once. With ``probe`` a node and a disk of which nothing else
    tells are opened for a moment, which would keep out a guest, or a mount, meanwhile.
    """
    if not functions:
        return {}
    groups = {each.path: each.group for each in functions}
    disks = pci.blocks(groups)
    on_disk = _on_disks([name for own in disks.values() for name in own], probe)
    mediated = {path: sorted(mdevs.below(path)) for path in groups}
    for folder in [f"{path}/{uuid}" for path, own in mediated.items() for uuid in own]:
        groups[folder] = sysfs.link_name(f"{folder}/iommu_group")
    by_vfio = holders.of_each(vfio.nodes_of(groups), probe)
    found = {}
    for each in functions:
        uses = [Use(str(holder), False, holder) for holder in by_vfio[each.path]]
        for uuid in mediated[each.path]:
            uses += of_mdev(uuid, by_vfio[f"{each.path}/{uuid}"])
        on_disks = dict.fromkeys(holder for name in disks[each.path] for holder in on_disk[name])
        found[each.address] = uses + [of_disk(holder) for holder in on_disks]
    return found


def _on_disks(names: Collection[str], probe: bool) -> dict[str, list[Holder]]:
    """Who has these disks, by their names; most functions have none."""
    if not names:
        return {}
    from . import disk_users

    return disk_users.of_each({name: (f"/dev/{name}", ()) for name in names}, probe)


def of_mdev(uuid: str, by_vfio: Collection[Holder]) -> list[Use]:
    """The use that a mediated device is of what carries it, who has it by VFIO being given."""
    used = [Use(f"its mediated device {uuid}: {holder}", False, holder) for holder in by_vfio]
    return used or [Use(f"it carries the mediated device {uuid}", True, cost=CARRIED)]


def of_disk(holder: Holder) -> Use:
    return Use(str(holder), not is_vital(holder), holder, OFF_DISK)


def is_vital(holder: Holder) -> bool:
    """Whether the host itself stands on it: root, /boot, swap, an active map, array or ZFS pool."""
    if holder.how == "mounted on":
        return VITAL.fullmatch(holder.by) is not None
    return holder.how in ("used for", "held by", "part of", "claimed by")


def _vports(function: pci.Function, vports: Collection[str]) -> Iterator[Use]:
    for path in vports:
        if path.startswith(f"{function.path}/"):
            yield Use(f"it carries the vHBA {os.path.basename(path)}", True, cost=CARRIED)


def _interfaces(function: pci.Function, interfaces: Collection[str], look: Callable[[], Network]) -> Iterator[Use]:
    """Uses of its interfaces at any depth, as of a network adapter on a USB controller, or of a sub-function."""
    if pci.has_interface_elsewhere(function.path):
        yield Use(ELSEWHERE, True, cost=OFF_NETWORK)
    for path in sorted(interfaces):
        if path.startswith(f"{function.path}/"):
            yield from of_interface(os.path.basename(path), look())


def of_interface(interface: str, seen: Network) -> list[Use]:
    return [Use(text, True, cost=OFF_NETWORK) for text in network.uses(interface, seen)]


def _console(function: pci.Function) -> Iterator[Use]:
    if function.kind.startswith(pci.DISPLAY) and sysfs.read(f"{function.path}/boot_vga") == "1":
        yield Use("it is the GPU of the console", True, cost=DARK)
