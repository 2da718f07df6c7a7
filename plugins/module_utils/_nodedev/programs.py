# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs of the host that are asked for something: each with a limit, after which its process group is ended."""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import NodedevError
from .text import shown
from .waiting import GRACE, left

FOLDERS = "/usr/sbin:/usr/bin:/sbin:/bin"
# What a program gets to see: none of the settings of whoever runs the task.
ENVIRONMENT = {"PATH": FOLDERS, "LC_ALL": "C.UTF-8"}
# Seconds for the end of a program that was killed: it may be blocked in the kernel, where nothing ends it.
LAST_WAIT = 1.0
# Bytes of what a program prints that are kept, of output and errors each: one may print without end.
LARGEST = 1 << 24
CHUNK = 1 << 16


class NoAnswer(NodedevError):
    """A program that has not ended within its limit; it was killed, and its process group with it."""


@dataclass(frozen=True)
class Answer:
    """How a program ended: its exit status, negative for a signal, and what it printed, LARGEST bytes at most."""

    status: int
    output: str
    errors: str


def find(name: str) -> str | None:
    """The path of a program in the system's folders; None where it is not installed."""
    return shutil.which(name, path=FOLDERS)


def run(command: Sequence[str], seconds: float, document: str = "") -> Answer:
    """Run a program in / with a clean environment, ``document`` on its standard input, and wait for its end.

    Raises NoAnswer when it has not ended after ``seconds``, or after what the run has left (waiting.within()), GRACE at
    least, and NodedevError where it cannot be started.
    """
    called = shown(" ".join(command))
    limit = min(seconds, max(left(seconds), GRACE))
    try:
        # The library runs without Ansible too, and then has no run_command.
        process = subprocess.Popen(  # pylint: disable=ansible-bad-function,consider-using-with
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env=ENVIRONMENT,
            start_new_session=True,
        )
    except OSError as error:
        raise NodedevError(f"{called} could not be started: {error.strerror}") from error
    try:
        output, errors = _exchanged(process, document.encode("utf-8", "surrogateescape"), limit)
    except subprocess.TimeoutExpired as error:
        raise NoAnswer(f"{called} has not ended after {limit:.3g} s and was killed") from error
    finally:
        _end(process)
    return Answer(process.returncode, _decoded(output), _decoded(errors))


def _exchanged(process: subprocess.Popen[bytes], document: bytes, seconds: float) -> tuple[bytes, bytes]:
    """Give a program its document and take what it prints until it has ended; TimeoutExpired after ``seconds``.

    As Popen.communicate() does, but for what is more than LARGEST: that is read, so that the program can go on, and
    forgotten.
    """
    deadline = time.monotonic() + seconds
    pipes = {pipe.fileno(): pipe for pipe in (process.stdin, process.stdout, process.stderr) if pipe is not None}
    output = {handle: bytearray() for handle in pipes}
    inlet, outlet, complaints = pipes
    rest = memoryview(document)
    with selectors.DefaultSelector() as selector:
        for handle in pipes:
            selector.register(handle, selectors.EVENT_WRITE if handle == inlet else selectors.EVENT_READ)
        while selector.get_map():
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise subprocess.TimeoutExpired(process.args, seconds)
            for key, _events in selector.select(remaining):
                if key.fd == inlet:
                    rest = rest[_written(inlet, rest) :]
                    ended = not rest
                else:
                    ended = not _read(key.fd, output[key.fd])
                if ended:
                    selector.unregister(key.fd)
                    pipes[key.fd].close()
    process.wait(max(deadline - time.monotonic(), 0))
    return bytes(output[outlet]), bytes(output[complaints])


def _written(pipe: int, rest: memoryview) -> int:
    """How many bytes of the rest are done with: all of them where the program reads no more."""
    try:
        # So many never block a pipe that can be written to.
        return os.write(pipe, rest[: select.PIPE_BUF])
    except BrokenPipeError:
        return len(rest)


def _read(pipe: int, output: bytearray) -> bool:
    """Take what is there, and whether anything was."""
    chunk = os.read(pipe, CHUNK)
    output += chunk[: max(LARGEST - len(output), 0)]
    return bool(chunk)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what is left of the program's process group, which has the number of its first process."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(LAST_WAIT)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "replace")
