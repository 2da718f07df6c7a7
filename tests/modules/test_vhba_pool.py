# SPDX-License-Identifier: GPL-3.0-or-later
"""The vhba_pool module on the simulated host: what it makes, refuses, undoes and leaves alone."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import yaml
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.machine import derived_wwn
from conftest import ROOT, Host, open_by
from simhost.scenario import FOLDER
from simhost.testing import create_vport, eventually
from test_documentation import returned, shape

MACHINE = "0123456789abcdef0123456789abcdef"
WWPNS, WWNNS = ([derived_wwn(MACHINE, f"x {index}", role, "001a4a") for index in range(9)] for role in ("port", "node"))
HBA, OTHER_HBA, DOWN = "10000090fa1234a0", "10000090fa1234a1", "10000090fa1234b0"
RECORD = "/etc/nodedev.d/pool/x.json"
CREATE, DELETE = "/sys/devices/*/vport_create", "/sys/devices/*/vport_delete"
# A vHBA of somebody else.
FOREIGN = "5001a4a0000000b1:5001a4a1000000b1"
ENGINE = """
import sys
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.boot.restore import main
sys.exit(main(["--wait", "0"]))
"""


@pytest.fixture
def host(start: Callable[..., Host]) -> Host:
    """The host with HBAs, on which the pool's vHBAs are in the zones of the scenario.

    vHBA 1 sees the LUNs of a1 there, vHBA 3 those of a2, the others none. Host numbers move with each boot.
    """
    text = (FOLDER / "fc.yml").read_text(encoding="utf-8")
    text = text.replace("5001a4a0000000a1", WWPNS[1]).replace("5001a4a0000000a2", WWPNS[3])
    found = start({**yaml.safe_load(text), "shifting_hosts": True})
    found.write("/etc/machine-id", f"{MACHINE}\n")
    return found


def pool(host: Host, **arguments: Any) -> dict[str, Any]:
    """Run the module for pool x; it must succeed."""
    return host.done("vhba_pool", **{"name": "x", **arguments})


def refused(host: Host, **arguments: Any) -> str:
    """Run the module for pool x; it must fail, change nothing, and give one line of message."""
    before = state(host)
    message = host.failed("vhba_pool", **{"name": "x", **arguments})
    assert state(host) == before
    return message


def there(host: Host) -> dict[str, str]:
    """The vHBAs of the host by WWPN, with the WWPNs of their HBAs."""
    found = host.module("vhba_facts")["ansible_facts"]["vhba"]
    return {each["wwpn"]: found["hbas"][each["parent"]]["wwpn"] for each in found["vhbas"].values()}


def state(host: Host) -> tuple[Any, ...]:
    """All that the module may change: vHBAs, their LUNs, what the HBAs count, and what is kept."""
    facts = host.module("vhba_facts")["ansible_facts"]["vhba"]
    luns = {each["wwpn"]: [lun["block"] for lun in each["luns"]] for each in facts["vhbas"].values()}
    used = {each["wwpn"]: each["vports"] for each in facts["hbas"].values()}
    return there(host), luns, used, kept(host)


def kept(host: Host) -> str:
    look = "for file in $(find /etc/nodedev.d /run/nodedev.d -type f | sort); do echo $file; cat $file; done"
    return host.run(["sh", "-c", look], check=False).stdout


def definitions(host: Host) -> list[str]:
    look = ["sh", "-c", "ls /etc/nodedev.d/vhba 2>/dev/null"]
    return sorted(name.removesuffix(".json") for name in host.run(look, check=False).stdout.split())


def mount_map(host: Host) -> None:
    """Say that the multipath map of LUN 0 is mounted, from when it is there on."""
    host.write("/proc/1/mountinfo", host.read("/proc/1/mountinfo") + "40 21 253:0 / /srv rw - xfs x rw\n")


def wwpns(result: dict[str, Any]) -> list[str]:
    return [each["wwpn"] for each in result["instances"]]


def parents(result: dict[str, Any]) -> list[str]:
    return [each["parent_wwpn"] for each in result["instances"]]


def recorded(host: Host) -> list[tuple[int, str, str]]:
    return [(each["index"], each["id"], each["parent"]) for each in json.loads(host.read(RECORD))["instances"]]


def test_what_is_returned(host: Host) -> None:
    mount_map(host)
    made = pool(host, count=2)
    assert made["changed"]
    assert made["plan"] == [
        f"record pool x with 2 instances in {RECORD}",
        f"create vHBA {WWPNS[0]} (WWNN {WWNNS[0]}) on scsi_host3 (WWPN {HBA})",
        f"create vHBA {WWPNS[1]} (WWNN {WWNNS[1]}) on scsi_host4 (WWPN {OTHER_HBA})",
        f"define vHBA {WWPNS[0]} (WWNN {WWNNS[0]}) on the HBA with WWPN {HBA}",
        f"define vHBA {WWPNS[1]} (WWNN {WWNNS[1]}) on the HBA with WWPN {OTHER_HBA}",
    ]
    first, second = made["instances"]
    assert first == {
        "index": 0,
        "wwnn": WWNNS[0],
        "wwpn": WWPNS[0],
        "active": True,
        "host": 8,
        "name": "scsi_host8",
        "parent": "scsi_host3",
        "parent_addr": "host3",
        "parent_wwnn": "20000090fa1234a0",
        "parent_wwpn": HBA,
        "vport_state": "Active",
        "luns": [],
        "holders": [],
    }
    assert [unit["block"] for unit in second["luns"]] == ["/dev/sdb", "/dev/sdd", "/dev/sdc"]
    assert second["holders"] == [
        {"node": f"/dev/{node}", "how": how, "by": by, "pid": None, "domain": None, "lun": f"9:0:{target}:0"}
        for target, disk in enumerate(("sdb", "sdc"))
        for node, how, by in ((disk, "held by", "the multipath map mpatha (dm-0)"), ("dm-0", "mounted on", "/srv"))
    ]
    assert made["capacity"]["scsi_host3"] == {"free": 3, "pool": 1, "others": 0, "hindrance": None}
    assert made["capacity"]["scsi_host5"]["hindrance"] == "its port is Linkdown, not Online"
    assert made["diff"]["before"] == ""
    assert made["diff"]["after"].splitlines()[1] == (
        f"{WWPNS[1]}: runs and is defined; wwnn {WWNNS[1]}, parent_wwpn {OTHER_HBA}, require_online true"
    )
    known = returned("vhba_pool")
    assert set(made) - {"changed", "invocation", "warnings"} == shape(known)
    assert set(first) == shape(known["instances"]["contains"])
    assert set(made["capacity"]["scsi_host3"]) == set(known["capacity"]["sample"]["scsi_host3"])
    assert there(host) == {WWPNS[0]: HBA, WWPNS[1]: OTHER_HBA}
    assert recorded(host) == [(0, WWPNS[0], HBA), (1, WWPNS[1], OTHER_HBA)]


# A life of a pool: each wish follows the one before it.
LIFE: list[tuple[str, dict[str, Any]]] = [
    ("new", {"count": 2}),
    ("grown", {"count": 4}),
    ("shrunk", {"count": 3}),
    ("max", {"count": "max", "force": True}),
    ("inactive", {"state": "inactive", "force": True}),
    ("inactive and smaller", {"state": "inactive", "count": 2}),
    ("active again", {}),
    ("need not log in", {"require_online": False}),
    ("absent", {"state": "absent", "force": True}),
    ("absent already", {"state": "absent"}),
]


def test_check_mode_changes_nothing_and_a_second_run_neither(host: Host) -> None:
    for name, arguments in LIFE:
        before = state(host)
        foretold = pool(host, check_mode=True, **arguments)
        assert state(host) == before, name
        done = pool(host, **arguments)
        assert [foretold[key] for key in ("changed", "plan", "diff", "capacity")] == [
            done[key] for key in ("changed", "plan", "diff", "capacity")
        ], name
        again = pool(host, **arguments)
        assert (again["changed"], again["plan"]) == (False, []), name
        assert again["diff"]["before"] == again["diff"]["after"]
        assert definitions(host) == sorted(wwpns(done)), name
    assert there(host) == {}
    assert kept(host) == ""


def test_the_names_are_those_of_a_single_vhba(host: Host) -> None:
    single = host.done("vhba", name="x 0", oui="00:50:56", check_mode=True)["vhba"]
    first = pool(host, count=1, oui="005056")["instances"][0]
    assert (first["wwnn"], first["wwpn"]) == (single["wwnn"], single["wwpn"])
    assert "oui: '001a4a' cannot be used: pool x has names with 005056" in refused(host, oui="001a4a")


def test_spread_and_packed_over_two_hbas(host: Host) -> None:
    assert Counter(parents(pool(host, count=5))) == {HBA: 3, OTHER_HBA: 2}
    pool(host, state="absent", force=True)
    assert Counter(parents(pool(host, count=5, placement="pack"))) == {HBA: 4, OTHER_HBA: 1}


def test_max_takes_what_others_leave(host: Host) -> None:
    create_vport(host, FOREIGN, "host4")
    made = pool(host, count="max")
    assert Counter(parents(made)) == {HBA: 4, OTHER_HBA: 3}
    assert made["capacity"]["scsi_host4"] == {"free": 0, "pool": 3, "others": 1, "hindrance": None}
    assert pool(host, state="absent", force=True)["instances"] == []
    assert there(host) == {FOREIGN.partition(":")[0]: OTHER_HBA}


def test_too_many_are_refused_before_anything_is_made(host: Host) -> None:
    create_vport(host, FOREIGN)
    pool(host, count=2)
    message = refused(host, count=8)
    assert (
        "count: 8 cannot be used: pool x needs 6 more vHBAs and there is room for 5; free are"
        f" scsi_host3 (WWPN {HBA}): 2, scsi_host4 (WWPN {OTHER_HBA}): 3; not counted are"
        " scsi_host5: its port is Linkdown, not Online; scsi_host6: it says of no fabric;"
    ) in message
    assert "scsi_host7: it has no NPIV" in message
    assert len(wwpns(pool(host, count=7))) == 7


def test_an_offline_hba_is_taken_when_asked_for(host: Host) -> None:
    down: dict[str, Any] = {"names": ["scsi_host5"]}
    assert "scsi_host5: its port is Linkdown, not Online" in refused(host, count=1, parents=down)
    down["online"] = False
    assert "that goes with require_online: false" in refused(host, count=1, parents=down)
    made = pool(host, count=1, parents=down, require_online=False)
    assert (parents(made), made["instances"][0]["vport_state"]) == ([DOWN], "Linkdown")
    assert json.loads(host.read(RECORD))["parents"] == {"wwpns": [DOWN], "online": False}
    host.link("host5", "Online")
    again = pool(host)
    assert (again["changed"], again["instances"][0]["vport_state"]) == (False, "Active")


def test_an_hba_without_a_fabric_fails_when_it_is_listed(host: Host) -> None:
    message = refused(host, count=2, parents={"names": ["scsi_host3", "scsi_host6"]})
    assert "on scsi_host6 was turned away: its vport_state is 'No Fabric Support'; it was deleted again" in message
    assert f"undone: create vHBA {WWPNS[0]}" in message


def test_shrinking_takes_the_highest_idle_ones(host: Host) -> None:
    """vHBA 1 has a multipath map that is mounted, vHBA 3 a volume and an array."""
    pool(host, count=5)
    mount_map(host)
    shrunk = pool(host, count=3)
    assert [each["index"] for each in shrunk["instances"]] == [0, 1, 3]
    message = refused(host, count=1)
    assert "2 of 3 instances have to go and only 1 are idle; in use are" in message
    assert f"{WWPNS[1]} (index 1) with LUN 9:0:0:0: /dev/sdb is held by the multipath map mpatha (dm-0)" in message
    assert f"{WWPNS[3]} (index 3) with LUN 11:0:0:0: /dev/sde is held by the logical volume data-images" in message
    assert "force: true to take the disks away all the same" in message
    grown = pool(host, count=4)
    assert [each["index"] for each in grown["instances"]] == [0, 1, 2, 3]


@pytest.mark.parametrize("arguments", [{"count": 0}, {"state": "absent"}, {"state": "inactive"}])
def test_a_map_that_nobody_uses(host: Host, arguments: dict[str, Any]) -> None:
    made = pool(host, count=2)
    maps = [unit["multipath"] and unit["multipath"]["path"] for unit in made["instances"][1]["luns"]]
    assert maps == ["/dev/mapper/mpatha", None, "/dev/mapper/mpatha"]
    assert made["instances"][1]["holders"] == []
    assert pool(host, **arguments)["changed"]
    assert there(host) == {}


@pytest.mark.parametrize("arguments", [{"count": 0}, {"state": "absent"}, {"state": "inactive"}])
def test_a_process_that_has_a_disk_open(host: Host, arguments: dict[str, Any]) -> None:
    pool(host, count=2)
    host.unmap("mpatha")
    with host.hold("sdd") as pid:
        assert pool(host)["instances"][1]["holders"] == [{**open_by(pid, "/dev/sdd"), "lun": "9:0:0:1"}]
        held = f"LUN 9:0:0:1: /dev/sdd is open by process {pid} (simhost-guest)"
        assert held in refused(host, **arguments)
    assert pool(host, **arguments)["changed"]
    assert there(host) == {}


def test_force_takes_the_disks_away_in_order(host: Host) -> None:
    pool(host, count=2)
    mount_map(host)
    gone = pool(host, state="absent", force=True)
    removal = [step.split(" from ")[0] for step in gone["plan"] if step.startswith(("remove LUN", "delete"))]
    assert removal == [
        f"delete vHBA {WWPNS[0]} (WWNN {WWNNS[0]})",
        "remove LUN 9:0:0:0 (/dev/sdb)",
        "remove LUN 9:0:0:1 (/dev/sdd)",
        "remove LUN 9:0:1:0 (/dev/sdc)",
        f"delete vHBA {WWPNS[1]} (WWNN {WWNNS[1]})",
    ]
    assert (there(host), kept(host)) == ({}, "")


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_creation_that_fails_undoes_those_before_it(host: Host, nth: int) -> None:
    create_vport(host, FOREIGN)
    host.fault(CREATE, op="write", errno="EIO", nth=nth)
    message = refused(host, count=3)
    assert f"could not create vHBA {WWPNS[nth - 1]} " in message
    assert "NOT undone" not in message
    host.clear_faults()
    assert wwpns(pool(host, count=3)) == WWPNS[:3]


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_deletion_that_fails_makes_those_before_it_again(host: Host, nth: int) -> None:
    pool(host, count=3)
    host.fault(DELETE, op="write", errno="EIO", nth=nth)
    message = refused(host, state="absent", force=True)
    assert "could not delete vHBA" in message
    assert "NOT undone" not in message
    host.clear_faults()
    assert pool(host, state="absent", force=True)["changed"]
    assert there(host) == {}


def test_a_vhba_whose_host_never_comes_undoes_those_before_it(host: Host) -> None:
    host.fault("fc_host/host9*", lag=60)
    message = refused(host, count=3, wait_timeout=1)
    assert f"vHBA {WWPNS[1]} on scsi_host4 has no SCSI host after 1 s; it was deleted again" in message
    assert f"undone: create vHBA {WWPNS[0]}" in message


def test_an_hba_that_is_full_before_it_says_so_is_found_out(host: Host) -> None:
    """Somebody takes a vport between our look and our write: the second creation on that HBA is too many."""
    host.fault(f"{CREATE.replace('*', '*/host3/*')}", op="write", errno="ENOSPC", nth=2)
    made = pool(host, count=4)
    assert Counter(parents(made)) == {HBA: 1, OTHER_HBA: 3}
    assert wwpns(made) == WWPNS[:4]
    assert recorded(host) == [(index, WWPNS[index], parent) for index, parent in enumerate(parents(made))]


def test_one_that_is_full_for_good_is_refused(host: Host) -> None:
    only = {"names": ["scsi_host3"]}
    host.fault(f"{CREATE.replace('*', '*/host3/*')}", op="write", errno="ENOSPC")
    assert f"room for 0; free are scsi_host3 (WWPN {HBA}): 0; not counted" in refused(host, count=2, parents=only)
    assert pool(host, count="max", parents=only)["instances"] == []


def test_after_a_reboot_they_come_back_on_their_hbas(host: Host) -> None:
    before = pool(host, count=3, parents={"names": ["scsi_host3", "scsi_host4"]})
    places = there(host)
    host.reboot()
    assert there(host) == {}
    engine = host.run(["/usr/bin/python3", "-c", ENGINE], env=host.environment)
    assert "3 restored, 0 there already, 0 failed" in engine.stdout
    again = pool(host)
    assert (again["changed"], there(host)) == (False, places)
    assert [each["parent"] for each in again["instances"]] == ["scsi_host4", "scsi_host5", "scsi_host4"]
    host.reboot()
    made = pool(host)
    assert [step.split()[0] for step in made["plan"]] == ["create"] * 3
    assert (wwpns(made), there(host)) == (wwpns(before), places)


def test_one_that_is_only_defined_moves_to_an_hba_with_room(host: Host) -> None:
    pool(host, count=4, placement="pack", parents={"wwpns": [HBA, OTHER_HBA]})
    host.reboot()
    for number in range(1, 4):
        create_vport(host, f"5001a4a0000000b{number}:5001a4a1000000b{number}", "host4")
    moved = pool(host)
    assert wwpns(moved) == WWPNS[:4]
    assert Counter(parents(moved)) == {HBA: 1, OTHER_HBA: 3}
    assert recorded(host) == [(index, WWPNS[index], parent) for index, parent in enumerate(parents(moved))]
    defined = host.module("definition_facts")["ansible_facts"]["nodedev_definitions"]["vhba"]
    assert {each["wwpn"]: (each["parent_wwpn"], each["pool"]) for each in defined} == {
        wwpn: (parent, "x") for wwpn, parent in zip(wwpns(moved), parents(moved), strict=True)
    }


def test_a_lost_record_is_made_again(host: Host) -> None:
    pool(host, count=3)
    host.run(["rm", RECORD])
    again = pool(host, count=3)
    assert again["plan"] == [f"record pool x with 3 instances in {RECORD}"]
    host.run(["rm", RECORD])
    pool(host, state="absent", force=True)
    assert there(host) == {}


def test_the_names_of_somebody_elses_vhba(host: Host) -> None:
    create_vport(host, f"{WWPNS[0]}:5001a4a1000000b1")
    message = refused(host, count=1)
    assert f"name: '{WWPNS[0]}' cannot be used: vHBA scsi_host8 has it already, with WWNN 5001a4a1000000b1" in message
    pool(host, state="absent")
    assert there(host) == {WWPNS[0]: HBA}


def test_what_is_not_persistent_is_gone_with_the_boot(host: Host) -> None:
    pool(host, count=2, persistent=False)
    assert (definitions(host), "/run/nodedev.d/pool/x.json" in kept(host)) == ([], True)
    host.reboot()
    assert (there(host), kept(host)) == ({}, "")


def test_two_runs_at_once_make_one_pool(host: Host) -> None:
    host.fault(CREATE, op="write", delay=0.2)
    with ThreadPoolExecutor() as runs:
        results = list(runs.map(lambda _run: pool(host, count=3), range(2)))
    assert sorted(result["changed"] for result in results) == [False, True]
    assert sorted(there(host)) == sorted(WWPNS[:3])


def test_what_a_killed_run_leaves_is_known_to_the_next(host: Host) -> None:
    host.fault(CREATE, op="write", delay=60, nth=2)
    script = str(ROOT / "plugins" / "modules" / "vhba_pool.py")
    run = host.popen([host.python, script], stdin=subprocess.PIPE, text=True, env=host.environment)
    assert run.stdin is not None
    run.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": {"name": "x", "count": 3}}))
    run.stdin.close()
    eventually(lambda: len(there(host)) == 2, 30)
    run.kill()
    run.wait()
    host.clear_faults()
    assert (definitions(host), [wwpn for _index, wwpn, _parent in recorded(host)]) == ([], WWPNS[:3])
    made = pool(host)
    assert [step.split()[0] for step in made["plan"]] == ["create", *["define"] * 3]
    assert (wwpns(made), sorted(there(host))) == (WWPNS[:3], sorted(WWPNS[:3]))


def test_luns_are_waited_for_and_looked_for(host: Host) -> None:
    refusal = host.module("vhba_pool", name="x", count=2, wait_luns=1, wait_timeout=2)
    assert (
        f"vHBA {WWPNS[0]} (scsi_host8) is there, but has 0 LUNs after 2 s instead of 1, from 0 targets"
        in refusal["msg"]
    )
    assert sorted(there(host)) == sorted(WWPNS[:2])
    assert not pool(host, rescan=True)["changed"]
    assert "wait_luns: -1 cannot be used: a number from 0 to 65536" in refused(host, wait_luns=-1)


def test_who_holds_instances_is_told_as_data(host: Host) -> None:
    pool(host, count=2)
    host.unmap("mpatha")
    with host.hold("sdd") as pid:
        refusal = host.module("vhba_pool", name="x", state="absent")
        held = {**open_by(pid, "/dev/sdd"), "lun": "9:0:0:1", "wwpn": WWPNS[1]}
        assert refusal["holders"] == [held]
        single = host.module("vhba", wwnn=WWNNS[1], wwpn=WWPNS[1], state="absent")
        assert single["holders"] == [{key: value for key, value in held.items() if key != "lun"}]


def test_an_instance_that_is_taken_out_by_itself_is_told(host: Host) -> None:
    pool(host, count=1)
    plan = host.done("vhba", wwnn=WWNNS[0], wwpn=WWPNS[0], state="absent", check_mode=True)["plan"]
    assert len(plan) == 2
    assert all(step.endswith(", an instance of pool x") for step in plan)


def test_luns_that_come(start: Callable[..., Host]) -> None:
    text = (FOLDER / "fc.yml").read_text(encoding="utf-8").replace("5001a4a0000000a1", WWPNS[0])
    host = start(yaml.safe_load(text))
    host.write("/etc/machine-id", f"{MACHINE}\n")
    (instance,) = pool(host, count=1, wait_luns=3)["instances"]
    assert len(instance["luns"]) == 3
    host.write("/sys/block/sdd/device/delete", "1")
    assert len(pool(host)["instances"][0]["luns"]) == 2
    found = pool(host, rescan=True, wait_luns=3)
    assert (found["changed"], found["plan"], len(found["instances"][0]["luns"])) == (True, [], 3)
    assert not pool(host, rescan=True)["changed"]
