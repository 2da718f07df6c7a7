# SPDX-License-Identifier: GPL-3.0-or-later
"""What a parent says of its types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils.capabilities import mdev_types

UUIDS = ["83b8f4f2-509f-382f-3c1e-e6bfe0fa1001", "83b8f4f2-509f-382f-3c1e-e6bfe0fa1002"]
FULL = {"name": "GRID T4-1Q", "device_api": "vfio-pci", "available_instances": "8", "description": "num_heads=4"}


def make_type(parent: Path, kind: str, files: dict[str, str], instances: list[str]) -> None:
    folder = parent / "mdev_supported_types" / kind
    (folder / "devices").mkdir(parents=True)
    for name, value in files.items():
        (folder / name).write_text(f"{value}\n")
    for uuid in instances:
        (folder / "devices" / uuid).symlink_to(f"../../../{uuid}")


@pytest.mark.parametrize(
    ("files", "instances", "expected"),
    [
        (FULL, [], {**FULL, "available_instances": 8, "instances": []}),
        (FULL, UUIDS[::-1], {**FULL, "available_instances": 8, "instances": UUIDS}),
        (
            {"device_api": "vfio-pci", "available_instances": "0"},
            [],
            {"device_api": "vfio-pci", "available_instances": 0, "instances": []},
        ),
        ({"name": ""}, [], {"name": "", "instances": []}),
    ],
)
def test_a_type(tmp_path: Path, files: dict[str, str], instances: list[str], expected: dict[str, Any]) -> None:
    make_type(tmp_path, "nvidia-222", files, instances)
    assert mdev_types.types_of(str(tmp_path)) == {"nvidia-222": expected}


def test_a_parent_whose_types_are_not_there_yet(tmp_path: Path) -> None:
    assert mdev_types.types_of(str(tmp_path)) == {}


@pytest.mark.parametrize(("node", "known"), [("-1", {}), ("0", {"numa_node": 0}), ("3", {"numa_node": 3})])
def test_describe_leaves_out_what_is_not_there(tmp_path: Path, node: str, known: dict[str, int]) -> None:
    parent = tmp_path / "mtty"
    parent.mkdir()
    (tmp_path / "class").mkdir()
    (parent / "subsystem").symlink_to("../class/mtty")
    (parent / "numa_node").write_text(f"{node}\n")
    expected = {"name": "mtty_mtty", "address": "mtty", "path": str(parent), **known}
    assert mdev_types.describe("mtty", str(parent)) == expected
