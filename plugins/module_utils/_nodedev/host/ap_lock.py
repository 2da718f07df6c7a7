# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock that the s390-tools take around changes of crypto queues: chzdev, and ap-check, mdevctl's callout script.

Follows their libap: whoever links a file with his process id to the one name has the lock, and one whose process has
ended is taken away. ap-check takes it for the process that has it started, which is then ours.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterator
from functools import partial

from ..errors import NodedevError
from ..store import files
from ..waiting import wait_for

PATH = "/run/lock/s390apconfig.lock"
MODE = 0o644
# Anybody may write in its folder: what else is in its place is not followed, nor waited for.
OPENING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
# Seconds after which a lock without a process id is a leftover, as in libap.
UNWRITTEN = 120.0


@contextlib.contextmanager
def held(seconds: float) -> Iterator[None]:
    """Hold the lock, unless a script does so for this process; NodedevError where another keeps it so long."""
    if _owner() == os.getpid():
        yield
        return
    with files.explained(PATH):
        folder, name = os.path.split(PATH)
        # Without a name until it is complete, so that a run that is killed leaves nothing but the lock.
        handle = os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, MODE)
        try:
            os.write(handle, f"{os.getpid()}\n".encode())
            os.fchmod(handle, MODE)
            taken = wait_for(partial(_linked, handle, folder, name), seconds)
        finally:
            os.close(handle)
    if not taken:
        raise NodedevError(
            f"process {_owner() or 'unknown'} still changes crypto queues after {seconds:g} s, by {PATH}: raise"
            " wait_timeout or try again"
        )
    try:
        yield
    finally:
        if _owner() == os.getpid():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(PATH)


def _linked(handle: int, folder: str, name: str) -> bool:
    """Whether the open file has got the name of the lock."""
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # With a folder's handle Python follows the link in /proc, as linkat(2) has it for such files.
        os.link(f"/proc/self/fd/{handle}", name, src_dir_fd=place, dst_dir_fd=place)
    except FileExistsError:
        _clear_up()
        return False
    finally:
        os.close(place)
    return True


def _clear_up() -> None:
    """Take away the lock of a process that has ended, or one that never got a process id."""
    owner = _owner()
    with contextlib.suppress(FileNotFoundError):
        if (owner is not None and not os.path.exists(f"/proc/{owner}")) or (
            owner is None and time.time() > os.lstat(PATH).st_mtime + UNWRITTEN
        ):
            os.unlink(PATH)


def _owner() -> int | None:
    """The process that has the lock; None where nobody has it, or it is not written there."""
    with contextlib.suppress(OSError, ValueError), open(os.open(PATH, OPENING), "rb") as file:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return int(file.read(40)) or None
    return None
