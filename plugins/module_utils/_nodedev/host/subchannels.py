# SPDX-License-Identifier: GPL-3.0-or-later
"""The subchannels of a mainframe and the CCW devices on them.

Follows the kernel's Documentation/arch/s390/driver-model.rst. A device is gone while its subchannel is bound to
vfio_ccw, and the subchannel says in dev_busid which one it is.
"""

from __future__ import annotations

import os

from . import sysfs

DEVICES = "/sys/bus/css/devices"
CCW = "/sys/bus/ccw/devices"


def of_device(address: str) -> str | None:
    """The name of the subchannel of a CCW device, such as 0.0.0013; None where there is none."""
    path = sysfs.target(f"{CCW}/{address}")
    if path is not None:
        return os.path.basename(os.path.dirname(path))
    return next((each for each in sysfs.names(DEVICES) if sysfs.read(f"{DEVICES}/{each}/dev_busid") == address), None)
