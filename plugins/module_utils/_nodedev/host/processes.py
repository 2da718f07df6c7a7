# SPDX-License-Identifier: GPL-3.0-or-later
"""What /proc tells of processes: what they have open and mounted, what they run, and of whom that cannot be told."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from ..text import shown
from . import nodes
from .nodes import Identity

PROC = "/proc"
# What a process answers that has ended, or a descriptor that was closed meanwhile.
GONE = (errno.ENOENT, errno.ESRCH)
ESCAPED = re.compile(r"\\([0-7]{3})")
# How a file is open (proc_pid_fdinfo(5)).
FLAGS = re.compile(rb"^flags:[ \t]*([0-7]{1,12})$", re.MULTILINE)
GUEST = "guest="
# Bytes of a command line that are looked at.
LONGEST = 1 << 20


@dataclass(frozen=True)
class Holder:
    """Who uses a node of a device, and how, as in '/dev/sdb is mounted on /srv'.

    ``by`` is a process's name where there is a ``pid``, of a guest with its ``domain``, and says all there is to say of
    any other user. All are texts of others, to be shown as they are only in data.
    """

    node: str
    by: str
    how: str = "open by"
    pid: int | None = None
    domain: str | None = None

    @property
    def who(self) -> str:
        """The user in words."""
        name = shown(self.by or "without a name")
        user = name if self.pid is None else f"process {self.pid} ({name})"
        return user if self.domain is None else f"{user} of domain {shown(self.domain)}"

    def __str__(self) -> str:
        return f"{shown(self.node)} is {self.how} {self.who}"

    def document(self, **whose: str) -> dict[str, str | int | None]:
        """The same as data; ``whose`` says of which device it is, where that does not follow."""
        return {"node": self.node, "how": self.how, "by": self.by, "pid": self.pid, "domain": self.domain, **whose}


@dataclass(frozen=True)
class Opened:
    """A process that has a node open."""

    pid: int
    node: str


@dataclass(frozen=True)
class Look:
    """What processes have open, by their numbers; ``doubt`` says in words of whom that is not known, None of nobody."""

    opened: tuple[Opened, ...]
    doubt: str | None

    def possible(self, nodes: Iterable[str]) -> list[Holder]:
        """That somebody may have these nodes open, where that is not known."""
        return [] if self.doubt is None else [Holder(node, f"possibly {self.doubt}") for node in nodes]


@dataclass(frozen=True)
class Mount:
    """A mount: the number of its device as mountinfo has it, such as 8:1, and its place in its namespace."""

    number: str
    place: str


class _Unread:
    """The processes that could not be looked at; those that have ended are none."""

    def __init__(self) -> None:
        self.pids: dict[int, int] = {}

    def add(self, pid: int, error: OSError) -> None:
        if error.errno not in GONE:
            self.pids.setdefault(pid, error.errno or errno.EIO)

    def described(self, what: str) -> str | None:
        if not self.pids:
            return None
        pid, number = next(iter(self.pids.items()))
        others = len(self.pids) - 1
        more = f" and {others} other{'s' if others > 1 else ''}" if others else ""
        right = " by who is not root" if number in (errno.EACCES, errno.EPERM) and os.geteuid() != 0 else ""
        return f"process {pid} ({shown(command(pid))}){more}, whose {what} cannot be read{right} ({_meaning(number)})"


def _meaning(number: int) -> str:
    return f"{errno.errorcode.get(number, str(number))}, {os.strerror(number)}"


def opened(wanted: Mapping[Identity, str]) -> Look:
    """Which processes have which of these nodes open, by one look at all open files of all processes.

    ``wanted`` gives each node its name. A process that ends meanwhile has nothing open, one that cannot be looked at
    leaves a doubt: it may have any of them open.
    """
    found: list[Opened] = []
    unread = _Unread()
    numbers, hidden = _pids()
    for pid in numbers:
        names = set()
        for handle in _handles(pid, unread):
            try:
                identity = nodes.of_path(handle)
            except OSError as error:
                if not _is_no_device(handle, error):
                    unread.add(pid, error)
                continue
            if identity in wanted and _is_used(handle, identity):
                names.add(wanted[identity])
        found += [Opened(pid, name) for name in sorted(names)]
    return Look(tuple(found), hidden or unread.described("open files"))


def mounts() -> tuple[list[Mount], str | None]:
    """The mounts of all mount namespaces, those of containers too, and of whom they are not known, as in Look."""
    found: list[Mount] = []
    unread = _Unread()
    seen = set()
    numbers, hidden = _pids()
    for pid in numbers:
        try:
            space = os.readlink(f"{PROC}/{pid}/ns/mnt")
            lines = [] if space in seen else _mountinfo(pid)
        except OSError as error:
            unread.add(pid, error)
            continue
        seen.add(space)
        fields = [line.split(" ") for line in lines]
        found += [Mount(each[2], unescaped(each[4])) for each in fields if len(each) > 4]
    return found, hidden or unread.described("mounts")


def consoles() -> list[str]:
    """The kernel's consoles by their names (Documentation/admin-guide/serial-console.rst); none where it tells none."""
    try:
        with open(f"{PROC}/consoles", "rb") as file:
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    return [line.split()[0] for line in lines if line.split()]


