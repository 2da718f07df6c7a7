# SPDX-License-Identifier: GPL-3.0-or-later
"""Which devices are listed, under which names, below which parents; what filters leave; the tree's lines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.facts import nodedev
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import (
    mdev_parents,
    nodes,
    pci_ids,
    sysfs,
    vfio,
)
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.udev import Device
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt import kinds
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt.inventory import Filter
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store import mdevctl, scripts
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.mdevctl import Definition
from devices import Host

UUID, OTHER = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001", "83b8f4f2-509f-382f-3c1e-e6bfe0fa1002"
CARD = "0000:01:00.0"
NAME, BRIDGE, TARGET = "pci_0000_01_00_0", "pci_0000_00_01_0", "scsi_target3_0_0"
MDEV = f"mdev_{UUID.replace('-', '_')}_0000_01_00_0"
INACTIVE = f"mdev_{OTHER.replace('-', '_')}_0000_01_00_0"


class Machine(Host):
    """A host whose devices are found in the folders of their subsystems, too."""

    def add(self, subsystem: str, sysname: str, *, kind: str = "bus", below: str = "", **more: Any) -> Device:
        device = self.make_device(subsystem, sysname, below=below, **more)
        folder = f"bus/{subsystem}/devices" if kind == "bus" else f"class/{subsystem}"
        self.link(f"{folder}/{os.path.basename(device.path)}", os.path.relpath(device.path, self.sys))
        return device

    def pci(self, address: str, below: str = "pci0000:00", header: int = 0, **more: Any) -> Device:
        config = bytes(14) + bytes((header,)) + bytes(241)
        attributes = {"vendor": "0x10de", "device": "0x1eb8", "config": config, **more.pop("attributes", {})}
        uevent = {"PCI_CLASS": more.pop("pci_class", "30200")}
        return self.add("pci", address, below=below, attributes=attributes, uevent=uevent, **more)

    def names(self, **wanted: Any) -> list[str]:
        sets = {key: frozenset(wanted.pop(key, ())) for key in ("capabilities", "names")}
        return sorted(nodedev.gathered(Filter(**sets, **wanted)).devices)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A bridge, a card below it with a mediated device and a defined one, a disk, an interface."""
    machine = Machine(tmp_path, monkeypatch)
    monkeypatch.setattr(pci_ids, "PCI_IDS", ())
    monkeypatch.setattr(mdevctl, "STORE", str(tmp_path / "mdevctl.d"))
    monkeypatch.setattr(scripts, "FOLDERS", ())
    monkeypatch.setattr(mdev_parents, "BUS", f"{machine.sys}/class/mdev_bus")
    monkeypatch.setattr(vfio, "GROUPS", f"{machine.sys}/class/vfio")
    monkeypatch.setattr(vfio, "CDEVS", f"{machine.sys}/class/vfio-dev")
    pci_ids.names_of.cache_clear()
    pci_ids._pci_ids.cache_clear()
    machine.pci("0000:00:01.0", header=1)
    kind = "mdev_supported_types/nvidia-231"
    types = {f"{kind}/device_api": "vfio-pci", f"{kind}/available_instances": "8"}
    card = machine.pci(CARD, "pci0000:00/0000:00:01.0", attributes=types, links={"driver": "bus/pci/drivers/nvidia"})
    machine.link(f"class/mdev_bus/{CARD}", os.path.relpath(card.path, machine.sys))
    below = f"pci0000:00/0000:00:01.0/{CARD}"
    machine.add(
        "mdev",
        UUID,
        below=below,
        links={"mdev_type": f"devices/{below}/{kind}", "iommu_group": "kernel/iommu_groups/12"},
    )
    scsi = f"{below}/host3"
    machine.add("scsi", "host3", below=below, uevent={"DEVTYPE": "scsi_host"})
    machine.add("scsi", "target3:0:0", below=f"{scsi}/rport-3:0-0", uevent={"DEVTYPE": "scsi_target"})
    machine.add("block", "loop0", kind="class", below="virtual/block", uevent={"DEVTYPE": "disk"})
    for parent, uuid in ((CARD, UUID), (CARD, OTHER), ("0000:99:00.0", OTHER)):
        mdevctl.define(Definition(uuid, parent, "nvidia-231", True, (("a", "1"),)))
    return machine


