# SPDX-License-Identifier: GPL-3.0-or-later
"""Which driver a device is bound to: by its driver_override, as driverctl and libvirt do it, and never by new_id.

A new_id is for all devices of an id; an override is for one. Follows the kernel's
Documentation/ABI/testing/sysfs-bus-pci (driver_override) and Documentation/driver-api/driver-model/binding.rst.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

from .. import programs
from ..errors import NodedevError
from ..plan import UNDO
from ..waiting import anew, wait_for
from . import sysfs
from .pci import override

# The text of an override that no driver matches: driverctl's word for a device without a driver.
NONE = "none"
# Seconds for modprobe, which waits for what a driver does when it is loaded.
LOADING = 60.0
# Seconds in which a driver that was asked shows that it has the device: it has answered by then.
SETTLING = 2.0
# How often a device is taken from a driver that comes to it again: one may have chosen it before the override was set.
ATTEMPTS = 5

OVERRIDE_MEANINGS = {errno.EINVAL: "the name is too long", errno.ENOENT: "devices of this bus have no override"}
# From Linux 6.19 a crypto queue has one while no mask of its bus is in use.
QUEUE_MEANINGS = {
    **OVERRIDE_MEANINGS,
    errno.EINVAL: "apmask or aqmask is not at its default, and the kernel takes no override meanwhile",
}
UNBIND_MEANINGS = {errno.ENODEV: "the device is not bound to this driver any more"}
PROBE_MEANINGS = {
    errno.EINVAL: "the driver does not take this device",
    errno.ENODEV: "no driver takes this device",
    errno.EBUSY: "the device is bound already",
}


@dataclass(frozen=True)
class Target:
    """A device of a bus, by the kernel's name, and its folder in sysfs."""

    bus: str
    address: str
    path: str

    @property
    def driver(self) -> str | None:
        return sysfs.link_name(f"{self.path}/driver")


def is_loaded(bus: str, driver: str) -> bool:
    return sysfs.exists(f"{sysfs.SYS}/bus/{bus}/drivers/{driver}")


def can_be_loaded(module: str) -> bool:
    """Whether modprobe would load a module of this name, which is not loaded for the answer."""
    tool = programs.find("modprobe")
    return tool is not None and programs.run([tool, "--dry-run", "--quiet", "--", module], LOADING).status == 0


def load(bus: str, driver: str) -> None:
    """Load the module of a driver; raises NodedevError where no driver of the name is there then."""
    _modprobe(driver)
    if not is_loaded(bus, driver):
        raise NodedevError(f"module {driver} was loaded, and has no driver {driver} for devices on {bus}")


def _modprobe(module: str) -> None:
    tool = programs.find("modprobe")
    if tool is None:
        raise NodedevError(f"module {module} cannot be loaded: modprobe is not installed")
    answer = programs.run([tool, "--", module], LOADING)
    if answer.status != 0:
        said = answer.errors.strip() or f"exit status {answer.status}"
        raise NodedevError(f"module {module} could not be loaded: {said}")


def bind(target: Target, driver: str, seconds: float) -> None:
    """Have the driver of this name, and no other, have the device; ``NONE`` is for no driver.

    The override is set, the device unbound, probed, and looked at. Raises NodedevError where the driver did not take
    it, with the device as it was.
    """
    former, before = target.driver, override(target.path)
    try:
        set_override(target, driver, seconds)
        _take(target, driver, seconds)
    except Exception as error:
        raise NodedevError(f"{error}; {_taken_back(target, before, former)}") from error
    except BaseException:
        # What ends the process goes on its way.
        _taken_back(target, before, former)
        raise


def _take(target: Target, driver: str, seconds: float) -> None:
    """Bind a device whose override is set: from here on no other driver chooses it.

    One whose module was just loaded may have chosen it before, and have it only after it was unbound. While such a one
    looks at the device, the kernel asks no other, and says that it has: it is told twice.
    """
    without = 0
    for _attempt in range(ATTEMPTS):
        if target.driver not in (None, driver):
            unbind(target, seconds)
        if driver not in (NONE, target.driver):
            probe(target, seconds)
        if _has(target, driver, seconds):
            return
        without += target.driver is None
        if without > 1:
            break
    raise _unlike(target, driver)