def _mountinfo(pid: int) -> list[str]:
    try:
        with open(f"{PROC}/{pid}/mountinfo", "rb") as file:
            return file.read().decode("utf-8", "surrogateescape").split("\n")
    except OSError as error:
        # So answers one that has ended and is not collected yet.
        if error.errno == errno.EINVAL:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH)) from error
        raise


def unescaped(text: str) -> str:
    """A path as the kernel's seq_path() writes it, with spaces and the like as octal numbers."""
    return ESCAPED.sub(lambda found: chr(int(found[1], 8)), text)


def _pids() -> tuple[list[int], str | None]:
    """All processes, and in words that some or all of them are hidden; process 1 is always there."""
    try:
        found = sorted(int(name) for name in os.listdir(PROC) if name.isdecimal())
    except OSError as error:
        return [], f"any process, since {PROC} cannot be read ({_meaning(error.errno or errno.EIO)})"
    return found, None if 1 in found else f"a process of another user, which {PROC} hides here"


def _handles(pid: int, unread: _Unread) -> list[str]:
    """The paths of a process's open files in /proc.

    Where its first thread has ended, the others have its files, and they alone show them.
    """
    own = _listed(f"{PROC}/{pid}/fd", pid, unread)
    if own or pid in unread.pids:
        return own
    threads = _listed(f"{PROC}/{pid}/task", pid, unread)
    if len(threads) < 2:
        return []
    return [handle for thread in threads for handle in _listed(f"{thread}/fd", pid, unread)]


def _listed(folder: str, pid: int, unread: _Unread) -> list[str]:
    try:
        return [f"{folder}/{name}" for name in os.listdir(folder)]
    except OSError as error:
        unread.add(pid, error)
        return []


def _is_used(handle: str, identity: Identity) -> bool:
    """Whether a file that was open a moment ago still is, and not as a place alone (O_PATH): no driver knows of that.

    So udev has each new node for a moment, to set whose it is. What is not told may be a use.
    """
    folder, number = os.path.split(handle)
    flags = None
    with contextlib.suppress(OSError), open(f"{folder}info/{number}", "rb") as file:
        flags = FLAGS.search(file.read())
    if flags is not None and int(flags[1], 8) & os.O_PATH:
        return False
    try:
        # The number may be another file's by now.
        return nodes.of_path(handle) == identity
    except OSError as error:
        return error.errno not in GONE


def _is_no_device(handle: str, error: OSError) -> bool:
    """Whether an open file that does not tell what it is cannot be a device: its file system has none.

    A user's own FUSE file system answers nobody else, root neither, but what it is mounted with is known.
    """
    if error.errno != errno.EACCES:
        return False
    try:
        return bool(os.statvfs(handle).f_flag & os.ST_NODEV)
    except OSError:
        return False


def command(pid: int) -> str:
    """The name of a process, which is anybody's choice; empty when it has ended."""
    return _text(pid, "comm").removesuffix("\n")


def holder(opened: Opened) -> Holder:
    """A process that has a node open as who uses it."""
    return Holder(opened.node, command(opened.pid), pid=opened.pid, domain=guest(opened.pid))


def guest(pid: int) -> str | None:
    """The name of the guest that a QEMU runs, as -name guest=NAME has it, where a comma is written twice."""
    arguments = _text(pid, "cmdline").split("\0")
    for option, value in zip(arguments, arguments[1:]):
        if option == "-name":
            parts = value.replace(",,", "\0").split(",")
            return next((part[len(GUEST) :].replace("\0", ",") for part in parts if part.startswith(GUEST)), None)
    return None


def started(pid: int) -> int | None:
    """When a process was started, in the kernel's clock ticks since the boot; None where there is no such process.

    With its number it is of no other one (proc_pid_stat(5), starttime).
    """
    # The name stands in brackets, and may have such itself.
    fields = _text(pid, "stat").rpartition(")")[2].split()
    return int(fields[19]) if len(fields) > 19 and fields[19].isdecimal() else None


def naming(text: str) -> list[int]:
    """The processes in whose command lines this text stands, by their numbers."""
    return [pid for pid in _pids()[0] if text in _text(pid, "cmdline")]


def is_daemon(pid: int, programs: Mapping[str, Collection[str]]) -> bool:
    """Whether a process is one of these daemons: programs of this host by their paths, each with the names it goes by.

    It runs as user 0 in every respect, from the program's own file, which an update may have replaced meanwhile. The
    name alone is anybody's choice, and the path alone may be one within a container.
    """
    try:
        path = os.readlink(f"{PROC}/{pid}/exe").removesuffix(" (deleted)")
        matching = [names for program, names in programs.items() if os.path.realpath(program) == path]
        if not matching or _users(pid) != {"0"}:
            return False
        same = os.stat(f"{PROC}/{pid}/exe").st_dev == os.stat(path).st_dev
    except OSError:
        return False
    return same and any(command(pid) in names for names in matching)


def _users(pid: int) -> set[str]:
    """Its real, effective, saved and file system user; the owner of its folder in /proc may be none of them."""
    lines = _text(pid, "status").split("\n")
    return {user for line in lines if line.startswith("Uid:") for user in line.split()[1:]}


def _text(pid: int, name: str) -> str:
    try:
        with open(f"{PROC}/{pid}/{name}", "rb") as file:
            return file.read(LONGEST).decode("utf-8", "surrogateescape")
    except OSError:
        return ""
