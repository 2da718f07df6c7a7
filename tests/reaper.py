# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs one command until it and all that it left behind have ended: python tests/reaper.py COMMAND...

Whoever waits for this process with wait4(2) gets the processor time of all of them. RUSAGE_CHILDREN counts a process
when its parent collects it, and two kinds would be missed: what was left to run on, such as a virtual machine that one
command starts and another one ends, and what dies after its parent. Both become children of the next ancestor that is
a subreaper (prctl(2)), which this process is. A cgroup would count the same, but not every machine lets us make one.

SIGINT or SIGTERM is passed on to the command once, as Ctrl-C would be, so that it can clean up; after PATIENCE
seconds, or at the second signal, all processes are ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
# Seconds in which an interrupted command may clean up, and then each process that is left may end by itself.
PATIENCE = 30
GRACE = 5
POLL_SECONDS = 0.05
INTERRUPTED = 130


class Interrupted(Exception):
    """A signal came, or the time for cleaning up is over."""


def interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted


def collect(pid: int) -> int:
    """Collect whatever ends, until this process does; its exit code as of subprocess."""
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == pid:
            return os.waitstatus_to_exitcode(status)


def children() -> list[int]:
    """The processes whose parent this is by now."""
    own = os.getpid()
    return [int(pid) for pid in Path(f"/proc/{own}/task/{own}/children").read_text(encoding="ascii").split()]


def end_the_rest() -> None:
    """End what is still there; the children of what ends become ours and are next."""
    deadline = time.monotonic() + GRACE
    told: set[int] = set()
    while left := children():
        late = time.monotonic() > deadline
        for pid in left:
            if late or pid not in told:
                told.add(pid)
                os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
        time.sleep(POLL_SECONDS)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def main(command: list[str]) -> int:
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, interrupt)
    try:
        # In a session of its own, so that a signal can reach all of it and not us.
        process = subprocess.Popen(command, start_new_session=True)
        try:
            return collect(process.pid)
        except Interrupted:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
            signal.alarm(PATIENCE)
            collect(process.pid)
    except Interrupted:
        pass
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    finally:
        signal.alarm(0)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        end_the_rest()
    return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
