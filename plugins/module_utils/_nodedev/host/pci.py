# SPDX-License-Identifier: GPL-3.0-or-later
"""A PCI function as far as it can be bound, carved into virtual functions and given to a guest.

Follows the kernel's Documentation/ABI/testing/sysfs-bus-pci. Each value is read once, in one look at the function.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from . import sysfs
from .numbers import integer

DEVICES = "/sys/bus/pci/devices"
# The header's type is there in the configuration space, and its highest bit says that there are several functions.
HEADER, HEADER_TYPE = 0x0E, 0x7F
# Of bridges to PCI and to CardBus, the types, and the classes.
BRIDGES, BRIDGE_CLASSES = (1, 2), ("0x0604", "0x0607")
NETWORK, DISPLAY = "0x02", "0x03"
NVIDIA = "0x10de"
VIRTUAL = "virtfn"
# Seconds for a read that the kernel may keep.
PATIENCE = 5.0
PLACES = ("sriov_totalvfs", "sriov_offset", "sriov_stride")
ADDRESS = re.compile(r"([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])")


@dataclass(frozen=True)
class Function:
    """A PCI function; ``path`` is its folder in /sys/devices.

    ``driver`` is the one it is bound to and ``override`` the name that driver_override has, ``group`` the IOMMU's;
    each None where there is none. ``physical`` is the address of a virtual function's physical one, ``functions`` are
    the addresses of a physical one's virtual ones by their index.
    """

    address: str
    path: str
    kind: str
    vendor: str
    driver: str | None = None
    override: str | None = None
    group: str | None = None
    physical: str | None = None
    functions: tuple[str, ...] = ()

    @property
    def is_network(self) -> bool:
        return self.kind.startswith(NETWORK)


def find(address: str) -> Function | None:
    """The function of this address; None where there is none. Raises SysfsError."""
    path = sysfs.target(f"{DEVICES}/{address}")
    kind = None if path is None else sysfs.read(f"{path}/class")
    if path is None or kind is None:
        return None
    return Function(
        address,
        path,
        kind,
        sysfs.read(f"{path}/vendor") or "",
        sysfs.link_name(f"{path}/driver"),
        override(path),
        sysfs.link_name(f"{path}/iommu_group"),
        sysfs.link_name(f"{path}/physfn"),
        virtual_functions(path),
    )


def paths(addresses: Iterable[str]) -> dict[str, str]:
    """The folders of functions, by their addresses; of those that are there."""
    found = {each: sysfs.target(f"{DEVICES}/{each}") for each in addresses}
    return {address: path for address, path in found.items() if path is not None}


def override(path: str) -> str | None:
    """The name in a device's driver_override; None where it is unset, which the kernel writes as (null) or as nothing.

    A device whose bus has none has none either. While a device that somebody has by VFIO is taken from its driver, it
    has no driver any more, and the kernel keeps whoever reads this.
    """
    file = f"{path}/driver_override"
    text = sysfs.read(file) if sysfs.exists(f"{path}/driver") else sysfs.read_by_another(file, PATIENCE)
    return None if text in (None, "", "(null)") else text


def virtual_functions(path: str) -> tuple[str, ...]:
    """The addresses of the virtual functions of the one in this folder, by their index."""
    found = {}
    for name in sysfs.entries(path):
        index = integer(name[len(VIRTUAL) :], 10) if name.startswith(VIRTUAL) else None
        function = None if index is None else sysfs.link_name(f"{path}/{name}")
        if index is not None and function is not None:
            found[index] = function
    return tuple(function for _index, function in sorted(found.items()))


def card_of(address: str) -> str:
    """The physical function of a virtual one, else the function itself, be it there or not."""
    return sysfs.link_name(f"{DEVICES}/{address}/physfn") or address


def lineage(address: str) -> tuple[str, ...]:
    """The card that a function is on, and below it the function where it is a virtual one, be it there or to come."""
    card = card_of(address)
    if card == address and not sysfs.exists(f"{DEVICES}/{address}"):
        card = next((each for each in sysfs.names(DEVICES) if address in _to_come(each)), address)
    return (address,) if card == address else (card, address)


def _to_come(physical: str) -> tuple[str, ...]:
    """The addresses of all virtual functions that a physical one can have, by its offset and stride."""
    path = f"{DEVICES}/{physical}"
    total, offset, stride = (integer(sysfs.read(f"{path}/{name}") or "", 10) for name in PLACES)
    return places(physical, offset, stride, total or 0)


def all_places(physical: str) -> tuple[str, ...]:
    """The addresses of all virtual functions that a physical one has, by their index, or else can have."""
    return virtual_functions(f"{DEVICES}/{physical}") or _to_come(physical)


def places(physical: str, offset: int | None, stride: int | None, count: int) -> tuple[str, ...]:
    """The addresses of so many virtual functions by their index; none where the card does not say where they are.

    They follow each other by their routing ids: a byte of bus, five bits of device, three of function. No two have the
    same, nor the card's, and where the card says so the kernel makes none either.
    """
    found = ADDRESS.fullmatch(physical)
    if found is None or not offset or stride is None or (not stride and count > 1):
        return ()
    first = (int(found[2], 16) << 8 | int(found[3], 16) << 3 | int(found[4])) + offset
    ids = (first + index * stride for index in range(count))
    return tuple(f"{found[1]}:{id >> 8 & 0xFF:02x}:{id >> 3 & 0x1F:02x}.{id & 7}" for id in ids)


def is_bridge(path: str) -> bool:
    """Whether the function in this folder is a bridge or a root port, by the type of its header."""
    header = sysfs.content(f"{path}/config", HEADER + 1)
    if header is None or len(header) <= HEADER:
        return False
    # Of what has fallen off the bus all is ones, and the kernel still has the class that it had.
    if header[HEADER] == 0xFF:
        return (sysfs.read(f"{path}/class") or "").startswith(BRIDGE_CLASSES)
    return header[HEADER] & HEADER_TYPE in BRIDGES


def interfaces(path: str) -> tuple[str, ...]:
    """The network interfaces of the function in this folder, or of its virtio device, in this network namespace."""
    found = [*sysfs.names(f"{path}/net")]
    for name in sysfs.names(path):
        if name.startswith("virtio"):
            found += sysfs.names(f"{path}/{name}/net")
    return tuple(found)


def has_interface_elsewhere(path: str) -> bool:
    """Whether the function in this folder has a network interface in another network namespace alone.

    The folder of its interfaces is there as long as it has any, and shows those of this namespace.
    """
    folders = [path, *(f"{path}/{name}" for name in sysfs.names(path) if name.startswith("virtio"))]
    return any(sysfs.exists(f"{folder}/net") for folder in folders) and not interfaces(path)


def blocks(paths: Collection[str]) -> dict[str, list[str]]:
    """The disks on the functions in these folders, by the folders, with the kernel's names; all are looked at once.

    Those of an NVMe subsystem with several controllers belong to the subsystem, which has a folder elsewhere.
    """
    places = [(os.path.basename(disk), [disk]) for disk in sysfs.linked("/sys/class/block")]
    for subsystem in sysfs.linked("/sys/class/nvme-subsystem"):
        entries = sysfs.names(subsystem)
        folders = [sysfs.target(f"{subsystem}/{entry}") or "" for entry in entries]
        places += [(entry, folders) for entry in entries if sysfs.exists(f"/sys/class/block/{entry}")]
    found = {path: [name for name, own in places if any(each.startswith(f"{path}/") for each in own)] for path in paths}
    return {path: [*dict.fromkeys(names)] for path, names in found.items()}
