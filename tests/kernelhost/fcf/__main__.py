# SPDX-License-Identifier: GPL-3.0-or-later
"""python3 -m fcf: run until SIGTERM."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from types import FrameType

from .fabric import Fabric
from .switch import Switch


def main() -> None:
    parser = argparse.ArgumentParser(prog="python3 -m fcf", description="A Fibre Channel fabric on veth pairs.")
    parser.add_argument("--interfaces", default="fcoesw", help="what the names of its interfaces begin with")
    parser.add_argument("--policies", type=Path, default=Path("/run/fabric"), help="folder that says what to refuse")
    parser.add_argument("--keep-alive", type=float, default=8.0, help="seconds between advertisements")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    signal.signal(signal.SIGTERM, _stop)
    switch = Switch(arguments.interfaces, Fabric(arguments.policies), arguments.keep_alive)
    try:
        switch.tick()
        _tell_ready()
        switch.run()
    finally:
        switch.close()


def _stop(number: int, frame: FrameType | None) -> None:
    sys.exit()


def _tell_ready() -> None:
    """Tell systemd, if it started this, that the fabric answers now (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.connect(address)
            sock.send(b"READY=1")


if __name__ == "__main__":
    main()
