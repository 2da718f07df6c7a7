# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of PCI vendors and products, as libpciaccess takes them from pci.ids, and what a function says of itself."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import Dropped
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import pci_ids
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.oddities import Oddities
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.udev import Device
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt.capabilities import pci
from devices import Host

IDS = b"""# comment
10de  NVIDIA Corporation
\t1eb8  TU104GL [Tesla T4]
\t\t10de 12a2  a subsystem's name, not the product's
# a comment within
\t25b6  GA107GL [A2 / A16]
15b3  Mellanox Technologies
\t1017  MT27800 Family [ConnectX-5]
C 03  Display controller
\t1eb8  not a product
"""


@pytest.fixture(params=["plain", "compressed"], autouse=True)
def ids(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    plain = request.param == "plain"
    path = tmp_path / ("pci.ids" if plain else "pci.ids.gz")
    path.write_bytes(IDS if plain else gzip.compress(IDS))
    monkeypatch.setattr(pci_ids, "PCI_IDS", (str(tmp_path / "gone"), str(path)))
    forget()
    yield
    forget()


def forget() -> None:
    pci_ids.names_of.cache_clear()
    pci_ids._pci_ids.cache_clear()


@pytest.mark.parametrize(
    ("vendor", "product", "names"),
    [
        (0x10DE, 0x1EB8, ("NVIDIA Corporation", "TU104GL [Tesla T4]")),
        (0x10DE, 0x25B6, ("NVIDIA Corporation", "GA107GL [A2 / A16]")),
        (0x10DE, 0x1017, ("NVIDIA Corporation", None)),
        (0x15B3, 0x1017, ("Mellanox Technologies", "MT27800 Family [ConnectX-5]")),
        (0x15B3, 0x1EB8, ("Mellanox Technologies", None)),
        (0x8086, 0x1EB8, (None, None)),
    ],
)
def test_names(vendor: int, product: int, names: tuple[str | None, str | None]) -> None:
    assert pci_ids.names_of(vendor, product) == names


def test_identity(tmp_path: Path) -> None:
    (tmp_path / "vendor").write_text("0x10de\n")
    (tmp_path / "device").write_text("0x1234\n")
    assert pci_ids.identity(str(tmp_path), Oddities()) == {
        "vendor": {"id": "0x10de", "name": "NVIDIA Corporation"},
        "product": {"id": "0x1234"},
    }


def test_a_device_that_is_gone_has_no_identity(tmp_path: Path) -> None:
    oddities = Oddities()
    assert pci_ids.identity(str(tmp_path), oddities) == {}
    assert oddities.warnings == []


@pytest.mark.parametrize("text", ["", "10de", "0x", "0x10d", "0x10de5", "N/A", "0xg0de", "\u0661"])
def test_what_is_no_vendor_is_a_warning(tmp_path: Path, text: str) -> None:
    (tmp_path / "vendor").write_text(f"{text}\n")
    (tmp_path / "device").write_text("0x1234\n")
    oddities = Oddities()
    assert pci_ids.identity(str(tmp_path), oddities) == {}
    assert oddities.warnings == [f"{tmp_path}/vendor is '{text}', which is not 0x and four hexadecimal digits"]


def function(host: Host, attributes: dict[str, str | bytes], links: dict[str, str], **more: str) -> Device:
    """A function with all that libvirt wants of it, unless an attribute is given as empty."""
    known = {"vendor": "0x15b3", "device": "0x1234", "config": bytes(256), **attributes}
    kept = {name: value for name, value in known.items() if value or "/" in name}
    return host.make_device(
        "pci", more.pop("address", "0000:01:00.0"), kept, {"PCI_CLASS": "20000", **more}, links, below="pci0000:00"
    )


def address(name: str) -> dict[str, str]:
    return dict(zip(("domain", "bus", "slot", "function"), name.split()))


@pytest.mark.parametrize(
    ("attributes", "links", "more"),
    [
        ({}, {}, {}),
        ({"numa_node": "-1"}, {}, {}),
        ({"numa_node": "1"}, {}, {"numa": {"node": 1}}),
        ({"sriov_totalvfs": "0"}, {}, {}),
        ({"sriov_totalvfs": "8 of 9"}, {}, {"capability": [{"type": "virt_functions", "maxCount": 8}]}),
        ({"sriov_totalvfs": "8"}, {}, {"capability": [{"type": "virt_functions", "maxCount": 8}]}),
        (
            {"sriov_totalvfs": "8"},
            # Up to the first gap.
            {"virtfn0": "x/0000:01:00.1", "virtfn1": "x/0000:01:00.2", "virtfn3": "x/0000:01:00.4"},
            {
                "capability": [
                    {
                        "type": "virt_functions",
                        "maxCount": 8,
                        "address": [address("0x0000 0x01 0x00 0x1"), address("0x0000 0x01 0x00 0x2")],
                    }
                ]
            },
        ),
        (
            {},
            {"physfn": "x/10000:e1:00.0"},
            {"capability": [{"type": "phys_function", "address": address("0x10000 0xe1 0x00 0x0")}]},
        ),
        # libvirt sees no physical function there.
        ({}, {"physfn": "x/fpga-1"}, {}),
        (
            {},
            {"iommu_group": "kernel/iommu_groups/7"},
            {"iommuGroup": {"number": 7, "address": [address("0x0000 0x01 0x00 0x0")]}},
        ),
        (
            {"mdev_supported_types/a/device_api": "vfio-pci", "mdev_supported_types/a/available_instances": "1"},
            {},
            {
                "capability": [
                    {"type": "mdev_types", "types": [{"id": "a", "deviceAPI": "vfio-pci", "availableInstances": 1}]}
                ]
            },
        ),
        ({"config": bytes(14) + b"\x01" + bytes(241)}, {}, {"capability": [{"type": "pci-bridge"}]}),
        ({"config": bytes(4096)}, {}, {"pci-express": {}}),
    ],
)
def test_read(host: Host, attributes: dict[str, str | bytes], links: dict[str, str], more: dict[str, Any]) -> None:
    if "iommu_group" in links:
        host.attributes("kernel/iommu_groups/7/devices", {"0000:01:00.0": ""})
    assert pci.read(function(host, attributes, links)) == {
        "type": "pci",
        "class": "0x020000",
        "domain": 0,
        "bus": 1,
        "slot": 0,
        "function": 0,
        "product": {"id": "0x1234"},
        "vendor": {"id": "0x15b3", "name": "Mellanox Technologies"},
        **more,
    }


@pytest.mark.parametrize(
    ("attributes", "links", "more"),
    [
        ({"vendor": ""}, {}, {}),
        ({"device": ""}, {}, {}),
        ({"vendor": "what"}, {}, {}),
        ({"vendor": "10de"}, {}, {}),
        ({"sriov_totalvfs/unreadable": ""}, {}, {}),
        ({"numa_node": "near"}, {}, {}),
        ({"sriov_totalvfs": "many"}, {}, {}),
        ({"config": ""}, {}, {}),
        ({"config": b"\xff" * 256}, {}, {}),
        ({"mdev_supported_types/a/device_api": "vfio-pci"}, {}, {}),
        ({"mdev_supported_types/a/available_instances": "1"}, {}, {}),
        ({}, {"virtfn0": "x/fpga-1"}, {}),
        ({}, {"iommu_group": "kernel/iommu_groups/other"}, {}),
        ({}, {"iommu_group": "kernel/iommu_groups/7x"}, {}),
        ({}, {"iommu_group": "kernel/iommu_groups/-1"}, {}),
        ({}, {"iommu_group": "kernel/iommu_groups/7_0"}, {}),
        ({}, {"iommu_group": f"kernel/iommu_groups/{'9' * 200}"}, {}),
        ({}, {}, {"PCI_CLASS": "G"}),
        ({}, {}, {"address": "0000:06:00"}),
    ],
)
def test_a_broken_function_drops(
    host: Host, attributes: dict[str, str | bytes], links: dict[str, str], more: dict[str, str]
) -> None:
    with pytest.raises(Dropped):
        pci.read(function(host, attributes, links, **more))


@pytest.mark.parametrize("name", ["iommu_group", "virtfn0", "physfn"])
def test_a_link_that_leads_nowhere(host: Host, name: str) -> None:
    """A function whose group is gone is left out, as by libvirt; other functions are simply not there."""
    device = function(host, {}, {})
    known = pci.read(device)
    os.symlink("../99", f"{device.path}/{name}")
    if name == "iommu_group":
        with pytest.raises(Dropped, match="its IOMMU group 99 is not there"):
            pci.read(device)
    else:
        assert pci.read(device) == known
