# SPDX-License-Identifier: GPL-3.0-or-later
"""What a mediated device says of itself."""

from __future__ import annotations

import os

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import Dropped
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import mdevs, vfio
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt.capabilities import mdev
from devices import Host

UUID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"
TYPE = {"mdev_type": "devices/0000:06:00.0/mdev_supported_types/nvidia-231"}
GROUP = {"iommu_group": "kernel/iommu_groups/12"}


@pytest.mark.parametrize("parent", ["0000:06:00.0", "0.0.0013", "matrix", "mtty"])
def test_one_that_runs(host: Host, parent: str) -> None:
    device = host.make_device("mdev", UUID, links={**TYPE, **GROUP}, below=parent)
    said = mdev.read(device)
    assert list(said.items()) == [
        ("type", "mdev"),
        ("mdev_type", {"id": "nvidia-231"}),
        ("uuid", UUID),
        ("parent_addr", parent),
        ("iommuGroup", {"number": 12}),
    ]
    assert mdev.name(device, said) == f"mdev_{UUID}_{parent}".replace("-", "_").replace(":", "_").replace(".", "_")


@pytest.mark.parametrize(
    ("links", "lacking"),
    [
        ({}, "mdev_type"),
        (GROUP, "mdev_type"),
        (TYPE, "iommu_group"),
        ({**TYPE, "iommu_group": "kernel/iommu_groups/none"}, "iommu_group"),
        ({**TYPE, "iommu_group": "kernel/iommu_groups/7_0"}, "iommu_group"),
        ({**TYPE, "iommu_group": "kernel/iommu_groups/\u00b2"}, "iommu_group"),
        ({**TYPE, "iommu_group": f"kernel/iommu_groups/{'9' * 200}"}, "iommu_group"),
    ],
)
def test_one_that_the_kernel_is_still_making(host: Host, links: dict[str, str], lacking: str) -> None:
    with pytest.raises(Dropped, match=f"it has no {lacking}"):
        mdev.read(host.make_device("mdev", UUID, links=links, below="mtty"))


@pytest.mark.parametrize("group", [False, True])
@pytest.mark.parametrize("number", [None, "511:0"])
def test_the_nodes_of_one_that_runs(
    host: Host, monkeypatch: pytest.MonkeyPatch, group: bool, number: str | None
) -> None:
    """A kernel without character devices for VFIO has their folders too; what has a number is a device."""
    monkeypatch.setattr(mdevs, "BUS", f"{host.sys}/bus/mdev/devices")
    monkeypatch.setattr(vfio, "CDEVS", f"{host.sys}/class/vfio-dev")
    place = f"devices/mtty/{UUID}"
    host.link(f"bus/mdev/devices/{UUID}", place)
    host.attributes(f"{place}/vfio-dev/vfio3", {} if number is None else {"dev": number})
    host.link("class/vfio-dev/vfio3", f"{place}/vfio-dev/vfio3")
    if group:
        host.link(f"{place}/iommu_group", "kernel/iommu_groups/12")
    found, (one,) = mdevs.find(UUID), mdevs.running()
    assert found == one
    assert found is not None
    nodes = ("/dev/vfio/12",) if group else ()
    assert found.nodes == (nodes if number is None else (*nodes, "/dev/vfio/devices/vfio3"))


@pytest.mark.parametrize(
    ("links", "number", "lacking"),
    [
        (None, None, "its folder"),
        (GROUP, None, "its type"),
        (TYPE, None, "its VFIO group (is the vfio driver loaded?)"),
        ({**TYPE, **GROUP}, None, None),
        (TYPE, "511:3", None),
    ],
)
def test_what_a_device_lacks_while_the_kernel_makes_it(
    host: Host, monkeypatch: pytest.MonkeyPatch, links: dict[str, str] | None, number: str | None, lacking: str | None
) -> None:
    monkeypatch.setattr(mdevs, "BUS", f"{host.sys}/bus/mdev/devices")
    if links is not None:
        device = host.make_device("mdev", UUID, links=links, below="mtty")
        place = os.path.relpath(device.path, host.sys)
        host.link(f"bus/mdev/devices/{UUID}", place)
        host.attributes(f"{place}/vfio-dev/vfio3", {} if number is None else {"dev": number})
    assert mdevs.lacking(UUID) == lacking


@pytest.mark.parametrize("name", ["mdev_type", "iommu_group"])
def test_a_link_that_leads_nowhere_is_none(host: Host, name: str) -> None:
    links = {key: target for key, target in {**TYPE, **GROUP}.items() if key != name}
    device = host.make_device("mdev", UUID, links=links, below="mtty")
    os.symlink("../99", f"{device.path}/{name}")
    with pytest.raises(Dropped, match=f"it has no {name}: its link leads nowhere"):
        mdev.read(device)


@pytest.mark.parametrize(
    ("group", "number"),
    [("12", 12), ("0", 0), ("7x", None), ("", None), ("noiommu", None), ("\u00b2", None), ("9" * 200, None)],
)
def test_a_device_with_any_name_of_a_group(
    host: Host, monkeypatch: pytest.MonkeyPatch, group: str, number: int | None
) -> None:
    monkeypatch.setattr(mdevs, "BUS", f"{host.sys}/bus/mdev/devices")
    links = {**TYPE, "iommu_group": f"kernel/iommu_groups/{group}"}
    device = host.make_device("mdev", UUID, links=links, below="mtty")
    host.link(f"bus/mdev/devices/{UUID}", os.path.relpath(device.path, host.sys))
    found = mdevs.find(UUID)
    assert found is not None
    assert (found.type, found.iommu_group) == ("nvidia-231", number)
    name = group or "iommu_groups"
    told = f"{device.path}/iommu_group is '{name}', which is not a number"
    assert [each.startswith(told) for each in found.oddities] == [True] * (number is None)


@pytest.mark.parametrize(
    ("attrs", "listed"),
    [
        ((), {}),
        (
            (("assign_adapter", "5"), ("assign_adapter", "6"), ("a", "<&>")),
            {
                "attr": [
                    {"name": "assign_adapter", "value": "5"},
                    {"name": "assign_adapter", "value": "6"},
                    {"name": "a", "value": "<&>"},
                ]
            },
        ),
    ],
)
def test_attributes_keep_their_order(attrs: tuple[tuple[str, str], ...], listed: dict[str, object]) -> None:
    said = mdev.capability("vfio_ap-passthrough", UUID, "matrix", 0, attrs)
    assert {key: value for key, value in said.items() if key == "attr"} == listed
    assert said["iommuGroup"] == {"number": 0}