def give_back(target: Target, seconds: float) -> None:
    """Take the override away and have the kernel choose, whose driver is loaded where it is not.

    Raises NodedevError where the device cannot be taken from its driver, with the device as it was.
    """
    former, before = target.driver, override(target.path)
    try:
        set_override(target, None, seconds)
        if former is not None:
            unbind(target, seconds)
        _load_for(target)
        probe(target, seconds)
    except Exception as error:
        raise NodedevError(f"{error}; {_taken_back(target, before, former)}") from error
    except BaseException:
        # What ends the process goes on its way.
        _taken_back(target, before, former)
        raise


def _load_for(target: Target) -> None:
    """Load what takes such a device by itself, which nothing has asked for where it had an override from the first on.

    Without any such module the device stays without a driver, as before.
    """
    alias, tool = sysfs.read(f"{target.path}/modalias"), programs.find("modprobe")
    if alias and tool is not None:
        programs.run([tool, "--quiet", "--use-blacklist", "--", alias], LOADING)


def put_back(target: Target, before: str | None, former: str | None, seconds: float) -> None:
    """Have the override ``before`` and the driver ``former`` again; NodedevError where that driver does not take it."""
    if override(target.path) != before:
        set_override(target, before, seconds)
    if target.driver == former:
        return
    if target.driver is not None:
        unbind(target, seconds)
    if former is not None:
        try:
            _bind(target, former, seconds)
        except sysfs.SysfsError as error:
            if error.errno != errno.ENODEV or before is not None:
                raise
            # Of a virtual function, if sriov_drivers_autoprobe is 0; with an override the kernel does it all the same.
            set_override(target, former, seconds)
            try:
                _bind(target, former, seconds)
            finally:
                set_override(target, None, seconds)
        if not _has(target, former, seconds):
            raise _unlike(target, former)


def _bind(target: Target, driver: str, seconds: float) -> None:
    path = f"{sysfs.SYS}/bus/{target.bus}/drivers/{driver}/bind"
    sysfs.write(path, f"{target.address}\n", seconds, PROBE_MEANINGS)


def _taken_back(target: Target, before: str | None, former: str | None) -> str:
    """What came of having it as it was, in words."""
    with anew(UNDO):
        try:
            if not sysfs.exists(target.path):
                return "the device is gone"
            put_back(target, before, former, UNDO)
        except NodedevError as error:
            return f"it could not be put back: {error}"
    return f"it is {'without a driver' if former is None else f'bound to {former}'} again"


def set_override(target: Target, driver: str | None, seconds: float) -> None:
    """Write the override; None clears it, by the empty line that the kernel wants for that."""
    meanings = QUEUE_MEANINGS if target.bus == "ap" else OVERRIDE_MEANINGS
    sysfs.write(f"{target.path}/driver_override", f"{driver or ''}\n", seconds, meanings)


def unbind(target: Target, seconds: float) -> None:
    """Take the device from its driver.

    That may have left it by itself, since one that looks at a device shows as its driver, and may look again; or
    driverctl has taken the device from it at the same time, which it does at boot.
    """
    holding = target.driver
    for attempt in range(ATTEMPTS):
        try:
            sysfs.write(f"{target.path}/driver/unbind", f"{target.address}\n", seconds, UNBIND_MEANINGS)
            return
        except sysfs.SysfsError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):
                raise
            if holding is None or wait_for(lambda: target.driver != holding, SETTLING / ATTEMPTS):
                return
            if attempt == ATTEMPTS - 1:
                raise


def probe(target: Target, seconds: float) -> None:
    """Have the kernel look for a driver of the device, which has none."""
    sysfs.write(f"{sysfs.SYS}/bus/{target.bus}/drivers_probe", f"{target.address}\n", seconds, PROBE_MEANINGS)


def _has(target: Target, driver: str, seconds: float) -> bool:
    """Whether the device has this driver, or for ``NONE`` none, which may take a moment where others deal with it."""
    return wait_for(lambda: (target.driver or NONE) == driver, min(seconds, SETTLING))


def _unlike(target: Target, driver: str) -> NodedevError:
    found = target.driver
    has = f"is bound to {found}" if found else "has no driver"
    wanted = "without one" if driver == NONE else driver
    return NodedevError(f"{target.path}/driver: the device {has}, and not {wanted}: look at the kernel log")
