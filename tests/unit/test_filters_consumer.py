# SPDX-License-Identifier: GPL-3.0-or-later
"""What nova, KubeVirt and Proxmox VE are told of a pool, and what they cannot be told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.hostdev.nodedev.plugins.filter.consumer_config import FilterModule

consumer_config = FilterModule().filters()["consumer_config"]


def function(number: int, kind: str = "NVIDIA L40S-4Q", type_id: int = 1152) -> dict[str, Any]:
    """An instance as vgpu_pool returns it where vGPUs are virtual functions."""
    place = f"0000:3d:00.{number}"
    return {
        "index": number - 4,
        "uuid": None,
        "address": place,
        "name": f"pci_0000_3d_00_{number}",
        "parent_addr": "0000:3d:00.0",
        "type": kind,
        "type_id": type_id,
    }


def mediated(number: int, kind: str = "GRID T4-1Q", type_id: int = 222, card: str = "0000:06:00.0") -> dict[str, Any]:
    """The same where they are mediated devices."""
    uuid = f"83b8f4f2-509f-382f-3c1e-e6bfe0fa100{number}"
    return {"index": number, "uuid": uuid, "address": None, "parent_addr": card, "type": kind, "type_id": type_id}


def by_id(number: int) -> dict[str, Any]:
    """An instance of mdev_pool's, which has the kernel's id of the type."""
    instance = mediated(number, "nvidia-222")
    return {key: value for key, value in instance.items() if key != "type_id"}


def device(number: int, **changed: Any) -> dict[str, Any]:
    """What nodedev_facts says of a function."""
    ids = {"vendor": {"id": "0x10de"}, "product": {"id": "0x26b9"}, "iommuGroup": {"number": 30 + number}}
    return {"capability": {"type": "pci", **ids, **changed}, "extra": {"subsystem_id": "10de:1851"}}


DEVICES = {f"pci_0000_3d_00_{number}": device(number) for number in range(4, 8)}
PLAIN = {"pci_0000_3d_00_5": {**device(5), "extra": {}}}
POOL = {"changed": True, "instances": [function(4), function(5)], "capacity": {}}
MIX = [function(4), function(5, "NVIDIA L40S-8Q", 1155)]
IDS = '"vendor_id": "10de", "product_id": "26b9"'


def spec(number: int, resource: str = "CUSTOM_NVIDIA_L40S_4Q") -> str:
    return f'device_spec = {{"address": "0000:3d:00.{number}", {IDS}, "managed": "no", "resource_class": "{resource}"}}'


def alias(name: str, resource: str = "CUSTOM_NVIDIA_L40S_4Q") -> str:
    return f'alias = {{"name": "{name}", "device_type": "type-VF", {IDS}, "resource_class": "{resource}"}}'


@pytest.mark.parametrize(
    ("pool", "options", "lines"),
    [
        (
            POOL,
            {"consumer": "nova", "name": "desktops", "devices": DEVICES},
            ["[pci]", spec(4), spec(5), alias("desktops")],
        ),
        (
            MIX,
            {"consumer": "nova", "devices": DEVICES},
            [
                "[pci]",
                *(spec(4), alias("NVIDIA_L40S-4Q")),
                *(spec(5, "CUSTOM_NVIDIA_L40S_8Q"), alias("NVIDIA_L40S-8Q", "CUSTOM_NVIDIA_L40S_8Q")),
            ],
        ),
        (
            [mediated(0), mediated(1, card="0000:07:00.0"), mediated(2, "GRID T4-2Q", 223)],
            {"consumer": "nova"},
            [
                *("[devices]", "enabled_mdev_types = nvidia-222,nvidia-223", ""),
                *("[mdev_nvidia-222]", "device_addresses = 0000:06:00.0,0000:07:00.0", "max_instances = 2", ""),
                *("[mdev_nvidia-223]", "device_addresses = 0000:06:00.0", "max_instances = 1"),
            ],
        ),
        (
            [by_id(0)],
            {"consumer": "nova"},
            [
                *("[devices]", "enabled_mdev_types = nvidia-222", ""),
                *("[mdev_nvidia-222]", "device_addresses = 0000:06:00.0", "max_instances = 1"),
            ],
        ),
        (
            POOL,
            {"consumer": "kubevirt", "devices": DEVICES},
            [
                *("permittedHostDevices:", "  pciHostDevices:"),
                *("  - pciVendorSelector: 10DE:26B9", "    resourceName: nvidia.com/NVIDIA_L40S-4Q"),
            ],
        ),
        (
            [mediated(0), mediated(1), mediated(2, "GRID T4-2Q", 223)],
            {"consumer": "kubevirt"},
            [
                *("permittedHostDevices:", "  mediatedDevices:"),
                *("  - mdevNameSelector: GRID T4-1Q", "    resourceName: nvidia.com/GRID_T4-1Q"),
                *("  - mdevNameSelector: GRID T4-2Q", "    resourceName: nvidia.com/GRID_T4-2Q"),
            ],
        ),
        (
            POOL,
            {"consumer": "proxmox", "name": "desktops", "devices": DEVICES, "node": "pve1"},
            [
                "desktops",
                "\tmap id=10de:26b9,iommugroup=34,node=pve1,path=0000:3d:00.4,subsystem-id=10de:1851",
                "\tmap id=10de:26b9,iommugroup=35,node=pve1,path=0000:3d:00.5,subsystem-id=10de:1851",
            ],
        ),
        (
            MIX,
            {
                "consumer": "proxmox",
                "devices": {**DEVICES, "pci_0000_3d_00_5": {**device(5), "extra": {}}},
                "node": "p",
            },
            [
                "NVIDIA_L40S-4Q",
                "\tmap id=10de:26b9,iommugroup=34,node=p,path=0000:3d:00.4,subsystem-id=10de:1851",
                "",
                "NVIDIA_L40S-8Q",
                "\tmap id=10de:26b9,iommugroup=35,node=p,path=0000:3d:00.5",
            ],
        ),
    ],
)
def test_what_a_consumer_is_told(pool: Any, options: dict[str, Any], lines: list[str]) -> None:
    made = consumer_config(pool, **options)
    assert made.splitlines() == lines
    assert made.endswith("\n")
    # What nova reads as JSON is JSON.
    assert all(json.loads(line.partition(" = ")[2]) for line in lines if line.startswith(("device_spec", "alias")))


@pytest.mark.parametrize(
    ("pool", "options", "message"),
    [
        ("desktops", {}, "this is not a pool"),
        ({}, {}, "this is not a pool"),
        ({"instances": []}, {}, "this is not a pool"),
        ([{"type": 7}], {}, "an instance's type is 7"),
        (POOL, {"consumer": None}, "consumer is None, not one of nova, kubevirt, proxmox"),
        (POOL, {"consumer": "vmware"}, "consumer is 'vmware', not one of nova, kubevirt, proxmox"),
        (POOL, {"devices": None}, "devices has no pci_0000_3d_00_4: give it ansible_facts.nodedev.devices"),
        (POOL, {"devices": {}}, "devices has no pci_0000_3d_00_4"),
        (
            POOL,
            {"devices": {**DEVICES, "pci_0000_3d_00_4": device(4, product={"id": "x"})}},
            "devices has no ids of vendor and product for pci_0000_3d_00_4",
        ),
        ([{**function(4), "address": None}], {}, "an instance's address is None: the pool is only foretold"),
        ([{**function(4), "address": "4"}], {}, "address: '4' cannot be used"),
        (POOL, {"name": "a b"}, "name is 'a b', not a name without blanks"),
        (POOL, {"name": 7}, "name is 7, not a name without blanks"),
        (POOL, {"consumer": "kubevirt", "name": "desktops"}, "not a resource such as nvidia.com/desktops"),
        (POOL, {"consumer": "proxmox", "name": "1a", "node": "p"}, "not letters, digits, _ and - that begin with a"),
        (MIX, {"name": "desktops"}, "the pool has the types NVIDIA L40S-4Q, NVIDIA L40S-8Q: give the instances of one"),
        (
            MIX,
            {"consumer": "kubevirt"},
            "cannot tell the types NVIDIA L40S-4Q, NVIDIA L40S-8Q from each other",
        ),
        ([by_id(0)], {"consumer": "kubevirt"}, "KubeVirt takes the name of a type, and nvidia-222 is an id"),
        ([mediated(0, "Ö")], {"consumer": "kubevirt"}, "type Ö makes no name of a resource"),
        (POOL, {"consumer": "proxmox"}, "node is None, not Proxmox VE's name of the host"),
        ([mediated(0)], {"consumer": "proxmox", "node": "p"}, "Proxmox VE makes mediated devices by itself"),
        ([function(4, "40")], {"consumer": "proxmox", "node": "p"}, "type 40 makes no id of a mapping"),
    ],
)
def test_what_it_cannot_be_told(pool: object, options: dict[str, Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError) as error:
        consumer_config(pool, **{"consumer": "nova", "devices": DEVICES, **options})
    assert message in str(error.value)
    assert str(error.value).startswith("consumer_config: ")
    assert "\n" not in str(error.value)
