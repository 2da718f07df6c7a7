# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs modules on a simulated host: `python prepared.py FOLDER SOCKET`.

Each is a process of its own, and has from here what Ansible imports for any module, and nothing of the collection.
It is asked as the host's first process is (simhost/client.py), and says when it is ready.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import runpy
import select
import signal
import socket
import sys

LENGTH_BYTES = 4
STREAMS = 3


def received(connection: socket.socket) -> tuple[list[str], list[int]]:
    """The texts of a request, and its three streams; EOFError if it is not complete."""
    data, streams = socket.recv_fds(connection, 65536, STREAMS)[:2]
    while len(data) < LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], "little"):
        part = connection.recv(65536)
        if not part:
            raise EOFError("the request is not complete")
        data += part
    return [os.fsdecode(text) for text in data[LENGTH_BYTES:].split(b"\0")[:-1]], streams


def attend(connection: socket.socket, child: int) -> None:
    """Send a child's exit status when it ends; end it when nobody waits for that any more."""
    ended = os.pidfd_open(child)
    if ended not in select.select([ended, connection], [], [])[0]:
        os.killpg(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(BrokenPipeError):
        connection.sendall(f"{status}\n".encode())


def collect(*_: object) -> None:
    """Collect those that have attended to a child, so that processor time is counted (tests/reaper.py)."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def become(texts: list[str], streams: list[int]) -> str:
    """Take over what a request asks for; the script to run."""
    directory, umask, count = texts[0], int(texts[1]), int(texts[2])
    os.setsid()
    os.chdir(directory)
    os.umask(umask)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(text.split("=", 1) for text in texts[3 + count :])
    sys.argv = texts[3 : 3 + count]
    sys.path[0] = os.path.dirname(sys.argv[0])
    return sys.argv[0]


def wait_for_request(folder: str, name: str) -> str:
    """The script to run; it returns once for each request, in a process of its own."""
    signal.signal(signal.SIGCHLD, collect)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    place = os.open(folder, os.O_PATH)
    address = f"/proc/self/fd/{place}/{name}"
    if os.path.lexists(address):
        os.unlink(address)
    listener.bind(address)
    listener.listen(64)
    print("ready", flush=True)
    while True:
        connection = listener.accept()[0]
        texts, streams = received(connection)
        if os.fork() != 0:
            connection.close()
            for stream in streams:
                os.close(stream)
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        listener.close()
        os.close(place)
        child = os.fork()
        if child == 0:
            connection.close()
            return become(texts, streams)
        attend(connection, child)
        os._exit(0)


if __name__ == "__main__":
    importlib.import_module("ansible.module_utils.basic")
    runpy.run_path(wait_for_request(*sys.argv[1:]), run_name="__main__")
