# SPDX-License-Identifier: GPL-3.0-or-later
"""The mdev_pool module on the simulated host: what it makes, takes, refuses and leaves alone."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import UUID as Identifier
from uuid import uuid5

import pytest
import yaml
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.names import called
from conftest import CARD, HERE, OTHER, OTHER_CARD, ROOT, UUID, Host, definitions, ids, running, warnings

TYPE = "GRID T4-4Q"
KIND = "nvidia-232"
RECORD = "/etc/nodedev.d/pool/x.json"
RUNTIME_RECORD = "/run/nodedev.d/pool/x.json"
ATTRS = [{"nvidia/vgpu_params": "a=1"}]
EIGHT = "nvidia-8cards"


def parents(result: dict[str, Any]) -> list[str]:
    return [instance["parent_addr"] for instance in result["instances"]]


def recorded(host: Host, path: str = RECORD) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(host.read(path))
    return document


def test_what_is_returned(host: Host) -> None:
    made = host.pool(type=TYPE, count=3, attrs=ATTRS)
    machine = host.read("/etc/machine-id").strip()
    namespace = Identifier("5f8f3c0e-5b0e-5c53-9d0c-2a7f4f0b6a11")
    uuids = [str(uuid5(namespace, f"{machine} x {index}")) for index in range(3)]
    places = [CARD, OTHER_CARD, CARD]
    assert made["changed"]
    assert made["plan"] == [
        f"record pool x with 3 instances in {RECORD}",
        *(
            step
            for uuid, parent in zip(uuids, places, strict=True)
            for step in (
                f"create mdev {uuid} of type {KIND} on {called(parent)}",
                f"set nvidia/vgpu_params=a=1 on mdev {uuid}",
            )
        ),
        *(
            f"define mdev {uuid} with type {KIND} on {called(parent)}, start auto, nvidia/vgpu_params=a=1"
            for uuid, parent in zip(uuids, places, strict=True)
        ),
    ]
    assert made["instances"][1] == {
        "index": 1,
        "uuid": uuids[1],
        "name": f"mdev_{uuids[1].replace('-', '_')}_0000_af_00_0",
        "parent": "pci_0000_af_00_0",
        "parent_addr": OTHER_CARD,
        "type": KIND,
        "device_api": "vfio-pci",
        "active": True,
        "holders": [],
        "hostdev_xml": '<hostdev mode="subsystem" type="mdev" model="vfio-pci">\n  <source>\n'
        f'    <address uuid="{uuids[1]}" />\n  </source>\n</hostdev>',
    }
    assert ids(made) == uuids
    assert parents(made) == places
    assert made["capacity"] == {
        "pci_0000_3d_00_0": {KIND: {"free": 2, "pool": 2, "others": 0}},
        "pci_0000_af_00_0": {KIND: {"free": 3, "pool": 1, "others": 0}},
    }
    told = 'autostart true, attrs [{"nvidia/vgpu_params": "a=1"}]'
    assert made["diff"]["before"] == ""
    assert made["diff"]["after"].splitlines() == [
        f"{uuid}: runs and is defined; type {KIND}, parent_addr {parent}, {told}"
        for uuid, parent in zip(uuids, places, strict=True)
    ]
    assert recorded(host) == {
        "version": 1,
        "kind": "mdev",
        "type": TYPE,
        "count": 3,
        "attrs": ATTRS,
        "instances": [
            {"index": index, "id": uuid, "parent": parent}
            for index, (uuid, parent) in enumerate(zip(uuids, places, strict=True))
        ],
    }
    assert {host.read(f"/sys/bus/mdev/devices/{uuid}/nvidia/vgpu_params") for uuid in uuids} == {"a=1\n"}
    assert running(host) == definitions(host) == sorted(uuids)


def test_a_second_run_changes_nothing(host: Host) -> None:
    made = host.pool(type=TYPE, count=3, attrs=ATTRS, parents={"driver": "nvidia"})
    before = host.state()
    for again in (host.pool(type=TYPE, count=3, attrs=ATTRS, parents={"driver": "nvidia"}), host.pool()):
        assert (again["changed"], again["plan"]) == (False, [])
        assert again["diff"]["before"] == again["diff"]["after"]
        assert {key: again[key] for key in ("instances", "capacity")} == {
            key: made[key] for key in ("instances", "capacity")
        }
    assert host.state() == before


# A life of a pool: each wish follows the one before it.
LIFE: list[tuple[str, dict[str, Any]]] = [
    ("new", {"type": TYPE, "count": 3}),
    ("grown", {"count": 6, "attrs": ATTRS}),
    ("shrunk", {"count": 2}),
    ("max", {"count": "max"}),
    ("inactive", {"state": "inactive"}),
    ("inactive and smaller", {"state": "inactive", "count": 4}),
    ("active again", {}),
    ("without autostart", {"autostart": False}),
    ("listed", {"uuids": [UUID, OTHER]}),
    ("listed in another order", {"uuids": [OTHER, UUID]}),
    ("absent", {"state": "absent"}),
    ("absent already", {"state": "absent"}),
]


def test_check_mode_changes_nothing_and_predicts_the_result(host: Host) -> None:
    # Whether devices will be restored is all that is not foretold.
    mend_rule(host)
    for name, arguments in LIFE:
        before = host.state()
        foretold = host.pool(check_mode=True, **arguments)
        assert host.state() == before, name
        done = host.pool(**arguments)
        assert foretold == done, name
        again = host.pool(**arguments)
        assert (again["changed"], again["plan"]) == (False, []), name


def test_grow_and_shrink_on_eight_cards(start: Callable[..., Host]) -> None:
    host = start(EIGHT)
    node = {"driver": "nvidia", "numa_node": 1}
    small = host.pool(type="GRID T4-1B", count=10, parents=node)
    assert sorted(Counter(parents(small)).values()) == [2, 2, 3, 3]
    assert all(parent.startswith("0000:1") for parent in parents(small))
    all_cards = host.pool(parents={}, count="max")
    assert len(ids(all_cards)) == 64
    assert set(Counter(parents(all_cards)).values()) == {8}
    assert ids(all_cards)[:10] == ids(small)
    assert running(host) == definitions(host) == sorted(ids(all_cards))
    assert not host.pool()["changed"]
    few = host.pool(count=5)
    assert ids(few) == ids(small)[:5]
    assert running(host) == definitions(host) == sorted(ids(few))
    assert host.pool(state="absent")["instances"] == []
    assert (running(host), definitions(host)) == ([], [])
    assert host.run(
        ["find", "/etc/nodedev.d", "/etc/mdevctl.d", "-mindepth", "1", "-not", "-path", "*scripts*"]
    ).stdout == ("")


def test_packed_on_eight_cards(start: Callable[..., Host]) -> None:
    host = start(EIGHT)
    made = host.pool(type="nvidia-223", count=6, placement="pack")
    assert sorted(Counter(parents(made)).values()) == [2, 4]
    assert sorted(Counter(parents(host.pool(count=9))).values()) == [1, 4, 4]


def test_a_full_host_is_refused_before_anything_is_made(start: Callable[..., Host]) -> None:
    host = start(EIGHT)
    host.pool(name="other", type="nvidia-224", count=3, parents={"addresses": ["00000000:01:00.0", "02:00.0"]})
    host.pool(type="nvidia-222", count=5)
    message = host.pool_refused(count=50)
    assert message.startswith(
        "count: 50 cannot be used: pool x needs 45 more instances of type nvidia-222 and there is room for 43; free are"
        " pci_0000_01_00_0 (0000:01:00.0): 0, pci_0000_02_00_0 (0000:02:00.0): 0, pci_0000_03_00_0 (0000:03:00.0): 7,"
    )
    assert all(f"(0000:{card}:00.0): " in message for card in ("03", "04", "11", "12", "13", "14"))
    assert len(host.pool(count=48)["instances"]) == 48
    assert len(host.pool(count="max")["instances"]) == 48


@pytest.mark.parametrize("wish", [{"count": 0}, {"state": "absent"}, {"state": "inactive"}])
def test_instances_that_are_not_known_to_be_free(host: Host, wish: dict[str, Any]) -> None:
    """Root without the right to look at processes is not told that nobody uses them."""
    host.pool(type=TYPE, count=2)
    host.user = ["setpriv", "--bounding-set=-sys_ptrace"]
    assert [[holder["pid"] for holder in each["holders"]] for each in host.pool()["instances"]] == [[None]] * 2
    message = host.pool_refused(**wish)
    assert message.count("whose open files cannot be read (EACCES, Permission denied)") == 2
    assert host.pool(**wish, force=True)["changed"]


def test_an_instance_that_is_held_by_its_character_device(start: Callable[..., Host]) -> None:
    plan = yaml.safe_load((ROOT / "tests" / "simhost" / "scenarios" / "nvidia-mdev.yml").read_text())
    host = start({**plan, "vfio_cdev": True})
    uuids = ids(host.pool(type=TYPE, count=3))
    node = os.listdir(host.path(f"/sys/bus/mdev/devices/{uuids[1]}/vfio-dev"))[0]
    with host.hold(f"devices/{node}") as pid:
        held = [[holder["pid"] for holder in each["holders"]] for each in host.pool()["instances"]]
        assert held == [[], [pid], []]
        assert f"{uuids[1]} (index 1) by process {pid}" in host.pool_refused(state="absent")


def test_shrinking_takes_the_highest_idle_ones(host: Host) -> None:
    uuids = ids(host.pool(type=TYPE, count=5))
    with host.hold(uuids[4]) as held, host.hold(uuids[2]) as other:
        before = host.pool()["instances"]
        assert [[holder["pid"] for holder in each["holders"]] for each in before] == [[], [], [other], [], [held]]
        assert ids(host.pool(count=3)) == [uuids[0], uuids[2], uuids[4]]
        message = host.pool_refused(count=1)
        assert message.startswith("pool x: 2 of 3 instances have to go and only 1 are idle; in use are ")
        assert f"{uuids[2]} (index 2) by process {other} (simhost-guest)" in message
        assert f"{uuids[4]} (index 4) by process {held} (simhost-guest)" in message
        assert f"{uuids[2]} (index 2) by process {other}" in host.pool_refused(state="inactive")
        assert f"by process {held} (simhost-guest)" in host.pool_refused(state="absent")
    # Growing takes the lowest free index.
    assert ids(host.pool(count=4)) == [*uuids[:3], uuids[4]]


def test_force_waits_for_the_release_no_longer_than_told(host: Host) -> None:
    uuids = ids(host.pool(type=TYPE, count=2))
    with host.hold(uuids[1]):
        result = host.module("mdev_pool", name="x", count=0, force=True, wait_timeout=0.5)
        assert "the kernel still waits for the users" in result["msg"]
        assert "NOT undone" not in result["msg"]
        assert definitions(host) == sorted(uuids)
    assert host.pool(count=0)["instances"] == []
    assert (running(host), definitions(host)) == ([], [])


def test_max_takes_what_others_leave(host: Host) -> None:
    host.mdev(type=KIND)
    made = host.pool(type=TYPE, count="max")
    assert len(ids(made)) == 7
    assert made["capacity"]["pci_0000_3d_00_0"] == {KIND: {"free": 0, "pool": 3, "others": 1}}
    host.mdev(state="absent", type=None)
    assert len(ids(host.pool())) == 8


def test_the_instances_of_others_are_not_touched(host: Host) -> None:
    host.mdev(type=KIND)
    host.mdev(uuid=OTHER, type=KIND, state="inactive")
    other = host.pool(name="y", type=TYPE, count=2)
    before = host.state()
    host.pool(type=TYPE, count=3)
    host.pool(count=1)
    host.pool(state="inactive")
    host.pool(state="absent")
    assert host.state() == before
    assert ids(host.pool(name="y")) == ids(other)


def test_listed_uuids(host: Host) -> None:
    third = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1003"
    made = host.pool(type=TYPE, uuids=[UUID.upper(), OTHER])
    assert [(each["index"], each["uuid"]) for each in made["instances"]] == [(0, UUID), (1, OTHER)]
    assert recorded(host)["uuids"] == [UUID, OTHER]
    assert not host.pool()["changed"]
    with host.hold(OTHER):
        assert f"instances that are no longer listed are in use, {OTHER} (index 1)" in host.pool_refused(uuids=[third])
        assert ids(host.pool(uuids=[third, OTHER])) == [third, OTHER]
    assert running(host) == sorted([third, OTHER])
    # By a count again, the listed ones stay and those that follow are derived.
    grown = ids(host.pool(count=3))
    assert grown[:2] == [third, OTHER]
    assert grown[2][14] == "5"


def test_adopt(host: Host) -> None:
    host.mdev(uuid=UUID, type=KIND, persistent=False)
    host.mdev(uuid=OTHER, type=KIND, state="inactive")
    for uuid in (UUID, OTHER):
        assert f"mdev {uuid} on {HERE} was not made for pool x: set adopt: true" in host.pool_refused(
            type=TYPE, uuids=[uuid]
        )
    made = host.pool(type=TYPE, uuids=[UUID, OTHER], adopt=True)
    assert [step.split(" ")[0] for step in made["plan"]] == ["record", "create", "define"]
    assert running(host) == definitions(host) == [UUID, OTHER]
    assert not host.pool()["changed"]
    host.pool(state="absent")
    assert (running(host), definitions(host)) == ([], [])


def test_adopt_does_not_take_what_is_of_another_type_or_place(host: Host) -> None:
    host.mdev(type="nvidia-231")
    assert f"pool x has mdev {UUID} with type nvidia-231 on {HERE}" in host.pool_refused(
        type=TYPE, uuids=[UUID], adopt=True
    )
    chosen = {"addresses": [OTHER_CARD]}
    assert f"mdev {UUID} on {HERE}, which is not among the parents" in host.pool_refused(
        type="nvidia-231", uuids=[UUID], adopt=True, parents=chosen
    )


def test_a_lost_record_is_restored(host: Host) -> None:
    made = host.pool(type=TYPE, count=4)
    kept = recorded(host)
    host.run(["rm", "-r", "/etc/nodedev.d"])
    again = host.pool(type=TYPE, count=4)
    assert again["plan"] == [f"record pool x with 4 instances in {RECORD}"]
    assert (recorded(host), ids(again)) == (kept, ids(made))
    host.run(["rm", "-r", "/etc/nodedev.d"])
    assert len(host.pool(state="absent")["plan"]) == 8
    assert (running(host), definitions(host)) == ([], [])


def test_another_host_has_other_uuids(host: Host) -> None:
    made = ids(host.pool(type=TYPE, count=2))
    assert not set(made) & set(ids(host.pool(name="y", type=TYPE, count=2)))
    host.pool(state="absent")
    host.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
    assert not set(made) & set(ids(host.pool(type=TYPE, count=2)))
    host.write("/etc/machine-id", "uninitialized\n")
    host.pool(name="y", state="absent")
    assert "/etc/machine-id holds no machine-id" in host.pool_refused(name="z", type=TYPE, count=1)


def test_inactive_and_back(host: Host) -> None:
    made = host.pool(type=TYPE, count=3, state="inactive", attrs=ATTRS)
    assert [(each["active"], each["holders"]) for each in made["instances"]] == [(False, [])] * 3
    assert made["instances"][0]["hostdev_xml"]
    assert (running(host), definitions(host)) == ([], sorted(ids(made)))
    active = host.pool(attrs=ATTRS)
    assert (ids(active), parents(active)) == (ids(made), parents(made))
    assert host.read(f"/sys/bus/mdev/devices/{ids(made)[0]}/nvidia/vgpu_params") == "a=1\n"
    assert host.pool(state="inactive")["changed"]
    assert (running(host), definitions(host)) == ([], sorted(ids(made)))


def test_a_reboot_keeps_the_definitions(host: Host) -> None:
    made = host.pool(type=TYPE, count=3)
    host.reboot()
    again = host.pool()
    assert [step.split(" ")[0] for step in again["plan"]] == ["create"] * 3
    assert (ids(again), parents(again)) == (ids(made), parents(made))


def test_not_persistent(host: Host) -> None:
    made = host.pool(type=TYPE, count=3, persistent=False)
    assert (running(host), definitions(host)) == (sorted(ids(made)), [])
    assert len(recorded(host, RUNTIME_RECORD)["instances"]) == 3
    assert host.run(["ls", RECORD], check=False).returncode != 0
    assert not host.pool(persistent=False)["changed"]
    host.reboot()
    assert "pool x is not known here" in host.pool_refused(persistent=False)
    host.pool(type=TYPE, count=3, persistent=False)
    lasting = host.pool()
    assert definitions(host) == sorted(ids(lasting))
    assert host.run(["ls", RUNTIME_RECORD], check=False).returncode != 0
    assert len(recorded(host)["instances"]) == 3


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({"names": ["pci_0000_af_00_0"]}, {OTHER_CARD}),
        ({"addresses": [CARD]}, {CARD}),
        ({"names": ["pci_0000_af_00_0"], "addresses": [CARD]}, {CARD, OTHER_CARD}),
        ({"driver": "nvidia"}, {CARD, OTHER_CARD}),
        ({"vendor": "0x10de", "product": "1EB8", "numa_node": 1}, {OTHER_CARD}),
        ({"names": ["pci_0000_af_00_0"], "numa_node": 1}, {OTHER_CARD}),
    ],
)
def test_parents_are_chosen(host: Host, chosen: dict[str, Any], expected: set[str]) -> None:
    made = host.pool(type=TYPE, count=4, parents=chosen)
    assert set(parents(made)) == expected
    assert not host.pool()["changed"]


def with_interfaces() -> dict[str, Any]:
    """A card whose four functions are parents; the card has an interface, and so has its second function."""
    plan: dict[str, Any] = yaml.safe_load((ROOT / "tests" / "simhost" / "scenarios" / "nvidia-sriov.yml").read_text())
    places = {"ens6f0np0": "0000:06:00.0", "ens6v1": "0000:06:00.5"}
    plan["devices"] += [
        {"path": f"devices/pci0000:06/{address}/net/{name}", "class": "net", "uevent": {"INTERFACE": name}}
        for name, address in places.items()
    ]
    return plan


@pytest.mark.parametrize(
    ("chosen", "functions"),
    [
        ({"physical_function": ["pci_0000_06_00_0"]}, "4567"),
        # As Ansible takes one text for a list of it, and nvidia-smi's spelling of an address.
        ({"physical_function": "00000000:06:00.0", "driver": "nvidia"}, "4567"),
        ({"physical_function": ["06:00.0"], "iommu_group": 46}, "6"),
        ({"iommu_group": 47}, "7"),
        ({"interface": "ens6f0np0"}, "4567"),
        ({"interface": "ens6v1", "product": "0x25b6"}, "5"),
    ],
)
def test_functions_are_chosen(start: Callable[..., Host], chosen: dict[str, Any], functions: str) -> None:
    host = start(with_interfaces())
    asked = {"type": "nvidia-711", "count": len(functions), "parents": chosen}
    foretold = host.pool(check_mode=True, **asked)
    assert parents(foretold) == [f"0000:06:00.{function}" for function in functions]
    made = host.pool(**asked)
    assert parents(made) == parents(foretold)
    # What was chosen by is kept, shown, and chosen by again when it is left out.
    listed = {**chosen}
    if "physical_function" in chosen:
        asked_for = chosen["physical_function"]
        listed["physical_function"] = ["pci_0000_06_00_0"] if "pci_0000_06_00_0" in asked_for else ["0000:06:00.0"]
    assert recorded(host)["parents"] == listed
    (shown,) = host.done("definition_facts")["ansible_facts"]["nodedev_definitions"]["pool"]
    assert shown["parents"] == listed
    assert not host.pool()["changed"]
    if len(functions) < 4:
        assert "needs 1 more instances of type nvidia-711 and there is room for 0" in host.pool_refused(
            count=len(functions) + 1
        )
    host.pool(state="absent")
    assert running(host) == []


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (
            {"iommu_group": 4},
            "parents: {'iommu_group': 4} cannot be used: it leaves out every parent: iommu_group is 44 on"
            " pci_0000_06_00_4 (0000:06:00.4) and 45 on pci_0000_06_00_5 (0000:06:00.5) and 46",
        ),
        (
            {"interface": "eno1"},
            "it leaves out every parent: interface is ens6f0np0 on pci_0000_06_00_4 (0000:06:00.4), pci_0000_06_00_6"
            " (0000:06:00.6), pci_0000_06_00_7 (0000:06:00.7) and ens6v1, ens6f0np0 on pci_0000_06_00_5 (0000:06:00.5)",
        ),
        (
            {"physical_function": ["0000:06:00.0", "0000:99:00.0"]},
            "parents: '0000:99:00.0' cannot be used: there is no such device; the registered parents are: pci_0000_06",
        ),
        (
            {"physical_function": ["pci_0000_06_00_4"]},
            "parents: 'pci_0000_06_00_4' cannot be used: it is a parent itself, and not the physical function of one:"
            " choose it by names or addresses; the registered parents are: pci_0000_06_00_4 (0000:06:00.4),",
        ),
        (
            {"physical_function": ["06:00.0"], "numa_node": 3},
            "parents: {'numa_node': 3, 'physical_function': ['0000:06:00.0']} cannot be used: it leaves out every"
            " parent: numa_node is 0 on pci_0000_06_00_4",
        ),
        ({"physical_function": []}, "parents: {'physical_function': []} cannot be used: a list without any would"),
        ({"physical_function": ["../x"]}, "parents: '../x' cannot be used: a device name or address has letters"),
        ({"iommu_group": "first"}, "we were unable to convert to int"),
    ],
)
def test_functions_that_are_not_there(start: Callable[..., Host], chosen: dict[str, Any], message: str) -> None:
    host = start(with_interfaces())
    assert message in host.pool_refused(type="nvidia-711", count=1, parents=chosen)


def test_a_moved_parent(host: Host) -> None:
    """The parent's address changed, as PCI buses are renumbered when a card is added: its instances are made anew."""
    made = host.pool(type=TYPE, count=4)
    host.reboot()
    gone = "0000:5e:00.0"
    host.run(["mv", f"/etc/mdevctl.d/{CARD}", f"/etc/mdevctl.d/{gone}"])
    host.run(["sed", "-i", f"s/{CARD}/{gone}/", RECORD])
    facts = host.module("definition_facts")["ansible_facts"]["nodedev_definitions"]["mdev"]
    assert {each["parent_addr"] for each in facts if each["parent_missing"]} == {gone}
    again = host.pool()
    assert (ids(again), parents(again)) == (ids(made), parents(made))
    assert running(host) == definitions(host) == sorted(ids(made))
    assert host.run(["ls", f"/etc/mdevctl.d/{gone}"], check=False).returncode != 0
    assert not host.pool()["changed"]


