# SPDX-License-Identifier: GPL-3.0-or-later
"""The vhba module where things take time: logins, udev, LUNs, hosts and links that are late or never come."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from conftest import Host, warnings
from simhost.scenario import FOLDER
from simhost.testing import eventually, names
from vhbas import CREATE, DEFINE, UNDEFINE, WWNN, WWPN, disks, document, kept, vports

NAMED = {"parent": "scsi_host3"}


@pytest.mark.parametrize(
    ("end", "parent", "state"),
    [("ff", "scsi_host3", "Fabric Rejected WWN"), ("a1", "scsi_host6", "No Fabric Support")],
)
def test_a_vhba_that_is_turned_away_is_taken_back(fc: Host, end: str, parent: str, state: str) -> None:
    message = fc.vhba_refused(end, parent=parent)
    assert message.startswith(f"could not create vHBA 5001a4a0000000{end} ")
    assert f"was turned away: its vport_state is '{state}'; it was deleted again" in message
    assert (vports(fc), kept(fc)) == ([], [])
    made = fc.vhba(end, parent=parent, require_online=False)["vhba"]
    assert (made["vport_state"], made["active"], made["targets"], made["luns"]) == (state, True, [], [])
    assert not fc.vhba(end, parent=parent, require_online=False)["changed"]


def test_a_link_that_comes_late(fc: Host) -> None:
    wish: dict[str, Any] = {"parent": "scsi_host5", "require_online": False}
    made = fc.vhba(**wish)
    assert [made["vhba"][key] for key in ("vport_state", "port_state", "fabric_wwn")] == ["Linkdown", "Linkdown", None]
    assert document(fc)["require_online"] is False
    fc.link("host5", "Online")
    later = fc.vhba(**wish, wait_luns=3)
    assert (later["changed"], later["vhba"]["vport_state"], len(later["vhba"]["targets"])) == (False, "Active", 2)
    assert disks(fc) == ["dm-0", "sdb", "sdc", "sdd"]


def test_one_that_is_there_need_not_be_online(fc: Host) -> None:
    fc.vhba()
    fc.link("host3", "Linkdown")
    again = fc.vhba()
    assert (again["changed"], again["vhba"]["vport_state"], again["vhba"]["luns"]) == (False, "Linkdown", [])


def test_a_login_that_takes_a_moment(fc: Host) -> None:
    fc.fault("vport-*/fc_vports/*/vport_state", content="Initializing\n", op="read", times=3)
    assert fc.vhba()["vhba"]["vport_state"] == "Active"


def test_a_login_that_never_ends_is_taken_back(fc: Host) -> None:
    fc.fault("vport-*/fc_vports/*/vport_state", content="Initializing\n", op="read")
    message = fc.vhba_refused(wait_timeout=0.3)
    assert "is not active after 0.3 s but 'Initializing'; it was deleted again" in message


def test_a_host_that_is_late(fc: Host) -> None:
    fc.fault("vport-*/host*", lag=0.7)
    assert fc.vhba()["plan"] == [CREATE, DEFINE]
    assert vports(fc) == ["host3 a1 Active"]


def test_a_host_that_never_comes_is_taken_back(fc: Host) -> None:
    fc.fault("vport-*/host*", lag=3600)
    message = fc.vhba_refused(wait_timeout=0.5)
    assert "has no SCSI host after 0.5 s; it was deleted again" in message
    fc.clear_faults()
    assert fc.vhba()["vhba"]["vport"] == "vport-3:0-1"


def test_udev_is_waited_for(fc: Host) -> None:
    fc.fault("scsi_host/host8/uevent", lag=3)
    fc.vhba()
    # udev's record comes with its message.
    assert "+scsi_host:host8" in names(fc, "/run/udev/data")


def test_udev_is_waited_for_no_longer_than_told(fc: Host) -> None:
    fc.fault("scsi_host/host8/uevent", lag=3600)
    made = fc.vhba(wait_timeout=0.5)
    assert made["vhba"]["active"]
    assert warnings(made)[0].startswith("udev has not dealt with host8 in time: ")


def test_a_pool_says_what_udev_has_not_dealt_with(fc: Host) -> None:
    fc.fault("scsi_host/host*/uevent", lag=3600)
    made = fc.done("vhba_pool", name="x", count=2, wait_timeout=1)
    assert warnings(made)[0].startswith("udev has not dealt with host8, host9 in time: ")


def test_a_disk_is_not_taken_away_while_udev_deals_with_events(fc: Host) -> None:
    fc.vhba(wait_luns=3)
    fc.run(["touch", "/run/udev/queue"])
    message = fc.vhba_refused(state="absent", wait_timeout=0.5)
    assert "udev still deals with events after 0.5 s (/run/udev/queue), and may be reading the disk" in message
    assert fc.vhba(state="absent", wait_timeout=0.5, force=True)["changed"]


def test_luns_that_are_late_are_waited_for(fc: Host) -> None:
    fc.fault("rport-8:*", lag=0.7)
    assert [unit["address"] for unit in fc.vhba(wait_luns=3)["vhba"]["luns"]] == ["8:0:0:0", "8:0:0:1", "8:0:1:0"]


@pytest.mark.parametrize("path", ["8:0:*/block/sd?", "8:0:*/block/*/uevent"], ids=["disk", "udev"])
def test_the_disks_of_awaited_luns_are_waited_for(fc: Host, path: str) -> None:
    fc.fault(path, lag=0.7)
    luns = fc.vhba(wait_luns=3)["vhba"]["luns"]
    assert [unit["block"] for unit in luns] == ["/dev/sdb", "/dev/sdd", "/dev/sdc"]
    assert [str(unit["by_path"]).rpartition("-")[2] for unit in luns] == ["0", "1", "0"]


def test_a_place_holder_of_the_storages_is_no_lun(start: Callable[..., Host]) -> None:
    """It is waited for by nobody, as no disk of it ever comes."""
    plan: dict[str, Any] = yaml.safe_load((FOLDER / "fc.yml").read_text(encoding="utf-8"))
    (hba,) = [each["behaviour"]["fc_host"] for each in plan["devices"] if str(each.get("path")).endswith("/host3")]
    hba["zones"][WWPN][0]["luns"][0] = {}
    host = start(plan)
    begun = time.monotonic()
    made = host.vhba(wait_luns=2, wait_timeout=60)["vhba"]
    assert time.monotonic() - begun < 30
    assert [(unit["address"], unit["block"]) for unit in made["luns"]] == [
        ("8:0:0:0", None),
        ("8:0:0:1", "/dev/sdd"),
        ("8:0:1:0", "/dev/sdc"),
    ]
    message = host.module("vhba", wwnn=WWNN, wwpn=WWPN, wait_luns=3, wait_timeout=0.3)["msg"]
    assert "is there, but has 2 LUNs after 0.3 s instead of 3" in message


def test_disks_that_udev_never_sees_are_waited_for_no_longer_than_told(fc: Host) -> None:
    fc.fault("8:0:*/block/*/uevent", lag=3600)
    luns = fc.vhba(wait_luns=3, wait_timeout=1)["vhba"]["luns"]
    assert [(unit["block"], unit["by_path"]) for unit in luns] == [
        ("/dev/sdb", None),
        ("/dev/sdd", None),
        ("/dev/sdc", None),
    ]


def test_too_few_luns_fail_and_the_vhba_stays(fc: Host) -> None:
    result = fc.module("vhba", wwnn="5001a4a1000000a1", wwpn=WWPN, wait_luns=4, wait_timeout=0.5)
    assert result["msg"] == (
        f"vHBA {WWPN} (scsi_host8) is there, but has 3 LUNs after 0.5 s instead of 4, from 2 targets: look at the"
        " zoning and at the storage's initiators"
    )
    assert (vports(fc), kept(fc)) == (["host3 a1 Active"], ["a1"])
    again = fc.vhba(wait_luns=3)
    assert (again["changed"], len(again["vhba"]["luns"])) == (False, 3)
    assert (
        "has 0 LUNs after 0.2 s instead of 1, from 0 targets"
        in fc.module("vhba", name="unzoned", wait_luns=1, wait_timeout=0.2)["msg"]
    )


def test_a_lun_that_comes_after_a_scan(fc: Host) -> None:
    assert [unit["block"] for unit in fc.vhba("a2")["vhba"]["luns"]] == ["/dev/sde", "/dev/sdg"]
    assert len(fc.vhba("a2", rescan=True, check_mode=True)["vhba"]["luns"]) == 2
    found = fc.vhba("a2", rescan=True)
    assert (found["changed"], found["plan"]) == (True, [])
    assert [unit["block"] for unit in found["vhba"]["luns"]] == ["/dev/sde", "/dev/sdf", "/dev/sdg"]
    assert not fc.vhba("a2", rescan=True)["changed"]


def test_a_scan_and_a_wait(fc: Host) -> None:
    made = fc.vhba("a2", rescan=True, wait_luns=3)
    assert len(made["vhba"]["luns"]) == 3


def test_a_scan_that_fails_is_told(fc: Host) -> None:
    fc.fault("scsi_host/host8/scan", op="write", errno="EIO")
    result = fc.module("vhba", wwnn="5001a4a1000000a1", wwpn=WWPN, rescan=True)
    assert "host8/scan failed with EIO" in result["msg"]
    assert vports(fc) == ["host3 a1 Active"]


def test_a_deletion_that_takes_a_moment(fc: Host) -> None:
    fc.vhba("a3")
    fc.fault("host3/vport_delete", op="write", delay=0.5)
    assert fc.vhba("a3", state="absent")["plan"][0] == UNDEFINE.replace("a1", "a3")
    assert vports(fc) == []


def test_a_deletion_that_the_kernel_does_not_end_in_time(fc: Host) -> None:
    fc.vhba("a3")
    fc.fault("host3/vport_delete", op="write", delay=3, times=1)
    result = fc.module("vhba", wwnn="5001a4a1000000a3", wwpn="5001a4a0000000a3", state="absent", wait_timeout=0.3)
    assert "the kernel still deletes vHBA 5001a4a0000000a3 of scsi_host3 after 0.3 s, and will end it" in result["msg"]
    eventually(lambda: vports(fc) == [])
    assert not fc.vhba("a3", state="inactive")["vhba"]["active"]
