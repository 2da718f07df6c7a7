# SPDX-License-Identifier: GPL-3.0-or-later
"""A PCI function as sysfs has it: its override, its functions by index, where functions that are to come will be."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import iommu, modules, pci, sysfs

CARD = "0000:3b:00.0"


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(pci, "DEVICES", str(tmp_path))
    return tmp_path


def function(devices: Path, address: str = CARD, **values: str) -> Path:
    folder = devices / address
    folder.mkdir()
    for name, text in {"class": "0x020000", "vendor": "0x8086", **values}.items():
        (folder / name).write_text(f"{text}\n")
    return folder


@pytest.mark.parametrize(("text", "name"), [("(null)", None), ("", None), ("vfio-pci", "vfio-pci"), ("none", "none")])
@pytest.mark.parametrize("bound", [True, False])
def test_override(devices: Path, text: str, name: str | None, bound: bool) -> None:
    folder = function(devices, driver_override=text)
    if bound:
        (folder / "driver").mkdir()
    assert pci.override(str(folder)) == name


def test_a_bus_without_overrides(devices: Path) -> None:
    assert pci.override(str(function(devices))) is None


def test_functions_are_told_by_their_index(devices: Path) -> None:
    folder = function(devices)
    for index in (10, 2, 0):
        (folder / f"virtfn{index}").symlink_to(f"../0000:3b:01.{index % 8}")
    (folder / "virtfnx").symlink_to("../x")
    assert pci.virtual_functions(str(folder)) == ("0000:3b:01.0", "0000:3b:01.2", "0000:3b:01.2")


PLACES = [
    ("beside the card", {"sriov_offset": "4", "sriov_stride": "1"}, "0000:3b:00.4", True),
    ("the last one", {"sriov_offset": "4", "sriov_stride": "1"}, "0000:3b:00.7", True),
    ("beyond the last one", {"sriov_offset": "4", "sriov_stride": "1"}, "0000:3b:01.0", False),
    ("every other", {"sriov_offset": "128", "sriov_stride": "2"}, "0000:3b:10.2", True),
    ("between them", {"sriov_offset": "128", "sriov_stride": "2"}, "0000:3b:10.1", False),
    ("on the next bus", {"sriov_offset": "256", "sriov_stride": "1"}, "0000:3c:00.0", True),
    ("no place", {}, "0000:3b:00.4", False),
    ("nonsense", {"sriov_offset": "many", "sriov_stride": "1"}, "0000:3b:00.4", False),
    ("one place for all", {"sriov_offset": "4", "sriov_stride": "0"}, "0000:3b:00.4", False),
    ("another segment", {"sriov_offset": "4", "sriov_stride": "1"}, "0001:3b:00.4", False),
]


@pytest.mark.parametrize(
    ("places", "address", "found"), [case[1:] for case in PLACES], ids=[case[0] for case in PLACES]
)
def test_where_a_function_that_is_to_come_belongs(
    devices: Path, places: dict[str, str], address: str, found: bool
) -> None:
    function(devices, sriov_totalvfs="4", **places)
    function(devices, "0000:18:00.0")
    assert pci.lineage(address) == ((CARD, address) if found else (address,))
    assert pci.lineage(CARD) == (CARD,)


def test_where_a_function_that_is_there_belongs(devices: Path) -> None:
    (function(devices, "0000:3b:01.0") / "physfn").symlink_to(f"../{CARD}")
    assert pci.lineage("0000:3b:01.0") == (CARD, "0000:3b:01.0")


# A card that has fallen off the bus reads as ones alone.
@pytest.mark.parametrize(
    ("header", "bridge"),
    [(0x00, False), (0x80, False), (0x01, True), (0x81, True), (0x02, True), (0x03, False), (0xFF, False)],
)
def test_bridges(devices: Path, header: int, bridge: bool) -> None:
    folder = function(devices)
    (folder / "config").write_bytes(bytes(14) + bytes([header]) + bytes(49))
    assert pci.is_bridge(str(folder)) == bridge


def test_a_bridge_that_has_fallen_off_the_bus(devices: Path) -> None:
    folder = function(devices, **{"class": "0x060400"})
    (folder / "config").write_bytes(b"\xff" * 64)
    assert pci.is_bridge(str(folder))


def test_a_short_configuration_space(devices: Path) -> None:
    folder = function(devices)
    (folder / "config").write_bytes(b"\x86\x80")
    assert not pci.is_bridge(str(folder))


def test_an_interface_elsewhere(devices: Path) -> None:
    folder = function(devices)
    assert not pci.has_interface_elsewhere(str(folder))
    (folder / "net").mkdir()
    assert pci.has_interface_elsewhere(str(folder))
    (folder / "net" / "eth0").mkdir()
    assert not pci.has_interface_elsewhere(str(folder))
    assert pci.interfaces(str(folder)) == ("eth0",)


def test_an_interface_of_virtio_elsewhere(devices: Path) -> None:
    folder = function(devices)
    (folder / "virtio0" / "net").mkdir(parents=True)
    assert pci.has_interface_elsewhere(str(folder))
    (folder / "virtio0" / "net" / "eth0").mkdir()
    assert not pci.has_interface_elsewhere(str(folder))


ALIASES = """\
# Aliases extracted from modules themselves.
alias pci:v000015B3d0000101Esv*sd*bc*sc*i* mlx5_core
alias vfio_pci:v*d*sv*sd*bc*sc*i* vfio_pci
alias vfio_pci:v000015B3d0000101Esv*sd*bc*sc*i* mlx5_vfio_pci
alias vfio_pci:v000015B3d*sv*sd*bc*sc*i* less_specific
alias vfio_pci:v00001DB7d0000DC3Dsv*sd*bc*sc*i* other
"""
MOST_SPECIFIC = [
    ("pci:v000015B3d0000101Esv000015B3sd00000001bc02sc00i00", "mlx5_vfio_pci"),
    ("pci:v000015B3d0000FFFFsv000015B3sd00000001bc02sc00i00", "less_specific"),
    ("pci:v00008086d00001592sv00008086sd00000001bc02sc00i00", "vfio-pci"),
    (None, "vfio-pci"),
    ("", "vfio-pci"),
]


@pytest.mark.parametrize(("modalias", "driver"), MOST_SPECIFIC)
def test_the_most_specific_driver_of_guests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, modalias: str | None, driver: str
) -> None:
    monkeypatch.setattr(modules, "FOLDER", str(tmp_path))
    assert modules.vfio_driver(modalias) == "vfio-pci"
    folder = tmp_path / modules.os.uname().release
    folder.mkdir()
    (folder / "modules.alias").write_text(ALIASES)
    assert modules.vfio_driver(modalias) == driver


PROCESSORS = [
    ("vendor_id\t: GenuineIntel", "by intel_iommu=on among the kernel's arguments"),
    ("vendor_id\t: AuthenticAMD", "have no amd_iommu=off among the kernel's arguments"),
    ("processor\t: 0", "switch the IOMMU on in the firmware"),
    (None, "switch the IOMMU on in the firmware"),
]


@pytest.mark.parametrize(("cpuinfo", "advice"), PROCESSORS)
def test_what_switches_the_iommu_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cpuinfo: str | None, advice: str
) -> None:
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr(iommu, "CPUINFO", str(path))
    if cpuinfo is not None:
        path.write_text(f"{cpuinfo}\n")
    assert iommu.advice().endswith(advice)


def test_a_read_that_the_kernel_keeps(tmp_path: Path) -> None:
    """A pipe that nobody writes to keeps whoever opens it, as a device does that is being taken from its driver."""
    import os

    path = tmp_path / "driver_override"
    os.mkfifo(path)
    with pytest.raises(Exception, match=r"driver_override has not ended after 0.2 s and was killed"):
        sysfs.read_by_another(str(path), 0.2)
