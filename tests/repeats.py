# SPDX-License-Identifier: GPL-3.0-or-later
"""How often a test does what must not fail even once."""

from __future__ import annotations

import os

VARIABLE = "NODEDEV_ENDURANCE"


def repeats(often: int, few: int) -> int:
    """``often`` where `make endurance` runs it, else ``few``: make test has to end while somebody waits for it."""
    return often if VARIABLE in os.environ else few
