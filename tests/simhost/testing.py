# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the simulated host share."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from simhost import SimHost

UUIDS = [f"{number:08x}-1111-4222-8333-444455556666" for number in range(64)]
CARD = "/sys/class/mdev_bus/0000:3d:00.0"
OTHER = "/sys/class/mdev_bus/0000:af:00.0"
MDEVS = "/sys/bus/mdev/devices"


def types(parent: str, type_id: str, name: str) -> str:
    """The path of a file of a type."""
    return f"{parent}/mdev_supported_types/{type_id}/{name}"


def available(host: SimHost, parent: str, type_id: str) -> int:
    """The free instances of a type, read from its file."""
    return int(host.read(types(parent, type_id, "available_instances")))


def create(host: SimHost, parent: str, type_id: str, uuid: str) -> None:
    """Make a mediated device; OSError as the driver gives it."""
    host.write(types(parent, type_id, "create"), uuid)


def refused(action: Callable[..., Any], *arguments: Any) -> int | None:
    """The errno with which an operation fails; AssertionError if it does not."""
    try:
        action(*arguments)
    except OSError as error:
        return error.errno
    raise AssertionError(f"{action} with {arguments} was not refused")


def eventually(check: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait until `check` is true; AssertionError after `seconds`."""
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.01)
