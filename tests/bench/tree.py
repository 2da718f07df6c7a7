# SPDX-License-Identifier: GPL-3.0-or-later
"""A static sysfs of PCI functions, as plain files: what a kernel shows of them, without anything behind it.

Bus 00 begins with a bridge for each further bus; every bus has 32 slots of 8 functions. The first function below a
bridge is a physical function with VFs; eight further ones for every 4,096 are parents of mediated devices.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from simhost.pci import config_space

BUS_FUNCTIONS = 256
VFS = 31
PARENTS_IN_4096 = 8
TYPES = {"nvidia-231": "GRID T4-2Q", "nvidia-232": "GRID T4-4Q", "nvidia-233": "GRID T4-8Q"}

ENDPOINT, BRIDGE = 0, 1
Kind = dict[str, Any]
NIC: Kind = {"vendor": 0x15B3, "device": 0x1017, "class": 0x020000, "driver": "mlx5_core"}
VF: Kind = {**NIC, "device": 0x1018}
GPU: Kind = {"vendor": 0x10DE, "device": 0x1EB8, "class": 0x030200, "driver": "nvidia"}
PORT: Kind = {"vendor": 0x8086, "device": 0x347A, "class": 0x060400, "driver": "pcieport"}


def make(root: str, functions: int) -> None:
    """Write the tree with so many PCI functions, a multiple of 256, into the existing folder ``root``."""
    buses = functions // BUS_FUNCTIONS
    for folder in ("bus/pci/devices", "class/mdev_bus", "class/pci_bus", "devices", "kernel/iommu_groups"):
        os.makedirs(f"{root}/{folder}")
    parents = PARENTS_IN_4096 * functions // 4096
    group = 0
    for bus in range(buses):
        above = f"devices/pci0000:00{_port(bus)}"
        for place in range(BUS_FUNCTIONS):
            address = f"0000:{bus:02x}:{place >> 3:02x}.{place & 7}"
            path = f"{above}/{address}"
            virtual = bus > 0 and 0 < place <= VFS
            if bus == 0 and place < buses - 1:
                kind, header = PORT, BRIDGE
            elif place > VFS and place % 8 == 0 and bus > 0 and parents:
                kind, header = GPU, ENDPOINT
                parents -= 1
            else:
                kind, header = (VF if virtual else NIC), ENDPOINT
            _function(root, path, kind, header, group)
            group += 1
            if virtual:
                os.symlink(f"../0000:{bus:02x}:00.0", f"{root}/{path}/physfn")
            elif bus > 0 and place == 0:
                _write(f"{root}/{path}/sriov_totalvfs", "63\n")
                _write(f"{root}/{path}/sriov_numvfs", f"{VFS}\n")
                for index in range(VFS):
                    other = index + 1
                    os.symlink(f"../0000:{bus:02x}:{other >> 3:02x}.{other & 7}", f"{root}/{path}/virtfn{index}")
            elif kind is GPU:
                _types(root, path, address)


def _port(bus: int) -> str:
    return f"/0000:00:{(bus - 1) >> 3:02x}.{(bus - 1) & 7}" if bus else ""


def _function(root: str, path: str, kind: Kind, header: int, group: int) -> None:
    folder, address = f"{root}/{path}", path.rpartition("/")[2]
    os.makedirs(folder, exist_ok=True)
    numbers = {key: value for key, value in kind.items() if isinstance(value, int)}
    fields = {**numbers, "subsystem_vendor": numbers["vendor"], "subsystem_device": 0x0008, "revision": 0}
    config = config_space(fields, header, {"type": 4 if header else 0, "speed": 4, "width": 16}, 4096)
    texts = {
        "vendor": f"0x{fields['vendor']:04x}",
        "device": f"0x{fields['device']:04x}",
        "subsystem_vendor": f"0x{fields['subsystem_vendor']:04x}",
        "subsystem_device": f"0x{fields['subsystem_device']:04x}",
        "class": f"0x{fields['class']:06x}",
        "revision": "0x00",
        "numa_node": f"{group & 1}",
        "uevent": f"DRIVER={kind['driver']}\nPCI_CLASS={fields['class']:X}\n"
        f"PCI_ID={fields['vendor']:04X}:{fields['device']:04X}\n"
        f"PCI_SUBSYS_ID={fields['subsystem_vendor']:04X}:{fields['subsystem_device']:04X}\n"
        f"PCI_SLOT_NAME={address}\nMODALIAS=pci:v{fields['vendor']:08X}d{fields['device']:08X}",
    }
    for name, text in texts.items():
        _write(f"{folder}/{name}", f"{text}\n")
    with open(f"{folder}/config", "wb") as file:
        file.write(config)
    up = "../" * path.count("/")
    driver = f"bus/pci/drivers/{kind['driver']}"
    os.makedirs(f"{root}/{driver}", exist_ok=True)
    os.makedirs(f"{root}/kernel/iommu_groups/{group}/devices")
    os.symlink(f"{up}../bus/pci", f"{folder}/subsystem")
    os.symlink(f"{up}../{driver}", f"{folder}/driver")
    os.symlink(f"{up}../kernel/iommu_groups/{group}", f"{folder}/iommu_group")
    os.symlink(f"../../../{path}", f"{root}/bus/pci/devices/{address}")
    os.symlink(f"../../../../{path}", f"{root}/{driver}/{address}")
    os.symlink(f"../../../../{path}", f"{root}/kernel/iommu_groups/{group}/devices/{address}")


def _types(root: str, path: str, address: str) -> None:
    os.symlink(f"../../{path}", f"{root}/class/mdev_bus/{address}")
    for kind, name in TYPES.items():
        folder = f"{root}/{path}/mdev_supported_types/{kind}"
        os.makedirs(f"{folder}/devices")
        _write(f"{folder}/name", f"{name}\n")
        _write(f"{folder}/device_api", "vfio-pci\n")
        _write(f"{folder}/available_instances", "8\n")


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


if __name__ == "__main__":
    make(sys.argv[1], int(sys.argv[2]))
