# SPDX-License-Identifier: GPL-3.0-or-later
"""Who uses a CCW device, which goes with its subchannel: disks of the host, network interfaces, a group of channels."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache

from . import disk_users, network, pci
from .pci_users import Use, of_disk, of_interface
from .subchannels import Device


def of(devices: Collection[Device]) -> dict[str, list[Use]]:
    """All uses of CCW devices by their names, for whoever would take them away: disks are opened for a moment.

    One that is online and has no use can be set offline. What belongs to a group stays: all of that would go with it.
    """
    disks = pci.blocks([each.path for each in devices])
    holders = disk_users.of_each({name: (f"/dev/{name}", ()) for own in disks.values() for name in own})
    look = cache(network.look)
    found: dict[str, list[Use]] = {}
    for each in devices:
        uses = [Use(f"its device {each.called} belongs to the group {each.group}", False)] if each.group else []
        on_disks = dict.fromkeys(holder for name in disks[each.path] for holder in holders[name])
        uses += [of_disk(holder) for holder in on_disks]
        for interface in pci.interfaces(each.path):
            uses += of_interface(interface, look())
        found[each.name] = uses
    return found
