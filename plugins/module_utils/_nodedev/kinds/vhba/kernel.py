# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel is asked for one vHBA: to make its vport, to remove its LUNs, to delete the vport.

Follows the kernel's Documentation/scsi/scsi_fc_transport.rst. Each function waits until the kernel is done, for so many
seconds at most, and raises SysfsError where the kernel refuses.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Collection, Sequence

from ... import programs
from ...errors import BadInput, InUse, NodedevError, NoRoom
from ...host import disk_users, fc_port, lun, sysfs, udev_events
from ...host.fc_port import Port
from ...host.lun import Lun
from ...plan import UNDO
from ...text import shown
from ...waiting import anew, wait_for

# More units than one SCSI host shows.
MOST_LUNS = 65536
# What vport_create answers. The kernel's scsi_transport_fc.h has codes for drivers; libfc gives EINVAL for a WWPN that
# is on the HBA already.
CREATE_MEANINGS = {
    errno.EINVAL: "the driver does not take these names: one of its ports has the WWPN already",
    errno.EEXIST: "the HBA has a vport of these names already",
    errno.ENOSPC: "the HBA has no vport left",
    errno.ENODEV: "the HBA's link is down, or it is being removed",
    errno.EIO: "the HBA refuses: look at the kernel log",
    errno.EPERM: "the HBA is in a topology without NPIV, or root is needed",
    errno.ENOENT: "the driver makes no vports",
    errno.ENOTUNIQ: "the driver does not take these names: they are not valid or not unique",
    errno.ENOSYS: "the driver or the adapter has no NPIV",
    errno.EOPNOTSUPP: "the fabric has no NPIV, or the port is in a loop",
}
# By driver, where it has codes of its own: lpfc returns its numbers 1 to 4 (lpfc_vport.h), which are read as an errno.
DRIVERS_CREATE_MEANINGS = {
    "lpfc": {
        errno.EPERM: "lpfc failed to make it: look at the kernel log",
        errno.ENOENT: "NPIV is off in lpfc (lpfc_enable_npiv), or these names are not valid or not unique on the HBA",
        errno.ESRCH: "lpfc has no memory left",
        errno.EINTR: "the HBA has no resources left for another vport",
    }
}
# By driver, what says that the HBA is full.
FULL = {"lpfc": (errno.ENOSPC, errno.EINTR)}
DELETE_MEANINGS = {
    errno.ENODEV: "the HBA has no vport of these names",
    errno.ENOENT: "the driver deletes no vports",
    errno.EBUSY: "the vport is being made or deleted already",
    errno.EPERM: "the driver keeps it: a vport that the adapter's firmware made, or root is needed",
}
REMOVE_MEANINGS = {errno.EBUSY: "the unit is in use"}
# Seconds for a tool that may wait for a path that is dead, and from one try to the next.
PATIENCE = 60.0
PAUSE = 1.0


def find(wwnn: str, wwpn: str) -> Port | None:
    """The vHBA of these names; None where there is none."""
    return next((port for port in fc_port.ports() if port.vport and (port.wwnn, port.wwpn) == (wwnn, wwpn)), None)


def make(hba: Port, wwnn: str, wwpn: str, seconds: float, require_active: bool) -> None:
    """Make the vport and wait until its SCSI host is there and, if required, logged in to the fabric.

    One that does not come that far is deleted again, and a NodedevError says what it lacks. NoRoom for a full HBA.
    """
    driver = sysfs.read(f"{fc_port.SCSI_HOSTS}/host{hba.host}/proc_name") or ""
    meanings = {**CREATE_MEANINGS, **DRIVERS_CREATE_MEANINGS.get(driver, {})}
    try:
        # The kernel's order: the port's name comes first.
        sysfs.write(f"{hba.vport_folder}/vport_create", f"{wwpn}:{wwnn}", seconds, meanings)
    except sysfs.SysfsError as error:
        if error.errno in FULL.get(driver, (errno.ENOSPC,)):
            raise NoRoom(wwpn, hba.name, str(error)) from error
        raise
    except sysfs.NoAnswer as error:
        raise NodedevError(f"{error}; {_taken_back(hba, wwnn, wwpn)}") from error
    try:
        lacking = _lacking(wwnn, wwpn, seconds, require_active)
    except Exception as error:
        lacking = f"does not tell its state ({error})"
    if lacking is not None:
        raise NodedevError(f"vHBA {wwpn} on {hba.name} {lacking}; {_taken_back(hba, wwnn, wwpn)}")


