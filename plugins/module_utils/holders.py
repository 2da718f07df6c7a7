# SPDX-License-Identifier: GPL-3.0-or-later
"""Who uses a device: the processes that hold its VFIO nodes open."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Collection
from typing import Any

PROC = "/proc"
GUEST_NAME = re.compile(r"guest=([^,]+)")

Holder = dict[str, Any]


def of_nodes(nodes: Collection[str]) -> list[Holder]:
    """The processes that hold one of these device nodes open: pid, command, node, and the domain where it is a guest.

    A node that is busy although no process that we can see holds it has pid None, as in a container without the host's
    processes.
    """
    present = [node for node in nodes if os.path.exists(node)]
    if not present:
        return []
    found = seen(present)
    held = {holder["node"] for holder in found}
    unseen = [node for node in present if node not in held and _busy(node)]
    return found + [
        {"pid": None, "command": "a process that cannot be seen from here", "node": node} for node in unseen
    ]


def seen(nodes: Collection[str]) -> list[Holder]:
    """The holders of these nodes as far as /proc shows them, without opening a node.

    Nodes are compared by their end, since a process in another mount namespace shows them without /dev.
    """
    endings = {node.removeprefix("/dev"): node for node in nodes}
    return [
        _holder(pid, node)
        for pid in filter(str.isdigit, os.listdir(PROC))
        for node in sorted(_open_nodes(pid, endings))
    ]


def _open_nodes(pid: str, endings: dict[str, str]) -> set[str]:
    folder = os.path.join(PROC, pid, "fd")
    opened: set[str] = set()
    try:
        for handle in os.listdir(folder):
            target = os.readlink(os.path.join(folder, handle))
            opened.update(node for ending, node in endings.items() if target.endswith(ending))
    except OSError:
        # The process ended while we looked, or is not ours to look at; _busy() still tells of the latter.
        return opened
    return opened


def _holder(pid: str, node: str) -> Holder:
    holder: Holder = {"pid": int(pid), "command": _text(pid, "comm").strip(), "node": node}
    guest = GUEST_NAME.search(_text(pid, "cmdline"))
    if guest:
        holder["domain"] = guest.group(1)
    return holder


def _text(pid: str, name: str) -> str:
    try:
        with open(os.path.join(PROC, pid, name), encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _busy(node: str) -> bool:
    """libvirt's test: a VFIO group opens once only. The node is closed again at once."""
    try:
        handle = os.open(node, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        return error.errno == errno.EBUSY
    os.close(handle)
    return False


def named(holders: Collection[Holder]) -> str:
    """The holders in words, for a message."""
    return ", ".join(_named(holder) for holder in holders)


def _named(holder: Holder) -> str:
    who = holder["command"] if holder["pid"] is None else f"process {holder['pid']} ({holder['command']})"
    return f"{who} of domain {holder['domain']}" if "domain" in holder else who