def test_what_a_killed_run_left_is_cleared_up(host: Host) -> None:
    host.pool(type=TYPE, count=2)
    left = ["/etc/nodedev.d/pool/.nodedev-x.json", f"/etc/mdevctl.d/{CARD}/.nodedev-{UUID}"]
    for path in left:
        host.write(path, "{")
    assert not host.pool()["changed"]
    assert host.run(["find", "/etc", "-name", ".nodedev-*"]).stdout == ""
    host.write(left[1], "{")
    host.mdev(type=KIND)
    assert host.run(["find", "/etc", "-name", ".nodedev-*"]).stdout == ""


def mend_rule(host: Host) -> None:
    """Have mdevctl's udev rule run the program that is there."""
    working = host.read("/usr/lib/udev/rules.d/60-mdevctl.rules").replace("/usr/sbin/", "/usr/bin/")
    host.run(["mkdir", "-p", "/etc/udev/rules.d"])
    host.write("/etc/udev/rules.d/60-mdevctl.rules", working)


def test_a_definition_that_nothing_will_restore_is_told(host: Host) -> None:
    name = host.run(["uname", "-n"]).stdout.strip()
    warning = (
        f"what is defined on {name} will not be there after a boot: the boot engine is not installed and /usr/lib/udev/"
        "rules.d/60-mdevctl.rules runs /usr/sbin/mdevctl, which is not there. Apply the role"
        " hostdev.nodedev.persistence to this host"
    )
    # The role may be foretold too.
    assert warnings(host.pool(check_mode=True, type=TYPE, count=1)) == []
    # In the same words for all, and as long as it is true.
    for made in (host.pool(type=TYPE, count=1), host.pool(), host.mdev(type=KIND), host.mdev(type=KIND)):
        assert warnings(made) == [warning]
    assert warnings(host.pool(check_mode=True)) == []
    assert warnings(host.pool(name="y", type=TYPE, count=1, persistent=False)) == []
    assert warnings(host.pool(name="z", type=TYPE, count=1, autostart=False)) == []
    mend_rule(host)
    assert warnings(host.pool(count=2)) == []
    assert warnings(host.mdev(uuid=OTHER, type=KIND)) == []
