# SPDX-License-Identifier: GPL-3.0-or-later
"""The process that writes to drivers: a child that can do nothing else, whatever a driver does to it.

A driver may keep a write for ever, where no signal ends it, or answer EINTR, which Python's own write repeats without
an end. So each write is one call of the C library's write() in a child. One child serves all writes of a run; it is
killed and left behind once it has not answered in time, and the next write gets a new one.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import select
import signal
import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import NodedevError
from ..waiting import GRACE, left

# Seconds for the end of a child that was killed, unless the kernel keeps it.
LAST_WAIT = 0.2
# What a request begins with: the lengths in bytes of the path and of the data, which follow.
REQUEST = struct.Struct("II")
# An answer: the stage of the write, the errno, and how many bytes were taken.
ANSWER = struct.Struct("iii")
BEGUN, NOT_OPENED, ENDED = range(3)
# prctl(2): the signal that a process gets when its parent is gone.
PR_SET_PDEATHSIG = 1
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM)


@dataclass(frozen=True)
class Outcome:
    """What became of a write: the errno, 0 for none, whether the file was opened, and how many bytes were taken."""

    number: int
    opened: bool
    written: int


class Unanswered(Exception):
    """A write without an outcome.

    ``begun`` says whether the driver was asked at all, ``ended`` that the child died of itself and not for being late.
    """

    def __init__(self, begun: bool, ended: bool) -> None:
        super().__init__(begun, ended)
        self.begun = begun
        self.ended = ended


class _Child:
    """The process, with our ends of the pipes to it and from it."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        pipes: list[int] = []
        # A signal that comes before the child has left our handlers behind waits until it has.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            pipes += os.pipe()
            pipes += os.pipe()
            self.process = os.fork()
            if self.process == 0:
                try:
                    _serve(pipes[0], pipes[3], self.owner, mask)
                finally:
                    os._exit(1)
        except OSError as error:
            _close(pipes)
            raise NodedevError(
                f"the process that writes to drivers could not be started ({error.strerror}); nothing was written"
            ) from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        _close((pipes[0], pipes[3]))
        self.requests, self.answers = pipes[1], pipes[2]

    def serves(self) -> bool:
        """Whether it is there, and ours: not that of the process that this one was forked from."""
        if self.owner != os.getpid():
            return False
        with contextlib.suppress(ChildProcessError):
            return os.waitpid(self.process, os.WNOHANG)[0] == 0
        return False

    def write(self, path: bytes, data: bytes, seconds: float) -> Outcome:
        """Have it write; raises Unanswered, after which it serves no more."""
        begun = late = False
        with contextlib.suppress(EOFError, BrokenPipeError):
            os.write(self.requests, REQUEST.pack(len(path), len(data)) + path + data)
            deadline = time.monotonic() + seconds
            while True:
                answer = self._answer(deadline)
                if answer is None and not late:
                    late = True
                    os.kill(self.process, signal.SIGKILL)
                    # What it has answered meanwhile counts.
                    deadline = time.monotonic() + LAST_WAIT
                elif answer is None:
                    break
                elif answer[0] == BEGUN:
                    begun = True
                else:
                    stage, number, written = answer
                    return Outcome(number, stage == ENDED, written)
        self.close()
        raise Unanswered(begun, ended=not late)

    def close(self) -> None:
        """Let go of it, wherever it is."""
        _close((self.requests, self.answers))
        self.owner = 0

    def _answer(self, deadline: float) -> tuple[int, int, int] | None:
        """Its next answer; None where none comes before the deadline. Raises EOFError where none will come any more."""
        poll = select.poll()
        poll.register(self.answers, select.POLLIN)
        if not poll.poll(max(deadline - time.monotonic(), 0) * 1000):
            return None
        data = os.read(self.answers, ANSWER.size)
        if len(data) < ANSWER.size:
            raise EOFError
        stage, number, written = ANSWER.unpack(data)
        return stage, number, written


_child: _Child | None = None


def write(path: str, data: bytes, seconds: float) -> Outcome:
    """Write to a file that is there, by one call, for at most so many seconds, or GRACE where the run has less left.

    Raises Unanswered, and NodedevError where no process could be started.
    """
    global _child
    if _child is None or not _child.serves():
        _child = _Child()
    return _child.write(os.fsencode(path), data, max(left(seconds), GRACE))


def _close(handles: Iterable[int]) -> None:
    for handle in handles:
        with contextlib.suppress(OSError):
            os.close(handle)


def end_with(parent: int) -> bool:
    """Have this process killed when the one that it was forked from is gone; whether that one is still there."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    return os.getppid() == parent


def _serve(requests: int, answers: int, parent: int, mask: Iterable[int]) -> None:
    """The child's life. It has no handles but its pipes: a lock would stay taken as long as a driver blocks."""
    gc.disable()
    os.setsid()
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    _close({0, 1, 2} - {requests, answers})
    _close({int(name) for name in os.listdir("/proc/self/fd")} - {requests, answers})
    if not end_with(parent):
        return
    library = ctypes.CDLL(None, use_errno=True)
    while len(head := os.read(requests, REQUEST.size)) == REQUEST.size:
        path, data = (_received(requests, size) for size in REQUEST.unpack(head))
        os.write(answers, ANSWER.pack(BEGUN, 0, 0))
        os.write(answers, ANSWER.pack(*_written(library, path, data)))


def _received(requests: int, size: int) -> bytes:
    data = b""
    while len(data) < size and (part := os.read(requests, size - len(data))):
        data += part
    return data


def _written(library: ctypes.CDLL, path: bytes, data: bytes) -> tuple[int, int, int]:
    """The stage that the write came to, the errno, and how many bytes were taken."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        return NOT_OPENED, error.errno or 0, 0
    taken = library.write(handle, data, ctypes.c_size_t(len(data)))
    number = ctypes.get_errno() if taken < 0 else 0
    _close((handle,))
    return ENDED, number, taken
