# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs of the host that are asked for something: each with a limit, after which its process group is ended."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .errors import NodedevError
from .text import shown
from .waiting import GRACE, left

FOLDERS = "/usr/sbin:/usr/bin:/sbin:/bin"
# What a program gets to see: none of the settings of whoever runs the task.
ENVIRONMENT = {"PATH": FOLDERS, "LC_ALL": "C.UTF-8"}
# Seconds for the end of a program that was killed: it may be blocked in the kernel, where nothing ends it.
LAST_WAIT = 1.0


class NoAnswer(NodedevError):
    """A program that has not ended within its limit; it was killed, and its process group with it."""


@dataclass(frozen=True)
class Answer:
    """How a program ended: its exit status, negative for a signal, and what it printed."""

    status: int
    output: str
    errors: str


def find(name: str) -> str | None:
    """The path of a program in the system's folders; None where it is not installed."""
    return shutil.which(name, path=FOLDERS)


def run(
    command: Sequence[str], seconds: float, document: str = "", environment: Mapping[str, str] = ENVIRONMENT
) -> Answer:
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
            env=dict(environment),
            start_new_session=True,
        )
    except OSError as error:
        raise NodedevError(f"{called} could not be started: {error.strerror}") from error
    try:
        output, errors = process.communicate(document.encode("utf-8", "surrogateescape"), timeout=limit)
    except subprocess.TimeoutExpired as error:
        raise NoAnswer(f"{called} has not ended after {seconds:g} s and was killed") from error
    finally:
        _end(process)
    return Answer(process.returncode, _decoded(output), _decoded(errors))


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
