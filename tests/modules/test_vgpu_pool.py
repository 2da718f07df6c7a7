# SPDX-License-Identifier: GPL-3.0-or-later
"""The vgpu_pool module on simulated hosts of both frameworks: one result, and what differs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Host, warnings
from simhost.testing import merged
from test_documentation import returned, samples_unlike, shape
from test_restore import install, restore
from test_vgpu import CARD, FN, NAME, changed, current, file

RECORD = "/etc/nodedev.d/pool/desktops.json"
TYPE = "NVIDIA A16-4Q"


def pool(host: Host, **wish: Any) -> dict[str, Any]:
    """The result of a run that succeeds."""
    return host.done("vgpu_pool", **{"name": "desktops", **wish})


def refused(host: Host, **wish: Any) -> str:
    """The message of a run that fails and changes nothing."""
    return host.failed("vgpu_pool", **{"name": "desktops", **wish})


@pytest.fixture
def host(start: Callable[..., Host]) -> Host:
    """A host whose vGPUs are functions."""
    return start("nvidia-vfio-small")


def addresses(result: dict[str, Any]) -> list[str]:
    return [each["address"] for each in result["instances"]]


LIFE: list[dict[str, Any]] = [
    {"type": TYPE, "count": 2},
    {"count": 3},
    {"count": 1},
    {"state": "inactive"},
    {"state": "present"},
    {"count": "max"},
    {"state": "absent"},
]


@pytest.mark.parametrize("scenario", ["nvidia-sriov", "nvidia-vfio-small"])
def test_its_life(start: Callable[..., Host], scenario: str) -> None:
    """Alike on both frameworks: foretold by check mode, none when asked for again."""
    host = start(scenario)
    install(host)
    sizes = []
    for wish in LIFE:
        foretold = pool(host, **wish, _ansible_check_mode=True)
        done = pool(host, **wish)
        assert done["changed"]
        assert foretold["plan"] == done["plan"]
        assert foretold["capacity"] == done["capacity"]
        again = pool(host, **wish)
        assert (again["plan"], again["instances"]) == ([], done["instances"])
        # Of a pool that is gone no type is known.
        assert again["capacity"] == ({} if wish == LIFE[-1] else done["capacity"])
        free, own, others = (done["capacity"][NAME][key] for key in ("free", "pool", "others"))
        sizes.append((len(done["instances"]), own, free, others))
    assert sizes == [(2, 2, 2, 0), (3, 3, 1, 0), (1, 1, 3, 0), (1, 0, 4, 0), (1, 1, 3, 0), (4, 4, 0, 0), (0, 0, 4, 0)]
    assert warnings(done) == []


def test_both_frameworks_give_one_result(start: Callable[..., Host]) -> None:
    found = []
    for scenario in ("nvidia-sriov", "nvidia-vfio-small"):
        host = start(scenario)
        done = pool(host, type="A16-4Q", count=2)
        found.append(done)
        assert [each["type"] for each in done["instances"]] == [TYPE] * 2
        assert [each["type_id"] for each in done["instances"]] == [711] * 2
    one, other = found
    assert one["capacity"] == other["capacity"]
    assert [set(each) for each in one["instances"]] == [set(each) for each in other["instances"]]
    assert set(one) == set(other)
    assert all(each["uuid"] is None for each in other["instances"])
    assert 'managed="no"' in other["instances"][0]["hostdev_xml"]


def test_it_is_spread_over_the_cards_that_can_take_it(start: Callable[..., Host]) -> None:
    """Not over one in another mode, one without functions, one divided by MIG; what others have made counts."""
    host = start("nvidia-vfio")
    host.write(file("0000:42:00.4"), "1150")
    done = pool(host, type="L40S-8Q", count=8)
    cards = Counter(each["parent_addr"] for each in done["instances"])
    assert cards == {"0000:41:00.0": 2, "0000:43:00.0": 2, "0000:45:00.0": 2, "0000:46:00.0": 2}
    assert done["capacity"]["pci_0000_42_00_0"] == {"free": 0, "pool": 0, "others": 1}
    assert done["capacity"]["pci_0000_41_00_0"] == {"free": 4, "pool": 2, "others": 0}
    assert pool(host)["capacity"] == done["capacity"]
    packed = host.done("vgpu_pool", name="more", type="L40S-8Q", count=5, placement="pack")
    assert Counter(each["parent_addr"] for each in packed["instances"])["0000:41:00.0"] == 4
    assert set(addresses(packed)).isdisjoint(addresses(done))
    chosen = host.done("vgpu_pool", name="far", type="L40S-8A", count=2, parents={"numa_node": 1, "driver": "nvidia"})
    assert {each["parent_addr"] for each in chosen["instances"]} <= {"0000:45:00.0", "0000:46:00.0"}
    assert host.forbidden_writes() == []


def test_a_card_that_takes_several_sizes(start: Callable[..., Host]) -> None:
    host = start("nvidia-vfio")
    only = {"physical_function": ["0000:43:00.0"]}
    pool(host, type="L40S-24Q", count=1, parents=only)
    more = host.done("vgpu_pool", name="more", type="L40S-8Q", count="max", parents=only)
    assert more["capacity"]["pci_0000_43_00_0"] == {"free": 0, "pool": 3, "others": 1}
    told = refused(host, name="third", type="L40S-1Q", count=1, parents=only)
    assert "needs 1 more vGPUs of type NVIDIA L40S-1Q" in told
    assert "there is room for 0; free are on pci_0000_43_00_0 (0000:43:00.0): 0, beside " in told


def test_what_does_not_fit_is_refused_before_anything_is_written(host: Host) -> None:
    host.write(file(FN[3]), "711")
    told = refused(host, type="A16-4Q", count=4)
    assert told == (
        "count: 4 cannot be used: pool desktops needs 4 more vGPUs of type NVIDIA A16-4Q (711) and there is room for 3;"
        f" free are on {NAME} ({CARD}): 3, beside NVIDIA A16-4Q (711) on {NAME[:-1]}7 ({FN[3]})"
    )
    assert "there is room for 0; free are on" in refused(host, type="A16-8Q", count=1)
    assert len(pool(host, type="A16-4Q", count="max")["instances"]) == 3


BAD = [
    ({}, "type is required: pool desktops is not known here; the types of this host's cards are: NVIDIA A16-2Q (709)"),
    ({"type": "A16-4Q"}, "count is required: pool desktops is not known here"),
    (
        {"type": "A16-3Q", "count": 1},
        "type: 'A16-3Q' cannot be used: the types of this host's cards are: NVIDIA",
    ),
    ({"type": "a16-4q", "count": 1}, "did you mean 'A16-4Q'?"),
    ({"type": "999", "count": 1}, "type: '999' cannot be used: the types of this host's cards"),
    ({"type": "A16-4Q", "count": -1}, "count: '-1' cannot be used"),
    ({"type": "A16-4Q", "count": 1, "params": "a b"}, "params: 'a b' cannot be used"),
    ({"type": "A16-4Q", "count": 1, "parents": {"driver": "nvida"}}, "it leaves out every parent: driver is nvidia on"),
    ({"type": "A16-4Q", "count": 1, "parents": {"names": ["pci_0000_99_00_0"]}}, "there is no such device"),
    ({"type": "A16-4Q", "count": 1, "managed": True, "persistent": False}, "persistent: False cannot be used"),
    ({"type": "A16-4Q", "count": 1, "name": "a/b"}, "name: 'a/b' cannot be used"),
]


@pytest.mark.parametrize(("wish", "message"), BAD)
def test_bad_input(host: Host, wish: dict[str, Any], message: str) -> None:
    assert message in refused(host, **wish)
    assert host.forbidden_writes() == []


def test_another_type_is_another_pool(host: Host) -> None:
    pool(host, type="A16-4Q", count=1)
    assert "pool desktops has vGPUs of type NVIDIA A16-4Q (711), not of 712: remove" in refused(host, type="712")
    for same in ("711", "nvidia-711", TYPE):
        assert pool(host, type=same)["plan"][1:] == []


def test_a_function_of_somebody_else_is_not_taken(host: Host) -> None:
    host.done("vgpu", device=FN[0], type="A16-4Q", state="inactive")
    host.done("vgpu_pool", name="other", type="A16-4Q", count=1, state="inactive")
    assert addresses(pool(host, type="A16-4Q", count="max")) == FN[2:]
    gone = host.done("vgpu", device=FN[2], state="absent")
    assert gone["plan"][0].endswith(", an instance of pool desktops")
    assert addresses(pool(host)) == FN[2:]


def test_a_function_that_has_become_anothers_is_replaced(host: Host) -> None:
    """Its new owner is not touched, and who has the instance is told that it is another function."""
    pool(host, type="A16-4Q", count=2)
    host.write(file(FN[0]), "0")
    host.write(file(FN[0]), "711")
    assert pool(host)["plan"] == []
    for each in FN[:2]:
        host.write(file(each), "0")
    host.write(file(FN[0]), "712")
    told = refused(host)
    assert "there is room for 0" in told
    host.write(file(FN[0]), "0")
    host.write(file(FN[0]), "713")
    pool(host, count=0)
    assert current(host, *FN) == ["713", "0", "0", "0"]


def test_it_moves_where_its_function_is_anothers(start: Callable[..., Host]) -> None:
    host = start(changed(lambda card, vf: card.update(heterogeneous=True)))
    pool(host, type="A16-4Q", count=1)
    host.write(file(FN[0]), "0")
    host.write(file(FN[0]), "709")
    done = pool(host)
    assert addresses(done) == [FN[1]]
    assert f"instance 0 of pool desktops is pci_0000_06_00_5 ({FN[1]}) from now on" in warnings(done)[0]
    assert current(host, *FN) == ["709", "711", "0", "0"]
    assert pool(host)["plan"] == []
    assert pool(host, state="absent")["changed"]
    assert current(host, *FN) == ["709", "0", "0", "0"]


def test_what_a_guest_has_stays(host: Host) -> None:
    pool(host, type="A16-4Q", count=3)
    with host.hold(FN[2]) as pid:
        assert addresses(pool(host, count=2)) == [FN[0], FN[2]]
        failure = host.module("vgpu_pool", name="desktops", count=0)
        assert f"only 1 are idle; in use are {FN[2]} (index 2) by process {pid}" in failure["msg"]
        assert failure["msg"].endswith(": stop that first")
        assert [(each["pid"], each["function"]) for each in failure["holders"]] == [(pid, FN[2])]
        assert f"in use are {FN[2]}" in warnings(pool(host, params="disable_vnc=1"))[0]
        assert host.module("vgpu_pool", name="desktops", state="absent", force=True)["failed"]
    assert pool(host)["plan"] == [f"set params disable_vnc=1 of the vGPU of pci_0000_06_00_6 ({FN[2]})"]


FAULTS = [(f"*{FN[number]}/nvidia/current_vgpu_type", 1) for number in range(3)]
FAULTS += [(f"*{FN[number]}/nvidia/vgpu_params", 1) for number in range(3)]


@pytest.mark.parametrize(("path", "nth"), FAULTS)
def test_a_fault_at_every_step_is_undone(host: Host, path: str, nth: int) -> None:
    wish = {"type": "A16-4Q", "count": 3, "params": "disable_vnc=1"}
    before = host.state()
    host.fault(path, op="write", errno="EIO", nth=nth)
    message = refused(host, **wish)
    assert "failed with EIO" in message
    assert "NOT undone" not in message
    assert host.state() == before
    host.clear_faults()
    assert pool(host, **wish)["changed"]


def test_room_that_others_take_meanwhile(start: Callable[..., Host]) -> None:
    """A card that turns out to be full is passed over, and its vGPUs are made elsewhere."""
    host = start("nvidia-vfio")
    host.fault("*/0000:41:00.5/nvidia/creatable_vgpu_types", op="read", content="ID    : vGPU Name\n", nth=2, times=99)
    done = pool(host, type="L40S-8Q", count=6, parents={"numa_node": 0})
    assert len(done["instances"]) == 6
    assert host.forbidden_writes() == []


def test_it_is_back_after_a_reboot(host: Host) -> None:
    install(host)
    pool(host, type="A16-4Q", count=3, params="disable_vnc=1")
    host.done("vgpu_pool", name="now", type="A16-4Q", count=1, persistent=False)
    host.reboot()
    done = restore(host)
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 restored" in done.stdout
    assert current(host, *FN) == ["711", "711", "711", "0"]
    assert pool(host)["plan"] == []
    facts = host.done("definition_facts", kinds=["vgpu"])["ansible_facts"]["nodedev_definitions"]["vgpu"]
    assert {each["pool"] for each in facts} == {"desktops"}


def test_a_host_that_has_moved(start: Callable[..., Host]) -> None:
    """After an upgrade, what was mediated devices is carried over to functions by its type, when that is asked for."""
    old, host = start("nvidia-sriov"), start("nvidia-vfio-small")
    install(host)
    pool(old, type="A16-4Q", count=2, params="disable_vnc=1")
    for path in old.run(["find", "/etc/nodedev.d", "/etc/mdevctl.d", "-type", "f"]).stdout.split():
        host.run(["install", "-D", "-m", "600", "/dev/stdin", path], input=old.read(path))
    told = refused(host)
    assert told.startswith("migrate: False cannot be used: pool desktops is of mediated devices, and this host makes")
    foretold = pool(host, migrate=True, _ansible_check_mode=True)
    host.fault(f"*{FN[1]}/nvidia/current_vgpu_type", op="write", errno="EIO")
    assert "NOT undone" not in refused(host, migrate=True)
    host.clear_faults()
    done = pool(host, migrate=True)
    assert done["plan"] == foretold["plan"]
    assert (addresses(done), current(host, *FN)) == (FN[:2], ["711", "711", "0", "0"])
    assert host.read(file(FN[0], "vgpu_params")).strip() == "disable_vnc=1"
    assert host.run(["find", "/etc/mdevctl.d", "-type", "f"]).stdout == ""
    assert json.loads(host.read(RECORD))["kind"] == "vgpu"
    assert (pool(host, migrate=True)["plan"], warnings(pool(host))) == ([], [])
    assert "the pool of this name is one of vgpu devices" in host.failed("mdev_pool", name="desktops")


def test_a_host_of_both_frameworks(start: Callable[..., Host]) -> None:
    host = start(merged("nvidia-mdev", "nvidia-vfio-small"))
    assert "this host makes vGPUs in both ways" in refused(host, type="A16-4Q", count=1)
    assert addresses(pool(host, type="A16-4Q", count=1, backend="vfio")) == [FN[0]]
    assert pool(host, count=2)["instances"][1]["address"] == FN[1]
    for _time in range(2):
        pool(host, state="absent")
    assert current(host, *FN) == ["0"] * 4
    other = host.done("vgpu_pool", name="t4", type="T4-2Q", count=1, parents={"addresses": ["0000:3d:00.0"]})
    assert (other["instances"][0]["uuid"] is None, other["instances"][0]["type"]) == (False, "GRID T4-2Q")


def test_what_makes_vgpus_comes_after_the_functions(start: Callable[..., Host]) -> None:
    """One task enables them, the next one makes the pool."""
    scenario = changed(lambda card, vf: vf.update(delay=1, without=[1]))
    scenario["devices"][0]["behaviour"]["sriov"]["numvfs"] = 0
    host = start(scenario)
    told = refused(host, type="A16-4Q", count=1)
    assert "none of its 4 virtual functions is enabled: hostdev.nodedev.sriov with numvfs: max enables them" in told
    host.done("sriov", device=CARD, numvfs="max")
    assert addresses(pool(host, type="A16-4Q", count=2, wait_timeout=5)) == [FN[0], FN[2]]
    assert "there is room for 1" in refused(host, count=4, wait_timeout=2)
    assert addresses(pool(host, count="max", wait_timeout=2)) == [FN[0], FN[2], FN[3]]


def test_it_waits_for_the_functions_that_it_is_to_have(start: Callable[..., Host]) -> None:
    """What another card makes mediated devices of is there from the beginning, and does not decide."""
    scenario = merged("nvidia-vfio-small", "nvidia-mdev")
    sriov = scenario["devices"][0]["behaviour"]["sriov"]
    sriov["numvfs"] = 0
    sriov["vf"]["behaviour"]["nvidia_vgpu"]["delay"] = 1
    host = start(scenario)
    host.done("sriov", device=CARD, numvfs="max")
    assert addresses(pool(host, type="A16-4Q", count=1, parents={"names": [NAME]})) == [FN[0]]
    pool(host, state="absent")
    host.done("sriov", device=CARD, state="absent", force=True)
    host.done("sriov", device=CARD, numvfs="max")
    # What comes meanwhile is no change of the module's.
    undecided = host.module("vgpu_pool", name="either", type="A16-4Q", count=1)
    assert undecided["failed"] and "this host makes vGPUs in both ways" in undecided["msg"]


def test_a_host_of_neither(start: Callable[..., Host]) -> None:
    told = refused(start("no-mdev"), type="A16-4Q", count=1)
    assert told.startswith("pool desktops: no virtual function of this host can be a vGPU; ")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"type": "A16-4Q", "instances": [{"index": 0, "id": "x", "parent": "x"}]}',
        '{"type": "A16-4Q", "type_id": -1, "instances": []}',
        '{"type": "A16-4Q", "most": {"../..": 1}, "instances": []}',
        '{"type": 3, "instances": []}',
    ],
)
def test_a_damaged_record(host: Host, text: str) -> None:
    pool(host, type="A16-4Q", count=1)
    host.write(RECORD, text.replace('{"type"', '{"version": 1, "kind": "vgpu", "count": 1, "type"'))
    assert f"{RECORD} is damaged" in refused(host)
    assert host.done("vgpu_pool", name="desktops", state="absent", backend="vfio")["changed"]
    assert current(host, FN[0]) == ["711"]


def test_it_returns_what_it_documents(host: Host) -> None:
    known = returned("vgpu_pool")
    made = pool(host, type="A16-4Q", count=1)
    # Of mig: derive alone is what is derived.
    assert set(made) - {"changed", "invocation", "warnings"} == shape(known) - {"derived"}
    assert set(made["instances"][0]) == shape(known["instances"]["contains"])
    assert samples_unlike(known, made) == []


def test_a_card_with_some_of_its_functions(start: Callable[..., Host]) -> None:
    """Somebody has written another number; while there is a vGPU, the number is not changed."""
    scenario = changed(lambda card, vf: None)
    scenario["devices"][0]["behaviour"]["sriov"]["numvfs"] = 2
    host = start(scenario)
    assert addresses(pool(host, type="A16-2Q", count="max")) == FN[:2]
    assert "would take the card from under its vGPUs" in host.failed("sriov", device=CARD, numvfs="max", force=True)
    assert current(host, *FN[:2]) == ["709", "709"]


def test_who_else_has_the_functions_is_named_where_something_changes(host: Host) -> None:
    host.run(["mkdir", "-p", "/run/nvidia/driver"])
    made, again = (pool(host, type=TYPE, count=2) for _time in range(2))
    single = host.done("vgpu", device=FN[3], type=TYPE)
    told = [" ".join(warnings(each)).count("is of the gpu-operator") for each in (made, again, single)]
    assert told == [1, 0, 1]
