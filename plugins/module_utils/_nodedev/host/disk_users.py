# SPDX-License-Identifier: GPL-3.0-or-later
"""Who uses disks: file systems, swap, maps and arrays that are built on them, processes that have their nodes open.

A multipath map by itself is no use of its paths. One that nobody uses goes with them: it is removed before the last of
them. One that is used hinders only what would take its last working path from it: while another path stays that works,
its users go on over that.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from .. import programs
from ..errors import NodedevError
from . import nodes, processes, sysfs
from .nodes import Identity
from .processes import Holder

BLOCK = "/sys/class/block"
MAPPER = "/dev/mapper"
# Where the kernel has the character devices of SCSI units: disks, tapes, changers, and what passes commands on.
CHARACTERS = tuple(f"/sys/class/{name}" for name in ("scsi_generic", "scsi_tape", "scsi_changer", "bsg"))
# Its mounts have numbers of their own, but it names its disks here.
BTRFS = "/sys/fs/btrfs"
# What has disks open that it only watches, by program and name: udev looks into each new disk for a moment, and
# multipathd keeps the paths of its maps open, which tell of themselves. A tool may be the same program as udevd.
UDEV = ("systemd-udevd", "(udev-worker)", "udevd")
WATCHERS = {
    "/usr/lib/systemd/systemd-udevd": UDEV,
    "/lib/systemd/systemd-udevd": UDEV,
    "/usr/sbin/udevd": UDEV,
    "/sbin/udevd": UDEV,
    "/usr/sbin/multipathd": ("multipathd",),
    "/sbin/multipathd": ("multipathd",),
}
MULTIPATH = "mpath-"
# A map of a partition of a multipath map, which is removed together with that.
PART_OF_MAP = re.compile(r"part[0-9]+-mpath-")
# Seconds for dmsetup, which asks the kernel alone.
PATIENCE = 10.0


@dataclass(frozen=True)
class Map:
    """A multipath map: its name for its tools, its node by that name, and the kernel's, such as /dev/dm-0."""

    name: str
    path: str
    block: str


def of_disks(disks: Collection[str], characters: Collection[str] = (), probe: bool = True) -> list[Holder]:
    """The uses of these disks (/dev/sdb), with what is built on them, and of character nodes (/dev/sg3, /dev/nst0).

    All of them are taken to be removed together, which matters to the maps upon them. What cannot be told is a use
    too, without a pid. With ``probe`` a disk of which nothing else tells is opened for a moment, which would keep a
    mount out meanwhile.
    """
    names = [os.path.basename(disk) for disk in disks]
    return _uses(names, _spared(names), characters, [*disks, *characters][:1], probe)


def of_each(units: Mapping[str, tuple[str | None, Collection[str]]], probe: bool = True) -> dict[str, list[Holder]]:
    """The uses of several units, each with its disk, if it has one, and its character nodes; as of_disks() of all.

    Whatever their number, the processes are looked at once.
    """
    names = [os.path.basename(disk) for disk, _own in units.values() if disk is not None]
    spared = _spared(names)
    nodes_of = {key: [*_disk_nodes(disk, spared), *own] for key, (disk, own) in units.items()}
    characters = [node for _disk, own in units.values() for node in own]
    found = _uses(names, spared, characters, [own[0] for own in nodes_of.values() if own], probe)
    return {key: [use for use in found if use.node in own] for key, own in nodes_of.items()}


def _disk_nodes(disk: str | None, spared: Collection[str]) -> list[str]:
    tree = _tree(os.path.basename(disk), spared) if disk is not None else ()
    return [*dict.fromkeys(f"/dev/{name}" for name, _lower in tree)]


def _uses(
    disks: Collection[str], spared: Collection[str], characters: Collection[str], asked: Collection[str], probe: bool
) -> list[Holder]:
    """``spared`` are maps that are no business of ours, ``asked`` the nodes of which a doubt is told."""
    # A map may be built on several of the disks, and then uses each of them.
    built = [*dict.fromkeys(pair for disk in disks for pair in _tree(disk, spared))]
    blocks = [*dict.fromkeys(name for name, _lower in built)]
    if not blocks and not characters:
        return []
    direct = _direct(blocks, characters, asked)
    used = {use.node for use in direct}
    if probe:
        direct += [claim for name in blocks if _is_free(name, used) and (claim := _claim(f"/dev/{name}"))]
    idle = _idle(built, {use.node for use in direct})
    held = [Holder(f"/dev/{lower}", _called(name), "held by") for name, lower in built if lower and name not in idle]
    return held + direct


