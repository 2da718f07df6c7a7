# SPDX-License-Identifier: GPL-3.0-or-later
"""What is not said of mediated devices stays as it is, and what needs no place asks for none: on the simulated host."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import test_late_functions
from conftest import CARD, HERE, OTHER, OTHER_CARD, THERE, UUID, Host, definitions, ids, running, warnings

TYPE, KIND = "GRID T4-4Q", "nvidia-232"
RECORD = "/etc/nodedev.d/pool/x.json"
NAME = f"mdev_{UUID.replace('-', '_')}_0000_3d_00_0"
ATTRS = [{"nvidia/vgpu_params": "a=1"}]
OLD = {"parents": {}, "placement": "spread", "attrs": [], "autostart": True}


def document(host: Host, path: str = RECORD) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(host.read(path))
    return found


def defined(host: Host, uuid: str = UUID, parent: str = CARD) -> tuple[str, list[dict[str, str]]]:
    """How a definition says to start its device, and with which attributes."""
    found = document(host, f"/etc/mdevctl.d/{parent}/{uuid}")
    return found["start"], found["attrs"]


def by_hand(host: Host, uuid: str = UUID, kind: str = KIND, start: str = "manual", parent: str = CARD) -> None:
    """What somebody else defined, in mdevctl's form."""
    host.run(["mkdir", "-p", f"/etc/mdevctl.d/{parent}"])
    host.write(
        f"/etc/mdevctl.d/{parent}/{uuid}", json.dumps({"mdev_type": kind, "start": start, "attrs": ATTRS}, indent=2)
    )


def full(host: Host) -> None:
    """Have both cards taken by one instance each that leaves no room for others."""
    for number, card in enumerate((CARD, OTHER_CARD)):
        uuid = f"00000000-0000-4000-8000-00000000000{number}"
        host.write(f"/sys/class/mdev_bus/{card}/mdev_supported_types/nvidia-234/create", uuid)


def gone(host: Host) -> None:
    """Have the parents go: what was defined on the cards is on two that are not there now."""
    for card, other in ((CARD, "0000:5e:00.0"), (OTHER_CARD, "0000:5f:00.0")):
        host.run(["sh", "-c", f"[ ! -e /etc/mdevctl.d/{card} ] || mv /etc/mdevctl.d/{card} /etc/mdevctl.d/{other}"])
        host.run(["sh", "-c", f"[ ! -e {RECORD} ] || sed -i s/{card}/{other}/ {RECORD}"])


def unchanged(host: Host, **arguments: Any) -> None:
    """Run the pool's module; it must find nothing to do, twice, and in check mode."""
    before = host.state()
    for mode in (False, True, False):
        again = host.pool(check_mode=mode, **arguments)
        assert (again["changed"], again["plan"]) == (False, [])
    assert host.state() == before


def test_adopting_changes_nothing_but_the_membership(host: Host) -> None:
    by_hand(host)
    host.mdev(type=None, parent=None)
    before = defined(host)
    assert before == ("manual", ATTRS)
    wish: dict[str, Any] = {"type": TYPE, "uuids": [UUID], "adopt": True}
    made = host.pool(**wish)
    assert made["plan"] == [f"record pool x with 1 instances in {RECORD}"]
    assert {key: document(host)[key] for key in ("type", "uuids")} == {"type": TYPE, "uuids": [UUID]}
    assert not set(OLD) & set(document(host))
    unchanged(host, **wish)
    unchanged(host)
    assert defined(host) == before
    # A record of an earlier release, which had the defaults of what was left out.
    host.write(RECORD, json.dumps({**document(host), **OLD}))
    unchanged(host, **wish)
    unchanged(host)
    assert defined(host) == before


def test_what_the_mdev_module_gave_to_a_member_stays(host: Host) -> None:
    first, second = ids(host.pool(type=TYPE, count=2))
    card = next(card for card in (CARD, OTHER_CARD) if host.path(f"/etc/mdevctl.d/{card}/{first}").exists())
    for options in ({"attrs": ATTRS}, {"autostart": False}):
        assert host.mdev(uuid=first, type=None, parent=None, **options)["changed"]
        unchanged(host)
        unchanged(host, type=TYPE, count=2)
        assert not host.mdev(uuid=first, type=None, parent=None, **options)["changed"]
    assert defined(host, first, card) == ("manual", ATTRS)
    host.pool(count=3)
    host.pool(state="inactive")
    host.pool()
    assert defined(host, first, card) == ("manual", ATTRS)
    assert host.read(f"/sys/bus/mdev/devices/{first}/nvidia/vgpu_params") == "a=1\n"
    # What is said is done, to all of them.
    assert host.pool(attrs=[], autostart=True)["changed"]
    assert defined(host, first, card) == ("auto", [])
    unchanged(host)
    assert document(host)["attrs"] == []
    assert second in definitions(host)


