# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests that are about to have their devices: libvirt starts them, and nobody has the device open yet."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence

from ..store import guests
from ..store.guests import Daemon, Guest
from ..text import shown
from ..waiting import wait_for
from . import holders, processes
from .processes import Holder

STARTS = "about to be opened by"
# Seconds for a guest that has ended to let go of its devices.
LETTING_GO = 5.0


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


def still_held(nodes: Collection[str], seconds: float) -> list[Holder]:
    """Who holds a device by these nodes whose guest has ended, and has had a moment to let go."""
    wait_for(lambda: not holders.of_nodes(nodes), min(LETTING_GO, seconds))
    return holders.of_nodes(nodes)


def wanted_by(name: str, nodes: Collection[str]) -> str:
    """Who has a device open, or will in a moment since its command line names it, in words; nothing for nobody."""
    held = holders.of_nodes(nodes)
    if held:
        return holders.named(held)
    return ", ".join(f"process {pid} ({shown(processes.command(pid))})" for pid in processes.naming(name))


def domains(kind: str, ids: Collection[str], nodes_of: Callable[[str], Collection[str]]) -> dict[str, str]:
    """Which domain has which of these devices now: the one it was made for, else the one that has it open."""
    lent = guests.lent(kind).items()
    recorded = {id: guest.name for id, guest in lent if id in ids and is_awaited(guest)}
    nodes = {id: nodes_of(id) for id in ids if id not in recorded}
    opened = holders.seen([node for own in nodes.values() for node in own])
    by_node = {holder.node: holder.domain for holder in opened if holder.domain is not None}
    return {**recorded, **{id: by_node[node] for id, own in nodes.items() for node in own if node in by_node}}
