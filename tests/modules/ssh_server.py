# SPDX-License-Identifier: GPL-3.0-or-later
"""Serves one ssh connection by standard streams: `python ssh_server.py KEY`, in a simulated host.

dropbear takes a socket of a peer with an address, which streams have not: this joins the two.
"""

import os
import socket
import subprocess
import sys
import threading

LARGEST = 1 << 16


def main(key: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ours = socket.create_connection(listening.getsockname())
        theirs, _address = listening.accept()
    # -i: this one connection; -s: by keys alone.
    with theirs:
        server = subprocess.Popen(["dropbear", "-i", "-s", "-r", key], stdin=theirs, stdout=theirs)
    threading.Thread(target=given, args=(ours,), daemon=True).start()
    while data := ours.recv(LARGEST):
        os.write(1, data)
    server.wait()


def given(ours: socket.socket) -> None:
    while data := os.read(0, LARGEST):
        ours.sendall(data)
    ours.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    main(sys.argv[1])
