# SPDX-License-Identifier: GPL-3.0-or-later
"""One run at a time on a parent: flock on a file below /run, released by the kernel when a run dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator
from functools import partial

from .errors import NodedevError
from .waiting import wait_for

FOLDER = "/run/nodedev/locks"


@contextlib.contextmanager
def held(names: Iterable[str], seconds: float) -> Iterator[None]:
    """Hold the locks of these parents, taken in one order so that two runs cannot wait for each other.

    Raises NodedevError when another run keeps one of them for longer than ``seconds``.
    """
    os.makedirs(FOLDER, mode=0o755, exist_ok=True)
    with contextlib.ExitStack() as stack:
        for name in sorted(set(names)):
            handle = os.open(os.path.join(FOLDER, name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            stack.callback(os.close, handle)
            if not wait_for(partial(_taken, handle), seconds):
                raise NodedevError(
                    f"another run still works on {name} after {seconds:g} s: raise wait_timeout or try again"
                )
        yield


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
