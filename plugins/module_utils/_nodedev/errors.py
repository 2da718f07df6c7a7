# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors a person may see. Every one of them is a whole message: nothing is added on the way up.

The library below ``plugins/module_utils`` is private to this collection: its names change without notice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .text import shown

# Bits of a number that is written out in a message.
LONGEST = 4096


class NodedevError(Exception):
    """Something the user can act on; ``str()`` of it is the message."""


class BadInput(NodedevError):
    """An option has a value that cannot be honoured; nothing was touched."""

    def __init__(self, option: str, value: object, allowed: str) -> None:
        super().__init__(f"{option}: {_quoted(value)} cannot be used: {allowed}")
        self.option = option


class Missing(BadInput):
    """An option was not given, and ``reason`` says why it has to be; nothing was touched."""

    def __init__(self, option: str, reason: str) -> None:
        super().__init__(option, None, reason)
        self.args = (f"{option} is required: {reason}",)


def _quoted(value: object) -> str:
    # Newer releases of Python write no number of more than some thousand digits, also not in a list; older ones take
    # their time.
    long = "a number of thousands of digits"
    if isinstance(value, int) and value.bit_length() > LONGEST:
        return long
    try:
        return shown(repr(value))
    except ValueError:
        return long


class NoFit(BadInput):
    """What is wished has no room; ``free`` is by card and type how many fit, ``leaving`` is what is in the way."""

    def __init__(
        self,
        option: str,
        value: object,
        allowed: str,
        free: Mapping[str, Mapping[str, int]],
        leaving: Iterable[Mapping[str, Any]],
    ) -> None:
        super().__init__(option, value, allowed)
        self.free = free
        self.leaving = [*leaving]


class InUse(NodedevError):
    """The device is held by somebody, who is named; ``holders`` are the same as data, as results have them."""

    def __init__(self, message: str, holders: Iterable[Mapping[str, Any]] = ()) -> None:
        super().__init__(message)
        self.holders = [*holders]


class NotYet(NodedevError):
    """Somebody else has to do something first, who may be about to: at boot it is tried again."""


class NoRoom(NodedevError):
    """A parent took no further device when it came to it, ``device`` being the one; others may have taken the room."""

    def __init__(self, device: str, parent: str, reason: str) -> None:
        super().__init__(f"no room is left on {parent}: {reason}")
        self.device = device
        self.parent = parent


class MissingLibrary(NodedevError):
    """A Python library that is needed is not on the managed host; ``details`` is the traceback of its import."""

    def __init__(self, library: str, details: str) -> None:
        super().__init__(f"the Python library {library} is not installed")
        self.library = library
        self.details = details


class Dropped(NodedevError):
    """libvirt does not list the device; the text says why. For the inventory, which goes on with the next device."""


class Foreign(Dropped):
    """The same where nothing is wrong with the device: libvirt lists no such devices, or not yet. Nobody is warned."""
