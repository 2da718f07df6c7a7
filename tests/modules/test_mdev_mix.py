# SPDX-License-Identifier: GPL-3.0-or-later
"""vgpu_pool with several types where vGPUs are mediated devices: its life on two cards, changes, faults and kills."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Host, warnings
from simhost.testing import merged
from test_restore import install, restore
from test_vgpu import FN, current
from test_vgpu_mix import killed_at, types_of
from test_vgpu_pool import RECORD, pool, refused

MDEVS = "/sys/bus/mdev/devices"
A, B = "0000:3d:00.0", "0000:af:00.0"
CARDS = NAME_A, NAME_B = "pci_0000_3d_00_0", "pci_0000_af_00_0"
BIG, HALF, SMALL = "GRID T4-8Q", "GRID T4-4Q", "GRID T4-2Q"


def there(host: Host) -> Counter[tuple[str, str]]:
    """How many mediated devices run, by card and type, as the kernel has them."""
    listed = host.run(["sh", "-c", f"for each in $(ls {MDEVS}); do realpath {MDEVS}/$each/mdev_type; done"]).stdout
    paths = [line.split("/") for line in listed.split() if "nvidia" in line]
    return Counter((each[-3], each[-1].removeprefix("nvidia-")) for each in paths)


def uuids(result: dict[str, Any]) -> list[str]:
    return [each["uuid"] for each in result["instances"]]


LIFE: list[tuple[dict[str, Any], dict[str, int], dict[tuple[str, str], int]]] = [
    ({"types": {HALF: 2, "T4-8Q": 2}}, {"8Q": 2, "4Q": 2}, {(A, "233"): 2, (B, "232"): 2}),
    ({"types": {HALF: 3, BIG: 1}}, {"8Q": 1, "4Q": 3}, {(A, "233"): 1, (B, "232"): 3}),
    ({"types": {SMALL: 3, BIG: 1}}, {"8Q": 1, "2Q": 3}, {(A, "233"): 1, (B, "231"): 3}),
    ({"types": {HALF: 8}}, {"4Q": 8}, {(A, "232"): 4, (B, "232"): 4}),
    ({"state": "inactive"}, {"4Q": 8}, {}),
    ({"types": {"234": 1}}, {"16Q": 1}, {(A, "234"): 1}),
    ({"types": {HALF: 1}, "params": "disable_vnc=1"}, {"4Q": 1}, {(A, "232"): 1}),
    ({"state": "absent"}, {}, {}),
]


def test_its_life(start: Callable[..., Host]) -> None:
    """Each wish foretold by check mode, and nothing to do when it is asked for again."""
    host = start()
    install(host)
    for wish, types, running in LIFE:
        foretold = pool(host, **wish, _ansible_check_mode=True)
        done = pool(host, **wish)
        assert done["changed"]
        for key in ("plan", "instances", "capacity", "waiting", "diff"):
            assert foretold[key] == done[key], (key, wish)
        assert types_of(done) == types
        assert there(host) == running
        again = pool(host, **wish)
        assert (again["plan"], again["instances"], again["changed"]) == ([], done["instances"], False)
        assert again["capacity"] == ({} if wish == LIFE[-1][0] else done["capacity"])
        assert (warnings(done), done["waiting"]) == ([], {"go": [], "come": {}})
    assert host.run(["find", "/etc/nodedev.d", "/etc/mdevctl.d", "-type", "f"]).stdout == ""
    assert host.forbidden_writes() == []


def test_what_it_tells(start: Callable[..., Host]) -> None:
    """The same keys as a mix of functions; what does not fit, and who is in the way, as data too."""
    host = start()
    done = pool(host, types={BIG: 1, SMALL: 2})
    assert [(each["index"], each["type"], each["type_id"], each["address"]) for each in done["instances"]] == [
        (0, BIG, 233, None),
        (1, SMALL, 231, None),
        (2, SMALL, 231, None),
    ]
    assert done["capacity"] == {
        NAME_A: {"free": None, "pool": 1, "others": 0, "types": {BIG: 1, SMALL: 0}},
        NAME_B: {"free": None, "pool": 2, "others": 0, "types": {BIG: 0, SMALL: 6}},
    }
    assert [each["type"] for each in json.loads(host.read(RECORD))["types"]] == [BIG, SMALL]
    # The module of mediated devices knows it, and has no word for a mix.
    same = host.done("mdev_pool", name="desktops")
    assert (same["plan"], uuids(same)) == ([], uuids(done))
    assert "pool desktops is a mix of types: say how many of each in types of" in host.failed(
        "mdev_pool", name="desktops", count=4
    )
    told = refused(host, types={"t4-2q": 1})
    assert told.startswith("types: 't4-2q' cannot be used: did you mean 'T4-2Q'? the types of this host's cards are:")
    with host.hold(uuids(done)[0]) as pid:
        failure = host.module("vgpu_pool", name="other", types={BIG: 4})
    assert failure["msg"].startswith(f"types: {{'{BIG}': 4}} cannot be used: pool other has no room for 3 of {BIG}")
    assert failure["free"] == {NAME_A: {BIG: 1}, NAME_B: {BIG: 0}}
    leaving = [(each["uuid"], each["type_id"], each["pool"]) for each in failure["leaving"]]
    assert {each[0] for each in leaving} == {*uuids(done)}
    assert [each["pid"] for one in failure["leaving"] for each in one["holders"]] == [pid]
    assert {each[2] for each in leaving} == {"desktops"}


def test_a_change_while_guests_run(start: Callable[..., Host]) -> None:
    """What is in use stays, and so does what is told of it; once nobody has it the change is completed."""
    host = start()
    first = uuids(pool(host, types={BIG: 2, HALF: 1}))
    before = host.state()
    with host.hold(first[0]) as pid:
        failure = host.module("vgpu_pool", name="desktops", types={HALF: 6})
        assert f"in use, {first[0]} (index 0) by process {pid}" in failure["msg"]
        assert host.state() == before
        done = pool(host, types={HALF: 6}, in_use="wait")
        assert there(host) == {(A, "233"): 1, (B, "232"): 4}
        assert done["waiting"] == {"go": [f"mdev_{first[0].replace('-', '_')}_0000_3d_00_0"], "come": {HALF: 2}}
        assert warnings(done)[0].startswith("pool desktops is not complete: to go once nobody has them are mdev_")
        again = pool(host, in_use="wait")
        assert (again["plan"], again["waiting"], warnings(again)) == ([], done["waiting"], warnings(done))
    done = pool(host, in_use="wait")
    assert (there(host), done["waiting"]) == ({(A, "232"): 2, (B, "232"): 4}, {"go": [], "come": {}})


@pytest.fixture
def several() -> dict[str, Any]:
    """The scenario with a first card that takes several sizes."""
    scenario = merged("nvidia-mdev")
    scenario["cards"]["first"]["homogeneous"] = False
    return scenario


SMI = """#!/bin/sh
echo "GPU 00000000:3D:00.0"
echo "    vGPU Device Capability"
echo "    vGPU Heterogeneous Mode            : Enabled"
echo "GPU 00000000:AF:00.0"
echo "    vGPU Heterogeneous Mode            : Disabled"
"""


def test_a_card_of_several_sizes(start: Callable[..., Host], several: dict[str, Any]) -> None:
    """Its tool says so; after a boot the largest come first, whatever their UUIDs."""
    host = start(several)
    host.run(["sh", "-c", "cat > /usr/bin/nvidia-smi; chmod 755 /usr/bin/nvidia-smi"], input=SMI)
    install(host)
    only = {"addresses": [A]}
    pool(host, types={SMALL: 2}, parents=only)
    done = pool(host, types={SMALL: 2, HALF: 1, BIG: 1})
    assert there(host) == {(A, "233"): 1, (A, "232"): 1, (A, "231"): 2}
    assert done["capacity"][NAME_A]["types"] == {SMALL: 0, HALF: 0, BIG: 0}
    look = "from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mdev import restored;"
    listed = host.run(
        [host.python, "-c", f"{look} print(*[each.type for each in restored.defined(None)[0]])"], env=host.environment
    ).stdout
    assert listed == "nvidia-233 nvidia-232 nvidia-231 nvidia-231\n"
    host.reboot()
    assert "4 restored" in restore(host).stdout
    assert there(host) == {(A, "233"): 1, (A, "232"): 1, (A, "231"): 2}
    assert pool(host)["plan"] == []


def test_one_odd_value_is_one_warning(start: Callable[..., Host]) -> None:
    """Of a type that is not wished nothing is needed; of one that is, its name tells its size too."""
    host = start()
    host.fault(f"*/{A}/mdev_supported_types/nvidia-230/name", op="read", errno="EIO")
    host.fault(f"*/{B}/mdev_supported_types/nvidia-232/description", op="read", content="-1\n")
    done = pool(host, types={HALF: 3, BIG: 1})
    assert there(host) == {(A, "233"): 1, (B, "232"): 3}
    assert sum("nvidia-230" in each or "nvidia-232" in each for each in warnings(done)) == 1


def test_on_functions_a_pool_of_one_type_becomes_a_mix(start: Callable[..., Host]) -> None:
    host = start("nvidia-sriov")
    former = pool(host, type="NVIDIA A16-4Q", count=2)
    assert "types" not in json.loads(host.read(RECORD))
    assert "no room for 1 of NVIDIA A16-8Q" in refused(host, types={"A16-4Q": 1, "A16-8Q": 1})
    done = pool(host, types={"A16-4Q": 4})
    assert uuids(done)[:2] == uuids(former)
    assert len({each["parent_addr"] for each in done["instances"]}) == 4
    changed = pool(host, types={"A16-8Q": 2})
    assert Counter(each["type_id"] for each in changed["instances"]) == {712: 2}
    assert pool(host, state="absent")["instances"] == []


def test_it_is_carried_over_to_functions(start: Callable[..., Host]) -> None:
    """By its types, when a new kernel makes vGPUs of functions and that is asked for; undone where a step fails."""
    old, host = start("nvidia-sriov"), start("nvidia-vfio-small")
    pool(old, types={"A16-4Q": 2, "nvidia-712": 0})
    for path in old.run(["find", "/etc/nodedev.d", "/etc/mdevctl.d", "-type", "f"]).stdout.split():
        host.run(["install", "-D", "-m", "600", "/dev/stdin", path], input=old.read(path))
    assert refused(host).startswith("migrate: False cannot be used: pool desktops is of mediated devices, and this")
    assert "count: 3 cannot be used: pool desktops is a mix of types" in refused(host, migrate=True, count=3)
    host.fault(f"*{FN[1]}/nvidia/current_vgpu_type", op="write", errno="EIO")
    assert "NOT undone" not in refused(host, migrate=True)
    host.clear_faults()
    done = pool(host, migrate=True)
    assert ([each["address"] for each in done["instances"]], current(host, *FN)) == (FN[:2], ["711", "711", "0", "0"])
    assert host.run(["find", "/etc/mdevctl.d", "-type", "f"]).stdout == ""
    assert pool(host, migrate=True)["plan"] == []


FORMER, CHANGED = {HALF: 3, BIG: 1}, {BIG: 2, SMALL: 1}


def writes(host: Host) -> list[str]:
    """The files of the driver's that the change writes to."""
    removed = [f"*/{each['uuid']}/remove" for each in pool(host)["instances"] if each["type"] == HALF]
    return [*removed, *(f"*/{kind}/create" for kind in ("nvidia-233", "nvidia-231"))]


