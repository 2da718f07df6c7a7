# SPDX-License-Identifier: GPL-3.0-or-later
"""What a parent says of its types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import Dropped
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import mdev_parents
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.oddities import Oddities
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt.capabilities import mdev_types
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
    oddities = Oddities()
    assert mdev_parents.types_of(str(tmp_path), oddities) == {"nvidia-222": expected}
    assert oddities.warnings == []


@pytest.mark.parametrize("left", ["N/A", "", "0x10", "-1", "1.5", "8 of 9", "\u0661", "9" * 5000])
def test_a_number_that_makes_no_sense_is_left_out_and_told(tmp_path: Path, left: str) -> None:
    make_type(tmp_path, "nvidia-222", {**FULL, "available_instances": left}, UUIDS)
    make_type(tmp_path, "nvidia-223", FULL, [])
    oddities = Oddities()
    assert mdev_parents.types_of(str(tmp_path), oddities) == {
        "nvidia-222": {
            **{key: value for key, value in FULL.items() if key != "available_instances"},
            "instances": UUIDS,
        },
        "nvidia-223": {**FULL, "available_instances": 8, "instances": []},
    }
    (told,) = oddities.warnings
    assert told.startswith(f"{tmp_path}/mdev_supported_types/nvidia-222/available_instances is '{left[:50]}")
    assert len(told) < 600


@pytest.mark.parametrize("unreadable", ["name", "device_api", "available_instances", "description"])
def test_what_cannot_be_read_of_a_type_is_left_out_and_told(tmp_path: Path, unreadable: str) -> None:
    make_type(tmp_path, "t", {key: value for key, value in FULL.items() if key != unreadable}, [])
    file = tmp_path / "mdev_supported_types/t" / unreadable
    file.mkdir()
    oddities = Oddities()
    known = {**FULL, "available_instances": 8, "instances": []}
    del known[unreadable]
    assert mdev_parents.types_of(str(tmp_path), oddities) == {"t": known}
    assert [str(file) in told for told in oddities.warnings] == [True]


def test_a_parent_whose_types_are_not_there_yet(tmp_path: Path) -> None:
    assert mdev_parents.types_of(str(tmp_path), Oddities()) == {}


@pytest.mark.parametrize(
    ("node", "known", "told"),
    [
        ("-1", {}, []),
        ("0", {"numa_node": 0}, []),
        ("3", {"numa_node": 3}, []),
        ("", {}, ["is ''"]),
        ("near", {}, ["is 'near'"]),
        ("-2", {}, ["is '-2'"]),
    ],
)
def test_describe_leaves_out_what_is_not_there(
    tmp_path: Path, node: str, known: dict[str, int], told: list[str]
) -> None:
    parent = tmp_path / "mtty"
    parent.mkdir()
    (tmp_path / "class").mkdir()
    (parent / "subsystem").symlink_to("../class/mtty")
    (parent / "numa_node").write_text(f"{node}\n")
    expected = {"name": "mtty_mtty", "address": "mtty", "path": str(parent), **known}
    oddities = Oddities()
    assert mdev_parents.describe("mtty", str(parent), oddities) == expected
    assert [f"{parent}/numa_node {text}" in warning for text, warning in zip(told, oddities.warnings)] == [True] * len(
        told
    )
    assert len(oddities.warnings) == len(told)


@pytest.mark.parametrize(
    ("group", "known"), [("12", {"iommu_group": 12}), ("7x", {}), ("noiommu", {}), ("7_0", {}), ("-1", {})]
)
def test_a_group_of_any_name(tmp_path: Path, group: str, known: dict[str, int]) -> None:
    (tmp_path / "iommu_group").symlink_to(f"../iommu_groups/{group}")
    oddities = Oddities()
    found = mdev_parents.describe("x", str(tmp_path), oddities)
    assert {key: value for key, value in found.items() if key == "iommu_group"} == known
    assert [f"{tmp_path}/iommu_group is '{group}'" in told for told in oddities.warnings] == [True] * (not known)


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


@pytest.mark.parametrize("left", ["N/A", "", "0x10", "4294967296"])
def test_a_type_without_a_number_drops_and_names_file_and_value(host: Host, left: str) -> None:
    files = {"device_api": "vfio-pci", "available_instances": left}
    device = host.make_device("pci", "x", {f"mdev_supported_types/t/{name}": text for name, text in files.items()})
    with pytest.raises(Dropped, match=f"{device.path}/mdev_supported_types/t/available_instances is '{left}'"):
        mdev_types.nested(device)


@pytest.mark.parametrize("missing", ["device_api", "available_instances"])
def test_a_type_without_what_each_must_have_drops(host: Host, missing: str) -> None:
    files = {"device_api": "vfio-pci", "available_instances": "2"}
    del files[missing]
    device = host.make_device("pci", "x", {f"mdev_supported_types/t/{name}": text for name, text in files.items()})
    with pytest.raises(Dropped, match=missing):
        mdev_types.nested(device)


def test_the_sample_driver_must_be_registered(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mdev_parents, "BUS", f"{host.sys}/class/mdev_bus")
    device = host.make_device("mtty", "mtty", below="virtual/mtty")
    with pytest.raises(Dropped, match="no link to it"):
        mdev_types.read(device)
    host.link("class/mdev_bus/mtty", "devices/virtual/mtty/mtty")
    assert mdev_types.read(device) == {"type": "mdev_types", "types": []}