def _taken_back(hba: Port, wwnn: str, wwpn: str) -> str:
    """Delete the vport of a vHBA that lacks something; what came of it in words."""
    with anew(UNDO):
        try:
            deleted = _delete(hba, wwnn, wwpn, UNDO)
            # The kernel takes the host away after it has answered.
            gone = deleted and wait_for(lambda: find(wwnn, wwpn) is None, UNDO)
        except NodedevError as error:
            if isinstance(error, sysfs.SysfsError) and error.errno == errno.ENODEV:
                return "no such vHBA has appeared"
            return f"it could not be deleted again: {error}"
    return "it was deleted again" if gone else "the kernel still deletes it"


def _lacking(wwnn: str, wwpn: str, seconds: float, require_active: bool) -> str | None:
    """What the vHBA lacks after so many seconds, or once the fabric has turned it away; None when it is complete."""
    state: list[str | None] = [None]

    def decided() -> bool:
        port = find(wwnn, wwpn)
        if port is None:
            return False
        state[0] = port.vport_state
        return not require_active or state[0] == fc_port.ACTIVE or state[0] in fc_port.REFUSED

    if not wait_for(decided, seconds):
        if state[0] is None:
            return f"has no SCSI host after {seconds:g} s"
        return f"is not active after {seconds:g} s but {state[0]!r}"
    if require_active and state[0] != fc_port.ACTIVE:
        return f"was turned away: its vport_state is {state[0]!r}"
    return None


def remove_lun(unit: Lun, seconds: float, going: Collection[str] = (), force: bool = False) -> None:
    """Take a unit away in good order: what was written to it reaches it, its multipath map goes, then the unit.

    ``going`` are all the disks that are being removed: a map goes with the first of its paths if it has no other path
    than these, and stays if it has. Raises InUse where a map is used that was not, unless ``force``; then it stays, and
    its path fails with the unit. Nor is it done, without ``force``, while udev still looks into new disks: a read that
    is under way then can harm the kernel, as was seen with fcoe.
    """
    if not udev_events.settle(seconds) and not force:
        raise NodedevError(
            f"udev still deals with events after {seconds:g} s ({udev_events.QUEUE}), and may be reading the disk:"
            " look at its journal, or set force: true to take the disk away all the same"
        )
    if unit.block is not None:
        # To flush it through a handle for writing would make udev look into it once more.
        _ask("blockdev", "--flushbufs", unit.block)
        own = {os.path.basename(disk) for disk in (*going, unit.block)}
        for each in disk_users.multipath(unit.block):
            if own.issuperset(disk_users.paths_of(each.block)):
                _flush(unit.block, each, seconds, force)
    try:
        sysfs.write(f"{unit.path}/delete", "1", seconds, REMOVE_MEANINGS)
    except sysfs.SysfsError as error:
        if error.errno not in sysfs.GONE:
            raise


