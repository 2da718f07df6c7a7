# SPDX-License-Identifier: GPL-3.0-or-later
"""A program of the simulated host: `python stand_in.py FOLDER NAME [ARG...]` has the host's server do its work.

A plain script that imports little, since modules start it often.
"""

import json
import os
import sys
from _socket import AF_UNIX, SOCK_STREAM, socket


def main(folder: str, name: str, arguments: list[str]) -> int:
    """Ask the server, print what it says; the exit status."""
    connection = socket(AF_UNIX, SOCK_STREAM)
    place = os.open(folder, os.O_PATH)
    connection.connect(f"/proc/self/fd/{place}/socket")
    connection.sendall(json.dumps({"operation": "program", "name": name, "arguments": arguments}).encode() + b"\n")
    answer = b""
    while part := connection.recv(65536):
        answer += part
    reply = json.loads(answer)
    if "error" in reply:
        sys.stderr.write(f"{name}: {reply['error']}\n")
        return 1
    sys.stdout.write(reply["result"]["out"])
    sys.stderr.write(reply["result"]["err"])
    return int(reply["result"]["status"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
