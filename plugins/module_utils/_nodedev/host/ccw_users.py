# SPDX-License-Identifier: GPL-3.0-or-later
"""Who uses a CCW device, which goes with its subchannel: disks of the host and of its SCSI units, network interfaces,
a group of channels, terminals and tapes that somebody has open, the console.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from functools import cache

from . import disk_users, holders, mdevs, network, nodes, pci, processes, sysfs, vfio
from .pci_users import ELSEWHERE, OFF_NETWORK, Use, of_disk, of_interface, of_mdev
from .subchannels import Device

CHARACTERS = "/sys/dev/char"
# Drivers of terminals, by the consoles that the kernel has on them (Documentation/arch/s390/3270.rst). Of a 3215 there
# is one alone, the console of z/VM; which 3270 is the console is not told.
TERMINALS = {"3215": "ttyS", "3270": "tty3270"}


def of(devices: Collection[Device]) -> dict[str, list[Use]]:
    """All uses of CCW devices by their names, for whoever would take them away: disks are opened for a moment.

    One that is online and has no use can be set offline. What belongs to a group stays: all of that would go with it.
    """
    disks = pci.blocks([each.path for each in devices])
    by_disk = disk_users.of_each({name: (f"/dev/{name}", ()) for own in disks.values() for name in own})
    opened = _opened([each.path for each in devices])
    look = cache(network.look)
    found: dict[str, list[Use]] = {}
    for each in devices:
        uses = [Use(f"its device {each.called} belongs to the group {each.group}", False)] if each.group else []
        uses += _console(each)
        on_disks = dict.fromkeys(holder for name in disks[each.path] for holder in by_disk[name])
        uses += [of_disk(holder) for holder in on_disks]
        uses += opened[each.path]
        for interface in pci.interfaces(each.path):
            uses += of_interface(interface, look())
        if pci.has_interface_elsewhere(each.path):
            uses.append(Use(ELSEWHERE, True, cost=OFF_NETWORK))
        found[each.name] = uses
    return found


def of_mediated(paths: Collection[str]) -> dict[str, list[Use]]:
    """The uses of subchannels by their folders: mediated devices that guests have. Nodes are opened for a moment."""
    mediated = {path: sorted(mdevs.below(path)) for path in paths}
    folders = {f"{path}/{uuid}": uuid for path, own in mediated.items() for uuid in own}
    groups = {folder: sysfs.link_name(f"{folder}/iommu_group") for folder in folders}
    by_vfio = holders.of_each(vfio.nodes_of(groups), probe=True)
    return {
        path: [use for uuid in own for use in of_mdev(uuid, by_vfio[f"{path}/{uuid}"])]
        for path, own in mediated.items()
    }


def _opened(paths: Collection[str]) -> dict[str, list[Use]]:
    """Who has a terminal, a tape or another character device open that is below these folders, by the folders."""
    own = {path: [each for each in sysfs.linked(CHARACTERS) if each.startswith(f"{path}/")] for path in paths}
    wanted = {
        identity: _node(each)
        for every in own.values()
        for each in every
        for identity in nodes.of_device(os.path.basename(each), stat.S_IFCHR, each)
    }
    if not wanted:
        return {path: [] for path in paths}
    look = processes.opened(wanted)
    users = [*map(processes.holder, look.opened), *look.possible(dict.fromkeys(wanted.values()))]
    names = {path: {*map(_node, every)} for path, every in own.items()}
    return {path: [Use(str(each), True, each) for each in users if each.node in names[path]] for path in paths}


def _node(path: str) -> str:
    return f"/dev/{os.path.basename(path)}"


def _console(device: Device) -> Iterator[Use]:
    """That the host's console is on it, or may be; no force takes that away."""
    driver = sysfs.link_name(f"{device.path}/driver")
    if not device.online or driver not in TERMINALS:
        return
    if any(name.startswith(TERMINALS[driver]) for name in processes.consoles()):
        yield Use(f"its device {device.called} is a terminal of the console", False)