ALL = ["computer", MDEV, BRIDGE, NAME, "scsi_host3", TARGET]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({}, ALL),
        ({"capabilities": ["system"]}, ["computer"]),
        ({"capabilities": ["pci"]}, [BRIDGE, NAME]),
        ({"capabilities": ["mdev_types"]}, [NAME]),
        ({"capabilities": ["mdev_types", "scsi_target"]}, [NAME, TARGET]),
        ({"capabilities": ["scsi_target"]}, [TARGET]),
        ({"capabilities": ["mdev"]}, [MDEV]),
        ({"capabilities": ["fc_host", "vpd", "vports", "ccwgroup_member", "net"]}, []),
        ({"names": ["computer", NAME, "unknown"]}, ["computer", NAME]),
        ({"names": [MDEV, INACTIVE]}, [MDEV]),
        ({"names": [NAME], "capabilities": ["scsi_target"]}, []),
        ({"parent": "computer"}, ALL),
        ({"parent": NAME}, [MDEV, NAME, "scsi_host3", TARGET]),
        ({"parent": "scsi_host3"}, ["scsi_host3", TARGET]),
        ({"parent": BRIDGE, "capabilities": ["scsi_target"]}, [TARGET]),
        ({"parent": "unknown"}, []),
        ({"driver": "nvidia"}, [NAME]),
        ({"driver": "vfio"}, []),
        ({"driver": "nvidia", "include": "all"}, [NAME]),
        ({"include": "inactive"}, [INACTIVE, INACTIVE.replace("_01_", "_99_")]),
        ({"include": "inactive", "parent": BRIDGE}, [INACTIVE]),
        ({"include": "inactive", "names": [INACTIVE]}, [INACTIVE]),
        ({"include": "inactive", "capabilities": ["pci"]}, []),
        ({"include": "all", "capabilities": ["mdev"], "parent": NAME}, [MDEV, INACTIVE]),
        ({"persistence": "persistent"}, ["computer", MDEV]),
        ({"persistence": "persistent", "include": "all", "parent": NAME}, [MDEV, INACTIVE]),
        ({"persistence": "transient"}, [name for name in ALL if name not in ("computer", MDEV)]),
        ({"persistence": "transient", "include": "inactive"}, []),
        ({"persistence": "persistent", "capabilities": ["pci", "system"]}, ["computer"]),
    ],
)
def test_filters(machine: Machine, wanted: dict[str, Any], names: list[str]) -> None:
    assert machine.names(**wanted) == sorted(names)


def test_parents(machine: Machine) -> None:
    devices = nodedev.gathered(Filter(include="all")).devices
    parents = {name: device.get("parent") for name, device in devices.items()}
    assert parents == {
        "computer": None,
        BRIDGE: "computer",
        NAME: BRIDGE,
        MDEV: NAME,
        "scsi_host3": NAME,
        TARGET: "scsi_host3",
        INACTIVE: NAME,
        INACTIVE.replace("_01_", "_99_"): "computer",
    }


def test_a_parent_that_is_not_listed_is_skipped(machine: Machine) -> None:
    Path(machine.sys, "bus/pci/devices/0000:00:01.0/config").write_bytes(b"\xff" * 256)
    for wanted in (Filter(), Filter(capabilities=frozenset(("pci",)))):
        found = nodedev.gathered(wanted)
        assert found.devices[NAME]["parent"] == "computer"
        path = f"{machine.sys}/devices/pci0000:00/0000:00:01.0"
        assert [one["path"] for one in found.unlisted if one["path"] == path] == [path]
        assert [path in warning for warning in found.warnings] == [True]


def test_mediated_devices(machine: Machine) -> None:
    devices = nodedev.gathered(Filter(include="all")).devices
    definition = {"type": "nvidia-231", "autostart": True, "attrs": [{"name": "a", "value": "1"}]}
    assert devices[MDEV]["capability"] == {
        "type": "mdev",
        "mdev_type": {"id": "nvidia-231"},
        "uuid": UUID,
        "parent_addr": CARD,
        "iommuGroup": {"number": 12},
    }
    assert devices[MDEV]["extra"] == {"active": True, "device_api": "vfio-pci", "definition": definition}
    assert devices[INACTIVE] == {
        "name": INACTIVE,
        "parent": NAME,
        "capability": {
            "type": "mdev",
            "mdev_type": {"id": "nvidia-231"},
            "uuid": OTHER,
            "parent_addr": CARD,
            "iommuGroup": {"number": 0},
            "attr": [{"name": "a", "value": "1"}],
        },
        "extra": {"active": False, "definition": definition},
    }


