# SPDX-License-Identifier: GPL-3.0-or-later
"""The logical units that a SCSI host sees, with their disks: what a vHBA is there for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial

from . import disk_users, sysfs, udev_events
from .numbers import SECTOR, integer
from .oddities import Oddities
from .udev import Device

DEVICES = "/sys/bus/scsi/devices"
BY_PATH = "/dev/disk/by-path/"
BY_ID = "/dev/disk/by-id/"
# The SCSI types that the kernel's disk driver takes: disks, optical memory, and disks by reduced and by zone commands.
DISKS = ("0", "7", "14", "20")
# Where the first byte of a unit's answer has the qualifier of its type: but for 0 no driver of the kernel's takes it.
QUALIFIER = 5
# The classes of the other devices that a unit is to programs: a tape has several, for each way of moving it.
CHARACTERS = ("scsi_tape", "scsi_changer", "bsg")
# What udev's rules for multipath give a disk that is to be a path of a map.
PATH_OF_MAP = "DM_MULTIPATH_DEVICE_PATH"


@dataclass(frozen=True)
class Lun:
    """One unit; ``address`` is H:C:T:L, ``size`` is in bytes. What a disk has and a unit has not is None.

    ``by_path`` is None too where udev has no such name for it, or has given it to another unit: the name tells of the
    HBA, the remote port and the LUN's number, and of no vport. ``by_id`` is the same for all paths to a unit.
    ``multipath`` is the map that the disk is a path of; ``others`` are its nodes beside ``block`` and ``generic``.
    """

    address: str
    path: str
    block: str | None
    generic: str | None
    size: int | None
    by_path: str | None
    by_id: str | None = None
    multipath: disk_users.Map | None = None
    others: tuple[str, ...] = ()

    @property
    def characters(self) -> tuple[str, ...]:
        """Its character nodes, all by which a program may have it open beside ``block``."""
        return (*((self.generic,) if self.generic is not None else ()), *self.others)


def of_host(host: int) -> list[Lun]:
    """The units below this host, by their addresses; one that vanishes while it is read is none."""
    return [unit for address in _addresses(host) if (unit := _read(address)) is not None]


def readable(host: int, oddities: Oddities) -> list[Lun]:
    """The same but for those that cannot be read: that is told in ``oddities``."""
    addresses = oddities.attempt(partial(_addresses, host)) or []
    return [unit for address in addresses if (unit := oddities.attempt(partial(_read, address))) is not None]


def is_connected(unit: Lun) -> bool:
    """Whether anything is behind a unit: storage may answer for a LUN of which it has mapped none (SPC, INQUIRY)."""
    data = sysfs.whole(f"{unit.path}/inquiry", 1) if unit.block is None else None
    return not data or data[0] >> QUALIFIER == 0


def is_complete(unit: Lun) -> bool:
    """Whether a unit has the disk that it is to have, udev, where that runs, has dealt with it, and it is in its map.

    The kernel looks at a disk in the background, after the unit has appeared, and multipathd when udev has.
    """
    if unit.block is None:
        return sysfs.read(f"{unit.path}/type") not in DISKS or not is_connected(unit)
    if not os.path.exists(udev_events.CONTROL):
        return True
    name = os.path.basename(unit.block)
    disk = Device(f"{unit.path}/block/{name}", "block", name)
    return disk.is_recorded and (unit.multipath is not None or disk.record.properties.get(PATH_OF_MAP) != "1")


def _addresses(host: int) -> list[str]:
    return sorted((name for name in sysfs.entries(DEVICES) if name.startswith(f"{host}:")), key=_numbers)


def _numbers(address: str) -> tuple[int, ...]:
    return tuple(int(part) for part in address.split(":") if part.isdecimal())


def _read(address: str) -> Lun | None:
    path = sysfs.real(f"{DEVICES}/{address}")
    if path is None:
        return None
    block = next(iter(sysfs.names(f"{path}/block")), None)
    generic = next(iter(sysfs.names(f"{path}/scsi_generic")), None)
    links = [] if block is None else _links(f"{path}/block/{block}", block)
    sectors = None if block is None else integer(sysfs.read(f"{path}/block/{block}/size") or "", 10, bits=64)
    return Lun(
        address=address,
        path=path,
        block=None if block is None else f"/dev/{block}",
        generic=None if generic is None else f"/dev/{generic}",
        size=None if sectors is None else sectors * SECTOR,
        by_path=next((link for link in links if link.startswith(BY_PATH) and _leads(link) in (None, block)), None),
        by_id=next((link for link in links if link.startswith(BY_ID)), None),
        multipath=None if block is None else next(iter(disk_users.multipath(block)), None),
        others=tuple(node for kind in CHARACTERS for node in _nodes(f"{path}/{kind}")),
    )


def _nodes(folder: str) -> list[str]:
    return [f"/dev/{'bsg/' if folder.endswith('bsg') else ''}{name}" for name in sysfs.names(folder)]


def _links(path: str, block: str) -> list[str]:
    """The names in /dev that udev has for a disk, the one that tells of its World Wide Name first."""
    return sorted(Device(path, "block", block).links, key=lambda link: (f"{BY_ID}wwn-" not in link, link))


def _leads(link: str) -> str | None:
    """The disk that a name leads to now; None where udev has not made it, or not yet."""
    try:
        return os.path.basename(os.readlink(link))
    except OSError:
        return None
