# SPDX-License-Identifier: GPL-3.0-or-later
"""What a parent says of its types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils.capabilities import mdev_types
from ansible_collections.hostdev.nodedev.plugins.module_utils.errors import Dropped
from devices import Host

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


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"device_api": "vfio-pci", "available_instances": "2"}, {"deviceAPI": "vfio-pci", "availableInstances": 2}),
        (
            {"name": "", "device_api": "", "available_instances": "0", "description": "not told"},
            {"name": "", "deviceAPI": "", "availableInstances": 0},
        ),
    ],
)
def test_a_type_in_libvirts_words(host: Host, files: dict[str, str], said: dict[str, Any]) -> None:
    device = host.make_device("pci", "x", {f"mdev_supported_types/t/{name}": text for name, text in files.items()})
    assert mdev_types.nested(device) == [{"type": "mdev_types", "types": [{"id": "t", **said}]}]


@pytest.mark.parametrize("missing", ["device_api", "available_instances"])
def test_a_type_without_what_each_must_have_drops(host: Host, missing: str) -> None:
    files = {"device_api": "vfio-pci", "available_instances": "2"}
    del files[missing]
    device = host.make_device("pci", "x", {f"mdev_supported_types/t/{name}": text for name, text in files.items()})
    with pytest.raises(Dropped, match=missing):
        mdev_types.nested(device)


def test_the_sample_driver_must_be_registered(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mdev_types, "BUS", f"{host.sys}/class/mdev_bus")
    device = host.make_device("mtty", "mtty", below="virtual/mtty")
    with pytest.raises(Dropped, match="no link to it"):
        mdev_types.read(device)
    host.link("class/mdev_bus/mtty", "devices/virtual/mtty/mtty")
    assert mdev_types.read(device) == {"type": "mdev_types", "types": []}
