# SPDX-License-Identifier: GPL-3.0-or-later
"""vgpu_pool with several types: its life, what does not fit, changes while guests run, faults and kills."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from conftest import ROOT, Host, warnings
from test_restore import install, restore
from test_vgpu import FN, NAME, changed, current, file
from test_vgpu_pool import RECORD, addresses, pool, refused

LIBRARY = "ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vgpu"
BIG, HALF, SMALL = "NVIDIA A16-8Q", "NVIDIA A16-4Q", "NVIDIA A16-2Q"
MIX = {SMALL: 2, BIG: 1, "A16-4Q": 1}


@pytest.fixture
def host(start: Callable[..., Host]) -> Host:
    """A host with a card that takes several sizes, of 16 GiB and four functions."""
    return start(changed(lambda card, vf: card.update(heterogeneous=True)))


def types_of(result: dict[str, Any]) -> Counter[str]:
    return Counter(each["type"].rpartition("-")[2] for each in result["instances"])


LIFE: list[tuple[dict[str, Any], dict[str, int], list[str]]] = [
    ({"types": MIX}, {"8Q": 1, "4Q": 1, "2Q": 2}, ["712", "711", "709", "709"]),
    ({"types": {BIG: 1, HALF: 1}}, {"8Q": 1, "4Q": 1}, ["712", "711", "0", "0"]),
    ({"types": {SMALL: 3, BIG: 1}}, {"8Q": 1, "2Q": 3}, ["712", "709", "709", "709"]),
    ({"types": {HALF: 4}}, {"4Q": 4}, ["711"] * 4),
    ({"state": "inactive"}, {"4Q": 4}, ["0"] * 4),
    ({"types": {"713": 1}}, {"16Q": 1}, ["713", "0", "0", "0"]),
    ({"types": {HALF: 1}, "params": "disable_vnc=1"}, {"4Q": 1}, ["0", "711", "0", "0"]),
    ({"state": "absent"}, {}, ["0"] * 4),
]


def test_its_life(host: Host) -> None:
    """Each wish foretold by check mode, and nothing to do when it is asked for again."""
    install(host)
    for wish, types, functions in LIFE:
        foretold = pool(host, **wish, _ansible_check_mode=True)
        done = pool(host, **wish)
        assert done["changed"]
        for key in ("plan", "instances", "capacity", "waiting", "diff"):
            assert foretold[key] == done[key], (key, wish)
        assert types_of(done) == types
        assert current(host, *FN) == functions
        again = pool(host, **{**wish, "types": wish.get("types")})
        assert (again["plan"], again["instances"], again["changed"]) == ([], done["instances"], False)
        assert again["capacity"] == ({} if wish == LIFE[-1][0] else done["capacity"])
        assert (warnings(done), done["waiting"]) == ([], {"go": [], "come": {}})
    assert host.run(["find", "/etc/nodedev.d", "-type", "f"]).stdout == ""


def test_what_it_tells(host: Host) -> None:
    done = pool(host, types={BIG: 1, "A16-2Q": 1})
    assert [each["type"] for each in done["instances"]] == [BIG, SMALL]
    assert done["capacity"] == {NAME: {"free": None, "pool": 2, "others": 0, "types": {BIG: 0, SMALL: 2}}}
    assert pool(host, types={"712": 1, "A16-2Q": 1})["plan"][1:] == []
    assert refused(host, count=2).startswith("count: 2 cannot be used: pool desktops is a mix of types: say how many")
    assert "mutually exclusive" in refused(host, types=MIX, count=1)
    told = refused(host, types={"a16-2q": 1})
    assert told.startswith("types: 'a16-2q' cannot be used: did you mean 'A16-2Q'? the types of this host's cards are:")


def test_it_is_back_after_a_reboot_the_largest_first(start: Callable[..., Host]) -> None:
    """Whatever the numbers of their functions: the driver chooses places, and a gap takes no larger one."""
    host = start(changed(lambda card, vf: card.update(heterogeneous=True)))
    install(host)
    pool(host, types={SMALL: 3, HALF: 0})
    pool(host, types={SMALL: 2, BIG: 1})
    done = pool(host, types={SMALL: 2, BIG: 1, HALF: 1})
    before = current(host, *FN)
    assert sorted(before) == ["709", "709", "711", "712"]
    # The order in which they are restored on a card.
    look = f"from {LIBRARY} import restored; print(*[each.title for each in restored.defined(None)[0]], sep=', ')"
    listed = host.run([host.python, "-c", look], env=host.environment).stdout
    assert listed == f"{BIG}, {HALF}, {SMALL}, {SMALL}\n"
    host.reboot()
    assert "4 restored" in restore(host).stdout
    assert current(host, *FN) == before
    assert addresses(pool(host)) == addresses(done)


def test_what_does_not_fit_is_told_as_data_too(start: Callable[..., Host]) -> None:
    """By whole cards on homogeneous ones; the least that has to leave is named, with who has it."""
    host = start("nvidia-vfio")
    only = {"physical_function": ["0000:41:00.0", "0000:42:00.0", "0000:43:00.0"]}
    host.write(file("0000:41:00.4"), "1150")
    host.write(file("0000:41:00.5"), "1150")
    host.write(file("0000:42:00.4"), "1155")
    with host.hold("0000:42:00.4") as pid:
        failure = host.module("vgpu_pool", name="desktops", types={"L40S-48Q": 1, "L40S-8Q": 6}, parents=only)
    assert failure["failed"]
    assert "has no room for 6 of NVIDIA L40S-8Q (1152); it would fit without NVIDIA L40S-4Q (1150) on" in failure["msg"]
    assert [(each["address"], each["type"], each["holders"]) for each in failure["leaving"]] == [
        (f"0000:41:00.{number}", "NVIDIA L40S-4Q", []) for number in (4, 5)
    ]
    assert failure["free"]["pci_0000_43_00_0"] == {"NVIDIA L40S-48Q": 1, "NVIDIA L40S-8Q": 6}
    with host.hold("0000:42:00.4") as pid:
        failure = host.module("vgpu_pool", name="desktops", types={"L40S-48Q": 3}, parents=only)
    assert [(each["address"], [one["pid"] for one in each["holders"]]) for each in failure["leaving"]] == [
        ("0000:41:00.4", []),
        ("0000:41:00.5", []),
        ("0000:42:00.4", [pid]),
    ]
    done = pool(host, types={"L40S-12Q": 2, "L40S-24Q": 1, "L40S-4Q": 11}, parents=only)
    where = Counter((each["parent_addr"][5:7], each["type_id"]) for each in done["instances"])
    assert where == {("42", 1155): 1, ("43", 1153): 2, ("41", 1150): 10, ("43", 1150): 1}
    assert host.forbidden_writes() == []


def test_a_change_while_guests_run(host: Host) -> None:
    """What is in use stays, and so does what is told of it; once nobody has it the change is completed."""
    pool(host, types={BIG: 1, HALF: 2})
    before = host.state()
    with host.hold(FN[0]) as pid:
        failure = host.module("vgpu_pool", name="desktops", types={HALF: 4})
        assert f"in use, {FN[0]} (index 0) by process {pid}" in failure["msg"]
        assert [each["pid"] for each in failure["holders"]] == [pid]
        assert host.state() == before
        done = pool(host, types={HALF: 4}, in_use="wait")
        assert (done["plan"], current(host, *FN)) == (done["plan"][:1], ["712", "711", "711", "0"])
        assert done["waiting"] == {"go": [f"{NAME[:-1]}4"], "come": {HALF: 2}}
        assert warnings(done)[0].startswith("pool desktops is not complete: to go once nobody has them are pci_0000_06")
        again = pool(host, in_use="wait")
        assert (again["plan"], again["waiting"], warnings(again)) == ([], done["waiting"], warnings(done))
    done = pool(host, in_use="wait")
    assert (current(host, *FN), done["waiting"]) == (["711"] * 4, {"go": [], "come": {}})


def test_a_pool_of_one_type_becomes_a_mix(host: Host) -> None:
    pool(host, type=HALF, count=2)
    assert "types" not in json.loads(host.read(RECORD))
    done = pool(host, types={HALF: 1, BIG: 1})
    assert types_of(done) == {"4Q": 1, "8Q": 1}
    assert addresses(done)[0] == FN[0]


FORMER, CHANGED = {HALF: 3}, {BIG: 1, SMALL: 3}
# The writes that the change makes, of clearing and of making.
WRITES = [(f"*{each}/nvidia/current_vgpu_type", nth) for each in FN[:3] for nth in (1, 2)]
WRITES += [(f"*{FN[3]}/nvidia/current_vgpu_type", 1)]


def test_a_fault_at_every_step_is_undone(host: Host) -> None:
    pool(host, types=FORMER, params="disable_vnc=1")
    before = host.state()
    for path, nth in WRITES:
        host.fault(path, op="write", errno="EIO", nth=nth)
        message = refused(host, types=CHANGED)
        assert "failed with EIO" in message
        assert "NOT undone" not in message
        assert host.state() == before, (path, nth)
        host.clear_faults()
    assert current(host, *FN) == ["711"] * 3 + ["0"]
    assert types_of(pool(host, types=CHANGED)) == {"8Q": 1, "2Q": 3}


def killed_at(host: Host, path: str, nth: int, **wish: Any) -> None:
    """Run the module and kill its process once it has come to this write."""
    script = str(ROOT / "plugins" / "modules" / "vgpu_pool.py")
    command = ["sh", "-c", 'echo $$ > /run/changing; exec "$0" "$1"', host.python, script]
    given = json.dumps({"ANSIBLE_MODULE_ARGS": {"name": "desktops", **wish}})
    host.fault(path, op="write", delay=30, nth=nth)
    with ThreadPoolExecutor(1) as beside:
        run = beside.submit(host.run, command, input=given, check=False, env=host.environment)
        end = time.monotonic() + 25
        while host.faults()[0]["seen"] < nth and time.monotonic() < end:
            time.sleep(0.05)
        host.run(["sh", "-c", "kill -9 $(cat /run/changing)"])
        run.result()
    host.clear_faults()


def test_a_change_that_is_killed_at_any_step_is_completed(host: Host) -> None:
    """The driver stops at each write in turn; no function is a vGPU then that neither record nor definition knows."""
    pool(host, types=FORMER)
    stopped = 0
    for path, nth in WRITES:
        killed_at(host, path, nth, types=CHANGED)
        there = [each for each, type in zip(FN, current(host, *FN), strict=True) if type != "0"]
        stopped += current(host, *FN) not in (["711"] * 3 + ["0"], ["712", "709", "709", "709"])
        kept = host.read(RECORD) + host.run(["ls", "/etc/nodedev.d/vgpu"]).stdout
        assert [each for each in there if each not in kept] == [], (path, nth)
        done = pool(host, types=CHANGED)
        assert types_of(done) == {"8Q": 1, "2Q": 3}, (path, nth)
        listed = host.run(["ls", "/etc/nodedev.d/vgpu"]).stdout.split()
        assert listed == [f"{each}.json" for each in sorted(addresses(done))]
        assert types_of(pool(host, types=FORMER)) == {"4Q": 3}
    assert stopped > len(WRITES) // 2
    assert host.forbidden_writes() == []
