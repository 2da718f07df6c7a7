# SPDX-License-Identifier: GPL-3.0-or-later
"""What a subchannel of an s390x host's channel subsystem says of itself."""

from __future__ import annotations

from typing import Any

from ...errors import Dropped, Foreign
from ...host.udev import Device
from . import ccw, mdev_types

TYPE = "css"
# Those of devices that a guest may get; chsc, eadm and message subchannels are left out.
DRIVERS = ("io_subchannel", "vfio_ccw")


def read(device: Device) -> dict[str, Any]:
    """Its number, the device behind it and the types it offers; Dropped with another driver than libvirt's two."""
    driver = device.prop("DRIVER")
    if driver not in DRIVERS:
        raise Foreign(f"its driver is {driver or 'none'}, not {' or '.join(DRIVERS)}")
    own = ccw.address(device.sysname)
    if own is None:
        raise Dropped(f"its name {device.sysname!r} is no address of a channel subsystem")
    capability: dict[str, Any] = {"type": TYPE, **own}
    behind = ccw.address(device.sysattr("dev_busid") or "none")
    if behind is not None:
        capability["channel_dev_addr"] = behind
    nested = mdev_types.nested(device)
    return {**capability, "capability": nested} if nested else capability
