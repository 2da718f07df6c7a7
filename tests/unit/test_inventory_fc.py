# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory says of Fibre Channel ports beside libvirt's words, and what it reads for that."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.facts import nodedev
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import fc_port, lun
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba import definition
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba.definition import Definition
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt.inventory import Filter
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store import files, mdevctl
from devices import Host

WWNN, WWPN = "5001a4a1000000a1", "5001a4a0000000a1"
HBA_WWNN, HBA_WWPN = "20000090fa1234a0", "10000090fa1234a0"
TARGET = "500601603ea01234"
HBA, VHBA = "pci0/host3", "pci0/host3/vport-3:0-0/host9"
FC, DISKS = Filter(capabilities=frozenset(("fc_host",))), Filter(capabilities=frozenset(("scsi_host",)))


class Machine(Host):
    """A disk controller as host0; an HBA of four vports as host3; a vHBA as host9, with a target and a LUN."""

    def scsi_host(self, below: str, **port: str) -> None:
        name = below.rpartition("/")[2]
        device = self.make_device("scsi", name, uevent={"DEVTYPE": "scsi_host"}, below=below.rpartition("/")[0])
        self.link(f"bus/scsi/devices/{name}", os.path.relpath(device.path, self.sys))
        if port:
            folder = f"devices/{below}/fc_host/{name}"
            self.attributes(folder, {"port_type": "NPort", "fabric_name": "0x0", "port_state": "Online", **port})
            self.link(f"class/fc_host/{name}", folder)

    @property
    def vport_state(self) -> Path:
        return self.sys / "class" / "fc_vports" / "vport-3:0-0" / "vport_state"

    def extra(self, wanted: Filter = FC) -> dict[str, Any]:
        return {name: device.get("extra") for name, device in nodedev.gathered(wanted).devices.items()}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(tmp_path, monkeypatch)
    monkeypatch.setattr(files, "STORE", str(tmp_path / "nodedev.d"))
    monkeypatch.setattr(mdevctl, "STORE", str(tmp_path / "mdevctl.d"))
    for name in ("PORTS", "VPORTS", "RPORTS", "SCSI_HOSTS"):
        monkeypatch.setattr(fc_port, name, getattr(fc_port, name).replace("/sys", str(machine.sys)))
    monkeypatch.setattr(lun, "DEVICES", f"{machine.sys}/bus/scsi/devices")
    machine.scsi_host("pci1/host0")
    room = {"max_npiv_vports": "4", "npiv_vports_inuse": "1", "vport_create": ""}
    machine.scsi_host(HBA, node_name=f"0x{HBA_WWNN}", port_name=f"0x{HBA_WWPN}", **room)
    machine.scsi_host(VHBA, node_name=f"0x{WWNN}", port_name=f"0x{WWPN}", port_type="NPIV VPORT")
    machine.attributes("class/fc_vports/vport-3:0-0", {"vport_state": "Active"})
    rport = {"port_name": f"0x{TARGET}", "port_state": "Online", "roles": "FCP Target"}
    machine.attributes("class/fc_remote_ports/rport-9:0-0", rport)
    unit = "9:0:0:1"
    tape = machine.make_device("scsi", unit, uevent={"DEVTYPE": "scsi_device"}, below=f"{VHBA}/rport-9:0-0/target9:0:0")
    machine.link(f"bus/scsi/devices/{unit}", os.path.relpath(tape.path, machine.sys))
    (Path(tape.path) / "scsi_generic" / "sg4").mkdir(parents=True)
    return machine


LUN = {"address": "9:0:0:1", "block": None, "generic": "/dev/sg4", "size": None, "by_path": None, "by_id": None}
LUN["multipath"] = None
OF_HBA = {
    "port_state": "Online",
    "port_type": "NPort",
    "free_vports": 3,
    "vhbas": ["scsi_host9"],
    "hindrance": None,
    "targets": [],
    "luns": [],
}
OF_VHBA = {
    "port_state": "Online",
    "port_type": "NPIV VPORT",
    "vport": "vport-3:0-0",
    "vport_state": "Active",
    "targets": [{"rport": "rport-9:0-0", "wwpn": TARGET, "state": "Online"}],
    "luns": [LUN],
}


def test_an_hba_and_its_vhba(machine: Machine) -> None:
    assert machine.extra() == {"scsi_host3": OF_HBA, "scsi_host9": OF_VHBA}
    assert machine.extra(DISKS) == {"scsi_host0": None, "scsi_host3": OF_HBA, "scsi_host9": OF_VHBA}


