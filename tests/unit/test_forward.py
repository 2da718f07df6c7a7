# SPDX-License-Identifier: GPL-3.0-or-later
"""nodedev-events and what a receiver answers: an event that was not taken waits, and is told once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.boot import forward

TAKEN = b"HTTP/1.0 200 OK\r\n\r\n"
REFUSED = b"HTTP/1.0 503 Busy\r\n\r\n"
ELSEWHERE = b"HTTP/1.0 302 Found\r\nLocation: /elsewhere\r\n\r\n"
NO_HTTP = b"220 mail.example.com ESMTP\r\n"
TOKEN = b"secret\n"


class Receiver(HTTPServer):
    """What listens at ``url``: gives its answers in turn, the last of them for good, and keeps what it was sent."""

    def __init__(self, answers: list[bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = answers
        self.requests: list[tuple[str, str, str | None]] = []
        self.url = f"http://127.0.0.1:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline()
        self.parse_request()
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.server.requests.append((self.command, self.path, self.headers["Authorization"]))
        self.wfile.write(self.server.answers.pop(0) if len(self.server.answers) > 1 else self.server.answers[0])
        self.close_connection = True


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[list[bytes]], Receiver]]:
    """Starts a receiver."""
    monkeypatch.setenv("no_proxy", "*")
    started: list[Receiver] = []

    def start(answers: list[bytes]) -> Receiver:
        started.append(Receiver(answers))
        threading.Thread(target=started[-1].serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return started[-1]

    yield start
    for each in started:
        each.shutdown()
        each.server_close()


@pytest.mark.parametrize(
    ("answer", "token", "why"),
    [
        pytest.param(REFUSED, TOKEN, "503", id="busy"),
        # Followed, it would be a GET without the event, but with the token, to whatever host is named.
        pytest.param(ELSEWHERE, TOKEN, "302", id="elsewhere"),
        pytest.param(NO_HTTP, TOKEN, "220 mail.example.com", id="no HTTP"),
        # As while it is renewed.
        pytest.param(TAKEN, None, "No such file", id="no token"),
        pytest.param(TAKEN, b"\xff\n", "decode", id="a token that is no text"),
    ],
)
def test_what_is_not_taken_waits(
    receiver: Callable[[list[bytes]], Receiver],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    answer: bytes,
    token: bytes | None,
    why: str,
) -> None:
    listens, file = receiver([answer, TAKEN]), tmp_path / "token"
    if token is not None:
        file.write_bytes(token)

    def stream() -> Iterator[dict[str, Any] | None]:
        yield None
        yield {"event": "created"}
        file.write_bytes(TOKEN)
        yield None
        raise KeyboardInterrupt

    monkeypatch.setattr(forward.events, "stream", stream)
    assert forward.main(["--post", listens.url, "--token-file", str(file)]) == 0
    sends = [("POST", "/", "Bearer secret")]
    assert listens.requests == (sends * 2 if token == TOKEN else sends)
    _listens, told = capsys.readouterr().err.splitlines()
    assert "does not take events, 1 wait and 0 are lost: " in told
    assert why in told


def test_a_url_that_cannot_be_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(forward.events, "stream", lambda: iter([None, {"event": "created"}]))
    assert forward.main(["--post", "http://127.0.0.1/a b"]) == 0
    assert "1 wait and 0 are lost: URL can't contain control characters" in capsys.readouterr().err
