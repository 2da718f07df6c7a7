# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes of whose crypto queues are, by the masks of the bus or by overrides, under the lock of the s390-tools."""

from __future__ import annotations

import errno
from collections.abc import Iterable

from . import ap_lock, binding, sysfs
from .ap import BUS, NAME, VFIO_AP, Queue

MASK_MEANINGS = {
    errno.EBUSY: "a mediated device on the matrix has a queue that the host would get, or the bus is being changed",
    errno.EADDRINUSE: "a mediated device on the matrix has a queue that the host would get",
    errno.EINVAL: "queues have an override of their own, and the kernel takes no masks meanwhile",
}


def load() -> None:
    """Load vfio_ap; the matrix is there then."""
    binding.load(NAME, VFIO_AP)


def set_mask(file: str, numbers: Iterable[int], hosts: bool, seconds: float) -> None:
    """Leave just these adapters or domains to the host, or guests, under the s390-tools' lock; else SysfsError."""
    sign = "+" if hosts else "-"
    text = ",".join(f"{sign}0x{number:02x}" for number in sorted(numbers))
    with ap_lock.held(seconds):
        sysfs.write(f"{BUS}/{file}", f"{text}\n", seconds, MASK_MEANINGS)


def give(queue: Queue, seconds: float) -> None:
    """Have vfio_ap have a queue by its override, under the same lock."""
    with ap_lock.held(seconds):
        binding.bind(queue.target, VFIO_AP, seconds)


def take_back(queue: Queue, seconds: float) -> None:
    """Have the kernel choose for a queue, which is the host's then."""
    with ap_lock.held(seconds):
        binding.give_back(queue.target, seconds)


def put_back(queue: Queue, seconds: float) -> None:
    """Have a queue as it was."""
    with ap_lock.held(seconds):
        binding.put_back(queue.target, queue.override, queue.driver, seconds)
