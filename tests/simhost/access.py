# SPDX-License-Identifier: GPL-3.0-or-later
"""One read or write inside a host, with its errno: `python access.py read|write PATH`, content on stdin or stdout.

Run as a plain script by SimHost where the caller is not root and cannot reach the host's files from outside. The
exit status is 0, or 3 with the errno on standard error.
"""

from __future__ import annotations

import os
import sys

FAILED = 3


def main(operation: str, path: str) -> int:
    """Do it; returns the exit status."""
    try:
        if operation == "read":
            descriptor = os.open(path, os.O_RDONLY)
            while part := os.read(descriptor, 65536):
                os.write(1, part)
        else:
            descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CREAT, 0o644)
            os.write(descriptor, sys.stdin.buffer.read())
    except OSError as error:
        os.write(2, str(error.errno).encode())
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