def test_new_members_get_what_the_pool_was_told_before(host: Host) -> None:
    host.pool(type=TYPE, count=1, attrs=ATTRS, autostart=False, placement="pack", parents={"addresses": [OTHER_CARD]})
    grown = ids(host.pool(count=3))
    assert {defined(host, uuid, OTHER_CARD)[0] for uuid in grown} == {"manual"}
    assert [defined(host, uuid, OTHER_CARD)[1] for uuid in grown] == [ATTRS] * 3


def test_a_manual_start_stays(host: Host) -> None:
    by_hand(host)
    for wish in ({}, {"state": "inactive"}, {}, {"attrs": []}, {"type": "nvidia-231", "replace": True}):
        host.mdev(**{"type": None, "parent": None, **wish})
        assert defined(host)[0] == "manual", wish
    for state in ("present", "inactive"):
        host.done("nodedev", name=NAME, state=state)
        assert defined(host)[0] == "manual", state
    xml = (
        f"<device><parent>pci_0000_3d_00_0</parent><capability type='mdev'><type id='nvidia-231'/><uuid>{UUID}</uuid>"
        "</capability></device>"
    )
    host.done("nodedev", xml=xml)
    assert defined(host)[0] == "manual"
    assert host.done("nodedev", xml=xml, autostart=True)["mdev"]["autostart"]
    assert defined(host)[0] == "auto"
    host.mdev(type=None, parent=None, autostart=False)
    # Made anew on the other card, it comes along.
    host.mdev(type=None, parent=OTHER_CARD, replace=True)
    assert defined(host, parent=OTHER_CARD)[0] == "manual"
    host.mdev(uuid=OTHER)
    assert defined(host, OTHER)[0] == "auto"


@pytest.mark.parametrize("plight", [full, gone])
def test_a_pool_that_does_not_run_needs_no_place_and_no_parent(host: Host, plight: Any) -> None:
    wish = {"type": TYPE, "count": 3, "state": "inactive", "parents": {"driver": "nvidia"}}
    made = host.pool(**wish)
    plight(host)
    unchanged(host, **wish)
    unchanged(host, state="inactive")
    assert len(host.pool(state="inactive", autostart=False)["plan"]) == 4
    smaller = host.pool(state="inactive", count=2)
    assert ids(smaller) == ids(made)[:2]
    if plight is full:
        assert "there is room for 0" in host.pool_refused()
    assert ids(host.pool(state="inactive", count=0)) == []
    assert definitions(host) == []
    unchanged(host, count=0)
    unchanged(host, count=0, state="inactive")
    host.pool(state="absent")


def test_a_type_has_many_names_while_no_parent_tells_them(start: Callable[..., Host]) -> None:
    host = test_late_functions.host(start, 0)
    wish = {"name": "x", "count": 3, "state": "inactive"}
    host.done("vgpu_pool", **wish, type="A16-4Q")
    host.write("/sys/bus/pci/devices/0000:06:00.0/sriov_numvfs", "0")
    for same in ("A16-4Q", "NVIDIA A16-4Q", "711", "nvidia-711"):
        assert not host.done("vgpu_pool", **wish, type=same)["changed"]
    for other in ("A16-8Q", "712"):
        assert "cannot be told" in host.failed("vgpu_pool", **wish, type=other)


def test_a_pool_of_none_on_a_full_host(host: Host) -> None:
    full(host)
    host.pool(type=TYPE, count=0)
    unchanged(host, type=TYPE, count=0)
    made = host.pool(type=TYPE, count=2, state="inactive")
    assert [each["active"] for each in made["instances"]] == [False] * 2
    unchanged(host, type=TYPE, count=2, state="inactive")
    assert "pool x needs 2 more instances of type GRID T4-4Q and there is room for 0" in host.pool_refused()


def test_one_device_whose_parent_is_gone(host: Host) -> None:
    wish = {"type": TYPE, "parent": None, "state": "inactive"}
    host.mdev(type=TYPE, state="inactive")
    gone(host)
    again = host.mdev(**wish)
    assert not again["changed"]
    assert f"stays defined with type {KIND}: whether that is {TYPE} cannot be told" in warnings(again)[0]
    assert not host.mdev(**{**wish, "type": KIND})["changed"]
    assert host.mdev(**{**wish, "autostart": False})["changed"]
    assert "not registered for mediated devices now" in host.refused(type=None, parent=None)
    assert host.mdev(type=None, parent=None, state="absent")["changed"]