def test_a_damaged_definition_is_a_warning(machine: Machine) -> None:
    path = os.path.join(mdevctl.STORE, CARD, OTHER)
    Path(path).write_text("{")
    found = nodedev.gathered(Filter(include="all", capabilities=frozenset(("mdev",))))
    assert sorted(found.devices) == sorted([MDEV, INACTIVE.replace("_01_", "_99_")])
    assert [path in warning for warning in found.warnings] == [True]


def test_why_a_device_is_not_listed(machine: Machine) -> None:
    machine.add("net", "br0", kind="class", below="virtual/net", uevent={"DEVTYPE": "bridge", "INTERFACE": "br0"})
    machine.add("scsi", "odd", below="virtual")
    reasons = {one["path"].rpartition("/")[2]: one["reason"] for one in nodedev.gathered(Filter()).unlisted}
    assert set(reasons) == {"loop0", "br0", "odd"}
    assert reasons["br0"] == "libvirt has no kind of device for DEVTYPE bridge"
    assert reasons["odd"] == "libvirt has no kind of device for subsystem scsi"


def test_of_two_devices_with_one_name_the_later_is_listed(machine: Machine) -> None:
    numbers = {"BUSNUM": "001", "DEVNUM": "2", "ID_MODEL_ID": "1", "ID_VENDOR_ID": "2"}
    usb = machine.add("usb", "1-1.1.1", below="usb1/1-1/1-1.1", uevent={"DEVTYPE": "usb_device", **numbers})
    interface = machine.add("usb", "1-1:1.1", below="usb1/1-1", uevent={"DEVTYPE": "usb_interface"})
    found = nodedev.gathered(Filter(capabilities=frozenset(("usb", "usb_device"))))
    assert found.devices["usb_1_1_1_1"]["path"] == interface.path
    assert found.unlisted[-1]["path"] == usb.path
    # In a subset, too.
    assert machine.names(capabilities=["usb_device"]) == []
    assert machine.names(capabilities=["usb"]) == ["usb_1_1_1_1"]


def test_virtual_functions(machine: Machine) -> None:
    virtual = [machine.pci(f"0000:02:00.{number}") for number in (4, 5)]
    links = {f"virtfn{index}": os.path.relpath(device.path, machine.sys) for index, device in enumerate(virtual)}
    physical = machine.pci("0000:02:00.0", links=links, attributes={"sriov_totalvfs": "16"})
    for device in virtual:
        os.symlink("../0000:02:00.0", f"{device.path}/physfn")
    machine.write(Path(virtual[1].path) / "nvidia" / "current_vgpu_type", "711")
    devices = nodedev.gathered(Filter(capabilities=frozenset(("pci",)))).devices
    assert devices["pci_0000_02_00_4"]["extra"] == {"role": "function", "vf_index": 0}
    assert devices["pci_0000_02_00_5"]["extra"] == {"role": "function", "vf_index": 1, "current_vgpu_type": 711}
    listed = devices["pci_0000_02_00_0"]["capability"]["capability"]
    assert [(one["type"], one["maxCount"], len(one["address"])) for one in listed] == [("virt_functions", 16, 2)]
    assert devices["pci_0000_02_00_0"]["extra"] == {"role": "carved"}
    assert physical.link("virtfn1") == "0000:02:00.5"


TYPES = {"mdev_supported_types/t/device_api": "vfio-pci", "mdev_supported_types/t/available_instances": "1"}
OF_MDEV = {**TYPES, f"{UUID}/uevent": ""}
SRIOV = {"sriov_totalvfs": "7"}


