# SPDX-License-Identifier: GPL-3.0-or-later
"""Work in child processes: what blocks there, or crashes, takes nothing else with it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NoReturn

from ..errors import NodedevError
from ..waiting import wait_for

# Seconds for the end of a process that was killed: it may be blocked in the kernel, where nothing ends it.
LAST_WAIT = 0.5
CHUNK = 65536

Send = Callable[[Any], None]
Work = Callable[[Send], None]


class Child:
    """A process that does one work, and tells of it meanwhile in JSON values.

    ``ended`` says that nothing more will come of it, ``complete`` that it did its work to the end.
    """

    def __init__(self, work: Work) -> None:
        """Begin the work; raises NodedevError where no process can be started."""
        self._answers, pipe = os.pipe()
        try:
            self._process = os.fork()
        except OSError as error:
            os.close(self._answers)
            os.close(pipe)
            raise NodedevError(f"no process could be started for it: {error.strerror}") from error
        if self._process == 0:
            _work(work, pipe)
        os.close(pipe)
        # A group of its own, by whoever comes first, so that what it starts ends with it.
        with contextlib.suppress(OSError):
            os.setpgid(self._process, self._process)
        os.set_blocking(self._answers, False)
        self._data = b""
        self.ended = False
        self.complete = False

    def fileno(self) -> int:
        """What is readable when it has told something, or has ended: for select."""
        return self._answers

    def received(self) -> list[Any]:
        """What it has told since this was asked last; never waits."""
        with contextlib.suppress(BlockingIOError):
            while part := os.read(self._answers, CHUNK):
                self._data += part
            self.ended = True
        *lines, self._data = self._data.split(b"\n")
        values = [json.loads(line) for line in lines]
        if values and values[-1] is None:
            # Said at the end: what it has started may hold the pipe for longer than it does.
            values.pop()
            self.ended = self.complete = True
        return values

    def end(self) -> str:
        """End it, and what it has started, and say in words how it ended; one that the kernel keeps is left to it."""
        if self.ended:
            wait_for(self._is_over, LAST_WAIT)
        # Until it is waited for, its number is nobody else's.
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(self._process, signal.SIGKILL)
        os.close(self._answers)
        if not wait_for(self._is_over, LAST_WAIT):
            return "is still blocked in the kernel"
        status = os.waitstatus_to_exitcode(os.waitpid(self._process, 0)[1])
        return f"ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"

    def _is_over(self) -> bool:
        return os.waitid(os.P_PID, self._process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _work(work: Work, pipe: int) -> NoReturn:
    """The child's life: whatever happens in it, it ends itself, and nothing of the caller's runs on in it."""
    try:
        os.setpgid(0, 0)
        send = partial(_send, pipe)
        work(send)
        send(None)
        os._exit(0)
    finally:
        os._exit(1)


def _send(pipe: int, value: Any) -> None:
    data = json.dumps(value).encode("ascii") + b"\n"
    while data:
        data = data[os.write(pipe, data) :]


def wait_for_any(children: Iterable[Child], seconds: float) -> None:
    """Wait until one of them has told something or has ended, for so many seconds at most."""
    poll = select.poll()
    for child in children:
        poll.register(child, select.POLLIN)
    poll.poll(seconds * 1000)


def answer(question: Callable[[], Any], seconds: float) -> Any:
    """What a function returns, a JSON value, asked in a child.

    Raises NodedevError for a crash, for no answer in time, or for the reason that the function raises as such.
    """
    child = Child(lambda send: send(_answered(question)))
    deadline = time.monotonic() + seconds
    values: list[Any] = []
    while not child.ended and (left := deadline - time.monotonic()) > 0:
        wait_for_any([child], left)
        values += child.received()
    ended, how = child.ended, child.end()
    if not values:
        raise NodedevError(f"its process {how}" if ended else f"it has not answered after {seconds:g} s")
    value, reason = values[0]
    if reason is not None:
        raise NodedevError(reason)
    return value


def _answered(question: Callable[[], Any]) -> tuple[Any, str | None]:
    """What it returns, or the reason why it does not."""
    try:
        return question(), None
    except NodedevError as error:
        return None, str(error)
