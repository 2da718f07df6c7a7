# SPDX-License-Identifier: GPL-3.0-or-later
"""Who uses disks: file systems, swap, maps and arrays that are built on them, processes that have their nodes open."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from . import sysfs

PROC = "/proc"
BLOCK = "/sys/class/block"
ESCAPED = re.compile(r"\\([0-7]{3})")
# udev looks into each new disk for a moment, and multipathd keeps the paths of its maps open, which tell of themselves.
WATCHERS = ("systemd-udevd", "(udev-worker)", "multipathd")


@dataclass(frozen=True)
class Use:
    """One use of a disk, a partition or a map on it; ``pid`` is of the process where it is one."""

    node: str
    by: str
    pid: int | None = None

    def __str__(self) -> str:
        return f"{self.node} is {self.by}"


def of_disks(disks: Collection[str], generic: Collection[str] = (), probe: bool = True) -> list[Use]:
    """The uses of these disks (/dev/sdb), with what is built on them, and of SCSI generic nodes (/dev/sg3).

    With ``probe`` a disk of which nothing else tells is opened for a moment, which would keep a mount out meanwhile.
    """
    # A map may be built on several of the disks, and then uses each of them.
    built = dict.fromkeys(pair for disk in disks for pair in _tree(os.path.basename(disk)))
    blocks = dict.fromkeys(name for name, _lower in built)
    found = [Use(f"/dev/{lower}", f"held by {_called(name)}") for name, lower in built if lower is not None]
    numbers = {number: name for name in blocks if (number := sysfs.read(f"{BLOCK}/{name}/dev")) is not None}
    mounts = dict.fromkeys((number, place) for number, place in _mounts() if number in numbers)
    found += [Use(f"/dev/{numbers[number]}", f"mounted on {place}") for number, place in mounts]
    found += [Use(f"/dev/{name}", "used for swap") for name in _swaps() if name in blocks]
    found += _opened({*(f"/dev/{name}" for name in blocks), *generic})
    if not probe:
        return found
    used = {use.node for use in found}
    taken = [f"/dev/{name}" for name in blocks if f"/dev/{name}" not in used and _is_claimed(f"/dev/{name}")]
    return found + [Use(node, "claimed by the kernel") for node in taken]


def of_each(units: Mapping[str, tuple[str | None, str | None]], probe: bool = True) -> dict[str, list[Use]]:
    """The uses of several units, each with its disk and its SCSI generic node, if it has them; as of_disks() of each.

    Whatever their number, the processes are looked at once.
    """
    disks = [disk for disk, _node in units.values() if disk is not None]
    found = of_disks(disks, [node for _disk, node in units.values() if node is not None], probe) if units else []
    nodes = {key: {node, *(f"/dev/{name}" for name, _lower in _tree_of(disk))} for key, (disk, node) in units.items()}
    return {key: [use for use in found if use.node in own] for key, own in nodes.items()}


def _tree_of(disk: str | None) -> Iterator[tuple[str, str | None]]:
    if disk is not None:
        yield from _tree(os.path.basename(disk))


def _tree(name: str, lower: str | None = None) -> Iterator[tuple[str, str | None]]:
    """A disk, its partitions, and the maps and arrays on each, with what such a one is built on."""
    yield name, lower
    for part in sysfs.names(f"{BLOCK}/{name}"):
        if sysfs.exists(f"{BLOCK}/{name}/{part}/partition"):
            yield part, None
            yield from _built_on(part)
    yield from _built_on(name)


def _built_on(name: str) -> Iterator[tuple[str, str | None]]:
    for holder in sysfs.names(f"{BLOCK}/{name}/holders"):
        yield from _tree(holder, name)


def maps_of(disk: str) -> list[str]:
    """The multipath maps that a disk is a path of, by their names."""
    holders = sysfs.names(f"{BLOCK}/{os.path.basename(disk)}/holders")
    return [
        sysfs.read(f"{BLOCK}/{holder}/dm/name") or holder
        for holder in holders
        if (sysfs.read(f"{BLOCK}/{holder}/dm/uuid") or "").startswith("mpath-")
    ]


def _called(name: str) -> str:
    """A map or an array as its own tools call it."""
    title, uuid = sysfs.read(f"{BLOCK}/{name}/dm/name"), sysfs.read(f"{BLOCK}/{name}/dm/uuid") or ""
    if title is None:
        return f"the array {name}" if name.startswith("md") else name
    kind = {"mpath": "multipath map", "LVM": "logical volume", "CRYPT": "encrypted device"}.get(
        uuid.split("-")[0], "map"
    )
    return f"the {kind} {title} ({name})"


def _mounts() -> Iterator[tuple[str, str]]:
    """Device number and place of each mount, once for every mount namespace, since containers mount disks too."""
    seen = set()
    for pid in sorted(filter(str.isdigit, os.listdir(PROC)), key=int):
        try:
            space = os.readlink(f"{PROC}/{pid}/ns/mnt")
            if space in seen:
                continue
            with open(f"{PROC}/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
                lines = file.read().splitlines()
        except OSError:
            # The process has ended, or is not ours to look at; the claim of the kernel still tells of its mounts.
            continue
        seen.add(space)
        for line in lines:
            fields = line.split(" ")
            if len(fields) > 4:
                yield fields[2], ESCAPED.sub(lambda found: chr(int(found[1], 8)), fields[4])


def _swaps() -> Iterator[str]:
    try:
        with open(f"{PROC}/swaps", encoding="utf-8") as file:
            lines = file.read().splitlines()[1:]
    except FileNotFoundError:
        # A kernel without swap.
        return
    for line in lines:
        yield os.path.basename(os.path.realpath(line.split()[0]))


def _opened(nodes: Collection[str]) -> list[Use]:
    found = []
    for pid in filter(str.isdigit, os.listdir(PROC)):
        try:
            handles = os.listdir(f"{PROC}/{pid}/fd")
        except OSError:
            continue
        opened = {node for handle in handles if (node := _target(f"{PROC}/{pid}/fd/{handle}")) in nodes}
        if opened and (command := _command(pid)) not in WATCHERS:
            found += [Use(node, f"open by process {pid} ({command})", int(pid)) for node in sorted(opened)]
    return found


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


def _command(pid: str) -> str:
    try:
        with open(f"{PROC}/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def _is_claimed(node: str) -> bool:
    """Whether something within the kernel has the disk for itself: it cannot be opened exclusively then (open(2))."""
    try:
        if not stat.S_ISBLK(os.stat(node).st_mode):
            return False
        os.close(os.open(node, os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        return error.errno == errno.EBUSY
    return False
