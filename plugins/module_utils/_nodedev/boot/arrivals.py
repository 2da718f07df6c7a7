# SPDX-License-Identifier: GPL-3.0-or-later
"""What has arrived, as udev's rule tells the units that are for one parent each, by a file of its name.

At boot each of them waits for the run for all definitions, which may have dealt with what has arrived: then it has
nothing to do, and no Python is started to find that out. The units look at ARRIVED and DEALT_WITH themselves.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

ARRIVED = "/run/nodedev/arrived"
# Where a run for all has them meanwhile: one that is killed has dealt with nothing.
TAKEN = "/run/nodedev/taken"
DEALT_WITH = "/run/nodedev/dealt-with"


def take() -> list[str]:
    """The names of what has arrived up to now; what arrives from here on leaves a file again."""
    names: list[str] = []
    with contextlib.suppress(OSError):
        names = sorted(os.listdir(ARRIVED))
    return _moved(names, ARRIVED, TAKEN)


def give_back(names: Iterable[str]) -> None:
    """Have each of these be a matter of its own unit."""
    _moved(names, TAKEN, ARRIVED)


def deal_with(names: Iterable[str]) -> None:
    """Have no unit of these run, unless they arrive once more."""
    _moved(names, TAKEN, DEALT_WITH)


def _moved(names: Iterable[str], source: str, target: str) -> list[str]:
    """Those of the files that could be moved: what cannot is a matter of its unit, which does not hurt."""
    moved = []
    with contextlib.suppress(OSError):
        os.makedirs(target, exist_ok=True)
        for name in names:
            os.rename(os.path.join(source, name), os.path.join(target, name))
            moved.append(name)
    return moved
