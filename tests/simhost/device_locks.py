# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's lock of each device, which probes, removals and some files take."""

from __future__ import annotations

import contextlib
import errno
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from simhost.tree import failure

if TYPE_CHECKING:
    from simhost.host import Host


class DeviceLocks:
    """The locks of one boot, by the path of the device. Those who want the same one wait for each other."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._owners: dict[str, list[threading.Thread]] = {}

    @contextlib.contextmanager
    def held(self, path: str, stop: Callable[[], bool]) -> Iterator[None]:
        """Hold the lock of the device at `path`, which this thread may have already. The host's lock is held too.

        While it waits it lets go of the host's lock; OSError EINTR when `stop` says so before it has it.
        """
        owner = threading.current_thread()
        with self._host.lock:
            owners = self._owners.setdefault(path, [])
            while owners and owners[0] is not owner:
                if stop():
                    raise failure(errno.EINTR, path)
                self._host.pause()
            owners.append(owner)
            try:
                yield
            finally:
                owners.pop()
