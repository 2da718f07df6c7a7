# SPDX-License-Identifier: GPL-3.0-or-later
"""The vhba module on the simulated host: what it makes, chooses, refuses, waits for and leaves alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import Host, warnings
from vhbas import (
    CREATE,
    DEFINE,
    DEFINITION,
    DELETE,
    HBAS,
    UNDEFINE,
    WWNN,
    WWPN,
    disks,
    document,
    kept,
    made_by_hand,
    no_write,
    vports,
)

BY_PATH = "/dev/disk/by-path/pci-0000:04:00.0-fc-0x"
MAP = {"name": "mpatha", "path": "/dev/mapper/mpatha", "block": "/dev/dm-0"}
STATES = ({}, {"state": "inactive"}, {"state": "absent"}, {"persistent": False})


def test_what_is_returned(fc: Host) -> None:
    made = fc.vhba(wait_luns=3)
    assert made["changed"]
    assert made["plan"] == [CREATE, DEFINE]
    told = f"{WWPN}: runs and is defined; wwnn {WWNN}, parent_wwpn {HBAS[3]}, require_online true\n"
    assert made["diff"] == {"before": "", "after": told}
    assert made["hindrances"] == {
        "scsi_host4": "scsi_host3 has as many free vports and the lower number",
        "scsi_host5": "its port is Linkdown, not Online",
        "scsi_host6": "it says of no fabric, scsi_host3 does",
        "scsi_host7": "it has no NPIV: its driver offers no vport_create",
    }
    rports = ("500601603ea01234", "500601613ea01234")
    units = (("8:0:0:0", "sdb", "sg2", 10 << 30, f"{BY_PATH}{rports[0]}-lun-0"),)
    units += (("8:0:0:1", "sdd", "sg4", 1 << 30, f"{BY_PATH}{rports[0]}-lun-1"),)
    units += (("8:0:1:0", "sdc", "sg3", 10 << 30, f"{BY_PATH}{rports[1]}-lun-0"),)
    generic = {unit["address"]: unit.pop("generic") for unit in made["vhba"]["luns"]}
    by_id = [unit.pop("by_id") for unit in made["vhba"]["luns"]]
    assert by_id[0] == by_id[2] == "/dev/disk/by-id/wwn-0x600601601234000000000000000000a0" != by_id[1]
    assert sorted(generic) == [unit[0] for unit in units]
    assert all(fc.path(node).exists() for node in generic.values())
    assert made["vhba"] == {
        "wwnn": WWNN,
        "wwpn": WWPN,
        "active": True,
        "persistent": True,
        "host": 8,
        "name": "scsi_host8",
        "parent": "scsi_host3",
        "parent_addr": "host3",
        "parent_wwnn": "20000090fa1234a0",
        "parent_wwpn": HBAS[3],
        "fabric_wwn": "100000051e000001",
        "port_state": "Online",
        "vport": "vport-3:0-0",
        "vport_state": "Active",
        "targets": [
            {"rport": f"rport-8:0-{index}", "wwpn": rport, "state": "Online"} for index, rport in enumerate(rports)
        ],
        "luns": [
            {
                "address": address,
                "block": f"/dev/{disk}",
                "size": size,
                "by_path": by_path,
                "multipath": None if disk == "sdd" else MAP,
            }
            for address, disk, _generic, size, by_path in units
        ],
    }
    assert document(fc) == {
        "version": 1,
        "wwnn": WWNN,
        "wwpn": WWPN,
        "parent_wwpn": HBAS[3],
        "require_online": True,
    }
    name = fc.run(["uname", "-n"]).stdout.strip()
    assert warnings(made) == [
        f"what is defined on {name} will not be there after a boot: the boot engine is not installed. Apply the role"
        " hostdev.nodedev.persistence to this host"
    ]
    assert warnings(fc.vhba()) == warnings(made)


@pytest.mark.parametrize("wish", STATES, ids=["present", "inactive", "absent", "transient"])
def test_foretold_made_again_and_foretold_again(fc: Host, wish: dict[str, Any]) -> None:
    if wish.get("state"):
        fc.vhba("a3")
    before = fc.state()
    with no_write(fc):
        foretold = fc.vhba("a3", check_mode=True, **wish)
    assert fc.state() == before
    made, again = fc.vhba("a3", **wish), fc.vhba("a3", **wish)
    assert foretold["changed"]
    assert made["changed"]
    assert not again["changed"]
    assert again["plan"] == []
    for key in ("plan", "diff", "hindrances"):
        assert foretold[key] == made[key]
    for key in ("wwnn", "wwpn", "active", "persistent"):
        assert foretold["vhba"][key] == made["vhba"][key] == again["vhba"][key]
    assert again["diff"]["before"] == again["diff"]["after"] == made["diff"]["after"]
    done = fc.state()
    assert not fc.vhba("a3", check_mode=True, **wish)["changed"]
    assert fc.state() == done


def test_a_life(fc: Host) -> None:
    fc.vhba()
    assert (vports(fc), kept(fc)) == (["host3 a1 Active"], ["a1"])
    removed = ["remove LUN 8:0:0:0 (/dev/sdb)", "remove LUN 8:0:0:1 (/dev/sdd)", "remove LUN 8:0:1:0 (/dev/sdc)"]
    stopped = fc.vhba(state="inactive", force=True)
    assert stopped["plan"] == [*removed, DELETE]
    assert (vports(fc), kept(fc), disks(fc)) == ([], ["a1"], [])
    assert (stopped["vhba"]["active"], stopped["vhba"]["name"], stopped["vhba"]["parent"]) == (
        False,
        None,
        "scsi_host3",
    )
    assert fc.vhba()["plan"] == [CREATE]
    gone = fc.vhba(state="absent", force=True)
    assert gone["plan"] == [UNDEFINE, *[step.replace("8:", "9:", 1) for step in removed], DELETE]
    assert (vports(fc), kept(fc), disks(fc)) == ([], [], [])
    assert (gone["vhba"]["active"], gone["vhba"]["parent"], gone["vhba"]["luns"]) == (False, None, [])


def test_names_for_whoever_zones_come_first(fc: Host) -> None:
    fc.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
    named = {"name": "database", "parent": "scsi_host4"}
    first = fc.vhba(state="inactive", **named)["vhba"]
    assert (first["wwnn"], first["wwpn"]) == ("5001a4a5c2f82842", "5001a4a2ecd0a2fb")
    assert vports(fc) == []
    made = fc.vhba(name="database")["vhba"]
    assert (made["wwnn"], made["wwpn"], made["parent"]) == (first["wwnn"], first["wwpn"], "scsi_host4")
    assert fc.vhba(name="database", oui="00:16:3E")["vhba"]["wwpn"] == "500163e2ecd0a2fb"
    fc.write("/etc/machine-id", "fedcba9876543210fedcba9876543210\n")
    assert fc.vhba(name="database", check_mode=True)["vhba"]["wwpn"] == "5001a4a12fb49e2f"
    fc.write("/etc/machine-id", "uninitialized\n")
    assert "/etc/machine-id holds no machine-id" in fc.vhba_refused(name="database")


@pytest.mark.parametrize("wwpn", ["5001A4A0000000A1", "0x5001a4a0000000a1", "0X5001A4A0000000A1"])
def test_any_notation_is_the_same_vhba(fc: Host, wwpn: str) -> None:
    fc.vhba(wwpn=":".join(["50", "01", "A4", "A0", "00", "00", "00", "a1"]), wwnn="50-01-a4-a1-00-00-00-a1")
    assert not fc.vhba(wwpn=wwpn)["changed"]
    assert vports(fc) == ["host3 a1 Active"]


# Refusals leave a host as it is, so they share one.
@pytest.fixture(scope="module")
def full(library: str) -> Iterator[Host]:
    """A host with vHBA a1 on host3 and no vport left on host4."""
    host = Host("fc")
    host.library = library
    host.start()
    host.vhba()
    for end in ("b1", "b2", "b3", "b4"):
        made_by_hand(host, end, 4)
    yield host
    host.stop()


NEW = {"wwnn": "5001a4a1000000a4", "wwpn": "5001a4a0000000a4"}
NPIV = ", ".join(f"scsi_host{number} (WWPN {HBAS[number]})" for number in (3, 4, 5, 6))
REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"wwpn": "0" * 16}, "wwpn: '0000000000000000' cannot be used: a name of zeros or of f alone stands for no port"),
    ({"wwnn": "f" * 16}, "wwnn: 'ffffffffffffffff' cannot be used: a name of zeros or of f alone stands for no port"),
    ({"wwpn": "5001a4a0"}, "wwpn: '5001a4a0' cannot be used: a World Wide Name has 16 hexadecimal digits"),
    ({"wwpn": "../5001a4a00000a1"}, "wwpn: '../5001a4a00000a1' cannot be used"),
    ({"wwpn": None}, "wwnn and wwpn go together"),
    ({"name": "x"}, "a vHBA has either wwnn and wwpn, or a name they follow from"),
    ({"oui": "001a4"}, "oui: '001a4' cannot be used: an OUI has 6 hexadecimal digits"),
    ({"wait_timeout": -1}, "wait_timeout: -1"),
    ({"state": "inactive", "persistent": False}, "persistent: False"),
    ({"parent_wwpn": HBAS[3]}, "parent_wwnn and parent_wwpn go together"),
    ({"parent": "host3", "parent_fabric_wwn": "100000051e000001"}, "by one of them"),
    ({"wwpn": HBAS[3]}, f"wwpn: '{HBAS[3]}' cannot be used: it is the port's own name of HBA scsi_host3"),
    ({"wwpn": HBAS[4], "parent": "scsi_host3"}, "it is the port's own name of HBA scsi_host4"),
    (
        {"wwpn": WWPN},
        f"wwpn: '{WWPN}' cannot be used: vHBA scsi_host8 has it already, with WWNN {WWNN} instead of {NEW['wwnn']}",
    ),
    ({"wwpn": WWPN, "parent": "scsi_host4"}, "vHBA scsi_host8 has it already"),
    (
        {"wwnn": WWNN, "wwpn": WWPN, "parent": "scsi_host4"},
        f"vHBA {WWPN} is on scsi_host3 (WWPN {HBAS[3]}), not where it is asked for, parent scsi_host4",
    ),
    (
        {"parent": "scsi_host4"},
        "parent: 'scsi_host4' cannot be used: no vHBA can be made there: scsi_host4: all of its 4 vports are in use",
    ),
    (
        {"parent": "scsi_host5"},
        "parent: 'scsi_host5' cannot be used: no vHBA can be made there: scsi_host5: its port is Linkdown, not Online;"
        " require_online: false makes it on a port whose link is down",
    ),
    (
        {"parent": "scsi_host7"},
        "no vHBA can be made there: scsi_host7: it has no NPIV: its driver offers no vport_create",
    ),
    ({"parent": "scsi_host8"}, "no vHBA can be made there: scsi_host8: it is a vHBA itself"),
    (
        {"parent_wwnn": WWNN, "parent_wwpn": WWPN},
        f"parent_wwpn: '{WWPN}' cannot be used: no vHBA can be made there: scsi_host8: it is a vHBA itself",
    ),
    (
        {"parent": "scsi_host0"},
        f"parent: 'scsi_host0' cannot be used: scsi_host0 is not a Fibre Channel HBA; the HBAs with NPIV are: {NPIV}",
    ),
    ({"parent": "scsi_host99"}, f"scsi_host99 is not there; the HBAs with NPIV are: {NPIV}"),
    ({"parent": "pci_0000_04_00_0"}, "an HBA is named as libvirt does, scsi_host and its number"),
    ({"parent_wwnn": "20000090fa1234a1", "parent_wwpn": HBAS[3]}, "no HBA has it with WWNN 20000090fa1234a1"),
    ({"parent_fabric_wwn": "100000051e000009"}, f"no HBA has it; the HBAs with NPIV are: {NPIV}"),
    ({"parent_fabric_wwn": "100000051e000002"}, "scsi_host4: all of its 4 vports are in use"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSALS, ids=[case[1][:50] for case in REFUSALS])
def test_refusal(full: Host, arguments: dict[str, Any], message: str) -> None:
    with no_write(full):
        assert message in full.vhba_refused(**{**NEW, **arguments})


def test_no_hba_fits(fc: Host) -> None:
    for hba in ("host3", "host4", "host6"):
        fc.link(hba, "Linkdown")
    message = fc.vhba_refused()
    for number, reason in ((3, "its port is Linkdown"), (6, "its port is Linkdown"), (7, "it has no NPIV")):
        assert f"scsi_host{number}: {reason}" in message


def test_an_adapter_without_a_port(start: Callable[..., Host]) -> None:
    functions = [
        {"pci": {"address": f"0000:04:00.{number}", "vendor": 0x10DF, "device": 0xE300, "class": 0x0C0400}, **driver}
        for number, driver in enumerate(({}, {"driver": "lpfc"}))
    ]
    host = start({"devices": functions})
    adapters = (
        "pci_0000_04_00_0 (0000:04:00.0) is a Fibre Channel adapter without a driver, such as lpfc or qla2xxx",
        "pci_0000_04_00_1 (0000:04:00.1) is a Fibre Channel adapter whose driver lpfc has made no port",
    )
    told = "; ".join(("this host has no Fibre Channel HBA", *adapters))
    assert host.vhba_refused() == told
    assert host.failed("vhba_pool", name="x", count=1) == f"pool x: {told}"
    assert host.module("vhba_facts")["hint"] == ["this host has no Fibre Channel HBA", *adapters]


def test_no_hba_at_all(host: Host) -> None:
    assert host.vhba_refused() == "this host has no Fibre Channel HBA"
    assert not host.vhba(state="absent")["changed"]


def test_a_damaged_definition_is_named_and_left(fc: Host) -> None:
    fc.vhba("a2")
    fc.write(DEFINITION, "{")
    for state in ("present", "inactive"):
        assert f"the definition {DEFINITION} is damaged (no JSON" in fc.vhba_refused(state=state)
    assert not fc.vhba("a2")["changed"]


def test_not_root(fc: Host) -> None:
    fc.user = ["setpriv", "--reuid=65534", "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    assert fc.vhba(check_mode=True)["changed"]
    assert "needs root: run the task with 'become: true'" in fc.vhba_refused()


def test_the_hba_with_most_vports_left(fc: Host) -> None:
    made_by_hand(fc, "b1")
    first = fc.vhba()
    assert first["vhba"]["parent"] == "scsi_host4"
    assert first["hindrances"]["scsi_host3"] == "it has 3 free vports, scsi_host4 has 4"
    assert fc.vhba("a2")["vhba"]["parent"] == "scsi_host3"
    assert fc.vhba()["hindrances"]["scsi_host3"] == "the vHBA is on scsi_host4"


@pytest.mark.parametrize(
    "asked",
    [
        {"parent": "scsi_host4"},
        {"parent_wwnn": "20:00:00:90:fa:12:34:a1", "parent_wwpn": "0x10000090FA1234A1"},
        {"parent_fabric_wwn": "10:00:00:05:1e:00:00:02"},
    ],
    ids=["name", "names", "fabric"],
)
def test_the_hba_that_is_asked_for(fc: Host, asked: dict[str, str]) -> None:
    made = fc.vhba(**asked)
    assert (made["vhba"]["parent"], made["hindrances"]["scsi_host3"]) == ("scsi_host4", "another one was asked for")
    assert document(fc)["parent_wwpn"] == HBAS[4]
    assert not fc.vhba(**asked)["changed"]
    assert not fc.vhba()["changed"]


def test_what_is_not_persistent(fc: Host) -> None:
    made = fc.vhba(persistent=False)
    assert (made["plan"], made["vhba"]["persistent"], kept(fc), warnings(made)) == ([CREATE], False, [], [])
    assert fc.vhba()["plan"] == [DEFINE]
    assert not fc.vhba(persistent=False)["changed"]
    assert kept(fc) == ["a1"]


def test_what_others_made_is_the_same_vhba(fc: Host) -> None:
    made_by_hand(fc, "a3", 4)
    taken = fc.vhba("a3")
    assert [step.split(" ")[0] for step in taken["plan"]] == ["define"]
    assert taken["vhba"]["parent"] == "scsi_host4"
    made_by_hand(fc, "a4")
    assert [step.split(" ")[0] for step in fc.vhba("a4", state="absent")["plan"]] == ["delete"]
    assert vports(fc) == ["host4 a3 Active"]


def test_two_of_the_same_names_are_not_guessed_about(fc: Host) -> None:
    made_by_hand(fc, "a3", 3)
    made_by_hand(fc, "a3", 4)
    for state in ("present", "inactive", "absent"):
        message = fc.vhba_refused("a3", state=state)
        assert "have the names 5001a4a1000000a3 and 5001a4a0000000a3: scsi_host8 on scsi_host3, scsi_host9" in message


def test_another_wwnn_removes_nothing(fc: Host) -> None:
    fc.vhba()
    assert f"is defined with WWNN {WWNN}" in fc.vhba_refused(wwnn=NEW["wwnn"], state="absent")
    fc.vhba("a3", persistent=False)
    message = fc.vhba_refused("a3", wwnn=NEW["wwnn"], state="absent")
    assert "has it already, with WWNN 5001a4a1000000a3 instead of" in message
    assert vports(fc) == ["host3 a1 Active", "host4 a3 Active"]
