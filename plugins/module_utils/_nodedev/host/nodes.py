# SPDX-License-Identifier: GPL-3.0-or-later
"""Which device a path or an open file leads to: by its number, since a device may be opened under any name.

A container has nodes of its own for the devices that it may use, and a user may give a file any name.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import struct
from collections.abc import Callable
from functools import lru_cache

from . import sysfs

DEV = "/dev"
# What a node is: S_IFCHR or S_IFBLK with the device's major and minor number. Whatever else there is under a path: 0
# with the device number of its file system, and its inode there.
Identity = tuple[int, int, int]
DEVICES = (stat.S_IFCHR, stat.S_IFBLK)
NUMBER = re.compile(r"([0-9]{1,9}):([0-9]{1,9})")

# Of linux/stat.h and fcntl.h, and the places in struct statx of mode, inode, and major and minor of device and holder.
AT_FDCWD, AT_STATX_DONT_SYNC = -100, 0x4000
STATX_TYPE, STATX_INO = 0x1, 0x100
STATX_SIZE = 256
STATX = struct.Struct("=28xH2xQ88x4I")


def of_path(path: str) -> Identity:
    """What a path leads to, links followed, those of /proc to open files among them; OSError where that is not told.

    A file system that is asked over a network, or by a process, is not asked: one that does not answer would keep who
    asks for ever, and what a file is never changes. That needs statx(2), of which Python knows nothing; where the C
    library has none either it is stat(2).
    """
    return _look()(path)


@lru_cache(maxsize=1)
def _look() -> Callable[[str], Identity]:
    # Here, so that those who look at no node do without it.
    try:
        import ctypes

        library = ctypes.CDLL(None, use_errno=True)
        call = library.statx
    except (ImportError, AttributeError, OSError):
        return _by_stat
    call.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_char_p]

    def look(path: str) -> Identity:
        found = ctypes.create_string_buffer(STATX_SIZE)
        if call(AT_FDCWD, os.fsencode(path), AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO, found):
            number = ctypes.get_errno()
            if number == errno.ENOSYS:
                return _by_stat(path)
            raise OSError(number, os.strerror(number), path)
        mode, inode, major, minor, file_major, file_minor = STATX.unpack_from(found)
        return _identity(mode, (major, minor), os.makedev(file_major, file_minor), inode)

    return look


def _by_stat(path: str) -> Identity:
    found = os.stat(path)
    return _identity(found.st_mode, (os.major(found.st_rdev), os.minor(found.st_rdev)), found.st_dev, found.st_ino)


def _identity(mode: int, number: tuple[int, int], file_system: int, inode: int) -> Identity:
    kind = stat.S_IFMT(mode)
    return (kind, *number) if kind in DEVICES else (0, file_system, inode)


def of_device(name: str, kind: int, folder: str) -> set[Identity]:
    """What the nodes of a device may be, whatever their names; nothing where there is no such device.

    ``name`` is its own below /dev, ``kind`` S_IFCHR or S_IFBLK, ``folder`` its folder in sysfs, where its number
    stands. What its name leads to counts too, unless that is another device.
    """
    own = number(folder)
    found: set[Identity] = set() if own is None else {(kind, *own)}
    try:
        node = of_path(os.path.join(DEV, name))
    except OSError:
        return found
    if own is None or node[0] not in DEVICES:
        found.add(node)
    return found


def number(folder: str) -> tuple[int, int] | None:
    """The major and the minor number of the device in this folder of sysfs; None where it has none."""
    try:
        return numbered(sysfs.read(f"{folder}/dev") or "")
    except sysfs.SysfsError:
        return None


def numbered(text: str) -> tuple[int, int] | None:
    """The numbers of a text such as 8:16; None of any other."""
    found = NUMBER.fullmatch(text)
    return (int(found[1]), int(found[2])) if found else None
