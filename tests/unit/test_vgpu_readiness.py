# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host lacks for vGPUs, read from a host made of files, and how its cards make them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import (
    iommu,
    mdev_parents,
    pci,
    sriov_manage,
    vgpu_cards,
    vgpu_readiness,
)
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.oddities import Oddities
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.vgpu_cards import Card, Mode
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.vgpu_readiness import Driver, Finding
from devices import Host

GPU, NAME = "0000:41:00.0", "pci_0000_41_00_0 (0000:41:00.0) is a GPU"
NVIDIA, TOTAL = {"class": "0x030200", "vendor": "0x10de", "device": "0x26b9"}, {"sriov_totalvfs": "16"}
TYPES, FOLDER = "mdev_supported_types/nvidia-1/name", "nvidia/current_vgpu_type"
PLAIN = (
    "nothing is there that only NVIDIA's driver for vGPU hosts has: install its vendor's driver for vGPU hosts, since"
    " the one for workstations, guests or containers makes no vGPUs"
)
OFF = "the IOMMU is off: switch the IOMMU on in the firmware"
LATE = "they come some time after the driver and the functions, if nvidia-vgpu-mgr runs; journalctl -u nvidia-vgpu-mgr"
ENABLE = "hostdev.nodedev.sriov with numvfs: max enables them"
SEEN_THEN = "which vGPUs the card makes is seen then"
STOPPED = (
    "nvidia-vgpu-mgr.service does not run: systemctl enable --now nvidia-vgpu-mgr; journalctl -u nvidia-vgpu-mgr says"
    " why it has ended"
)


