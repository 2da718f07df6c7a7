# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes of disks and SCSI generic devices in the host's /dev, and the links to them that udevd makes.

The nodes are empty regular files, since a device file would open the machine's own driver.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable
from pathlib import Path

DEV = Path("/dev")


class Nodes:
    """The nodes of one boot, by name below /dev. A file that was there before is left alone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: set[str] = set()
        self._awaited: dict[str, threading.Timer] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._made

    def add(self, name: str, late: float = 0.0) -> None:
        """Make a node, `late` seconds from now."""
        with self._lock:
            if late <= 0:
                self._make(name)
                return
            timer = threading.Timer(late, self._make_late, (name,))
            timer.daemon = True
            self._awaited[name] = timer
            timer.start()

    def _make_late(self, name: str) -> None:
        with self._lock:
            if self._awaited.pop(name, None) is not None:
                self._make(name)

    def _make(self, name: str) -> None:
        path = DEV / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o660))
            self._made.add(name)

    def remove(self, name: str) -> None:
        """Remove a node; who has it open keeps it."""
        with self._lock:
            timer = self._awaited.pop(name, None)
            if timer is not None:
                timer.cancel()
            if name in self._made:
                self._made.discard(name)
                (DEV / name).unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove all nodes, those included that are not made yet."""
        for name in (*self._awaited, *self._made):
            self.remove(name)


class Links:
    """udevd's links below /dev. Several devices may want the same one: the latest has it, then the one before."""

    def __init__(self) -> None:
        self._wanted: dict[str, dict[str, str]] = {}

    def set(self, device: str, node: str, links: Iterable[str]) -> None:
        """Lead `links` to `node`, for the device at this path; none if the host has no such node."""
        if not (DEV / node).exists():
            return
        for link in links:
            claims = self._wanted.setdefault(link, {})
            claims.pop(device, None)
            claims[device] = node
            self._point(link)

    def drop(self, device: str) -> None:
        """Take back what this device wanted."""
        for link in [link for link, claims in self._wanted.items() if device in claims]:
            del self._wanted[link][device]
            self._point(link)

    def clear(self) -> None:
        """Remove all links."""
        for link, claims in list(self._wanted.items()):
            claims.clear()
            self._point(link)

    def _point(self, link: str) -> None:
        path = DEV / link
        path.unlink(missing_ok=True)
        claims = self._wanted[link]
        if not claims:
            del self._wanted[link]
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        target = DEV / list(claims.values())[-1]
        path.symlink_to(os.path.relpath(target, path.parent))
