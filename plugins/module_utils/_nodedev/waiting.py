# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting with a limit: for the kernel, for udev, for another run, for a program.

A run as a whole has one limit too: however many things it waits for, one after the other, they share it.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator

# Seconds beyond its limit for what a run does without waiting for anybody, as for a driver that answers at once.
GRACE = 2.0
# When the run has to be through, by the monotonic clock.
_deadline = math.inf


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Bound all waiting inside the block to so many seconds from now, or to what is left to the block around it."""
    yield from _until(min(time.monotonic() + seconds, _deadline))


@contextlib.contextmanager
def anew(seconds: float) -> Iterator[None]:
    """Bound all waiting inside the block to so many seconds from now, whatever is left: for taking back a change."""
    yield from _until(time.monotonic() + seconds)


def _until(deadline: float) -> Iterator[None]:
    global _deadline
    former, _deadline = _deadline, deadline
    try:
        yield
    finally:
        _deadline = former


def left(seconds: float) -> float:
    """So many seconds, or as many as the run has left, if those are fewer."""
    return max(min(seconds, _deadline - time.monotonic()), 0.0)


def is_over() -> bool:
    """Whether the run's time is up, with the grace: nothing more should be begun."""
    return time.monotonic() > _deadline + GRACE


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Ask ``condition`` until it holds, more and more seldom, for at most ``seconds``; True when it held."""
    deadline = time.monotonic() + left(seconds)
    pause = 0.001
    while not condition():
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            return False
        time.sleep(min(pause, remaining))
        pause = min(pause * 2, 0.1)
    return True
