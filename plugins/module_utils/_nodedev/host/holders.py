# SPDX-License-Identifier: GPL-3.0-or-later
"""Who uses a device: the processes that hold its VFIO nodes open."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Mapping

from . import nodes as identities
from . import processes, vfio
from .processes import Holder

# What the opening of a node says where nobody can have it open: it is gone, or its device is.
GONE = (errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.ENXIO)


def of_nodes(nodes: Collection[str]) -> list[Holder]:
    """The processes that hold one of these device nodes open.

    A node that is busy although no process that we can see holds it has a holder without a pid, as in a container
    without the host's processes; so has one of which it cannot be told whether anybody holds it.
    """
    found = seen(nodes)
    held = {holder.node for holder in found}
    return found + [Holder(node, who) for node in nodes if node not in held and (who := _busy(node)) is not None]


def seen(nodes: Collection[str]) -> list[Holder]:
    """The holders of these nodes as far as /proc shows them, without opening a node.

    A node is held by whoever has its device open, under whatever name, in whatever mount namespace, be the node itself
    removed or not. Where processes cannot be looked at, each node without a holder has one with pid None that says so.
    """
    wanted = {identity: node for node in nodes for identity in _identities(node)}
    if not wanted:
        return []
    look = processes.opened(wanted)
    held = {opened.node for opened in look.opened}
    doubtful = (node for node in nodes if node in wanted.values() and node not in held)
    return [*map(processes.holder, look.opened), *look.possible(doubtful)]


def of_each(nodes: Mapping[str, Collection[str]], probe: bool) -> dict[str, tuple[Holder, ...]]:
    """The holders of several devices, each with its nodes, by one look at all processes.

    Without ``probe`` no node is opened, which would keep out a guest that starts at this moment: as seen(), else as
    of_nodes().
    """
    every = [*dict.fromkeys(node for own in nodes.values() for node in own)]
    found = of_nodes(every) if probe else seen(every)
    return {key: tuple(holder for holder in found if holder.node in own) for key, own in nodes.items()}


def _identities(node: str) -> set[identities.Identity]:
    folder, name = os.path.split(node)
    place = vfio.CDEVS if os.path.basename(folder) == "devices" else vfio.GROUPS
    return identities.of_device(node.removeprefix("/dev/"), stat.S_IFCHR, f"{place}/{name}")


def _busy(node: str) -> str | None:
    """Who holds a node by libvirt's test, None where nobody does: a group opens once only. It is closed at once."""
    try:
        handle = os.open(node, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        number = error.errno or errno.EIO
        if number in GONE:
            return None
        if number == errno.EBUSY:
            return "a process that cannot be seen from here"
        return f"possibly a process that cannot be seen from here, since it cannot be opened ({_meaning(number)})"
    os.close(handle)
    return None


def _meaning(number: int) -> str:
    return f"{errno.errorcode.get(number, str(number))}, {os.strerror(number)}"


def named(holders: Collection[Holder]) -> str:
    """The holders in words, for a message."""
    return ", ".join(holder.who for holder in holders)
