# SPDX-License-Identifier: GPL-3.0-or-later
"""udev's part: to know when it has dealt with a device, through pyudev."""

from __future__ import annotations

import os
import time
import traceback

try:
    import pyudev
except ImportError:
    HAS_PYUDEV = False
    PYUDEV_IMPORT_ERROR = traceback.format_exc()
else:
    HAS_PYUDEV = True
    PYUDEV_IMPORT_ERROR = ""

# udevd listens here while it runs; without it no event would ever be dealt with.
CONTROL = "/run/udev/control"


class Watch:
    """udev's events of one subsystem from the moment this is made on, so that none is missed by asking too late."""

    def __init__(self, subsystem: str) -> None:
        self._monitor = None
        if os.path.exists(CONTROL):
            self._monitor = pyudev.Monitor.from_netlink(pyudev.Context(), source="udev")
            self._monitor.filter_by(subsystem)
            self._monitor.start()

    def wait_added(self, sysname: str, seconds: float) -> bool:
        """Wait until udev's rules have run for the new device; False when they have not after ``seconds``.

        True at once where udevd does not run: then there are no rules to wait for.
        """
        if self._monitor is None:
            return True
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            device = self._monitor.poll(left)
            if device is not None and device.sys_name == sysname and device.action == "add":
                return True
        return False