def _is_free(name: str, used: Collection[str]) -> bool:
    """Whether nothing has told of a use so far of a disk with its partitions, through all of which it is claimed."""
    return all(
        f"/dev/{each}" not in used and not sysfs.entries(f"{BLOCK}/{each}/holders") for each in (name, *_parts(name))
    )


def _direct(blocks: Collection[str], characters: Collection[str], asked: Collection[str]) -> list[Holder]:
    """What is on the blocks and the character nodes themselves, not on what is built on them."""
    wanted = {
        identity: f"/dev/{name}"
        for name in blocks
        for identity in nodes.of_device(name, stat.S_IFBLK, f"{BLOCK}/{name}")
    }
    mounts, unread = processes.mounts()
    places = dict.fromkeys((wanted.get(_numbered(each.number)), each.place) for each in mounts)
    found = [Holder(node, place, "mounted on") for node, place in places if node is not None]
    found += [Holder(node, "swap", "used for") for node in dict.fromkeys(_swaps(wanted)) if node in wanted.values()]
    found += [Holder(node, f"the loop device {loop}", "used by") for node, loop in _loops(wanted)]
    found += [Holder(f"/dev/{name}", f"the btrfs {system}", "part of") for system, name in _btrfs() if name in blocks]
    wanted.update((identity, node) for node in characters for identity in _character(node))
    look = processes.opened(wanted)
    found += [processes.holder(each) for each in look.opened if not processes.is_daemon(each.pid, WATCHERS)]
    doubt = look.doubt or unread
    if doubt is None:
        return found
    used = {use.node for use in found}
    return found + [Holder(node, doubt, "possibly used by") for node in asked if node not in used]


def _numbered(text: str) -> Identity:
    """A block device by its number as mountinfo has it; that of a file system without one is none."""
    return (stat.S_IFBLK, *(nodes.numbered(text) or (0, 0)))


def _character(node: str) -> set[Identity]:
    name = os.path.basename(node)
    folder = next((place for place in CHARACTERS if sysfs.exists(f"{place}/{name}")), CHARACTERS[0])
    return nodes.of_device(node.removeprefix("/dev/"), stat.S_IFCHR, f"{folder}/{name}")


def _tree(name: str, spared: Collection[str], lower: str | None = None) -> Iterator[tuple[str, str | None]]:
    """A disk, its partitions, and the maps and arrays on each, with what such a one is built on; without the spared."""
    yield name, lower
    for part in _parts(name):
        yield part, None
        yield from _built_on(part, spared)
    yield from _built_on(name, spared)


def _parts(name: str) -> list[str]:
    return [part for part in sysfs.names(f"{BLOCK}/{name}") if sysfs.exists(f"{BLOCK}/{name}/{part}/partition")]


def _built_on(name: str, spared: Collection[str]) -> Iterator[tuple[str, str | None]]:
    for holder in sysfs.names(f"{BLOCK}/{name}/holders"):
        if holder not in spared:
            yield from _tree(holder, spared, name)


def _idle(built: Collection[tuple[str, str | None]], used: Collection[str]) -> set[str]:
    """The multipath maps that nobody uses, with the maps of their partitions, of what is built on the disks."""
    upon: dict[str, set[str]] = {}
    for name, lower in built:
        if lower is not None:
            upon.setdefault(lower, set()).add(name)
    free = [name for name in dict.fromkeys(name for name, _lower in built) if f"/dev/{name}" not in used]
    parts = {name for name in free if PART_OF_MAP.match(_uuid(name)) and name not in upon}
    maps = {name for name in free if _is_multipath(name) and upon.get(name, set()) <= parts}
    return maps | {part for part in parts if any(part in upon[name] for name in maps & upon.keys())}


def _spared(disks: Collection[str]) -> set[str]:
    """The multipath maps on these disks that keep another path that works."""
    maps = {name for disk in disks for name in sysfs.names(f"{BLOCK}/{disk}/holders") if _is_multipath(name)}
    return {name for name in maps if _is_carried(name, {*paths_of(name)} - {*disks})}


def _is_carried(name: str, others: Collection[str]) -> bool:
    """Whether one of these paths of a map works, for the SCSI layer and for the map itself, as dmsetup tells."""
    running = [path for path in others if sysfs.read(f"{BLOCK}/{path}/device/state") == "running"]
    return bool({_number(path) for path in running} & _active_paths(name)) if running else False


