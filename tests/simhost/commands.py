# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's first process: it starts commands for client.py and collects every ended process."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
from pathlib import Path

from simhost import client
from simhost.places import socket_address

VERIFY = "SYSTEMD_DEVICE_VERIFY_SYSFS"
# There is no manager for systemctl to talk to: it enables and disables units, and all else is well.
OFFLINE = "SYSTEMD_OFFLINE"
FOLDER = "SIMHOST_DIR"
_NOT_FOUND = 127
_STREAMS = 3
_REQUEST_SECONDS = 5.0


def environment(folder: Path) -> dict[str, str]:
    """What every command on a host finds in its environment."""
    return {VERIFY: "0", OFFLINE: "1", FOLDER: str(folder)}


class Commands:
    """Requests to run commands, and the connections on which their exit status goes back."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with socket_address(folder, client.COMMANDS) as address:
            self._listener.bind(address)
        self._listener.listen(64)
        self._running: dict[int, socket.socket] = {}

    def serve(self, server: int, lifeline: int) -> int:
        """Work until the lifeline ends (0) or the process `server` does (1). A lifeline of -1 never ends."""
        wakeup_read, wakeup_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wakeup_write)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        while True:
            if self._collect(server):
                return 1
            watched: list[int | socket.socket] = [wakeup_read, self._listener, *self._running.values()]
            if lifeline >= 0:
                watched.append(lifeline)
            readable = select.select(watched, [], [])[0]
            if lifeline in readable:
                return 0
            if wakeup_read in readable:
                with contextlib.suppress(BlockingIOError):
                    os.read(wakeup_read, 4096)
            for pid, connection in list(self._running.items()):
                # Nothing is ever sent after the request: the connection has ended, its command has to.
                if connection in readable:
                    self._give_up(pid)
            if self._listener in readable:
                self._accept()

    def _collect(self, server: int) -> bool:
        """Collect ended processes; whether the server is one of them."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return False
            if pid == server:
                return True
            connection = self._running.pop(pid, None)
            if connection is not None:
                self._answer(connection, os.waitstatus_to_exitcode(status))

    def _give_up(self, pid: int) -> None:
        self._running.pop(pid).close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)

    @staticmethod
    def _answer(connection: socket.socket, status: int, text: str = "") -> None:
        with connection, contextlib.suppress(OSError):
            connection.sendall(f"{status}\n{text}".encode())

    def _accept(self) -> None:
        connection = self._listener.accept()[0]
        connection.settimeout(_REQUEST_SECONDS)
        streams: list[int] = []
        try:
            data, streams = socket.recv_fds(connection, 65536, _STREAMS)[:2]
            length = int.from_bytes(data[: client.LENGTH_BYTES], "little")
            while len(data) < client.LENGTH_BYTES + length:
                part = connection.recv(65536)
                if not part:
                    raise EOFError("the request is not complete")
                data += part
            self._start(connection, data[client.LENGTH_BYTES :], streams)
        except (EOFError, OSError, ValueError) as error:
            self._answer(connection, _NOT_FOUND, f"simhost: {error}\n")
        finally:
            for stream in streams:
                os.close(stream)

    def _start(self, connection: socket.socket, request: bytes, streams: list[int]) -> None:
        texts = [os.fsdecode(text) for text in request.split(b"\0")[:-1]]
        directory, umask, count = texts[0], int(texts[1]), int(texts[2])
        arguments = texts[3 : 3 + count]
        given = dict(text.split("=", 1) for text in texts[3 + count :])
        process = subprocess.Popen(
            arguments,
            stdin=streams[0],
            stdout=streams[1],
            stderr=streams[2],
            cwd=directory,
            env={**given, **environment(self._folder)},
            umask=umask,
            start_new_session=True,
        )
        process.returncode = 0  # collected by `_collect`, not by this object
        self._running[process.pid] = connection