def test_a_fault_at_every_step_is_undone(start: Callable[..., Host]) -> None:
    host = start()
    pool(host, types=FORMER, params="disable_vnc=1")
    before = host.state()
    for path in writes(host):
        host.fault(path, op="write", errno="EIO", nth=1)
        message = refused(host, types=CHANGED)
        assert "failed with EIO" in message
        assert "NOT undone" not in message
        assert host.state() == before, path
        host.clear_faults()
    assert types_of(pool(host, types=CHANGED)) == {"8Q": 2, "2Q": 1}


def test_a_change_that_is_killed_at_any_step_is_completed(start: Callable[..., Host]) -> None:
    """The driver stops at each write in turn; no instance is there then that the record does not know."""
    host = start()
    pool(host, types=FORMER)
    for path in writes(host):
        killed_at(host, path, 1, types=CHANGED)
        kept = host.read(RECORD)
        running = host.run(["ls", MDEVS]).stdout.split()
        assert [each for each in running if each not in kept] == [], path
        done = pool(host, types=CHANGED)
        assert types_of(done) == {"8Q": 2, "2Q": 1}, path
        listed = host.run(["sh", "-c", "ls /etc/mdevctl.d/*/ | grep ....-"]).stdout.split()
        assert sorted(listed) == sorted(uuids(done))
        assert types_of(pool(host, types=FORMER)) == {"4Q": 3, "8Q": 1}
    assert host.forbidden_writes() == []
