# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts hosts for one program: `python -m simhost.starter`, with a socket as its standard input.

What a host's processes import takes as long as the host's start; here it is imported once. A request is a packet: the
host's folder and its scenario's name, and the descriptors of its log, of `ready` and, if it has one, of `lifeline`, as
in init.py; between them one that is kept open until the host has ended. The host's processes are children of this
one, which ends when the program has closed its end of the socket.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
from pathlib import Path

from simhost import init

_DESCRIPTORS = 4
_REQUEST_BYTES = 65536


def _collect(*_: object) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _guardian(request: bytes, log: int, ready: int, lifeline: int) -> int:
    """Become the guardian of a host, as if this process had been started for it; its exit status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    with open(os.devnull, "rb") as null:
        os.dup2(null.fileno(), 0)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)
    folder, name = json.loads(request)
    return init.guardian(Path(folder), name, lifeline, ready)


def main() -> int:
    """Entry point of `python -m simhost.starter`."""
    signal.signal(signal.SIGCHLD, _collect)
    with socket.socket(fileno=os.dup(0)) as requests:
        while True:
            request, descriptors = socket.recv_fds(requests, _REQUEST_BYTES, _DESCRIPTORS)[:2]
            if not request:
                return 0
            if os.fork() == 0:
                requests.close()
                log, ready, _alive, *lifeline = descriptors
                os._exit(_guardian(request, log, ready, *lifeline or [-1]))
            for descriptor in descriptors:
                os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
