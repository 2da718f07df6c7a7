# SPDX-License-Identifier: GPL-3.0-or-later
"""Opens a mediated device through VFIO as a guest's QEMU does, and keeps it open. Arguments: its UUID and its group.

Follows the kernel's Documentation/driver-api/vfio.rst: a container, the group in it, its IOMMU type, then the device.
"""

import ctypes
import fcntl
import os
import struct
import sys
import time

# The numbers of linux/vfio.h: VFIO_TYPE is ';' and its calls are counted from 100.
SET_IOMMU, SET_CONTAINER, GET_DEVICE_FD = (ord(";") << 8 | 100 + number for number in (2, 4, 6))
TYPE1_IOMMU = 1

uuid, number = sys.argv[1:]
container = os.open("/dev/vfio/vfio", os.O_RDWR)
group = os.open(f"/dev/vfio/{number}", os.O_RDWR)
fcntl.ioctl(group, SET_CONTAINER, struct.pack("i", container))
fcntl.ioctl(container, SET_IOMMU, TYPE1_IOMMU)
# The return value is a descriptor, which fcntl.ioctl would give back only for a call with a number as its argument.
device = ctypes.CDLL(None, use_errno=True).ioctl(group, GET_DEVICE_FD, ctypes.create_string_buffer(uuid.encode()))
if device < 0:
    sys.exit(f"opening {uuid} failed with errno {ctypes.get_errno()}")
time.sleep(900)