def _active_paths(name: str) -> set[str | None]:
    """The numbers of a map's paths that have not failed, such as 8:16; none where dmsetup does not tell."""
    tool, number = programs.find("dmsetup"), nodes.number(f"{BLOCK}/{name}")
    if tool is None or number is None:
        return set()
    command = [tool, "status", "--noflush", "--major", str(number[0]), "--minor", str(number[1])]
    try:
        answer = programs.run(command, PATIENCE)
    except NodedevError:
        return set()
    words = answer.output.split() if answer.status == 0 else []
    return {word for word, state in zip(words, words[1:]) if nodes.NUMBER.fullmatch(word) and state == "A"}


def _number(name: str) -> str | None:
    return sysfs.read(f"{BLOCK}/{name}/dev")


def maps_of(disk: str) -> list[str]:
    """The multipath maps that a disk is a path of, by their names."""
    return [each.name for each in multipath(disk)]


def multipath(disk: str) -> list[Map]:
    """The multipath maps that a disk is a path of; there is one at most but while it is changed."""
    holders = sysfs.names(f"{BLOCK}/{os.path.basename(disk)}/holders")
    titles = {name: sysfs.read(f"{BLOCK}/{name}/dm/name") or name for name in holders if _is_multipath(name)}
    return [Map(title, f"{MAPPER}/{title}", f"/dev/{name}") for name, title in titles.items()]


def paths_of(block: str) -> list[str]:
    """The disks that are paths of a map now, by the kernel's names; a path that was removed may still be listed."""
    folder = f"{BLOCK}/{os.path.basename(block)}/slaves"
    return [path for path in sysfs.names(folder) if sysfs.exists(f"{folder}/{path}")]


def _is_multipath(name: str) -> bool:
    return _uuid(name).startswith(MULTIPATH)


def _uuid(name: str) -> str:
    return sysfs.read(f"{BLOCK}/{name}/dm/uuid") or ""


def _called(name: str) -> str:
    """A map or an array as its own tools call it."""
    title = sysfs.read(f"{BLOCK}/{name}/dm/name")
    if title is None:
        return f"the array {name}" if name.startswith("md") else name
    kind = {"mpath": "multipath map", "LVM": "logical volume", "CRYPT": "encrypted device"}.get(
        _uuid(name).split("-")[0], "map"
    )
    return f"the {kind} {title} ({name})"


def _swaps(wanted: Mapping[Identity, str]) -> Iterator[str]:
    """The nodes that are swapped to; a file that is swapped to is in a file system that is mounted."""
    try:
        with open(f"{processes.PROC}/swaps", "rb") as file:
            lines = file.read().decode("utf-8", "surrogateescape").split("\n")[1:]
    except FileNotFoundError:
        # A kernel without swap.
        return
    for line in lines:
        written, _space, rest = line.partition(" ")
        if rest.split()[:1] != ["partition"]:
            continue
        path = processes.unescaped(written).removesuffix(" (deleted)")
        try:
            node = wanted.get(nodes.of_path(path))
        except OSError:
            # Its node is gone, and only the name is left of it.
            node = f"/dev/{os.path.basename(os.path.realpath(path))}"
        if node is not None:
            yield node


def _loops(wanted: Mapping[Identity, str]) -> Iterator[tuple[str, str]]:
    """The loop devices that are upon a disk itself: no process has that open, and the disk does not name them."""
    for name in sysfs.names(BLOCK):
        backing = sysfs.read(f"{BLOCK}/{name}/loop/backing_file") if name.startswith("loop") else None
        if backing is None or not backing.startswith("/dev/"):
            continue
        try:
            node = wanted.get(nodes.of_path(backing))
        except OSError:
            continue
        if node is not None:
            yield node, f"/dev/{name}"


def _btrfs() -> Iterator[tuple[str, str]]:
    """The disks and partitions of each btrfs that is mounted, by its label, or else its UUID."""
    for system in sysfs.names(BTRFS):
        for name in sysfs.names(f"{BTRFS}/{system}/devices"):
            yield sysfs.read(f"{BTRFS}/{system}/label") or system, name


def _claim(node: str) -> Holder | None:
    """That something within the kernel has the disk for itself: it cannot be opened exclusively then (open(2))."""
    try:
        if not stat.S_ISBLK(os.stat(node).st_mode):
            return None
        os.close(os.open(node, os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        number = error.errno or errno.EIO
        if number == errno.EBUSY:
            return Holder(node, "the kernel", "claimed by")
        if number in (errno.EACCES, errno.EPERM):
            return Holder(
                node, f"the kernel, since it cannot be opened ({errno.errorcode[number]})", "possibly claimed by"
            )
    return None