def test_why_no_vhba_can_be_made(machine: Machine) -> None:
    folder = machine.sys / "devices" / HBA / "fc_host" / "host3"
    (folder / "npiv_vports_inuse").write_text("4\n")
    assert machine.extra()["scsi_host3"]["hindrance"] == "all of its 4 vports are in use"
    (folder / "port_state").write_text("Linkdown\n")
    assert machine.extra()["scsi_host3"]["hindrance"] == "its port is Linkdown, not Online"
    (folder / "vport_create").unlink()
    found = machine.extra()["scsi_host3"]
    assert found["hindrance"] == "it has no NPIV: its driver offers no vport_create"
    assert (found["free_vports"], found["vhbas"]) == (0, ["scsi_host9"])


def test_the_definition_of_a_vhba(machine: Machine) -> None:
    definition.define(Definition(WWPN, WWNN, HBA_WWPN, False), None).apply()
    found = machine.extra()
    assert found["scsi_host9"]["definition"] == {"parent_wwpn": HBA_WWPN, "require_online": False}
    assert "definition" not in found["scsi_host3"]
    # libvirt counts all of them as transient.
    names = {each: set(machine.extra(Filter(persistence=each))) for each in ("persistent", "transient")}
    assert "scsi_host9" in names["persistent"] - names["transient"]
    assert "scsi_host3" in names["transient"] - names["persistent"]


def test_a_definition_of_other_names_is_not_its_own(machine: Machine) -> None:
    definition.define(Definition(WWPN, "5001a4a1000000ff", HBA_WWPN), None).apply()
    assert "definition" not in machine.extra()["scsi_host9"]


def test_a_damaged_definition_is_a_warning(machine: Machine) -> None:
    path = Path(definition.DOCUMENTS.paths(WWPN)[0])
    path.parent.mkdir(parents=True)
    path.write_text("{")
    found = nodedev.gathered(FC)
    assert found.devices["scsi_host9"]["extra"] == OF_VHBA
    assert [str(path) in warning for warning in found.warnings] == [True]


def test_a_name_of_any_text_leads_nowhere(machine: Machine) -> None:
    outside = Path(files.STORE) / "outside.json"
    outside.parent.mkdir(parents=True)
    outside.write_text("{}")
    (machine.sys / "devices" / VHBA / "fc_host" / "host9" / "port_name").write_text("../outside\n")
    found = nodedev.gathered(FC)
    assert found.devices["scsi_host9"]["extra"] == OF_VHBA
    assert found.warnings == []


def test_what_cannot_be_read_is_a_warning(machine: Machine) -> None:
    machine.vport_state.unlink()
    machine.vport_state.mkdir()
    found = nodedev.gathered(FC)
    assert "extra" not in found.devices["scsi_host9"]
    assert found.devices["scsi_host3"]["extra"] == OF_HBA
    assert [str(machine.vport_state) in warning for warning in found.warnings] == [True]


def opened(machine: Machine, monkeypatch: pytest.MonkeyPatch, wanted: Filter) -> list[str]:
    """The files that are opened, of those that tell of ports."""
    found: list[str] = []
    original = os.open
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", lambda path, *more: found.append(str(path)) or original(path, *more))
        nodedev.gathered(wanted)
    marks = ("fc_host", "fc_vports", "fc_remote_ports")
    return sorted(path.removeprefix(str(machine.root)) for path in found if any(mark in path for mark in marks))


def test_each_value_is_read_once(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    both = ("fabric_name", "node_name", "port_name", "port_state", "port_type")
    wanted = [f"/sys/class/fc_host/host{number}/{name}" for number in (3, 9) for name in both]
    wanted += [f"/sys/class/fc_host/host3/{name}" for name in ("max_npiv_vports", "npiv_vports_inuse")]
    wanted += ["/sys/class/fc_vports/vport-3:0-0/vport_state"]
    wanted += [f"/sys/class/fc_remote_ports/rport-9:0-0/{name}" for name in ("port_name", "port_state", "roles")]
    assert opened(machine, monkeypatch, FC) == sorted(wanted)


@pytest.mark.parametrize(
    "wanted",
    [
        Filter(capabilities=frozenset(("scsi",))),
        Filter(names=frozenset(("scsi_host0",))),
        Filter(capabilities=frozenset(("fc_host",)), names=frozenset(("scsi_host0",))),
        Filter(driver="ahci"),
    ],
)
def test_nothing_is_read_of_ports_that_are_not_asked_for(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, wanted: Filter
) -> None:
    assert [path for path in opened(machine, monkeypatch, wanted) if not path.endswith(NAMES)] == []


# What libvirt's own words of a unit's parent take.
NAMES = ("fabric_name", "node_name", "port_name", "max_npiv_vports", "npiv_vports_inuse")
