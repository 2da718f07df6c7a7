# SPDX-License-Identifier: GPL-3.0-or-later
"""What a network interface says of itself: its link, and what its hardware takes off the CPU."""

from __future__ import annotations

import errno
import os
from typing import Any

from ... import names
from ...errors import Dropped, Foreign
from ...host import devlink, ethtool, sysfs
from ...host.numbers import integer
from ...host.udev import Device

TYPE = "net"
# The words of the kernel's Documentation/networking/operstates.rst.
STATES = frozenset(("unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up"))
# In libvirt's order.
FEATURES = (
    *("rx", "tx", "sg", "tso", "gso", "gro", "lro", "rxvlan", "txvlan", "ntuple", "rxhash", "rdma"),
    *("txudptnl", "switchdev"),
)
# The kernel's limit, without the NUL that ends a name.
NAME_BYTES = 15


def name(device: Device, capability: dict[str, Any]) -> str:
    """libvirt's name: with the hardware address, where there is one."""
    address = capability.get("address")
    return names.device_name(device.subsystem, device.sysname if address is None else f"{device.sysname}_{address}")


def read(device: Device) -> dict[str, Any]:
    """Link and features are those of the moment; features are asked of the network namespace that we run in.

    Dropped where the interface has no state or a speed that is none.
    """
    interface = device.prop("INTERFACE")
    if interface is None:
        raise Foreign("it has no interface name")
    capability: dict[str, Any] = {"type": TYPE, "interface": interface}
    address = device.sysattr("address")
    if address is not None:
        capability["address"] = address
    device.number("addr_len", 0)
    folder = f"{sysfs.SYS}/class/net/{interface}"
    capability["link"] = _link(folder)
    capability["feature"] = [{"name": feature} for feature in _features(interface, folder)]
    capability["capability"] = [{"type": "80211" if device.uevent.get("DEVTYPE") == "wlan" else "80203"}]
    return capability


def _link(folder: str) -> dict[str, Any]:
    try:
        state, newline, _rest = _text(f"{folder}/operstate").partition("\n")
        if not newline or state not in STATES:
            raise Dropped(f"its operstate is {state!r}, which is none of {', '.join(sorted(STATES))}")
        speed = _speed(f"{folder}/speed") if state == "up" else 0
    except sysfs.SysfsError as error:
        raise Dropped(str(error)) from error
    return {"speed": speed, "state": state} if speed else {"state": state}


def _speed(path: str) -> int:
    """Mbit/s; 0 where the driver knows none. A driver's -1 is as large a number as libvirt makes of it."""
    try:
        text = _text(path)
    except sysfs.SysfsError as error:
        if error.errno != errno.EINVAL:
            raise
        return 0
    speed = integer(text[:-1], 10) if text.endswith("\n") else None
    if speed is None:
        raise Dropped(f"its speed is {text!r}, which is no number")
    return speed


def _text(path: str) -> str:
    data = sysfs.content(path)
    if data is None:
        raise Dropped(f"it has no {os.path.basename(path)}")
    return data.decode("utf-8", "surrogateescape")


def _features(interface: str, folder: str) -> list[str]:
    if len(os.fsencode(interface)) > NAME_BYTES:
        raise Dropped(f"its name has more than {NAME_BYTES} bytes")
    found = ethtool.features(interface)
    if _shares_an_infiniband_device(folder):
        found.add("rdma")
    address = _pci_address(folder)
    if address is not None and devlink.is_switchdev(address):
        found.add("switchdev")
    return [feature for feature in FEATURES if feature in found]


def _shares_an_infiniband_device(folder: str) -> bool:
    """Whether an InfiniBand device has the same PCI resources, that is, is the same function."""
    devices = f"{sysfs.SYS}/class/infiniband"
    found = sysfs.names(devices)
    resource = _resource(folder) if found else None
    return resource is not None and any(_resource(f"{devices}/{name}") == resource for name in found)


def _resource(folder: str) -> bytes | None:
    try:
        return sysfs.content(f"{folder}/device/resource")
    except sysfs.SysfsError:
        return None


def _pci_address(folder: str) -> str | None:
    """The PCI function whose embedded switch would be asked: a virtual function has that of its physical one."""
    device = sysfs.real(f"{folder}/device")
    if device is None or not (sysfs.link_name(f"{device}/subsystem") or "").startswith("pci"):
        return None
    return sysfs.link_name(f"{device}/physfn") or os.path.basename(device)
