# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in the state folder of a host."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

PID = "pid"
"""The process id, on the machine, of the host's first process."""
STAGE = "stage"
"""An empty directory; inside the host, where its mounts are made."""
CONTROL = "socket"
"""The server's socket, for requests as in control.py."""
LOG = "log"
"""What the host's own processes print."""


@contextlib.contextmanager
def socket_address(folder: Path, name: str) -> Iterator[str]:
    """A socket's path in a form that is short whatever the folder's: an address holds 107 bytes."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)
