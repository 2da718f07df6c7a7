# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting with a limit: for the kernel, for udev, for another run."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Ask ``condition`` until it holds, more and more seldom, for at most ``seconds``; True when it held."""
    deadline = time.monotonic() + seconds
    pause = 0.001
    while not condition():
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(pause, left))
        pause = min(pause * 2, 0.1)
    return True
