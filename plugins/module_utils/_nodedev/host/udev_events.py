# SPDX-License-Identifier: GPL-3.0-or-later
"""When udev has dealt with a device, told through pyudev."""

from __future__ import annotations

import contextlib
import os
import time
import traceback
from collections.abc import Collection
from typing import Any

from ..errors import MissingLibrary
from ..text import shown
from ..waiting import left, wait_for
from . import sysfs

# udevd listens here while it runs; without it no event would ever be dealt with.
CONTROL = "/run/udev/control"
# What it knows of devices that it has dealt with.
DATABASE = "/run/udev/data"
# Here while it has events that are not dealt with.
QUEUE = "/run/udev/queue"
# Bytes for events that nobody has read yet: some thousand devices may come before they are asked for.
BUFFER = 4 << 20
# Seconds without an event after which what happened is over, and those after which it is looked at anyway.
QUIET, BURST = 0.2, 2.0


def settle(seconds: float) -> bool:
    """Wait, as udevadm settle does, until udev has dealt with all events that it knows of; whether it has in time."""
    return wait_for(lambda: not os.path.exists(QUEUE), seconds)


def has_named(interface: str) -> bool:
    """Whether udev has dealt with a network interface, which may have had another name before; without udevd it has.

    It keeps what it knows of one by the kernel's index.
    """
    index = sysfs.read(f"{sysfs.SYS}/class/net/{interface}/ifindex")
    return index is not None and (not os.path.exists(CONTROL) or os.path.exists(f"{DATABASE}/n{index}"))


def tags(subsystem: str, name: str) -> list[str] | None:
    """What udev's rules have tagged a device without a node with, ever; None while udev has not dealt with it."""
    if not os.path.exists(CONTROL):
        return []
    try:
        with open(f"{DATABASE}/+{subsystem}:{name}", encoding="utf-8", errors="replace") as file:
            return [line[2:].rstrip("\n") for line in file if line.startswith("G:")]
    except OSError:
        return None


def needed_pyudev() -> Any:
    """The library; raises MissingLibrary where it is not installed."""
    # Here, so that those who only look at devices do without it: its import takes longer than many a subset.
    try:
        import pyudev
    except ImportError as error:
        raise MissingLibrary("pyudev", traceback.format_exc()) from error
    return pyudev


def _started(subsystem: str | None) -> Any:
    """A monitor that has begun to listen to udev's events, of one subsystem or of all."""
    pyudev = needed_pyudev()
    monitor = pyudev.Monitor.from_netlink(pyudev.Context(), source="udev")
    if subsystem is not None:
        monitor.filter_by(subsystem)
    # libudev says with a number above 0 that it has, and pyudev raises whatever errno it finds then.
    with contextlib.suppress(OSError):
        monitor.set_receive_buffer_size(BUFFER)
    monitor.start()
    return monitor


class Watch:
    """udev's events of one subsystem from the moment this is made on, so that none is missed by asking too late.

    Raises MissingLibrary where pyudev is not installed.
    """

    def __init__(self, subsystem: str) -> None:
        needed_pyudev()
        self._monitor: Any = _started(subsystem) if os.path.exists(CONTROL) else None

    def wait_added(self, sysnames: Collection[str], seconds: float) -> list[str]:
        """Wait until udev's rules have run for these new devices, for so many seconds at most.

        Returns the warning that names those for which they have not; none where udevd does not run, and no rules do.
        """
        awaited = set() if self._monitor is None else set(sysnames)
        deadline = time.monotonic() + left(seconds)
        while awaited and (device := self._next(deadline)) is not None:
            if device.action == "add":
                awaited.discard(device.sys_name)
        if not awaited:
            return []
        return [
            f"udev has not dealt with {shown(', '.join(sorted(awaited)))} in time: links, owners and modes that its"
            " rules give may come later"
        ]

    def _next(self, deadline: float) -> Any:
        """The next event that comes before the deadline; None where none does, or where events were lost."""
        try:
            return self._monitor.poll(max(deadline - time.monotonic(), 0))
        except OSError:
            return None


class Happenings:
    """All of udev's events from the moment this is made on, in bursts: a card that arrives is hundreds of them.

    Raises MissingLibrary where pyudev is not installed.
    """

    def __init__(self) -> None:
        self._monitor = _started(None)

    def wait(self, seconds: float) -> list[tuple[str, str]]:
        """The action and the folder in sysfs of each event of the next burst; none where none comes in so many seconds.

        A burst ends when it has been quiet for QUIET seconds, or after BURST. Where more came than the kernel keeps,
        one event has neither action nor folder.
        """
        burst: list[tuple[str, str]] = []
        deadline = time.monotonic() + seconds
        last = deadline + BURST
        while (wait := deadline - time.monotonic()) > 0:
            try:
                device = self._monitor.poll(wait)
                event = None if device is None else (device.action or "", device.sys_path)
            except OSError:
                event = ("", "")
            if event is None:
                break
            burst.append(event)
            deadline = min(last, time.monotonic() + QUIET)
        return burst
