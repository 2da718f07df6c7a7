# SPDX-License-Identifier: GPL-3.0-or-later
"""Values of drivers that make no sense: one warning each, and all else is done and told, whatever module meets them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conftest import CARD, OTHER_CARD, UUID, Host, warnings

OF_CARD = f"/sys/bus/pci/devices/{CARD}"
AVAILABLE = "mdev_supported_types/nvidia-231/available_instances"
GROUP = f"/sys/devices/*/{UUID}/iommu_group"
HBA = "/sys/class/fc_host/host3"


def odd(result: dict[str, Any]) -> list[str]:
    """The warnings of what the kernel says."""
    return [told for told in warnings(result) if "/sys/" in told]


@pytest.mark.parametrize("value", ["N/A", "", "0x10"])
def test_a_device_is_made_whatever_its_type_says_of_its_room(host: Host, value: str) -> None:
    host.fault(f"{OF_CARD}/{AVAILABLE}", op="read", content=f"{value}\n")
    result = host.mdev()
    assert result["mdev"]["active"]
    (told,) = odd(result)
    assert f"{AVAILABLE} is '{value}'" in told
    again = host.mdev()
    assert (again["changed"], odd(again)) == (False, [told])
    assert host.mdev(state="absent")["mdev"]["active"] is False


@pytest.mark.parametrize("file", ["name", "description", "device_api"])
def test_a_device_is_made_whatever_cannot_be_read_of_its_type(host: Host, file: str) -> None:
    host.fault(f"{OF_CARD}/mdev_supported_types/nvidia-232/{file}", op="read", errno="EIO")
    result = host.mdev()
    assert result["mdev"]["active"]
    assert [f"nvidia-232/{file} failed with EIO" in told for told in odd(result)] == [True]


@pytest.mark.parametrize(
    "target", ["../../../../kernel/iommu_groups/7x", "../../../../kernel/iommu_groups/", "noiommu"]
)
def test_a_device_whose_group_has_no_number(host: Host, target: str) -> None:
    host.mdev()
    host.fault(GROUP, op="read", content=target)
    result = host.mdev()
    assert (result["changed"], result["mdev"]["active"], result["mdev"]["iommu_group"]) == (False, True, None)
    assert ["/iommu_group is '" in told for told in odd(result)] == [True]
    host.pool(type="nvidia-232", count=1)
    assert host.mdev(state="absent")["changed"]


def test_a_pool_leaves_out_the_parent_that_says_nonsense_of_its_room(host: Host) -> None:
    host.fault(f"{OF_CARD}/{AVAILABLE}", op="read", content="N/A\n")
    made = host.pool(type="nvidia-231", count=3)
    assert {each["parent_addr"] for each in made["instances"]} == {OTHER_CARD}
    assert made["capacity"]["pci_0000_3d_00_0"]["nvidia-231"] == {"free": 0, "pool": 0, "others": 0}
    assert [f"{AVAILABLE} is 'N/A'" in told for told in odd(made)] == [True]


@pytest.mark.parametrize("module", ["mdev_pool", "vgpu_pool"])
@pytest.mark.parametrize("file", ["name", "device_api", "available_instances"])
def test_a_card_of_which_a_type_cannot_be_read_stops_no_pool(host: Host, module: str, file: str) -> None:
    """Neither one that grows on another card, nor one that is complete, nor one that is to go."""
    host.done(module, name="x", type="GRID T4-2Q", count=2)
    host.fault(f"{OF_CARD}/mdev_supported_types/nvidia-231/{file}", op="read", errno="EIO")
    told = odd(again := host.done(module, name="x"))
    assert (again["changed"], [f"nvidia-231/{file} failed with EIO" in each for each in told]) == (False, [True])
    assert odd(host.done(module, name="x", count=3)) == told
    host.done(module, name="y", type="nvidia-231", count=1)
    for name in ("x", "y"):
        assert host.done(module, name=name, state="absent")["instances"] == []


def test_a_card_that_does_not_tell_how_many_it_takes(start: Callable[..., Host]) -> None:
    host = start("nvidia-sriov")
    host.fault("/sys/devices/*/nvidia-712/description", op="read", errno="EIO")
    assert len(host.pool(type="nvidia-712", count="max")["instances"]) == 2
    assert ["/description failed with EIO" in each for each in odd(host.pool(count=1))] == [True] * 4


def test_functions_whose_parameters_cannot_be_read(start: Callable[..., Host]) -> None:
    """They are taken to be as they are defined."""
    host = start("nvidia-vfio-small")
    pool: dict[str, Any] = {"name": "x", "type": "A16-4Q", "params": "disable_vnc=1"}
    one: dict[str, Any] = {"device": "0000:06:00.7", "type": "A16-4Q", "params": "disable_vnc=1"}
    host.done("vgpu_pool", **pool, count=2)
    host.done("vgpu", **one)
    for module, wish in (("vgpu_pool", {**pool, "count": 2}), ("vgpu", one)):
        host.fault("/sys/devices/*/nvidia/vgpu_params", op="read", errno="EIO")
        again = host.done(module, **wish)
        told = [True] * (2 if module == "vgpu_pool" else 1)
        assert (again["changed"], ["vgpu_params failed with EIO" in each for each in odd(again)]) == (False, told)
        gone = host.done(module, state="absent", **{key: wish[key] for key in ("name", "device") if key in wish})
        assert gone["changed"]
        host.clear_faults()


@pytest.mark.parametrize(
    ("file", "chosen", "told"),
    [
        ("numa_node", {"numa_node": 0}, []),
        ("vendor", {"vendor": "0x10de"}, ["/vendor is ''"]),
        ("device", {"product": "0x1eb8"}, ["/device is ''"]),
    ],
)
def test_a_pool_does_not_choose_a_parent_that_says_nonsense(
    host: Host, file: str, chosen: dict[str, Any], told: list[str]
) -> None:
    host.fault(f"{OF_CARD}/{file}", op="read", content="\n")
    other = {"numa_node": 1} if "numa_node" in chosen else chosen
    made = host.pool(type="nvidia-231", count=2, parents=other)
    assert {each["parent_addr"] for each in made["instances"]} == {OTHER_CARD}
    said = odd(made)
    assert [part in each for part, each in zip(told, said)] == [True] * len(told)


def hbas(host: Host) -> tuple[dict[str, Any], list[str]]:
    result = host.done("vhba_facts")
    found: dict[str, Any] = result["ansible_facts"]["vhba"]["hbas"]
    return found, warnings(result)


@pytest.mark.parametrize("value", ["N/A", "", "-1", "9" * 4000])
@pytest.mark.parametrize(("file", "changed"), [("max_npiv_vports", "max_vports"), ("npiv_vports_inuse", "vports")])
def test_an_hba_that_says_nonsense_of_its_room(fc: Host, file: str, changed: str, value: str) -> None:
    before, _none = hbas(fc)
    fc.fault(f"*/fc_host/host4/{file}", op="read", content=f"{value}\n")
    found, (told,) = hbas(fc)
    assert f"/host4/{file} is '{value[:50]}" in told
    assert found["scsi_host4"][changed] == 0
    assert {name: hba for name, hba in found.items() if name != "scsi_host4"} == {
        name: hba for name, hba in before.items() if name != "scsi_host4"
    }
    if value == "-1":
        # To libvirt, that is a number.
        return
    # And else, such a host is no port.
    result = fc.done("nodedev_facts", capabilities=["scsi_host"])
    host4 = result["ansible_facts"]["nodedev"]["devices"]["scsi_host4"]
    assert "capability" not in host4["capability"]
    assert ["of scsi_host4, nothing of Fibre Channel is told" in each for each in warnings(result)] == [True]


@pytest.mark.parametrize(
    ("op", "path", "left"),
    [
        ("list", "class/fc_host", []),
        ("list", "class/fc_remote_ports", ["scsi_host3", "scsi_host4", "scsi_host5", "scsi_host6", "scsi_host7"]),
        ("list", "bus/scsi/devices", ["scsi_host3", "scsi_host4", "scsi_host5", "scsi_host6", "scsi_host7"]),
    ],
)
@pytest.mark.parametrize("errno", ["ELOOP", "EACCES"])
def test_a_folder_that_cannot_be_listed_is_one_warning(
    fc: Host, errno: str, op: str, path: str, left: list[str]
) -> None:
    fc.fault(path, op=op, errno=errno)
    found, told = hbas(fc)
    assert list(found) == left
    assert [f"/sys/{path} failed with {errno}" in each for each in told] == [True]


def test_a_vport_whose_state_cannot_be_read_is_told_without_it(fc: Host) -> None:
    made = fc.vhba()["vhba"]
    fc.fault("vport_state", op="read", errno="EIO")
    result = fc.done("vhba_facts")
    told = result["ansible_facts"]["vhba"]["vhbas"][made["name"]]
    assert (told["wwpn"], told["port_state"], told["vport_state"]) == (made["wwpn"], "Online", None)
    assert len(told["luns"]) == len(made["luns"])
    assert ["vport_state failed with EIO" in each for each in warnings(result)] == [True]


@pytest.mark.parametrize("module", ["vhba_facts", "nodedev_facts"])
def test_a_unit_that_cannot_be_read_hides_no_other(fc: Host, module: str) -> None:
    made = fc.vhba(wait_luns=2)["vhba"]
    lost, *others = made["luns"]
    fc.fault(f"{lost['address']}/block/*/size", op="read", errno="EIO")
    result = fc.done(module)
    found = result["ansible_facts"]
    port = (
        found["vhba"]["vhbas"][made["name"]]
        if module == "vhba_facts"
        else found["nodedev"]["devices"][made["name"]]["extra"]
    )
    assert port["luns"] == others
    assert ["/size failed with EIO" in each for each in warnings(result)] == [True]


def test_definitions_that_cannot_be_listed_are_a_warning(fc: Host) -> None:
    before, _none = hbas(fc)
    fc.run(["sh", "-c", "mkdir -p /etc/nodedev.d && ln -s vhba /etc/nodedev.d/vhba"])
    found, (told,) = hbas(fc)
    assert found == before
    assert "/etc/nodedev.d/vhba" in told


def test_texts_of_a_port_that_are_not_utf_8(fc: Host) -> None:
    for name in ("port_state", "port_type", "fabric_name"):
        fc.fault(f"*/fc_host/host3/{name}", op="read", content="A\udcff\x1b[31m\n")
    hba = hbas(fc)[0]["scsi_host3"]
    assert [hba[key] for key in ("port_state", "port_type")] == ["A\ufffd\x1b[31m"] * 2
    assert hba["fabric_wwn"] == "a\ufffd\x1b[31m"
    assert "A" in hba["hindrance"]


def test_a_document_with_a_comment_in_a_name_makes_the_vhba_that_libvirt_would(fc: Host) -> None:
    other = "<capability type='fc_host'><wwnn>5001a4a1000000ff</wwnn><wwpn>5001a4a0000000ff</wwpn></capability>"
    port = (
        "<capability type='fc_host'><wwnn>5001a4a1000000a1<!-- node --></wwnn>"
        "<wwpn><!-- zoned -->5001a4a0000000a1</wwpn></capability>"
    )
    document = (
        f"<device><parent><?on a?>scsi_host3</parent><capability type='scsi_host'>{other}{port}</capability></device>"
    )
    made = fc.done("nodedev", xml=document)["vhba"]
    assert (made["wwnn"], made["wwpn"], made["parent"]) == ("5001a4a1000000a1", "5001a4a0000000a1", "scsi_host3")


def test_a_document_with_a_uuid_of_libvirts_form(host: Host) -> None:
    document = (
        f"<device><parent>pci_0000_3d_00_0</parent><capability type='mdev'><type id='nvidia-231'/>"
        f"<uuid>\n  {UUID.replace('-', '').upper()}<!-- ours --> </uuid></capability></device>"
    )
    assert host.done("nodedev", xml=document)["mdev"]["uuid"] == UUID


def test_a_port_that_cannot_be_followed_hides_no_other(fc: Host) -> None:
    fc.fault("*/fc_host/host3", op="read", errno="EIO")
    found = hbas(fc)[0]
    assert "scsi_host3" not in found
    assert "scsi_host4" in found
    assert fc.vhba(parent="scsi_host4")["changed"]


@pytest.mark.parametrize("options", [{"parents": False}, {"wait_timeout": 10**400}], ids=["parents", "wait_timeout"])
def test_values_over_which_ansible_itself_stumbles(host: Host, options: dict[str, Any]) -> None:
    assert "the options cannot be understood, one has a value of a wrong type: " in host.pool_refused(**options)
