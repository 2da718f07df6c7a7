# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of mdevctl's scripts are on this host; callouts.py asks them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..errors import NodedevError
from . import files

# Of mdevctl 1.4, and of 1.2, where 1.4 looks after its own.
FOLDERS = ("/usr/lib/mdevctl/scripts.d", "/etc/mdevctl.d/scripts.d")


class Refused(NodedevError):
    """A script does not allow what was to be done, or does not answer.

    ``killed`` is the script that had to be killed when it was asked whether something may be done.
    """

    def __init__(self, message: str, killed: str | None = None) -> None:
        super().__init__(message)
        self.killed = killed


@dataclass(frozen=True)
class Spokesman:
    """The one script that is asked about devices of a type, and what it says that it understands."""

    path: str
    actions: frozenset[str]
    events: frozenset[str]

    def understands(self, event: str, action: str) -> bool:
        """Whether it may be asked that."""
        return event in self.events and action in self.actions


@dataclass(frozen=True)
class Scripts:
    """The scripts of this host, in the order in which they are asked.

    ``spokesmen`` remembers by parent and type which script with versions was found; ``silent`` are those that had to be
    killed: nobody waits for them a second time.
    """

    callouts: tuple[str, ...] = ()
    notifiers: tuple[str, ...] = ()
    spokesmen: dict[tuple[str, str], Spokesman | None] = field(default_factory=dict, compare=False)
    silent: set[str] = field(default_factory=set, compare=False)


def scripts_of_host() -> Scripts | None:
    """The scripts of this host; None where there are none, and then nothing is asked and nothing run."""
    scripts = Scripts(tuple(_programs("callouts")), tuple(_programs("notifiers")))
    return scripts if scripts.callouts or scripts.notifiers else None


def _programs(kind: str) -> Iterator[str]:
    """The files of both folders that can be run."""
    for folder in FOLDERS:
        place = os.path.join(folder, kind)
        with contextlib.suppress(NodedevError):
            for name in files.entries(place):
                path = os.path.join(place, name)
                if os.path.isfile(path) and os.access(path, os.X_OK):
                    yield path