def test_a_type_that_vanished(host: Host) -> None:
    by_hand(host, kind="nvidia-999")
    offered = (
        f"type: 'nvidia-999' cannot be used: {HERE} has the types: nvidia-230 (GRID T4-1Q), nvidia-231 (GRID T4-2Q)"
    )
    for kind in (None, "nvidia-999"):
        assert offered in host.refused(type=kind, parent=None)
        assert not host.mdev(type=kind, parent=None, state="inactive")["changed"]
    assert offered in host.failed("nodedev", name=NAME)
    assert not host.done("nodedev", name=NAME, state="inactive")["changed"]
    pool: dict[str, Any] = {"type": "nvidia-999", "uuids": [UUID], "adopt": True}
    assert "'nvidia-999'" in host.pool_refused(**pool)
    assert host.pool(**pool, state="inactive")["plan"] == [f"record pool x with 1 instances in {RECORD}"]
    unchanged(host, **pool, state="inactive")
    assert "type: 'nvidia-999' cannot be used" in host.pool_refused()
    assert host.pool(state="absent")["changed"]


@pytest.mark.parametrize("persistent", [True, False])
def test_a_removal_that_is_pending_is_told(host: Host, persistent: bool) -> None:
    host.mdev(persistent=persistent)
    with host.hold(UUID) as pid:
        host.module("mdev", uuid=UUID, state="absent", force=True, wait_timeout=0.5)
        held = f"mdev {UUID} is still being removed from {HERE} and held by process {pid} (simhost-guest): stop what"
        for force in (False, True):
            assert held in host.refused(type=None, parent=None, state="absent", force=force)
        assert held in host.refused(state="absent")
        assert held in host.refused(wait_timeout=1)
        assert held in host.refused(state="inactive")
        for state in ("present", "inactive", "absent"):
            assert held in host.failed("nodedev", name=NAME, state=state)
    assert not host.mdev(type=None, parent=None, state="absent")["mdev"]["active"]
    assert (running(host), definitions(host)) == ([], [])


def test_a_removal_of_a_pools_member_that_is_pending_is_told(host: Host) -> None:
    uuids = ids(host.pool(type=TYPE, count=2))
    with host.hold(uuids[1]) as pid:
        host.module("mdev_pool", name="x", count=0, force=True, wait_timeout=0.5)
        for wish in ({"count": 0}, {"state": "absent", "force": True}, {"state": "inactive"}, {}):
            message = host.pool_refused(**wish)
            assert f"mdev {uuids[1]} is still being removed from {THERE} and held by process {pid}" in message
    assert host.pool(state="absent")["instances"] == []
    assert (running(host), definitions(host)) == ([], [])


def test_defined_under_two_parents(host: Host) -> None:
    for parent in (CARD, OTHER_CARD):
        by_hand(host, parent=parent)
    told = f"it is defined under several parents, name one as 'parent': {HERE}, {THERE}"
    assert told in host.refused(type=None, parent=None, state="absent")
    host.mdev(parent=OTHER_CARD, type=KIND)
    assert f"{told}, and runs on {THERE}" in host.refused(type=None, parent=None, state="absent")
    old = NAME.rpartition("_0000_3d_00_0")[0]
    assert told in host.failed("nodedev", name=old, state="absent")
    assert f"mdev {UUID} is defined under several parents" in host.pool_refused(type=TYPE, uuids=[UUID], adopt=True)
    assert host.mdev(type=None, state="absent")["plan"] == [f"undefine mdev {UUID} on {HERE}"]
    assert host.mdev(type=None, parent=None, state="absent")["changed"]
    assert (running(host), definitions(host)) == ([], [])


def test_a_damaged_record_is_removed_by_its_name_and_its_instances_with_it(host: Host) -> None:
    host.pool(type=TYPE, count=3)
    host.mdev(type=KIND, state="inactive")
    host.pool(uuids=[*ids(host.pool()), UUID], adopt=True)
    host.write(RECORD, "{ somebody's wish")
    # Whatever fails puts it back byte for byte.
    host.fault("/sys/devices/*/remove", op="write", errno="EIO", nth=2)
    message = host.pool_refused(state="absent")
    assert f"remove the damaged definition of pool x, {RECORD}" in message.partition("undone: ")[2]
    assert "NOT undone" not in message
    host.clear_faults()
    assert host.read(RECORD) == "{ somebody's wish"
    foretold = host.pool(state="absent", check_mode=True)
    removed = host.pool(state="absent")
    assert foretold["plan"] == removed["plan"]
    assert removed["plan"][0] == f"remove the damaged definition of pool x, {RECORD}"
    assert "what it had listed or adopted besides is left as it is" in " ".join(warnings(removed))
    assert running(host) == definitions(host) == [UUID]
    unchanged(host, state="absent")


