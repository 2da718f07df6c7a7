# SPDX-License-Identifier: GPL-3.0-or-later
"""NVIDIA's sriov-manage, which enables and disables all virtual functions of a GPU: its driver does not on its own.

It takes the card from the driver and gives it back. It exits with 0 also where it has done nothing, so that what it has
done is seen in sysfs alone.
"""

from __future__ import annotations

import os
import time

from .. import programs
from ..errors import NodedevError
from ..names import called
from ..text import shown
from ..waiting import anew, left, wait_for
from . import pci, sysfs

# That of a driver on the host, and that of the gpu-operator's driver container.
PLACES = ("/usr/lib/nvidia/sriov-manage", "/run/nvidia/driver/usr/lib/nvidia/sriov-manage")
# The lock that all its runs take: those for several cards at once disturb each other.
LOCK = "sriov-manage"
# What it says where a client, as a monitor, has the card open at this moment.
TAKEN = "unbindLock"
# Seconds for one run, whatever the task has left: ended in the middle, it leaves the card without a driver. Then those
# from one run to the next.
PATIENCE = 90.0
PAUSE = 3.0


def is_for(function: pci.Function) -> bool:
    """Whether a function is a GPU of NVIDIA's."""
    return function.vendor == pci.NVIDIA and function.kind.startswith(pci.DISPLAY)


def tools() -> tuple[str, ...]:
    """The paths where the tool is; with two of them, two drivers' owners."""
    return tuple(path for path in PLACES if os.path.exists(path))


def set_all(function: pci.Function, tool: str, count: int, seconds: float) -> None:
    """Have all virtual functions enabled, ``count`` being their number, or disabled, it being 0.

    Tried again while a client has the card, and only then. Raises NodedevError where there are not so many after that.
    """
    action = "-e" if count else "-d"
    deadline = time.monotonic() + left(seconds)
    while True:
        with anew(PATIENCE):
            answer = programs.run([tool, action, function.address], PATIENCE)
        if wait_for(lambda: _is_done(function, count), _rest(deadline) if answer.status == 0 else 0):
            return
        said = f"{answer.errors}\n{answer.output}".strip()
        if TAKEN not in said or _rest(deadline) <= PAUSE:
            raise NodedevError(_failure(function, tool, action, count, said or f"exit status {answer.status}"))
        time.sleep(PAUSE)


def _rest(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.0)


def _is_done(function: pci.Function, count: int) -> bool:
    return len(pci.virtual_functions(function.path)) == count


def _failure(function: pci.Function, tool: str, action: str, count: int, said: str) -> str:
    there = len(pci.virtual_functions(function.path))
    lost = "" if sysfs.link_name(f"{function.path}/driver") else "; the card has no driver now: bind nvidia to it"
    return (
        f"{tool} {action} {function.address} has left {there} virtual functions of {called(function.address)} and not"
        f" {count}{lost}; it said: {shown(said)}"
    )
