# SPDX-License-Identifier: GPL-3.0-or-later
"""The groups of the IOMMU, which a guest gets whole, and what switches an IOMMU on.

Follows the kernel's Documentation/ABI/testing/sysfs-kernel-iommu_groups.
"""

from __future__ import annotations

from . import sysfs

GROUPS = "/sys/kernel/iommu_groups"
CPUINFO = "/proc/cpuinfo"
# Bytes of the first processor, which tells its vendor.
FIRST = 4096
FIRMWARE = "switch the IOMMU on in the firmware"
# What the kernel wants besides, by the vendor of the processor: Intel's is off by default in many kernels.
ARGUMENTS = {
    "GenuineIntel": f"{FIRMWARE} (VT-d), and by intel_iommu=on among the kernel's arguments",
    "AuthenticAMD": f"{FIRMWARE} (AMD-Vi), and have no amd_iommu=off among the kernel's arguments",
}


def members(group: str) -> tuple[str, ...]:
    """The names of all devices of a group, sorted."""
    return tuple(sysfs.names(f"{GROUPS}/{group}/devices"))


def advice() -> str:
    """What to do on this host, which has no IOMMU group for a device."""
    text = (sysfs.content(CPUINFO, FIRST) or b"").decode("ascii", "replace")
    return next((advice for vendor, advice in ARGUMENTS.items() if vendor in text), FIRMWARE)
