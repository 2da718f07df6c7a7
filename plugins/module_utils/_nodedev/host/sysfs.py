# SPDX-License-Identifier: GPL-3.0-or-later
"""The only file that reads or writes /sys.

Reads are one open, one read, one close. What a device lacks is None, since the kernel leaves out what does not
apply and a device may vanish at any time; whatever else goes wrong is an error with path, errno and meaning.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping

from ..errors import NodedevError
from ..text import shown

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

    def __init__(
        self, action: str, path: str, number: int, meanings: Mapping[int, str] | None = None, of_driver: bool = False
    ) -> None:
        self.path = path
        self.errno = number
        # A driver gives an errno its own meaning: what the kernel means by it elsewhere may be the opposite.
        general = None if of_driver else GENERAL_MEANINGS.get(number)
        self.meaning = (meanings or {}).get(number) or general
        # Python knows this number by the name that the C library has for it too.
        name = "EOPNOTSUPP" if number == errno.EOPNOTSUPP else errno.errorcode.get(number, str(number))
        explained = f": {self.meaning}" if self.meaning else ""
        super().__init__(f"{action} {shown(path)} failed with {name} ({os.strerror(number)}){explained}")


class NoAnswer(NodedevError):
    """A write that a driver has not answered in time; ``begun`` says whether the driver was asked at all."""

    def __init__(self, action: str, path: str, seconds: float, begun: bool, ended: bool) -> None:
        self.path = path
        self.begun = begun
        if ended:
            what = "before the driver answered, so what came of it is not known" if begun else "before it wrote"
            text = f"the process ended {what}"
        elif begun:
            text = f"the driver has not answered after {seconds:g} s; it may still do what was asked"
        else:
            text = f"the driver was not asked within {seconds:g} s; nothing was written"
        super().__init__(f"{action} {shown(path)}: {text}")


def read(path: str) -> str | None:
    """The value of an attribute without its last newline; None where the device has no such attribute.

    Bytes that are not UTF-8 are kept as surrogates, so that a value can be written back as it was.
    """
    data = content(path)
    if data is None:
        return None
    text = data.decode("utf-8", "surrogateescape")
    return text[:-1] if text.endswith("\n") else text


def read_by_another(path: str, seconds: float) -> str | None:
    """The same by a process that can be left behind, where the kernel may keep whoever reads, and no signal ends that.

    Raises NodedevError where it has kept it for so many seconds.
    """
    # Here, so that no run but one that needs it waits for its import.
    from .. import programs

    if not os.path.exists(path):
        return None
    answer = programs.run([programs.find("cat") or "cat", path], seconds)
    return answer.output.removesuffix("\n") if answer.status == 0 else None


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


def write(path: str, value: str, seconds: float, meanings: Mapping[int, str] | None = None) -> None:
    """Write an attribute in one write call, as the kernel's store() functions want it, and wait for what comes of it.

    It is not repeated, whatever the answer is. ``meanings`` says what an errno means on this attribute of this driver.
    Raises SysfsError with it, also where the driver took a part only, and NoAnswer where the driver has not answered
    after ``seconds``, or after what the run has left (waiting.within()).
    """
    # Here, so that no run but one that changes something waits for its import.
    from . import writer

    action = f"writing {shown(repr(value))} to"
    try:
        data = value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise NodedevError(f"{action} {path} is not possible: it is not text; nothing was written") from None
    try:
        outcome = writer.write(path, data, seconds)
    except writer.Unanswered as error:
        raise NoAnswer(action, path, seconds, error.begun, error.ended) from error
    if outcome.number:
        raise SysfsError(action, path, outcome.number, meanings, of_driver=outcome.opened)
    if outcome.written != len(data):
        raise NodedevError(f"{action} {path}: the driver took {outcome.written} of {len(data)} bytes")


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
    target = _resolved(path)
    return target if os.path.exists(target) else None


def _resolved(path: str) -> str:
    try:
        return os.path.realpath(path)
    except OSError as error:
        raise SysfsError("following the links of", path, error.errno or 0) from error


def is_direct(path: str) -> bool:
    """Whether no link is on the way to a path, be there such a file or not."""
    return _resolved(path) == path


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
