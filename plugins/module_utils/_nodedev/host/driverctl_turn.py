# SPDX-License-Identifier: GPL-3.0-or-later
"""Beside driverctl: which of two binds a device first that is defined for both, when it arrives.

driverctl's udev rule has systemd start a unit, which takes the device from whatever driver that has, with all that was
made there since, and fails where somebody else does so at the same time.
"""

from __future__ import annotations

import contextlib
import os

from .. import programs
from ..errors import NodedevError
from ..store import driverctl, restorers
from ..waiting import wait_for
from . import sysfs, udev_events

# Seconds for its turn, on a busy host from the device's arrival on, and for systemd to say how far that is.
TURN, ANSWER = 60.0, 5.0
# What the unit is in before that and meanwhile.
COMING = {"ActiveState=inactive", "ActiveState=activating"}


def await_turn(bus: str, address: str) -> None:
    """Let driverctl bind a device, where it is going to or at it: TURN seconds at most, and in vain is no error."""
    if os.path.exists(driverctl.path_of(bus, address)) and restorers.broken_rule("driverctl") is None:
        wait_for(lambda: not _is_its_turn(bus, address), TURN)


def _is_its_turn(bus: str, address: str) -> bool:
    """Whether driverctl deals with the device, or will once udev and systemd have dealt with its arrival."""
    if not sysfs.exists(f"{sysfs.SYS}/bus/{bus}/devices/{address}"):
        return False
    tags, systemctl = udev_events.tags(bus, address), programs.find("systemctl")
    if tags is None or "systemd" not in tags or systemctl is None:
        return tags is None
    unit = f"driverctl@{bus}-{address}.service"
    with contextlib.suppress(NodedevError):
        answer = programs.run([systemctl, "show", "--property=LoadState,ActiveState", unit], ANSWER)
        said = set(answer.output.split())
        return "LoadState=loaded" in said and not said.isdisjoint(COMING)
    return False