@pytest.mark.parametrize(
    ("pci_class", "attributes", "links", "role"),
    [
        pytest.param("30000", {}, {}, "whole", id="gpu"),
        pytest.param("30200", {}, {}, "whole", id="3d"),
        pytest.param("38000", {}, {}, "whole", id="display"),
        pytest.param("20000", {}, {}, "whole", id="ethernet"),
        pytest.param("20700", {}, {}, "whole", id="infiniband"),
        pytest.param("28000", {}, {}, "whole", id="wireless"),
        pytest.param("10802", {}, {}, "whole", id="nvme"),
        pytest.param("10601", {}, {}, None, id="sata"),
        pytest.param("10700", {}, {}, None, id="sas"),
        pytest.param("10700", SRIOV, {}, "whole", id="sas-with-sriov"),
        pytest.param("10700", {"sriov_totalvfs": "0"}, {}, None, id="sas-without-functions-ever"),
        pytest.param("10700", {}, {"virtfn0": "devices/0000:02:00.1"}, "carved", id="functions-and-no-total"),
        pytest.param("120000", {}, {}, "whole", id="accelerator"),
        pytest.param("b4000", {}, {}, "whole", id="co-processor"),
        pytest.param("b2000", {}, {}, None, id="processor"),
        pytest.param("c0400", {}, {}, "whole", id="fibre-channel"),
        pytest.param("c0330", {}, {}, None, id="usb"),
        pytest.param("40300", {}, {}, None, id="sound-of-a-gpu"),
        pytest.param("60000", {}, {}, None, id="host-bridge"),
        pytest.param("60400", {}, {}, None, id="pci-bridge"),
        pytest.param("60400", SRIOV, {}, None, id="pci-bridge-with-sriov"),
        pytest.param("20000", SRIOV, {}, "whole", id="card-without-functions"),
        pytest.param("20000", SRIOV, {"virtfn0": "devices/0000:02:00.1"}, "carved", id="card-with-functions"),
        pytest.param("20000", {}, {"physfn": "devices/0000:02:00.0"}, "function", id="function"),
        pytest.param("b2000", {}, {"physfn": "devices/0000:02:00.0"}, "function", id="function-of-another-class"),
        pytest.param("30000", OF_MDEV, {"physfn": "devices/0000:02:00.0"}, "function", id="function-with-an-mdev"),
        pytest.param("30000", TYPES, {}, "whole", id="parent-without-mdevs"),
        pytest.param("30000", OF_MDEV, {}, "carved", id="parent-with-an-mdev"),
        pytest.param("c0330", OF_MDEV, {}, "carved", id="parent-of-another-class"),
    ],
)
def test_roles(
    machine: Machine, pci_class: str, attributes: dict[str, str], links: dict[str, str], role: str | None
) -> None:
    """What is a virtual function, what is carved into parts and what is whole; of others nothing is told."""
    header = 1 if pci_class == "60400" else 0
    machine.pci("0000:05:00.0", header=header, attributes=attributes, links=links, pci_class=pci_class)
    device = nodedev.gathered(Filter(names=frozenset(("pci_0000_05_00_0",)))).devices["pci_0000_05_00_0"]
    assert device.get("extra", {}).get("role") == role


