# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the simulated host share."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from typing import Any

import yaml

from simhost import SimHost
from simhost.scenario import FOLDER

UUIDS = [f"{number:08x}-1111-4222-8333-444455556666" for number in range(64)]
CARD = "/sys/class/mdev_bus/0000:3d:00.0"
OTHER = "/sys/class/mdev_bus/0000:af:00.0"
MDEVS = "/sys/bus/mdev/devices"
PORTS = "/sys/class/fc_host"
VPORTS = "/sys/class/fc_vports"
# Pairs (WWPN:WWNN) for vports in the scenario fc, which says what each of the first three sees.
PAIRS = [f"5001a4a0000000{number:02x}:5001a4a1000000{number:02x}" for number in range(0xA1, 0xB0)]
# Prints udev's events of a subsystem, each with the device's name and driver.
MONITOR = """
import sys, pyudev
monitor = pyudev.Monitor.from_netlink(pyudev.Context())
monitor.filter_by(sys.argv[1])
monitor.start()
print("listening", flush=True)
for device in iter(lambda: monitor.poll(5), None):
    print(device.action, device.sys_name, device.driver, flush=True)
"""


def types(parent: str, type_id: str, name: str) -> str:
    """The path of a file of a type."""
    return f"{parent}/mdev_supported_types/{type_id}/{name}"


def available(host: SimHost, parent: str, type_id: str) -> int:
    """The free instances of a type, read from its file."""
    return int(host.read(types(parent, type_id, "available_instances")))


def create(host: SimHost, parent: str, type_id: str, uuid: str) -> None:
    """Make a mediated device; OSError as the driver gives it."""
    host.write(types(parent, type_id, "create"), uuid)


def create_vport(host: SimHost, pair: str, hba: str = "host3") -> None:
    """Make a vport; OSError as the HBA gives it."""
    host.write(f"{PORTS}/{hba}/vport_create", pair)


def delete_vport(host: SimHost, pair: str, hba: str = "host3") -> None:
    """Remove a vport; OSError as the HBA gives it."""
    host.write(f"{PORTS}/{hba}/vport_delete", pair)


def values(host: SimHost, folder: str, *attributes: str) -> list[str]:
    """The texts of attributes, without their newlines."""
    return [host.read(f"{folder}/{attribute}").removesuffix("\n") for attribute in attributes]


def names(host: SimHost, folder: str) -> list[str]:
    """What is in a folder, in order; nothing if it is not there."""
    try:
        return sorted(os.listdir(host.path(folder)))
    except FileNotFoundError:
        return []


def refused(action: Callable[..., Any], *arguments: Any) -> int | None:
    """The errno with which an operation fails; AssertionError if it does not."""
    try:
        action(*arguments)
    except OSError as error:
        return error.errno
    raise AssertionError(f"{action} with {arguments} was not refused")


def monitored(host: SimHost, subsystem: str, action: Callable[[], object], count: int) -> list[str]:
    """The first `count` udev events of a subsystem that follow from an action, as "add host8"."""
    watcher = host.popen([host.python, "-c", MONITOR, subsystem], stdout=subprocess.PIPE, text=True)
    assert watcher.stdout is not None
    assert watcher.stdout.readline() == "listening\n"
    action()
    found = [" ".join(watcher.stdout.readline().split()[:2]) for _event in range(count)]
    watcher.kill()
    watcher.communicate(timeout=5)
    return found


def eventually(check: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait until `check` is true; AssertionError after `seconds`."""
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.01)


def merged(*scenarios: str) -> dict[str, Any]:
    """One host with the devices of several scenarios, in their order; what only one can have is the first's.

    Drivers that devices of the others are declared with are added, as those that take nothing by themselves.
    """
    plans = [yaml.safe_load((FOLDER / f"{name}.yml").read_text(encoding="utf-8")) for name in scenarios]
    result: dict[str, Any] = {}
    for plan in plans:
        for key, value in plan.items():
            there = result.get(key)
            if isinstance(value, list):
                result[key] = [*(there or []), *value]
            elif isinstance(value, dict):
                result[key] = {**value, **(there or {})}
            else:
                result.setdefault(key, value)
    drivers = result.get("drivers", {}).get("pci")
    for device in result["devices"]:
        if drivers is not None and "pci" in device and "driver" in device:
            drivers.setdefault(device["driver"], {})
    return result
