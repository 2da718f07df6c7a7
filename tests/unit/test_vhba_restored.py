# SPDX-License-Identifier: GPL-3.0-or-later
"""The definitions of vHBAs beside what runs: facts, drift, whose arrival concerns them, what is in their way."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.boot import restore
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import fc_port
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.sysfs import SysfsError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds import registry
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.registry import Defined
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba import definition, restored
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba.definition import Definition
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.resource import Hindrance
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store import files, mdevctl
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.files import DamagedDefinition
from devices import Host
from fibre import WWNN, WWPN, make_hba, make_vhba, names

HBA = names(3)[1]
OTHER = "5001a4a1000000b2"
FACTS: dict[str, Any] = {
    "wwnn": WWNN,
    "wwpn": WWPN,
    "parent_wwpn": HBA,
    "require_online": True,
    "name": "scsi_host8",
    "parent": "scsi_host3",
    "parent_addr": "host3",
    "parent_missing": False,
    "autostart": True,
    "active": True,
    "drift": [],
}
INACTIVE = {**FACTS, "name": None, "active": False}


@pytest.fixture(autouse=True)
def store(fibre: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One vHBA is defined."""
    monkeypatch.setattr(files, "STORE", str(tmp_path / "store"))
    here = replace(registry.KINDS["vhba"], records=files.folders("vhba"))
    monkeypatch.setitem(registry.KINDS, "vhba", here)
    definition.define(Definition(WWPN, WWNN, HBA), None).apply()


def kept() -> Defined:
    (found,), damaged = registry.KINDS["vhba"].read()
    assert damaged == []
    return found


def test_nothing_is_defined(fibre: Host) -> None:
    definition.undefine(Definition(WWPN, WWNN, HBA)).apply()
    make_vhba(fibre)
    assert registry.KINDS["vhba"].read() == ([], [])


def test_it_runs_as_defined(fibre: Host) -> None:
    make_hba(fibre)
    make_vhba(fibre)
    assert kept().facts() == FACTS
    assert (kept().id, kept().name) == (WWPN, f"vHBA {WWPN} on the HBA with WWPN {HBA}")


def test_it_does_not_run(fibre: Host) -> None:
    make_hba(fibre)
    make_vhba(fibre, 9, wwnn=OTHER, wwpn=OTHER)
    assert kept().facts() == INACTIVE


def test_its_hba_has_another_number(fibre: Host) -> None:
    make_hba(fibre, 14, port_name=f"0x{HBA}")
    make_vhba(fibre, 15, parent=14)
    assert kept().facts() == {**FACTS, "name": "scsi_host15", "parent": "scsi_host14", "parent_addr": "host14"}


def test_its_hba_is_missing(fibre: Host) -> None:
    make_hba(fibre, 4)
    assert kept().facts() == {**INACTIVE, "parent": None, "parent_addr": None, "parent_missing": True}
    assert kept().hindrance() == Hindrance("its HBA is not there; it is restored when the HBA arrives", passing=False)


def test_it_runs_elsewhere(fibre: Host) -> None:
    make_hba(fibre, 3)
    make_hba(fibre, 4)
    make_vhba(fibre, parent=4)
    drift = [{"what": "parent", "defined": HBA, "running": names(4)[1]}]
    assert kept().facts() == {**FACTS, "drift": drift}


def test_it_runs_with_another_wwnn(fibre: Host) -> None:
    make_hba(fibre)
    make_vhba(fibre, wwnn=OTHER)
    drift = [{"what": "wwnn", "defined": WWNN, "running": OTHER}]
    assert kept().facts() == {**FACTS, "active": False, "drift": drift}


def test_its_wwpn_is_an_hbas_own(fibre: Host) -> None:
    make_hba(fibre)
    make_hba(fibre, 4, port_name=f"0x{WWPN}", node_name=f"0x{WWNN}")
    assert kept().facts() == INACTIVE


def test_a_damaged_one_is_told(fibre: Host) -> None:
    make_hba(fibre)
    folder = os.path.dirname(Definition(WWPN, WWNN, HBA).path)
    Path(folder, f"{OTHER}.json").write_text("{")
    found, damaged = registry.KINDS["vhba"].read()
    assert [each.id for each in found] == [WWPN]
    assert [each.path for each in damaged] == [f"{folder}/{OTHER}.json"]


@pytest.mark.parametrize(
    ("arrived", "concerned"),
    [("host3", True), ("host4", False), ("host8", False), ("host9", False), ("host", False), ("0000:04:00.0", False)],
)
def test_whose_arrival_concerns_it(fibre: Host, arrived: str, concerned: bool) -> None:
    make_hba(fibre, 3)
    make_hba(fibre, 4)
    make_vhba(fibre, parent=4)
    assert kept().concerns(arrived) == concerned


NAMELESS = ["0x0", "0x0000000000000000", "0xffffffffffffffff"]


@pytest.mark.parametrize("name", NAMELESS)
def test_an_hba_whose_driver_has_not_named_its_port(fibre: Host, name: str) -> None:
    make_hba(fibre, 4, port_name=name)
    known = kept()
    assert known.concerns("host4")
    hindrance = known.hindrance()
    assert hindrance is not None
    assert (hindrance.passing, "has not named its port" in hindrance.reason) == (True, True)
    make_hba(fibre, 3)
    assert known.hindrance() is None


@pytest.mark.parametrize(
    ("arrived", "concerned"), [("host3", True), ("host8", False), ("host9", False), ("mtty", False)]
)
def test_what_is_damaged_may_be_of_any_hba(fibre: Host, arrived: str, concerned: bool) -> None:
    make_hba(fibre, 3)
    make_vhba(fibre, parent=3)
    damage = DamagedDefinition(f"{files.STORE}/vhba/{OTHER}.json", "x")
    assert restored.may_concern(damage, arrived) == concerned


def test_what_shares_an_hba() -> None:
    assert kept().place() == (f"fc:{HBA}",)


def test_no_port_is_read_before_it_is_asked_for(fibre: Host) -> None:
    make_hba(fibre)
    folder = Path(fc_port.PORTS)
    folder.rename(folder.with_name("away"))
    folder.symlink_to(folder.name)
    found = kept()
    assert found.autostart
    with pytest.raises(SysfsError, match="ELOOP"):
        found.facts()
    folder.unlink()
    folder.with_name("away").rename(folder)
    assert found.facts() == INACTIVE


def test_a_damaged_file_is_told_when_an_hba_arrives(
    fibre: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each may be that of the vHBA; a vHBA that arrives is nobody's parent."""
    monkeypatch.setattr(mdevctl, "STORE", str(tmp_path / "mdevctl.d"))
    make_hba(fibre, 3)
    make_vhba(fibre, parent=3)
    path = Path(Definition(WWPN, WWNN, HBA).path)
    path.write_text("{")
    assert [restore.main(["--list", "--parent", parent]) for parent in ("host8", "mtty", "host3")] == [0, 2, 1]
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "--parent: there is no device mtty, and nothing is defined on it"
    assert [str(path) in line for line in told] == [False, True]