@pytest.fixture
def there(host: Host, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host whose units and tools are files of the test's own too."""
    monkeypatch.setattr(pci, "DEVICES", str(host.sys / "bus" / "pci" / "devices"))
    monkeypatch.setattr(mdev_parents, "PCI", str(host.sys / "bus" / "pci" / "devices"))
    monkeypatch.setattr(iommu, "CPUINFO", str(host.root / "cpuinfo"))
    monkeypatch.setattr(vgpu_readiness, "UNITS", (str(host.root / "units"),))
    monkeypatch.setattr(sriov_manage, "PLACES", tuple(str(host.root / name) for name in ("tool", "other")))
    (host.sys / "bus" / "pci" / "devices").mkdir(parents=True)
    return host


def gpu(host: Host, driver: str | None = "nvidia", functions: int = 0, own: str | None = None, **more: Any) -> None:
    """A GPU of NVIDIA's with so many functions; ``own`` is a file that each of them has, or else the card."""
    links = {"driver": f"bus/pci/drivers/{driver}"} if driver else {}
    files = {own: "0"} if own else {}
    host.make_device("pci", GPU, {**NVIDIA, **more, **({} if functions else files)}, links=links)
    host.link(f"bus/pci/devices/{GPU}", f"devices/{GPU}")
    for number in range(functions):
        address = f"0000:41:00.{number + 4}"
        host.make_device("pci", address, {**NVIDIA, **files}, links=links)
        host.link(f"bus/pci/devices/{address}", f"devices/{address}")
        host.link(f"devices/{GPU}/virtfn{number}", f"devices/{address}")
        host.link(f"devices/{address}/physfn", f"devices/{GPU}")


def with_iommu(host: Host) -> None:
    (host.sys / "kernel" / "iommu_groups" / "0").mkdir(parents=True)


def for_hosts(host: Host) -> None:
    """All of NVIDIA's driver for vGPU hosts, with its services running."""
    with_iommu(host)
    (host.sys / "module" / "nvidia_vgpu_vfio").mkdir(parents=True)
    for name in vgpu_readiness.SERVICES:
        host.write(host.root / "units" / f"{name}.service", "")
        (host.sys / "fs" / "cgroup" / "system.slice" / f"{name}.service").mkdir(parents=True)
    host.write(host.root / "tool", "")


def stopped(host: Host) -> None:
    for_hosts(host)
    for name in vgpu_readiness.SERVICES:
        (host.sys / "fs" / "cgroup" / "system.slice" / f"{name}.service").rmdir()


def with_both_tools(host: Host) -> None:
    for_hosts(host)
    host.write(host.root / "other", "")


def loaded(host: Host) -> None:
    for_hosts(host)
    (host.sys / "bus" / "pci" / "drivers" / "nvidia").mkdir(parents=True)


Make = Callable[[Host], None]


@pytest.mark.parametrize(
    ("has", "options", "told"),
    [
        pytest.param(
            for_hosts,
            {"driver": None},
            [f"{NAME} without a driver: install its vendor's driver for vGPU hosts"],
            id="no-driver",
        ),
        pytest.param(
            loaded,
            {"driver": None},
            [
                f"{NAME} without a driver: bind nvidia to it; a run of sriov-manage that was ended in the middle has"
                " left it so"
            ],
            id="interrupted",
        ),
        pytest.param(
            for_hosts,
            {"driver": "nouveau", **TOTAL},
            [
                f"{NAME} with driver nouveau, which makes no vGPUs: install its vendor's driver for vGPU hosts, and"
                " have that bound to it instead"
            ],
            id="nouveau",
        ),
        pytest.param(
            for_hosts,
            {"driver": "vfio-pci", **TOTAL},
            [f"{NAME} bound to vfio-pci, for a guest to have it whole: bind nvidia to it for vGPUs"],
            id="vfio",
        ),
        pytest.param(
            with_iommu,
            {},
            [f"{NAME} with driver nvidia, which offers no types: is it its vendor's driver for vGPU hosts?", PLAIN],
            id="plain",
        ),
        pytest.param(
            for_hosts, {}, [f"{NAME} with driver nvidia, which offers no types: {LATE} says more"], id="no-types"
        ),
        pytest.param(
            for_hosts,
            TOTAL,
            [
                f"{NAME} with driver nvidia, and none of its 16 virtual functions is enabled: {ENABLE}, by TOOL;"
                f" {SEEN_THEN}"
            ],
            id="no-functions",
        ),
        pytest.param(
            stopped,
            {"functions": 2, **TOTAL},
            [f"{NAME} with driver nvidia and 2 virtual functions, which offers no types: {LATE} says more", STOPPED],
            id="stopped",
        ),
        pytest.param(
            with_both_tools,
            TOTAL,
            [
                f"{NAME} with driver nvidia, and none of its 16 virtual functions is enabled: {ENABLE}; {SEEN_THEN}",
                "TOOL and OTHER are both there, so that the cards have two drivers' owners: remove one of them",
            ],
            id="two-tools",
        ),
        pytest.param(
            for_hosts,
            {"functions": 2, "own": FOLDER, **TOTAL},
            [
                f"{NAME} whose driver nvidia makes vGPUs by nvidia/current_vgpu_type of virtual functions, not by"
                " mediated devices"
            ],
            id="vfio-vgpus",
        ),
        pytest.param(
            lambda _host: None,
            {"driver": None},
            [f"{NAME} without a driver: install its vendor's driver for vGPU hosts", OFF],
            id="no-iommu",
        ),
    ],
)
def test_the_hint_says_what_to_do(there: Host, has: Make, options: dict[str, Any], told: list[str]) -> None:
    gpu(there, **options)
    has(there)
    tools = {"TOOL": str(there.root / "tool"), "OTHER": str(there.root / "other")}
    for word, path in tools.items():
        told = [text.replace(word, path) for text in told]
    assert mdev_parents.why_none() == told


@pytest.mark.parametrize(
    ("options", "framework", "itself"),
    [
        ({}, None, False),
        ({"driver": "vfio-pci"}, None, False),
        (TOTAL, None, False),
        ({"functions": 2, **TOTAL}, None, False),
        ({"functions": 2, "own": TYPES, **TOTAL}, "mdev", False),
        ({"functions": 2, "own": FOLDER, **TOTAL}, "vfio", False),
        # A T4 claims 16 functions, and makes its vGPUs itself.
        ({"own": TYPES, **TOTAL}, "mdev", True),
    ],
)
def test_frameworks(there: Host, options: dict[str, Any], framework: str | None, itself: bool) -> None:
    gpu(there, **options)
    oddities = Oddities()
    (card,) = vgpu_cards.cards(oddities)
    assert (card.address, card.is_nvidia, card.framework, card.itself) == (GPU, True, framework, itself)
    assert card.total == (16 if "sriov_totalvfs" in options else None)
    assert oddities.warnings == []


def test_a_number_of_functions_that_is_none(there: Host) -> None:
    gpu(there, sriov_totalvfs="many")
    oddities = Oddities()
    (card,) = vgpu_cards.cards(oddities)
    assert card.total is None
    assert ["sriov_totalvfs is 'many', which is not a number" in text for text in oddities.warnings] == [True]


FUNCTION = pci.Function(GPU, "", "0x030200", pci.NVIDIA, "nvidia", functions=("0000:41:00.4",))
OWN, MEDIATED = Card(FUNCTION, 16, vgpu_cards.VFIO), Card(FUNCTION, 16, vgpu_cards.MDEV)
LEGACY = Card(FUNCTION, 16, vgpu_cards.MDEV, itself=True)


@pytest.mark.parametrize(
    ("card", "mode", "ok", "found"),
    [
        (OWN, Mode("SR-IOV"), True, "whose Host VGPU Mode is SR-IOV"),
        (OWN, Mode("Non SR-IOV"), False, "whose Host VGPU Mode is Non SR-IOV"),
        (OWN, Mode(None), False, "whose Host VGPU Mode is N/A"),
        (OWN, None, None, "whose Host VGPU Mode is not known: it hangs"),
        (MEDIATED, Mode(None), None, "whose Host VGPU Mode is N/A"),
        (LEGACY, Mode("Non SR-IOV"), True, "whose Host VGPU Mode is Non SR-IOV"),
    ],
)
def test_modes(card: Card, mode: Mode | None, ok: bool | None, found: str) -> None:
    finding = vgpu_readiness.mode(card, mode, "it hangs")
    assert (finding.ok, finding.found) == (ok, found)
    assert (finding.advice is None) == (ok is True or mode is None)


@pytest.mark.parametrize(
    ("card", "driver", "found"),
    [
        (
            OWN,
            Driver(services={}),
            {"manager": True, "nvidia-vgpud": None, "nvidia-vgpu-mgr": None, "sriov_manage": None, "iommu": True},
        ),
        (
            Card(FUNCTION),
            Driver(services={}, grouped=False),
            {"manager": False, "nvidia-vgpud": False, "nvidia-vgpu-mgr": False, "sriov_manage": None, "iommu": False},
        ),
        (
            Card(FUNCTION),
            Driver(services={"nvidia-vgpud": False, "nvidia-vgpu-mgr": True}, tools=("/a",)),
            {"manager": True, "nvidia-vgpud": None, "nvidia-vgpu-mgr": True, "sriov_manage": True, "iommu": True},
        ),
        (
            Card(FUNCTION),
            Driver(hosts=True, services={"nvidia-vgpud": None, "nvidia-vgpu-mgr": False}, tools=("/a", "/b")),
            {"manager": True, "nvidia-vgpud": None, "nvidia-vgpu-mgr": False, "sriov_manage": False, "iommu": True},
        ),
    ],
)
def test_the_host(card: Card, driver: Driver, found: dict[str, bool | None]) -> None:
    told = vgpu_readiness.of_host(driver, [card])
    assert {each.what: each.ok for each in told} == found
    assert [each.what for each in told if each.ok is False and each.advice is None] == []
    assert [each.what for each in told if each.ok is True and each.advice is not None] == []
    assert [each.what for each in vgpu_readiness.of_host(driver, [])] == ["iommu"]


@pytest.mark.parametrize(
    ("card", "found"),
    [
        (OWN, {"driver": True, "sriov": True, "functions": True, "types": True}),
        (MEDIATED, {"driver": True, "sriov": True, "functions": True, "types": True}),
        (LEGACY, {"driver": True, "sriov": None, "types": True}),
        (Card(FUNCTION, 16), {"driver": True, "sriov": None, "types": False}),
        (Card(FUNCTION), {"driver": True, "sriov": None, "types": False}),
    ],
)
def test_a_card(card: Card, found: dict[str, bool | None]) -> None:
    assert {each.what: each.ok for each in vgpu_readiness.of_card(card, Driver())} == found


@pytest.mark.parametrize(("mode", "advice"), [(Mode("SR-IOV", mig=True), "nvidia-smi mig -cgi"), (None, "systemctl")])
def test_a_card_without_any_type(mode: Mode | None, advice: str) -> None:
    finding = vgpu_readiness.offers(mode)
    assert (finding.ok, advice in str(finding.advice)) == (False, True)


@pytest.mark.parametrize("version", ["", "systemd", "unified"])
def test_a_service_runs_that_has_a_control_group(there: Host, version: str) -> None:
    unit, cgroup = "nvidia-vgpu-mgr.service", there.sys / "fs" / "cgroup" / version / "system.slice"
    there.write(there.root / "units" / unit, "")
    assert vgpu_readiness.driver_of_host().services == {"nvidia-vgpu-mgr": None}
    cgroup.mkdir(parents=True)
    assert vgpu_readiness.driver_of_host().services == {"nvidia-vgpu-mgr": False}
    (cgroup / unit).mkdir()
    assert vgpu_readiness.driver_of_host().services == {"nvidia-vgpu-mgr": True}


def test_a_finding_as_data() -> None:
    finding = Finding("iommu", False, "it is off", "switch it on")
    document = {"what": "iommu", "ok": False, "found": "it is off", "advice": "switch it on"}
    assert finding.document(None) == {"device": None, **document}
    assert finding.document(OWN) == {"device": "pci_0000_41_00_0", **document}
    assert (finding.text, Finding("iommu", True, "on").text) == ("it is off: switch it on", "on")


def test_a_host_without_anything_of_nvidias(there: Host) -> None:
    assert vgpu_readiness.driver_of_host() == Driver(services={}, grouped=False)
