# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of a script that runs in a fork of a Python that has imported much: prepared.py, and the guest's warm one."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable


def status_of(script: Callable[[], object]) -> int:
    """Run a script to its end; returns its exit code as Python would have it, and says what Python would say."""
    try:
        script()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return int(end.code or 0) & 255
        print(end.code, file=sys.stderr)
        return 1
    except Exception:
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def end(status: int) -> None:
    """End as Python does, but for the memory, all of which a fork would have to copy in order to free it."""
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if stream and not stream.closed:
            stream.flush()
    os._exit(status)
