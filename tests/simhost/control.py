# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests to a running host over its socket: one JSON object each way on a connection."""

from __future__ import annotations

import json
import socket
import socketserver
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from simhost.places import CONTROL, LOG, socket_address

Answer = Callable[[Mapping[str, Any], int], Any]
_PEER_PID_BYTES = 4


class ControlError(Exception):
    """The host refused a request or is not there; the text says why and what to do."""


def request(folder: Path, operation: str, **arguments: Any) -> Any:
    """Send one request to the host whose state is in `folder` and return its answer; ControlError."""
    text = json.dumps({"operation": operation, **arguments}) + "\n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            with socket_address(folder, CONTROL) as address:
                connection.connect(address)
            connection.sendall(text.encode())
            with connection.makefile("r", encoding="utf-8") as stream:
                line = stream.readline()
        except OSError as error:
            raise ControlError(f"no simulated host answers in {folder}: start one with --up ({error})") from error
    if not line:
        raise ControlError(f"the host in {folder} closed the connection: read {folder / LOG}")
    answer = json.loads(line)
    if "error" in answer:
        raise ControlError(str(answer["error"]))
    return answer["result"]


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    answer: Answer


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Server)
        credentials = self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 3 * _PEER_PID_BYTES)
        peer = int.from_bytes(credentials[:_PEER_PID_BYTES], "little")
        line = self.rfile.readline()
        if not line:
            return
        try:
            reply: dict[str, Any] = {"result": self.server.answer(json.loads(line), peer)}
        except (KeyError, TypeError, ValueError, OSError) as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        self.wfile.write(json.dumps(reply).encode() + b"\n")


def server(folder: Path, answer: Answer) -> socketserver.BaseServer:
    """A server for `request`; `answer` gets the request and the peer's process id (0 if it is outside)."""
    with socket_address(folder, CONTROL) as address:
        result = _Server(address, _Handler)
    result.answer = answer
    return result
