# SPDX-License-Identifier: GPL-3.0-or-later
"""The mdev_types_facts module on the simulated host."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import CARD, OTHER, OTHER_CARD, UUID, Host

NAME, OTHER_NAME = "pci_0000_3d_00_0", "pci_0000_af_00_0"


def facts(host: Host, **options: Any) -> dict[str, Any]:
    result = host.module("mdev_types_facts", **options)
    assert result["changed"] is False
    known: dict[str, Any] = result["ansible_facts"]["mdev_types"]
    return known


def test_all_there_is(host: Host) -> None:
    host.mdev()
    host.mdev(uuid=OTHER, parent=CARD)
    known = facts(host)
    assert list(known) == [NAME, OTHER_NAME]
    card = known[NAME]
    assert {key: card[key] for key in ("name", "address", "driver", "numa_node", "iommu_group")} == {
        "name": NAME,
        "address": CARD,
        "driver": "nvidia",
        "numa_node": 0,
        "iommu_group": 30,
    }
    assert card["path"].endswith(f"/{CARD}")
    assert card["vendor"] == {"id": "0x10de", "name": "NVIDIA Corporation"}
    assert card["product"] == {"id": "0x1eb8", "name": "TU104GL [Tesla T4]"}
    assert card["types"]["nvidia-231"] == {
        "name": "GRID T4-2Q",
        "device_api": "vfio-pci",
        "available_instances": 6,
        "description": "num_heads=4, frl_config=60, framebuffer=2048M, max_resolution=7680x4320, max_instance=8",
        "instances": [UUID, OTHER],
    }
    assert known[OTHER_NAME]["types"]["nvidia-231"]["instances"] == []


@pytest.mark.parametrize(
    ("options", "parents", "types"),
    [
        ({"parent": NAME}, [NAME], 5),
        ({"parent": OTHER_CARD}, [OTHER_NAME], 5),
        ({"parent": "pci_0000_3b_00_0"}, [], 0),
        ({"driver": "nvidia"}, [NAME, OTHER_NAME], 5),
        ({"driver": "mlx5_core"}, [], 0),
        ({"type": "nvidia-231"}, [NAME, OTHER_NAME], 1),
        ({"type": "GRID T4-2Q"}, [NAME, OTHER_NAME], 1),
        ({"type": "GRID T4-2Q", "parent": CARD}, [NAME], 1),
        ({"type": "nvidia-2"}, [], 0),
    ],
)
def test_narrowed(host: Host, options: dict[str, str], parents: list[str], types: int) -> None:
    known = facts(host, **options)
    assert list(known) == parents
    assert {len(parent["types"]) for parent in known.values()} <= {types}
