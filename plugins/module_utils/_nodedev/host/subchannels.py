# SPDX-License-Identifier: GPL-3.0-or-later
"""The subchannels of a mainframe and the CCW devices on them.

Follows the kernel's Documentation/arch/s390/driver-model.rst. A device is gone while its subchannel is bound to
vfio_ccw, and the subchannel says in dev_busid which one it is.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..errors import NodedevError
from ..grammar import SUBCHANNEL, channels
from ..names import called, device_name
from ..text import shown
from ..waiting import wait_for
from . import sysfs

DEVICES = "/sys/bus/css/devices"
CCW = "/sys/bus/ccw/devices"
# The driver by which a host has the devices on its subchannels itself.
HOSTS = "io_subchannel"
# The driver that gives subchannels to guests, and the type of those that it takes: I/O subchannels.
VFIO, IO = "vfio_ccw", "0"
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
            # Whatever is not offline for certain is set so.
            return Device(name, f"{path}/{name}", online != "0", group)
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


def by_device() -> dict[str, str]:
    """The names of all subchannels by those of their CCW devices, whoever has them."""
    found = {each: sysfs.read(f"{DEVICES}/{each}/dev_busid") for each in sysfs.names(DEVICES)}
    return {device: each for each, device in found.items() if device is not None}


def of_device(address: str, every: Callable[[], Mapping[str, str]] = by_device) -> str | None:
    """The name of the subchannel of a CCW device, such as 0.0.0013; None where there is none.

    ``every`` is asked for all, as by_device() tells them, where the device is not there itself: a VFIO driver has it.
    """
    path = sysfs.target(f"{CCW}/{address}")
    above = None if path is None else os.path.basename(os.path.dirname(path))
    # A device whose subchannel is lost is kept in a folder of its own, called defunct.
    return above if above is not None and SUBCHANNEL.fullmatch(above) else every().get(address)


def meant(asked: str, every: Callable[[], Mapping[str, str]] = by_device) -> dict[str, str]:
    """The subchannels that a person may mean by a name or number of one, or of its device, and that are there.

    By the bus whose name it is then, the subchannel's own first: css, ccw. Both only where they are different ones.
    """
    names = channels(asked)
    own = names.get("css")
    found = {"css": own} if own is not None and sysfs.exists(f"{DEVICES}/{own}") else {}
    behind = of_device(names["ccw"], every) if "ccw" in names else None
    return found if behind is None or behind in found.values() else {**found, "ccw": behind}


def doubt(found: Mapping[str, str]) -> str | None:
    """What to say where meant() has found two subchannels; None where it has not."""
    if len(found) < 2:
        return None
    own, behind = found["css"], found["ccw"]
    return (
        f"it is a subchannel, and also the number of the device on {called(behind)}: name {device_name('css', own)} or"
        f" {device_name('ccw', own)}"
    )


def why_no_parent(asked: str) -> str | None:
    """Why a channel that is asked for is not a parent of mediated devices; None where nothing of it tells that."""
    found = meant(asked)
    if len(found) != 1:
        return doubt(found)
    address = next(iter(found.values()))
    path = f"{DEVICES}/{address}"
    kind = sysfs.read(f"{path}/type")
    if kind not in (None, IO):
        return f"its subchannel {called(address)} is of type {shown(kind)}, and vfio_ccw takes those of type 0 alone"
    driver = sysfs.link_name(f"{path}/driver")
    if driver == VFIO:
        return None
    bound = f"bound to {driver}" if driver else "without a driver"
    return (
        f"its subchannel {called(address)} is {bound}: have it bound to vfio_ccw first, by the module"
        f" hostdev.nodedev.driver with device: {device_name('css', address)} and driver: vfio_ccw"
    )
