# SPDX-License-Identifier: GPL-3.0-or-later
"""The only file that reads or writes /sys.

Reads are one open, one read, one close. What a device lacks is None, since the kernel leaves out what does not
apply and a device may vanish at any time; whatever else goes wrong is an error with path, errno and meaning.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Mapping

from .errors import NodedevError
from .waiting import wait_for

SYS = "/sys"
# The largest attribute the kernel's show() functions return is one page.
PAGE = 4096
# What a vanished device answers, by kind of access: the path is gone, its driver is, or it was a link's target.
GONE = frozenset((errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTDIR))

GENERAL_MEANINGS: Mapping[int, str] = {
    errno.EACCES: "root is needed, or a security module forbids it",
    errno.EPERM: "root is needed, or the kernel is locked down",
    errno.EROFS: "sysfs is mounted read-only here, as it is in most containers",
    errno.ENOENT: "the kernel has no such file: the device or its driver is gone",
    errno.ENODEV: "the device is being removed or has no driver",
}


class SysfsError(NodedevError):
    """A read or write of sysfs that failed; ``path``, ``errno`` and ``meaning`` say what and why."""

    def __init__(self, action: str, path: str, number: int, meanings: Mapping[int, str] | None = None) -> None:
        self.path = path
        self.errno = number
        self.meaning = (meanings or {}).get(number) or GENERAL_MEANINGS.get(number)
        name = errno.errorcode.get(number, str(number))
        explained = f": {self.meaning}" if self.meaning else ""
        super().__init__(f"{action} {path} failed with {name} ({os.strerror(number)}){explained}")


def read(path: str) -> str | None:
    """The value of an attribute without its last newline; None where the device has no such attribute.

    Bytes that are not UTF-8 are kept as surrogates, so that a value can be written back as it was.
    """
    data = content(path)
    if data is None:
        return None
    text = data.decode("utf-8", "surrogateescape")
    return text[:-1] if text.endswith("\n") else text


def content(path: str, size: int = PAGE) -> bytes | None:
    """The first bytes of an attribute, ``size`` at most, by one read; None where the device has no such attribute."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(handle, size)
        finally:
            os.close(handle)
    except OSError as error:
        number = error.errno or 0
        if number in GONE:
            return None
        raise SysfsError("reading", path, number) from error


def write(path: str, value: str, meanings: Mapping[int, str] | None = None) -> None:
    """Write an attribute in one write call, as the kernel's store() functions want it.

    ``meanings`` says what an errno means on this attribute of this driver; raises SysfsError with it.
    """
    number = _write(path, value)
    if number:
        raise SysfsError(f"writing {value!r} to", path, number, meanings)


def _write(path: str, value: str) -> int:
    """The errno of the write, 0 when all went well."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(handle, value.encode("utf-8", "surrogateescape"))
        finally:
            os.close(handle)
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def write_with_limit(path: str, value: str, seconds: float, meanings: Mapping[int, str] | None = None) -> bool:
    """Write an attribute whose driver may block, in a child process; False when it still blocks after ``seconds``.

    A child that blocks cannot be killed while the kernel waits, so it is left to finish the write by itself, with none
    of our files: a lock in one of them would stay taken.
    """
    child = os.fork()
    if child == 0:
        _write_and_exit(path, value)
    status: list[int] = []

    def done() -> bool:
        pid, code = os.waitpid(child, os.WNOHANG)
        if pid:
            status.append(os.waitstatus_to_exitcode(code))
        return bool(pid)

    if not wait_for(done, seconds):
        os.kill(child, signal.SIGTERM)
        return False
    if status[0]:
        raise SysfsError(f"writing {value!r} to", path, status[0] if status[0] > 0 else errno.EINTR, meanings)
    return True


def _write_and_exit(path: str, value: str) -> None:
    """In the child of write_with_limit: the exit status is the errno."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for handle in range(3):
        os.dup2(null, handle)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os._exit(_write(path, value))


def whole(path: str, size: int) -> bytes | None:
    """A file of more than one page by as many reads as it takes, ``size`` bytes at most; None where there is none."""
    parts = []
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            while size > 0 and (part := os.read(handle, size)):
                parts.append(part)
                size -= len(part)
        finally:
            os.close(handle)
    except OSError as error:
        number = error.errno or 0
        if number in GONE:
            return None
        raise SysfsError("reading", path, number) from error
    return b"".join(parts)


def entries(folder: str) -> list[str]:
    """The entries of a folder in the kernel's order; none where there is no such folder."""
    try:
        return os.listdir(folder)
    except OSError as error:
        number = error.errno or 0
        if number in GONE:
            return []
        raise SysfsError("listing", folder, number) from error


def names(folder: str) -> list[str]:
    """The entries of a folder, sorted; none where there is no such folder."""
    return sorted(entries(folder))


def linked(folder: str) -> list[str]:
    """Where the links in a folder of a bus or class lead, in the kernel's order; none where there is no such folder.

    The kernel's links climb from their folder and descend again without a detour, so no folder on the way is looked at.
    """
    found = []
    bases: dict[int, str] = {}
    for entry in entries(folder):
        try:
            target = os.readlink(f"{folder}/{entry}")
        except OSError:
            # It vanished, or is no device, as bonding_masters in /sys/class/net.
            continue
        climbs = target.count("../")
        if climbs not in bases:
            bases[climbs] = os.path.normpath(f"{folder}/{'../' * climbs}")
        found.append(f"{bases[climbs]}/{target[3 * climbs :]}")
    return found


def link_name(path: str) -> str | None:
    """The last component of a link's target; None where there is no such link."""
    text = _link(path)
    return None if text is None else os.path.basename(text)


def target(path: str) -> str | None:
    """Where a link of the kernel leads, by its text alone; None where there is no such link."""
    text = _link(path)
    return None if text is None else os.path.normpath(os.path.join(os.path.dirname(path), text))


def _link(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError as error:
        number = error.errno or 0
        if number in GONE or number == errno.EINVAL:
            return None
        raise SysfsError("reading the link", path, number) from error


def real(path: str) -> str | None:
    """Where a path leads; None where it leads nowhere."""
    target = os.path.realpath(path)
    return target if os.path.exists(target) else None


def size(path: str) -> int | None:
    """The length that a file claims, in bytes; None where there is no such file."""
    try:
        return os.stat(path).st_size
    except OSError as error:
        number = error.errno or 0
        if number in GONE:
            return None
        raise SysfsError("looking at", path, number) from error


def exists(path: str) -> bool:
    """Whether the path is there, a link followed."""
    return os.path.exists(path)


def why_not_writable() -> str | None:
    """Why this process could not change any device; None when it could, so far as can be told beforehand."""
    if os.statvfs(SYS).f_flag & os.ST_RDONLY:
        return f"{SYS} is mounted read-only: run on the host itself, not in a container without write access to it"
    if os.geteuid() != 0:
        return "changing devices needs root: run the task with 'become: true'"
    return None