@pytest.mark.parametrize(
    "text",
    [
        '{"version": 1, "kind": "mdev", "type": "nvidia-232", "count": true, "instances": []}',
        '{"version": 1, "kind": "mdev", "type": ["a"], "count": 1, "instances": []}',
        '{"version": 1, "kind": "mdev", "type": "t", "count": 1, "parents": [], "instances": []}',
        '{"version": 1, "kind": "mdev", "type": "t", "count": 1, "placement": 7, "instances": []}',
        '{"version": 1, "kind": "mdev", "instances": [{"index": 1%s, "id": "a", "parent": "b"}]}' % ("0" * 900),
    ],
)
def test_a_record_with_nonsense_is_one_damaged_file(host: Host, text: str) -> None:
    host.run(["mkdir", "-p", "/etc/nodedev.d/pool"])
    host.write(RECORD, text)
    for wish in ({"count": 1}, {"state": "inactive"}):
        assert f"the definition {RECORD} is damaged (" in host.pool_refused(**wish)
    facts = host.done("definition_facts")["ansible_facts"]["nodedev_definitions"]
    assert (facts["pool"], [each["path"] for each in facts["damaged"]]) == ([], [RECORD])
    assert host.pool(name="y", type=TYPE, count=1)["changed"]
    assert host.pool(state="absent")["plan"] == [f"remove the damaged definition of pool x, {RECORD}"]


def test_a_damaged_record_of_another_kind_of_pool_is_left(host: Host) -> None:
    host.run(["mkdir", "-p", "/etc/nodedev.d/pool"])
    host.write(RECORD, '{"version": 1, "kind": "vhba", "instances": 5}')
    assert "the pool of this name is one of vhba devices" in host.pool_refused(state="absent")


def test_an_identity_stands_in_for_the_machine_id(host: Host) -> None:
    made = ids(host.pool(type=TYPE, count=2, identity="gpu-7"))
    assert document(host)["identity"] == "gpu-7"
    machine = host.read("/etc/machine-id").strip()
    host.write("/etc/machine-id", "fedcba9876543210fedcba9876543210\n")
    unchanged(host)
    unchanged(host, type=TYPE, count=2, identity="gpu-7")
    told = "identity: 'gpu-8' cannot be used: pool x has names that follow from the identity gpu-7: leave it so, or rem"
    for state in ("present", "inactive", "absent"):
        assert told in host.pool_refused(identity="gpu-8", state=state)
    # A record that was lost is made again by it.
    host.run(["rm", RECORD])
    assert ids(host.pool(type=TYPE, count=2, identity="gpu-7")) == made
    assert len(host.pool(state="absent")["plan"]) == 5
    # The machine-id that a host had gives the instances that it had.
    by_id = ids(host.pool(type=TYPE, count=2, identity=machine))
    host.pool(state="absent")
    host.write("/etc/machine-id", f"{machine}\n")
    assert ids(host.pool(type=TYPE, count=2)) == by_id
    assert "that follow from the host's machine-id" in host.pool_refused(identity="gpu-7")


def test_a_machine_id_that_others_have_is_told(host: Host) -> None:
    cloned = (
        "/etc/machine-id holds b76cc7b1bbdc489e93909d2043031de8, which every host has that was made of the image of"
    )
    host.write("/etc/machine-id", "b76cc7b1bbdc489e93909d2043031de8\n")
    assert cloned in " ".join(warnings(host.pool(type=TYPE, count=1)))
    assert cloned in " ".join(warnings(host.pool()))
    assert warnings(host.pool(name="y", type=TYPE, uuids=[UUID], persistent=False)) == []
    assert warnings(host.pool(name="z", type=TYPE, count=1, identity="a", persistent=False)) == []
    host.write("/etc/machine-id", "uninitialized\n")
    assert "/etc/machine-id holds no machine-id" in " ".join(warnings(host.pool()))
    assert "or name the host by the option identity" in host.pool_refused(count=2)


@pytest.mark.parametrize("value", ["inf", "nan", "1e300", "-inf", 86401, "1" * 400])
@pytest.mark.parametrize("module", ["mdev", "mdev_pool", "nodedev"])
def test_nobody_waits_so_long(host: Host, module: str, value: object) -> None:
    named = {"mdev": {"uuid": UUID}, "mdev_pool": {"name": "x"}, "nodedev": {"name": NAME}}
    assert "a number of seconds, 0 or more" in host.failed(module, **named[module], state="absent", wait_timeout=value)