def _flush(disk: str, each: disk_users.Map, seconds: float, force: bool) -> None:
    """Have a map removed, again and again while nobody is seen to use it: udev or multipathd may have it open."""
    answers = [""]

    def gone(pause: float) -> bool:
        answer = _ask("multipath", "-f", each.name)
        if answer is not None:
            answers[0] = shown(answer.errors.strip() or answer.output.strip())
        return wait_for(lambda: each not in disk_users.multipath(disk), pause)

    if programs.find("multipath") is None or gone(0):
        return
    uses = disk_users.of_disks([each.block])
    if uses and not force:
        raise InUse(f"the multipath map {shown(each.name)} is in use now: {', '.join(map(str, uses))}")
    if not uses and not wait_for(lambda: gone(PAUSE), seconds) and not force:
        raise NodedevError(
            f"the multipath map {shown(each.name)} is still there after {seconds:g} s of multipath -f ({answers[0]}),"
            " although nobody is seen to use it: remove it, or set force: true to take its paths away all the same"
        )


def _ask(tool: str, *arguments: str) -> programs.Answer | None:
    """Run a tool where it is installed, for PATIENCE seconds at most; what it does not get done is left.

    None where there is no such tool, or no answer: it may wait for a path that is dead.
    """
    command = programs.find(tool)
    if command is None:
        return None
    try:
        return programs.run([command, *arguments], PATIENCE)
    except NodedevError:
        return None


def delete(wwnn: str, wwpn: str, seconds: float) -> None:
    """Delete the vHBA and wait until its host is gone; gone already is no error."""
    port = find(wwnn, wwpn)
    hba = None if port is None or port.parent is None else fc_port.read(port.parent)
    if port is None or hba is None:
        return
    if not _delete(hba, wwnn, wwpn, seconds):
        raise NodedevError(f"the kernel still deletes vHBA {wwpn} of {hba.name} after {seconds:g} s, and will end it")
    gone = wait_for(lambda: find(wwnn, wwpn) is None and not sysfs.exists(f"{fc_port.VPORTS}/{port.vport}"), seconds)
    if not gone:
        raise NodedevError(f"{port.path} is still there {seconds:g} s after its vport was deleted")


def _delete(hba: Port, wwnn: str, wwpn: str, seconds: float) -> bool:
    """Whether the kernel has deleted it; False where it still does after so many seconds."""
    try:
        sysfs.write(f"{hba.vport_folder}/vport_delete", f"{wwpn}:{wwnn}", seconds, DELETE_MEANINGS)
    except sysfs.NoAnswer:
        return False
    return True


def rescan(host: int, seconds: float) -> None:
    """Have the host look for units anew, on all channels, targets and LUNs."""
    sysfs.write(f"{fc_port.SCSI_HOSTS}/host{host}/scan", "- - -", seconds)


def checked_luns(value: int) -> int:
    """How many units to wait for; BadInput for what no SCSI host shows."""
    if not 0 <= value <= MOST_LUNS:
        raise BadInput("wait_luns", value, f"a number from 0 to {MOST_LUNS}")
    return value


def awaited_luns(vhbas: Sequence[Port], count: int, looking: bool, seconds: float) -> list[tuple[Lun, ...]]:
    """The units of each of these vHBAs once it has so many; with ``looking`` they are looked for anew first.

    Raises NodedevError where fewer come in time. The vHBAs stay: they have to be there to be given some.
    """
    if looking:
        for port in vhbas:
            rescan(port.host, seconds)
    end = time.monotonic() + seconds
    found = [(port, luns_after(port.host, count, max(end - time.monotonic(), 0.0))) for port in vhbas]
    for port, luns in found:
        connected = sum(map(lun.is_connected, luns))
        if connected < count:
            raise NodedevError(
                f"vHBA {port.wwpn} ({port.name}) is there, but has {connected} LUNs after {seconds:g} s instead of"
                f" {count}, from {len(fc_port.targets(port.host))} targets: look at the zoning and at the storage's"
                " initiators"
            )
    return [tuple(luns) for _port, luns in found]


def luns_after(host: int, count: int, seconds: float) -> list[Lun]:
    """The units of a host once it has so many, with their disks and links, or those it has after so many seconds."""

    def complete() -> bool:
        found = lun.of_host(host)
        return sum(map(lun.is_connected, found)) >= count and all(map(lun.is_complete, found))

    wait_for(complete, seconds)
    return lun.of_host(host)
