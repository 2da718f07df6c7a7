# SPDX-License-Identifier: GPL-3.0-or-later
"""What the facts modules tell of vHBAs, and how definitions come back after boots and driver reloads."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from conftest import Host, warnings
from simhost.scenario import FOLDER
from test_restore import install, restore
from vhbas import DEFINITION, HBAS, WWNN, WWPN, disks, document, kept, made_by_hand, vports

NAME = f"vHBA {WWPN} on the HBA with WWPN {HBAS[3]}"


def told(host: Host, **arguments: Any) -> dict[str, Any]:
    facts: dict[str, Any] = host.done("vhba_facts", **arguments)["ansible_facts"]["vhba"]
    return facts


def defined(host: Host) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = host.done("definition_facts", kinds=["vhba"])["ansible_facts"]["nodedev_definitions"][
        "vhba"
    ]
    return found


def test_hbas(fc: Host) -> None:
    hbas = told(fc)["hbas"]
    assert hbas["scsi_host3"] == {
        "name": "scsi_host3",
        "host": 3,
        "wwnn": "20000090fa1234a0",
        "wwpn": HBAS[3],
        "fabric_wwn": "100000051e000001",
        "port_state": "Online",
        "port_type": "NPort (fabric via point-to-point)",
        "npiv": True,
        "max_vports": 4,
        "vports": 0,
        "free_vports": 4,
        "hindrance": None,
        "vhbas": [],
        "targets": [{"rport": "rport-3:0-0", "wwpn": "500601623ea01234", "state": "Online"}],
        "luns": [
            {
                "by_id": hbas["scsi_host3"]["luns"][0]["by_id"],
                "address": "3:0:0:0",
                "block": "/dev/sdh",
                "generic": "/dev/sg0",
                "size": 5 << 30,
                "by_path": "/dev/disk/by-path/pci-0000:04:00.0-fc-0x500601623ea01234-lun-0",
                "multipath": None,
            }
        ],
    }
    assert {name: hba["hindrance"] for name, hba in hbas.items()} == {
        "scsi_host3": None,
        "scsi_host4": None,
        "scsi_host5": "its port is Linkdown, not Online",
        "scsi_host6": None,
        "scsi_host7": "it has no NPIV: its driver offers no vport_create",
    }
    assert [name for name, hba in hbas.items() if hba["fabric_wwn"] is None] == ["scsi_host5", "scsi_host6"]
    assert (hbas["scsi_host7"]["npiv"], hbas["scsi_host7"]["max_vports"]) == (False, 0)


def test_a_vhba_is_told_of_as_its_own_module_does(fc: Host) -> None:
    made = fc.vhba(wait_luns=3)["vhba"]
    found = told(fc)
    hba = found["hbas"]["scsi_host3"]
    assert (hba["vports"], hba["free_vports"], hba["vhbas"]) == (1, 3, ["scsi_host8"])
    (vhba,) = found["vhbas"].values()
    same = set(made) - {"active"}
    assert {key: vhba[key] for key in same} == {key: made[key] for key in same}
    assert set(vhba) - same == {"port_type"}
    made_by_hand(fc, "a3", 4)
    assert {name: vhba["persistent"] for name, vhba in told(fc)["vhbas"].items()} == {
        "scsi_host8": True,
        "scsi_host9": False,
    }


def test_one_hba(fc: Host) -> None:
    fc.vhba("a3")
    fc.vhba("a4", parent="scsi_host4")
    found = told(fc, parent="scsi_host4")
    assert (list(found["hbas"]), list(found["vhbas"])) == (["scsi_host4"], ["scsi_host9"])
    assert found["hbas"]["scsi_host4"]["vhbas"] == ["scsi_host9"]
    assert told(fc, parent="scsi_host0") == {"hbas": {}, "vhbas": {}}


def test_a_full_hba(fc: Host) -> None:
    for end in ("b1", "b2", "b3", "b4"):
        made_by_hand(fc, end)
    hba = told(fc)["hbas"]["scsi_host3"]
    assert (hba["free_vports"], hba["hindrance"]) == (0, "all of its 4 vports are in use")
    assert hba["vhbas"] == [f"scsi_host{number}" for number in (8, 9, 10, 11)]


def test_no_hbas(host: Host) -> None:
    assert told(host) == {"hbas": {}, "vhbas": {}}


def test_facts_change_nothing(fc: Host) -> None:
    fc.vhba("a3")
    before = fc.state()
    assert told(fc, check_mode=True) == told(fc)
    assert fc.state() == before


def test_a_definition(fc: Host) -> None:
    assert defined(fc) == []
    fc.vhba()
    expected = {
        "wwnn": WWNN,
        "wwpn": WWPN,
        "parent_wwpn": HBAS[3],
        "require_online": True,
        "name": "scsi_host8",
        "parent": "scsi_host3",
        "parent_addr": "host3",
        "parent_missing": False,
        "autostart": True,
        "active": True,
        "drift": [],
        "pool": None,
    }
    assert defined(fc) == [expected]
    fc.vhba(state="inactive", force=True)
    assert defined(fc) == [{**expected, "name": None, "active": False}]
    fc.write(DEFINITION, fc.read(DEFINITION).replace(HBAS[3], "10000090fa1234ff"))
    missing = {"parent_wwpn": "10000090fa1234ff", "parent": None, "parent_addr": None, "parent_missing": True}
    assert defined(fc) == [{**expected, **missing, "name": None, "active": False}]


def test_drift(fc: Host) -> None:
    fc.vhba("a3", state="inactive", parent="scsi_host3")
    made_by_hand(fc, "a3", 4)
    fc.write("/sys/class/fc_host/host3/vport_create", "5001a4a0000000a4:5001a4a1000000bb")
    fc.vhba("a4", wwnn="5001a4a1000000bb")
    path = DEFINITION.replace("a1.json", "a4.json")
    fc.write(path, fc.read(path).replace("00bb", "00a4"))
    first, second = defined(fc)
    assert (first["active"], first["name"], first["parent"]) == (True, "scsi_host8", "scsi_host3")
    assert first["drift"] == [{"what": "parent", "defined": HBAS[3], "running": HBAS[4]}]
    assert (second["active"], second["drift"]) == (
        False,
        [{"what": "wwnn", "defined": "5001a4a1000000a4", "running": "5001a4a1000000bb"}],
    )


def test_damaged_definitions_are_told(fc: Host) -> None:
    fc.vhba("a3")
    fc.write(DEFINITION, '{"version": 2}')
    result = fc.done("definition_facts")
    (damage,) = result["ansible_facts"]["nodedev_definitions"]["damaged"]
    assert (damage["path"], damage["reason"]) == (DEFINITION, "its version is 2, and this release knows 1 only")
    assert [DEFINITION in text for text in warnings(result)] == [True]
    assert [each["wwpn"][-2:] for each in defined(fc)] == ["a3"]
    assert len(told(fc)["vhbas"]) == 1


@pytest.fixture
def booting(start: Callable[..., Host]) -> Host:
    """A host with the boot engine whose SCSI hosts have another number after each boot."""
    host = start({**yaml.safe_load((FOLDER / "fc.yml").read_text()), "shifting_hosts": True})
    install(host)
    return host


def lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [*done.stdout.splitlines(), *done.stderr.splitlines()]


def test_all_is_there_again_after_boots_with_other_numbers(booting: Host) -> None:
    booting.vhba(parent="scsi_host3")
    booting.vhba("a3", parent="scsi_host4")
    booting.vhba("a4", parent="scsi_host5", require_online=False)
    booting.vhba("a5", parent="scsi_host3", persistent=False)
    before = [document(booting, f"{DEFINITION[:-7]}{end}.json") for end in ("a1", "a3", "a4")]
    for shift in (1, 2):
        booting.reboot()
        assert vports(booting) == []
        done = restore(booting)
        assert (done.returncode, done.stderr) == (0, "")
        *made, summary = done.stdout.splitlines()
        # HBAs are worked on side by side.
        assert sorted(made) == [
            f"restored: {NAME}",
            f"restored: vHBA 5001a4a0000000a3 on the HBA with WWPN {HBAS[4]}",
            f"restored: vHBA 5001a4a0000000a4 on the HBA with WWPN {HBAS[5]}",
        ]
        assert summary == "3 restored, 0 there already, 0 failed"
        assert vports(booting) == [
            f"host{3 + shift} a1 Active",
            f"host{4 + shift} a3 Active",
            f"host{5 + shift} a4 Linkdown",
        ]
        again = booting.vhba()
        assert (again["changed"], again["vhba"]["parent"]) == (False, f"scsi_host{3 + shift}")
    assert restore(booting).stdout.splitlines()[-1] == "0 restored, 3 there already, 0 failed"
    assert [document(booting, f"{DEFINITION[:-7]}{end}.json") for end in ("a1", "a3", "a4")] == before
    booting.link(HBAS[5], "Online")
    assert vports(booting)[2] == "host7 a4 Active"
    assert disks(booting) == ["dm-0", "sdb", "sdc", "sdd"]


def test_an_hba_that_arrives_restores_its_own(booting: Host) -> None:
    booting.vhba("a3", parent="scsi_host3")
    booting.vhba("a4", parent="scsi_host4")
    booting.reload("host3")
    assert vports(booting) == ["host4 a4 Active"]
    new = told(booting)["hbas"]
    (name,) = [name for name, hba in new.items() if hba["wwpn"] == HBAS[3]]
    assert lines(restore(booting, "--parent", "host4")) == [
        f"there already: vHBA 5001a4a0000000a4 on the HBA with WWPN {HBAS[4]}",
        "0 restored, 1 there already, 0 failed",
    ]
    assert lines(restore(booting, "--parent", name.removeprefix("scsi_"))) == [
        f"restored: vHBA 5001a4a0000000a3 on the HBA with WWPN {HBAS[3]}",
        "1 restored, 0 there already, 0 failed",
    ]
    assert restore(booting, "--parent", "host0").stdout == "0 restored, 0 there already, 0 failed\n"


def test_what_cannot_be_restored_is_told_and_stops_nothing(booting: Host) -> None:
    for end, parent in (("a1", 3), ("a3", 4), ("a4", 3), ("a5", 3)):
        booting.vhba(end, state="inactive", parent=f"scsi_host{parent}")
    folder = DEFINITION[:-7]
    booting.write(f"{folder}a3.json", booting.read(f"{folder}a3.json").replace(HBAS[4], "10000090fa1234ff"))
    booting.write(f"{folder}a4.json", "{")
    booting.run(["sed", "-i", f"s/{HBAS[3]}/{HBAS[4]}/", f"{folder}a5.json"])
    for end in ("b1", "b2", "b3", "b4"):
        made_by_hand(booting, end, 4)
    assert "would create vHBA 5001a4a0000000a1" in restore(booting, "--dry-run").stdout
    done = restore(booting, "--wait", "0.2")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [f"restored: {NAME}", "1 restored, 0 there already, 2 failed"]
    damage, *failures = done.stderr.splitlines()
    errors = [damage, *sorted(failures)]
    assert errors[0].startswith(f"the definition {folder}a4.json is damaged (no JSON")
    gone = "vHBA 5001a4a0000000a3 on the HBA with WWPN 10000090fa1234ff"
    assert errors[1] == f"failed: {gone}: its HBA is not there; it is restored when the HBA arrives"
    assert "scsi_host4: all of its 4 vports are in use" in errors[2]
    assert len(errors) == 3
    assert kept(booting) == ["a1", "a3", "a4", "a5"]


def test_what_is_defined_is_listed(booting: Host) -> None:
    booting.vhba("a1")
    booting.vhba("a3", state="inactive", parent="scsi_host3")
    made_by_hand(booting, "a3", 4)
    assert restore(booting, "--list").stdout.splitlines() == [
        f"{NAME}: active, auto",
        f"vHBA 5001a4a0000000a3 on the HBA with WWPN {HBAS[3]}: active, auto, parent is {HBAS[4]}, not {HBAS[3]}",
    ]


def test_an_hba_whose_driver_is_late_with_its_name_is_waited_for(booting: Host) -> None:
    booting.vhba("a3", parent="scsi_host3")
    booting.reboot()
    booting.fault("fc_host/host4/port_name", op="read", content="0x0\n", times=4)
    done = restore(booting)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "1 restored, 0 there already, 0 failed")
    assert vports(booting) == ["host4 a3 Active"]


def squeezed(xml: str) -> str:
    return "".join(line.strip() for line in xml.splitlines()).replace('"', "'")


def test_hbas_and_vhbas_are_libvirts_by_name_parent_and_xml(fc: Host) -> None:
    ours = fc.vhba(wait_luns=3)["vhba"]
    made_by_hand(fc, "a3", 4)
    with fc.libvirtd() as libvirtd:
        devices = fc.done("nodedev_facts", capabilities=["scsi_host", "scsi_target", "scsi"], xml=True)
        found = devices["ansible_facts"]["nodedev"]["devices"]
        ports = {name for name in found if name.startswith("scsi_host")}
        assert ports == set(libvirtd.virsh("nodedev-list", "--cap", "scsi_host").split())
        assert {"scsi_host3", ours["name"], "scsi_host9"} <= ports
        assert "scsi_8_0_1_0" in found
        for name, device in found.items():
            assert squeezed(device["xml"]) == squeezed(libvirtd.virsh("nodedev-dumpxml", name)), name
            assert f"<parent>{device['parent']}</parent>" in libvirtd.virsh("nodedev-dumpxml", name)
        assert found[ours["name"]]["parent"] == ours["parent"]


def test_an_hba_that_is_not_there_is_a_warning(fc: Host) -> None:
    assert warnings(fc.module("vhba_facts", parent="host3")) == []
    (warning,) = warnings(fc.module("vhba_facts", parent="scsi_host99"))
    assert warning.startswith("parent: no HBA is called scsi_host99; the HBAs with NPIV are: scsi_host3 (WWPN ")
