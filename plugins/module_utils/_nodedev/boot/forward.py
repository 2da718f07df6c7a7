# SPDX-License-Identifier: GPL-3.0-or-later
"""nodedev-events: a host's events as lines of JSON, or posted to a webhook as ansible-rulebook's sources read it."""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import urllib.request
from collections import deque
from collections.abc import Sequence

from ..errors import NodedevError
from ..facts import events
from ..text import shown

# Seconds that a receiver may take for one event.
PATIENCE = 10.0
# Events that wait for a receiver which does not answer; beyond them the oldest are dropped, and that is told.
MOST = 1000
FAILED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; ``arguments`` are those of the process unless given. Returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.post is not None and not options.post.startswith(("http://", "https://")):
        parser.error(f"--post: {shown(options.post)} cannot be used: an http or https URL")
    try:
        _forward(options)
    except (NodedevError, OSError) as error:
        sys.stderr.write(f"nodedev-events: {shown(error, None)}\n")
        return FAILED
    except KeyboardInterrupt:
        pass
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nodedev-events",
        description="Tells what happens to this host's node devices and definitions, a line of JSON an event.",
    )
    parser.add_argument("--post", metavar="URL", help="send each event there by HTTP, and print nothing")
    parser.add_argument("--token-file", metavar="FILE", help="the first line of it is sent as 'Authorization: Bearer'")
    return parser


def _forward(options: argparse.Namespace) -> None:
    """Tell of events as they come, for good."""
    waiting: deque[bytes] = deque()
    stream = events.stream()
    next(stream)
    _say("listens to what happens from now on")
    for event in stream:
        if event is not None:
            waiting.append(json.dumps(event).encode())
        if options.post is None:
            while waiting:
                sys.stdout.write(f"{waiting.popleft().decode()}\n")
            sys.stdout.flush()
            continue
        why = _send(waiting, options.post, options.token_file)
        # Once an event, and not each time that it is tried again.
        if why is not None and event is not None:
            lost = max(len(waiting) - MOST, 0)
            for _oldest in range(lost):
                waiting.popleft()
            _say(f"{shown(options.post)} does not take events, {len(waiting)} wait and {lost} are lost: {why}")


def _token(path: str | None) -> str | None:
    """What is sent with each event; the file is read anew each time, since it may have been renewed."""
    if path is None:
        return None
    with open(path, encoding="utf-8") as file:
        return file.readline().strip()


class _Unfollowed(urllib.request.HTTPRedirectHandler):
    """Takes a redirection for an error: what urllib sends there has the token, and not the event."""

    def redirect_request(self, *_answer: object) -> None:
        return None


def _send(waiting: deque[bytes], url: str, token_file: str | None) -> str | None:
    """Send what waits, in its order; what the receiver does not take waits for the next time, and why is returned.

    A token that cannot be read, as while it is renewed, is such a reason too.
    """
    while waiting:
        try:
            token = _token(token_file)
            headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
            request = urllib.request.Request(url, waiting[0], headers)
            with urllib.request.build_opener(_Unfollowed).open(request, timeout=PATIENCE):
                waiting.popleft()
        except (OSError, ValueError, http.client.HTTPException) as error:
            return shown(error)
    return None


def _say(text: str) -> None:
    sys.stderr.write(f"nodedev-events: {text}\n")
    sys.stderr.flush()
