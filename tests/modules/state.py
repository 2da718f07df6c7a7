# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on a simulated host: tells all that a module may change, to be compared with itself (Host.state())."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator

# What these say, of parents, mediated devices, functions, vGPUs and crypto queues. The number of functions is none of
# them: to read it is to wait for a driver at work.
CONTENTS = (
    "/sys/class/mdev_bus/*/mdev_supported_types/*/available_instances",
    "/sys/bus/mdev/devices/*/matrix",
    "/sys/bus/mdev/devices/*/control_domains",
    "/sys/bus/pci/devices/*/sriov_drivers_autoprobe",
    "/sys/bus/*/devices/*/driver_override",
    "/sys/bus/pci/devices/*/nvidia/[cvp]*",
    "/sys/bus/ap/ap?mask",
)
# What is there, and where it leads.
LINKS = ("/sys/bus/mdev/devices/*", "/sys/bus/mdev/devices/*/mdev_type", "/sys/bus/pci/devices/*/virtfn*")
# By their names alone: a disk that comes back is on a SCSI host with another number.
DISKS = "/sys/block/*"
# Below these, which devices have which driver.
DRIVERS = ("/sys/bus/pci/drivers", "/sys/bus/css/drivers", "/sys/bus/ap/drivers", "/sys/class/mdev_bus/matrix/")
PORT = ("port_name", "node_name", "npiv_vports_inuse")
KEPT = (
    "/etc/mdevctl.d",
    "/etc/udev/rules.d",
    "/run/lock",
    "/etc/driverctl.d",
    "/etc/nodedev.d",
    "/run/nodedev.d",
)


def content(path: str) -> bytes | None:
    """What is in a file; None where that cannot be read."""
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError:
        return None


def target(path: str) -> str | None:
    """Where a link leads; None for what is none."""
    try:
        return os.readlink(path)
    except OSError:
        return None


def below(folder: str) -> Iterator[str]:
    """The files and links below a folder."""
    for path, folders, files in os.walk(folder):
        yield from (os.path.join(path, name) for name in files)
        # Links to folders are among these.
        yield from filter(os.path.islink, (os.path.join(path, name) for name in folders))


def ports() -> Iterator[list[bytes | None]]:
    """Of each port its names, without the number of its host: one that is made again has another."""
    for port in glob.glob("/sys/class/fc_host/*"):
        yield [content(f"{port}/{file}") for file in PORT]
    for path in glob.glob("/sys/class/fc_vports/*/vport_state"):
        yield [content(path)]


def state() -> Iterator[object]:
    for pattern in CONTENTS:
        yield from ((path, content(path)) for path in glob.glob(pattern))
    for pattern in LINKS:
        yield from ((path, target(path)) for path in glob.glob(pattern))
    yield from glob.glob(DISKS)
    yield from ports()
    for folder in DRIVERS:
        yield from (path for path in below(folder) if os.path.islink(path))
    for folder in KEPT:
        yield from ((path, content(path)) for path in below(folder) if not os.path.islink(path))


if __name__ == "__main__":
    print(*sorted(map(repr, state())), sep="\n")
