# SPDX-License-Identifier: GPL-3.0-or-later
"""The subchannels of a mainframe and the CCW devices on them.

Follows the kernel's Documentation/arch/s390/driver-model.rst. A device is gone while its subchannel is bound to
vfio_ccw, and the subchannel says in dev_busid which one it is.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from dataclasses import dataclass

from ..errors import NodedevError
from ..names import device_name
from ..waiting import wait_for
from . import sysfs

DEVICES = "/sys/bus/css/devices"
CCW = "/sys/bus/ccw/devices"
# libvirt's name of a device there.
CCW_NAME = re.compile(r"ccw_([0-9a-f]{1,2})_([0-9a-f])_([0-9a-f]{4})")
# The driver by which a host has the devices on its subchannels itself.
HOSTS = "io_subchannel"
# Whoever writes there is kept until the kernel is through with its work on channels (Documentation/arch/s390,
# common_io.rst). A subchannel that is unbound before has crashed kernels.
SETTLE = "/proc/cio_settle"
ONLINE_MEANINGS = {
    errno.EBUSY: "the device is in use, or is being set online or offline at this moment",
    errno.ENODEV: "the device has no working path",
    errno.EINVAL: "the device has no driver, or that refuses",
    errno.EIO: "the device does not answer",
    errno.EUSERS: "another system has the device reserved",
}


@dataclass(frozen=True)
class Device:
    """A CCW device on a subchannel; ``group`` is the group of channels that it belongs to, None where it is in none."""

    name: str
    path: str
    online: bool
    group: str | None = None

    @property
    def called(self) -> str:
        return f"{device_name('ccw', self.name)} ({self.name})"


def device_on(path: str) -> Device | None:
    """The CCW device on the subchannel in this folder; None where the subchannel is not its host's, or has none."""
    for name in sysfs.names(path):
        online = sysfs.read(f"{path}/{name}/online")
        if online is not None:
            group = sysfs.link_name(f"{path}/{name}/group_device")
            return Device(name, f"{path}/{name}", online == "1", group)
    return None


def set_online(path: str, name: str, online: bool, seconds: float) -> None:
    """Set the CCW device of this name online, or offline, on the subchannel in this folder, where it may come first.

    Raises NodedevError where it has not come, or is not so afterwards.
    """
    if not await_device(path, name, seconds):
        raise NodedevError(f"{path}: the device {name} has not come back after {seconds:g} s")
    wanted = "1" if online else "0"
    file = f"{path}/{name}/online"
    if sysfs.read(file) == wanted:
        return
    sysfs.write(file, f"{wanted}\n", seconds, ONLINE_MEANINGS)
    if not wait_for(lambda: sysfs.read(file) == wanted, seconds):
        raise NodedevError(f"{file} is not {wanted} {seconds:g} s after that was written there")


def await_device(path: str, name: str, seconds: float) -> bool:
    """Wait until the CCW device of this name is on the subchannel in this folder, and the kernel through with it.

    Whether it has come: one that does not answer does not.
    """
    if not wait_for(lambda: sysfs.exists(f"{path}/{name}/online"), seconds):
        return False
    if os.path.exists(SETTLE):
        # What it waits for may be another device's, and then never ends.
        with contextlib.suppress(NodedevError):
            sysfs.write(SETTLE, "1\n", seconds)
    return True


def expected(path: str) -> str | None:
    """The CCW device that is on the subchannel in this folder while its host has it; None where there is none."""
    name = sysfs.read(f"{path}/dev_busid")
    return None if name in (None, "", "none") else name


def below(device: str) -> str | None:
    """The subchannel of the CCW device of this name or address; None where it is none, or is not there."""
    found = CCW_NAME.fullmatch(device)
    if found is None and not sysfs.exists(f"{CCW}/{device}"):
        return None
    return of_device(".".join(found.groups()) if found else device)


def of_device(address: str) -> str | None:
    """The name of the subchannel of a CCW device, such as 0.0.0013; None where there is none."""
    path = sysfs.target(f"{CCW}/{address}")
    if path is not None:
        return os.path.basename(os.path.dirname(path))
    return next((each for each in sysfs.names(DEVICES) if sysfs.read(f"{DEVICES}/{each}/dev_busid") == address), None)
