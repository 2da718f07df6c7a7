# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for a guest: a process that keeps a VFIO node open until it is killed.

Run as a plain script, `python holder.py NODE`, so that it starts quickly; it prints its process id once it holds
the node. Its command name is that of `COMMAND_NAME`.
"""

from __future__ import annotations

import os
import signal
import sys

COMMAND_NAME = "simhost-guest"


def main(node: str) -> None:
    """Hold `node` open; OSError EBUSY if another process does."""
    with open("/proc/self/comm", "w", encoding="ascii") as comm:
        comm.write(COMMAND_NAME)
    os.open(node, os.O_RDWR)
    print(os.getpid(), flush=True)
    while True:
        signal.pause()


if __name__ == "__main__":
    main(sys.argv[1])
