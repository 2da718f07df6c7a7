# SPDX-License-Identifier: GPL-3.0-or-later
"""One run at a time on what shares its capacity: flock on a file below /run, released by the kernel when a run dies.

What a lock is named by, so that all kinds of device exclude each other where they have to:

- a PCI card by its address, 0000:3d:00.0, that of the physical function for all that is on its virtual functions;
- all runs of NVIDIA's ``sriov-manage`` by that name, since those for several cards disturb each other;
- another parent of mediated devices by its kernel name: 0.0.0013, matrix, mtty; that of the matrix is also for all
  that says whose crypto queues are;
- a Fibre Channel port, HBA or vHBA, by ``fc:`` and its WWPN;
- a pool by ``pool:`` and its name;
- a domain with managed devices by ``guest:`` and its UUID.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator
from functools import partial

from .errors import NodedevError, NotYet
from .names import called
from .store import files
from .waiting import wait_for

FOLDER = "/run/nodedev/locks"
MODE = 0o600
# Bytes of a file's name that stand for themselves, and how many a name may have (Linux: 255).
FOREIGN = re.compile(rb"[^A-Za-z0-9_:.-]|^\.")
LONGEST = 255
# How one is opened: what else is in its place is not followed, nor waited for.
OPENING = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
# Who else may write in the folder: nobody.
OTHERS = stat.S_IWGRP | stat.S_IWOTH


@contextlib.contextmanager
def held(names: Iterable[str], seconds: float) -> Iterator[None]:
    """Hold the locks of these names, taken in one order so that two runs cannot wait for each other.

    The address of a PCI card is the name of its lock, whatever kind of device is on it. Raises NotYet when another
    run keeps one of them for longer than ``seconds``, which are for all of them together, and NodedevError where a lock
    cannot be made, as on a full /run.
    """
    deadline = time.monotonic() + seconds
    with contextlib.ExitStack() as stack:
        folder = _folder()
        stack.callback(os.close, folder)
        for name in sorted(set(names)):
            file = file_name(name)
            with files.explained(os.path.join(FOLDER, file)):
                handle = _opened(folder, file)
                stack.callback(os.close, handle)
                taken = wait_for(partial(_taken, handle), max(deadline - time.monotonic(), 0))
            if not taken:
                raise NotYet(
                    f"another run still works on {called(name)} after {seconds:g} s: raise wait_timeout or try again"
                )
        yield


def is_held(name: str) -> bool:
    """Whether a run holds the lock of this name now; not where that cannot be told."""
    path = os.path.join(FOLDER, file_name(name))
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        handle = os.open(path, os.O_RDONLY | OPENING)
        stack.callback(os.close, handle)
        return not _taken(handle)
    return False


def file_name(name: str) -> str:
    """The file of a lock: one for each name, and no path, however odd or long the name is."""
    data = FOREIGN.sub(lambda found: b"%%%02X" % ord(found[0]), name.encode("utf-8", "surrogateescape")).decode("ascii")
    if 0 < len(data) <= LONGEST:
        return data
    # No escape begins with %%.
    return f"%%{hashlib.sha256(data.encode('ascii')).hexdigest()}"


def _folder() -> int:
    """A handle of the folder, which is root's alone, as the one above it: another user could take a lock away."""
    files.make_folder(FOLDER)
    with files.explained(FOLDER):
        for path in (os.path.dirname(FOLDER), FOLDER):
            status = os.lstat(path)
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
                what = f"belongs to user {status.st_uid}" if stat.S_ISDIR(status.st_mode) else "is not a folder"
                raise NodedevError(f"{path} {what}: remove it, and it is made anew")
            if status.st_mode & OTHERS:
                os.chmod(path, files.FOLDER_MODE)
        return os.open(FOLDER, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def _opened(folder: int, name: str) -> int:
    return os.open(name, os.O_RDWR | os.O_CREAT | OPENING, MODE, dir_fd=folder)


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
