# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for a guest: a process that keeps a VFIO node open until it is killed.

Run as a plain script, `python holder.py NODE [NAME]`, so that it starts quickly; it prints its process id once it holds
the node. Its command name is NAME, or that of `COMMAND_NAME`.
"""

from __future__ import annotations

import os
import signal
import sys

COMMAND_NAME = "simhost-guest"


def main(node: str, name: str = COMMAND_NAME) -> None:
    """Hold `node` open under the name `name`; OSError EBUSY if another process does."""
    with open("/proc/self/comm", "wb") as comm:
        comm.write(name.encode("utf-8", "surrogateescape"))
    os.open(node, os.O_RDWR)
    print(os.getpid(), flush=True)
    while True:
        signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
