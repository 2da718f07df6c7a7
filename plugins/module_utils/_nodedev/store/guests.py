# SPDX-License-Identifier: GPL-3.0-or-later
"""What was made for which guest: one record a domain, from before its first device is made until the last has gone.

They are in /run, as the devices are gone after a boot too. The libvirt hook writes them, under the lock of the domain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..text import is_number
from . import files
from .documents import Documents, name_of
from .files import DamagedDefinition

KIND = "guest"
# How a device came to be there for the guest: it is being made, was made, or was there already and stays in the end.
MAKING, MADE, FOUND = "making", "made", "found"
WAYS = (MAKING, MADE, FOUND)


@dataclass(frozen=True)
class Lent:
    """A managed device that a domain has, by its kind and its id there."""

    kind: str
    id: str
    how: str = MAKING


@dataclass(frozen=True)
class Daemon:
    """The process that runs a domain, libvirt's: its number, and when it was started, by the kernel's clock ticks."""

    pid: int
    started: int


@dataclass(frozen=True)
class Guest:
    """A domain, by its UUID and its name, with the managed devices that it has, in the order in which they were made.

    ``daemon`` will tell of the domain's end as long as it is there. ``ended`` says that it has done so, and that what
    is recorded could not be removed then.
    """

    uuid: str
    name: str
    daemon: Daemon
    devices: tuple[Lent, ...] = ()
    ended: bool = False

    @property
    def path(self) -> str:
        return files.document_path(KIND, self.uuid, files.RUNTIME)

    def document(self) -> files.Document:
        """The record as it is written."""
        return {
            "name": self.name,
            "daemon": {"pid": self.daemon.pid, "started": self.daemon.started},
            "devices": [{"kind": each.kind, "id": each.id, "how": each.how} for each in self.devices],
            "ended": self.ended,
        }


def decode(path: str, document: files.Document) -> Guest:
    """Understand a record; raises DamagedDefinition naming the file and what is wrong."""
    name, daemon, listed, ended = (document.get(key) for key in ("name", "daemon", "devices", "ended"))
    if not isinstance(name, str) or not isinstance(listed, list) or not isinstance(ended, bool):
        raise DamagedDefinition(path, "it has no name, no list of devices, or does not say whether the guest has ended")
    return Guest(name_of(path), name, _daemon(path, daemon), tuple(_lent(path, each) for each in listed), ended)


def _daemon(path: str, found: object) -> Daemon:
    pid, started = (found.get(key) for key in ("pid", "started")) if isinstance(found, dict) else (None, None)
    if not isinstance(pid, int) or not isinstance(started, int) or not is_number(pid) or not is_number(started):
        raise DamagedDefinition(path, "its daemon is not a pid and a time")
    return Daemon(pid, started)


def _lent(path: str, found: object) -> Lent:
    fields: Mapping[str, Any] = found if isinstance(found, dict) else {}
    kind, id, how = (fields.get(key) for key in ("kind", "id", "how"))
    if not isinstance(kind, str) or not isinstance(id, str) or how not in WAYS:
        raise DamagedDefinition(path, "a device is not a kind, an id and how it came to be there")
    return Lent(kind, id, how)


# Of all guests of this host.
GUESTS = Documents(KIND, decode, runtime=True, lasting=False)


def lent(kind: str) -> dict[str, Guest]:
    """The guests that have managed devices of a kind, by the ids of these; records that make no sense have none."""
    found: dict[str, Guest] = {}
    for guest in GUESTS.all()[0]:
        found.update({each.id: guest for each in guest.devices if each.kind == kind and not guest.ended})
    return found
