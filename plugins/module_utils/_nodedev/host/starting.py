# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests that are about to have their devices: libvirt starts them, and nobody has the device open yet."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence

from ..store import guests
from ..store.guests import Daemon, Guest
from . import holders, processes
from .processes import Holder

STARTS = "about to be opened by"


def daemon(pid: int | None = None) -> Daemon:
    """This process, or who has started this one; what has ended has never been started."""
    number = os.getppid() if pid is None else pid
    return Daemon(number, processes.started(number) or 0)


def is_awaited(guest: Guest) -> bool:
    """Whether the end of a guest will be told of: not any more, or not where the daemon that runs it is gone."""
    return not guest.ended and guest.daemon.started > 0 and daemon(guest.daemon.pid) == guest.daemon


def holders_of(kind: str, id: str, nodes: Collection[str], probe: bool) -> list[Holder]:
    """Who holds a device, or will in a moment: where nobody has its nodes open, the domain that was to get it.

    Without ``probe`` no node is opened, as in holders.of_each().
    """
    return (holders.of_nodes(nodes) if probe else holders.seen(nodes)) or awaiting(kind, {id: sorted(nodes)})


def awaiting(kind: str, devices: Mapping[str, Sequence[str]]) -> list[Holder]:
    """The domains that libvirt starts with one of these devices, which are by id with their nodes; as their holders."""
    found = []
    for id, guest in guests.lent(kind).items():
        if id in devices and devices[id] and is_awaited(guest):
            who = processes.command(guest.daemon.pid)
            found.append(Holder(devices[id][0], who, STARTS, guest.daemon.pid, guest.name))
    return found