def test_a_role_costs_one_look_at_a_parent_of_mediated_devices(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All else that it takes has been read for the capability."""
    physical = machine.pci("0000:05:00.0", attributes=SRIOV)
    listed: list[str] = []
    plain = os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder: (listed.append(folder), plain(folder))[1])
    devices = nodedev.gathered(Filter(capabilities=frozenset(("pci",)))).devices
    assert {name: device.get("extra") for name, device in devices.items()} == {
        BRIDGE: None,
        NAME: {"role": "carved"},
        "pci_0000_05_00_0": {"role": "whole"},
    }
    assert [folder for folder in listed if folder in (devices[NAME]["path"], physical.path)] == [devices[NAME]["path"]]


@pytest.mark.parametrize(
    ("groups", "cdev", "node"),
    [
        (("12",), False, "/dev/vfio/12"),
        # A function that a VFIO driver has without an IOMMU.
        (("noiommu-12",), False, "/dev/vfio/noiommu-12"),
        # A kernel without groups, and one without character devices, which has their folders.
        ((), True, "/dev/vfio/devices/vfio0"),
        ((), False, None),
        (("1", "2"), False, None),
    ],
)
def test_holders_of_what_has_a_node(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, groups: tuple[str, ...], cdev: bool, node: str | None
) -> None:
    for group in groups:
        machine.attributes(f"class/vfio/{group}", {"dev": "1:5"})
    place = f"devices/pci0000:00/0000:00:01.0/{CARD}/{UUID}/vfio-dev/vfio0"
    machine.attributes(place, {"dev": "1:5"} if cdev else {})
    machine.link("class/vfio-dev/vfio0", place)
    monkeypatch.setattr(nodes, "DEV", str(machine.dev))
    with open("/dev/zero", "rb"):
        extra = nodedev.gathered(Filter(capabilities=frozenset(["mdev"]))).devices[MDEV]["extra"]
    own = [holder["node"] for holder in extra.get("holders", ()) if holder["pid"] == os.getpid()]
    assert own == ([] if node is None else [node])
    assert ("holders" in extra) == (node is not None)


def test_a_subset_opens_its_own_files_only(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    original = os.open
    monkeypatch.setattr(os, "open", lambda path, *more: opened.append(str(path)) or original(path, *more))
    assert machine.names(capabilities=["scsi_target"]) == [TARGET]
    below = f"{machine.sys}/devices/pci0000:00/0000:00:01.0"
    folders = {path.rpartition("/")[0] for path in opened if path.startswith(str(machine.sys / "devices"))}
    assert not any(UUID in folder or "loop0" in folder for folder in folders)
    # The target's parent is the host adapter: what is above that is not looked at.
    assert below not in folders
    assert f"{below}/{CARD}" not in folders


def test_a_device_that_vanishes_is_left_out(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    original = sysfs.content

    def content(path: str, size: int = 4096) -> bytes | None:
        return None if f"/{CARD}/" in path else original(path, size)

    monkeypatch.setattr(sysfs, "content", content)
    assert BRIDGE in machine.names()
    assert NAME not in machine.names()


@pytest.mark.parametrize(
    ("parents", "lines"),
    [
        ({"computer": None}, ["computer", ""]),
        (
            {"computer": None, "b": "computer", "a": "computer"},
            ["computer", "  |", "  +- a", "  +- b", "    "],
        ),
        (
            {"computer": None, "a": "computer", "b": "computer", "a1": "a", "a2": "a", "b1": "b", "b11": "b1"},
            [
                *("computer", "  |", "  +- a", "  |   |", "  |   +- a1", "  |   +- a2", "  |     ", "  +- b"),
                *("      |", "      +- b1", "          |", "          +- b11", "            "),
            ],
        ),
        ({"computer": None, "B": "computer", "a": "computer"}, ["computer", "  |", "  +- a", "  +- B", "    "]),
        # Of a subset, what is without its parent stands by itself.
        ({"x1": "gone", "x2": "x1"}, ["x1", "  |", "  +- x2", "    "]),
        ({}, []),
    ],
)
def test_tree(parents: dict[str, str | None], lines: list[str]) -> None:
    devices = {name: {"name": name, **({"parent": parent} if parent else {})} for name, parent in parents.items()}
    assert nodedev.tree(devices) == lines


def test_the_names_that_users_choose_by() -> None:
    assert len(kinds.CAPABILITIES) == len(set(kinds.CAPABILITIES)) == 24
    assert set(kinds.NESTED) <= set(kinds.CAPABILITIES)
    kinds_by_rule = {*kinds.BY_DEVTYPE.values(), *kinds.BY_SUBSYSTEM.values(), *kinds.BY_PROPERTY.values()}
    assert kinds_by_rule == set(kinds.KINDS) - {"system"}


@pytest.mark.parametrize(
    ("subsystem", "uevent", "kind"),
    [
        *[("x", {"DEVTYPE": name, "PCI_CLASS": "1"}, kind) for name, kind in kinds.BY_DEVTYPE.items()],
        *[("x", {"DEVTYPE": name, "INTERFACE": "x"}, None) for name in ("partition", "bridge", "drm_connector", "")],
        *[(name, {"PCI_CLASS": "1", "INTERFACE": "x"}, kind) for name, kind in kinds.BY_SUBSYSTEM.items()],
        ("x", {"PCI_CLASS": "1"}, "pci"),
        ("x", {"INTERFACE": "x"}, "net"),
        ("x", {"PCI_CLASS": "1", "INTERFACE": "x"}, "net"),
        ("pci", {}, None),
        ("x", {}, None),
    ],
)
def test_kind_of(host: Host, subsystem: str, uevent: dict[str, str], kind: str | None) -> None:
    assert kinds.kind_of(host.make_device(subsystem, "x", uevent=uevent)) == kind
