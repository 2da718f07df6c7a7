# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel is asked for one mediated device: to create it, to set its attributes, to remove it.

Follows the kernel's Documentation/driver-api/vfio-mediated-device.rst. Each function waits until the kernel is done,
for so many seconds at most, and raises SysfsError where the kernel refuses.
"""

from __future__ import annotations

import errno

from ...errors import InUse, NodedevError, NoRoom
from ...host import mdev_parents, mdevs, subchannels, sysfs
from ...names import called
from ...plan import UNDO
from ...store.mdevctl import Definition
from ...waiting import anew, wait_for

# What the kernel's create file answers; EIO and EINVAL come from the vendor's driver.
CREATE_MEANINGS = {
    errno.EEXIST: "a device with this UUID exists already, on this parent or another",
    errno.ENOSPC: "no instance of this type is left on this parent",
    errno.EUSERS: "no instance of this type is left on this parent",
    errno.EINVAL: "the driver refuses this type now, as where other instances on the same card leave no room for it",
    errno.EIO: "the vendor's driver failed: look at the kernel log and at the vendor's services",
    errno.EBUSY: "the parent is in use in another way",
}
# The same of vfio_ccw and of the core for it; kernels before 6.1 have EPERM for EUSERS there.
ONE = "a subchannel carries one mediated device, and this one has it already: use that, or remove it first"
CHANNEL_MEANINGS = {
    **CREATE_MEANINGS,
    errno.EUSERS: ONE,
    errno.EPERM: ONE,
    errno.EINVAL: "vfio_ccw does not take the subchannel as it is now: the kernel log says more",
    errno.ENODEV: "the subchannel does not work, or is being taken from vfio_ccw: lscss and the kernel log say more",
}
FULL = (errno.ENOSPC, errno.EUSERS)
REMOVE_MEANINGS = {errno.EBUSY: "the device is in use", errno.EAGAIN: "a removal is under way already"}
ATTRIBUTE_MEANINGS = {
    errno.ENOENT: "devices of this type have no such attribute",
    errno.EACCES: "the attribute cannot be written",
    errno.EINVAL: "the driver does not take this value",
    errno.EADDRNOTAVAIL: "the queue still belongs to the host (apmask, aqmask)",
    errno.EADDRINUSE: "the queue belongs to another device",
    errno.EBUSY: "the driver is busy with it; or a crypto queue is another device's, or its bus is being changed",
}


def make(target: Definition, seconds: float) -> None:
    """Create the device and wait until the VFIO driver has it.

    Raises NoRoom where the parent has no instance left now, whatever it said before: on many cards another's device,
    or this run's own before it, takes the room, and not every driver has an errno of its own for that. A device that
    does not become complete is removed again, and a NodedevError says what it lacks.
    """
    folder = f"{mdev_parents.BUS}/{target.parent}/mdev_supported_types/{target.type}"
    try:
        meanings = CHANNEL_MEANINGS if target.type.startswith(subchannels.VFIO) else CREATE_MEANINGS
        sysfs.write(f"{folder}/create", target.uuid, seconds, meanings)
    except sysfs.SysfsError as error:
        if error.errno in FULL:
            raise NoRoom(target.uuid, called(target.parent), str(error)) from error
        if error.errno != errno.EEXIST and _is_full(folder):
            raise NoRoom(target.uuid, called(target.parent), f"{error}; {folder}/available_instances is 0") from error
        raise
    except sysfs.NoAnswer as error:
        raise NodedevError(f"{error}; {_taken_back(target.uuid)}") from error
    _await(target, seconds)


def _is_full(folder: str) -> bool:
    """Whether the parent says now that no instance of the type in this folder is left."""
    try:
        return sysfs.read(f"{folder}/available_instances") == "0"
    except sysfs.SysfsError:
        return False


def _await(target: Definition, seconds: float) -> None:
    try:
        if wait_for(lambda: mdevs.lacking(target.uuid) is None, seconds):
            return
        lacking = mdevs.lacking(target.uuid)
    except Exception as error:
        raise NodedevError(f"{mdevs.BUS}/{target.uuid} cannot be read: {error}; {_taken_back(target.uuid)}") from error
    except BaseException:
        # What ends the process goes on its way.
        _taken_back(target.uuid)
        raise
    if lacking is not None:
        what = f"{mdevs.BUS}/{target.uuid} has not got {lacking} after {seconds:g} s"
        raise NodedevError(f"{what}; {_taken_back(target.uuid)}")


def _taken_back(uuid: str) -> str:
    """Remove a device that was not made as it should be; what came of it in words."""
    with anew(UNDO):
        try:
            if not sysfs.exists(f"{mdevs.BUS}/{uuid}"):
                return "no such device has appeared"
            remove(uuid, UNDO)
        except NodedevError as error:
            return f"it could not be removed again: {error}"
    return "it was removed again"


def set_attribute(uuid: str, name: str, value: str, seconds: float) -> None:
    """Write an attribute, named by its path below the device, as a line: some drivers drop its last character.

    Raises NodedevError where the name leads out of the device, as the kernel's links do.
    """
    path = mdevs.own_file(uuid, name)
    if path is None:
        raise NodedevError(f"{mdevs.BUS}/{uuid}/{name} is not a file of the device itself; nothing was written to it")
    if not value:
        # Others may define an empty value. Of it the kernel hears nothing, as with mdevctl, but the file must be there.
        if not sysfs.exists(path):
            raise NodedevError(f"{path} is not there: {ATTRIBUTE_MEANINGS[errno.ENOENT]}")
        return
    sysfs.write(path, value if value.endswith("\n") else f"{value}\n", seconds, ATTRIBUTE_MEANINGS)


def remove(uuid: str, seconds: float) -> None:
    """Remove the device; gone already is no error.

    Raises InUse when its users have not let go after ``seconds``: the removal cannot be called off then.
    """
    # The kernel takes the link away at once, but the folder only when the last user has let go.
    path = sysfs.real(f"{mdevs.BUS}/{uuid}")
    if path is None:
        return
    if not _removed(path, seconds):
        raise InUse(f"the kernel still waits for the users of {path} after {seconds:g} s, and ends it when they let go")
    if not wait_for(lambda: not sysfs.exists(path), seconds):
        raise NodedevError(f"{path} is still there {seconds:g} s after its removal")


def _removed(path: str, seconds: float) -> bool:
    try:
        sysfs.write(f"{path}/remove", "1", seconds, REMOVE_MEANINGS)
    except sysfs.NoAnswer:
        return False
    except sysfs.SysfsError as error:
        if error.errno not in sysfs.GONE:
            raise
    return True
